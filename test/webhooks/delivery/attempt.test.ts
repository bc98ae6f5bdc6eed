/** One attempt: which answers count as success, timeouts, forbidden addresses, and what is stored of the answer. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { runScheduled } from '../../../src/cron.ts';
import type { Env } from '../../../src/env.ts';
import { changeSubscription } from '../../../src/webhooks/changes.ts';
import { redacted, sendTest } from '../../../src/webhooks/delivery/attempt.ts';
import { pushImage } from '../../world/images.ts';
import {
  type Answering,
  attemptsOf,
  deliverSome,
  drain,
  hanging,
  match,
  newScene,
  pass,
  rowsOf,
  type Scene,
  statesOf,
  status,
  subscribe,
  type Told,
  turning,
  untilQuiet,
} from '../../world/webhooks.ts';

let scene: Scene;

beforeEach(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  scene = await newScene();
});

const cron = () => turning(scene, runScheduled(scene.env, scene.clock.now, scene.doors));

async function waiting(told: Told = {}) {
  const subscription = await subscribe(scene, { filter: { types: ['tag.created'] }, ...told });
  await pushImage(scene.world, 'acme/api', 'v1');
  await match(scene);
  return subscription;
}

/** The row of the delivery, and its last attempt. */
async function outcome() {
  const [row] = await rowsOf(scene);
  if (!row) throw new Error('there is no delivery');
  return { ...row, last: attemptsOf(row).at(-1) };
}

async function tried(answer: Answering, told: Told = {}) {
  await waiting(told);
  scene.sink.answer = answer;
  await turning(scene, deliverSome(scene));
  return outcome();
}

describe('an answer', () => {
  test.each([200, 201, 202, 204, 206, 299])('of %i is success', async (code) => {
    expect(await tried(status(code))).toMatchObject({ state: 'delivered', last: { status: code, error: null, next: null } });
    expect(scene.deliveries.held).toEqual([]);
  });

  test.each([300, 301, 302, 303, 304, 307, 308, 400, 401, 404, 409, 429, 500, 503])('of %i is none', async (code) => {
    const headers = { location: 'https://elsewhere.example.com/' };
    const { state, tries, last } = await tried(status(code, headers));
    expect({ state, tries }).toEqual({ state: 'waiting', tries: 1 });
    expect(last).toMatchObject({ status: code, error: `the endpoint answered with status ${code}` });
    expect(last?.next).toBe((last?.at ?? 0) + 5);
    expect(scene.sink.posts.map(({ url, redirect }) => [url, redirect])).toEqual([
      ['https://hooks.example.com/berth', 'manual'],
    ]);
  });

  test('of 410 ends the subscription with one event, and pending deliveries fail', async () => {
    const { id } = await waiting();
    await pushImage(scene.world, 'acme/api', 'v2');
    await match(scene);
    scene.sink.answer = status(410);
    await untilQuiet(scene, cron);
    const { results } = await scene.env.DB.prepare(
      "SELECT about, actor, target FROM events WHERE type = 'webhook.disabled'",
    ).all();
    expect(results).toEqual([
      { about: '', actor: 'registry', target: JSON.stringify({ id, scope: 'registry', reason: 'gone' }) },
    ]);
    expect(await statesOf(scene)).toEqual(['failed', 'failed']);
    const { posts } = scene.sink;
    await pushImage(scene.world, 'acme/api', 'v3');
    await untilQuiet(scene, cron);
    expect(scene.sink.posts).toHaveLength(posts.length);
    expect(await scene.env.DB.prepare('SELECT disabled FROM subscriptions').first('disabled')).toBe('gone');
  });

  test.each([
    ['60', 60],
    ['3', 5],
    ['86400', 12 * 3600],
    ['999999999', 12 * 3600],
  ])('that asks to be left in peace for %s seconds is, for %i', async (asked, waited) => {
    const { last } = await tried(status(503, { 'retry-after': asked }));
    expect((last?.next ?? 0) - (last?.at ?? 0)).toBe(waited);
    expect(scene.deliveries.held).toMatchObject([{ delaySeconds: waited }]);
  });

  test('with a date in Retry-After counts, too', async () => {
    const date = new Date(scene.clock.now + 90_000).toUTCString();
    const { last } = await tried(status(429, { 'retry-after': date }));
    expect((last?.next ?? 0) - (last?.at ?? 0)).toBe(90);
  });
});

