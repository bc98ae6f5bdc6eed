import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import * as z from 'zod';
import { describedOperation } from '../../../src/http/api/reference/all.ts';
import { type ApiAnswer, type ApiRequest, api, basicOf, inviteUser, type Person, refused } from '../../world/people.ts';
import { forge } from '../../world/tokens.ts';
import { builtOnce, newWorld, type World, worldOf } from '../../world/world.ts';

const HOUR = 60 * 60;

let world: World;
let alice: Person;

const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
});

beforeEach(async () => {
  world = await build();
});

interface Login {
  username: string;
  password: string;
  expiresAt: string;
  registry: string;
  command: string;
}

async function sql(text: string, ...parameters: unknown[]): Promise<Record<string, unknown>[]> {
  const { results } = await world.env.DB.prepare(text)
    .bind(...parameters)
    .all();
  return results;
}

/** All rows that a refusal must not change. */
async function everything() {
  return {
    accounts: await sql('SELECT * FROM accounts ORDER BY subject'),
    keys: await sql('SELECT id, revoked_at, version FROM access_keys ORDER BY id'),
    events: await sql('SELECT type, target, actor FROM events ORDER BY id'),
  };
}

/** The answer has exactly the fields that the operation documents. */
function conforming<T>(method: string, path: string, answered: ApiAnswer<T>): ApiAnswer<T> {
  const { schema } = describedOperation(method, path)?.answers[answered.status] ?? {};
  expect(z.safeParse(schema ?? z.never(), answered.body).error?.issues, JSON.stringify(answered.body)).toBeUndefined();
  return answered;
}

const whoIs = async (as?: string | null) => {
  const answered = await api(world, 'GET', '/me', as === undefined ? {} : { as });
  return answered.status === 200 ? conforming('GET', '/me', answered) : answered;
};

async function login(as: string, body: unknown = {}): Promise<Login> {
  const answered = conforming('POST', '/login-password', await api<Login>(world, 'POST', '/login-password', { as, body }));
  expect(answered.status).toBe(200);
  return answered.body;
}

const bearer = ({ password }: Login) => `Bearer ${password}`;

const tokenStatus = async (authorization: string) => (await world.fetch('GET', '/token', { authorization })).status;

async function narrow({ keyId }: Person): Promise<void> {
  const statements = JSON.stringify([{ effect: 'allow', actions: ['pull'], repositories: ['alice/*'] }]);
  await sql('UPDATE access_keys SET statements = ? WHERE id = ?', statements, keyId);
}

/** A login password of a CI job. The token of the job was verified when the password was created. */
async function ofCi(): Promise<string> {
  await sql(
    `INSERT INTO trust_rules (subject, issuer, audience, claims, statements, created_at)
     VALUES ('ci:acme/deploy', 'https://ci.test', 'registry.test', '{}', '[]', 0)`,
  );
  const claimed = { iss: 'https://ci.test', sub: 'job' };
  const job = { claims: claimed, omitted: [], audiences: ['registry.test'], at: Math.floor(Date.now() / 1000), since: 0 };
  const via = { epoch: 0, job };
  const claims = { sub: 'ci:acme/deploy', via, access: undefined };
  return `Bearer ${await forge(world, 'login-password', claims, { typ: 'berth-login+jwt' })}`;
}

async function robot(): Promise<string> {
  await sql("INSERT INTO accounts (subject, created_at) VALUES ('robot:acme/ci', 0)");
  await sql("UPDATE access_keys SET owner = 'robot:acme/ci' WHERE id = ?", alice.keyId);
  return basicOf('acme+ci', alice.secret);
}

