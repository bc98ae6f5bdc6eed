/** Rate limits, on the platform's own rate limiter as configured in wrangler.toml. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { charge } from '../../src/app/spending.ts';
import type { Env } from '../../src/env.ts';
import wrangler from '../../wrangler.toml?raw';
import { pushImage, refusal } from '../world/images.ts';
import { intercepted } from '../world/intercept.ts';
import { makeOrganization } from '../world/organizations.ts';
import { api, basicOf, inviteUser } from '../world/people.ts';
import { tokenFor } from '../world/tokens.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const { WRONG_PASSWORDS, TOKEN_REQUESTS, UPLOAD_STARTS, LOGINS, TEST_DELIVERIES } = env as unknown as Required<Env>;
let world: World;

beforeEach(async () => {
  world = await newWorld({ WRONG_PASSWORDS, TOKEN_REQUESTS, UPLOAD_STARTS });
});

const WRONG = `Basic ${btoa('admin:wrong')}`;

function from(address: string, path: string, authorization?: string): Promise<Response> {
  const headers = { 'cf-connecting-ip': address };
  return world.fetch('GET', path, authorization === undefined ? { headers } : { headers, authorization });
}

interface Shown {
  path: string;
  authorization?: string;
  form?: Record<string, string>;
}
type Promised = () => Shown;

const PASSWORD = 'the-password-of-the-tests';
const RIGHT = { path: '/token', authorization: basicOf('admin', PASSWORD) };

/** The number of addresses used so far. Each test uses a new address, because the limiter keeps its counts across tests. */
let addresses = 0;
function nextAddress(): string {
  return `203.0.113.${++addresses}`;
}

function ask(address: string, { path, authorization, form }: Shown): Promise<Response> {
  const headers = { 'cf-connecting-ip': address, 'content-type': 'application/x-www-form-urlencoded' };
  if (form === undefined) return from(address, path, authorization);
  return world.fetch('POST', path, { authorization: null, headers, body: new URLSearchParams(form).toString() });
}

/** Sends wrong passwords until no more are compared. Enough of the minute is left afterwards. */
async function useUp(address: string, path = '/token'): Promise<void> {
  for (let n = 0; n < 100; n++) if ((await from(address, path, WRONG)).status === 429) return;
  throw new Error('wrong passwords are not limited');
}

const refusalOf = async (response: Response) => (response.ok ? String(response.status) : refusal(response));

/** The different answers to `count` requests, in the order in which they first occur. */
async function answers(count: number, send: () => Promise<Response>, until: string | null = null): Promise<string[]> {
  const seen: string[] = [];
  for (let n = 0; n < count; n++) {
    const response = await send();
    const one = response.ok ? String(response.status) : await refusal(response);
    if (!seen.includes(one)) seen.push(one);
    if (one === until) break;
  }
  return seen;
}

