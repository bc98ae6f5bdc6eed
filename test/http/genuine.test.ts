/**
 * A genuine credential that has expired, or that is for another service, gets a 401 with a challenge, even if it is sent often.
 * It does not count as a guessed password.
 */
import { env } from 'cloudflare:workers';
import { decodeJwt } from 'jose';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Env } from '../../src/env.ts';
import { refusal } from '../world/images.ts';
import { api, basicOf, inviteUser, type Person } from '../world/people.ts';
import { type Issuer, newIssuer } from '../world/token-issuer.ts';
import { forge, tokenFor } from '../world/tokens.ts';
import { builtOnce, type World } from '../world/world.ts';

const { WRONG_PASSWORDS } = env as unknown as Required<Env>;
const PASSWORD = 'the-password-of-the-tests';
const SCOPE = 'repository:alice/app:pull,push';
const UPLOADS = '/v2/alice/app/blobs/uploads/';

let world: World;
let alice: Person;
let issuer: Issuer;

const build = builtOnce(
  async (made) => {
    alice = await inviteUser(made, 'alice');
  },
  { WRONG_PASSWORDS },
);

beforeEach(async () => {
  world = await build();
  issuer = await newIssuer();
  vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Other files use other networks: the limiter of the runtime counts for all files that run within a minute. */
let addresses = 0;

/** Sends more requests than the limit of a minute. Expects the same answer each time, and that a password still works. */
async function ask40(send: (headers: Record<string, string>) => Promise<Response>): Promise<Response> {
  const headers = { 'cf-connecting-ip': `100.66.0.${++addresses}` };
  const first = await send(headers);
  for (let n = 0; n < 40; n++) expect(await refusal(await send(headers))).toBe('401 UNAUTHORIZED');
  const right = await world.fetch('GET', '/token', { headers, authorization: basicOf('admin', PASSWORD) });
  expect([200, 401]).toContain(right.status);
  return first;
}

const get = (path: string, authorization: string, host = '') =>
  ask40((headers) => world.fetch(path === UPLOADS ? 'POST' : 'GET', `${host}${path}`, { headers, authorization }));

const post = (refresh_token: string) =>
  ask40((headers) =>
    world.fetch('POST', '/token', {
      authorization: null,
      headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token }).toString(),
    }),
  );

const past = () => {
  const now = Math.floor(Date.now() / 1000);
  return { iat: now - 200, nbf: now - 200, exp: now - 1 };
};

async function accessToken(authorization = alice.basic): Promise<string> {
  const response = await world.fetch('GET', `/token?scope=${SCOPE}`, { authorization });
  return `Bearer ${((await response.json()) as { token: string }).token}`;
}

async function refreshToken(): Promise<string> {
  const response = await world.fetch('GET', '/token?offline_token=true', { authorization: alice.basic });
  return ((await response.json()) as { refresh_token: string }).refresh_token;
}

async function loginPassword(): Promise<string> {
  return (await api<{ password: string }>(world, 'POST', '/login-password', { as: alice.basic })).body.password;
}

const revoke = () => api(world, 'DELETE', `/keys/${alice.keyId}`, { as: alice.basic });
const disable = () => api(world, 'PATCH', '/users/alice', { body: { disabled: true } });
const logOut = () => api(world, 'DELETE', '/users/alice/logins');
const expireKey = () => world.env.DB.prepare('UPDATE access_keys SET expires_at = unixepoch()').run();

/** Expects the challenge with which docker requests a new token. */
function expectChallenge(response: Response, scope: string) {
  const challenge = response.headers.get('www-authenticate') ?? '';
  expect(challenge).toMatch(/^Bearer realm="https:\/\/registry.test\/token",service="registry.test"/);
  expect(challenge).toContain(`scope="${scope}"`);
  expect(challenge).toContain('error="invalid_token"');
}

