/** Users with more policies than one request reads can still log in. The policies that are not read give nobody more rights. */
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { pushImage } from '../world/images.ts';
import { limitedAnswers } from '../world/limits.ts';
import { makeOrganization, makeTeam } from '../world/organizations.ts';
import { api, inviteUser, type Person } from '../world/people.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

let world: World;
let alice: Person;

beforeEach(async () => {
  world = worldOf(limitedAnswers((await newWorld()).env));
  alice = await inviteUser(world, 'alice');
  await makeOrganization(world, 'acme', { members: [alice] });
  await makeOrganization(world, 'bolt', { members: [alice] });
  await makeTeam(world, 'bolt', 'dev', [alice], [{ actions: ['pull'], repositories: ['bolt/*'] }]);
  for (const name of ['acme/api', 'bolt/api', 'alice/own']) await pushImage(world, name, 'v1', 1);
});

const sql = (text: string, ...values: unknown[]) =>
  world.env.DB.prepare(text)
    .bind(...values)
    .run();

/** Valid statements of about this many bytes. */
function statementsOf(bytes: number, effect = 'allow'): string {
  const one = { effect, actions: ['pull'], repositories: ['acme/*', `acme/x${'y'.repeat(70)}`] };
  return JSON.stringify(Array.from({ length: Math.ceil(bytes / 170) }, () => one));
}

/** Inserts teams with policies of `bytes` bytes and with this user as a member, more than the API allows. */
async function stuffTeams(user: string, organization: string, count: number, bytes: number): Promise<void> {
  await sql(
    "INSERT OR IGNORE INTO members (user, organization, role) VALUES ('user:' || ?1, ?2, 'member')",
    user,
    organization,
  );
  const numbers = JSON.stringify(Array.from({ length: count }, (_, n) => n));
  const team = `'team:' || ?1 || '/t' || value`;
  await sql(`INSERT OR IGNORE INTO teams (subject, created_at) SELECT ${team}, 0 FROM json_each(?2)`, organization, numbers);
  await sql(
    `INSERT INTO team_members (user, team) SELECT 'user:' || ?3, ${team} FROM json_each(?2)`,
    organization,
    numbers,
    user,
  );
  for (let n = 0; n < count && bytes > 0; n++) {
    await sql(
      'INSERT OR REPLACE INTO policies (subject, statements) VALUES (?1, ?2)',
      `team:${organization}/t${n}`,
      statementsOf(bytes),
    );
  }
}

const pull = async (name: string, authorization?: string) =>
  (await world.fetch('GET', `/v2/${name}/manifests/v1`, authorization ? { authorization } : {})).status;

/** Requests that must succeed however large the user's policies are. */
const ways = (): [method: string, path: string, init?: { body?: object }][] => [
  ['GET', '/api/v1/me'],
  ['GET', '/api/v1/organizations'],
  ['GET', '/api/v1/repositories'],
  ['GET', '/api/v1/keys'],
  ['GET', '/v2/'],
  ['GET', '/v2/_catalog'],
  ['GET', '/token?scope=repository:alice/own:pull,push'],
  ['GET', '/v2/alice/own/manifests/v1'],
  ['GET', '/api/v1/explain?principal=user:alice&action=pull&repository=alice/own'],
];

async function expectAllWork(authorization?: string): Promise<void> {
  for (const [method, path] of ways()) {
    const { status } = await world.fetch(method, path, authorization ? { authorization } : {});
    expect(status, path).toBe(200);
  }
}

const STUFFINGS: [what: string, stuff: (user: string) => Promise<void>][] = [
  ['17 teams with policies of half a megabyte', (user) => stuffTeams(user, 'acme', 17, 500_000)],
  ['a team with a policy of 1.9 MB', (user) => stuffTeams(user, 'acme', 1, 1_900_000)],
  ['5,000 teams', (user) => stuffTeams(user, 'acme', 5000, 0)],
  ['200 teams with policies of 5 KB', (user) => stuffTeams(user, 'acme', 200, 5000)],
  [
    '5,000 organizations',
    async (user) => {
      const numbers = JSON.stringify(Array.from({ length: 5000 }, (_, n) => n));
      const insert = `INSERT INTO members (user, organization, role) SELECT 'user:' || ?1, 'zorg' || value, 'owner' FROM json_each(?2)`;
      await sql(insert, user, numbers);
    },
  ],
];

