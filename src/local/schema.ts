/**
 * Applies the numbered files of `migrations/` to a database. Each file is applied once, in one transaction. The names of
 * applied files are recorded in the table that `wrangler d1 migrations` also uses, so either program can continue the work of
 * the other.
 */

import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { D1Database } from '@cloudflare/workers-types';
import { quoted } from './shell.ts';

const ROOT = new URL('../../', import.meta.url);

interface Migration {
  /** The name of the file, for example `0001-initial.sql`. Migrations are applied in the order of their names. */
  name: string;
  statements: string[];
}

/** The error if the database was written by a newer version of Berth. Nothing was changed. */
export class NewerSchemaError extends Error {}

/** Returns the statements of schema.sql, which is the result of all migrations. */
export async function readSchema(): Promise<string[]> {
  return statementsOf(await readFile(new URL('schema.sql', ROOT), 'utf8'));
}

export async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(new URL('migrations/', ROOT))).filter((name) => name.endsWith('.sql')).sort();
  const read = async (name: string) => statementsOf(await readFile(new URL(`migrations/${name}`, ROOT), 'utf8'));
  return Promise.all(names.map(async (name) => ({ name, statements: await read(name) })));
}

/**
 * Splits SQL into statements, because D1 takes one statement at a time. The schema has no triggers, so each semicolon outside a
 * comment ends a statement.
 */
function statementsOf(text: string): string[] {
  return text
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .filter((statement) => statement.trim() !== '');
}

/**
 * Applies the migrations that the database lacks. A migration and the record of its name are one batch, so if the process is
 * killed, either both are stored or neither is.
 * @param beforeFirst called with the name of the first missing migration, before a database with data is changed
 * @returns the names of the applied migrations
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

/** The table of applied migrations, as `wrangler d1 migrations apply` (4.156) creates it. */
const RECORD = `CREATE TABLE IF NOT EXISTS d1_migrations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
)`;

/**
 * Returns true if the database does not exist yet, or has exactly the migrations of this build. Reads the files of the
 * emulator's databases, so no runtime may use them at the same time.
 */
export async function isNewOrCurrent(dataDir: string): Promise<boolean> {
  const folder = join(databaseFolder(dataDir), 'miniflare-D1DatabaseObject');
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.sqlite')) : [];
  const known = (await readMigrations()).map(({ name }) => name).join();
  return files.every((name) => name === 'metadata.sqlite' || migrationsIn(join(folder, name)) === known);
}

/**
 * Returns the names of the applied migrations in a database file, in order, or `null` if the database has no table of
 * migrations.
 */
function migrationsIn(file: string): string | null {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const names = database.prepare('SELECT name FROM d1_migrations ORDER BY name').all();
    return names.map(({ name }) => name).join();
  } catch {
    return null;
  } finally {
    database.close();
  }
}

/** The number of copies of the database to keep. */
const KEPT = 2;

/**
 * Copies the files of the database and removes all but the newest copies. Nothing may write to the database meanwhile.
 * @param before the name of the first migration that will be applied
 * @returns the folder of the copy
 */
export function copyDatabase(dataDir: string, before: string): string {
  const all = join(dataDir, 'backups');
  const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const copy = join(all, `${time}-before-${before.replace('.sql', '')}`);
  cpSync(databaseFolder(dataDir), copy, { recursive: true });
  const old = readdirSync(all).sort().slice(0, -KEPT);
  for (const name of old) rmSync(join(all, name), { recursive: true });
  return copy;
}

/**
 * Returns the commands with which a user replaces the database by a copy. They remove the files of the database first, because
 * a journal of the newer database (`-wal`) would be applied to the older one. PowerShell understands the commands too, because
 * it has the aliases `rm` and `cp`.
 */
export function restoreCommands(dataDir: string, copy: string): string {
  const folder = quoted(databaseFolder(dataDir));
  return `  rm -r ${folder}\n  cp -r ${quoted(copy)} ${folder}`;
}

function databaseFolder(dataDir: string): string {
  return join(dataDir, 'storage', 'd1');
}