describe('GET /me', () => {
  test('with an access key', async () => {
    await sql(
      "INSERT INTO members (user, organization, role) VALUES ('user:alice', 'acme', 'owner'), ('user:alice', 'beta', 'member')",
    );
    await sql("INSERT INTO team_members (user, team) VALUES ('user:alice', 'team:acme/dev')");
    const [key] = await sql('SELECT expires_at FROM access_keys');
    expect((await whoIs(alice.basic)).body).toEqual({
      subject: 'user:alice',
      username: 'alice',
      administrator: false,
      organizations: [
        { name: 'acme', role: 'owner' },
        { name: 'beta', role: 'member' },
      ],
      teams: ['acme/dev'],
      credential: {
        kind: 'key',
        key: alice.keyId,
        narrowed: false,
        expiresAt: new Date(Number(key?.expires_at) * 1000).toISOString(),
      },
    });
  });

  test('with a narrowed access key', async () => {
    await narrow(alice);
    expect((await whoIs(alice.bearer)).body).toMatchObject({ credential: { kind: 'key', narrowed: true } });
  });

  test('with a login password shows the key it was made with', async () => {
    const password = await login(alice.bearer);
    expect((await whoIs(bearer(password))).body).toMatchObject({
      subject: 'user:alice',
      credential: { kind: 'login', key: alice.keyId, narrowed: false, expiresAt: password.expiresAt },
    });
  });

  test('with the password of the first administrator', async () => {
    expect((await whoIs()).body).toMatchObject({
      subject: 'user:admin',
      administrator: true,
      credential: { kind: 'password', key: null, narrowed: false, expiresAt: null },
    });
  });

  test('as a robot shows the user name for docker', async () => {
    expect((await whoIs(await robot())).body).toMatchObject({
      subject: 'robot:acme/ci',
      username: 'acme+ci',
      credential: { kind: 'key', key: alice.keyId },
    });
  });

  test('as a CI job', async () => {
    const { body } = await whoIs(await ofCi());
    expect(body).toMatchObject({ subject: 'ci:acme/deploy', organizations: [], credential: { kind: 'ci', key: null } });
  });

  test('is refused to an anonymous caller and to an access token of /v2', async () => {
    expect(refused(await whoIs(null))).toBe('401 UNAUTHORIZED');
    const response = await world.fetch('GET', '/token', { authorization: alice.basic });
    const { token } = (await response.json()) as { token: string };
    expect(refused(await whoIs(`Bearer ${token}`))).toBe('401 UNAUTHORIZED');
  });
});

