import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import * as z from 'zod';
import type { Env } from '../../../src/env.ts';
import { describedOperation } from '../../../src/http/api/reference/all.ts';
import { FAULTS, faulty } from '../../world/faults.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { type ApiAnswer, api, basicOf, invitationOf, inviteUser, type Person, personOf, refused } from '../../world/people.ts';
import { forge } from '../../world/tokens.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

interface Invited {
  user: Record<string, unknown>;
  invitation: { url: string; token: string; expiresAt: string };
}

interface Joined {
  user: Record<string, unknown>;
  key: { id: string; secret: string; expiresAt: string };
  registry: string;
  login: string;
}

interface List {
  items: { name: string }[];
  next: string | null;
}

async function sql(text: string, ...parameters: unknown[]): Promise<Record<string, unknown>[]> {
  const { results } = await world.env.DB.prepare(text)
    .bind(...parameters)
    .all();
  return results;
}

/** All rows of users, keys and events, which a refusal must not change. */
async function everything() {
  await api(world, 'GET', '/me');
  return {
    accounts: await sql('SELECT * FROM accounts ORDER BY subject'),
    keys: await sql('SELECT id, owner, name, statements, expires_at, revoked_at, version FROM access_keys ORDER BY id'),
    events: await events(),
  };
}

async function events() {
  const rows = await sql('SELECT type, target, actor FROM events ORDER BY id');
  return rows.map(({ type, target, actor }) => ({ type, actor, target: JSON.parse(target as string) as unknown }));
}

async function typesOfEvents(): Promise<string[]> {
  return (await events()).map(({ type }) => type as string);
}

/** The answer has exactly the documented fields: its schema refuses an extra one. */
function conforming<T>(method: string, path: string, answered: ApiAnswer<T>): ApiAnswer<T> {
  const { schema } = describedOperation(method, path)?.answers[answered.status] ?? {};
  expect(z.safeParse(schema ?? z.never(), answered.body).error?.issues, JSON.stringify(answered.body)).toBeUndefined();
  return answered;
}

const invite = async (name: string, body: unknown = {}, headers = {}) =>
  conforming('PUT', '/users/:user', await api<Invited>(world, 'PUT', `/users/${name}`, { body, headers }));

const accept = (token: string, at = world) => api<Joined>(at, 'POST', '/invitations/accept', { as: null, body: { token } });

const invitedTo = (token: string) => {
  const { sub, invitation, exp } = decodeJwt(token);
  return { sub, invitation, exp };
};

async function narrow({ keyId }: Person): Promise<void> {
  const statements = JSON.stringify([{ effect: 'allow', actions: ['pull'], repositories: ['*'] }]);
  await sql('UPDATE access_keys SET statements = ? WHERE id = ?', statements, keyId);
}

