/**
 * The cost of deliveries. Written rows are the scarcest resource of the free plan (100,000 a day), followed by queue operations
 * (10,000 a day). A commit that raises a number must say why.
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { factsOf } from '../../../src/app/deliveries.ts';
import { runScheduled } from '../../../src/cron.ts';
import { expireEvents, searchEvents } from '../../../src/events/history.ts';
import { listDeliveries, replayFailed, replaySince } from '../../../src/webhooks/delivery/history.ts';
import { matchEvents } from '../../../src/webhooks/delivery/matching.ts';
import { failExpired, remindOfForgotten } from '../../../src/webhooks/delivery/reminders.ts';
import { expireDeliveries, removeEnded } from '../../../src/webhooks/subscriptions.ts';
import { pushImage } from '../../world/images.ts';
import { recordAll } from '../../world/record.ts';
import { countingStatements, deliverSome, match, newScene, pass, type Scene, status, subscribe } from '../../world/webhooks.ts';

let scene: Scene;

beforeEach(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  scene = await newScene();
});

async function happen(count: number, about = 'acme/api'): Promise<void> {
  const by = { subject: 'user:admin' };
  const one = () => ({ about, by, select: `SELECT 'tag.created' AS type, '{"tag":"v1"}' AS target` });
  for (let left = count; left > 0; left -= 50) await recordAll(scene.env, Array.from({ length: Math.min(left, 50) }, one));
}

const only = { filter: { types: ['tag.created' as const] } };

async function waiting(count: number, endpoints = 1): Promise<void> {
  for (let n = 0; n < endpoints; n++) await subscribe(scene, { ...only, url: `https://hooks${n}.example.com/` });
  await happen(count);
  while (!(await match(scene)));
}

/** Runs one step. @returns its cost */
async function cost(step: (env: Scene['env']) => Promise<unknown>) {
  const { env, counts, statements } = countingStatements(scene.env);
  await step(env);
  const { d1, rowsRead, rowsWritten } = counts;
  return { d1, rowsRead, rowsWritten, statements: statements.length };
}

describe('a delivery', () => {
  test('in a batch of its own takes three statements, two round trips and two rows', async () => {
    await waiting(1);
    const spent = await cost((env) => deliverSome(scene, { env }));
    expect(scene.sink.acknowledged).toHaveLength(1);
    expect(spent).toMatchObject({ statements: 3, d1: 2 });
    // One row is written for the claim, and one for the result.
    expect(spent.rowsWritten).toBe(2);
    expect(spent.rowsRead).toBeLessThanOrEqual(16);
  });

  test.each([1, 5])('in a batch of five, of %i endpoints, has the same statements', async (endpoints) => {
    await waiting(5 / endpoints, endpoints);
    const spent = await cost((env) => deliverSome(scene, { env }));
    expect(scene.sink.acknowledged).toHaveLength(5);
    expect(spent).toMatchObject({ statements: 3, d1: 2 });
    expect(spent.rowsWritten).toBe(5 * 2);
  });

  test('that fails takes one more statement for its endpoint, and two rows', async () => {
    await waiting(1);
    scene.sink.answer = status(500);
    const spent = await cost((env) => deliverSome(scene, { env }));
    // The statement sets the state, so the index entry is written again, even if the state is the same.
    expect(spent).toMatchObject({ statements: 4, d1: 2, rowsWritten: 4 });
  });

  test('that is done already or not due takes two statements and writes nothing', async () => {
    await waiting(2);
    const held = structuredClone(scene.deliveries.held);
    await deliverSome(scene, { size: 1 });
    await scene.env.DB.prepare('UPDATE subscriptions SET failures = 7, open_until = unixepoch() + 900').run();
    scene.deliveries.held.splice(0, 9, ...held);
    expect(await cost((env) => deliverSome(scene, { env }))).toMatchObject({ statements: 2, d1: 1, rowsWritten: 0 });
    expect(scene.sink.posts).toHaveLength(1);
  });

  test('reads no more if thousands of others are pending', { tags: 'slow' }, async () => {
    await waiting(1);
    const [message] = structuredClone(scene.deliveries.held);
    await happen(3000);
    while (!(await match(scene)));
    scene.deliveries.held.splice(0, 9999, message as NonNullable<typeof message>);
    expect((await cost((env) => deliverSome(scene, { env }))).rowsRead).toBeLessThanOrEqual(16);
  });

  test('from a push to its end writes five rows besides the event', async () => {
    await subscribe(scene, only);
    await happen(1);
    const matched = await cost((env) => matchEvents(env, (names) => factsOf(env, names), 4));
    const delivered = await cost((env) => deliverSome(scene, { env }));
    expect(matched.rowsWritten + delivered.rowsWritten).toBe(5);
  });
});