describe('an access token', () => {
  test.each<[string, () => Promise<string>]>([
    ['has expired', async () => `Bearer ${await forge(world, 'access-token', past())}`],
    ['is for another host', async () => `Bearer ${await forge(world, 'access-token', { aud: 'elsewhere.test' })}`],
    ['is a refresh token', async () => `Bearer ${await refreshToken()}`],
    ['is a login password', async () => `Bearer ${await loginPassword()}`],
    ['is an access key', async () => alice.bearer],
    ['is of another registry', async () => 'Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6ImJlcnRoLWFjY2Vzcytqd3QifQ.e30.AAAA'],
    ['is nothing', async () => 'Bearer x'],
  ])('that %s', async (_, make) => {
    const authorization = await make();
    expectChallenge(await get('/v2/alice/app/tags/list', authorization), 'repository:alice/app:pull');
    expectChallenge(await get(UPLOADS, authorization), SCOPE);
    expectChallenge(await get('/v2/_catalog', authorization), 'registry:catalog:*');
    const response = await get('/v2/', authorization);
    expect(response.headers.get('www-authenticate')).toMatch(/^Bearer realm=.*error="invalid_token"/);
  });

  test.each<[string, () => Promise<unknown>]>([
    ['whose key was revoked', revoke],
    ['whose key has expired', expireKey],
    ['whose user was disabled', disable],
    ['whose user was logged out', logOut],
  ])('%s', async (_, end) => {
    const authorization = await accessToken();
    await end();
    expectChallenge(await get(UPLOADS, authorization), SCOPE);
  });

  test("signed for the administrator's previous password", async () => {
    const authorization = `Bearer ${await forge(world, 'access-token', { via: { epoch: 0, password: 'another-mark' } })}`;
    expectChallenge(await get('/v2/alice/app/tags/list', authorization), 'repository:alice/app:pull');
  });

  test('used as a credential of the API or the token service, without counting as a guess', async () => {
    const authorization = await accessToken();
    expect((await get('/api/v1/me', authorization)).headers.get('www-authenticate')).toBe('Bearer realm="berth"');
    await get('/token', authorization);
    await get('/token', basicOf('alice', authorization.slice('Bearer '.length)));
  });
});

/** Every endpoint that accepts a password. */
async function atEveryDoor(name: string, password: string): Promise<void> {
  const basic = basicOf(name, password);
  expect((await get('/token', basic)).headers.get('www-authenticate')).toBe('Basic realm="berth"');
  expect((await get('/v2/', basic)).headers.get('www-authenticate')).toMatch(/^Bearer realm=/);
  expectChallenge(await get('/v2/alice/app/tags/list', basic), 'repository:alice/app:pull');
  await get('/api/v1/me', basic);
  if (name !== 'bob') await get('/api/v1/me', `Bearer ${password}`);
}

describe('a password', () => {
  test.each<[string, () => Promise<unknown>]>([
    ['whose key was revoked', revoke],
    ['whose key has expired', expireKey],
    ['whose user was disabled', disable],
  ])('%s, be it the key or a login password', { tags: 'slow' }, async (_, end) => {
    const login = await loginPassword();
    await end();
    await atEveryDoor('alice', alice.secret);
    await atEveryDoor('AWS', login);
  });

  test("that is a key, under somebody else's name", { tags: 'slow' }, () => atEveryDoor('bob', alice.secret));

  test('that is a login password of a user who was logged out', { tags: 'slow' }, async () => {
    const login = await loginPassword();
    await logOut();
    await atEveryDoor('AWS', login);
  });

  test('that is a login password which has expired, is for another host, or was signed by another registry', {
    tags: 'slow',
  }, async () => {
    const claims = decodeJwt(await loginPassword());
    const typ = { typ: 'berth-login+jwt' };
    const expired = await forge(world, 'login-password', { ...claims, ...past() }, typ);
    expect(await (await get('/token', basicOf('AWS', expired))).text()).toContain('this login has expired');
    await get('/token', basicOf('AWS', await forge(world, 'login-password', { ...claims, aud: 'elsewhere.test' }, typ)));
    await get('/token', basicOf('AWS', await forge(world, 'access-token', claims, typ)));
  });

  test("that is the administrator's, while the administrator is disabled", async () => {
    await api(world, 'GET', '/me');
    await world.env.DB.prepare("UPDATE accounts SET disabled = 1 WHERE subject = 'user:admin'").run();
    await get('/token', basicOf('admin', PASSWORD));
  });
});