describe('inviting a user', () => {
  test('returns a link whose secret part reaches no server', async () => {
    const { status, body, headers } = await invite('Alice', { description: 'Alice Smith' });
    expect(status).toBe(201);
    expect(body.user).toMatchObject({
      name: 'alice',
      subject: 'user:alice',
      administrator: false,
      disabled: false,
      joined: false,
    });
    expect(body.invitation.url).toBe(`https://registry.test/join#${body.invitation.token}`);
    const week = Date.parse(body.invitation.expiresAt) - Date.now() - 7 * 86_400_000;
    expect(Math.abs(week)).toBeLessThan(60_000);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('etag')).toBe('"1"');
    expect(await events()).toEqual([
      { type: 'user.invited', actor: 'user:admin', target: { subject: 'user:alice', administrator: false } },
    ]);
  });

  test('uses the public address if that differs from the one the Worker sees', async () => {
    const proxied = worldOf({ ...world.env, PUBLIC_URL: 'https://images.example' });
    const { body } = await api<Invited>(proxied, 'PUT', '/users/alice');
    expect(body.invitation.url).toMatch(/^https:\/\/images\.example\/join#ey/);
  });

  test('again returns the same invitation and records nothing', async () => {
    const first = await invite('alice');
    const second = await invite('alice');
    expect(second.status).toBe(200);
    expect(second.body.user).toEqual(first.body.user);
    expect(invitedTo(second.body.invitation.token)).toEqual(invitedTo(first.body.invitation.token));
    expect(second.body.invitation.expiresAt).toBe(first.body.invitation.expiresAt);
    expect(await typesOfEvents()).toEqual(['user.invited']);
    expect((await accept(first.body.invitation.token)).status).toBe(200);
    expect(refused(await accept(second.body.invitation.token))).toBe('400 INVALID');
  });

  test('again after it expired creates a new invitation', async () => {
    const first = await invite('alice');
    await sql('UPDATE accounts SET invited_until = unixepoch() WHERE subject = ?', 'user:alice');
    const second = await invite('alice');
    expect(second.status).toBe(200);
    expect(refused(await accept(first.body.invitation.token))).toBe('400 INVALID');
    expect((await accept(second.body.invitation.token)).status).toBe(200);
  });

  test('who exists already changes their description only', async () => {
    await inviteUser(world, 'alice', { administrator: true });
    const changed = await invite('alice', { description: 'of the platform team' });
    expect(changed.status).toBe(200);
    expect(changed.body).toMatchObject({
      user: { administrator: true, joined: true, description: 'of the platform team' },
      invitation: null,
    });
    expect(await typesOfEvents()).toEqual(['user.invited', 'user.joined', 'key.created', 'user.changed']);
  });

  test('with a condition that they do not exist, or are unchanged, is refused otherwise', async () => {
    await invite('alice');
    const before = await everything();
    const conditions = { 'if-none-match': '*' };
    const attempts = [
      api(world, 'PUT', '/users/alice', { body: { description: 'x' }, headers: conditions }),
      api(world, 'PUT', '/users/alice', { body: { description: 'x' }, headers: { 'if-match': '"7"' } }),
      api(world, 'PUT', '/users/bob', { headers: { 'if-match': '"1"' } }),
    ];
    for (const attempt of attempts) expect(refused(await attempt)).toBe('412 PRECONDITION_FAILED');
    expect(JSON.stringify((await attempts[0])?.body)).toContain('alice exists already');
    expect(await everything()).toEqual(before);
    expect((await invite('bob', {}, conditions)).status).toBe(201);
  });

  test.each([
    ['reserved', 'root', '400 INVALID'],
    ['reserved', 'Support', '400 INVALID'],
    ['reserved', 'v2', '400 INVALID'],
    ['taken for another user', 'user-n.ame', '409 CONFLICT'],
    ['taken for another user', 'usernarne', '409 CONFLICT'],
    ['taken for an organization', 'acrne', '409 CONFLICT'],
    ['taken for an organization', 'ACME', '409 CONFLICT'],
  ])('with a name that is %s is refused: %s', async (_, name, expected) => {
    await invite('username');
    await sql("INSERT INTO accounts (subject, likeness, created_at) VALUES ('organization:acme', 'acme', 0)");
    const before = await everything();
    const answered = await api(world, 'PUT', `/users/${name}`);
    expect(refused(answered)).toBe(expected);
    if (answered.status === 409) expect(JSON.stringify(answered.body)).toContain('could be confused with a name that is taken');
    expect(await everything()).toEqual(before);
    expect((await invite('usernam')).status).toBe(201);
  });

  test.each(['-a', 'a-', 'a..b', 'a_-b', 'é', 'a+b', 'user:bob', 'a'.repeat(65), 'b%20b'])(
    'with the invalid name %s is refused',
    async (name) => {
      const before = await everything();
      const answered = await api(world, 'PUT', `/users/${name}`);
      expect([400, 404]).toContain(answered.status);
      expect(await everything()).toEqual(before);
    },
  );

  test('by sixteen concurrent requests creates one user with one invitation', async () => {
    const answers = await Promise.all(Array.from({ length: 16 }, () => api<Invited>(world, 'PUT', '/users/alice')));
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(15).fill(200), 201]);
    expect(new Set(answers.map(({ body }) => invitedTo(body.invitation.token).invitation)).size).toBe(1);
    expect(await typesOfEvents()).toEqual(['user.invited']);
  });

  test('by sixteen concurrent requests creates one invitation if the last one expired', async () => {
    await invite('alice');
    await sql('UPDATE accounts SET invited_until = 1 WHERE subject = ?', 'user:alice');
    const answers = await Promise.all(Array.from({ length: 16 }, () => api<Invited>(world, 'PUT', '/users/alice')));
    expect(new Set(answers.map(({ body }) => invitedTo(body.invitation.token).invitation)).size).toBe(1);
    expect(await typesOfEvents()).toEqual(['user.invited', 'user.invited']);
  });

  test.each([
    'is_admin',
    'epoch',
    'subject',
    'version',
    'likeness',
    'invitation',
    'disabled',
    'joined',
    'password',
    '__proto__',
  ])('with %s in the body is refused', async (field) => {
    const before = await everything();
    const body = `{"description": "x", "${field}": 1}`;
    expect(refused(await api(world, 'PUT', '/users/alice', { body }))).toBe('400 INVALID');
    expect(await everything()).toEqual(before);
  });

  test('is for administrators with an unrestricted key', async () => {
    const alice = await inviteUser(world, 'alice');
    const boss = await inviteUser(world, 'boss', { administrator: true });
    const password = await api<{ password: string }>(world, 'POST', '/login-password', { as: boss.bearer });
    await api(world, 'PUT', '/users/carol', { as: boss.bearer });
    await narrow(boss);
    const before = await everything();
    for (const as of [alice.bearer, boss.bearer, `Bearer ${password.body.password}`]) {
      expect(refused(await api(world, 'PUT', '/users/mallory', { as }))).toBe('403 DENIED');
      expect(refused(await api(world, 'PUT', '/users/carol', { as, body: { administrator: true } }))).toBe('403 DENIED');
      expect(refused(await api(world, 'POST', '/users/carol/invitation', { as }))).toBe('403 DENIED');
      expect(refused(await api(world, 'PATCH', '/users/carol', { as, body: { disabled: true } }))).toBe('403 DENIED');
      expect(refused(await api(world, 'DELETE', '/users/carol/logins', { as }))).toBe('403 DENIED');
      expect(refused(await api(world, 'GET', '/users', { as }))).toBe('403 DENIED');
    }
    expect(refused(await api(world, 'PUT', '/users/mallory', { as: null }))).toBe('401 UNAUTHORIZED');
    expect(await everything()).toEqual(before);
  });
});