describe('matching', () => {
  test('of 100 events with ten endpoints takes two slices of six statements and four round trips', async () => {
    for (let n = 0; n < 10; n++) await subscribe(scene, only);
    await match(scene);
    await happen(50);
    const one = await cost((env) => matchEvents(env, (names) => factsOf(env, names), 4));
    expect(scene.deliveries.held).toHaveLength(500);
    expect(one).toMatchObject({ statements: 6, d1: 4 });
    // Each delivery has a row and an index entry, and the cursor is one row.
    expect(one.rowsWritten).toBe(500 * 2 + 1);
    await happen(100);
    const two = await cost((env) => matchEvents(env, (names) => factsOf(env, names), 4));
    expect(scene.deliveries.held).toHaveLength(1500);
    expect(two).toMatchObject({ statements: 12, d1: 8 });
  });

  test('without events takes two statements', async () => {
    await waiting(1);
    expect(await cost((env) => matchEvents(env, (names) => factsOf(env, names), 4))).toMatchObject({ statements: 2 });
  });

  test('of one event reads only the subscriptions that could match it', async () => {
    for (let n = 0; n < 20; n++) await subscribe(scene, { ...only, scope: `repository:acme/other${n}` });
    await match(scene);
    await happen(1);
    const spent = await cost((env) => matchEvents(env, (names) => factsOf(env, names), 4));
    expect(spent.rowsRead).toBeLessThanOrEqual(25);
  });
});

test('one request sends one message, however much it changes', async () => {
  const image = await pushImage(scene.world, 'acme/api', 'v1');
  scene.events.held.length = 0;
  const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
  const path = `/v2/acme/api/manifests/${image.digest}?tag=a&tag=b&tag=c`;
  expect((await scene.world.fetch('PUT', path, { headers, body: image.bytes })).status).toBe(201);
  expect(scene.events.held).toHaveLength(1);
  expect((await scene.world.fetch('PUT', path, { headers, body: image.bytes })).status).toBe(201);
  expect(scene.events.held, 'a push that changes nothing is told as well').toHaveLength(2);
});

test('a scheduled run with thousands of finished deliveries reads only what is due', { tags: 'slow' }, async () => {
  await waiting(2000);
  scene.deliveries.held.length = 0;
  await scene.env.DB.prepare("UPDATE deliveries SET state = 'delivered'").run();
  pass(scene, 3600);
  const hour = Math.ceil(scene.clock.now / 3_600_000) * 3_600_000 + 7 * 60_000;
  expect((await cost((env) => runScheduled(env, hour))).rowsRead).toBeLessThanOrEqual(250);
  expect((await cost((env) => runScheduled(env, hour + 600_000))).rowsRead).toBeLessThanOrEqual(100);
});

test('a run with thousands pending for a paused endpoint does not read them', { tags: 'slow' }, async () => {
  await waiting(2000);
  await scene.env.DB.prepare('UPDATE subscriptions SET failures = 9, open_until = unixepoch() + 9000').run();
  pass(scene, 3600);
  expect((await cost((env) => remindOfForgotten(env, 1000))).rowsRead).toBeLessThanOrEqual(10);
  expect((await cost((env) => failExpired(env, 1000))).rowsRead).toBeLessThanOrEqual(60);
});

describe('queries use an index', () => {
  const described = (names: Parameters<typeof factsOf>[1]) => factsOf(scene.env, names);

  /** The steps of the query plans of `step` that read events or deliveries. */
  async function plans(step: (env: Scene['env']) => Promise<unknown>): Promise<string[]> {
    const { env, statements } = countingStatements(scene.env);
    await step(env);
    const found: string[] = [];
    for (const sql of new Set(statements)) {
      const count = Math.max(0, ...[...sql.matchAll(/\?(\d+)/g)].map(([, number]) => Number(number)));
      const { results } = await scene.env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .bind(...Array.from({ length: count }, () => null))
        .all<{ detail: string }>();
      found.push(...results.map(({ detail }) => detail));
    }
    return found;
  }

  const STEPS: Record<string, (env: Scene['env'], subscription: Awaited<ReturnType<typeof subscribe>>) => Promise<unknown>> = {
    'claiming and writing down': (env) => deliverSome(scene, { env }),
    listing: (env, subscription) => listDeliveries(env, subscription, { before: null, limit: 20, state: 'failed' }),
    reminding: (env) => remindOfForgotten(env, 100),
    'ending what is hopeless': (env) => failExpired(env, 100),
    'replaying what failed': (env, subscription) => replayFailed(env, subscription, 0),
    'replaying a span': (env, subscription) => replaySince(env, subscription, { since: 0, until: null, after: 0 }, described),
    'expiring deliveries': (env) => expireDeliveries(env, 14, 100),
    'expiring events': (env) => expireEvents(env, { days: 1, upTo: 10, limit: 100 }),
    'removing subscriptions': (env) => removeEnded(env, 10, 100),
    matching: (env) => matchEvents(env, described, 4),
    searching: (env) =>
      searchEvents(
        env,
        {
          about: { exactly: 'acme/api' },
          actor: null,
          types: null,
          since: 5,
          until: 9,
          after: 0,
          tag: 'v1',
          digest: null,
          cause: null,
        },
        null,
        20,
      ),
  };

  test.each(Object.entries(STEPS))('for %s', async (_, step) => {
    const subscription = await subscribe(scene, only);
    await happen(6);
    await match(scene);
    await happen(2);
    const found = await plans((env) => step(env, subscription));
    expect(found.length).toBeGreaterThan(0);
    const scans = found.filter((detail) => /^SCAN (?:events|deliveries|d|e|n)\b/.test(detail));
    expect(scans).toEqual([]);
  });
});
