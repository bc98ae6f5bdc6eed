/** The answers of the registry to each documented error of D1. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { runScheduled } from '../../src/cron.ts';
import { secondsToMidnight } from '../../src/events/database-failure.ts';
import { consume } from '../../src/queue.ts';
import { IMAGE_TYPE, pushImage, refusal } from '../world/images.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const READ_LIMIT =
  "D1_ERROR: Your account has exceeded D1's free tier daily row read limit. Upgrade to a paid plan or wait until tomorrow (midnight UTC) to continue.";
const WRITE_LIMIT = READ_LIMIT.replace('row read', 'row write');
const OVERLOADED = [
  'D1_ERROR: D1 DB is overloaded. Requests queued for too long.',
  'D1_ERROR: D1 DB is overloaded. Too many requests queued.',
  'D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.',
  "D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset.",
  'D1_ERROR: D1 DB exceeded its CPU time limit and was reset.',
];
const LOST = [
  'D1_ERROR: Network connection lost.',
  'D1_ERROR: D1 DB reset because its code was updated.',
  'D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset.',
  'D1_ERROR: Internal error in D1 DB storage caused object to be reset.',
  'D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.',
];

const FULL = ['D1_ERROR: Exceeded maximum DB size', 'D1_ERROR: Exceeded maximum account storage limit'];

let world: World;
beforeEach(async () => {
  world = await newWorld();
});

/** A database whose calls all fail with this text. `asked` counts the calls. */
function failing(text: string): { world: World; asked: () => number } {
  let count = 0;
  const fail = () => {
    count++;
    return Promise.reject(new Error(text));
  };
  const statement: Record<string, unknown> = { first: fail, all: fail, run: fail };
  statement.bind = () => statement;
  const DB = new Proxy(world.env.DB, { get: (_, name) => (name === 'prepare' ? () => statement : fail) });
  return { world: worldOf({ ...world.env, DB }), asked: () => count };
}

/** A database whose batches, and so all writes, fail with this text. It can be read. */
function failingToWrite(text: string): { world: World; asked: () => number } {
  let count = 0;
  const batch = () => {
    count++;
    return Promise.reject(new Error(text));
  };
  const DB = new Proxy(world.env.DB, {
    get: (target, name) => (name === 'batch' ? batch : Reflect.get(target, name).bind(target)),
  });
  return { world: worldOf({ ...world.env, DB }), asked: () => count };
}

const putManifest = async (through: World) => {
  const image = await pushImage(world, 'acme/api', 'v1');
  const body = new TextDecoder().decode(image.bytes);
  return through.fetch('PUT', '/v2/acme/api/manifests/v2', { headers: { 'content-type': IMAGE_TYPE }, body });
};

const REQUESTS = [
  ['GET', '/v2/acme/api/manifests/v1'],
  ['POST', '/v2/acme/api/blobs/uploads/'],
  ['GET', '/token?scope=repository:acme/api:pull'],
  ['GET', '/api/v1/me'],
] as const;

describe.each([
  ['read', READ_LIMIT],
  ['written', WRITE_LIMIT],
])("while the day's limit of rows %s is used up", (kind, text) => {
  test.each(REQUESTS)('%s %s is a 429 that names the limit, with Retry-After until 00:00 UTC', async (method, path) => {
    const response = await failing(text).world.fetch(method, path);
    expect(await refusal(response.clone())).toBe('429 TOOMANYREQUESTS');
    const wait = Number(response.headers.get('retry-after'));
    expect(Math.abs(wait - secondsToMidnight(Date.now()))).toBeLessThan(30);
    const body = await response.text();
    expect(body).toContain(`the day's limit of database rows ${kind} on Cloudflare's free plan is used up`);
    expect(body).toContain('00:00 UTC');
  });

  test('a write is not retried', async () => {
    const { world: full, asked } = failingToWrite(text);
    expect(await refusal(await putManifest(full))).toBe('429 TOOMANYREQUESTS');
    expect(asked()).toBe(1);
  });

  test('the event queue waits until 00:00 UTC, and spends no operation before', async () => {
    const retryAll = vi.fn();
    const batch = { queue: 'berth-events', messages: [], retryAll } as unknown as MessageBatch;
    await consume(batch, failing(text).world.env, { waitUntil: () => {} });
    expect(Math.abs(retryAll.mock.calls[0]?.[0].delaySeconds - secondsToMidnight(Date.now()))).toBeLessThan(30);
  });

  test('the schedule stops at its first query', async () => {
    const { world: full, asked } = failing(text);
    await expect(runScheduled(full.env, Date.now())).rejects.toThrow('free tier daily row');
    expect(asked()).toBe(1);
  });
});

test.each(OVERLOADED)('"%s" is a 503 with Retry-After of some seconds, and a write is not retried', async (text) => {
  const { world: busy, asked } = failingToWrite(text);
  const response = await putManifest(busy);
  expect(await refusal(response.clone())).toBe('503 UNAVAILABLE');
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(5);
  expect(await response.text()).toContain('the database is overloaded');
  expect(asked()).toBe(1);
});

test.each(LOST)('"%s" is a 503 that can be retried at once, and the registry retries a write', async (text) => {
  const { world: gone, asked } = failingToWrite(text);
  const response = await putManifest(gone);
  expect(await refusal(response.clone())).toBe('503 UNAVAILABLE');
  expect(response.headers.get('retry-after')).toBe('1');
  expect(await response.text()).toContain('the connection to the database was lost');
  expect(asked()).toBe(2);
});

test('a statement that the database rejects is not retried, and nothing of it is shown', async () => {
  const { world: refusing, asked } = failingToWrite('D1_ERROR: string or blob too big: SQLITE_TOOBIG');
  const response = await putManifest(refusing);
  expect(await refusal(response.clone())).toBe('503 UNAVAILABLE');
  expect(await response.text()).not.toMatch(/SQLITE|D1/);
  expect(asked()).toBe(1);
});

describe('while the database is full', () => {
  test.each(FULL)('a push is a 503 that says so, and is not sent again by itself: %s', async (text) => {
    const through = failingToWrite(text);
    const response = await putManifest(through.world);
    expect(await refusal(response.clone())).toBe('503 UNAVAILABLE');
    expect(response.headers.get('retry-after')).toBe('60');
    expect(await response.text()).toContain('the database is full');
    expect(through.asked()).toBe(1);
  });
});
