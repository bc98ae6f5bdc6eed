/** Fills the database of a stopped registry. SQL writes the rows directly to its SQLite file. */
import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { MANIFEST_TYPE } from '../content.ts';
import { ACCOUNTS, CONTENT, EVENTS } from './rows.ts';
import { BLOB_BYTES, BLOBS_PER_IMAGE, type Shape } from './shape.ts';

/** The duration of the filling, and the number of bytes of each table and index. */
export interface Filled {
  seconds: number;
  bytes: number;
  tables: { name: string; rows: number; bytes: number }[];
}

export function fill(dataDir: string, shape: Shape): Filled {
  const started = Date.now();
  const path = databaseIn(join(dataDir, 'storage'));
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA cache_size = -1000000; PRAGMA temp_store = MEMORY; PRAGMA synchronous = OFF');
    addFunctions(database);
    const indexes = dropIndexes(database);
    for (const sql of [...CONTENT, ...EVENTS, ...ACCOUNTS]) run(database, sql, shape);
    for (const sql of indexes) database.exec(sql);
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    return { seconds: (Date.now() - started) / 1000, bytes: statSync(path).size, tables: tablesOf(database) };
  } finally {
    database.close();
  }
}

/** Returns the path of the emulator's database file: the only one with the table of migrations. */
function databaseIn(storage: string): string {
  const names = readdirSync(storage, { recursive: true, encoding: 'utf8' });
  for (const name of names.filter((one) => one.endsWith('.sqlite'))) {
    const database = new DatabaseSync(join(storage, name), { readOnly: true });
    const found = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'd1_migrations'").get();
    database.close();
    if (found) return join(storage, name);
  }
  throw new Error(`no database in ${storage}`);
}

function addFunctions(database: DatabaseSync): void {
  database.function('blob_digest', { deterministic: true }, (n) => sha256(`blob ${n}`));
  database.function('text_digest', { deterministic: true }, (text) => sha256(String(text)));
  database.function('image_manifest', { deterministic: true }, (first, blobs) => manifestOf(Number(first), Number(blobs)));
}

function sha256(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/** Returns the manifest of an image whose blobs have numbers from `first` on. */
function manifestOf(first: number, blobs: number): string {
  const describe = (n: number) => ({
    mediaType: `application/vnd.oci.image.${n === 0 ? 'config.v1+json' : 'layer.v1.tar+gzip'}`,
    digest: sha256(`blob ${(first + n) % blobs}`),
    size: BLOB_BYTES,
  });
  const [config, ...layers] = Array.from({ length: BLOBS_PER_IMAGE }, (_, n) => describe(n));
  return JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers });
}

/**
 * Drops the indexes, because creating an index of existing rows is faster than updating it. @returns the SQL that creates the
 * indexes
 */
function dropIndexes(database: DatabaseSync): string[] {
  const found = database.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").all();
  for (const { name } of found) database.exec(`DROP INDEX ${name}`);
  return found.map(({ sql }) => String(sql));
}

/** Runs a statement. Its parameters, such as `:tags`, are numbers of the shape. */
function run(database: DatabaseSync, sql: string, shape: Shape): void {
  const named = Object.entries(shape).filter(([name]) => new RegExp(`:${name}\\b`).test(sql));
  // Numbers are passed as BigInt. Otherwise SQLite would bind floating-point numbers, and divisions would have fractions.
  database.prepare(sql).run(Object.fromEntries(named.map(([name, count]) => [name, BigInt(count)])));
}

function tablesOf(database: DatabaseSync): Filled['tables'] {
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'").all();
  const sizes = database
    .prepare(
      `SELECT tbl_name AS name, sum(pgsize) AS bytes FROM dbstat JOIN sqlite_master USING (name)
       WHERE aggregate = 1 GROUP BY tbl_name`,
    )
    .all();
  const bytesOf = new Map(sizes.map(({ name, bytes }) => [name, Number(bytes)]));
  return tables
    .filter(({ name }) => !String(name).startsWith('_cf_'))
    .map(({ name }) => ({
      name: String(name),
      rows: Number(database.prepare(`SELECT count(*) AS rows FROM ${name}`).get()?.rows),
      bytes: bytesOf.get(name ?? '') ?? 0,
    }))
    .sort((a, b) => b.bytes - a.bytes);
}
