import { beforeEach, describe, expect, test } from 'vitest';
import { ROUTES } from '../../../src/http/routes.ts';
import { counting } from '../../world/counting.ts';
import { pushBlob } from '../../world/images.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { eventsDuring, everyItem, makeOrganization, makeRobot, makeTeam, tally } from '../../world/organizations.ts';
import { type ApiRequest, api as anyApi, inviteUser, type Person, refused } from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

interface Body {
  name: string;
  description: string;
  createdAt: string;
  user: string;
  role: string;
  items: { name: string; user: string; role: string }[];
  next: string | null;
  errors: { code: string; message: string }[];
}

const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);
const ACME = '/organizations/acme';

let world: World;
let alice: Person;
let bob: Person;

const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  bob = await inviteUser(world, 'bob');
});

beforeEach(async () => {
  world = await build();
});

async function etag(path = ACME): Promise<string> {
  return (await api('GET', path)).headers.get('etag') ?? '';
}

/** True for the list of trust rules, which is empty for an administrator if the organization does not exist. */
const isEmptyList = (path: string) => path.endsWith('/trust-rules');

const ruleOf = (organization: string) => ({
  issuer: 'https://token.actions.githubusercontent.com',
  audience: 'registry.test',
  claims: { repository_id: '1', repository_owner_id: '2' },
  statements: [{ actions: ['pull'], repositories: [`${organization}/*`] }],
});

