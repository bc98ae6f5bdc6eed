import { beforeEach, describe, expect, test } from 'vitest';
import { ecr } from '../../world/aws.ts';
import { pushImage } from '../../world/images.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let world: World;
let alice: Person;
let bob: Person;
let carol: Person;
let registryId: string;

const build = builtOnce(async (made) => {
  [alice, bob, carol] = [await inviteUser(made, 'alice'), await inviteUser(made, 'bob'), await inviteUser(made, 'carol')];
  await pushImage(made, 'alice/app', 'v1');
  const { body } = await ecr(made, { id: alice.keyId, secret: alice.secret }, 'DescribeRegistry');
  registryId = body.registryId as string;
});

beforeEach(async () => {
  world = await build();
});

const repositoryName = 'alice/app';

function call<T = Record<string, unknown>>(operation: string, input: object = {}, who = alice) {
  return ecr<T>(world, { id: who.keyId, secret: who.secret }, operation, { repositoryName, ...input });
}

const arn = (resource: string) => `arn:aws:iam::${registryId}:${resource}`;
const PULL = ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'];

/** A policy with white space, which must come back as it is. */
function policyText(statement: object): string {
  return JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: PULL, ...statement }] }, null, 3);
}

const set = (statement: object, more: object = {}, who = alice) =>
  call('SetRepositoryPolicy', { policyText: policyText(statement), ...more }, who);

/** The status of a pull. */
async function pulls(who: Person, from?: string): Promise<number> {
  const headers = from === undefined ? {} : { 'cf-connecting-ip': from };
  return (await world.fetch('GET', '/v2/alice/app/manifests/v1', { authorization: who.basic, headers })).status;
}

test('a policy is saved, decides requests, is read as it was sent, and deleted', async () => {
  expect(await pulls(bob)).toBe(403);
  const saved = await set({ Principal: { AWS: arn('user/bob') } });
  expect(saved.body).toEqual({ registryId, repositoryName, policyText: policyText({ Principal: { AWS: arn('user/bob') } }) });
  expect([await pulls(bob), await pulls(carol)]).toEqual([200, 403]);
  expect((await call('GetRepositoryPolicy')).body).toEqual(saved.body);
  expect((await call('DeleteRepositoryPolicy')).body).toEqual(saved.body);
  expect(await pulls(bob)).toBe(403);
  const message = `Repository policy does not exist for the repository with name 'alice/app' in the registry with id '${registryId}'`;
  for (const operation of ['GetRepositoryPolicy', 'DeleteRepositoryPolicy'])
    expect(await call(operation)).toMatchObject({ status: 400, error: 'RepositoryPolicyNotFound', message });
});

test('it is the policy of the management API, in another notation', async () => {
  await set({ Principal: '*' });
  const path = '/repositories/alice%2Fapp/-/policy';
  const read = await api<{ statements: object[] }>(world, 'GET', path, { as: alice.bearer });
  expect(read.body.statements).toEqual([{ effect: 'allow', actions: ['pull'], principals: ['*'] }]);
  const statements = [
    { effect: 'deny', actions: ['pull', 'push', 'retag'], principals: ['user:bob'] },
    { effect: 'allow', actions: ['delete'], principals: ['*'], tags: ['pr-*'] },
  ];
  await api(world, 'PUT', path, { as: alice.bearer, body: { statements } });
  const { body } = await call<{ policyText: string }>('GetRepositoryPolicy');
  expect(JSON.parse(body.policyText).Statement).toMatchObject([
    { Effect: 'Deny', Principal: { AWS: [arn('user/bob')] } },
    { Action: ['ecr:BatchDeleteImage'], Condition: { StringLike: { 'berth:tag': ['pr-*'] } } },
  ]);
  await call('SetRepositoryPolicy', { policyText: body.policyText });
  expect((await api<{ statements: object[] }>(world, 'GET', path, { as: alice.bearer })).body.statements).toEqual(statements);
});

