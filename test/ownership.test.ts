/** A database and a bucket belong to one registry. Another deployment that is bound to them by mistake changes nothing. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Env } from '../src/env.ts';
import worker from '../src/index.ts';
import { requireOwnStores, SCHEMA } from '../src/ownership.ts';
import { counting } from './world/counting.ts';
import { faulty } from './world/faults.ts';
import { pushImage, refusal } from './world/images.ts';
import { newWorld, type World, worldOf } from './world/world.ts';

let world: World;
let number = 0;
beforeEach(async () => {
  world = await newWorld();
});

/** A deployment with a secret that no other test uses, on the stores of this test. */
function deployment(vars: Partial<Env> = {}): World {
  number++;
  return worldOf({ ...world.env, REGISTRY_SECRET: `secret-number-${number}-of-the-tests-of-ownership`, ...vars });
}

const owner = () => world.env.DB.prepare('SELECT id, secret_mark FROM registry').first<{ id: string; secret_mark: string }>();
const inBucket = async () => (await world.env.BLOBS.get('registry'))?.text();

test('the first deployment that uses a database and a bucket leaves the same id in both', async () => {
  const first = deployment();
  await pushImage(first, 'acme/api', 'v1');
  expect(await inBucket()).toBe((await owner())?.id);
});

test.each(['/v2/', '/v2/acme/api/manifests/v1', '/token', '/api/v1/me', '/api/v1/repositories'])(
  'a second deployment answers %s with a 503 that says who owns the stores, and changes nothing',
  async (path) => {
    await pushImage(deployment(), 'acme/api', 'v1');
    const before = await owner();
    const response = await deployment().fetch('GET', path);
    expect(await refusal(response.clone())).toBe('503 UNAVAILABLE');
    const body = await response.text();
    expect(body).toContain(`the database belongs to another registry (${before?.id})`);
    expect(body).toContain('give this one a database and a bucket of its own');
    expect(await owner()).toEqual(before);
    expect(await inBucket()).toBe(before?.id);
  },
);

test("a second deployment's schedule and queue do nothing", async () => {
  await deployment().fetch('GET', '/v2/');
  const { env } = deployment();
  const controller = { scheduledTime: Date.now(), cron: '', noRetry: () => {} };
  await expect(worker.scheduled(controller, env)).rejects.toThrow('belongs to another registry');
  const batch = { queue: 'berth-events', messages: [] } as unknown as MessageBatch;
  await expect(worker.queue(batch, env, {} as ExecutionContext)).rejects.toThrow('belongs to another registry');
});

test('a bucket of another registry is refused, with a new database or its own', async () => {
  await world.env.BLOBS.put('registry', 'somebody-else');
  const response = await deployment().fetch('GET', '/v2/');
  expect(await refusal(response.clone())).toBe('503 UNAVAILABLE');
  expect(await response.text()).toContain('the bucket belongs to another registry (somebody-else)');
  expect(await owner()).toBe(null);
  await world.env.BLOBS.delete('registry');
  const first = deployment();
  await first.fetch('GET', '/v2/');
  await world.env.BLOBS.put('registry', 'somebody-else');
  const same = deployment({ REGISTRY_SECRET_PREVIOUS: first.env.REGISTRY_SECRET as string });
  expect(await (await same.fetch('GET', '/v2/')).text()).toContain('the bucket belongs to another registry (somebody-else)');
});

test('a registry whose secret is replaced keeps its stores, with the previous secret or without', async () => {
  const first = deployment();
  await first.fetch('GET', '/v2/');
  const before = await owner();
  const second = deployment({ REGISTRY_SECRET_PREVIOUS: first.env.REGISTRY_SECRET as string });
  expect((await second.fetch('GET', '/v2/')).status).toBe(200);
  expect((await owner())?.id).toBe(before?.id);
  expect((await owner())?.secret_mark).not.toBe(before?.secret_mark);
  const third = deployment();
  expect((await third.fetch('GET', '/v2/')).status).toBe(503);
  expect((await deployment({ ADOPT_REGISTRY: crypto.randomUUID() }).fetch('GET', '/v2/')).status).toBe(503);
  const adopting = worldOf({ ...third.env, ADOPT_REGISTRY: before?.id as string });
  expect((await adopting.fetch('GET', '/v2/')).status).toBe(200);
  expect((await third.fetch('GET', '/v2/')).status).toBe(200);
});

