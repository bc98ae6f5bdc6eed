/** Refresh tokens: the token that docker keeps after a login, the rotation of tokens, and the end of a login. */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { counting } from '../world/counting.ts';
import { pushImage, refusal } from '../world/images.ts';
import { makeOrganization, makeRobot, makeTeam, tally } from '../world/organizations.ts';
import { api, basicOf, inviteUser, type Person } from '../world/people.ts';
import { newIssuer } from '../world/token-issuer.ts';
import { forge, tokenFor } from '../world/tokens.ts';
import { builtOnce, type World, worldOf } from '../world/world.ts';

interface TokenAnswer {
  access_token: string;
  scope?: string;
  expires_in: number;
  refresh_token?: string;
}

const DAY = 24 * 60 * 60;
const SCOPE = 'repository:acme/api:pull,push';

let world: World;
let alice: Person;

const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  await makeOrganization(world, 'acme', { members: [alice] });
  await makeTeam(world, 'acme', 'dev', [alice], [{ actions: 'push and pull', repositories: ['acme/*'] }]);
});

beforeEach(async () => {
  world = await build();
});

async function post(form: Record<string, string>, at: World = world): Promise<Response> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return at.fetch('POST', '/token', { authorization: null, headers, body: new URLSearchParams(form).toString() });
}

/** Logs in as `docker login` does. @returns the refresh token that docker keeps */
async function login(person: Person | { basic: string } = alice): Promise<string> {
  const response = await world.fetch('GET', `/token?service=registry.test&offline_token=true&client_id=docker`, {
    authorization: person.basic,
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as TokenAnswer).refresh_token as string;
}

/** Requests a token with a refresh token, as docker does before each pull and push. */
const refresh = (token: string, scope = SCOPE, at: World = world) =>
  post({ grant_type: 'refresh_token', refresh_token: token, service: 'registry.test', client_id: 'docker', scope }, at);

/** Requests a token and also a new refresh token, as some clients do. */
const rotate = (token: string, at: World = world) =>
  post({ grant_type: 'refresh_token', refresh_token: token, access_type: 'offline', scope: SCOPE }, at);

async function rotated(token: string): Promise<string> {
  const response = await rotate(token);
  expect(response.status).toBe(200);
  return ((await response.json()) as TokenAnswer).refresh_token as string;
}

const granted = async (response: Response) => ((await response.json()) as TokenAnswer).scope;
const refused = async (response: Response) => expect(await refusal(response)).toBe('401 UNAUTHORIZED');
const lifetimeOf = (token: string) => (decodeJwt(token).exp ?? 0) - Date.now() / 1000;

describe("with docker's requests", () => {
  test('a refresh token works repeatedly. It grants the requested scope, and no other refresh token', async () => {
    const token = await login();
    for (const scope of [SCOPE, 'repository:acme/web:pull', SCOPE, '']) {
      const response = await refresh(token, scope);
      expect(response.status).toBe(200);
      expect(response.headers.get('cache-control')).toBe('no-store');
      const answer = (await response.json()) as TokenAnswer;
      expect(answer).toMatchObject({ scope, expires_in: 300 });
      expect(answer.refresh_token).toBeUndefined();
      expect(decodeJwt(answer.access_token).sub).toBe(alice.subject);
    }
  });

  test('concurrent uses are as good as one', async () => {
    const token = await login();
    const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(token)));
    expect(tally(answers.map(({ status }) => status))).toEqual({ 200: 8 });
  });

  test('the access token pulls and pushes', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const { access_token } = (await (await refresh(await login())).json()) as TokenAnswer;
    const authorization = `Bearer ${access_token}`;
    expect((await world.fetch('GET', '/v2/acme/api/manifests/v1', { authorization })).status).toBe(200);
    expect((await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization })).status).toBe(202);
  });

  test('each login has its own refresh token: ending one login ends no other', async () => {
    const [one, other] = [await login(), await login()];
    await rotated(one);
    await refused(await refresh(one));
    expect((await refresh(other)).status).toBe(200);
  });

  test('a login by POST gets one only if it asks for it', async () => {
    const form = { grant_type: 'password', username: 'alice', password: alice.secret, scope: SCOPE };
    expect(((await (await post(form)).json()) as TokenAnswer).refresh_token).toBeUndefined();
    const { refresh_token } = (await (await post({ ...form, access_type: 'offline' })).json()) as TokenAnswer;
    expect(await granted(await refresh(refresh_token ?? ''))).toBe(SCOPE);
  });

  test('an anonymous caller gets none', async () => {
    const response = await world.fetch('GET', '/token?offline_token=true', { authorization: null });
    expect(((await response.json()) as TokenAnswer).refresh_token).toBeUndefined();
    expect((await world.env.DB.prepare('SELECT * FROM logins').all()).results).toEqual([]);
  });

  test('it lasts 30 days, or as long as the key it was made with', async () => {
    const administrator = await login({ basic: `Basic ${btoa('admin:the-password-of-the-tests')}` });
    expect(lifetimeOf(administrator) / DAY).toBeCloseTo(30, 1);
    await world.env.DB.prepare('UPDATE access_keys SET expires_at = unixepoch() + 1000 WHERE id = ?').bind(alice.keyId).run();
    expect(Math.abs(lifetimeOf(await login()) - 1000)).toBeLessThan(10);
  });

  test('a use costs one statement and writes nothing', async () => {
    const token = await login();
    const { env, counts } = counting(world.env);
    expect((await refresh(token, SCOPE, worldOf(env))).status).toBe(200);
    expect(counts).toMatchObject({ d1: 1, rowsWritten: 0, r2Reads: 0, r2Writes: 0 });
    expect(counts.rowsRead).toBeLessThanOrEqual(20);
  });

  test('a rotation costs two statements, a login three', async () => {
    const token = await login();
    const rotation = counting(world.env);
    expect((await rotate(token, worldOf(rotation.env))).status).toBe(200);
    expect(rotation.counts.d1).toBeLessThanOrEqual(2);
    expect(rotation.counts.rowsWritten).toBeLessThanOrEqual(1);
    const first = counting(world.env);
    await worldOf(first.env).fetch('GET', '/token?offline_token=true', { authorization: alice.basic });
    expect(first.counts.d1).toBeLessThanOrEqual(3);
    expect(first.counts.rowsWritten).toBeLessThanOrEqual(2);
  });
});