describe('accepting an invitation', () => {
  test('returns an access key, once, and how to log in with it', async () => {
    const token = await invitationOf(world, 'alice');
    const { status, body } = conforming('POST', '/invitations/accept', await accept(token));
    expect(status).toBe(200);
    expect(body).toMatchObject({
      user: { subject: 'user:alice', joined: true },
      registry: 'registry.test',
      login: 'docker login -u alice registry.test',
    });
    const { basic, bearer } = personOf('alice', body.key);
    expect((await world.fetch('GET', '/token?service=registry.test', { authorization: basic })).status).toBe(200);
    expect((await api(world, 'GET', '/me', { as: bearer })).body).toMatchObject({ subject: 'user:alice' });
    expect(Math.abs(Date.parse(body.key.expiresAt) - Date.now() - 90 * 86_400_000)).toBeLessThan(60_000);
    expect((await events()).slice(1)).toEqual([
      { type: 'user.joined', actor: 'user:alice', target: { subject: 'user:alice' } },
      {
        type: 'key.created',
        actor: 'user:alice',
        target: { id: body.key.id, owner: 'user:alice', name: 'first key', statements: null },
      },
    ]);
    expect(await sql('SELECT name, owner, created_by, statements FROM access_keys')).toEqual([
      { name: 'first key', owner: 'user:alice', created_by: 'user:alice', statements: null },
    ]);
  });

  test("returns a key within the registry's limit of lifetime", async () => {
    const strict = worldOf({ ...world.env, KEY_MAX_DAYS: '7' });
    const { body } = await accept(await invitationOf(strict, 'alice'), strict);
    expect(Math.abs(Date.parse(body.key.expiresAt) - Date.now() - 7 * 86_400_000)).toBeLessThan(60_000);
  });

  test('by sixteen concurrent requests has one winner', async () => {
    const token = await invitationOf(world, 'alice');
    const answers = await Promise.all(Array.from({ length: 16 }, () => accept(token)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(15).fill(400)]);
    expect(await sql('SELECT count(*) AS n FROM access_keys')).toEqual([{ n: 1 }]);
    expect(await typesOfEvents()).toEqual(['user.invited', 'user.joined', 'key.created']);
  });

  test('has one winner in every order in which two requests reach the database', async () => {
    const runs = await everyOrder(world, async (run) => {
      const token = await invitationOf(world, `alice${run}x`);
      const request = (at: World) =>
        at.fetch('POST', '/api/v1/invitations/accept', {
          authorization: null,
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ token }),
        });
      const check = async (outer: Response, inner: Response) => expect([outer.status, inner.status].sort()).toEqual([200, 400]);
      return { outer: request, inner: request, check };
    });
    expect(runs).toBeGreaterThan(0);
  });

  test('is refused with the same answer, whatever is wrong with the token', async () => {
    const older = await invitationOf(world, 'joined');
    const newer = await api<{ invitation: { token: string } }>(world, 'POST', '/users/joined/invitation');
    await accept(newer.body.invitation.token);
    const replaced = await invitationOf(world, 'replaced');
    await api(world, 'POST', '/users/replaced/invitation');
    const disabled = await invitationOf(world, 'disabled');
    await sql("UPDATE accounts SET disabled = 1 WHERE subject = 'user:disabled'");
    const late = await invitationOf(world, 'late');
    await sql("UPDATE accounts SET invited_until = unixepoch() WHERE subject = 'user:late'");
    const open = await invitationOf(world, 'open');
    const { invitation, exp, iat } = decodeJwt(open);
    const typ = { typ: 'berth-invitation+jwt' };
    const claims = { sub: 'user:open', invitation, exp, access: undefined };
    const login = await api<{ password: string }>(world, 'POST', '/login-password');
    const elsewhere = await invitationOf(
      worldOf({ ...world.env, REGISTRY_SECRET: 'x'.repeat(32), ADMIN_PASSWORD: 'the-password-of-the-tests' }),
      'open',
    );
    const tokens: Record<string, string> = {
      'replaced before another one was used': older,
      replaced,
      disabled,
      late,
      'of nobody': await forge(world, 'invitation', { ...claims, sub: 'user:nobody' }, typ),
      'of another user': await forge(world, 'invitation', { ...claims, sub: 'user:admin' }, typ),
      'of another invitation': await forge(world, 'invitation', { ...claims, invitation: 'x' }, typ),
      'without an invitation': await forge(world, 'invitation', { ...claims, invitation: undefined }, typ),
      'for another registry': await forge(world, 'invitation', { ...claims, aud: 'elsewhere.test' }, typ),
      'that lives too long': await forge(world, 'invitation', { ...claims, exp: (iat ?? 0) + 8 * 86_400 }, typ),
      'of another kind': await forge(world, 'invitation', claims, { typ: 'berth-login+jwt' }),
      'signed with the key of another kind': await forge(world, 'login-password', claims, typ),
      'signed with another secret': elsewhere,
      'a login password': login.body.password,
      'cut off': open.slice(0, -2),
      'no token': 'x',
      empty: '',
    };
    const before = await everything();
    const first = await accept('a.b.c');
    expect(refused(first)).toBe('400 INVALID');
    for (const [what, token] of Object.entries(tokens)) {
      const { status, body } = await accept(token);
      expect({ what, status, body }).toEqual({ what, status: first.status, body: first.body });
    }
    expect(await everything()).toEqual(before);
    expect((await accept(open)).status).toBe(200);
  });

  test('says when it was used and who has joined, to whoever has the link of that invitation', async () => {
    const token = await invitationOf(world, 'alice');
    await accept(token);
    const before = await everything();
    const { status, body } = await accept(token);
    const today = new Date().toISOString().slice(0, 10);
    expect([status, body]).toMatchObject([400, { errors: [{ code: 'INVALID' }] }]);
    expect(JSON.stringify(body)).toMatch(
      new RegExp(`this invitation was used on ${today} at \\d\\d:\\d\\d UTC: alice has joined.*docker login -u alice registry`),
    );
    expect(await everything()).toEqual(before);
  });

  test('is refused with its own reason if it has expired', async () => {
    const { invitation, iat = 0 } = decodeJwt(await invitationOf(world, 'alice'));
    const past = { iat: iat - 700, nbf: iat - 700, exp: iat - 600 };
    const token = await forge(world, 'invitation', { sub: 'user:alice', invitation, ...past }, { typ: 'berth-invitation+jwt' });
    const before = await everything();
    const answered = await accept(token);
    expect(refused(answered)).toBe('400 INVALID');
    expect(JSON.stringify(answered.body)).toContain('has expired: ask an administrator for a new one');
    expect(await everything()).toEqual(before);
  });

  test('with a wrong token counts as a wrong password', async () => {
    const counted: string[] = [];
    const limiter = { limit: async ({ key }: { key: string }) => ({ success: counted.push(key) < 3 }) };
    const limited = worldOf({ ...world.env, WRONG_PASSWORDS: limiter as unknown as NonNullable<Env['WRONG_PASSWORDS']> });
    const token = await invitationOf(limited, 'alice');
    expect(counted).toEqual([]);
    expect([(await accept('x', limited)).status, (await accept('x', limited)).status]).toEqual([400, 400]);
    expect(refused(await accept('x', limited))).toBe('429 TOOMANYREQUESTS');
    expect((await accept(token, limited)).status).toBe(200);
  });

  test('with an invalid body is refused and does not use up the invitation', async () => {
    const token = await invitationOf(world, 'alice');
    const before = await everything();
    for (const body of [{ token: 1 }, { token: 'x'.repeat(5000) }, {}, { token, name: 'first' }, [token], token]) {
      expect(refused(await api(world, 'POST', '/invitations/accept', { as: null, body }))).toBe('400 INVALID');
    }
    expect(await everything()).toEqual(before);
  });

  test('does not use up the invitation without a key, whichever database call fails', async () => {
    for (const fault of FAULTS.filter((one) => one.startsWith('fail'))) {
      for (let at = 0; ; at++) {
        const name = `${fault.replace('fail-', 'u')}${at}`;
        const token = await invitationOf(world, name);
        const { env, calls } = faulty(world.env, fault, at);
        const { status } = await accept(token, worldOf(env));
        const [left] = await sql(
          `SELECT invitation IS NULL AS used, (SELECT count(*) FROM access_keys WHERE owner = subject) AS keys
           FROM accounts WHERE subject = ?`,
          `user:${name}`,
        );
        expect({ fault, at, status, ...left }).toEqual({ fault, at, status: 200, used: 1, keys: 1 });
        if (calls.length <= at) break;
      }
    }
    const types = await typesOfEvents();
    expect(types.filter((type) => type === 'user.joined').length).toBe(types.filter((type) => type === 'user.invited').length);
  });
});

