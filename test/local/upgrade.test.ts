/** `npm start` on data that another version wrote: an older database is upgraded without loss, a newer one is left alone. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { D1Database } from '@cloudflare/workers-types';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { emulate } from '../../src/local/emulator.ts';
import { readMigrations } from '../../src/local/schema.ts';
import { startRegistry } from '../world/registry.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'berth-'));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

/** Opens the registry's database without the registry. */
async function inDatabase(work: (database: D1Database) => Promise<unknown>): Promise<void> {
  const main = join(dataDir, 'nothing.js');
  await writeFile(main, 'export default { fetch: () => new Response() }');
  const worker = await emulate({ name: 'berth', main, dataDir, host: '127.0.0.1', port: 0, variables: {}, prepare: work });
  await worker.dispose();
}

/** The first schema, as versions without numbered migrations made it. */
async function makeFirstSchema(database: D1Database): Promise<void> {
  const [first] = await readMigrations();
  await database.batch((first?.statements ?? []).map((statement) => database.prepare(statement)));
  await database
    .prepare("INSERT INTO accounts (subject, likeness, created_at) VALUES ('user:alice', 'alice', 1700000000)")
    .run();
}

test('a database of a version without numbered migrations is upgraded, and keeps what it held', async () => {
  await inDatabase(makeFirstSchema);
  const registry = await startRegistry({ env: { DATA_DIR: dataDir } });
  const headers = { authorization: `Bearer ${registry.password}` };
  const users = await (await fetch(`${registry.url}/api/v1/users`, { headers })).text();
  expect(users).toContain('alice');
  await registry.stop();
  const applied: string[] = [];
  await inDatabase(async (database) => {
    const { results } = await database.prepare('SELECT name FROM d1_migrations ORDER BY id').all<{ name: string }>();
    applied.push(...results.map(({ name }) => name));
  });
  expect(applied).toEqual((await readMigrations()).map(({ name }) => name));
});

test('a database of a newer version is refused in one sentence, and stays as it is', async () => {
  await inDatabase(async (database) => {
    await database.prepare('CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY, name TEXT UNIQUE)').run();
    await database.prepare("INSERT INTO d1_migrations (name) VALUES ('9999-tomorrow.sql')").run();
  });
  const child = spawn(process.execPath, ['src/local/start.ts'], {
    cwd: ROOT,
    env: { ...process.env, DATA_DIR: dataDir, PORT: '18799' },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(1);
  expect(output).toContain('was written by a newer version of Berth: its schema has 9999-tomorrow.sql');
  expect(output).not.toContain('    at ');
  await inDatabase(async (database) => {
    const tables = await database
      .prepare("SELECT count(*) AS n FROM sqlite_master WHERE name = 'accounts'")
      .first<{ n: number }>();
    expect(tables?.n).toBe(0);
  });
});