describe('rotation', () => {
  test('returns a new token each time, and the newest one works', async () => {
    let token = await login();
    const seen = new Set([token]);
    for (let n = 0; n < 5; n++) {
      token = await rotated(token);
      expect(seen.has(token)).toBe(false);
      seen.add(token);
    }
    expect(await granted(await refresh(token))).toBe(SCOPE);
    expect((await refresh(token)).status).toBe(200);
  });

  test.each([
    ['a use', refresh],
    ['a rotation', rotate],
  ])('of a token that was used up, by %s, is a 401 and ends the login, also for the newest', async (_, use) => {
    const first = await login();
    const second = await rotated(first);
    const third = await rotated(second);
    expect((await refresh(third)).status).toBe(200);
    await refused(await use(first));
    for (const token of [third, second, first]) {
      await refused(await refresh(token));
      await refused(await rotate(token));
    }
  });

  test('by eight clients at once leaves at most one token, and none if the others count as theft', async () => {
    const token = await login();
    const answers = await Promise.all(Array.from({ length: 8 }, () => rotate(token)));
    const statuses = tally(answers.map(({ status }) => status));
    expect(statuses[200] ?? 0).toBeLessThanOrEqual(1);
    expect((statuses[200] ?? 0) + (statuses[401] ?? 0)).toBe(8);
    const given = await Promise.all(
      answers.filter(({ ok }) => ok).map(async (response) => ((await response.json()) as TokenAnswer).refresh_token ?? ''),
    );
    const working = await Promise.all(given.map(async (one) => (await refresh(one)).status));
    expect(working.filter((status) => status === 200).length).toBeLessThanOrEqual(1);
    await refused(await refresh(token));
  });

  test('that failed because of the server leaves the old token valid', async () => {
    const token = await login();
    const failing = {
      ...world.env,
      DB: new Proxy(world.env.DB, {
        get(target, name) {
          if (name !== 'prepare') return Reflect.get(target, name);
          return (sql: string) => {
            if (sql.includes('UPDATE logins')) throw new Error('D1_ERROR: storage is gone');
            return target.prepare(sql);
          };
        },
      }),
    };
    expect((await rotate(token, worldOf(failing))).status).toBe(503);
    expect((await rotate(token)).status).toBe(200);
  });

  test("prolongs a login past one token's lifetime, if it happens in time", async () => {
    const token = await login({ basic: `Basic ${btoa('admin:the-password-of-the-tests')}` });
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      vi.advanceTimersByTime(29 * DAY * 1000);
      const next = await rotated(token);
      vi.advanceTimersByTime(2 * DAY * 1000);
      await refused(await refresh(token));
      const response = await refresh(next);
      // The reused token had already expired, so its use did not end the login.
      expect(response.status).toBe(200);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a refresh token is revoked', () => {
  test.each<[string, () => Promise<unknown>]>([
    ['when its user logs out everywhere', () => api(world, 'DELETE', '/me/logins', { as: alice.basic })],
    ['when an administrator logs the user out', () => api(world, 'DELETE', '/users/alice/logins')],
    ['when the user is disabled', () => api(world, 'PATCH', '/users/alice', { body: { disabled: true } })],
    ['when the key it was made with is revoked', () => api(world, 'DELETE', `/keys/${alice.keyId}`, { as: alice.basic })],
    [
      'when the key it was made with has expired',
      () => world.env.DB.prepare('UPDATE access_keys SET expires_at = unixepoch() - 1 WHERE id = ?').bind(alice.keyId).run(),
    ],
    ['when its login has expired', () => world.env.DB.prepare('UPDATE logins SET expires_at = unixepoch()').run()],
    ['when its login was swept away', () => world.env.DB.prepare('DELETE FROM logins').run()],
  ])('%s', async (_, end) => {
    const token = await login();
    expect((await refresh(token)).status).toBe(200);
    await end();
    await refused(await refresh(token));
    await refused(await rotate(token));
  });

  test('for good: a user who is enabled again has to log in again', async () => {
    const token = await login();
    await api(world, 'PATCH', '/users/alice', { body: { disabled: true } });
    await api(world, 'PATCH', '/users/alice', { body: { disabled: false } });
    await refused(await refresh(token));
    expect((await refresh(await login())).status).toBe(200);
  });

  test('when it expires, whatever the database says', async () => {
    const token = await login();
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      vi.advanceTimersByTime(31 * DAY * 1000);
      await refused(await refresh(token));
    } finally {
      vi.useRealTimers();
    }
  });

  test("when its robot's key is revoked or the robot is deleted", async () => {
    const robot = await makeRobot(world, 'acme', 'ci', [{ actions: 'push and pull', repositories: ['acme/*'] }]);
    const token = await login(robot);
    expect(await granted(await refresh(token))).toBe(SCOPE);
    expect((await api(world, 'DELETE', '/organizations/acme/robots/ci')).status).toBe(204);
    await refused(await refresh(token));
  });

  test('with the login password it was made from, also after a rotation', async () => {
    const { body } = await api<{ password: string }>(world, 'POST', '/login-password', {
      as: alice.basic,
      body: { lifetime: 900 },
    });
    const token = await login({ basic: basicOf('AWS', body.password) });
    expect(lifetimeOf(token)).toBeLessThanOrEqual(900);
    const next = await rotated(token);
    expect(lifetimeOf(next)).toBeLessThanOrEqual(900);
    expect(lifetimeOf(await rotated(next))).toBeLessThanOrEqual(900);
  });

  test("with its trust rule and at the end of that rule's lifetime, also after a rotation", async () => {
    const issuer = await newIssuer();
    vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
    try {
      const rule = '/organizations/acme/trust-rules/deploy';
      const statements = [{ actions: 'push and pull', repositories: ['acme/*'] }];
      await api(world, 'PUT', rule, { body: { issuer: issuer.url, claims: { project: '42' }, statements, lifetime: 900 } });
      const now = Math.floor(Date.now() / 1000);
      const job = await issuer.sign({ sub: 'job', project: '42', iat: now, nbf: now, exp: now + 600 });
      const token = await login({ basic: basicOf('ci', job) });
      expect(await granted(await refresh(token))).toBe(SCOPE);
      const next = await rotated(token);
      for (const one of [token, next]) {
        expect(lifetimeOf(one)).toBeLessThanOrEqual(900);
        expect(lifetimeOf(one)).toBeGreaterThan(800);
      }
      expect((await api(world, 'DELETE', rule)).status).toBe(204);
      await refused(await refresh(next));
    } finally {
      vi.restoreAllMocks();
    }
  });
});

describe('a refresh token grants the current rights', () => {
  test('without those that were taken since, and with those that were given', async () => {
    const token = await login();
    expect(await granted(await refresh(token))).toBe(SCOPE);
    await api(world, 'DELETE', '/organizations/acme/teams/dev/members/alice');
    expect(await granted(await refresh(token))).toBe('');
    const statements = [{ actions: ['pull'], principals: ['organization:acme'] }];
    await api(world, 'PUT', '/repositories/acme/api');
    await api(world, 'PUT', '/repositories/acme/api/-/policy', { body: { statements } });
    expect(await granted(await refresh(token))).toBe('repository:acme/api:pull');
  });

  test('within the current limits of the key it was made with', async () => {
    const statements = [{ actions: ['pull'], repositories: ['acme/*'] }];
    const made = await api<{ key: { id: string }; secret: string }>(world, 'POST', '/keys', {
      as: alice.basic,
      body: { name: 'narrow', statements },
    });
    const token = await login({ basic: basicOf('alice', made.body.secret) });
    expect(await granted(await refresh(token))).toBe('repository:acme/api:pull');
    const { access_token } = (await (await refresh(token)).json()) as TokenAnswer;
    const authorization = `Bearer ${access_token}`;
    expect((await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization })).status).toBe(401);
    const change = { statements: [{ actions: ['pull'], repositories: ['acme/web'] }] };
    expect((await api(world, 'PATCH', `/keys/${made.body.key.id}`, { as: alice.basic, body: change })).status).toBe(200);
    expect(await granted(await refresh(token, `${SCOPE} repository:acme/web:pull,push`))).toBe('repository:acme/web:pull');
  });
});