describe('a new invitation', () => {
  test('replaces the one before', async () => {
    const before = await invitationOf(world, 'alice');
    const again = conforming('POST', '/users/:user/invitation', await api<Invited>(world, 'POST', '/users/alice/invitation'));
    expect(again.status).toBe(201);
    expect(refused(await accept(before))).toBe('400 INVALID');
    expect((await accept(again.body.invitation.token)).status).toBe(200);
    expect(await typesOfEvents()).toEqual(['user.invited', 'user.invited', 'user.joined', 'key.created']);
  });

  test('lets a user back in who lost their keys, and meanwhile revokes nothing', async () => {
    const alice = await inviteUser(world, 'alice');
    const { body } = await api<Invited>(world, 'POST', '/users/alice/invitation');
    expect(body.user).toMatchObject({ joined: true });
    expect((await api(world, 'GET', '/me', { as: alice.bearer })).status).toBe(200);
    const { body: joined } = await accept(body.invitation.token);
    expect(joined.key.id).not.toBe(alice.keyId);
    expect((await api(world, 'GET', '/me', { as: `Bearer ${joined.key.secret}` })).status).toBe(200);
  });

  test('is refused for an unknown or disabled user', async () => {
    await inviteUser(world, 'alice');
    await api(world, 'PATCH', '/users/alice', { body: { disabled: true } });
    const before = await everything();
    expect(refused(await api(world, 'POST', '/users/nobody/invitation'))).toBe('404 NOT_FOUND');
    expect(refused(await api(world, 'POST', '/users/alice/invitation'))).toBe('409 CONFLICT');
    expect(await everything()).toEqual(before);
  });
});