describe('conditions', () => {
  const office = { IpAddress: { 'aws:SourceIp': ['203.0.113.0/24', '2001:db8:1::/48'] } };

  test.each([
    ['203.0.113.9', 200],
    ['2001:db8:1:2::3', 200],
    ['198.51.100.9', 403],
  ])('a pull from %s answers %i', async (address, status) => {
    await set({ Principal: { AWS: arn('user/bob') }, Condition: office });
    expect(await pulls(bob, address)).toBe(status);
  });

  test('decide which repositories a list shows', async () => {
    await set({ Principal: { AWS: arn('user/bob') }, Condition: office });
    const listed = async (address: string) => {
      const headers = { 'cf-connecting-ip': address };
      const { body } = await api<{ items: { name: string }[] }>(world, 'GET', '/repositories', { as: bob.bearer, headers });
      return body.items.map(({ name }) => name);
    };
    expect([await listed('203.0.113.9'), await listed('198.51.100.9')]).toEqual([['alice/app'], []]);
  });

  test('with everybody as principal do not make a repository public', async () => {
    await set({ Principal: '*', Condition: office });
    const read = await api<{ visibility: string }>(world, 'GET', '/repositories/alice%2Fapp', { as: alice.bearer });
    expect(read.body.visibility).toBe('private');
    const { status } = await world.fetch('GET', '/v2/alice/app/manifests/v1', { authorization: null });
    expect(status).toBe(401);
    expect(await pulls(carol, '203.0.113.9')).toBe(200);
  });

  test('on the time and the name of the user are honoured', async () => {
    await set({ Principal: '*', Condition: { DateLessThan: { 'aws:CurrentTime': '2001-01-01T00:00:00Z' } } });
    expect(await pulls(bob)).toBe(403);
    await set({ Principal: '*', Condition: { StringLike: { 'aws:username': 'b*' } } });
    expect([await pulls(bob), await pulls(carol)]).toEqual([200, 403]);
  });
});

test('a denial with exceptions denies everybody else, in lists, too', async () => {
  const Statement = [
    { Effect: 'Allow', Principal: '*', Action: PULL },
    { Effect: 'Deny', NotPrincipal: { AWS: [arn('user/bob')] }, Action: PULL },
  ];
  await call('SetRepositoryPolicy', { policyText: JSON.stringify({ Statement }), force: true });
  expect([await pulls(bob), await pulls(carol)]).toEqual([200, 403]);
  const listed = async (who: Person) =>
    (await api<{ items: { name: string }[] }>(world, 'GET', '/repositories', { as: who.bearer })).body.items.length;
  expect([await listed(bob), await listed(carol)]).toEqual([1, 0]);
});

test('a user who administers by the policy alone does not lock themselves out without force', async () => {
  await set({ Principal: { AWS: arn('user/bob') }, Action: 'ecr:*' });
  const refused = await set({ Principal: { AWS: arn('user/bob') } }, {}, bob);
  expect(refused.error).toBe('InvalidParameter');
  expect(refused.message).toMatch(/force/);
  expect((await call('GetRepositoryPolicy', {}, bob)).status).toBe(200);
  expect((await set({ Principal: { AWS: arn('user/bob') } }, { force: true }, bob)).status).toBe(200);
  expect((await call('GetRepositoryPolicy', {}, bob)).error).toBe('AccessDenied');
});

test('a statement about root is kept, because owners may do everything, whichever actions it names', async () => {
  const root = { Principal: { AWS: arn('root') }, Action: ['ecr:DescribeImages'] };
  expect((await set(root)).status).toBe(200);
  expect((await call('GetRepositoryPolicy')).body).toMatchObject({ policyText: policyText(root) });
  expect((await set({ ...root, Action: 's3:GetObject' })).message).toMatch(/s3:GetObject/);
});