describe('a refused refresh token that is sent again as a password without a name, as containerd does', () => {
  const sendAgain = (token: string) => world.fetch('GET', `/token?scope=${SCOPE}`, { authorization: basicOf('', token) });
  const ENDED = /^this login was ended, or its access key has expired or was revoked: log in again with docker login/;

  test('is refused with the same message', async () => {
    const token = await login();
    await api(world, 'DELETE', '/me/logins', { as: alice.basic });
    const first = await (await refresh(token)).json();
    expect(first).toMatchObject({ errors: [{ code: 'UNAUTHORIZED', message: expect.stringMatching(ENDED) }] });
    const second = await sendAgain(token);
    expect([second.status, await second.json()]).toEqual([401, first]);
  });

  test('says whether it has expired', async () => {
    const token = await login();
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      vi.advanceTimersByTime(31 * DAY * 1000);
      const second = await sendAgain(token);
      expect(await second.json()).toEqual(await (await refresh(token)).json());
    } finally {
      vi.useRealTimers();
    }
  });

  test('tells nothing about others: a forged one gets the same message', async () => {
    const token = await forge(world, 'login-password', { sub: 'user:nobody' }, { typ: 'berth-refresh+jwt' });
    const second = await sendAgain(token);
    expect(await second.json()).toMatchObject({ errors: [{ message: expect.stringMatching(ENDED) }] });
  });
});

