/**
 * Names in policies of repositories. A name is bound to its account when the policy is saved, an unknown name causes a warning,
 * and the name of a member is removed with the member.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { pushImage } from '../../world/images.ts';
import { eventsDuring, makeOrganization, makeRobot, makeTeam } from '../../world/organizations.ts';
import { type ApiRequest, api as anyApi, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

interface Body {
  statements: { effect: string; principals: string[] }[];
  warnings?: string[];
  changes: { principal: string }[];
  removedGrants: { repositories: string[]; count: number };
  remainingGrants: { repositories: string[]; count: number };
}

const REPOSITORY = 'acme/api';
const POLICY = `/repositories/${REPOSITORY}/-/policy`;
const ACME = '/organizations/acme';

let world: World;
let alice: Person;
let bob: Person;

const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);
const allowing = (...principals: string[]) => ({ effect: 'allow', actions: ['pull'], principals });
const denying = (...principals: string[]) => ({ effect: 'deny', actions: ['pull'], principals });

async function save(statements: object[], { path = POLICY, as }: { path?: string; as?: Person } = {}): Promise<Body> {
  const answer = await api('PUT', path, { body: { statements }, ...(as ? { as: as.basic } : {}) });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body;
}

async function must(method: string, path: string, request?: ApiRequest) {
  const answer = await api(method, path, request);
  expect(answer.status, `${method} ${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
  return answer;
}

const pulls = async (person: Person, name = REPOSITORY) =>
  (await world.fetch('GET', `/v2/${name}/manifests/v1`, { authorization: person.basic })).status === 200;
const namesOf = async (path = POLICY) =>
  (await api('GET', path)).body.statements.map(({ effect, principals }) => `${effect} ${principals.join()}`);

const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  bob = await inviteUser(world, 'bob');
  await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
  for (const name of [REPOSITORY, 'acme/web']) await pushImage(world, name, 'v1', 1);
});

beforeEach(async () => {
  world = await build();
});

describe('a name that is unknown when a policy is saved', () => {
  const kinds: [name: string, make: () => Promise<Person>][] = [
    ['user:carol', () => inviteUser(world, 'carol')],
    ['robot:acme/ci', () => makeRobot(world, 'acme', 'ci')],
    [
      'team:acme/dev',
      async () => {
        await makeTeam(world, 'acme', 'dev', [bob]);
        return bob;
      },
    ],
    [
      'organization:bolt',
      async () => {
        await makeOrganization(world, 'bolt', { members: [bob] });
        return bob;
      },
    ],
  ];

  test.each(kinds)('gives nothing to whoever takes it later: %s', async (name, make) => {
    const saved = await save([allowing(name)]);
    expect(saved.statements).toMatchObject([{ principals: [name] }]);
    expect(saved.warnings).toEqual([expect.stringContaining(name)]);
    const person = await make();
    expect(await pulls(person)).toBe(false);
    expect((await api('GET', '/repositories', { as: person.basic })).body).toMatchObject({ items: [] });
    const read = await api('GET', POLICY);
    expect(read.body.statements).toMatchObject([{ principals: [name] }]);
    expect(read.body.warnings).toEqual([expect.stringContaining('save the policy again')]);
    expect((await save([allowing(name)])).warnings).toBeUndefined();
    expect(await pulls(person)).toBe(true);
  });

  test.each(kinds)('causes a warning in a dry run too: %s', async (name) => {
    const statements = [allowing(name), allowing('user:bob')];
    const { status, body } = await api('PUT', `${POLICY}?dryRun=true`, { body: { statements } });
    expect(status).toBe(200);
    expect(body.warnings).toEqual([expect.stringContaining(name)]);
  });

  test.each(kinds)('stays denied to whoever takes it: %s', async (name, make) => {
    await save([allowing('*'), denying(name)]);
    expect(await pulls(await make())).toBe(false);
  });

  test('stays unbound when the repository is made public and private again, or deleted and restored', async () => {
    await save([allowing('user:carol')]);
    for (const visibility of ['public', 'private'])
      await must('PATCH', `/repositories/${REPOSITORY}`, { body: { visibility } });
    await must('DELETE', `/repositories/${REPOSITORY}?force=true`);
    const entry = await world.env.DB.prepare("SELECT repository_id AS id FROM trash WHERE kind = 'repository'").first('id');
    const carol = await inviteUser(world, 'carol');
    await must('POST', `/trash/${entry}/restore`);
    expect(await namesOf()).toEqual(['allow user:carol']);
    expect(await pulls(carol)).toBe(false);
  });

  test('is recorded without the internal mark', async () => {
    const events = await eventsDuring(world, () => save([allowing('user:carol')]));
    expect(JSON.stringify(events)).not.toContain('?user');
  });

  test('of a deleted team or robot causes a warning, and existing names do not', async () => {
    await makeTeam(world, 'acme', 'dev');
    await makeRobot(world, 'acme', 'ci');
    expect(
      (await save([allowing('team:acme/dev', 'robot:acme/ci', 'user:bob', 'organization:acme', '*')])).warnings,
    ).toBeUndefined();
    const events = await eventsDuring(world, () => must('DELETE', `${ACME}/teams/dev`));
    expect(events).toMatchObject([{ type: 'team.deleted', target: { subject: 'team:acme/dev', grants: [REPOSITORY] } }]);
    expect((await api('GET', POLICY)).body.warnings).toEqual([expect.stringContaining('team:acme/dev does not exist')]);
  });

  test('looks like an existing one to callers who may not know either', async () => {
    const carol = await inviteUser(world, 'carol');
    await makeOrganization(world, 'bolt', { owners: [carol] });
    await makeRobot(world, 'bolt', 'ci');
    await makeTeam(world, 'bolt', 'dev', [carol]);
    await must('PUT', '/repositories/bob/own', { as: bob.basic });
    const path = '/repositories/bob/own/-/policy';
    for (const [there, absent] of [
      ['user:carol', 'user:nobody-here'],
      ['robot:bolt/ci', 'robot:bolt/none'],
      ['team:bolt/dev', 'team:none/dev'],
      ['organization:bolt', 'organization:none'],
    ] as const) {
      const [one] = (await save([allowing(there)], { path, as: bob })).warnings ?? [];
      const [other] = (await save([allowing(absent)], { path, as: bob })).warnings ?? [];
      expect(one?.replace(there, '…')).toBe(other?.replace(absent, '…'));
      const dry = async (name: string) => {
        const answer = await api('PUT', `${path}?dryRun=true`, { body: { statements: [allowing(name)] }, as: bob.basic });
        return JSON.stringify(answer.body).replaceAll(name, '…');
      };
      await save([], { path, as: bob });
      expect(await dry(there)).toBe(await dry(absent));
    }
    expect((await save([allowing('user:alice', 'organization:acme')], { path, as: bob })).warnings).toBeUndefined();
  });
});

describe('a user removed from an organization', () => {
  const ways: [how: string, take: () => Promise<{ status: number; body: Body }>][] = [
    ['removed by an owner', () => api('DELETE', `${ACME}/members/bob`, { as: alice.basic })],
    ['removed by an administrator', () => api('DELETE', `${ACME}/members/bob`)],
    ['left', () => api('DELETE', `${ACME}/members/bob`, { as: bob.basic })],
  ];

  test.each(ways)('loses what its repositories allowed to their name, and the caller is told: %s', async (_, take) => {
    await pushImage(world, 'acme2/api', 'v1', 1);
    await save([allowing('user:bob'), allowing('user:alice', 'user:bob'), allowing('organization:acme'), denying('user:bob')]);
    await save([{ effect: 'allow', actions: 'all actions', principals: ['user:bob'] }], {
      path: '/repositories/acme/web/-/policy',
    });
    await save([allowing('user:bob')], { path: '/repositories/acme2/api/-/policy' });
    let answer = { status: 0, body: {} as Body };
    const events = await eventsDuring(world, async () => {
      answer = await take();
    });
    expect(answer.status).toBe(200);
    expect(answer.body.removedGrants).toEqual({ repositories: ['acme/api', 'acme/web'], count: 2 });
    expect(events).toMatchObject([{ type: 'member.removed', target: { grants: ['acme/api', 'acme/web'] } }]);
    expect(await namesOf()).toEqual(['allow user:alice', 'allow organization:acme', 'deny user:bob']);
    expect(await namesOf('/repositories/acme/web/-/policy')).toEqual([]);
    expect(await namesOf('/repositories/acme2/api/-/policy')).toEqual(['allow user:bob']);
    expect(await pulls(bob, 'acme/web')).toBe(false);
    expect(await pulls(bob, 'acme2/api')).toBe(true);
    const { body } = await api('GET', '/repositories', { as: bob.basic });
    expect(body).toMatchObject({ items: [{ name: 'acme2/api' }] });
  });

  test('gets nothing in a repository that is restored later', async () => {
    await save([allowing('user:bob'), allowing('user:alice')]);
    await must('DELETE', `/repositories/${REPOSITORY}?force=true`);
    const entry = await world.env.DB.prepare("SELECT repository_id AS id FROM trash WHERE kind = 'repository'").first('id');
    await must('DELETE', `${ACME}/members/bob`);
    await must('POST', `/trash/${entry}/restore`);
    expect(await namesOf()).toEqual(['allow user:alice']);
    expect(await pulls(bob)).toBe(false);
  });

  test('loses it like a deleted robot, and others keep theirs', async () => {
    await makeRobot(world, 'acme', 'ci');
    const other = await makeRobot(world, 'acme', 'ci-2');
    await save([allowing('robot:acme/ci', 'robot:acme/ci-2')]);
    let answer = { status: 0, body: {} as Body };
    const events = await eventsDuring(world, async () => {
      answer = await api('DELETE', `${ACME}/robots/ci`, { as: alice.basic });
    });
    expect(events.at(-1)).toMatchObject({ type: 'robot.deleted', target: { grants: [REPOSITORY] } });
    expect(answer).toMatchObject({ status: 200, body: { removedGrants: { repositories: [REPOSITORY], count: 1 } } });
    expect(await namesOf()).toEqual(['allow robot:acme/ci-2']);
    expect(await pulls(other)).toBe(true);
    expect((await api('DELETE', `${ACME}/robots/ci-2`)).status).toBe(200);
    expect(await namesOf()).toEqual([]);
  });

  test('is removed completely or not at all: a policy saved meanwhile is refused or stripped', async () => {
    await save([allowing('user:bob')]);
    const etag = (await api('GET', POLICY)).headers.get('etag') ?? '';
    await must('DELETE', `${ACME}/members/bob`);
    const body = { statements: [allowing('user:bob')] };
    expect((await api('PUT', POLICY, { body, headers: { 'if-match': etag } })).status).toBe(412);
  });
});

test('a disabled user keeps what policies allow them, and the caller who disables them is told where', async () => {
  await save([allowing('user:bob')]);
  const answer = await api('PATCH', '/users/bob', { body: { disabled: true } });
  expect(answer.body.remainingGrants).toEqual({ repositories: [REPOSITORY], count: 1 });
  expect((await api('GET', POLICY)).body.warnings).toEqual(['user:bob is disabled']);
  await must('PATCH', '/users/bob', { body: { disabled: false } });
  expect(await pulls(bob)).toBe(true);
});