test('the management API accepts the notation, and the policy is read as it was sent', async () => {
  const policy = { Version: '2012-10-17', Statement: { Effect: 'Allow', Principal: { AWS: arn('user/bob') }, Action: PULL } };
  const put = (path: string, body: object, as = alice) => api(world, 'PUT', path, { as: as.bearer, body });
  const path = '/repositories/alice/app/-/policy';
  const preview = await put(`${path}?dryRun=true`, policy);
  expect(preview.body).toMatchObject({ changes: [{ principal: 'user:bob' }] });
  expect(await pulls(bob)).toBe(403);
  expect((await put(path, policy)).body).toMatchObject({ statements: [{ actions: ['pull'], principals: ['user:bob'] }] });
  expect(await pulls(bob)).toBe(200);
  expect((await call('GetRepositoryPolicy')).body).toMatchObject({ policyText: JSON.stringify(policy) });
  const refusals = [
    { ...policy, statements: [] },
    { ...policy, Statement: 1 },
    { Statement: { ...policy.Statement, Condition: { Bool: { 'aws:SecureTransport': 'true' } } } },
    { Statement: { ...policy.Statement, Sid: 'x'.repeat(10_240) } },
  ];
  for (const body of refusals) expect((await put(path, body)).status, JSON.stringify(body).slice(0, 99)).toBe(400);
  expect((await put(path, policy, bob)).status).toBe(403);
});

test('the management API accepts the notation for policies of users, teams and robots', async () => {
  await api(world, 'PUT', '/organizations/acme', { body: {} });
  await api(world, 'PUT', '/organizations/acme/teams/dev', { body: {} });
  await api(world, 'PUT', '/organizations/acme/robots/ci', { body: {} });
  const policyFor = (Resource: string) => ({ Statement: [{ Effect: 'Allow', Action: 'ecr:*', Resource }] });
  const repository = (name: string) => `arn:aws:ecr:eu-central-1:${registryId}:repository/${name}`;
  for (const path of ['/users/carol', '/organizations/acme/teams/dev', '/organizations/acme/robots/ci']) {
    const saved = await api(world, 'PUT', `${path}/policy`, { body: policyFor(repository('acme/*')) });
    expect(saved.body, path).toMatchObject({ statements: [{ repositories: ['acme/*'] }] });
  }
  const outside = await api(world, 'PUT', '/organizations/acme/teams/dev/policy', { body: policyFor(repository('alice/*')) });
  expect(outside.status).toBe(400);
});

test('a policy that is not understood is refused with its name, and nothing changes', async () => {
  const answer = await set({ Principal: '*', Condition: { StringEquals: { 'aws:PrincipalOrgID': 'o-1' } } });
  expect(answer.error).toBe('InvalidParameter');
  expect(answer.message).toMatch(/^Invalid parameter at 'PolicyText' failed to satisfy constraint: '.*aws:PrincipalOrgID/);
  expect((await call('GetRepositoryPolicy')).error).toBe('RepositoryPolicyNotFound');
});

test('somebody who may pull but not administer is refused with words, and a stranger as for an absent repository', async () => {
  await set({ Principal: { AWS: arn('user/bob') } });
  for (const operation of ['GetRepositoryPolicy', 'DeleteRepositoryPolicy']) {
    const refused = await call(operation, {}, bob);
    expect([refused.error, (await call(operation, {}, carol)).error], operation).toEqual([
      'AccessDenied',
      'RepositoryNotFound',
    ]);
    expect(refused.message).toMatch(`is not authorized to perform: ecr:${operation} on resource: `);
  }
  expect((await set({ Principal: '*' }, {}, bob)).error).toBe('AccessDenied');
});

test('a name that nobody has is allowed nothing when somebody takes it', async () => {
  await set({ Principal: { AWS: arn('user/dave') } });
  const dave = await inviteUser(world, 'dave');
  expect(await pulls(dave)).toBe(403);
});