describe('a refresh token cannot be confused', () => {
  test('with an access token, a password or a bearer token anywhere', async () => {
    const token = await login();
    const bearer = `Bearer ${token}`;
    for (const authorization of [bearer, basicOf('alice', token), basicOf('AWS', token), basicOf('', token)]) {
      for (const [method, path] of [
        ['GET', '/v2/'],
        ['GET', '/v2/_catalog'],
        ['GET', '/v2/acme/api/tags/list'],
        ['POST', '/v2/acme/api/blobs/uploads/'],
        ['GET', '/token'],
        ['GET', '/api/v1/me'],
        ['GET', '/api/v1/repositories'],
        ['POST', '/api/v1/keys'],
        ['POST', '/api/v1/login-password'],
      ] as const) {
        const response = await world.fetch(method, path, { authorization });
        expect(`${method} ${path} ${response.status}`).toBe(`${method} ${path} 401`);
      }
    }
    await refused(await post({ grant_type: 'password', username: 'alice', password: token }));
    expect((await refresh(token)).status).toBe(200);
  });

  test('by presenting something else as a refresh token', async () => {
    const { body } = await api<{ password: string }>(world, 'POST', '/login-password', { as: alice.basic, body: {} });
    const claims = { sub: alice.subject, via: { epoch: 0 }, login: crypto.randomUUID(), generation: 0, access: undefined };
    const others = [
      await tokenFor(world, SCOPE),
      body.password,
      alice.secret,
      'the-password-of-the-tests',
      '',
      'a.b.c',
      await forge(world, 'refresh-token', claims, { typ: 'berth-access+jwt' }),
      await forge(world, 'access-token', claims, { typ: 'berth-refresh+jwt' }),
      await forge(world, 'login-password', claims, { typ: 'berth-refresh+jwt' }),
      // The token is signed by the registry, for a login that does not exist.
      await forge(world, 'refresh-token', claims, { typ: 'berth-refresh+jwt' }),
      await forge(world, 'refresh-token', { ...claims, login: undefined }, { typ: 'berth-refresh+jwt' }),
    ];
    for (const other of others) {
      await refused(await refresh(other));
      await refused(await rotate(other));
    }
  });

  test('between users or hosts', async () => {
    const token = await login();
    const [header, payload, signature] = token.split('.') as [string, string, string];
    const changed = btoa(JSON.stringify({ ...decodeJwt(token), sub: 'user:admin' })).replace(/=+$/, '');
    await refused(await refresh([header, changed, signature].join('.')));
    await refused(await refresh([header, payload, signature.slice(0, -4)].join('.')));
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token }).toString();
    await refused(await world.fetch('POST', 'https://elsewhere.test/token', { authorization: null, headers, body }));
  });

  test('through the URL: it is accepted only in the body of a POST', async () => {
    const token = await login();
    const query = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token, scope: SCOPE });
    const response = await world.fetch('GET', `/token?${query}`, { authorization: null });
    expect(decodeJwt(((await response.json()) as TokenAnswer).access_token)).toMatchObject({ sub: '', access: [] });
    expect((await world.fetch('POST', `/token?${query}`, { authorization: null })).status).toBe(400);
  });

  test('because it states what it is, and contains nothing secret', async () => {
    const token = await login();
    const second = await rotated(token);
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'HS256', typ: 'berth-refresh+jwt' });
    const tables = ['logins', 'accounts', 'access_keys', 'events'];
    const rows = await Promise.all(
      tables.map(async (table) => JSON.stringify((await world.env.DB.prepare(`SELECT * FROM ${table}`).all()).results)),
    );
    const kept = rows.join('\n');
    for (const one of [token, second]) {
      for (const part of one.split('.').slice(1)) expect(kept).not.toContain(part);
      expect(kept).not.toContain(decodeJwt(one).jti);
    }
    expect(kept).not.toContain(alice.secret);
    const { results } = await world.env.DB.prepare('SELECT * FROM logins').all();
    expect(results).toEqual([
      { id: expect.any(String), subject: alice.subject, generation: 1, ended: 0, expires_at: expect.any(Number) },
    ]);
  });
});