describe('the administrator can log in', () => {
  const DENYING = statementsOf(1_900_000, 'deny');

  test.each([
    ...STUFFINGS,
    [
      'a policy of their own of 1.9 MB',
      async (user: string) => {
        await sql('INSERT OR REPLACE INTO policies (subject, statements) VALUES (?1, ?2)', `user:${user}`, DENYING);
      },
    ],
    [
      'policies of 1.9 MB on repositories',
      async () => {
        for (const name of ['acme/api', 'alice/own']) {
          await sql('INSERT OR REPLACE INTO policies (subject, statements) VALUES (?1, ?2)', `repository:${name}`, DENYING);
        }
      },
    ],
  ] as typeof STUFFINGS)('to a database with %s, and may do everything still', { tags: 'slow' }, async (_, stuff) => {
    await stuff('admin');
    await expectAllWork();
    expect(await pull('acme/api')).toBe(200);
    expect((await api(world, 'PUT', '/users/carol')).status).toBe(201);
    expect((await api(world, 'PUT', '/repositories/acme/new')).status).toBe(201);
    expect((await api(world, 'PUT', '/repositories/acme/api/-/policy', { body: { statements: [] } })).status).toBe(200);
  });

  test('and see which policies were not read, and delete them', async () => {
    await stuffTeams('admin', 'acme', 1, 1_900_000);
    expect((await api(world, 'GET', '/me')).body.unread).toEqual(['team:acme/t0']);
    expect((await api(world, 'PUT', '/organizations/acme/teams/t0/policy', { body: { statements: [] } })).status).toBe(200);
    expect((await api(world, 'GET', '/me')).body).not.toHaveProperty('unread');
  });
});

describe('a user about whom the database holds more than one request reads', () => {
  test.each(STUFFINGS.slice(0, 2))(
    'keeps working in their own namespace and in other organizations, with %s',
    { tags: 'slow' },
    async (_, stuff) => {
      await stuff('alice');
      await expectAllWork(alice.basic);
      expect(await pull('bolt/api', alice.basic)).toBe(200);
      expect(await pull('acme/api', alice.basic)).toBe(403);
      const { body } = await api<{ items: { name: string }[] }>(world, 'GET', '/repositories', { as: alice.basic });
      expect(body.items.map(({ name }) => name)).toEqual(['alice/own', 'bolt/api']);
    },
  );

  test.each(STUFFINGS.slice(2))('is refused, without an error, with %s', { tags: 'slow' }, async (_, stuff) => {
    await stuff('alice');
    for (const [method, path] of ways()) {
      const { status } = await world.fetch(method, path, { authorization: alice.basic });
      expect(status, path).toBeLessThan(500);
    }
    expect((await api(world, 'GET', '/me', { as: alice.basic })).status).toBe(200);
  });

  test('does not get what an unread policy may deny, and is told why', async () => {
    const naming = { statements: [{ actions: 'all actions', principals: ['user:alice'] }] };
    expect((await api(world, 'PUT', '/repositories/acme/api/-/policy', { body: naming })).status).toBe(200);
    expect(await pull('acme/api', alice.basic)).toBe(200);
    await stuffTeams('alice', 'acme', 1, 500_000);
    expect(await pull('acme/api', alice.basic)).toBe(403);
    expect((await api(world, 'GET', '/me', { as: alice.basic })).body.unread).toEqual(['team:acme/t0']);
    const query = 'principal=user:alice&action=pull&repository=acme/api';
    const { body } = await api<{ allowed: boolean; reason: string }>(world, 'GET', `/explain?${query}`);
    expect(body).toMatchObject({ allowed: false, reason: expect.stringContaining('larger than one request reads') });
  });

  test("has the policies of the request's organization read first, and the smallest of the others", async () => {
    for (const organization of ['big1', 'big2', 'big3']) {
      await makeOrganization(world, organization, { members: [alice] });
      await stuffTeams('alice', organization, 2, 15_000);
      await pushImage(world, `${organization}/api`, 'v1', 1);
      await sql(
        `UPDATE policies SET statements = replace(statements, 'acme/', ?1 || '/') WHERE subject LIKE 'team:' || ?1 || '/%'`,
        organization,
      );
    }
    for (const name of ['big1/api', 'big2/api', 'big3/api', 'bolt/api']) expect(await pull(name, alice.basic), name).toBe(200);
    const { body } = await api<{ items: { name: string }[] }>(world, 'GET', '/repositories', { as: alice.basic });
    expect(body.items.map(({ name }) => name)).toContain('bolt/api');
  });

  test('gets nothing from a key whose own statements are too long to read', async () => {
    await sql('UPDATE access_keys SET statements = ?1 WHERE owner = ?2', statementsOf(500_000), 'user:alice');
    expect((await api(world, 'GET', '/me', { as: alice.basic })).status).toBe(200);
    expect(await pull('alice/own', alice.basic)).toBe(403);
  });
});

