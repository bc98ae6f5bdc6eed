/** The list of deliveries, and replays of one delivery, of all failed ones, or of a span of time, in slices. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { factsOf } from '../../../src/app/deliveries.ts';
import { eventsAfter, firstEventSince } from '../../../src/events/history.ts';
import {
  getDelivery,
  listDeliveries,
  REPLAY_MAX,
  type Replayed,
  replayDelivery,
  replayFailed,
  replaySince,
} from '../../../src/webhooks/delivery/history.ts';
import type { Subscription } from '../../../src/webhooks/subscriptions.ts';
import { drain, match, newScene, rowsOf, type Scene, statesOf, subscribe } from '../../world/webhooks.ts';

let scene: Scene;

beforeEach(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  scene = await newScene();
});

const START = 1_700_000_000;

/** Inserts events with these ids and times. A greater id has a later time. */
async function events(rows: { id: number; at: number; type?: string; about?: string }[]): Promise<void> {
  await scene.env.DB.prepare("DELETE FROM events WHERE type = 'webhook.created'").run();
  await scene.env.DB.prepare(
    `INSERT INTO events (id, at, type, about, sequence, target, actor)
     SELECT value ->> 'id', value ->> 'at', coalesce(value ->> 'type', 'tag.created'), coalesce(value ->> 'about', 'acme/api'),
       value ->> 'id', json_object('tag', 'v' || (value ->> 'id')), 'user:admin' FROM json_each(?1)`,
  )
    .bind(JSON.stringify(rows))
    .run();
}

const numbered = (from: number, count: number) =>
  Array.from({ length: count }, (_, n) => ({ id: from + n, at: START + from + n }));

/** Inserts a delivery for each of these events. @param state the state of the deliveries */
async function rows({ id }: Subscription, ids: number[], state: string): Promise<void> {
  await scene.env.DB.prepare(
    `INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at, tries)
     SELECT ?1, value, '{"event":{"id":0},"facts":null}', ?3, unixepoch() - 500, unixepoch() - 500, 10 FROM json_each(?2)`,
  )
    .bind(id, JSON.stringify(ids), state)
    .run();
}

const since = (subscription: Subscription, span: { since: number; until?: number | null; after?: number }) =>
  replaySince(scene.env, subscription, { until: null, after: 0, ...span }, (names) => factsOf(scene.env, names));

/** Sends all requests of a replay, each with `next` of the answer before. */
async function every(ask: (after: number) => Promise<Replayed>): Promise<Replayed[]> {
  const all: Replayed[] = [];
  for (let after: number | null = 0; after !== null; ) {
    const one: Replayed = await ask(after);
    expect(one.next ?? Number.MAX_SAFE_INTEGER, 'it leads back').toBeGreaterThan(after);
    all.push(one);
    after = one.next;
  }
  return all;
}

const counts = (all: Replayed[]) => all.map(({ count }) => count);
const heardIds = async (state = 'waiting') =>
  (await rowsOf(scene)).filter((row) => row.state === state).map(({ event }) => event);
const messages = () => scene.deliveries.held.map(({ body }) => (body as { event: number }).event);

describe('repeating one delivery', () => {
  test.each(['delivered', 'failed', 'waiting'])('that is %s, under the same id', async (state) => {
    const subscription = await subscribe(scene);
    await events([{ id: 5, at: START }]);
    await match(scene);
    await drain(scene);
    await scene.env.DB.prepare('UPDATE deliveries SET state = ?1, tries = 3, due_at = unixepoch() + 900').bind(state).run();
    const before = await getDelivery(scene.env, { subscription: subscription.id, event: 5 });
    const again = await replayDelivery(scene.env, before.key);
    expect(again).toMatchObject({ state: 'waiting', key: before.key, attempts: before.attempts });
    await drain(scene);
    expect(scene.sink.posts.map(({ id }) => id)).toEqual(Array(2).fill(`${subscription.id}_5`));
    const [first, second] = scene.sink.posts;
    expect(second?.body).toBe(first?.body);
    const after = await getDelivery(scene.env, before.key);
    expect(after.attempts).toHaveLength(2);
    expect(after.state).toBe('delivered');
  });

  test('that does not exist is a 404, and nothing is sent', async () => {
    const key = { subscription: 'wh_aaaaaaaaaaaaaaaaaaaa', event: 1 };
    await expect(replayDelivery(scene.env, key)).rejects.toMatchObject({ reason: 'not-found' });
    expect(scene.deliveries.held).toEqual([]);
  });

  test('that is pending leaves it pending: it is not sent twice', async () => {
    const subscription = await subscribe(scene);
    await rows(subscription, [5], 'waiting');
    await scene.env.DB.prepare('UPDATE deliveries SET claimed_until = unixepoch() + 30').run();
    await replayDelivery(scene.env, { subscription: subscription.id, event: 5 });
    expect(await rowsOf(scene)).toMatchObject([{ tries: 10 }]);
    await drain(scene);
    expect(scene.sink.posts).toEqual([]);
  });
});

