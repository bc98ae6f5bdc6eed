/**
 * `npm start` on data of another version: an older database is upgraded without loss, and a newer one is not changed.
 *
 * @module-tag slow
 */
import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { D1Database } from '@cloudflare/workers-types';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { emulate } from '../../src/local/emulator.ts';
import { copyDatabase, isNewOrCurrent, readMigrations, restoreCommands } from '../../src/local/schema.ts';
import { startRegistry } from '../world/registry.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'berth-'));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

/** Creates the database of a registry without starting the registry. */
async function createDatabase(prepare: (database: D1Database) => Promise<unknown>): Promise<void> {
  const main = join(dataDir, 'nothing.js');
  await writeFile(main, 'export default { fetch: () => new Response() }');
  const place = { name: 'berth', main, dataDir, host: '127.0.0.1', port: 0 };
  const worker = await emulate({ ...place, variables: {}, prepare, openAtOnce: true });
  await worker.dispose();
}

/** One column of a query on the database in a folder like `storage/d1`. No runtime may be using it. */
async function readDatabase(folder: string, select: string): Promise<unknown[]> {
  const files = join(folder, 'miniflare-D1DatabaseObject');
  const name = (await readdir(files)).find((file) => file.endsWith('.sqlite') && file !== 'metadata.sqlite') ?? '';
  const database = new DatabaseSync(join(files, name), { readOnly: true });
  const rows = database.prepare(select).all();
  database.close();
  return rows.flatMap((row) => Object.values(row));
}

const tablesOf = (folder: string) => readDatabase(folder, 'SELECT name FROM sqlite_master');

/** Creates the first schema, as versions without numbered migrations did. */
async function makeFirstSchema(database: D1Database): Promise<void> {
  const [first] = await readMigrations();
  await database.batch((first?.statements ?? []).map((statement) => database.prepare(statement)));
  await database
    .prepare("INSERT INTO accounts (subject, likeness, created_at) VALUES ('user:alice', 'alice', 1700000000)")
    .run();
}

test('a database of a version without numbered migrations is upgraded, and keeps what it held', async () => {
  await createDatabase(makeFirstSchema);
  expect(await isNewOrCurrent(dataDir)).toBe(false);
  const registry = await startRegistry({ env: { DATA_DIR: dataDir } });
  const headers = { authorization: `Bearer ${registry.password}` };
  const users = await (await fetch(`${registry.url}/api/v1/users`, { headers })).text();
  expect(users).toContain('alice');
  await registry.stop();
  const applied = await readDatabase(join(dataDir, 'storage/d1'), 'SELECT name FROM d1_migrations ORDER BY id');
  expect(applied).toEqual((await readMigrations()).map(({ name }) => name));
  expect(await isNewOrCurrent(dataDir)).toBe(true);
  await goBack(registry.output());
  expect(await tablesOf(join(dataDir, 'storage/d1'))).not.toContain('d1_migrations');
});

test('the commands that are printed after an upgrade go back to the database before it, as often as they are run', async () => {
  const folder = join(dataDir, 'storage/d1');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'database'), 'old');
  const copy = copyDatabase(dataDir, '0004-c.sql');
  for (const journal of ['database-wal', 'database-shm']) {
    await writeFile(join(folder, 'database'), 'new');
    await writeFile(join(folder, journal), 'a journal of the new database');
    await promisify(execFile)('sh', ['-ec', restoreCommands(dataDir, copy)]);
    expect(await readdir(folder)).toEqual(['database']);
    expect(await readFile(join(folder, 'database'), 'utf8')).toBe('old');
  }
});

/** Runs the commands that the program printed after an upgrade. */
async function goBack(output: string): Promise<void> {
  const commands = /^ {2}(?:rm|cp) -r .*$/gm;
  await promisify(execFile)('sh', ['-ec', (output.match(commands) ?? []).join('\n')]);
}

/** Unpacks the data folder that `fixtures/make-174add3.ts` made. @returns the answers of that version */
async function unpack(): Promise<{ credentials: Record<string, string>; answers: Record<string, Record<string, unknown>> }> {
  await promisify(execFile)('tar', ['-xzf', join(import.meta.dirname, 'fixtures/174add3.tar.gz'), '-C', dataDir]);
  return JSON.parse(await readFile(join(dataDir, 'held.json'), 'utf8'));
}

interface Item {
  id?: unknown;
}

/**
 * An answer without the fields that change by themselves. New events are removed from the list. Events about repositories now
 * name their organization, and in the older version that field was null.
 */
