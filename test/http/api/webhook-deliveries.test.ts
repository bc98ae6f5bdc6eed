/** Deliveries through the API: their states, and replays. The events come from real changes, and queues deliver them. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { consume } from '../../../src/queue.ts';
import { pushImage } from '../../world/images.ts';
import { everyItem } from '../../world/organizations.ts';
import { type ApiAnswer, type ApiRequest, api as anyApi, inviteUser, refused } from '../../world/people.ts';
import { deliverBatch, type TestQueue } from '../../world/queues.ts';
import { newestOf } from '../../world/reading.ts';
import { builtOnce, type World } from '../../world/world.ts';

interface Delivery {
  id: string;
  event: { id: number; type: string; repository: string | null; organization: string | null; sequence: number; at: string };
  state: string;
  attempts: unknown;
  createdAt: string;
  next: string | null;
}

interface Body extends Delivery {
  webhook: { id: string };
  secret: string;
  items: Delivery[];
  count: number;
  errors: [{ code: string; message: string }];
}

const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);

const REPOSITORY = '/repositories/acme/api/-/webhooks';

let world: World;

const build = builtOnce(async (made) => {
  world = made;
  await api('PUT', '/repositories/acme/api', {});
});

beforeEach(async () => {
  world = await build();
});

afterEach(() => {
  vi.restoreAllMocks();
});

async function make(place = REPOSITORY, body: object = {}): Promise<string> {
  const { status, body: made } = await api('POST', place, { body: { url: 'https://hooks.example.com/in', ...body } });
  expect(status, JSON.stringify(made)).toBe(201);
  return made.webhook.id;
}

const queue = (name: 'EVENTS' | 'DELIVERIES') => world.env[name] as unknown as TestQueue;

/** Matches all events with webhooks, without sending deliveries. */
async function match(): Promise<void> {
  await world.env.EVENTS.send({ newest: 1 });
  while (queue('EVENTS').held.length > 0) await deliverBatch(queue('EVENTS'), consume, world.env);
}

interface Sent {
  id: string;
  body: string;
}

/** Attempts every delivery in the queue once, with an endpoint that gives these answers. @returns the requests */
async function deliver(answer: () => Response): Promise<Sent[]> {
  const sent: Sent[] = [];
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init as RequestInit);
    sent.push({ id: request.headers.get('webhook-id') ?? '', body: await request.text() });
    return answer();
  });
  const count = queue('DELIVERIES').held.length;
  for (let done = 0; done < count; done += 5) await deliverBatch(queue('DELIVERIES'), consume, world.env, 5);
  return sent;
}

const fine = () => new Response('thanks');
const broken = () => new Response('out of order', { status: 503 });

const deliveriesOf = async (webhook: string, query = '') =>
  (await api('GET', `/webhooks/${webhook}/deliveries${query}`)).body.items;

async function oneOf(webhook: string): Promise<Delivery> {
  const [one] = await deliveriesOf(webhook);
  return one as Delivery;
}

const replay = (webhook: string, body: object) => api('POST', `/webhooks/${webhook}/replay`, { body });

async function setState(webhook: string, state: string): Promise<void> {
  await world.env.DB.prepare('UPDATE deliveries SET state = ?2 WHERE subscription = ?1').bind(webhook, state).run();
}

async function statesOf(webhook: string): Promise<string[]> {
  return (await everyItem<Delivery>(world, `/webhooks/${webhook}/deliveries`, { n: 1000 })).map(({ state }) => state);
}

async function rows(): Promise<unknown> {
  const results = await world.env.DB.batch(
    ['SELECT * FROM subscriptions', 'SELECT * FROM deliveries', 'SELECT * FROM events'].map((sql) => world.env.DB.prepare(sql)),
  );
  return [...results.map((result) => result.results), queue('DELIVERIES').held.length];
}

async function unchanged(answer: () => Promise<ApiAnswer<Body>>): Promise<string> {
  const before = await rows();
  const code = refused(await answer());
  expect(await rows()).toEqual(before);
  return code;
}

/** Pushes `count` new tags of one image, which are `count` events. */
async function push(count: number, repository = 'acme/api'): Promise<void> {
  for (let n = 0; n < count; n++) await pushImage(world, repository, `v${n}`);
}

/** Creates events of new tags at these times, in seconds since the epoch. @returns the ids */
async function pushAt(...times: number[]): Promise<number[]> {
  const ids: number[] = [];
  for (const [n, time] of times.entries()) {
    await pushImage(world, 'acme/api', `at${n}`);
    ids.push(await newestOf(world));
    await world.env.DB.prepare('UPDATE events SET at = ?2 WHERE id = ?1').bind(ids.at(-1), time).run();
  }
  return ids;
}