describe('wrong passwords', () => {
  test('get a 429 with Retry-After, counted together for /v2, the token service and the API', async () => {
    const paths = ['/v2/', '/token', '/api/v1/me'];
    let n = 0;
    const next = () => from('192.0.2.1', paths[n++ % 3] as string, WRONG);
    expect(await answers(100, next)).toEqual(['401 UNAUTHORIZED', '429 TOOMANYREQUESTS']);
    const response = await next();
    expect(response.headers.get('retry-after')).toBe('60');
  });

  test('of one address do not count against another address', async () => {
    await useUp('192.0.2.2');
    expect(await refusal(await from('192.0.2.3', '/token', WRONG))).toBe('401 UNAUTHORIZED');
  });

  test.each<[string, Promised]>([
    ['the token service', () => RIGHT],
    ['the API, as bearer token', () => ({ path: '/api/v1/me', authorization: `Bearer ${PASSWORD}` })],
    ['/v2', () => ({ path: '/v2/', authorization: RIGHT.authorization })],
    ['a form', () => ({ path: '/token', form: { grant_type: 'password', username: 'admin', password: PASSWORD } })],
  ])('past the limit the right one is not looked at either: at %s', async (_, right) => {
    const address = nextAddress();
    await useUp(address);
    expect(await refusalOf(await ask(address, right()))).toBe('429 TOOMANYREQUESTS');
    expect((await ask(nextAddress(), right())).status).toBe(200);
  });

  test('past the limit block the right password too, even if it worked before', async () => {
    const address = nextAddress();
    expect((await ask(address, RIGHT)).status).toBe(200);
    await useUp(address, '/v2/');
    expect(await refusalOf(await ask(address, RIGHT))).toBe('429 TOOMANYREQUESTS');
  });

  test('sent all at once, together with the right one, are compared no more often', async () => {
    const address = nextAddress();
    const guesses = Array.from({ length: 300 }, (_, n) => basicOf('admin', n === 299 ? PASSWORD : `guess number ${n}`));
    const all = await Promise.all(guesses.map((authorization) => from(address, '/token', authorization)));
    const statuses = all.map(({ status }) => status);
    expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(60);
    expect(statuses.at(-1)).toBe(429);
  });

  test('are counted for the whole network of an IPv6 address, since its owner has all of it', async () => {
    const address = (n: number) => `2001:db8:0:1:${n.toString(16)}:${n}::${n}`;
    let n = 0;
    expect(await answers(100, () => from(address(++n), '/token', WRONG))).toEqual(['401 UNAUTHORIZED', '429 TOOMANYREQUESTS']);
    expect((await from('2001:db8:0:2::1', '/token', RIGHT.authorization)).status).toBe(200);
  });

  test('are counted alone: correct passwords do not count, however often they are sent', async () => {
    const address = nextAddress();
    expect(await answers(100, () => ask(address, RIGHT))).toEqual(['200']);
  });

  test('block no key, no token, no login password and no refresh token', async () => {
    const address = nextAddress();
    const alice = await inviteUser(world, 'alice');
    const token = await tokenFor(world, 'registry:catalog:*');
    const login = await api<{ password: string }>(world, 'POST', '/login-password', { as: alice.bearer });
    const offline = await from(nextAddress(), '/token?offline_token=true', alice.basic);
    const { refresh_token = '' } = (await offline.json()) as { refresh_token?: string };
    await useUp(address);
    for (const shown of [
      { path: '/token', authorization: alice.basic },
      { path: '/v2/', authorization: alice.basic },
      { path: '/api/v1/me', authorization: alice.bearer },
      { path: '/v2/', authorization: `Bearer ${token}` },
      { path: '/token', authorization: basicOf('AWS', login.body.password) },
      { path: '/token', form: { grant_type: 'refresh_token', refresh_token } },
    ]) {
      expect((await ask(address, shown)).status, JSON.stringify(shown)).toBe(200);
    }
  });

  test("are not limited if the registry's password was generated", async () => {
    const { ADMIN_PASSWORD: _, ...env } = world.env;
    world = worldOf(env);
    const address = nextAddress();
    await useUp(address);
    expect((await from(address, '/token')).status).toBe(200);
    const other = basicOf('admin', `berth_${'a'.repeat(32)}`);
    expect(await answers(60, () => from(nextAddress(), '/token', other))).toEqual(['401 UNAUTHORIZED']);
  });

  test('are limited whatever the shape of a chosen password', async () => {
    for (const ADMIN_PASSWORD of [`berth_${'a'.repeat(32)}`, `berth_BRTH${'A'.repeat(16)}_${'a'.repeat(32)}`]) {
      world = worldOf({ ...world.env, ADMIN_PASSWORD });
      const address = nextAddress();
      const wrong = basicOf('admin', `${ADMIN_PASSWORD.slice(0, -1)}b`);
      expect(await answers(100, () => from(address, '/token', wrong))).toEqual(['401 UNAUTHORIZED', '429 TOOMANYREQUESTS']);
      expect(await refusalOf(await from(address, '/token'))).toBe('429 TOOMANYREQUESTS');
    }
  });

  test('get the same answer for known and unknown names', async () => {
    const bodies = ['admin', 'nobody', 'AWS', ''].map(async (name) => {
      const response = await from(`192.0.2.${100 + name.length}`, '/token', `Basic ${btoa(`${name}:wrong`)}`);
      return { status: response.status, body: await response.text(), challenge: response.headers.get('www-authenticate') };
    });
    const [first, ...others] = await Promise.all(bodies);
    for (const other of others) expect(other).toEqual(first);
  });
});

/** Sends until a request is refused. A new minute may begin meanwhile, so up to twice the limit passes. */
async function untilRefused(send: () => Promise<Response>): Promise<string> {
  for (let n = 0; n < 45; n++) {
    const responses = await Promise.all(Array.from({ length: 50 }, send));
    const refused = responses.find(({ ok }) => !ok);
    if (refused) return refusal(refused);
  }
  return 'none was refused';
}

test('requests for tokens are limited for each account and address', async () => {
  expect(await untilRefused(() => from('198.51.100.1', '/token'))).toBe('429 TOOMANYREQUESTS');
  expect((await from('198.51.100.2', '/token')).status).toBe(200);
});

test('upload starts are limited for each account, and refused before anything is stored', { tags: 'slow' }, async () => {
  const begin = () => world.fetch('POST', '/v2/acme/api/blobs/uploads/');
  expect(await untilRefused(begin)).toBe('429 TOOMANYREQUESTS');
  expect((await begin()).headers.get('retry-after')).toBe('60');
});

