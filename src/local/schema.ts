/**
 * Applies the numbered files of `migrations/` to a database, each once and as one transaction, after a copy of the database.
 * Their names are recorded in the table that `wrangler d1 migrations` uses too, so either can continue where the other stopped.
 */

import { cpSync, readdirSync, rmSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { D1Database } from '@cloudflare/workers-types';

const ROOT = new URL('../../', import.meta.url);

interface Migration {
  /** The file's name, `0001-initial.sql`. Migrations are applied in the order of their names. */
  name: string;
  statements: string[];
}

/** The database was written by a newer version of Berth. Nothing was changed. */
export class NewerSchemaError extends Error {}

/** The statements of schema.sql, which is the result of all migrations. */
export async function readSchema(): Promise<string[]> {
  return statementsOf(await readFile(new URL('schema.sql', ROOT), 'utf8'));
}

export async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(new URL('migrations/', ROOT))).filter((name) => name.endsWith('.sql')).sort();
  const read = async (name: string) => statementsOf(await readFile(new URL(`migrations/${name}`, ROOT), 'utf8'));
  return Promise.all(names.map(async (name) => ({ name, statements: await read(name) })));
}

/**
 * Splits SQL, since D1 takes one statement at a time. There are no triggers, so outside comments each semicolon ends a
 * statement.
 */
function statementsOf(text: string): string[] {
  return text
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .filter((statement) => statement.trim() !== '');
}

/**
 * Applies the migrations that the database lacks. A migration and the record of it are one batch, so a process that is killed
 * meanwhile leaves both or neither.
 * @param beforeFirst is called before anything is changed in a database that holds something, with the first migration it lacks
 * @returns the names of the migrations that were applied
 * @throws NewerSchemaError if the database has a migration that is not in the list
 */
export async function migrate(
  database: D1Database,
  migrations: Migration[],
  beforeFirst: (name: string) => void = () => {},
): Promise<string[]> {
  const tables = await namesIn(database, 'SELECT name FROM sqlite_master');
  const applied = tables.has('d1_migrations') ? await namesIn(database, 'SELECT name FROM d1_migrations') : new Set();
  const unknown = [...applied].filter((name) => !migrations.some((migration) => migration.name === name));
  if (unknown.length > 0) throw new NewerSchemaError(`its schema has ${unknown.join(', ')}, which this version does not know`);
  const pending = migrations.filter(({ name }) => !applied.has(name));
  const [first] = pending;
  if (first && tables.has('accounts')) beforeFirst(first.name);
  await database.prepare(RECORD).run();
  for (const { name, statements } of pending) {
    const record = database.prepare('INSERT INTO d1_migrations (name) VALUES (?1)').bind(name);
    await database.batch([...statements.map((statement) => database.prepare(statement)), record]);
  }
  return pending.map(({ name }) => name);
}

async function namesIn(database: D1Database, select: string): Promise<Set<string>> {
  const { results } = await database.prepare(select).all<{ name: string }>();
  return new Set(results.map(({ name }) => name));
}

/** The table that wrangler makes (4.156, `d1 migrations apply`). */
const RECORD = `CREATE TABLE IF NOT EXISTS d1_migrations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
)`;

/** The newest copies that are kept. */
const KEPT = 2;

/**
 * Copies the files of the database while nothing writes to them, and removes all but the newest copies.
 * @param before the first migration that will be applied
 * @returns the folder of the copy: put its files in the place of those in `storage/d1` to go back
 */
export function copyDatabase(dataDir: string, before: string): string {
  const all = join(dataDir, 'backups');
  const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const copy = join(all, `${time}-before-${before.replace('.sql', '')}`);
  cpSync(join(dataDir, 'storage', 'd1'), copy, { recursive: true });
  const old = readdirSync(all).sort().slice(0, -KEPT);
  for (const name of old) rmSync(join(all, name), { recursive: true });
  return copy;
}