const time = (seconds: number) => new Date(seconds * 1000).toISOString();

describe('the list of deliveries', () => {
  test('has an event once it is matched, and says when it will be tried', async () => {
    const id = await make();
    await push(1);
    expect(await deliveriesOf(id)).toEqual([]);
    await match();
    const event = await newestOf(world);
    const [one, ...others] = await deliveriesOf(id);
    expect(others).toEqual([]);
    expect(one).toEqual({
      id: `${id}_${event}`,
      event: {
        id: event,
        type: 'tag.created',
        repository: 'acme/api',
        organization: null,
        sequence: expect.any(Number),
        at: expect.stringMatching(/Z$/),
      },
      state: 'waiting',
      attempts: 0,
      createdAt: expect.stringMatching(/Z$/),
      next: one?.createdAt,
    });
    const sent = await deliver(fine);
    expect(sent.map((request) => request.id)).toEqual([one?.id]);
    expect(await oneOf(id)).toEqual({ ...one, state: 'delivered', attempts: 1, next: null });
  });

  test('has events about an organization too', async () => {
    await api('PUT', '/organizations/acme', {});
    const id = await make('/organizations/acme/webhooks', { types: ['*'] });
    await api('PUT', '/organizations/acme/teams/dev', {});
    await match();
    expect((await oneOf(id)).event).toMatchObject({ type: 'team.created', repository: null, organization: 'acme' });
  });

  test('is paged newest first, for one state or all', async () => {
    const types = ['tag.created'];
    const id = await make(REPOSITORY, { types });
    await make(REPOSITORY, { types });
    await push(7);
    await match();
    const all = await everyItem<Delivery>(world, `/webhooks/${id}/deliveries`, { n: 2 });
    const events = all.map(({ event }) => event.id);
    expect(events).toEqual(Array.from({ length: 7 }, (_, n) => (events[0] as number) - n));
    const third = all[2] as Delivery;
    await world.env.DB.prepare("UPDATE deliveries SET state = 'failed' WHERE subscription = ?1 AND event = ?2")
      .bind(id, third.event.id)
      .run();
    expect(await deliveriesOf(id, '?state=failed')).toEqual([{ ...third, state: 'failed', next: null }]);
    expect(await deliveriesOf(id, '?state=waiting')).toEqual(all.filter((one) => one !== third));
    expect(await deliveriesOf(id, '?state=delivered')).toEqual([]);
    expect(await deliveriesOf(id, `?last=${third.id}&n=1`)).toEqual([all[3]]);
  });

  test.each(['state=lost', 'n=0', 'n=1001', 'last=x', 'last=7', 'since=x'])('with %s is refused', async (query) => {
    const id = await make();
    expect(refused(await api('GET', `/webhooks/${id}/deliveries?${query}`))).toBe('400 INVALID');
  });
});