describe('an organization', () => {
  test('is created by an administrator, described by an owner and read by a member', async () => {
    const made = await api('PUT', ACME, { body: { description: 'Rockets' } });
    expect(made).toMatchObject({ status: 201, body: { name: 'acme', description: 'Rockets' } });
    expect(Math.abs(Date.parse(made.body.createdAt) - Date.now())).toBeLessThan(60_000);
    expect(made.headers.get('etag')).toBe('"1"');
    expect(made.headers.get('cache-control')).toBe('no-store');
    await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
    const changed = await api('PATCH', ACME, { as: alice.basic, body: { description: ' Anvils ' } });
    expect(changed).toMatchObject({ status: 200, body: { name: 'acme', description: 'Anvils' } });
    const read = await api('GET', ACME, { as: bob.basic });
    expect(read).toMatchObject({ status: 200, body: changed.body });
    expect(read.headers.get('etag')).toBe('"2"');
  });

  test('has one name, however it is written', async () => {
    await makeOrganization(world, 'ACME', { members: [bob] });
    expect((await api('PUT', '/organizations/Acme')).status).toBe(200);
    expect(await api('GET', '/organizations/aCmE', { as: bob.basic })).toMatchObject({ status: 200, body: { name: 'acme' } });
  });

  test('keeps its description if a request does not mention it', async () => {
    await api('PUT', ACME, { body: { description: 'Rockets' } });
    expect((await api('PUT', ACME)).body.description).toBe('Rockets');
    expect((await api('PATCH', ACME, { body: {} })).body.description).toBe('Rockets');
    expect((await api('PUT', ACME, { body: { description: '' } })).body.description).toBe('');
  });

  test('is created by administrators only, and described by owners only', async () => {
    expect(refused(await api('PUT', ACME, { as: alice.basic }))).toBe('403 DENIED');
    await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
    expect(refused(await api('DELETE', ACME, { as: alice.basic }))).toBe('403 DENIED');
    expect(refused(await api('PATCH', ACME, { as: bob.basic, body: { description: 'mine' } }))).toBe('403 DENIED');
    expect(refused(await api('PUT', `${ACME}/members/bob`, { as: bob.basic, body: { role: 'owner' } }))).toBe('403 DENIED');
    expect((await api('GET', ACME)).body.description).toBe('');
  });

  test('is recorded when created and changed, once each, and not if nothing changes', async () => {
    const target = { subject: 'organization:acme', description: 'Rockets' };
    expect(await eventsDuring(world, () => api('PUT', ACME, { body: { description: 'Rockets' } }))).toEqual([
      { type: 'organization.created', target, actor: 'user:admin' },
    ]);
    await makeOrganization(world, 'acme', { owners: [alice] });
    const said = { body: { description: 'Anvils' }, as: alice.basic };
    expect(await eventsDuring(world, () => api('PATCH', ACME, said))).toEqual([
      { type: 'organization.changed', target: { ...target, description: 'Anvils' }, actor: 'user:alice' },
    ]);
    const version = await etag();
    const nothing = async () => {
      for (const method of ['PUT', 'PATCH']) {
        expect((await api(method, ACME, { body: { description: 'Anvils' } })).status).toBe(200);
        expect((await api(method, ACME, { body: {} })).status).toBe(200);
      }
    };
    expect(await eventsDuring(world, nothing)).toEqual([]);
    expect(await etag()).toBe(version);
  });

  test('is not changed by a request with an old version', async () => {
    const put = (description: string, headers: Record<string, string>) => api('PUT', ACME, { body: { description }, headers });
    const refusals = async () => {
      expect(refused(await put('one', { 'if-match': '"1"' }))).toBe('412 PRECONDITION_FAILED');
      expect((await put('one', { 'if-none-match': '*' })).status).toBe(201);
      expect(refused(await put('two', { 'if-none-match': '*' }))).toBe('412 PRECONDITION_FAILED');
      expect((await put('two', { 'if-match': '"1"' })).status).toBe(200);
      for (const [method, body] of [
        ['PUT', { description: 'x' }],
        ['PATCH', { description: 'x' }],
        ['DELETE', undefined],
      ] as const)
        expect(refused(await api(method, ACME, { body, headers: { 'if-match': '"1"' } }))).toBe('412 PRECONDITION_FAILED');
      expect(refused(await put('x', { 'if-match': 'W/"2"' }))).toBe('412 PRECONDITION_FAILED');
    };
    const events = await eventsDuring(world, refusals);
    expect(events.map(({ type }) => type)).toEqual(['organization.created', 'organization.changed']);
    expect(await api('GET', ACME)).toMatchObject({ body: { description: 'two' } });
  });

  test('accepts one of sixteen concurrent changes to the same version', async () => {
    await makeOrganization(world, 'acme');
    const headers = { 'if-match': await etag() };
    const change = (n: number) => api('PATCH', ACME, { headers, body: { description: `change ${n}` } });
    let answers: { status: number; body: Body }[] = [];
    const events = await eventsDuring(world, async () => {
      answers = await Promise.all(Array.from({ length: 16 }, (_, n) => change(n)));
    });
    expect(tally(answers.map(({ status }) => status))).toEqual({ 200: 1, 412: 15 });
    expect(events.map(({ target }) => target.description)).toEqual([
      answers.find(({ status }) => status === 200)?.body.description,
    ]);
  });

  test('has no name that is reserved, outside the grammar, or confusable with a user or another organization', async () => {
    await makeOrganization(world, 'acme-io');
    const refusals = async () => {
      for (const name of ['acmeio', 'acme.lo', 'acrne-1o']) {
        expect(`${name} ${refused(await api('PUT', `/organizations/${name}`))}`).toBe(`${name} 409 CONFLICT`);
      }
      for (const name of ['alice', 'a1ice', 'a-lice']) {
        expect(`${name} ${refused(await api('PUT', `/organizations/${name}`))}`).toBe(`${name} 409 CONFLICT`);
      }
      for (const name of ['admin', 'api', '-acme', 'acme--io', 'acme_', 'ä', 'x'.repeat(65), 'acme:dev', 'acme+ci']) {
        const answer = await api('PUT', `/organizations/${name}`);
        expect([400, 404], `${name}: ${JSON.stringify(answer.body)}`).toContain(answer.status);
      }
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
    expect((await api('GET', '/organizations')).body.items.map(({ name }) => name)).toEqual(['acme-io']);
  });

  test('keeps its name from concurrent requests for a confusable one', async () => {
    const names = ['acme-io', 'acmeio', 'acme.io', 'acme-lo'];
    const requests = Array.from({ length: 16 }, (_, n) => names[n % names.length] as string);
    let answers: { status: number }[] = [];
    const events = await eventsDuring(world, async () => {
      answers = await Promise.all(
        requests.map((name) => api('PUT', `/organizations/${name}`, { headers: { 'if-none-match': '*' } })),
      );
    });
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(events.map(({ type }) => type)).toEqual(['organization.created']);
    expect((await api('GET', '/organizations')).body.items).toHaveLength(1);
  });

  test('refuses fields that a request may not set', async () => {
    await makeOrganization(world, 'acme', { owners: [alice] });
    const fields = [
      'administrator',
      'disabled',
      'version',
      'likeness',
      'subject',
      'name',
      'createdAt',
      'epoch',
      'owner',
      '__proto__',
    ];
    const refusals = async () => {
      for (const field of fields) {
        const body = `{"description":"x","${field}":1}`;
        expect(`${field} ${refused(await api('PATCH', ACME, { as: alice.basic, body }))}`).toBe(`${field} 400 INVALID`);
        expect(`${field} ${refused(await api('PUT', ACME, { body }))}`).toBe(`${field} 400 INVALID`);
        const role = `{"role":"member","${field}":1}`;
        expect(`${field} ${refused(await api('PUT', `${ACME}/members/bob`, { body: role }))}`).toBe(`${field} 400 INVALID`);
      }
      for (const description of [1, null, 'x'.repeat(201), 'two\nlines', ['x']]) {
        expect(refused(await api('PATCH', ACME, { body: { description } }))).toBe('400 INVALID');
      }
      for (const role of ['admin', '', null, ['owner'], 'Owner', undefined]) {
        expect(refused(await api('PUT', `${ACME}/members/bob`, { body: { role } }))).toBe('400 INVALID');
      }
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
    expect((await api('GET', ACME)).body.description).toBe('');
  });
});

describe('the list of organizations', () => {
  test('contains those of the caller, and all for an administrator', async () => {
    await makeOrganization(world, 'acme', { owners: [alice] });
    await makeOrganization(world, 'bolt', { members: [alice, bob] });
    await makeOrganization(world, 'coil');
    const robot = await makeRobot(world, 'acme', 'deploy');
    const names = async (as?: string) =>
      (await everyItem<Body>(world, '/organizations', as ? { as } : {})).map(({ name }) => name);
    expect(await names()).toEqual(['acme', 'bolt', 'coil']);
    expect(await names(alice.basic)).toEqual(['acme', 'bolt']);
    expect(await names(bob.basic)).toEqual(['bolt']);
    expect(await names(robot.basic)).toEqual([]);
  });

  test.each(['everybody', 'one of them'])('of %s is complete, page by page, whatever is deleted meanwhile', async (whose) => {
    const names = ['ka', 'kb', 'ma', 'mb', 'pa', 'pb', 'qa'];
    for (const name of names) await makeOrganization(world, name, { owners: [alice] });
    const items = await everyItem<Body>(world, '/organizations', {
      ...(whose === 'everybody' ? {} : { as: alice.basic }),
      meanwhile: async (page) => {
        if (page === 1) for (const name of ['kb', 'ma']) await api('DELETE', `/organizations/${name}`);
        if (page === 2) await makeOrganization(world, 'm0', { owners: [alice] });
      },
    });
    expect(items.map(({ name }) => name)).toEqual(['ka', 'kb', 'mb', 'pa', 'pb', 'qa']);
  });
});

describe('a deleted organization', () => {
  test('takes members, teams, robots, keys, policies and trust rules with it', async () => {
    await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
    await makeOrganization(world, 'acme2', { owners: [alice], members: [bob] });
    const pull = [{ actions: ['pull'], repositories: ['acme/*'] }];
    await makeTeam(world, 'acme', 'dev', [bob], pull);
    await makeTeam(world, 'acme2', 'dev', [bob], [{ actions: ['pull'], repositories: ['acme2/*'] }]);
    const robot = await makeRobot(world, 'acme', 'deploy', pull);
    const other = await makeRobot(world, 'acme2', 'deploy');
    await api('PUT', `${ACME}/trust-rules/main`, { body: ruleOf('acme') });
    const kept = await rowsNaming('acme2');
    const events = await eventsDuring(world, async () => expect((await api('DELETE', ACME)).status).toBe(204));
    expect(events.map(({ type, target }) => `${type} ${target.subject ?? target.id}`).sort()).toEqual([
      `key.revoked ${robot.keyId}`,
      'organization.deleted organization:acme',
      'robot.deleted robot:acme/deploy',
      'team.deleted team:acme/dev',
      'trust-rule.deleted ci:acme/main',
    ]);
    expect((await world.fetch('GET', '/v2/', { authorization: robot.basic })).status).toBe(401);
    expect((await world.fetch('GET', '/v2/', { authorization: other.basic })).status).toBe(200);
    expect(await rowsNaming('acme')).toEqual({ members: 0, teams: 0, team_members: 0, policies: 0, trust_rules: 0, keys: 0 });
    expect(await rowsNaming('acme2')).toEqual(kept);
    expect(kept).toMatchObject({ members: 2, teams: 1, team_members: 1, policies: 1, keys: 1 });
  });

  async function rowsNaming(organization: string) {
    return world.env.DB.prepare(
      `SELECT (SELECT count(*) FROM members WHERE organization = ?1) AS members,
        (SELECT count(*) FROM teams WHERE subject LIKE 'team:' || ?1 || '/%') AS teams,
        (SELECT count(*) FROM team_members WHERE team LIKE 'team:' || ?1 || '/%') AS team_members,
        (SELECT count(*) FROM policies WHERE subject LIKE '%:' || ?1 || '/%') AS policies,
        (SELECT count(*) FROM trust_rules WHERE subject LIKE 'ci:' || ?1 || '/%') AS trust_rules,
        (SELECT count(*) FROM access_keys WHERE owner LIKE 'robot:' || ?1 || '/%' AND revoked_at IS NULL) AS keys`,
    )
      .bind(organization)
      .first();
  }

  test('is hidden from everybody, and its name cannot be taken', async () => {
    await makeOrganization(world, 'acme', { owners: [alice] });
    await makeRobot(world, 'acme', 'deploy');
    await api('DELETE', ACME);
    const absent = await api('GET', '/organizations/none', { as: alice.basic });
    for (const as of [undefined, alice.basic]) {
      for (const [method, path, body] of requestsWithin('acme')) {
        const { status, body: said } = await api(method, path, { body, ...(as ? { as } : {}) });
        if (status === 403 || (method === 'PUT' && path === ACME) || (!as && isEmptyList(path))) continue;
        expect({ at: `${method} ${path}`, status, said }).toEqual({ at: `${method} ${path}`, status: 404, said: absent.body });
      }
    }
    const refusals = async () => {
      const again = await api('PUT', ACME);
      expect(refused(again)).toBe('409 CONFLICT');
      expect(again.body.errors[0]?.message).toContain('"acme" was deleted');
      expect(refused(await api('PUT', ACME, { headers: { 'if-none-match': '*' } }))).toBe('409 CONFLICT');
      expect(refused(await api('PUT', ACME, { headers: { 'if-match': '"1"' } }))).toBe('412 PRECONDITION_FAILED');
      expect(refused(await api('PUT', '/organizations/ac-me'))).toBe('409 CONFLICT');
      expect(refused(await api('PUT', '/users/acme'))).toBe('409 CONFLICT');
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
    expect((await api('GET', '/organizations')).body.items).toEqual([]);
  });

  test('was empty: as long as a repository has its name, nothing is deleted', async () => {
    await makeOrganization(world, 'acme', { owners: [alice] });
    await makeOrganization(world, 'acm', {});
    await makeTeam(world, 'acme', 'dev', [alice]);
    await pushBlob(world, 'acme/api', 'bytes');
    const refusals = async () => expect(refused(await api('DELETE', ACME))).toBe('409 CONFLICT');
    expect(await eventsDuring(world, refusals)).toEqual([]);
    expect((await api('GET', `${ACME}/teams/dev/members`, { as: alice.basic })).body.items).toEqual([{ user: 'alice' }]);
    expect((await api('DELETE', '/organizations/acm')).status).toBe(204);
    expect((await api('DELETE', '/repositories/acme/api')).status).toBe(200);
    expect((await api('DELETE', ACME)).status).toBe(204);
    expect(refused(await api('DELETE', ACME))).toBe('404 NOT_FOUND');
  });

  test('is kept if it gets a repository during the deletion', async () => {
    await everyOrder(world, async (run) => {
      const name = `acme${'x'.repeat(run + 1)}`;
      await makeOrganization(world, name, { owners: [alice] });
      return {
        outer: (at) => at.fetch('DELETE', `/api/v1/organizations/${name}`),
        inner: (at) => at.fetch('PUT', `/api/v1/repositories/${name}/api`, { authorization: alice.basic }),
        check: async (deleted, made) => {
          expect(deleted.status === 204 ? 'deleted' : 'stays').toBe(made.status === 201 ? 'stays' : 'deleted');
        },
      };
    });
  });
});

describe('members', () => {
  test('are added, given another role, listed and removed', async () => {
    await makeOrganization(world, 'acme', { owners: [alice] });
    const put = (role: string) => api('PUT', `${ACME}/members/BOB`, { as: alice.basic, body: { role } });
    const work = async () => {
      expect(await put('member')).toMatchObject({ status: 202, body: { user: 'bob', role: 'member', invited: true } });
      expect((await api('POST', '/me/invitations/acme/accept', { as: bob.basic, body: {} })).status).toBe(200);
      expect(await put('owner')).toMatchObject({ status: 200, body: { user: 'bob', role: 'owner' } });
      expect(await put('owner')).toMatchObject({ status: 200, body: { user: 'bob', role: 'owner' } });
      expect((await api('GET', `${ACME}/members`, { as: bob.basic })).body).toEqual({
        items: [
          { user: 'alice', role: 'owner' },
          { user: 'bob', role: 'owner' },
        ],
        next: null,
      });
      expect((await api('DELETE', `${ACME}/members/bob`, { as: alice.basic })).status).toBe(204);
      expect(refused(await api('DELETE', `${ACME}/members/bob`, { as: alice.basic }))).toBe('404 NOT_FOUND');
    };
    const about = { subject: 'organization:acme', user: 'user:bob' };
    expect(await eventsDuring(world, work)).toEqual([
      { type: 'member.invited', target: { ...about, role: 'member', previous: null }, actor: 'user:alice' },
      { type: 'member.changed', target: { ...about, role: 'member', previous: null }, actor: 'user:bob' },
      { type: 'member.changed', target: { ...about, role: 'owner', previous: 'member' }, actor: 'user:alice' },
      { type: 'member.removed', target: { ...about, role: 'owner' }, actor: 'user:alice' },
    ]);
    expect(refused(await api('GET', ACME, { as: bob.basic }))).toBe('404 NOT_FOUND');
  });

  test('are existing users who are not disabled', async () => {
    await makeOrganization(world, 'acme', { owners: [alice] });
    await makeOrganization(world, 'bolt');
    await makeRobot(world, 'acme', 'deploy');
    await api('PATCH', '/users/bob', { body: { disabled: true } });
    const refusals = async () => {
      for (const user of ['nobody2', 'bob', 'bolt', 'deploy']) {
        const answer = await api('PUT', `${ACME}/members/${user}`, { as: alice.basic, body: { role: 'member' } });
        expect(`${user} ${refused(answer)}`).toBe(`${user} 404 NOT_FOUND`);
        expect(answer.body.errors[0]?.message).toContain(`no user "${user}"`);
      }
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
    expect((await api('GET', `${ACME}/members`)).body.items).toHaveLength(1);
  });

  test("gain and lose the organization's repositories with their role, at once", async () => {
    await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
    const make = async (name: string) => (await api('PUT', `/repositories/acme/${name}`, { as: bob.basic })).status;
    expect(await make('one')).toBe(404);
    await api('PUT', `${ACME}/members/bob`, { as: alice.basic, body: { role: 'owner' } });
    expect(await make('one')).toBe(201);
    await api('PUT', `${ACME}/members/bob`, { as: alice.basic, body: { role: 'member' } });
    expect(await make('two')).toBe(404);
  });

  test('include an owner: the last one can be neither removed nor demoted, not even by an administrator', async () => {
    await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
    await makeOrganization(world, 'bolt', { owners: [bob] });
    await makeTeam(world, 'acme', 'dev', [alice]);
    const refusals = async () => {
      for (const as of [alice.basic, undefined]) {
        const by = as ? { as } : {};
        expect(refused(await api('DELETE', `${ACME}/members/alice`, by))).toBe('409 CONFLICT');
        expect(refused(await api('PUT', `${ACME}/members/alice`, { ...by, body: { role: 'member' } }))).toBe('409 CONFLICT');
        expect((await api('PUT', `${ACME}/members/alice`, { ...by, body: { role: 'owner' } })).status).toBe(200);
      }
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
    expect((await api('GET', `${ACME}/teams/dev/members`)).body.items).toEqual([{ user: 'alice' }]);
    await api('PUT', `${ACME}/members/bob`, { body: { role: 'owner' } });
    expect((await api('DELETE', `${ACME}/members/alice`, { as: alice.basic })).status).toBe(204);
  });

  test('include an owner who is not disabled', async () => {
    await makeOrganization(world, 'acme', { owners: [alice, bob] });
    await api('PATCH', '/users/bob', { body: { disabled: true } });
    expect(refused(await api('DELETE', `${ACME}/members/alice`))).toBe('409 CONFLICT');
    expect((await api('DELETE', `${ACME}/members/bob`)).status).toBe(204);
  });

  test.each(['removed', 'made members'])('keep an owner when all are %s at the same time', async (how) => {
    const names = [...'abcdefghijkmnopq'].map((letter) => `p${letter}`);
    const people = await Promise.all(names.map((name) => inviteUser(world, name)));
    await makeOrganization(world, 'acme', { owners: people });
    let answers: { status: number }[] = [];
    const events = await eventsDuring(world, async () => {
      answers = await Promise.all(
        people.map(({ name }) =>
          how === 'removed'
            ? api('DELETE', `${ACME}/members/${name}`)
            : api('PUT', `${ACME}/members/${name}`, { body: { role: 'member' } }),
        ),
      );
    });
    expect(tally(answers.map(({ status }) => status))).toEqual({ 409: 1, [how === 'removed' ? 204 : 200]: 15 });
    expect(events).toHaveLength(15);
    const left = await everyItem<Body>(world, `${ACME}/members`, { n: 100 });
    expect(left.filter(({ role }) => role === 'owner')).toHaveLength(1);
  });

  test('leave the teams of that organization with it, and stay in those of others', async () => {
    await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
    await makeOrganization(world, 'acme2', { members: [bob] });
    for (const [organization, team] of [
      ['acme', 'dev'],
      ['acme', 'ops'],
      ['acme2', 'dev'],
    ] as const) {
      await makeTeam(world, organization, team, [bob]);
    }
    const events = await eventsDuring(world, () => api('DELETE', `${ACME}/members/bob`, { as: alice.basic }));
    expect(events.map(({ type, target }) => `${type} ${target.subject} ${target.user}`)).toEqual([
      'team-member.removed team:acme/dev user:bob',
      'team-member.removed team:acme/ops user:bob',
      'member.removed organization:acme user:bob',
    ]);
    expect((await api('GET', `${ACME}/teams/dev/members`)).body.items).toEqual([]);
    expect((await api('GET', '/organizations/acme2/teams/dev/members')).body.items).toEqual([{ user: 'bob' }]);
    await api('PUT', `${ACME}/members/bob`, { body: { role: 'member' } });
    expect((await api('GET', `${ACME}/teams/ops/members`)).body.items).toEqual([]);
  });

  test('are listed page by page, even if members leave meanwhile', async () => {
    const people = await Promise.all(['pa', 'pb', 'pc', 'pd', 'pe', 'pf', 'pg'].map((name) => inviteUser(world, name)));
    await makeOrganization(world, 'acme', { owners: [alice], members: people });
    await makeOrganization(world, 'acme0', { members: people });
    const items = await everyItem<Body>(world, `${ACME}/members`, {
      as: alice.basic,
      meanwhile: async (page) => {
        if (page === 2) for (const name of ['pc', 'pd']) await api('DELETE', `${ACME}/members/${name}`);
      },
    });
    expect(items.map(({ user }) => user)).toEqual(['alice', 'pa', 'pb', 'pc', 'pe', 'pf', 'pg']);
  });
});

/** Every request about something in an organization: each route with names in place of its parameters, and a valid body. */
function requestsWithin(organization: string): [method: string, path: string, body: object | undefined, requirement: string][] {
  const names: Record<string, string> = { organization, user: 'alice', team: 'dev', robot: 'deploy', rule: 'main' };
  const bodyFor = (path: string) => {
    if (path.endsWith('/policy')) return { statements: [] };
    if (path.endsWith('/keys')) return { name: 'test' };
    if (path.endsWith('/webhooks')) return { url: 'https://hooks.example.com/' };
    if (path.includes('/trust-rules/')) return ruleOf(organization);
    if (path.endsWith('/quota')) return { maxBytes: null };
    return path.includes('/members/') && !path.includes('/teams/') ? { role: 'member' } : {};
  };
  return Object.entries(ROUTES)
    .filter(([path]) => path.startsWith('/api/v1/organizations/:organization'))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, requirement]) => {
        const filled = path.replace('/api/v1', '').replaceAll(/:(\w+)/g, (_, name: string) => names[name] ?? name);
        return [method, filled, ['PUT', 'POST', 'PATCH'].includes(method) ? bodyFor(path) : undefined, requirement] as [
          string,
          string,
          object | undefined,
          string,
        ];
      }),
    );
}

describe('everything in an organization', () => {
  test('is hidden from others in each request', { tags: 'slow' }, async () => {
    await makeOrganization(world, 'acme', { owners: [alice] });
    await makeOrganization(world, 'bolt', { owners: [bob] });
    await makeTeam(world, 'acme', 'dev', [alice]);
    await makeRobot(world, 'acme', 'deploy');
    await api('PUT', `${ACME}/trust-rules/main`, { body: ruleOf('acme') });
    const ownRobot = await makeRobot(world, 'acme', 'builder');
    const carol = await inviteUser(world, 'carol');
    const seen = async (method: string, path: string, body: object | undefined, as: string) => {
      const answer = await api(method, path, { as, ...(body ? { body } : {}) });
      return { status: answer.status, body: JSON.stringify(answer.body), headers: Object.fromEntries(answer.headers) };
    };
    const probes = async () => {
      for (const { basic: as } of [bob, carol, ownRobot]) {
        const absent = requestsWithin('absent');
        for (const [n, [method, path, body, requirement]] of requestsWithin('acme').entries()) {
          const there = await seen(method, path, body, as);
          const [, absentPath] = absent[n] as (typeof absent)[number];
          expect(there, `${method} ${path}`).toEqual(await seen(method, absentPath, body, as));
          const forUsersOnly = as === ownRobot.basic && requirement.startsWith('owner');
          const wants = forUsersOnly || requirement === 'administrator' ? 403 : 404;
          expect(`${method} ${path} ${there.status}`).toBe(`${method} ${path} ${wants}`);
          expect(there).toEqual(await seen(method, path.replace('acme', 'ACME'), body, as));
        }
      }
    };
    expect(await eventsDuring(world, probes)).toEqual([]);
    expect(requestsWithin('acme').length).toBeGreaterThan(25);
  });

  test('is changed by its owners only, and by no login or narrowed key', { tags: 'slow' }, async () => {
    await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
    await makeTeam(world, 'acme', 'dev', [alice]);
    await makeRobot(world, 'acme', 'deploy');
    const narrowed = (
      await anyApi<{ secret: string }>(world, 'POST', '/keys', {
        as: alice.basic,
        body: { name: 'narrow', statements: [{ actions: 'all actions', repositories: ['*'] }] },
      })
    ).body.secret;
    const login = (await anyApi<{ password: string }>(world, 'POST', '/login-password', { as: alice.basic })).body.password;
    const probes = async () => {
      for (const [method, path, body, requirement] of requestsWithin('acme')) {
        // Members and their logins may read. A narrowed key learns nothing about people.
        for (const as of [bob.basic, `Bearer ${narrowed}`, `Bearer ${login}`]) {
          const wants = requirement === 'member' && as !== `Bearer ${narrowed}` ? 200 : 403;
          const { status } = await api(method, path, { as, ...(body ? { body } : {}) });
          expect(`${method} ${path} ${status}`).toBe(`${method} ${path} ${wants}`);
        }
      }
    };
    expect(await eventsDuring(world, probes)).toEqual([]);
  });

  test('is a 404 for an administrator too, if it does not exist', async () => {
    const expected = { errors: [{ code: 'NOT_FOUND', message: 'this does not exist, or you may not see it' }] };
    const probes = async () => {
      for (const [method, path, body] of requestsWithin('absent')) {
        if ((path === '/organizations/absent' && method === 'PUT') || isEmptyList(path)) continue;
        const answer = await api(method, path, body ? { body } : {});
        expect({ at: `${method} ${path}`, status: answer.status, body: answer.body }).toEqual({
          at: `${method} ${path}`,
          status: 404,
          body: expected,
        });
      }
    };
    expect(await eventsDuring(world, probes)).toEqual([]);
  });

  test('costs at most three round trips and a hundred rows read, granted or refused, however large the registry is', {
    tags: 'slow',
  }, async () => {
    await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
    await makeTeam(world, 'acme', 'dev', [alice]);
    await makeRobot(world, 'acme', 'deploy');
    await api('GET', '/me', { as: alice.basic });
    await fill();
    const administrator = await inviteUser(world, 'root2', { administrator: true });
    await api('GET', '/me', { as: administrator.basic });
    const cost = async (method: string, path: string, request: ApiRequest) => {
      const { env, counts } = counting(world.env);
      const { status } = await anyApi(worldOf(env), method, path, request);
      expect(counts.d1, `${method} ${path} ${status}`).toBeLessThanOrEqual(3);
      expect(counts.rowsRead, `${method} ${path} ${status}`).toBeLessThanOrEqual(100);
      return status;
    };
    const statuses: Record<string, number> = {};
    const as = administrator.basic;
    const own = requestsWithin('acme');
    for (const [method, path, body] of own.filter(([, path, , needs]) => needs !== 'administrator' || path !== ACME)) {
      statuses[`${method} ${path}`] = await cost(method, path, { as, ...(body ? { body } : {}) });
      await cost(method, path, { as, ...(body ? { body } : {}), headers: { 'if-match': '"77"' } });
      await cost(method, path.replace('acme', 'absent'), { as, ...(body ? { body } : {}) });
    }
    expect(statuses).toMatchObject({
      [`GET ${ACME}`]: 200,
      [`PATCH ${ACME}`]: 200,
      [`GET ${ACME}/members`]: 200,
      [`PUT ${ACME}/members/alice`]: 409,
      [`DELETE ${ACME}/members/alice`]: 409,
      [`PUT ${ACME}/teams/dev`]: 200,
      [`DELETE ${ACME}/teams/dev`]: 204,
      [`PUT ${ACME}/robots/deploy`]: 200,
      [`DELETE ${ACME}/robots/deploy`]: 204,
    });
    expect(await cost('PUT', ACME, { as })).toBe(200);
    expect(await cost('PUT', '/organizations/ac-me', { as })).toBe(409);
    expect(await cost('PUT', '/organizations/bolt', { as })).toBe(201);
    expect(await cost('PUT', `${ACME}/members/bob`, { as, body: { role: 'owner' } })).toBe(200);
    expect(await cost('DELETE', `${ACME}/members/bob`, { as })).toBe(204);
    for (const path of ['teams/new1', 'robots/new1']) expect(await cost('PUT', `${ACME}/${path}`, { as })).toBe(201);
    expect(await cost('POST', `${ACME}/robots/new1/keys`, { as, body: { name: 'x' } })).toBe(201);
    expect(await cost('GET', `${ACME}/robots/new1/keys`, { as })).toBe(200);
    expect(await cost('PUT', `${ACME}/teams/new1/members/alice`, { as })).toBe(201);
    expect(await cost('GET', `${ACME}/teams/new1/members`, { as })).toBe(200);
    expect(await cost('DELETE', `${ACME}/teams/new1/members/alice`, { as })).toBe(204);
    expect(await cost('GET', '/organizations', { as: alice.basic })).toBe(200);
    expect(await cost('DELETE', ACME, { as })).toBe(204);
    expect(await cost('DELETE', ACME, { as })).toBe(404);
    for (const path of ['', '/zeta/members', '/zeta/teams', '/zeta/robots', '/zeta/teams/t/members']) {
      expect(await cost('GET', `/organizations${path}?n=20`, { as })).toBe(200);
      expect(await cost('GET', `/organizations${path}?n=20&last=x1005`, { as })).toBe(200);
    }
    expect(await cost('PUT', '/organizations/zeta/members/x1005', { as, body: { role: 'owner' } })).toBe(200);
    expect(await cost('DELETE', '/organizations/zeta/members/x1005', { as })).toBe(409);
  });

  /** Creates an organization with a thousand members, teams, robots and so on, and a thousand other organizations. */
  async function fill(): Promise<void> {
    const numbered = `(SELECT 'x' || (1000 + key) AS name FROM json_each('${JSON.stringify(Array(1000).fill(0))}'))`;
    const rows = [
      `accounts (subject, created_at) VALUES ('organization:zeta', 0)`,
      `teams (subject, created_at) VALUES ('team:zeta/t', 0)`,
      `accounts (subject, created_at) SELECT 'user:' || name, 0 FROM ${numbered}`,
      `accounts (subject, created_at) SELECT 'organization:' || name, 0 FROM ${numbered}`,
      `accounts (subject, created_at) SELECT 'robot:zeta/' || name, 0 FROM ${numbered}`,
      `members (user, organization, role) SELECT 'user:' || name, 'zeta', 'member' FROM ${numbered}`,
      `members (user, organization, role) SELECT 'user:' || name, name, 'owner' FROM ${numbered}`,
      `teams (subject, created_at) SELECT 'team:zeta/' || name, 0 FROM ${numbered}`,
      `team_members (user, team) SELECT 'user:' || name, 'team:zeta/t' FROM ${numbered}`,
      `policies (subject, statements) SELECT 'robot:zeta/' || name, '[]' FROM ${numbered}`,
      `access_keys (id, owner, name, created_at, created_by, expires_at)
        SELECT name, 'robot:zeta/' || name, '', 0, '', 9999999999 FROM ${numbered}`,
      `trust_rules (subject, issuer, audience, claims, statements, created_at)
        SELECT 'ci:zeta/' || name, '', '', '{}', '[]', 0 FROM ${numbered}`,
      `policy_principals (principal, repository) SELECT 'team:zeta/t', name FROM ${numbered}`,
    ];
    await world.env.DB.batch(rows.map((row) => world.env.DB.prepare(`INSERT INTO ${row}`)));
  }
});