describe('a login password', () => {
  test('works for docker login under any name, for twelve hours', async () => {
    const answered = await login(alice.bearer);
    expect(answered).toMatchObject({
      username: 'AWS',
      registry: 'registry.test',
      command: 'docker login --username AWS --password-stdin registry.test',
    });
    for (const name of ['AWS', 'alice', 'whoever']) expect(await tokenStatus(basicOf(name, answered.password))).toBe(200);
    expect(Math.abs(Date.parse(answered.expiresAt) - Date.now() - 12 * HOUR * 1000)).toBeLessThan(60_000);
    expect(decodeJwt(answered.password).exp).toBe(Date.parse(answered.expiresAt) / 1000);
  });

  test('lives as long as requested, between a quarter of an hour and twelve hours', async () => {
    const { password } = await login(alice.bearer, { lifetime: 900 });
    const { exp = 0, iat = 0 } = decodeJwt(password);
    expect(exp - iat).toBe(900);
    await login(alice.bearer, { lifetime: 43_200 });
    for (const lifetime of [899, 43_201, 1e308, 900.5, '900', -1, null]) {
      expect(refused(await api(world, 'POST', '/login-password', { as: alice.bearer, body: { lifetime } }))).toBe(
        '400 INVALID',
      );
    }
  });

  test.each(['subject', 'via', 'epoch', 'until', 'statements', 'administrator'])(
    'with %s in the body is refused',
    async (field) => {
      const body = { lifetime: 900, [field]: 'user:admin' };
      expect(refused(await api(world, 'POST', '/login-password', { as: alice.bearer, body }))).toBe('400 INVALID');
    },
  );

  test('lives no longer than the key or the login it was made with', async () => {
    await sql('UPDATE access_keys SET expires_at = unixepoch() + 3600');
    const [key] = await sql('SELECT expires_at FROM access_keys');
    const first = await login(alice.bearer);
    expect(Date.parse(first.expiresAt) / 1000).toBe(key?.expires_at);
    const short = await login(alice.bearer, { lifetime: 900 });
    expect((await login(bearer(short))).expiresAt <= short.expiresAt).toBe(true);
  });

  test('ends with the key it was made with, and so does one made from it', async () => {
    const first = await login(alice.bearer);
    const second = await login(bearer(first));
    expect((await whoIs(bearer(second))).status).toBe(200);
    await sql('UPDATE access_keys SET revoked_at = unixepoch()');
    for (const one of [first, second]) {
      expect(refused(await whoIs(bearer(one)))).toBe('401 UNAUTHORIZED');
      expect(await tokenStatus(basicOf('AWS', one.password))).toBe(401);
    }
  });

  test('has no more rights than the key it was made with', async () => {
    await narrow(alice);
    const { password } = await login(alice.bearer);
    expect((await whoIs(`Bearer ${password}`)).body).toMatchObject({ credential: { kind: 'login', narrowed: true } });
    const scope = encodeURIComponent('repository:alice/app:pull,push');
    const response = await world.fetch('GET', `/token?scope=${scope}`, { authorization: basicOf('AWS', password) });
    const { token } = (await response.json()) as { token: string };
    expect(decodeJwt(token).access).toEqual([{ type: 'repository', name: 'alice/app', actions: ['pull'] }]);
  });

  test('changes no rights', async () => {
    const { password } = await login(basicOf('admin', 'the-password-of-the-tests'));
    const before = await everything();
    const attempt = { as: `Bearer ${password}`, body: { administrator: true } };
    expect(refused(await api(world, 'PATCH', '/users/alice', attempt))).toBe('403 DENIED');
    expect(await everything()).toEqual(before);
  });

  test('made by a CI job belongs to that CI job', async () => {
    const { password } = await login(await ofCi());
    expect((await whoIs(`Bearer ${password}`)).body).toMatchObject({ subject: 'ci:acme/deploy', credential: { kind: 'ci' } });
  });

  test.each([
    ['text/plain', true],
    ['text/plain; charset=utf-8', true],
    ['application/json;q=0.5, text/plain', true],
    ['text/*', true],
    ['application/json, text/plain;q=0.5', false],
    ['application/json', false],
    ['*/*', false],
    ['text/html', false],
  ])('is answered alone to whoever accepts %s: %s', async (accept, alone) => {
    const response = await world.fetch('POST', '/api/v1/login-password', { authorization: alice.basic, headers: { accept } });
    const text = await response.text();
    expect(response.headers.get('content-type')?.startsWith('text/plain')).toBe(alone);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('vary')).toBe('accept');
    const password = alone ? text : (JSON.parse(text) as Login).password;
    expect(password).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(await tokenStatus(basicOf('AWS', password))).toBe(200);
  });

  test('is refused to an anonymous caller, and always expires', async () => {
    expect(refused(await api(world, 'POST', '/login-password', { as: null }))).toBe('401 UNAUTHORIZED');
    const limiter = { limit: async () => ({ success: false }) } as unknown as NonNullable<World['env']['TOKEN_REQUESTS']>;
    const limited = worldOf({ ...world.env, TOKEN_REQUESTS: limiter });
    expect(refused(await api(limited, 'POST', '/login-password', { as: alice.bearer }))).toBe('429 TOOMANYREQUESTS');
  });
});