describe('the list of users', () => {
  const names = ({ body }: ApiAnswer<List>) => body.items.map(({ name }) => name);

  test('has every user in order, page by page, and no robots', async () => {
    for (const name of ['zoe', 'ann', 'ann2', 'a-n.n_3', 'mia']) await invite(name);
    await sql(
      "INSERT INTO accounts (subject, likeness, created_at) VALUES ('organization:acme', 'acme', 0), ('robot:acme/ci', NULL, 0)",
    );
    const all: string[] = [];
    for (let last: string | null = ''; last !== null; ) {
      const page: ApiAnswer<List> = conforming('GET', '/users', await api<List>(world, 'GET', `/users?n=2&last=${last}`));
      all.push(...names(page));
      last = page.body.next;
    }
    expect(all).toEqual(['a-n.n_3', 'admin', 'ann', 'ann2', 'mia', 'zoe']);
    expect(names(await api<List>(world, 'GET', '/users'))).toEqual(all);
    expect(names(await api<List>(world, 'GET', '/users?n=6'))).toEqual(all);
    expect((await api<List>(world, 'GET', '/users?n=6')).body.next).toBeNull();
  });

  test('is searched by part of name or description, without wildcards', async () => {
    await invite('alice', { description: 'Platform, 100% sure' });
    await invite('bob', { description: 'Sales' });
    await invite('a_b');
    const search = async (text: string) => names(await api<List>(world, 'GET', `/users?search=${encodeURIComponent(text)}`));
    expect(await search('LIC')).toEqual(['alice']);
    expect(await search('platform')).toEqual(['alice']);
    expect(await search('%')).toEqual(['alice']);
    expect(await search('_')).toEqual(['a_b']);
    expect(await search('user:')).toEqual([]);
  });

  test.each(['n=0', 'n=1001', 'n=x', 'search=a&search=b', 'order=name'])('is refused for %s', async (query) => {
    expect(refused(await api(world, 'GET', `/users?${query}`))).toBe('400 INVALID');
  });
});