describe('a replay of failed deliveries', () => {
  test('delivers that again, and nothing else', async () => {
    const [subscription, other] = [await subscribe(scene), await subscribe(scene)];
    await rows(subscription, [1, 2, 3], 'failed');
    await rows(subscription, [4], 'delivered');
    await rows(subscription, [5], 'waiting');
    await rows(other, [1, 2], 'failed');
    expect(await replayFailed(scene.env, subscription, 0)).toEqual({ count: 3, next: null });
    expect(messages().sort()).toEqual([1, 2, 3]);
    const failed = (await rowsOf(scene)).filter(({ state }) => state === 'failed');
    expect(failed.map((row) => row.subscription)).toEqual([other.id, other.id]);
  });

  test.each([
    [499, [499]],
    [500, [500, 0]],
    [501, [500, 1]],
    [1300, [500, 500, 300]],
  ])('%i of them in slices of five hundred, the oldest first', async (count, slices) => {
    const subscription = await subscribe(scene);
    await rows(
      subscription,
      Array.from({ length: count }, (_, n) => n + 1),
      'failed',
    );
    expect(counts(await every((after) => replayFailed(scene.env, subscription, after)))).toEqual(slices);
    expect(messages().sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, n) => n + 1));
  });
});

describe('repeating a span of time', () => {
  test('includes its first second and excludes its end', async () => {
    const subscription = await subscribe(scene);
    await events(numbered(100, 10));
    expect(await since(subscription, { since: START + 102, until: START + 105 })).toEqual({ count: 3, next: null });
    expect(await heardIds()).toEqual([102, 103, 104]);
    expect(messages().sort()).toEqual([102, 103, 104]);
  });

  test('includes or excludes events of the same second together', async () => {
    const subscription = await subscribe(scene);
    await events([10, 10, 10, 11, 11, 12].map((at, n) => ({ id: n + 100, at: START + at })));
    expect(await since(subscription, { since: START + 10, until: START + 11 })).toMatchObject({ count: 3 });
    expect(await since(subscription, { since: START + 11, until: START + 12 })).toMatchObject({ count: 2 });
  });

  test('includes every event that the subscription matches, with any delivery state and also from before it was created', async () => {
    const subscription = await subscribe(scene, { scope: 'repository:acme/api', filter: { types: ['tag.created'] } });
    await events([
      ...numbered(100, 4),
      { id: 104, at: START + 104, about: 'acme/other' },
      { id: 105, at: START + 105, type: 'tag.deleted' },
    ]);
    await rows(subscription, [100], 'delivered');
    await rows(subscription, [101], 'failed');
    await rows(subscription, [102], 'waiting');
    expect(await since(subscription, { since: START })).toEqual({ count: 3, next: null });
    expect(messages().sort()).toEqual([100, 101, 103]);
    expect(await heardIds()).toEqual([100, 101, 102, 103]);
    expect(
      (await rowsOf(scene)).find(({ event }) => event === 102),
      'what is under way stays so',
    ).toMatchObject({ tries: 10 });
  });

  test('larger than one request continues where it ended, each once', async () => {
    const subscription = await subscribe(scene);
    await events(numbered(100, 1234));
    const all = await every((after) => since(subscription, { since: START, after }));
    expect(counts(all)).toEqual([REPLAY_MAX, REPLAY_MAX, 234]);
    expect(messages().sort((a, b) => a - b)).toEqual(Array.from({ length: 1234 }, (_, n) => n + 100));
  });

  test('with thousands of other events continues as well, and says where', async () => {
    const subscription = await subscribe(scene, { filter: { types: ['tag.deleted'] } });
    await events([...numbered(100, 2500), { id: 9000, at: START + 9000, type: 'tag.deleted' }]);
    const all = await every((after) => since(subscription, { since: START, after }));
    expect(counts(all)).toEqual([0, 0, 1]);
  });

  test('that is over stops there', async () => {
    const subscription = await subscribe(scene);
    await events(numbered(100, 5000));
    expect(await since(subscription, { since: START + 100, until: START + 110 })).toEqual({ count: 10, next: null });
  });

  test('that is empty, or before or after everything, repeats nothing', async () => {
    const subscription = await subscribe(scene, { filter: { types: ['tag.created'] } });
    expect(await since(subscription, { since: 0 })).toEqual({ count: 0, next: null });
    await events(numbered(100, 3));
    expect(await since(subscription, { since: 0, until: START + 100 })).toEqual({ count: 0, next: null });
    expect(await since(subscription, { since: 2 * START })).toEqual({ count: 0, next: null });
  });

  test('does not duplicate events that are matched later', async () => {
    const subscription = await subscribe(scene, { filter: { types: ['tag.created'] } });
    await events(numbered(100, 3));
    await since(subscription, { since: START });
    await match(scene);
    expect(await statesOf(scene)).toHaveLength(3);
    await drain(scene);
    expect(scene.sink.posts).toHaveLength(3);
  });
});