describe('a delivery', () => {
  test('shows each attempt: the answer, its duration, and the time of the next one', async () => {
    const id = await make();
    await push(1);
    await match();
    await deliver(broken);
    const waiting = await oneOf(id);
    expect(waiting).toMatchObject({ state: 'waiting', attempts: 1 });
    const { status, body } = await api('GET', `/webhooks/${id}/deliveries/${waiting.id}`);
    expect(status).toBe(200);
    expect(body).toEqual({
      ...waiting,
      attempts: [
        {
          at: expect.stringMatching(/Z$/),
          status: 503,
          error: 'the endpoint answered with status 503',
          latencyMs: expect.any(Number),
          response: 'out of order',
          next: waiting.next,
        },
      ],
    });
    expect(Date.parse(waiting.next as string)).toBeGreaterThan(Date.now());
    await world.env.DB.prepare('UPDATE deliveries SET due_at = unixepoch()').run();
    await deliver(fine);
    const later = await api('GET', `/webhooks/${id}/deliveries/${waiting.id}`);
    expect(later.body).toMatchObject({
      state: 'delivered',
      next: null,
      attempts: [{ status: 503 }, { status: 200, next: null }],
    });
  });

  test('that could not be sent says why', async () => {
    const id = await make();
    await push(1);
    await match();
    await deliver(() => {
      throw new Error('connection refused');
    });
    const { body } = await api('GET', `/webhooks/${id}/deliveries/${(await oneOf(id)).id}`);
    expect(body.attempts).toMatchObject([
      { status: null, error: 'no answer: the connection failed, or there was no answer within 10 seconds', response: '' },
    ]);
  });

  test('shows no secret that the endpoint returned', async () => {
    const secrets = { query: 'query-0b6a7', header: 'header-5c1d9' };
    const body = {
      url: `https://hooks.example.com/?t=${secrets.query}`,
      headers: { Authorization: `Bearer ${secrets.header}` },
    };
    const id = await make(REPOSITORY, body);
    await push(1);
    await match();
    await deliver(() => new Response(`you said ${secrets.query} and ${secrets.header}`));
    const { body: shown } = await api('GET', `/webhooks/${id}/deliveries/${(await oneOf(id)).id}`);
    expect(JSON.stringify(shown)).toContain('you said');
    for (const secret of Object.values(secrets)) expect(JSON.stringify(shown)).not.toContain(secret);
  });

  test('is found under its own webhook only, by its own id only', async () => {
    const [id, other] = [await make(), await make(REPOSITORY, { types: ['tag.deleted'] })];
    await push(1);
    await match();
    const one = await oneOf(id);
    const event = one.event.id;
    for (const [webhook, delivery] of [
      [other, one.id],
      [other, `${other}_${event}`],
      [id, `${id}_${event + 1}`],
      [id, `${id}_0${event}`],
      [id, `${id}_0`],
      [id, `${id}_-1`],
      [id, `${id}_${'9'.repeat(30)}`],
      [id, String(event)],
      [id, 'x'],
    ]) {
      const path = `/webhooks/${webhook}/deliveries/${delivery}`;
      expect(await unchanged(() => api('GET', path)), path).toBe('404 NOT_FOUND');
      expect(await unchanged(() => api('POST', `${path}/replay`)), path).toBe('404 NOT_FOUND');
    }
  });
});

describe('a repeated delivery', () => {
  test.each(['waiting', 'delivered', 'failed'])('though it is %s, has the same id and body', async (state) => {
    const id = await make();
    await push(1);
    await match();
    const [first] = await deliver(fine);
    await setState(id, state);
    const before = await newestOf(world);
    const { status, body } = await api('POST', `/webhooks/${id}/deliveries/${(await oneOf(id)).id}/replay`);
    expect(status).toBe(202);
    expect(body).toMatchObject({ id: first?.id, state: 'waiting', attempts: [{ status: 200 }] });
    expect(await deliver(fine)).toEqual([first]);
    expect(await oneOf(id)).toMatchObject({ state: 'delivered', attempts: 2 });
    expect(await newestOf(world)).toBe(before);
  });

  test('requires an enabled webhook', async () => {
    const id = await make();
    await push(1);
    await match();
    await api('PATCH', `/webhooks/${id}`, { body: { enabled: false } });
    const one = await oneOf(id);
    expect(await unchanged(() => api('POST', `/webhooks/${id}/deliveries/${one.id}/replay`))).toBe('409 CONFLICT');
    for (const body of [{ failed: true }, { since: '2020-01-01T00:00:00Z' }]) {
      expect(await unchanged(() => replay(id, body))).toBe('409 CONFLICT');
    }
    await api('PATCH', `/webhooks/${id}`, { body: { enabled: true } });
    expect((await api('POST', `/webhooks/${id}/deliveries/${one.id}/replay`)).status).toBe(202);
  });
});

describe('repeating all failed deliveries', () => {
  test('makes those pending again, and nothing else', async () => {
    const types = ['tag.created'];
    const [id, other] = [await make(REPOSITORY, { types }), await make(REPOSITORY, { types })];
    await push(4);
    await match();
    queue('DELIVERIES').held.splice(0);
    await setState(id, 'failed');
    await setState(other, 'failed');
    const [newest] = await deliveriesOf(id);
    await world.env.DB.prepare("UPDATE deliveries SET state = 'delivered' WHERE subscription = ?1 AND event = ?2")
      .bind(id, newest?.event.id)
      .run();
    const { status, body } = await replay(id, { failed: true });
    expect([status, body]).toEqual([202, { count: 3, next: null }]);
    expect(await statesOf(id)).toEqual(['delivered', 'waiting', 'waiting', 'waiting']);
    expect(new Set(await statesOf(other))).toEqual(new Set(['failed']));
    expect(await deliver(fine)).toHaveLength(3);
    expect((await replay(id, { failed: true })).body).toEqual({ count: 0, next: null });
  });

  test('takes some hundreds at a time, each once', async () => {
    const id = await make();
    await push(1);
    await match();
    await world.env.DB.prepare(
      `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1200)
       INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at)
       SELECT subscription, event + n, event_data, 'failed', created_at, due_at FROM deliveries, n WHERE subscription = ?`,
    )
      .bind(id)
      .run();
    await setState(id, 'failed');
    queue('DELIVERIES').held.splice(0);
    const counts: number[] = [];
    for (let after: number | null = 0; after !== null; ) {
      const { body }: ApiAnswer<Body> = await replay(id, { failed: true, after });
      counts.push(body.count);
      after = body.next as number | null;
      // The delivery fails again during the replay. It must not be replayed twice.
      if (counts.length === 1) await setState(id, 'failed');
    }
    expect(counts).toEqual([500, 500, 201]);
    const keys = queue('DELIVERIES').held.map(({ body }) => JSON.stringify(body));
    expect(new Set(keys).size).toBe(1201);
    expect(keys).toHaveLength(1201);
  });
});

