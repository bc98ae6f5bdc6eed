import { decodeJwt, decodeProtectedHeader } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { refusal } from '../world/images.ts';
import { tokenFor } from '../world/tokens.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const PASSWORD = 'the-password-of-the-tests';
let world: World;

beforeAll(async () => {
  world = await newWorld();
});

interface TokenAnswer {
  token?: string;
  access_token: string;
  scope?: string;
  expires_in: number;
  issued_at: string;
  refresh_token?: string;
}

async function post(form: Record<string, string>): Promise<Response> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return world.fetch('POST', '/token', { authorization: null, headers, body: new URLSearchParams(form).toString() });
}

describe('GET /token', () => {
  test('returns a token under both names, valid for 300 seconds and not cacheable', async () => {
    const response = await world.fetch('GET', '/token?service=registry.test&scope=repository:a/b:pull');
    const answer = (await response.json()) as TokenAnswer;
    expect(answer).toMatchObject({ expires_in: 300, token: answer.access_token });
    expect(answer.refresh_token).toBeUndefined();
    expect(Math.abs(Date.parse(answer.issued_at) - Date.now())).toBeLessThan(60_000);
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  test('puts issuer, audience, subject, times, an id and the rights into the token', async () => {
    const token = await tokenFor(world, 'repository:a/b:pull');
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'HS256', typ: 'berth-access+jwt' });
    const claims = decodeJwt(token);
    expect(claims).toMatchObject({ iss: 'berth', aud: 'registry.test', sub: 'user:admin' });
    expect(claims.access).toEqual([{ type: 'repository', name: 'a/b', actions: ['pull'] }]);
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(300);
    expect(claims.jti).toMatch(/./);
  });

  test('without a scope checks the password', async () => {
    expect((await world.fetch('GET', '/token?service=registry.test')).status).toBe(200);
  });

  test('gives an anonymous caller a token without rights', async () => {
    const response = await world.fetch('GET', '/token?scope=repository:a/b:pull,push', { authorization: null });
    expect(response.status).toBe(200);
    expect(decodeJwt(((await response.json()) as TokenAnswer).access_token)).toMatchObject({ sub: '', access: [] });
  });

  test('gives a refresh token to clients that ask for one', async () => {
    const answer = (await (await world.fetch('GET', '/token?offline_token=true')).json()) as TokenAnswer;
    expect(answer.refresh_token).toMatch(/^ey/);
  });

  const WRONG =
    'wrong user name or password, or the access key or token has expired or was revoked: ' +
    'log in again with docker login registry.test';

  test.each([
    ['a wrong password', `Basic ${btoa('admin:wrong')}`],
    ['an unknown name', `Basic ${btoa(`nobody:${PASSWORD}`)}`],
    ['no password', 'Basic'],
    ['what is no base64', 'Basic !!!'],
    ['no colon', `Basic ${btoa('admin')}`],
    ['a NUL', `Basic ${btoa('admin\0:x')}`],
    ['what is no UTF-8', `Basic ${btoa('\xff\xfe:x')}`],
    ['64 KiB', `Basic ${btoa(`admin:${'x'.repeat(65536)}`)}`],
    ['another scheme', 'Bearer x'],
  ])('refuses %s with one and the same 401', async (_, authorization) => {
    const response = await world.fetch('GET', '/token', { authorization });
    expect(await refusal(response.clone())).toBe('401 UNAUTHORIZED');
    expect(await response.json()).toEqual({
      errors: [{ code: 'UNAUTHORIZED', message: WRONG }],
    });
  });

  test.each([
    ['every repository', 'repository:*:pull'],
    ['a type nobody knows', 'secrets:all:*'],
  ])('grants nothing for %s, and that is no error', async (_, scope) => {
    expect(decodeJwt(await tokenFor(world, scope)).access).toEqual([]);
  });

  test('refuses too many scopes', async () => {
    const scope = encodeURIComponent(Array.from({ length: 1000 }, (__, n) => `repository:r${n}:pull`).join(' '));
    expect(await refusal(await world.fetch('GET', `/token?scope=${scope}`))).toBe('400 UNSUPPORTED');
  });

  test('for another service name returns a token of this one', async () => {
    const answer = (await (await world.fetch('GET', '/token?service=elsewhere.test')).json()) as TokenAnswer;
    expect(decodeJwt(answer.access_token).aud).toBe('registry.test');
  });
});