test('sixteen concurrent first requests all succeed, with one owner', async () => {
  const first = deployment();
  const answers = await Promise.all(Array.from({ length: 16 }, () => first.fetch('GET', '/v2/')));
  expect(answers.map(({ status }) => status)).toEqual(Array(16).fill(200));
  const { results } = await world.env.DB.prepare('SELECT * FROM registry').all();
  expect(results.length).toBe(1);
});

test('a failed check is a 503, and the next request makes it again', async () => {
  const first = deployment();
  const fail = () => Promise.reject(new Error('D1_ERROR: Network connection lost.'));
  const statement = { bind: () => statement, first: fail, all: fail, run: fail };
  const DB = new Proxy(world.env.DB, { get: (_, name) => (name === 'prepare' ? () => statement : fail) });
  const away = worldOf({ ...first.env, DB });
  expect((await away.fetch('GET', '/v2/')).status).toBe(503);
  expect((await first.fetch('GET', '/v2/')).status).toBe(200);
});

describe('a database that lacks migrations', () => {
  const migrations = import.meta.glob('../migrations/*.sql', { query: '?raw', import: 'default', eager: true });
  const run = async (...texts: string[]) => {
    const statements = texts.flatMap((text) => text.replaceAll(/--.*$/gm, '').split(';'));
    const all = statements.filter((statement) => statement.trim() !== '');
    await world.env.DB.batch(all.map((statement) => world.env.DB.prepare(statement)));
  };
  const tables = async () => {
    const { results } = await world.env.DB.prepare(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'",
    ).all<{ name: string }>();
    return results.map(({ name }) => name);
  };
  const upTo = (number: number) =>
    Object.entries(migrations)
      .filter(([path]) => Number(/(\d{4})-/.exec(path)?.[1]) <= number)
      .sort(([one], [other]) => (one < other ? -1 : 1));

  beforeEach(async () => {
    for (const table of await tables()) await run(`DROP TABLE ${table}`);
  });
  // The next test needs the whole schema again.
  afterEach(async () => {
    for (const table of await tables()) await run(`DROP TABLE ${table}`);
  });

  test.each([
    [0, 'an empty one'],
    [1, 'the first schema without a table of migrations'],
    [3, 'one that stopped at 3'],
    [10, 'one that stopped at 10'],
  ])('is refused with its version: %i, %s', async (version) => {
    for (const [, text] of upTo(version)) await run(text as string);
    if (version > 1) {
      await run('CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY, name TEXT UNIQUE)');
      for (const [path] of upTo(version)) await run(`INSERT INTO d1_migrations (name) VALUES ('${path.split('/').at(-1)}')`);
    }
    const before = await tables();
    for (const path of ['/v2/', '/token', '/api/v1/me']) {
      const response = await deployment().fetch('GET', path);
      expect(await refusal(response.clone())).toBe('503 UNAVAILABLE');
      const needs = `schema is at ${version}, this build needs ${SCHEMA.version}: run npm run deploy`;
      expect(await response.text()).toContain(needs);
    }
    expect(await tables()).toEqual(before);
    expect(await inBucket()).toBeUndefined();
  });

  test('works as soon as it has them', async () => {
    const waiting = deployment();
    expect((await waiting.fetch('GET', '/v2/')).status).toBe(503);
    for (const [, text] of upTo(9999)) await run(text as string);
    expect((await waiting.fetch('GET', '/v2/')).status).toBe(200);
  });
});

test('the stores and the schema are checked once: in one call to D1, and another one to claim a new database', async () => {
  const first = deployment();
  const { env, counts } = counting(first.env);
  await requireOwnStores(env);
  const made = { ...counts };
  const second = counting({ ...first.env, REGISTRY_SECRET: first.env.REGISTRY_SECRET as string });
  await requireOwnStores(second.env);
  expect(made.d1).toBe(2);
  expect(second.counts.d1).toBe(0);
});

test('the secret is in neither store', async () => {
  const { env } = deployment();
  await requireOwnStores(env);
  expect(JSON.stringify([await owner(), await inBucket()])).not.toContain(env.REGISTRY_SECRET);
});

test('a request does not wait for the check of another request, which the runtime may have cancelled', async () => {
  const first = deployment();
  const { env, stopped } = faulty(first.env, 'stop-before', 0);
  void requireOwnStores(env);
  await stopped;
  const answer = first.fetch('GET', '/v2/').then(({ status }) => status);
  expect(await Promise.race([answer, scheduler.wait(3000).then(() => 'no answer')])).toBe(200);
});
