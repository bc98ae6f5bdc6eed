/** Floods, against the platform's own rate limiter as wrangler.toml sets it up. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Env } from '../../src/env.ts';
import { refusal } from '../world/images.ts';
import { newWorld, type World } from '../world/world.ts';

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
    await answers(60, () => from('192.0.2.2', '/token', WRONG));
    expect(await refusal(await from('192.0.2.3', '/token', WRONG))).toBe('401 UNAUTHORIZED');
  });

  test('never shut out the right one, not even from the same address', async () => {
    await answers(60, () => from('192.0.2.4', '/token', WRONG));
    expect((await from('192.0.2.4', '/token')).status).toBe(200);
    expect((await from('192.0.2.5', '/token')).status).toBe(200);
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