describe('a refresh token', () => {
  test.each<[string, () => Promise<unknown>]>([
    ['whose key was revoked', revoke],
    ['whose user was logged out', logOut],
    ['whose login was swept away', () => world.env.DB.prepare('DELETE FROM logins').run()],
  ])('%s', async (_, end) => {
    const token = await refreshToken();
    await end();
    await post(token);
  });

  test('that has expired, was already used, is for another host, or is really an access token', { tags: 'slow' }, async () => {
    const token = await refreshToken();
    const claims = decodeJwt(token);
    const typ = { typ: 'berth-refresh+jwt' };
    await post(await forge(world, 'refresh-token', { ...claims, ...past() }, typ));
    await post(await forge(world, 'refresh-token', { ...claims, aud: 'elsewhere.test' }, typ));
    await post(await forge(world, 'refresh-token', { ...claims, generation: -1 }, typ));
    await post((await accessToken()).slice('Bearer '.length));
  });
});

describe("a CI job's token", () => {
  beforeEach(async () => {
    await api(world, 'PUT', '/organizations/acme');
    const statements = [{ actions: 'push and pull', repositories: ['acme/*'] }];
    const body = { issuer: issuer.url, claims: { project: '42' }, statements };
    expect((await api(world, 'PUT', '/organizations/acme/trust-rules/deploy', { body })).status).toBe(201);
  });

  const sign = (claims: Record<string, unknown>) => {
    const now = Math.floor(Date.now() / 1000);
    return issuer.sign({ sub: 'job', project: '42', iat: now, nbf: now, exp: now + 600, ...claims });
  };

  test.each<[string, () => Record<string, unknown>]>([
    ['that has expired', past],
    ['for another registry', () => ({ aud: 'elsewhere.test' })],
    ['that no rule is about', () => ({ project: '43' })],
    ['of an issuer that nobody trusts', () => ({ iss: 'https://untrusted.test' })],
  ])('%s', async (_, claims) => {
    await get('/token', basicOf('ci', await sign(claims())));
  });

  test('whose rule was deleted, and credentials made from it', { tags: 'slow' }, async () => {
    const token = await sign({});
    const scope = 'repository:acme/app:pull,push';
    const response = await world.fetch('GET', `/token?offline_token=true&scope=${scope}`, {
      authorization: basicOf('ci', token),
    });
    const made = (await response.json()) as { token: string; refresh_token: string };
    expect((await api(world, 'DELETE', '/organizations/acme/trust-rules/deploy')).status).toBe(204);
    await get('/token', basicOf('ci', token));
    await post(made.refresh_token);
    const upload = await ask40((headers) =>
      world.fetch('POST', '/v2/acme/app/blobs/uploads/', { headers, authorization: `Bearer ${made.token}` }),
    );
    expectChallenge(upload, scope);
  });
});

test('an invitation that was already accepted', async () => {
  const invited = await api<{ invitation: { token: string } }>(world, 'PUT', '/users/bob', { body: {} });
  const { token } = invited.body.invitation;
  const headers = { 'cf-connecting-ip': '198.51.100.200' };
  const accept = () => api(world, 'POST', '/invitations/accept', { as: null, body: { token }, headers });
  expect((await accept()).status).toBe(200);
  for (let n = 0; n < 40; n++) expect((await accept()).status).toBe(400);
});

test('a token for the catalog alone gets a challenge for more, however often', async () => {
  const authorization = `Bearer ${await tokenFor(world, 'registry:catalog:*')}`;
  const response = await get('/v2/alice/app/tags/list', authorization);
  expect(response.headers.get('www-authenticate')).toContain('error="insufficient_scope"');
});