describe('the list of deliveries', () => {
  test('is newest first, page by page, all or of one state', async () => {
    const subscription = await subscribe(scene);
    await rows(subscription, [1, 3, 5, 7], 'delivered');
    await rows(subscription, [2, 4, 6], 'failed');
    const page = async (before: number | null, state: 'failed' | null) => {
      const { items, more } = await listDeliveries(scene.env, subscription, { before, limit: 3, state });
      return [items.map(({ key }) => key.event), more];
    };
    expect(await page(null, null)).toEqual([[7, 6, 5], true]);
    expect(await page(5, null)).toEqual([[4, 3, 2], true]);
    expect(await page(2, null)).toEqual([[1], false]);
    expect(await page(null, 'failed')).toEqual([[6, 4, 2], false]);
    expect(await page(4, 'failed')).toEqual([[2], false]);
  });
});

describe('the first event since a time', () => {
  test('is the same id that a linear scan finds, whatever ids are missing', { tags: 'slow' }, async () => {
    const gaps = fc.array(fc.record({ id: fc.integer({ min: 1, max: 40 }), at: fc.integer({ min: 0, max: 6 }) }), {
      maxLength: 40,
    });
    await fc.assert(
      fc.asyncProperty(gaps, fc.integer({ min: -1, max: 260 }), async (steps, time) => {
        await scene.env.DB.prepare('DELETE FROM events').run();
        let [id, at] = [0, 0];
        const all = steps.map((step) => {
          id += step.id;
          at += step.at;
          return { id, at };
        });
        if (all.length > 0) await events(all);
        const expected = all.length === 0 ? 1 : (all.find((event) => event.at >= time)?.id ?? id + 1);
        const found = await firstEventSince(scene.env, time);
        // Every id after the previous event and up to this event gives the same result.
        const last = all.filter((event) => event.at < time).at(-1)?.id ?? 0;
        expect(found).toBeGreaterThan(last);
        expect(found).toBeLessThanOrEqual(expected);
      }),
      { numRuns: 150 },
    );
  });
});

describe('the events after an id', () => {
  test('come in order, a limited number, with a flag whether there are more', async () => {
    await events(numbered(100, 7));
    const page = async (id: number, limit: number) => {
      const { items, more } = await eventsAfter(scene.env, id, limit);
      return [items.map((event) => event.id), more];
    };
    expect(await page(0, 3)).toEqual([[100, 101, 102], true]);
    expect(await page(102, 4)).toEqual([[103, 104, 105, 106], false]);
    expect(await page(106, 4)).toEqual([[], false]);
  });

  test('are fewer if they are large, and never none', async () => {
    await events(numbered(100, 9));
    const size = (id: number, length: number) =>
      scene.env.DB.prepare("UPDATE events SET target = json_object('x', ?2) WHERE id = ?1").bind(id, 'x'.repeat(length)).run();
    await size(101, 490_000);
    await size(103, 900_000);
    const all: number[][] = [];
    for (let id = 0, more = true; more; ) {
      const page = await eventsAfter(scene.env, id, 100);
      all.push(page.items.map((event) => event.id));
      id = page.items.at(-1)?.id ?? 0;
      ({ more } = page);
    }
    expect(all.flat()).toEqual(numbered(100, 9).map(({ id }) => id));
    expect(all).toEqual([[100, 101, 102], [103], [104, 105, 106, 107, 108]]);
  });
});

test("repeating to a recreated repository's webhook omits its predecessor, and to its organization's does not", async () => {
  const own = await subscribe(scene, { scope: 'repository:acme/api' });
  const organizations = await subscribe(scene, { scope: 'organization:acme' });
  await events([
    { id: 10, at: START },
    { id: 11, at: START, type: 'repository.deleted' },
    { id: 12, at: START, type: 'repository.created' },
    { id: 13, at: START },
  ]);
  expect(await since(own, { since: START })).toEqual({ count: 2, next: null });
  expect(await heardIds()).toEqual([12, 13]);
  expect(await since(organizations, { since: START })).toEqual({ count: 4, next: null });
});

test('repeating for a deleted repository includes its deletion', async () => {
  const own = await subscribe(scene, { scope: 'repository:acme/api' });
  await events([
    { id: 10, at: START },
    { id: 11, at: START, type: 'repository.deleted' },
  ]);
  await since(own, { since: START });
  expect(await heardIds()).toEqual([10, 11]);
});
