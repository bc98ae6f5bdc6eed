/**
 * Nobody becomes a member without consent, everybody may leave, and an organization can attach only a limited amount to a
 * member.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { pushImage } from '../../world/images.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { eventsDuring, makeOrganization, makeTeam } from '../../world/organizations.ts';
import { type ApiRequest, api as anyApi, inviteUser, type Person, refused } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

interface Body {
  items: { organization: string; user: string; role: string; invitedBy: string }[];
  organizations: { name: string; role: string }[];
  errors: { message: string }[];
}

let world: World;
let alice: Person;
let bob: Person;

const ACME = '/organizations/acme';
const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);
const invite = (as: Person, role = 'member', organization = 'acme', user = 'bob') =>
  api('PUT', `/organizations/${organization}/members/${user}`, { as: as.basic, body: { role } });
const accept = (as: Person, organization = 'acme') =>
  api('POST', `/me/invitations/${organization}/accept`, { as: as.basic, body: {} });
const organizationsOf = async (person: Person) => (await api('GET', '/me', { as: person.basic })).body.organizations;

const sql = (text: string, ...values: unknown[]) =>
  world.env.DB.prepare(text)
    .bind(...values)
    .run();

const numbers = (count: number) => JSON.stringify(Array.from({ length: count }, (_, n) => n));

const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  bob = await inviteUser(world, 'bob');
  await makeOrganization(world, 'acme', { owners: [alice] });
});

beforeEach(async () => {
  world = await build();
});

describe('a user who belongs to 50 organizations', () => {
  beforeEach(async () => {
    await sql(`INSERT INTO members SELECT 'user:bob', 'o' || value, 'member' FROM json_each(?1)`, numbers(50));
  });

  test('can be invited by an owner, who does not learn that number, and is told it when they accept', async () => {
    const answer = await invite(alice);
    expect(answer.status, JSON.stringify(answer.body)).toBe(202);
    const accepted = await accept(bob);
    expect(refused(accepted)).toBe('409 CONFLICT');
    expect(accepted.body.errors[0]?.message).toContain('bob belongs to 50 organizations');
  });

  test('cannot be added by an administrator', async () => {
    expect(refused(await api('PUT', `${ACME}/members/bob`, { body: { role: 'member' } }))).toBe('409 CONFLICT');
  });
});

describe('an invitation to an organization', () => {
  test('makes nobody a member before they accept, and both sides see it', async () => {
    expect(await invite(alice)).toMatchObject({ status: 202, body: { user: 'bob', role: 'member', invited: true } });
    expect(await organizationsOf(bob)).toEqual([]);
    expect(refused(await api('GET', ACME, { as: bob.basic }))).toBe('404 NOT_FOUND');
    const open = { organization: 'acme', user: 'bob', role: 'member', invitedBy: 'user:alice' };
    expect((await api('GET', '/me/invitations', { as: bob.basic })).body.items).toMatchObject([open]);
    expect((await api('GET', `${ACME}/invitations`, { as: alice.basic })).body.items).toMatchObject([open]);
    expect(await accept(bob)).toMatchObject({ status: 200, body: { organization: 'acme', role: 'member' } });
    expect(await organizationsOf(bob)).toEqual([{ name: 'acme', role: 'member' }]);
    for (const [path, person] of [
      ['/me/invitations', bob],
      [`${ACME}/invitations`, alice],
    ] as const) {
      expect((await api('GET', path, { as: person.basic })).body.items).toEqual([]);
    }
  });

  test('is required for administrators too, if an owner asks', async () => {
    const ada = await inviteUser(world, 'ada', { administrator: true });
    expect((await invite(alice, 'member', 'acme', 'ada')).status).toBe(202);
    expect((await invite(alice, 'member', 'acme', 'admin')).status).toBe(202);
    expect(await organizationsOf(ada)).toEqual([]);
    expect((await api('GET', '/me')).body.organizations).toEqual([]);
  });

  test('puts nobody into a team before they accept', async () => {
    await makeTeam(world, 'acme', 'dev');
    await invite(alice);
    expect(refused(await api('PUT', `${ACME}/teams/dev/members/bob`, { as: alice.basic }))).toBe('409 CONFLICT');
    await accept(bob);
    expect((await api('PUT', `${ACME}/teams/dev/members/bob`, { as: alice.basic })).status).toBe(201);
  });

  test('is not required if an administrator adds a member, to set up an organization', async () => {
    expect((await api('PUT', `${ACME}/members/bob`, { body: { role: 'owner' } })).status).toBe(201);
    expect(await organizationsOf(bob)).toEqual([{ name: 'acme', role: 'owner' }]);
  });

  test.each(['declined', 'taken back', 'expired'])('that was %s opens nothing', async (how) => {
    await invite(alice);
    const end = async () => {
      if (how === 'declined') await api('DELETE', '/me/invitations/acme', { as: bob.basic });
      if (how === 'taken back') await api('DELETE', `${ACME}/invitations/bob`, { as: alice.basic });
      if (how === 'expired') await sql('UPDATE organization_invitations SET expires_at = unixepoch()');
    };
    const events = await eventsDuring(world, end);
    expect(events.map(({ type, actor }) => `${type} ${actor}`)).toEqual(
      { declined: ['member.uninvited user:bob'], 'taken back': ['member.uninvited user:alice'], expired: [] }[how],
    );
    expect(refused(await accept(bob))).toBe('409 CONFLICT');
    expect((await api('GET', '/me/invitations', { as: bob.basic })).body.items).toEqual([]);
    expect((await api('GET', `${ACME}/invitations`, { as: alice.basic })).body.items).toEqual([]);
    expect(await organizationsOf(bob)).toEqual([]);
    expect((await invite(alice)).status).toBe(202);
    expect((await accept(bob)).status).toBe(200);
  });

  test('can be accepted only by the invited user, with an unrestricted credential', async () => {
    const carol = await inviteUser(world, 'carol');
    await invite(alice);
    expect(refused(await accept(carol))).toBe('409 CONFLICT');
    expect(refused(await api('GET', `${ACME}/invitations`, { as: carol.basic }))).toBe('404 NOT_FOUND');
    const body = { name: 'narrow', statements: [{ actions: ['pull'], repositories: ['*'] }] };
    const { secret } = (await api('POST', '/keys', { as: bob.basic, body })).body as unknown as { secret: string };
    const narrowed = { as: `Bearer ${secret}` };
    expect(refused(await api('GET', '/me/invitations', narrowed))).toBe('403 DENIED');
    expect(refused(await api('POST', '/me/invitations/acme/accept', { ...narrowed, body: {} }))).toBe('403 DENIED');
    expect(await organizationsOf(bob)).toEqual([]);
  });

  test('is recorded once, however often it is sent, with the role of the last one', async () => {
    const events = await eventsDuring(world, async () => {
      for (const role of ['member', 'member', 'owner']) expect((await invite(alice, role)).status).toBe(202);
    });
    expect(events.map(({ type, target }) => `${type} ${target.role}`)).toEqual([
      'member.invited member',
      'member.invited owner',
    ]);
    expect((await accept(bob)).body).toEqual({ organization: 'acme', role: 'owner' });
  });

  test('that is withdrawn while it is accepted makes a member or does not, consistently', async () => {
    await everyOrder(world, async () => {
      await api('DELETE', `${ACME}/members/bob`);
      await invite(alice);
      return {
        outer: (at) => at.fetch('POST', '/api/v1/me/invitations/acme/accept', { authorization: bob.basic }),
        inner: (at) => at.fetch('DELETE', `/api/v1${ACME}/invitations/bob`, { authorization: alice.basic }),
        check: async (accepted) => {
          expect([200, 409]).toContain(accepted.status);
          expect((await organizationsOf(bob)).length).toBe(accepted.status === 200 ? 1 : 0);
        },
      };
    });
  });
});

describe('a member', () => {
  beforeEach(async () => {
    await makeOrganization(world, 'acme', { members: [bob] });
    await makeTeam(world, 'acme', 'dev', [alice, bob]);
  });

  test('can leave a team and the organization without asking', async () => {
    const events = await eventsDuring(world, async () => {
      expect((await api('DELETE', `${ACME}/teams/dev/members/bob`, { as: bob.basic })).status).toBe(204);
      expect((await api('DELETE', `${ACME}/members/Bob`, { as: bob.basic })).status).toBe(204);
    });
    expect(events.map(({ type, actor }) => `${type} ${actor}`)).toEqual([
      'team-member.removed user:bob',
      'member.removed user:bob',
    ]);
    expect(await organizationsOf(bob)).toEqual([]);
  });

  test('removes nobody else, and with a narrowed key not even themselves', async () => {
    expect(refused(await api('DELETE', `${ACME}/members/alice`, { as: bob.basic }))).toBe('403 DENIED');
    expect(refused(await api('DELETE', `${ACME}/teams/dev/members/alice`, { as: bob.basic }))).toBe('403 DENIED');
    const body = { name: 'narrow', statements: [{ actions: ['pull'], repositories: ['*'] }] };
    const { secret } = (await api('POST', '/keys', { as: bob.basic, body })).body as unknown as { secret: string };
    expect(refused(await api('DELETE', `${ACME}/members/bob`, { as: `Bearer ${secret}` }))).toBe('403 DENIED');
  });

  test('stays if they are the last owner', async () => {
    const answer = await api('DELETE', `${ACME}/members/alice`, { as: alice.basic });
    expect(refused(answer)).toBe('409 CONFLICT');
    expect(answer.body.errors[0]?.message).toContain('last owner');
  });
});

describe('what an organization attaches to a member', () => {
  const large = (bytes: number) => [
    ...Array.from({ length: Math.floor(bytes / 800) }, (_, n) => ({
      actions: ['push'],
      repositories: Array.from({ length: 10 }, (__, m) => `acme/${'x'.repeat(60)}-${n}-${m}`),
    })),
  ];
  const save = (team: string, statements: object[]) =>
    api('PUT', `${ACME}/teams/${team}/policy`, { as: alice.basic, body: { statements } });

  beforeEach(async () => {
    await makeOrganization(world, 'acme', { members: [bob] });
  });

  test('is limited to 32 KB: a further team or a longer policy above that is refused and changes nothing', async () => {
    for (const team of ['a', 'b', 'c']) await makeTeam(world, 'acme', team, team === 'c' ? [] : [bob], large(15_000));
    const work = async () => {
      const added = await api('PUT', `${ACME}/teams/c/members/bob`, { as: alice.basic });
      expect(refused(added)).toBe('409 CONFLICT');
      expect(added.body.errors[0]?.message).toMatch(/more than 32768 bytes.*Nothing was changed/);
    };
    expect(await eventsDuring(world, work)).toEqual([]);
    expect((await save('c', [])).status).toBe(200);
    expect((await api('PUT', `${ACME}/teams/c/members/bob`, { as: alice.basic })).status).toBe(201);
    const saved = await save('c', large(6000));
    expect(refused(saved)).toBe('409 CONFLICT');
    expect(saved.body.errors[0]?.message).toContain('more than 32768 bytes');
    expect((await save('a', large(8000))).status).toBe(200);
    expect((await save('c', large(6000))).status).toBe(200);
  });

  test('is limited for each organization separately', async () => {
    for (const team of ['a', 'b']) await makeTeam(world, 'acme', team, [bob], large(15_000));
    await makeOrganization(world, 'bolt', { members: [bob] });
    await makeTeam(world, 'bolt', 'dev', [bob]);
    const statements = large(15_000).map((one) => ({
      ...one,
      repositories: one.repositories.map((r) => r.replace('acme', 'bolt')),
    }));
    expect((await api('PUT', '/organizations/bolt/teams/dev/policy', { body: { statements } })).status).toBe(200);
  });

  test('can be reduced even if it was above the limit', async () => {
    for (const team of ['a', 'b']) await makeTeam(world, 'acme', team, [bob], large(10_000));
    await sql("UPDATE policies SET statements = ?1 WHERE subject = 'team:acme/a'", JSON.stringify(large(100_000)));
    expect((await save('a', large(14_000))).status).toBe(200);
  });

  test.each([
    [
      'members of an organization',
      `INSERT INTO members SELECT 'user:p' || value, 'acme', 'member' FROM json_each(?1)`,
      5000,
      () => invite(alice, 'member', 'acme', 'carol'),
    ],
    [
      'open invitations of an organization',
      `INSERT INTO organization_invitations SELECT 'user:p' || value, 'acme', 'member', 'user:alice', 0, 9e9 FROM json_each(?1)`,
      200,
      () => invite(alice, 'member', 'acme', 'carol'),
    ],
    [
      'organizations of a user',
      `INSERT INTO members SELECT 'user:carol', 'o' || value, 'member' FROM json_each(?1)`,
      50,
      () => api('PUT', `${ACME}/members/carol`, { body: { role: 'member' } }),
    ],
    [
      'teams of an organization',
      `INSERT INTO teams (subject, created_at) SELECT 'team:acme/t' || value, 0 FROM json_each(?1)`,
      200,
      () => api('PUT', `${ACME}/teams/new`, { as: alice.basic }),
    ],
    [
      'robots of an organization',
      `INSERT INTO accounts (subject, created_at) SELECT 'robot:acme/r' || value, 0 FROM json_each(?1)`,
      500,
      () => api('PUT', `${ACME}/robots/new`, { as: alice.basic }),
    ],
    [
      'teams of a member',
      `INSERT INTO team_members SELECT 'user:bob', 'team:acme/t' || value FROM json_each(?1)`,
      50,
      () => api('PUT', `${ACME}/teams/dev/members/bob`, { as: alice.basic }),
    ],
    [
      'members of a team',
      `INSERT INTO team_members SELECT 'user:p' || value, 'team:acme/dev' FROM json_each(?1)`,
      1000,
      () => api('PUT', `${ACME}/teams/dev/members/bob`, { as: alice.basic }),
    ],
  ] as const)('has a limit: %s', async (_, insert, limit, one) => {
    await inviteUser(world, 'carol');
    await makeTeam(world, 'acme', 'dev');
    await sql(insert, numbers(limit));
    const events = await eventsDuring(world, async () => {
      const answer = await one();
      expect(refused(answer)).toBe('409 CONFLICT');
      expect(answer.body.errors[0]?.message).toContain(` ${limit} `);
    });
    expect(events).toEqual([]);
  });

  test('can still be described and changed at the limit', async () => {
    await makeTeam(world, 'acme', 'dev', [bob]);
    await sql(`INSERT INTO teams (subject, created_at) SELECT 'team:acme/t' || value, 0 FROM json_each(?1)`, numbers(300));
    await sql(`INSERT INTO members SELECT 'user:p' || value, 'acme', 'member' FROM json_each(?1)`, numbers(5000));
    expect((await api('PUT', `${ACME}/teams/dev`, { as: alice.basic, body: { description: 'x' } })).status).toBe(200);
    expect((await invite(alice, 'owner')).status).toBe(200);
    expect((await api('PUT', `${ACME}/teams/dev/members/bob`, { as: alice.basic })).status).toBe(200);
  });
});

test("an owner who adds a victim to teams with long policies does not block the victim's requests", {
  tags: 'slow',
}, async () => {
  await pushImage(world, 'bob/own', 'v1', 1);
  await makeOrganization(world, 'acme', { members: [bob] });
  const statements = Array.from({ length: 50 }, (_, n) => ({
    actions: ['push'],
    repositories: [`acme/${'x'.repeat(200)}-${n}`],
  }));
  for (let n = 0; n < 17; n++) {
    await api('PUT', `${ACME}/teams/t${n}`, { as: alice.basic });
    await api('PUT', `${ACME}/teams/t${n}/policy`, { as: alice.basic, body: { statements } });
    await api('PUT', `${ACME}/teams/t${n}/members/bob`, { as: alice.basic });
  }
  for (const path of [
    '/api/v1/me',
    '/v2/bob/own/manifests/v1',
    '/token?scope=repository:bob/own:pull',
    '/api/v1/repositories',
  ]) {
    expect((await world.fetch('GET', path, { authorization: bob.basic })).status).toBe(200);
  }
});
