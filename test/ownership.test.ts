/** A database and a bucket belong to one registry: a second deployment that is bound to them by mistake touches nothing. */
import { beforeEach, expect, test } from 'vitest';
import type { Env } from '../src/env.ts';
import worker from '../src/index.ts';
import { requireOwnStores } from '../src/ownership.ts';
import { pushImage, refusal } from './world/images.ts';
import { newWorld, type World, worldOf } from './world/world.ts';

let world: World;
let number = 0;
beforeEach(async () => {
  world = await newWorld();
});

/** A deployment with a secret that no test used before, on the stores of this test. */
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
  'a second deployment answers %s with a 503 that says whose the stores are, and changes nothing',
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

test('a bucket of another registry is refused, beside a database that is new or its own', async () => {
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

test('a secret that is replaced keeps its registry, with the one before it or without', async () => {
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

test('of sixteen requests that come first at once all are answered, and there is one owner', async () => {
  const first = deployment();
  const answers = await Promise.all(Array.from({ length: 16 }, () => first.fetch('GET', '/v2/')));
  expect(answers.map(({ status }) => status)).toEqual(Array(16).fill(200));
  const { results } = await world.env.DB.prepare('SELECT * FROM registry').all();
  expect(results.length).toBe(1);
});

test('a check that could not ask the database is a 503, and is made again by the next request', async () => {
  const first = deployment();
  const fail = () => Promise.reject(new Error('D1_ERROR: Network connection lost.'));
  const statement = { bind: () => statement, first: fail, all: fail, run: fail };
  const DB = new Proxy(world.env.DB, { get: (_, name) => (name === 'prepare' ? () => statement : fail) });
  const away = worldOf({ ...first.env, DB });
  expect((await away.fetch('GET', '/v2/')).status).toBe(503);
  expect((await first.fetch('GET', '/v2/')).status).toBe(200);
});

test('the secret is in neither store', async () => {
  const { env } = deployment();
  await requireOwnStores(env);
  expect(JSON.stringify([await owner(), await inBucket()])).not.toContain(env.REGISTRY_SECRET);
});