describe('repeating all since a time', () => {
  const T = 1_700_000_000;

  test('includes that second and excludes the end', { tags: 'slow' }, async () => {
    await pushAt(T, T + 1, T + 2, T + 3);
    // The webhook is created after the events.
    const id = await make(REPOSITORY, { types: ['tag.created'] });
    const tags = async (body: object) => {
      await world.env.DB.prepare('DELETE FROM deliveries').run();
      queue('DELIVERIES').held.splice(0);
      const answer = await replay(id, body);
      expect(answer.status).toBe(202);
      const sent = (await deliver(fine)).map(({ body: text }) => (JSON.parse(text) as { data: { tag: string } }).data.tag);
      expect(answer.body).toEqual({ count: sent.length, next: null });
      return sent.sort().join();
    };
    expect(await tags({ since: time(T) })).toBe('at0,at1,at2,at3');
    expect(await tags({ since: time(T + 1), until: time(T + 3) })).toBe('at1,at2');
    expect(await tags({ since: time(T + 0.5), until: time(T + 2.5) })).toBe('at1,at2');
    expect(await tags({ since: time(T + 2), until: time(T + 2) })).toBe('');
    expect(await tags({ since: time(T + 3), until: time(T) })).toBe('');
    expect(await tags({ since: time(T + 4) })).toBe('');
    expect(await tags({ since: '2023-11-15T00:13:22+02:00' })).toBe('at2,at3');
  });

  test('includes all events that the webhook matches, delivered or not, and does not change pending deliveries', async () => {
    const id = await make(REPOSITORY, { tags: ['at*'] });
    const since = time(T);
    await pushAt(T, T, T);
    await push(1);
    await match();
    await deliver(fine);
    expect(await statesOf(id)).toEqual(['delivered', 'delivered', 'delivered']);
    expect((await replay(id, { since })).body).toEqual({ count: 3, next: null });
    expect((await replay(id, { since })).body).toEqual({ count: 0, next: null });
    expect(await deliver(fine)).toHaveLength(3);
    await setState(id, 'failed');
    expect((await replay(id, { since })).body).toEqual({ count: 3, next: null });
  });

  test("is limited to the webhook's own scope", async () => {
    await api('PUT', '/organizations/acme', {});
    for (const name of ['acme/api', 'acme/web', 'acme2/api', 'acme-x/api']) await pushImage(world, name, 'v1');
    const seen = async (place: string) => {
      const id = await make(place, { types: ['tag.created'] });
      await replay(id, { since: time(T) });
      return (await deliveriesOf(id)).map(({ event }) => event.repository).sort();
    };
    expect(await seen(REPOSITORY)).toEqual(['acme/api']);
    expect(await seen('/organizations/acme/webhooks')).toEqual(['acme/api', 'acme/web']);
    expect(await seen('/webhooks')).toEqual(['acme-x/api', 'acme/api', 'acme/web', 'acme2/api']);
  });

  test('takes some hundreds at a time, each once, and stops at the given end', async () => {
    const [first = 0] = await pushAt(T);
    await world.env.DB.prepare(
      `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
       INSERT INTO events (id, at, type, about, sequence, target, actor)
       SELECT id + n, at + n, iif(n % 2 = 0, type, 'repository.changed'), about, sequence + n, target, actor FROM events, n
       WHERE id = ?`,
    )
      .bind(first)
      .run();
    const id = await make(REPOSITORY, { types: ['tag.created'] });
    const all = async (body: object) => {
      await world.env.DB.prepare('DELETE FROM deliveries').run();
      let count = 0;
      let requests = 0;
      for (let after: number | null = 0; after !== null; requests++) {
        const answer: ApiAnswer<Body> = await replay(id, { ...body, after });
        expect(answer.body.count).toBeLessThanOrEqual(500);
        count += answer.body.count;
        after = answer.body.next as number | null;
      }
      const { length } = await everyItem<Delivery>(world, `/webhooks/${id}/deliveries`, { n: 1000 });
      expect(length).toBe(count);
      return { count, requests };
    };
    expect(await all({ since: time(T) })).toEqual({ count: 1251, requests: 3 });
    expect(await all({ since: time(T), until: time(T + 100) })).toEqual({ count: 50, requests: 1 });
  });

  test('records no event', async () => {
    const id = await make();
    await push(2);
    const before = await newestOf(world);
    await replay(id, { since: time(T) });
    expect(await newestOf(world)).toBe(before);
  });
});