describe('no answer', () => {
  test('within ten seconds is a failure, and the connection is closed', async () => {
    let let_go = false;
    const { state, last } = await tried((post, signal) => {
      signal.addEventListener('abort', () => {
        let_go = true;
      });
      return hanging(post, signal);
    });
    expect(state).toBe('waiting');
    expect(last).toMatchObject({
      status: null,
      error: 'no answer: the connection failed, or there was no answer within 10 seconds',
      latencyMs: 10_000,
    });
    expect(let_go).toBe(true);
  });

  test('because there is no connection is a failure without details, which would reveal what is behind a name', async () => {
    const { last } = await tried(() => Promise.reject(new TypeError('connect ECONNREFUSED 10.0.0.7:8443')));
    expect(last).toMatchObject({
      status: null,
      error: 'no answer: the connection failed, or there was no answer within 10 seconds',
      response: '',
    });
  });
});

describe('a body', () => {
  /** A body. @param next returns the chunk of each read; `null` ends the body, and an error breaks the connection */
  function body(next: (n: number) => Uint8Array | null | Error) {
    const seen = { bytes: 0, cancelled: false, reads: 0 };
    const stream = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          const chunk = next(seen.reads++);
          if (chunk instanceof Error) return controller.error(chunk);
          if (chunk === null) return controller.close();
          seen.bytes += chunk.byteLength;
          controller.enqueue(chunk);
        },
        cancel() {
          seen.cancelled = true;
        },
      },
      { highWaterMark: 0 },
    );
    return { seen, answer: () => new Response(stream, { status: 200 }) };
  }
  const text = (value: string) => new TextEncoder().encode(value);

  test('without an end is read up to four KiB, and then cancelled', async () => {
    const { seen, answer } = body(() => text('x'.repeat(100)));
    const { state, last } = await tried(answer);
    expect(state).toBe('delivered');
    expect(last?.response).toBe('x'.repeat(1000));
    expect(seen).toMatchObject({ bytes: 4100, cancelled: true });
  });

  test('of a megabyte in one chunk is stored only up to the limit', async () => {
    const { seen, answer } = body((n) => (n > 0 ? null : text('ü'.repeat(500_000))));
    expect((await tried(answer)).last?.response).toBe('ü'.repeat(1000));
    expect(seen.cancelled).toBe(true);
  });

  test('that trickles is read until the ten seconds are over, and the answer counts', { tags: 'slow' }, async () => {
    const stalled = new ReadableStream({
      start: (controller) => controller.enqueue(text('begun')),
    });
    await waiting();
    scene.sink.answer = () => new Response(stalled, { status: 201 });
    const done = deliverSome(scene);
    await vi.waitFor(() => expect(scene.sink.acknowledged).toHaveLength(1));
    for (let n = 0; n < 11; n++) {
      await new Promise((resolve) => setTimeout(resolve, 3));
      pass(scene, 1);
    }
    await done;
    expect(await outcome()).toMatchObject({ state: 'delivered', last: { status: 201, response: 'begun' } });
  });

  test('that breaks off still counts as an answer', async () => {
    const { answer } = body((n) => (n > 0 ? new Error('reset') : text('beginning')));
    expect(await tried(answer)).toMatchObject({ state: 'delivered', last: { status: 200, response: 'beginning' } });
  });

  test('that is not text is harmless, also when it is read back', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, n) => n);
    const { answer } = body((n) => (n > 3 ? null : bytes));
    const { state, last } = await tried(answer);
    expect(state).toBe('delivered');
    expect(last?.response).toContain('\u0000\u0001');
    expect(last?.response.isWellFormed()).toBe(true);
  });

  test('that is cut in the middle of a character is stored well-formed', async () => {
    const { answer } = body((n) => (n > 0 ? null : text(`x${'🚀'.repeat(900)}`)));
    const { last } = await tried(answer);
    expect(last?.response.isWellFormed()).toBe(true);
    expect(last?.response.length).toBeGreaterThan(998);
  });
});

