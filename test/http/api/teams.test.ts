import { beforeEach, describe, expect, test } from 'vitest';
import { pushImage } from '../../world/images.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { eventsDuring, everyItem, makeOrganization, makeTeam, tally } from '../../world/organizations.ts';
import { type ApiRequest, api as anyApi, inviteUser, type Person, refused } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

interface Body {
  name: string;
  description: string;
  createdAt: string;
  user: string;
  statements: object[];
  items: { name: string; user: string }[];
  next: string | null;
  errors: { code: string; message: string; detail?: object }[];
}

const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);
const TEAMS = '/organizations/acme/teams';
const DEV = `${TEAMS}/dev`;

let world: World;
let alice: Person;
let bob: Person;
let carol: Person;

/** Creates `acme` with the owner alice and the member bob. Carol belongs to no organization. */
const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  bob = await inviteUser(world, 'bob');
  carol = await inviteUser(world, 'carol');
  await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
});

beforeEach(async () => {
  world = await build();
});

const pulls = async (person: Person, repository = 'acme/api') =>
  (await world.fetch('GET', `/v2/${repository}/manifests/v1`, { authorization: person.basic })).status === 200;

describe('a team', () => {
  test('is created and described by an owner, and read by a member', async () => {
    const made = await api('PUT', `${TEAMS}/DEV`, { as: alice.basic, body: { description: 'Developers' } });
    expect(made).toMatchObject({ status: 201, body: { name: 'dev', description: 'Developers' } });
    expect(Math.abs(Date.parse(made.body.createdAt) - Date.now())).toBeLessThan(60_000);
    const changed = await api('PUT', DEV, { as: alice.basic, body: { description: 'They develop' } });
    expect(changed).toMatchObject({ status: 200, body: { name: 'dev', description: 'They develop' } });
    expect((await api('PUT', DEV, { as: alice.basic })).body.description).toBe('They develop');
    const read = await api('GET', DEV, { as: bob.basic });
    expect(read).toMatchObject({ status: 200, body: changed.body });
    expect(read.headers.get('etag')).toBe('"2"');
    expect(refused(await api('PUT', DEV, { as: bob.basic }))).toBe('403 DENIED');
    expect(refused(await api('GET', `${TEAMS}/ops`, { as: bob.basic }))).toBe('404 NOT_FOUND');
  });

  test('may have any valid name, because it is used inside its organization only', async () => {
    for (const name of ['admin', 'members', 'ci']) expect((await api('PUT', `${TEAMS}/${name}`)).status).toBe(201);
    for (const name of ['-dev', 'd--v', 'd:v', 'x'.repeat(65)]) {
      expect(`${name} ${refused(await api('PUT', `${TEAMS}/${name}`))}`).toBe(`${name} 400 INVALID`);
    }
  });

  test('is recorded when created, changed and deleted, once each, and not if nothing changes', async () => {
    const put = (description: string) => api('PUT', DEV, { as: alice.basic, body: { description } });
    const work = async () => {
      const versions = [];
      for (const description of ['one', 'one', 'two', 'two']) versions.push((await put(description)).headers.get('etag'));
      versions.push((await api('PUT', DEV, { as: alice.basic })).headers.get('etag'));
      expect(versions).toEqual(['"1"', '"1"', '"2"', '"2"', '"2"']);
      for (const status of [204, 404]) expect((await api('DELETE', DEV, { as: alice.basic })).status).toBe(status);
    };
    const subject = 'team:acme/dev';
    expect(await eventsDuring(world, work)).toEqual([
      { type: 'team.created', target: { subject, description: 'one' }, actor: 'user:alice' },
      { type: 'team.changed', target: { subject, description: 'two' }, actor: 'user:alice' },
      { type: 'team.deleted', target: { subject }, actor: 'user:alice' },
    ]);
  });

  test('is not changed by a request with an old version', async () => {
    const put = (description: string, headers: Record<string, string>) => api('PUT', DEV, { body: { description }, headers });
    const work = async () => {
      expect(refused(await put('one', { 'if-match': '"1"' }))).toBe('412 PRECONDITION_FAILED');
      expect((await put('one', { 'if-none-match': '*' })).status).toBe(201);
      expect(refused(await put('two', { 'if-none-match': '*' }))).toBe('412 PRECONDITION_FAILED');
      expect((await put('two', { 'if-match': '"1"' })).status).toBe(200);
      expect(refused(await put('three', { 'if-match': '"1"' }))).toBe('412 PRECONDITION_FAILED');
      expect(refused(await api('DELETE', DEV, { headers: { 'if-match': '"1"' } }))).toBe('412 PRECONDITION_FAILED');
      expect((await api('GET', DEV)).body.description).toBe('two');
      expect((await api('DELETE', DEV, { headers: { 'if-match': '"2"' } })).status).toBe(204);
      expect(refused(await api('DELETE', DEV, { headers: { 'if-match': '"2"' } }))).toBe('404 NOT_FOUND');
    };
    const types = (await eventsDuring(world, work)).map(({ type }) => type);
    expect(types).toEqual(['team.created', 'team.changed', 'team.deleted']);
  });

  test('is created once by sixteen concurrent requests', async () => {
    let answers: { status: number }[] = [];
    const events = await eventsDuring(world, async () => {
      answers = await Promise.all(Array.from({ length: 16 }, () => api('PUT', DEV, { as: alice.basic })));
    });
    expect(tally(answers.map(({ status }) => status))).toEqual({ 201: 1, 200: 15 });
    expect(events.map(({ type }) => type)).toEqual(['team.created']);
  });

  test('refuses fields that a request may not set', async () => {
    await makeTeam(world, 'acme', 'dev', [bob]);
    const refusals = async () => {
      for (const field of ['name', 'subject', 'organization', 'version', 'statements', 'members', 'createdAt', '__proto__']) {
        for (const path of [DEV, `${DEV}/members/bob`]) {
          const answer = await api('PUT', path, { as: alice.basic, body: `{"${field}":"x"}` });
          expect(`${field} ${refused(answer)}`).toBe(`${field} 400 INVALID`);
        }
      }
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
  });

  test("is in its own organization's list, which is complete whatever is deleted meanwhile", async () => {
    await makeOrganization(world, 'acme0', { owners: [alice] });
    await makeTeam(world, 'acme0', 'x');
    for (const name of ['a1', 'a2', 'b1', 'b2', 'c1', 'c2']) await makeTeam(world, 'acme', name);
    const items = await everyItem<Body>(world, TEAMS, {
      as: bob.basic,
      meanwhile: async (page) => {
        if (page === 1) for (const name of ['a2', 'b2']) await api('DELETE', `${TEAMS}/${name}`);
      },
    });
    expect(items.map(({ name }) => name)).toEqual(['a1', 'a2', 'b1', 'c1', 'c2']);
  });
});

describe('members of a team', () => {
  test("are added, listed and removed, and get the team's rights at once", async () => {
    await pushImage(world, 'acme/api', 'v1');
    await makeTeam(world, 'acme', 'dev', [], [{ actions: ['pull'], repositories: ['acme/*'] }]);
    const path = `${DEV}/members/bob`;
    const work = async () => {
      expect(await pulls(bob)).toBe(false);
      expect(await api('PUT', `${DEV}/members/Bob`, { as: alice.basic })).toMatchObject({ status: 201, body: { user: 'bob' } });
      expect(await api('PUT', path, { as: alice.basic })).toMatchObject({ status: 200, body: { user: 'bob' } });
      expect((await api('GET', `${DEV}/members`, { as: bob.basic })).body).toEqual({ items: [{ user: 'bob' }], next: null });
      expect(await pulls(bob)).toBe(true);
      expect((await api('DELETE', path, { as: alice.basic })).status).toBe(204);
      expect(await pulls(bob)).toBe(false);
      expect(refused(await api('DELETE', path, { as: alice.basic }))).toBe('404 NOT_FOUND');
    };
    const target = { subject: 'team:acme/dev', user: 'user:bob' };
    expect(await eventsDuring(world, work)).toEqual([
      { type: 'team-member.added', target, actor: 'user:alice' },
      { type: 'team-member.removed', target, actor: 'user:alice' },
    ]);
  });

  test('are members of its organization', async () => {
    await makeTeam(world, 'acme', 'dev');
    const refusals = async () => {
      for (const user of ['carol', 'nobody2']) {
        const answer = await api('PUT', `${DEV}/members/${user}`, { as: alice.basic });
        expect(refused(answer)).toBe('409 CONFLICT');
        expect(answer.body.errors[0]?.message).toContain(`${user} is no member of acme`);
      }
      expect(refused(await api('PUT', `${TEAMS}/ops/members/bob`, { as: alice.basic }))).toBe('404 NOT_FOUND');
      expect(refused(await api('GET', `${TEAMS}/ops/members`, { as: alice.basic }))).toBe('404 NOT_FOUND');
      expect(refused(await api('DELETE', `${TEAMS}/ops/members/bob`, { as: alice.basic }))).toBe('404 NOT_FOUND');
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
    expect((await api('GET', `${DEV}/members`)).body.items).toEqual([]);
  });

  test('are still members of it if they leave it while being added', async () => {
    await makeTeam(world, 'acme', 'dev');
    const member = '/api/v1/organizations/acme/members/bob';
    await everyOrder(world, async () => {
      await api('PUT', '/organizations/acme/members/bob', { body: { role: 'member' } });
      return {
        outer: (at) => at.fetch('PUT', `/api/v1${DEV}/members/bob`, { authorization: alice.basic }),
        inner: (at) => at.fetch('DELETE', member, { authorization: alice.basic }),
        check: async (_, removed) => {
          expect(removed.status).toBe(204);
          expect((await api('GET', `${DEV}/members`)).body.items).toEqual([]);
        },
      };
    });
  });

  test('are added once by sixteen concurrent requests', async () => {
    await makeTeam(world, 'acme', 'dev');
    let answers: { status: number }[] = [];
    const events = await eventsDuring(world, async () => {
      const add = () => api('PUT', `${DEV}/members/bob`, { as: alice.basic });
      answers = await Promise.all(Array.from({ length: 16 }, add));
    });
    expect(tally(answers.map(({ status }) => status))).toEqual({ 201: 1, 200: 15 });
    expect(events).toHaveLength(1);
  });

  test('are listed page by page, even if members leave meanwhile', async () => {
    const people = await Promise.all(['pa', 'pb', 'pc', 'pd', 'pe', 'pf'].map((name) => inviteUser(world, name)));
    await makeOrganization(world, 'bolt', { members: people });
    await makeTeam(world, 'bolt', 'dev', people);
    await makeTeam(world, 'bolt', 'dev0', people);
    const path = '/organizations/bolt/teams/dev/members';
    const items = await everyItem<Body>(world, path, {
      meanwhile: async (page) => {
        if (page === 1) for (const name of ['pb', 'pd']) await api('DELETE', `${path}/${name}`);
      },
    });
    expect(items.map(({ user }) => user)).toEqual(['pa', 'pb', 'pc', 'pe', 'pf']);
  });
});

describe('a deleted team', () => {
  const naming = { statements: [{ actions: ['pull'], principals: ['team:acme/dev'] }] };

  test('gives its members no rights any more, and does not affect other teams', async () => {
    await pushImage(world, 'acme/api', 'v1');
    await api('PUT', '/repositories/acme/api/-/policy', { body: naming });
    const all = [{ actions: ['pull'], repositories: ['acme/*'] }];
    await makeTeam(world, 'acme', 'dev', [bob], all);
    await makeTeam(world, 'acme', 'dev-ops', [alice], all);
    expect(await pulls(bob)).toBe(true);
    expect((await api('DELETE', DEV, { as: alice.basic })).status).toBe(204);
    expect(await pulls(bob)).toBe(false);
    expect(refused(await api('GET', DEV, { as: bob.basic }))).toBe('404 NOT_FOUND');
    expect(refused(await api('GET', `${DEV}/members`, { as: bob.basic }))).toBe('404 NOT_FOUND');
    expect((await api('GET', `${TEAMS}/dev-ops/members`)).body.items).toEqual([{ user: 'alice' }]);
    expect((await api('GET', `${TEAMS}/dev-ops/policy`)).body.statements).toHaveLength(1);
  });

  test('cannot be recreated while repository policies name it, so its rights pass to nobody', async () => {
    await makeTeam(world, 'acme', 'dev', [bob], [{ actions: ['pull'], repositories: ['acme/*'] }]);
    await pushImage(world, 'acme/api', 'v1');
    await pushImage(world, 'acme/web', 'v1');
    for (const name of ['acme/api', 'acme/web']) await api('PUT', `/repositories/${name}/-/policy`, { body: naming });
    await api('DELETE', DEV);
    const refusals = async () => {
      const answer = await api('PUT', DEV, { as: alice.basic });
      expect(refused(answer)).toBe('409 CONFLICT');
      expect(answer.body.errors[0]).toMatchObject({
        message: expect.stringContaining('(acme/api, acme/web)'),
        detail: { repositories: ['acme/api', 'acme/web'] },
      });
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
    await api('PUT', '/repositories/acme/api/-/policy', { body: { statements: [] } });
    expect(refused(await api('PUT', DEV, { as: alice.basic }))).toBe('409 CONFLICT');
    await api('PUT', '/repositories/acme/web/-/policy', { body: { statements: [] } });
    expect((await api('PUT', DEV, { as: alice.basic })).status).toBe(201);
    expect((await api('GET', `${DEV}/members`)).body.items).toEqual([]);
    expect((await api('GET', `${DEV}/policy`)).body.statements).toEqual([]);
    await api('PUT', `${DEV}/members/bob`);
    expect(await pulls(bob)).toBe(false);
  });

  test('cannot be recreated either if it had no policy of its own', async () => {
    await makeTeam(world, 'acme', 'dev', [bob]);
    await pushImage(world, 'acme/api', 'v1');
    await api('PUT', '/repositories/acme/api/-/policy', { body: naming });
    await api('DELETE', DEV);
    expect(refused(await api('PUT', DEV, { as: alice.basic }))).toBe('409 CONFLICT');
  });

  test('may be named by repositories that its owners may not see, and these are not revealed', async () => {
    await makeTeam(world, 'acme', 'dev', [bob]);
    await pushImage(world, 'acme/api', 'v1');
    await pushImage(world, 'carol/secret', 'v1');
    for (const name of ['acme/api', 'carol/secret']) await api('PUT', `/repositories/${name}/-/policy`, { body: naming });
    await api('DELETE', DEV);
    const answer = await api('PUT', DEV, { as: alice.basic });
    expect(refused(answer)).toBe('409 CONFLICT');
    expect(JSON.stringify(answer.body)).not.toContain('secret');
    expect(answer.body.errors[0]?.message).toContain('acme/api, repositories that you may not see');
    expect((await api('PUT', DEV)).body.errors[0]?.detail).toEqual({ repositories: ['acme/api', 'carol/secret'] });
  });

  test('must have existed: naming an unknown team does not block its name', async () => {
    await api('PUT', '/repositories/carol/own', { as: carol.basic });
    expect((await api('PUT', '/repositories/carol/own/-/policy', { as: carol.basic, body: naming })).status).toBe(200);
    expect((await api('PUT', DEV, { as: alice.basic })).status).toBe(201);
  });

  test('leaves no version of its policy that an older request could match', async () => {
    await makeTeam(world, 'acme', 'dev', [], [{ actions: ['pull'], repositories: ['acme/*'] }]);
    const headers = { 'if-match': (await api('GET', `${DEV}/policy`)).headers.get('etag') ?? '' };
    await api('DELETE', DEV);
    await makeTeam(world, 'acme', 'dev');
    const answer = await api('PUT', `${DEV}/policy`, { body: { statements: [] }, headers });
    expect(refused(answer)).toBe('412 PRECONDITION_FAILED');
  });

  test('cannot get members from a concurrent request', async () => {
    await everyOrder(world, async (run) => {
      const team = `t${'x'.repeat(run)}`;
      await makeTeam(world, 'acme', team);
      return {
        outer: (at) => at.fetch('PUT', `/api/v1${TEAMS}/${team}/members/bob`, { authorization: alice.basic }),
        inner: (at) => at.fetch('DELETE', `/api/v1${TEAMS}/${team}`, { authorization: alice.basic }),
        check: async (_, deleted) => {
          expect(deleted.status).toBe(204);
          await makeTeam(world, 'acme', team);
          expect((await api('GET', `${TEAMS}/${team}/members`)).body.items).toEqual([]);
        },
      };
    });
  });
});