test.each([
  {},
  { failed: false },
  { failed: true, since: '2020-01-01T00:00:00Z' },
  { failed: true, until: '2020-01-01T00:00:00Z' },
  { until: '2020-01-01T00:00:00Z' },
  { since: '2020-01-01T00:00:00' },
  { since: '2020-01-01' },
  { since: '2020-02-30T00:00:00Z' },
  { since: 'yesterday' },
  { since: 1_700_000_000 },
  { since: '2020-01-01T00:00:00Z', until: 'now' },
  { failed: true, after: -1 },
  { failed: true, after: 0.5 },
  { failed: true, after: '7' },
  { failed: true, all: true },
  'all',
])('a replay of %o is refused', async (body) => {
  const id = await make();
  await push(1);
  await match();
  await setState(id, 'failed');
  expect(await unchanged(() => api('POST', `/webhooks/${id}/replay`, { body: JSON.stringify(body) }))).toBe('400 INVALID');
});

describe('repeats are limited:', () => {
  test('ten requests for the same events call the endpoint once for each event', async () => {
    const id = await make(REPOSITORY, { types: ['tag.created'] });
    await pushAll(20);
    await match();
    expect(await deliver(fine)).toHaveLength(20);
    const counts: number[] = [];
    for (let n = 0; n < 10; n++) {
      counts.push((await replay(id, { since: '2020-01-01T00:00:00Z' })).body.count);
      await deliver(fine);
    }
    expect(counts).toEqual([20, ...Array(9).fill(0)]);
    // A failed delivery is not waiting for another attempt.
    await setState(id, 'failed');
    expect((await replay(id, { failed: true })).body.count).toBe(20);
    await setState(id, 'delivered');
    expect((await replay(id, { since: '2020-01-01T00:00:00Z' })).body.count).toBe(0);
    await world.env.DB.prepare('UPDATE deliveries SET replayed_at = replayed_at - 601').run();
    expect((await replay(id, { since: '2020-01-01T00:00:00Z' })).body.count).toBe(20);
  });

  test('an account may have a thousand deliveries repeated a day', async () => {
    const alice = await inviteUser(world, 'alice');
    const body = { statements: [{ actions: 'all actions', principals: [alice.subject] }] };
    expect((await api('PUT', '/repositories/acme/api/-/policy', { body })).status).toBe(200);
    const id = await make(REPOSITORY, { types: ['tag.created'] });
    await pushAll(2);
    const again = () => api('POST', `/webhooks/${id}/replay`, { as: alice.basic, body: { since: '2020-01-01T00:00:00Z' } });
    expect((await again()).body.count).toBe(2);
    await world.env.DB.prepare("UPDATE account_days SET count = 1000 WHERE kind = 'replays'").run();
    const { status, headers, body: refusal } = await again();
    expect([status, refusal.errors[0].message]).toEqual([429, expect.stringContaining('user:alice had 1000 deliveries')]);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    const [one] = await deliveriesOf(id);
    expect((await api('POST', `/webhooks/${id}/deliveries/${one?.id}/replay`, { as: alice.basic })).status).toBe(429);
  });

  async function pushAll(count: number): Promise<void> {
    const { digest } = await pushImage(world, 'acme/api', 'v0');
    const { body } = { body: await (await world.fetch('GET', `/v2/acme/api/manifests/${digest}`)).text() };
    const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
    for (let n = 1; n < count; n++) await world.fetch('PUT', `/v2/acme/api/manifests/v${n}`, { headers, body });
  }
});