function lasting(answer: object, before: { items?: Item[] }): object {
  const changing = ['countedAt', 'restorableUntil', 'lastUsedOn', 'lastRanAt', 'lastReport'];
  const { items, ...rest } = JSON.parse(JSON.stringify(answer, (key, value) => (changing.includes(key) ? undefined : value)));
  for (const item of items ?? []) if (item.organization === null || item.repository) delete item.organization;
  const known = new Set(before.items?.map(({ id }) => id));
  return items ? { ...rest, items: items.filter(({ id }: Item) => known.has(id)), next: null } : rest;
}

describe('a data folder of version 174add3', () => {
  // The content of the folder is older than the usual lifetimes allow.
  const lifetimes = ['KEY_MAX_DAYS', 'EVENT_DAYS', 'DELIVERY_DAYS', 'TRASH_DAYS', 'HISTORY_DAYS'];
  const start = () =>
    startRegistry({
      env: {
        ...Object.fromEntries(lifetimes.map((name) => [name, '3650'])),
        DATA_DIR: join(dataDir, 'data'),
        ADMIN_PASSWORD: '',
      },
    });
  const basic = (name: string, password: string) => ({
    authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
  });

  test('is copied and upgraded, and keeps its people, keys, rights, images, trash and events', async () => {
    const { credentials, answers } = await unpack();
    const registry = await start();
    const { stdout } = await promisify(execFile)(process.execPath, ['src/local/password.ts'], {
      cwd: ROOT,
      env: { ...process.env, DATA_DIR: join(dataDir, 'data') },
    });
    const admin = basic('admin', stdout.trim());
    const get = (path: string, headers: Record<string, string>) => fetch(`${registry.url}${path}`, { headers });
    for (const [path, before] of Object.entries(answers)) {
      const answer = await get(path, admin);
      expect(answer.status, path).toBe(200);
      const text = await answer.text();
      if (path.includes('/blobs/')) expect(text).toBe(before);
      else expect(lasting(JSON.parse(text), before), path).toMatchObject(lasting(before, before));
    }
    for (const name of ['alice', 'bob', 'carol', 'acme+deployer']) {
      const password = credentials[name] ?? '';
      expect((await get('/v2/acme/api/manifests/v1', basic(name, password))).status, name).toBe(200);
      const robots = await get('/api/v1/organizations/acme/robots', basic(name, password));
      expect(robots.ok, name).toBe(name === 'alice');
    }
    const [copy = '', ...others] = await readdir(join(dataDir, 'data/backups'));
    expect(others).toEqual([]);
    expect(copy).toMatch(/^\d{8}T\d{6}Z-before-0001-initial$/);
    expect(registry.output()).toContain(`A copy of it as it was before is in ${join(dataDir, 'data/backups', copy)}`);
    await registry.restart();
    expect(await readdir(join(dataDir, 'data/backups'))).toEqual([copy]);
    await registry.stop();
    expect(await tablesOf(join(dataDir, 'data/backups', copy))).not.toContain('d1_migrations');
    const alice = "SELECT subject FROM accounts WHERE subject = 'user:alice'";
    expect(await readDatabase(join(dataDir, 'data/backups', copy), alice)).toEqual(['user:alice']);
  });
});

test('the two newest copies are kept', async () => {
  await mkdir(join(dataDir, 'storage/d1'), { recursive: true });
  await writeFile(join(dataDir, 'storage/d1/database'), 'rows');
  for (const name of ['20250101T000000Z-before-0002-a', '20260101T000000Z-before-0003-b']) {
    await mkdir(join(dataDir, 'backups', name), { recursive: true });
  }
  const copy = copyDatabase(dataDir, '0004-c.sql');
  expect(await readdir(join(dataDir, 'backups'))).toEqual(['20260101T000000Z-before-0003-b', copy.split('/').at(-1)]);
  expect(await readFile(join(copy, 'database'), 'utf8')).toBe('rows');
});

test('a database of a newer version is refused in one sentence, and stays as it is', async () => {
  await createDatabase(async (database) => {
    await database.prepare('CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY, name TEXT UNIQUE)').run();
    await database.prepare("INSERT INTO d1_migrations (name) VALUES ('9999-tomorrow.sql')").run();
  });
  expect(await isNewOrCurrent(dataDir)).toBe(false);
  const child = spawn(process.execPath, ['src/local/start.ts'], {
    cwd: ROOT,
    env: { ...process.env, DATA_DIR: dataDir, PORT: '18799' },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(1);
  expect(output).toContain('was written by a newer version of Berth: its schema has 9999-tomorrow.sql');
  expect(output).not.toContain('    at ');
  expect(await tablesOf(join(dataDir, 'storage/d1'))).not.toContain('accounts');
});