describe('one user', () => {
  let alice: Person;
  let bob: Person;

  beforeEach(async () => {
    alice = await inviteUser(world, 'alice');
    bob = await inviteUser(world, 'bob');
    await api(world, 'PATCH', '/users/bob', { body: { description: 'leaves in May' } });
  });

  const see = async (name: string, as?: string) => {
    const answered = await api(world, 'GET', `/users/${name}`, as === undefined ? {} : { as });
    return answered.status === 200 ? conforming('GET', '/users/:user', answered) : answered;
  };

  test('is seen in full by themselves and by administrators', async () => {
    const full = await see('bob');
    expect(full.body).toMatchObject({ name: 'bob', subject: 'user:bob', joined: true, description: 'leaves in May' });
    expect(full.headers.get('etag')).toMatch(/^"\d+"$/);
    expect((await see('BOB', bob.bearer)).body).toEqual(full.body);
  });

  test('is only a name to people in the same organization', async () => {
    await sql(
      "INSERT INTO members (user, organization, role) VALUES ('user:alice', 'acme', 'member'), ('user:bob', 'acme', 'owner')",
    );
    expect((await see('bob', alice.bearer)).body).toEqual({ name: 'bob', subject: 'user:bob' });
  });

  test('is a 404 to all others', async () => {
    await sql(
      "INSERT INTO members (user, organization, role) VALUES ('user:alice', 'acme', 'member'), ('user:bob', 'other', 'owner')",
    );
    const boss = await inviteUser(world, 'boss', { administrator: true });
    await narrow(boss);
    for (const { bearer } of [alice, boss]) {
      const there = await see('bob', bearer);
      expect(refused(there)).toBe('404 NOT_FOUND');
      const absent = await see('nobody', bearer);
      expect([there.status, there.body, [...there.headers]]).toEqual([absent.status, absent.body, [...absent.headers]]);
    }
    expect(refused(await api(world, 'GET', '/users/bob', { as: null }))).toBe('401 UNAUTHORIZED');
  });
});