describe('POST /token', () => {
  test('accepts a password and returns the granted scope', async () => {
    const response = await post({
      grant_type: 'password',
      username: 'admin',
      password: PASSWORD,
      service: 's',
      scope: 'repository:a/b:pull,push fly:x:y',
    });
    const answer = (await response.json()) as TokenAnswer;
    expect(answer).toMatchObject({ scope: 'repository:a/b:pull,push', expires_in: 300 });
    expect(answer.refresh_token).toBeUndefined();
  });

  test('accepts the refresh token that it gave for offline access', async () => {
    const first = await post({ grant_type: 'password', username: 'admin', password: PASSWORD, access_type: 'offline' });
    const { refresh_token = '' } = (await first.json()) as TokenAnswer;
    const second = await post({ grant_type: 'refresh_token', refresh_token, scope: 'repository:a/b:pull' });
    expect(((await second.json()) as TokenAnswer).scope).toBe('repository:a/b:pull');
  });

  test('does not accept an access token as a refresh token', async () => {
    const token = await tokenFor(world, 'repository:a/b:pull');
    expect(await refusal(await post({ grant_type: 'refresh_token', refresh_token: token }))).toBe('401 UNAUTHORIZED');
  });

  test('refuses a wrong password and an unknown grant type', async () => {
    expect(await refusal(await post({ grant_type: 'password', username: 'admin', password: 'wrong' }))).toBe(
      '401 UNAUTHORIZED',
    );
    expect(await refusal(await post({ grant_type: 'authorization_code' }))).toBe('400 UNSUPPORTED');
    expect(await refusal(await post({}))).toBe('400 UNSUPPORTED');
  });

  test('refuses a form that is too large', async () => {
    expect(await refusal(await post({ grant_type: 'password', password: 'x'.repeat(100_000) }))).toBe('413 SIZE_INVALID');
  });
});

describe("the administrator's password", () => {
  const as = (password: string) => ({ authorization: `Basic ${btoa(`admin:${password}`)}` });

  test('may look like a token or a key', async () => {
    for (const ADMIN_PASSWORD of ['three.parts.long', `berth_BRTH${'A'.repeat(16)}_${'a'.repeat(32)}`]) {
      const strange = worldOf({ ...world.env, ADMIN_PASSWORD });
      expect((await strange.fetch('GET', '/token', as(ADMIN_PASSWORD))).status).toBe(200);
    }
  });

  test('revokes everything made with it when it is changed', async () => {
    const before = worldOf({ ...world.env, ADMIN_PASSWORD: 'the-password-before' });
    const response = await before.fetch(
      'GET',
      '/token?offline_token=true&scope=repository:a/b:pull',
      as('the-password-before'),
    );
    const { access_token, refresh_token = '' } = (await response.json()) as TokenAnswer;
    const login = await before.fetch('POST', '/api/v1/login-password', as('the-password-before'));
    const { password } = (await login.json()) as { password: string };
    const pull = { authorization: `Bearer ${access_token}` };
    expect((await before.fetch('GET', '/v2/a/b/tags/list', pull)).status).toBe(404);
    expect((await before.fetch('GET', '/token', as(password))).status).toBe(200);

    expect((await world.fetch('GET', '/v2/a/b/tags/list', pull)).status).toBe(401);
    expect((await world.fetch('GET', '/token', as(password))).status).toBe(401);
    expect(await refusal(await post({ grant_type: 'refresh_token', refresh_token }))).toBe('401 UNAUTHORIZED');
  });
});

test.each(['/v2/', '/v2/a/manifests/b', '/token', '/api/v1/me'])(
  'a deployment without a secret serves nothing at %s and says why',
  async (path) => {
    const bare = worldOf({ ...world.env, REGISTRY_SECRET: '' });
    const response = await bare.fetch('GET', path, { authorization: null });
    expect(await refusal(response.clone())).toBe('503 UNAVAILABLE');
    expect(await response.text()).toContain('REGISTRY_SECRET is not set');
  },
);

test.each([
  ['VERIFY', 'never', 'VERIFY is "never": it must be one of storage, stream'],
  ['TRASH_DAYS', '-1', 'TRASH_DAYS is "-1": it must be a whole number from 0 to 3650'],
  ['REGISTRY_SECRET_PREVIOUS', 'short', 'REGISTRY_SECRET_PREVIOUS is too short: it must be 32 characters or more'],
  ['ADMIN_PASSWORD', 'fifteen letters', 'ADMIN_PASSWORD is too short: it must be 16 characters or more'],
  // Eight characters, each of which has two UTF-16 units.
  ['ADMIN_PASSWORD', '\u{1f433}'.repeat(8), 'ADMIN_PASSWORD is too short: it must be 16 characters or more'],
])('a deployment whose %s makes no sense serves nothing and says why', async (name, value, message) => {
  const bad = worldOf({ ...world.env, [name]: value });
  for (const path of ['/v2/', '/token', '/api/v1/me']) {
    const response = await bad.fetch('GET', path, { authorization: null });
    expect(await refusal(response.clone())).toBe('503 UNAVAILABLE');
    expect(await response.text()).toContain(message.replaceAll('"', '\\"'));
  }
});