test('a token for many repositories covers the first ones whose policies one request reads, and each can be had alone', async () => {
  const long = {
    effect: 'allow',
    actions: ['push'],
    principals: ['user:nobody'],
    tags: Array.from({ length: 50 }, (_, n) => `${'x'.repeat(100)}${n}`),
  };
  const everybody = { effect: 'allow', actions: ['pull'], repositories: [], principals: ['*'] };
  const statements = JSON.stringify([everybody, long, { ...long, actions: ['retag'] }, { ...long, actions: ['delete'] }]);
  const names = Array.from({ length: 20 }, (_, n) => `acme/many${String(n).padStart(2, '0')}`);
  for (const name of names) {
    await sql('INSERT INTO repositories (name, created_at) VALUES (?1, 0)', name);
    await sql('INSERT INTO policies (subject, statements) VALUES (?1, ?2)', `repository:${name}`, statements);
  }
  const granted = async (...asked: string[]) => {
    const query = asked.map((name) => `scope=repository:${name}:pull`).join('&');
    const response = await world.fetch('GET', `/token?${query}`, { authorization: null });
    expect(response.status).toBe(200);
    const { token } = (await response.json()) as { token: string };
    return (decodeJwt(token).access as { name: string }[]).map(({ name }) => name);
  };
  const fitting = Math.floor((128 * 1024) / statements.length);
  expect(await granted(...names)).toEqual(names.slice(0, fitting));
  expect(await granted(...names.toReversed())).toEqual(names.toReversed().slice(0, fitting));
  for (const name of names) expect(await granted(name)).toEqual([name]);
});

test('a dry run about many people in many teams succeeds', { tags: 'slow' }, async () => {
  const numbers = (count: number) => JSON.stringify(Array.from({ length: count }, (_, n) => n));
  const person = "'user:p' || p.value";
  await sql(
    `INSERT INTO accounts (subject, likeness, created_at) SELECT ${person}, 'p' || value, 0 FROM json_each(?1) p`,
    numbers(400),
  );
  await sql(
    `INSERT INTO members (user, organization, role) SELECT ${person}, 'acme', 'member' FROM json_each(?1) p`,
    numbers(400),
  );
  await sql(
    `INSERT INTO team_members (user, team) SELECT ${person}, 'team:acme/t' || t.value FROM json_each(?1) p, json_each(?2) t`,
    numbers(400),
    numbers(45),
  );
  const insert = `INSERT INTO policies (subject, statements) SELECT 'team:acme/t' || value, ?1 FROM json_each(?2)`;
  await sql(insert, statementsOf(3900), numbers(45));
  const body = { statements: [{ actions: ['delete'], principals: ['organization:acme'] }] };
  const answer = await api<{ changes: object[] }>(world, 'PUT', '/repositories/acme/api/-/policy?dryRun=true', { body });
  expect(answer.status).toBe(200);
  expect(answer.body.changes.length).toBeGreaterThan(50);
});