describe('an endpoint that returns what it was sent', () => {
  const TOKEN = 'aB3/de+f"gh&ij<k=l';
  const told: Told = {
    url: `https://hooks.example.com/services/T0123456789ABCDEFXYZ?token=${encodeURIComponent(TOKEN)}&flag=yes`,
    headers: { Authorization: 'Bearer s3cr3t-of-the-owner', 'X-Api-Key': TOKEN },
  };

  const SPELLINGS: Record<string, (value: string) => string> = {
    'as it is': (value) => value,
    'in JSON': (value) => JSON.stringify(value),
    'in the JSON of PHP': (value) => JSON.stringify(value).replaceAll('/', '\\/'),
    'in a URL': (value) => encodeURIComponent(value),
    'in HTML': (value) =>
      value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;'),
  };

  test.each(Object.entries(SPELLINGS))('%s: nothing of it is in any row', async (_, spelled) => {
    const { secret } = await waiting(told);
    const echo: Answering = ({ url, headers }) =>
      new Response([url, new URL(url).search, secret, secret.slice(6), ...Object.values(headers)].map(spelled).join('\n'));
    scene.sink.answer = echo;
    await deliverSome(scene);
    const { last } = await outcome();
    expect(last?.response).toContain('***');
    expect(last?.response, 'what is no secret stays').toContain('application');
    const [post] = scene.sink.posts;
    const signatures = [post?.headers['webhook-signature'], post?.headers['x-signature']].map((one) =>
      one?.replace(/^(v1,|sha256=)/, ''),
    );
    const everything = [await dump(scene.env), JSON.stringify(scene.deliveries.held), last?.response].join('\n');
    const secrets = [TOKEN, 's3cr3t-of-the-owner', 'T0123456789ABCDEFXYZ', secret.slice(6), ...signatures] as string[];
    for (const one of secrets) {
      for (const spell of Object.values(SPELLINGS)) expect(everything).not.toContain(spell(one).replace(/^"|"$/g, ''));
    }
  });

  test('and breaks off in the middle of it: the first half is not shown either', async () => {
    await waiting(told);
    scene.sink.answer = () => new Response(`token: ${TOKEN.slice(0, -1)}`);
    await deliverSome(scene);
    expect((await outcome()).last?.response).toBe('token: ');
  });

  test('so often that the limit of four KiB cuts one of them: that is not shown either', async () => {
    const { secret } = await waiting();
    for (const before of [0, 7, 13, 29]) {
      await scene.env.DB.prepare("UPDATE deliveries SET state = 'waiting', claimed_until = 0, attempts = '[]'").run();
      const [row] = await rowsOf(scene);
      await scene.env.DELIVERIES.send({ subscription: row?.subscription, event: row?.event });
      scene.sink.answer = () => new Response(`${'-'.repeat(before)}${secret.repeat(100)}`);
      await deliverSome(scene);
      const response = (await outcome()).last?.response ?? '';
      expect(response.length).toBeGreaterThan(0);
      expect(response).toMatch(/^[-*]+$/);
    }
  });

  test('no part of a secret remains in any text, and nothing else is removed', () => {
    const word = fc.string({ minLength: 4, maxLength: 20 }).filter((one) => one.trim() === one && !/[*]/.test(one));
    fc.assert(
      fc.property(word, fc.string(), fc.string(), (secret, before, after) => {
        expect(redacted(`${before}${secret}${after}`, [secret])).not.toContain(secret);
      }),
    );
    expect(redacted('nothing to hide', ['s3cret', 'abc'])).toBe('nothing to hide');
  });
});

async function dump(env: Env): Promise<string> {
  const { results } = await env.DB.prepare(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
  ).all<{
    name: string;
  }>();
  const rows = await env.DB.batch(results.map(({ name }) => env.DB.prepare(`SELECT * FROM "${name}"`)));
  return JSON.stringify(rows.map((table) => table.results));
}

test('the URL and the headers are in no row as text', { tags: 'slow' }, async () => {
  await waiting({ url: 'https://hooks.example.com/a-path?key=a-query', headers: { 'X-Key': 'a-value' } });
  scene.sink.answer = status(500);
  await untilQuiet(scene, cron);
  expect(await dump(scene.env)).not.toMatch(/hooks\.example|a-path|a-query|a-value|whsec_/);
});