describe('logging out everywhere', () => {
  const logOut = (request: ApiRequest, query = '') => api(world, 'DELETE', `/me/logins${query}`, request);

  async function refreshToken(): Promise<string> {
    const response = await world.fetch('GET', '/token?offline_token=true', { authorization: alice.basic });
    return ((await response.json()) as { refresh_token: string }).refresh_token;
  }

  async function refresh(token: string): Promise<number> {
    const response = await world.fetch('POST', '/token', {
      authorization: null,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token }).toString(),
    });
    return response.status;
  }

  test("ends login passwords, refresh tokens and writes by access tokens, and keeps keys and other users' logins", async () => {
    const bob = await inviteUser(world, 'bob');
    const mine = await login(alice.bearer);
    const his = await login(bob.bearer);
    const token = await refreshToken();
    const scope = encodeURIComponent('repository:alice/app:pull,push');
    const response = await world.fetch('GET', `/token?scope=${scope}`, { authorization: alice.basic });
    const authorization = `Bearer ${((await response.json()) as { token: string }).token}`;
    const push = async () => (await world.fetch('POST', '/v2/alice/app/blobs/uploads/', { authorization })).status;
    expect([await refresh(token), await push()]).toEqual([200, 202]);

    const answered = await logOut({ as: bearer(mine) });
    expect([answered.status, answered.body]).toEqual([204, null]);
    expect(refused(await whoIs(bearer(mine)))).toBe('401 UNAUTHORIZED');
    expect([await refresh(token), await push()]).toEqual([401, 401]);
    expect([(await whoIs(bearer(his))).status, (await whoIs(alice.bearer)).status]).toEqual([200, 200]);
    expect((await whoIs(bearer(await login(alice.bearer)))).status).toBe(200);
    const [event] = await sql('SELECT type, target, actor FROM events ORDER BY id DESC LIMIT 1');
    expect(event).toEqual({ type: 'login.ended', target: '{"subject":"user:alice"}', actor: 'user:alice' });
  });

  test('also revokes the keys if requested', async () => {
    const bob = await inviteUser(world, 'bob');
    expect((await logOut({ as: alice.bearer }, '?keys=true')).status).toBe(204);
    expect(refused(await whoIs(alice.bearer))).toBe('401 UNAUTHORIZED');
    expect((await whoIs(bob.bearer)).status).toBe(200);
    const [event] = await sql('SELECT type, actor, target FROM events ORDER BY id DESC LIMIT 1');
    expect(event).toMatchObject({ type: 'key.revoked', actor: 'user:alice' });
  });

  test('revokes keys only for a caller with an unrestricted key', async () => {
    const password = await login(alice.bearer);
    const before = await everything();
    expect(refused(await logOut({ as: bearer(password) }, '?keys=true'))).toBe('403 DENIED');
    await narrow(alice);
    expect(refused(await logOut({ as: alice.bearer }, '?keys=true'))).toBe('403 DENIED');
    expect(await everything()).toEqual(before);
    // A narrowed key may not end logins that were made with other keys of the same owner.
    for (const query of ['', '?keys=false']) expect(refused(await logOut({ as: alice.bearer }, query))).toBe('403 DENIED');
    expect(await everything()).toEqual(before);
  });

  test('works for a robot too', async () => {
    const as = await robot();
    const password = await login(as);
    expect((await logOut({ as })).status).toBe(204);
    expect(refused(await whoIs(bearer(password)))).toBe('401 UNAUTHORIZED');
  });

  test('is refused to a CI job, which has no account, and to an anonymous caller', async () => {
    const as = await ofCi();
    const before = await everything();
    const answered = await logOut({ as });
    expect(refused(answered)).toBe('400 INVALID');
    expect(JSON.stringify(answered.body)).toContain('has no account');
    expect(refused(await logOut({ as, body: undefined }, '?keys=true'))).toBe('400 INVALID');
    expect(refused(await logOut({ as: null }))).toBe('401 UNAUTHORIZED');
    expect(await everything()).toEqual(before);
  });
});

describe('the first administrator', () => {
  test('is created once, however many log in at first', async () => {
    world = await newWorld();
    const statuses = await Promise.all(
      Array.from({ length: 16 }, async (_, n) =>
        n % 2 ? (await whoIs()).status : tokenStatus(basicOf('admin', 'the-password-of-the-tests')),
      ),
    );
    expect(statuses).toEqual(Array(16).fill(200));
    expect(await sql('SELECT subject, administrator, disabled, epoch, version FROM accounts')).toEqual([
      { subject: 'user:admin', administrator: 1, disabled: 0, epoch: 0, version: 1 },
    ]);
  });

  test('is created only by the right password', async () => {
    world = await newWorld();
    for (const as of [basicOf('admin', 'wrong'), basicOf('root', 'the-password-of-the-tests'), null]) {
      expect(refused(await whoIs(as))).toBe('401 UNAUTHORIZED');
    }
    expect(await sql('SELECT subject FROM accounts')).toEqual([]);
  });

  test('stays disabled or demoted, even if the password is right', async () => {
    const boss = await inviteUser(world, 'boss', { administrator: true });
    await api(world, 'PATCH', '/users/admin', { as: boss.bearer, body: { disabled: true } });
    const before = await everything();
    const answers = await Promise.all(Array.from({ length: 16 }, () => whoIs()));
    expect(new Set(answers.map(refused))).toEqual(new Set(['401 UNAUTHORIZED']));
    expect(await everything()).toEqual(before);
    await api(world, 'PATCH', '/users/admin', { as: boss.bearer, body: { disabled: false, administrator: false } });
    expect((await whoIs()).body).toMatchObject({ administrator: false });
    expect(refused(await api(world, 'GET', '/users'))).toBe('403 DENIED');
  });
});
