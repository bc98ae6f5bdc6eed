/** Floods, against the platform's own rate limiter as wrangler.toml sets it up. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Env } from '../../src/env.ts';
import { refusal } from '../world/images.ts';
import { api, basicOf, inviteUser } from '../world/people.ts';
import { tokenFor } from '../world/tokens.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const { WRONG_PASSWORDS, TOKEN_REQUESTS, UPLOAD_STARTS } = env as unknown as Required<Env>;
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

/** One from which nothing has come yet: what a limiter has counted stays for the minute, over all tests. */
let addresses = 0;
function nextAddress(): string {
  return `203.0.113.${++addresses}`;
}

function ask(address: string, { path, authorization, form }: Shown): Promise<Response> {
  const headers = { 'cf-connecting-ip': address, 'content-type': 'application/x-www-form-urlencoded' };
  if (form === undefined) return from(address, path, authorization);
  return world.fetch('POST', path, { authorization: null, headers, body: new URLSearchParams(form).toString() });
}

/** Guesses until no more are compared: then the minute is not over for a while. */
async function useUp(address: string, path = '/token'): Promise<void> {
  for (let n = 0; n < 100; n++) if ((await from(address, path, WRONG)).status === 429) return;
  throw new Error('wrong passwords are not limited');
}

const refusalOf = async (response: Response) => (response.ok ? String(response.status) : refusal(response));

/** Of `count` requests, how each was answered, in the order of the first of its kind. */
async function answers(count: number, send: () => Promise<Response>): Promise<string[]> {
  const seen: string[] = [];
  for (let n = 0; n < count; n++) {
    const response = await send();
    const one = response.ok ? String(response.status) : await refusal(response);
    if (!seen.includes(one)) seen.push(one);
  }
  return seen;
}

describe('wrong passwords', () => {
  test('are a 429 with Retry-After after a while, counted together for /v2, the token service and the API', async () => {
    const paths = ['/v2/', '/token', '/api/v1/me'];
    let n = 0;
    const next = () => from('192.0.2.1', paths[n++ % 3] as string, WRONG);
    expect(await answers(100, next)).toEqual(['401 UNAUTHORIZED', '429 TOOMANYREQUESTS']);
    const response = await next();
    expect(response.headers.get('retry-after')).toBe('60');
  });

  test('of one address do not count against another', async () => {
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

  test('past the limit the right one is not looked at where it was right before', async () => {
    const address = nextAddress();
    expect((await ask(address, RIGHT)).status).toBe(200);
    await useUp(address, '/v2/');
    expect(await refusalOf(await ask(address, RIGHT))).toBe('429 TOOMANYREQUESTS');
  });

  test('are compared no more often where they come all at once, the right one among them', async () => {
    const address = nextAddress();
    const guesses = Array.from({ length: 300 }, (_, n) => basicOf('admin', n === 299 ? PASSWORD : `guess number ${n}`));
    const all = await Promise.all(guesses.map((authorization) => from(address, '/token', authorization)));
    const statuses = all.map(({ status }) => status);
    expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(60);
    expect(statuses.at(-1)).toBe(429);
  });

  test('are counted for the network of an IPv6 address: whoever has one has all of it', async () => {
    const address = (n: number) => `2001:db8:0:1:${n.toString(16)}:${n}::${n}`;
    let n = 0;
    expect(await answers(100, () => from(address(++n), '/token', WRONG))).toEqual(['401 UNAUTHORIZED', '429 TOOMANYREQUESTS']);
    expect((await from('2001:db8:0:2::1', '/token', RIGHT.authorization)).status).toBe(200);
  });

  test('do not count a right one that comes often', async () => {
    const address = nextAddress();
    expect(await answers(100, () => ask(address, RIGHT))).toEqual(['200']);
  });

  test('shut out no key, no token, no login password, and no refresh token', async () => {
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

  test('of a registry whose password was generated are never that one: it is not limited', async () => {
    const { ADMIN_PASSWORD: _, ...env } = world.env;
    world = worldOf(env);
    const address = nextAddress();
    await useUp(address);
    expect((await from(address, '/token')).status).toBe(200);
    const other = basicOf('admin', `berth_${'a'.repeat(32)}`);
    expect(await answers(60, () => from(nextAddress(), '/token', other))).toEqual(['401 UNAUTHORIZED']);
  });

  test('are limited in whatever shape a person chose theirs', async () => {
    for (const ADMIN_PASSWORD of [`berth_${'a'.repeat(32)}`, `berth_BRTH${'A'.repeat(16)}_${'a'.repeat(32)}`]) {
      world = worldOf({ ...world.env, ADMIN_PASSWORD });
      const address = nextAddress();
      const wrong = basicOf('admin', `${ADMIN_PASSWORD.slice(0, -1)}b`);
      expect(await answers(100, () => from(address, '/token', wrong))).toEqual(['401 UNAUTHORIZED', '429 TOOMANYREQUESTS']);
      expect(await refusalOf(await from(address, '/token'))).toBe('429 TOOMANYREQUESTS');
    }
  });

  test('are answered alike whether the name is known or not', async () => {
    const bodies = ['admin', 'nobody', 'AWS', ''].map(async (name) => {
      const response = await from(`192.0.2.${100 + name.length}`, '/token', `Basic ${btoa(`${name}:wrong`)}`);
      return { status: response.status, body: await response.text(), challenge: response.headers.get('www-authenticate') };
    });
    const [first, ...others] = await Promise.all(bodies);
    for (const other of others) expect(other).toEqual(first);
  });
});

/** Sends until one is refused; in the middle a new minute may begin, so up to twice as many as a minute allows. */
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

test('uploads begun are limited for each account, and refused before anything is kept', async () => {
  const begin = () => world.fetch('POST', '/v2/acme/api/blobs/uploads/');
  expect(await untilRefused(begin)).toBe('429 TOOMANYREQUESTS');
  expect((await begin()).headers.get('retry-after')).toBe('60');
});