describe('changing a user', () => {
  const patch = (name: string, body: unknown, headers = {}) => api(world, 'PATCH', `/users/${name}`, { body, headers });

  test('changes only the given fields, and records the new values', async () => {
    await inviteUser(world, 'alice');
    const answered = conforming('PATCH', '/users/:user', await patch('alice', { administrator: true }));
    expect(answered.body).toMatchObject({ administrator: true, disabled: false, description: '' });
    expect((await api(world, 'GET', '/users/alice')).headers.get('etag')).toBe(answered.headers.get('etag'));
    expect((await events()).at(-1)).toEqual({
      type: 'user.changed',
      actor: 'user:admin',
      target: { subject: 'user:alice', administrator: true, disabled: false, description: '' },
    });
  });

  test('to the same values changes and records nothing', async () => {
    await inviteUser(world, 'alice');
    const before = await everything();
    for (const body of [{}, { administrator: false, disabled: false, description: '' }]) {
      expect((await patch('alice', body)).status).toBe(200);
    }
    expect(await everything()).toEqual(before);
  });

  test('requires the current version if the request names one', async () => {
    await inviteUser(world, 'alice');
    const etag = (await api(world, 'GET', '/users/alice')).headers.get('etag') ?? '';
    expect((await patch('alice', { description: 'one' }, { 'if-match': etag })).status).toBe(200);
    const before = await everything();
    expect(refused(await patch('alice', { description: 'two' }, { 'if-match': etag }))).toBe('412 PRECONDITION_FAILED');
    expect(refused(await patch('alice', { description: 'two' }, { 'if-match': 'x' }))).toBe('412 PRECONDITION_FAILED');
    expect(refused(await patch('nobody', { description: 'two' }))).toBe('404 NOT_FOUND');
    expect(await everything()).toEqual(before);
  });

  test.each(['is_admin', 'epoch', 'subject', 'name', 'version', 'likeness', 'invitation', 'joined', 'createdAt'])(
    'with %s in the body is refused',
    async (field) => {
      await inviteUser(world, 'alice');
      const before = await everything();
      expect(refused(await patch('alice', { description: 'x', [field]: 1 }))).toBe('400 INVALID');
      expect(await everything()).toEqual(before);
    },
  );

  test('to disabled blocks all their credentials', async () => {
    const alice = await inviteUser(world, 'alice');
    const login = await api<{ password: string }>(world, 'POST', '/login-password', { as: alice.bearer });
    const shown = [alice.bearer, alice.basic, `Bearer ${login.body.password}`, basicOf('AWS', login.body.password)];
    const push = { authorization: `Bearer ${await accessToken(alice.basic, 'repository:alice/app:pull,push')}` };
    expect((await world.fetch('POST', '/v2/alice/app/blobs/uploads/', push)).status).toBe(202);
    await patch('alice', { disabled: true });
    for (const as of shown) {
      expect(refused(await api(world, 'GET', '/me', { as }))).toBe('401 UNAUTHORIZED');
      expect((await world.fetch('GET', '/token', { authorization: as })).status).toBe(401);
    }
    expect((await world.fetch('POST', '/v2/alice/app/blobs/uploads/', push)).status).toBe(401);
    await patch('alice', { disabled: false });
    const again = await Promise.all(shown.map(async (as) => (await api(world, 'GET', '/me', { as })).status));
    expect(again).toEqual([200, 200, 401, 401]);
  });

  test('to disabled revokes their invitation for good', async () => {
    const token = await invitationOf(world, 'alice');
    await patch('alice', { disabled: true });
    expect((await invite('alice')).body.invitation).toBeNull();
    expect(refused(await accept(token))).toBe('400 INVALID');
    await patch('alice', { disabled: false });
    expect(refused(await accept(token))).toBe('400 INVALID');
    expect((await accept(await invitationOf(world, 'alice'))).status).toBe(200);
  });

  test('is refused if no administrator would be left who can log in', async () => {
    await invite('later', { administrator: true });
    await inviteUser(world, 'off', { administrator: true });
    await patch('off', { disabled: true });
    const before = await everything();
    for (const body of [{ administrator: false }, { disabled: true }, { administrator: false, description: 'x' }]) {
      expect(refused(await patch('admin', body))).toBe('409 CONFLICT');
    }
    expect(refused(await api(world, 'PUT', '/users/admin', { body: { administrator: false } }))).toBe('409 CONFLICT');
    expect(await everything()).toEqual(before);
    await accept(await invitationOf(world, 'later'));
    expect((await patch('admin', { administrator: false })).status).toBe(200);
    expect(refused(await patch('later', { disabled: true }))).toBe('403 DENIED');
  });

  test('of the last two administrators concurrently leaves one', async () => {
    for (let round = 0; round < 8; round++) {
      world = await newWorld();
      const bob = await inviteUser(world, 'bob', { administrator: true });
      const body = round % 2 ? { disabled: true } : { administrator: false };
      const answers = await Promise.all([patch('bob', body), api(world, 'PATCH', '/users/admin', { as: bob.bearer, body })]);
      expect(await sql('SELECT count(*) AS n FROM accounts WHERE administrator = 1 AND disabled = 0')).toEqual([{ n: 1 }]);
      expect(answers.filter(({ status }) => status === 200).length).toBe(1);
    }
  });

  test('of the last two administrators leaves one in every order in which they reach the database', async () => {
    const bob = await inviteUser(world, 'bob', { administrator: true });
    const runs = await everyOrder(world, async () => {
      await sql('UPDATE accounts SET administrator = 1');
      const demote = (name: string, authorization: string) => (at: World) =>
        at.fetch('PATCH', `/api/v1/users/${name}`, {
          authorization,
          headers: { 'content-type': 'application/json' },
          body: '{"administrator":false}',
        });
      const check = async () =>
        expect(await sql('SELECT count(*) AS n FROM accounts WHERE administrator = 1')).toEqual([{ n: 1 }]);
      return { outer: demote('bob', basicOf('admin', 'the-password-of-the-tests')), inner: demote('admin', bob.bearer), check };
    });
    expect(runs).toBeGreaterThan(1);
  });
});

async function accessToken(authorization: string, scope: string): Promise<string> {
  const response = await world.fetch('GET', `/token?service=registry.test&scope=${encodeURIComponent(scope)}`, {
    authorization,
  });
  return ((await response.json()) as { token: string }).token;
}