describe('a forbidden address', () => {
  test.each([
    ['http://127.0.0.1/', 'begins with https'],
    ['https://10.0.0.1/', 'private'],
    ['https://[::1]/', 'loopback'],
    ['https://registry.test/v2/', 'the registry itself'],
    ['https://REGISTRY.test./', 'the registry itself'],
    ['https://hooks.example.com:22/', 'port'],
    ['https://metadata.google.internal/', ''],
  ])('%s: nothing is sent, and the attempt says why', async (url, reason) => {
    await waiting({ url });
    await drain(scene);
    expect(scene.sink.posts).toEqual([]);
    const { state, last } = await outcome();
    expect(state).toBe('failed');
    expect(last).toMatchObject({ status: null, next: null });
    expect(last?.error).toContain(reason);
    expect(last?.error).not.toBe('an internal error: nothing was sent');
  });

  test('that was allowed for development is refused once the setting is gone', async () => {
    scene = await newScene({ INSECURE_WEBHOOKS: 'on' });
    await waiting({ url: 'http://127.0.0.1:9999/' });
    const { INSECURE_WEBHOOKS: _, ...strict } = scene.env;
    await deliverSome(scene, { env: strict as Env });
    expect(scene.sink.posts).toEqual([]);
    expect((await outcome()).last?.error).toContain('https');
  });

  test('includes the current and the former address of the registry', async () => {
    await waiting({ url: 'https://new.example.com/hook' });
    await deliverSome(scene, { env: { ...scene.env, PUBLIC_URL: 'https://new.example.com' } });
    expect(scene.sink.posts).toEqual([]);
    expect((await outcome()).last?.error).toBe('this is the registry itself');
  });

  test('a URL that was sealed under a lost secret: the attempt says what to do', async () => {
    const subscription = await waiting();
    const env = { ...scene.env, REGISTRY_SECRET: 'another-secret-of-the-tests-0123456789' };
    await deliverSome(scene, { env });
    await drain(scene);
    expect((await outcome()).last?.error).toContain('send the URL again');
    const change = { url: 'https://hooks.example.com/new', headers: {}, origin: 'https://registry.test' };
    await changeSubscription(env, subscription, change, { ifVersion: null, by: { subject: 'user:admin' } });
    await pushImage(scene.world, 'acme/api', 'v2');
    await match(scene);
    await deliverSome(scene, { env });
    expect(scene.sink.posts.map(({ url }) => url)).toEqual(['https://hooks.example.com/new']);
  });
});

test('custom headers cannot replace ours', async () => {
  const headers = { 'Content-Type': 'text/x', 'Webhook-Id': 'x', 'BERTH-Webhook': 'x', 'User-Agent': 'x' };
  await waiting({ headers });
  await deliverSome(scene);
  const [post] = scene.sink.posts;
  expect(new Headers(post?.headers).get('webhook-id')).toMatch(/^wh_[a-z2-7]{20}_[0-9]+$/);
  expect(new Headers(post?.headers).get('content-type')).toBe('application/cloudevents+json');
  expect(new Headers(post?.headers).get('berth-webhook')).toBe(post?.headers['webhook-id']);
  expect(new Headers(post?.headers).get('user-agent')).toBe('Berth-Webhooks/1');
});

describe('a test delivery', () => {
  const by = { subject: 'user:alice' };

  test('that succeeds is reported at once, and stored nowhere', async () => {
    const subscription = await subscribe(scene);
    const before = await dump(scene.env);
    expect(await sendTest(scene.env, subscription, { by, facts: null }, scene.doors)).toBe(true);
    expect(scene.sink.posts[0]?.headers['webhook-id']).toMatch(/_test-[0-9a-f-]{36}$/);
    expect(await dump(scene.env)).toBe(before);
  });

  test.each<[string, Answering, Told]>([
    ['answers with an error', status(500), {}],
    ['cannot be reached', () => Promise.reject(new Error('refused')), {}],
    ['is not allowed', status(200), { url: 'https://10.0.0.1/' }],
    ['hangs', hanging, {}],
    ['redirects', status(302, { location: 'https://elsewhere.example.com/' }), {}],
  ])('of an endpoint that %s fails after the same time as all that fail', { tags: 'slow' }, async (_, answer, told) => {
    const subscription = await subscribe(scene, told);
    scene.sink.answer = answer;
    const from = scene.clock.now;
    let over = false;
    const done = sendTest(scene.env, subscription, { by, facts: null }, scene.doors).finally(() => {
      over = true;
    });
    for (; !over; await new Promise((resolve) => setTimeout(resolve, 1))) pass(scene, 0.5);
    expect(await done).toBe(false);
    expect(scene.clock.now - from).toBeGreaterThanOrEqual(10_500);
  });
});