/** The limiter counts in fixed minutes, so up to twice the limit fits around the end of one. */
const refusedAfter = (limit: number, send: () => Promise<Response>) => answers(2 * limit + 20, send, '429 TOOMANYREQUESTS');

describe('long-lived logins', () => {
  const offline = '/token?offline_token=true&service=registry';
  const logins = () => world.env.DB.prepare('SELECT count(*) AS n FROM logins').first<number>('n');

  test('are limited to some hundreds a minute for an account, and plain token requests do not count', {
    tags: 'slow',
  }, async () => {
    world = await newWorld({ LOGINS });
    expect(await refusedAfter(300, () => world.fetch('GET', offline))).toEqual(['200', '429 TOOMANYREQUESTS']);
    expect(await logins()).toBeGreaterThanOrEqual(300);
    expect((await world.fetch('GET', '/token')).status).toBe(200);
    const alice = await inviteUser(world, 'alice');
    expect((await world.fetch('GET', offline, { authorization: alice.basic })).status).toBe(200);
  });

  test('are limited to about a thousand open at once for an account: the oldest end, those of others stay', async () => {
    world = await newWorld();
    const alice = await inviteUser(world, 'alice');
    expect((await world.fetch('GET', offline, { authorization: alice.basic })).status).toBe(200);
    await world.env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
       INSERT INTO logins (id, subject, expires_at) SELECT 'old' || i, 'user:admin', unixepoch() + i FROM n`,
    ).run();
    for (let n = 0; n < 40; n++) expect((await world.fetch('GET', offline)).status).toBe(200);
    expect(await logins()).toBeLessThanOrEqual(1000 + 16 + 1);
    const { results } = await world.env.DB.prepare("SELECT id FROM logins WHERE id LIKE 'old%' ORDER BY expires_at").all<{
      id: string;
    }>();
    expect([results[0]?.id, results.at(-1)?.id]).toEqual([`old${1501 - results.length}`, 'old1500']);
    const { results: hers } = await world.env.DB.prepare("SELECT id FROM logins WHERE subject = 'user:alice'").all();
    expect(hers).toHaveLength(1);
  });
});

/** A limiter that refuses these keys. */
const few = (...keys: string[]) =>
  ({ limit: async ({ key }: { key: string }) => ({ success: !keys.includes(key) }) }) as RateLimit;

describe('an account', () => {
  test('may write some thousand times a minute, by /v2 and the API together, without affecting others', async () => {
    world = await newWorld({ WRITES: few('user:admin') });
    const alice = await inviteUser(await newWorldOf(), 'alice');
    for (const [method, path] of [
      ['POST', '/v2/acme/api/blobs/uploads/'],
      ['PUT', '/v2/acme/api/manifests/v1'],
      ['DELETE', '/v2/acme/api/manifests/v1'],
      ['PUT', '/api/v1/repositories/acme/api'],
      ['POST', '/api/v1/login-password'],
    ] as const) {
      expect(await refusal(await world.fetch(method, path)), `${method} ${path}`).toBe('429 TOOMANYREQUESTS');
    }
    expect((await world.fetch('GET', '/api/v1/me')).status).toBe(200);
    expect((await world.fetch('POST', '/v2/alice/api/blobs/uploads/', { authorization: alice.basic })).status).toBe(202);
  });

  /** A world on the same stores without the limit of writes, to create a user. */
  const newWorldOf = async () => worldOf({ ...world.env, WRITES: undefined } as unknown as Env);

  test('may send what sixty pushes a minute of ten layers each need', () => {
    const limitOf = (name: string) => Number(new RegExp(`name = "${name}"[^\\[]*limit = (\\d+)`).exec(wrangler)?.[1]);
    expect(limitOf('WRITES')).toBeGreaterThanOrEqual(60 * 50);
    expect(limitOf('LOGINS')).toBeGreaterThanOrEqual(200);
    expect(limitOf('EXPENSIVE_READS')).toBeGreaterThanOrEqual(1000);
  });

  test('may request a limited number of lists a minute, of all kinds together, and other requests go on', async () => {
    world = await newWorld({ EXPENSIVE_READS: few('user:admin', 'anonymous unknown') });
    await pushImage(worldOf({ ...world.env, EXPENSIVE_READS: undefined } as unknown as Env), 'acme/api', 'v1');
    for (const path of [
      '/api/v1/events',
      '/api/v1/keys',
      '/api/v1/users',
      '/api/v1/trash',
      '/api/v1/repositories',
      '/v2/_catalog',
      '/v2/acme/api/tags/list',
      `/v2/acme/api/referrers/sha256:${'0'.repeat(64)}`,
    ]) {
      const response = await world.fetch('GET', path);
      expect(await refusal(response), path).toBe('429 TOOMANYREQUESTS');
      expect(response.headers.get('retry-after')).toBe('60');
    }
    for (const path of ['/api/v1/me', '/v2/', '/v2/acme/api/manifests/v1']) {
      expect((await world.fetch('GET', path)).status, path).toBe(200);
    }
  });

  test('may have deliveries repeated a few times a minute, over all webhooks', async () => {
    world = await newWorld({ TEST_DELIVERIES });
    await makeOrganization(world, 'acme');
    const ids: string[] = [];
    for (let n = 0; n < 25; n++) {
      const body = { url: 'https://hooks.example.com/' };
      const made = await api<{ webhook: { id: string } }>(world, 'POST', '/organizations/acme/webhooks', { body });
      ids.push(made.body.webhook.id);
    }
    let n = 0;
    const replay = async () => {
      const body = JSON.stringify({ since: '2020-01-01T00:00:00Z' });
      const headers = { 'content-type': 'application/json' };
      return world.fetch('POST', `/api/v1/webhooks/${ids[n++ % 25]}/replay`, { headers, body });
    };
    expect(await refusedAfter(10, replay)).toEqual(['202', '429 TOOMANYREQUESTS']);
  });
});

describe('the daily limit of an account', () => {
  /** A limiter that allows everything, because these tests are about the daily limit. */
  const open = { limit: async () => ({ success: true }) } as unknown as RateLimit;
  const write = (by: string) => world.fetch('PUT', '/v2/alice/api/manifests/v1', { authorization: by, body: '{}' });

  test('is used up by writes: 429 until 00:00 UTC with a message, while others go on', { tags: 'slow' }, async () => {
    world = await newWorld({ WRITES: open, EXPENSIVE_READS: open, ACCOUNT_ROWS_WRITTEN: '1000' });
    const [alice, bob] = [await inviteUser(world, 'alice'), await inviteUser(world, 'bob')];
    expect(await answers(300, () => write(alice.basic), '429 TOOMANYREQUESTS')).toContain('429 TOOMANYREQUESTS');
    const response = await write(alice.basic);
    const seconds = Number(response.headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(86_400);
    expect(await response.text()).toMatch(/user:alice has written about 1000 rows .* limit of an account. .* 00:00 UTC/);
    expect((await world.fetch('GET', '/api/v1/me', { authorization: alice.basic })).status).toBe(200);
    expect((await world.fetch('GET', '/v2/', { authorization: alice.basic })).status).toBe(200);
    expect((await write(bob.basic)).status).not.toBe(429);
    // An administrator has no daily limit.
    expect(await answers(200, () => write(`Basic ${btoa('admin:the-password-of-the-tests')}`))).not.toContain(
      '429 TOOMANYREQUESTS',
    );
  });

  test('is used up by lists and reports', async () => {
    world = await newWorld({ WRITES: open, EXPENSIVE_READS: open, ACCOUNT_ROWS_READ: '50000' });
    const alice = await inviteUser(world, 'alice');
    const list = () => world.fetch('GET', '/api/v1/events', { authorization: alice.basic });
    expect(await answers(40, list, '429 TOOMANYREQUESTS')).toEqual(['200', '429 TOOMANYREQUESTS']);
    expect((await world.fetch('GET', '/api/v1/me', { authorization: alice.basic })).status).toBe(200);
  });

  test('counts the rows of a save that failed with the next save', async () => {
    let fails = true;
    const DB = intercepted(world.env.DB, (_, effect) => {
      if (fails) throw new Error('D1_ERROR: Network connection lost.');
      return effect();
    });
    const bindings = { ...world.env, DB, WRITES: open, ACCOUNT_ROWS_WRITTEN: '1000' };
    const after: Promise<unknown>[] = [];
    const work = { waitUntil: (promise: Promise<unknown>) => void after.push(promise) };
    const write = () => charge({ env: bindings, work, now: Date.now() }, 'user:alice', 'rows-written', 700);
    write();
    await Promise.all(after);
    fails = false;
    write();
    await Promise.all(after);
    expect(write).toThrow(expect.objectContaining({ reason: 'daily-limit' }));
    expect(await world.env.DB.prepare('SELECT count FROM account_days').first('count')).toBe(1400);
  });

  test('costs a few rows to track, and none if there is no limit', async () => {
    world = await newWorld({ WRITES: open, ACCOUNT_ROWS_WRITTEN: '0' });
    const alice = await inviteUser(world, 'alice');
    expect(await answers(150, () => write(alice.basic))).not.toContain('429 TOOMANYREQUESTS');
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM account_days').first('n')).toBe(0);
  });
});