describe('logging a user out', () => {
  test('ends their logins only, and keeps the keys unless requested', async () => {
    const [alice, bob] = [await inviteUser(world, 'alice'), await inviteUser(world, 'bob')];
    const logins = await Promise.all(
      [alice, bob].map(async ({ bearer }) => {
        const { body } = await api<{ password: string }>(world, 'POST', '/login-password', { as: bearer });
        return `Bearer ${body.password}`;
      }),
    );
    const statuses = async () =>
      Promise.all([...logins, alice.bearer, bob.bearer].map(async (as) => (await api(world, 'GET', '/me', { as })).status));
    expect(await statuses()).toEqual([200, 200, 200, 200]);
    expect((await api(world, 'DELETE', '/users/alice/logins')).status).toBe(204);
    expect(await statuses()).toEqual([401, 200, 200, 200]);
    expect((await events()).at(-1)).toEqual({ type: 'login.ended', actor: 'user:admin', target: { subject: 'user:alice' } });
    expect((await api(world, 'DELETE', '/users/alice/logins?keys=true')).status).toBe(204);
    expect(await statuses()).toEqual([401, 200, 401, 200]);
    expect((await events()).slice(-2)).toEqual([
      { type: 'login.ended', actor: 'user:admin', target: { subject: 'user:alice' } },
      { type: 'key.revoked', actor: 'user:admin', target: { id: alice.keyId, owner: 'user:alice', name: 'first key' } },
    ]);
    await api(world, 'DELETE', '/users/alice/logins?keys=true');
    expect((await typesOfEvents()).filter((type) => type === 'key.revoked').length).toBe(1);
  });

  test('is refused for an unknown user and for an invalid choice about keys', async () => {
    const before = await everything();
    expect(refused(await api(world, 'DELETE', '/users/nobody/logins'))).toBe('404 NOT_FOUND');
    expect(refused(await api(world, 'DELETE', '/users/admin/logins?keys=1'))).toBe('400 INVALID');
    expect(refused(await api(world, 'DELETE', '/users/admin/logins?everyone=true'))).toBe('400 INVALID');
    expect(await everything()).toEqual(before);
  });
});

describe('the page of an invitation', () => {
  test('is one document that may run its own script and call this registry, and nothing else', async () => {
    const [first, second] = await Promise.all(
      ['/join', '/join/'].map((path) => world.fetch('GET', path, { authorization: null })),
    );
    const policy = first?.headers.get('content-security-policy') ?? '';
    const nonce = /script-src 'nonce-([\w-]{20,})'/.exec(policy)?.[1];
    expect(policy.split('; ')).toEqual([
      "default-src 'none'",
      `script-src 'nonce-${nonce}'`,
      `style-src 'nonce-${nonce}'`,
      "connect-src 'self'",
      "frame-ancestors 'none'",
      "base-uri 'none'",
      "form-action 'none'",
    ]);
    expect(second?.headers.get('content-security-policy')).not.toBe(policy);
    expect(first?.headers.get('referrer-policy')).toBe('no-referrer');
    expect(first?.headers.get('cache-control')).toBe('no-store');
    expect(first?.headers.get('content-type')).toBe('text/html; charset=UTF-8');
    const text = (await first?.text()) ?? '';
    expect([...text.matchAll(/<(?:script|style)[^>]*>/g)].map(([tag]) => tag)).toEqual([
      `<style nonce="${nonce}">`,
      `<script nonce="${nonce}">`,
    ]);
    expect(text).not.toMatch(/ style="| on\w+="|innerHTML|\ssrc=|<link/);
    expect(text).toContain('<html lang="en">');
    expect(text).toContain('<noscript>');
  });

  test('does not use up the invitation, whoever opens it', async () => {
    const { body } = await invite('alice');
    const before = await everything();
    for (const method of ['GET', 'HEAD']) {
      expect((await world.fetch(method, new URL(body.invitation.url).pathname, { authorization: null })).status).toBe(200);
    }
    expect(await everything()).toEqual(before);
    expect((await accept(body.invitation.token)).status).toBe(200);
  });

  test('has a script that parses and refers only to what is on the page', async () => {
    const text = await (await world.fetch('GET', '/join', { authorization: null })).text();
    const script = /<script[^>]*>([\s\S]*)<\/script>/.exec(text)?.[1] ?? '';
    const ids = new Set([...text.matchAll(/ id="([\w-]+)"/g)].map(([, id]) => id));
    const named = [...script.matchAll(/\$\('([\w-]+)'\)/g)].map(([, id]) => id);
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((id) => !ids.has(id))).toEqual([]);
  });
});
