import { beforeEach, expect, test } from 'vitest';
import { ecr } from '../../world/aws.ts';
import { inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let world: World;
let alice: Person;
let bob: Person;

const build = builtOnce(async (made) => {
  alice = await inviteUser(made, 'alice');
  bob = await inviteUser(made, 'bob');
});

beforeEach(async () => {
  world = await build();
});

const by = ({ keyId, secret }: Person) => ({ id: keyId, secret });
const create = (repositoryName: string, as = alice) => ecr(world, by(as), 'CreateRepository', { repositoryName });

test('a repository is created, described and deleted', async () => {
  const created = await create('alice/app');
  const { registryId } = created.body.repository as { registryId: string };
  expect(registryId).toMatch(/^\d{12}$/);
  expect(created.body.repository).toEqual({
    repositoryArn: `arn:aws:ecr:eu-central-1:${registryId}:repository/alice/app`,
    registryId,
    repositoryName: 'alice/app',
    repositoryUri: 'registry.test/alice/app',
    createdAt: expect.any(Number),
    imageTagMutability: 'MUTABLE',
    imageScanningConfiguration: { scanOnPush: false },
    encryptionConfiguration: { encryptionType: 'AES256' },
  });
  const input = { repositoryNames: ['alice/app'], registryId };
  expect((await ecr(world, by(alice), 'DescribeRepositories', input)).body).toEqual({
    repositories: [created.body.repository],
  });
  expect((await ecr(world, by(alice), 'DeleteRepository', { repositoryName: 'alice/app' })).status).toBe(200);
  expect(await ecr(world, by(alice), 'DescribeRepositories', input)).toMatchObject({
    error: 'RepositoryNotFound',
    message: `The repository with name 'alice/app' does not exist in the registry with id '${registryId}'`,
  });
});

test('a repository that exists is not created again', async () => {
  await create('alice/app');
  const again = await create('alice/app');
  expect(again).toMatchObject({ status: 400, error: 'RepositoryAlreadyExists' });
  expect(again.message).toMatch(/^The repository with name 'alice\/app' already exists in the registry with id '\d{12}'$/);
});

test('somebody without the right to pull gets the answer for a repository that does not exist', async () => {
  await create('alice/app');
  for (const operation of ['DescribeRepositories', 'DeleteRepository']) {
    const input = (name: string) => (operation === 'DeleteRepository' ? { repositoryName: name } : { repositoryNames: [name] });
    const [hidden, absent] = [
      await ecr(world, by(bob), operation, input('alice/app')),
      await ecr(world, by(bob), operation, input('alice/nil')),
    ];
    expect(hidden.error).toBe('RepositoryNotFound');
    expect(absent.message).toBe(hidden.message.replace('alice/app', 'alice/nil'));
  }
});

test('a registry of another number has no repositories', async () => {
  await create('alice/app');
  const input = { repositoryName: 'alice/app', registryId: '000000000000' };
  expect((await ecr(world, by(alice), 'DeleteRepository', input)).error).toBe('RepositoryNotFound');
});

test('a member of the input that is wrong is named', async () => {
  expect(await create('Alice')).toMatchObject({
    error: 'InvalidParameter',
    message: expect.stringMatching(/^Invalid parameter at 'repositoryName' failed to satisfy constraint: '.*\[a-z0-9\]/),
  });
});

test('the password of an authorization token opens the registry for docker', async () => {
  const { body } = await ecr<{ authorizationData: { authorizationToken: string; expiresAt: number; proxyEndpoint: string }[] }>(
    world,
    by(alice),
    'GetAuthorizationToken',
  );
  const [data] = body.authorizationData;
  expect(data?.proxyEndpoint).toBe('https://registry.test');
  expect(data?.expiresAt).toBeGreaterThan(Date.now() / 1000 + 11 * 60 * 60);
  expect(data?.authorizationToken).not.toMatch(/[+/\s]/);
  expect(atob(data?.authorizationToken ?? '')).toMatch(/^AWS:[^:]+$/);
  const { status } = await world.fetch('GET', '/v2/', { authorization: `Basic ${data?.authorizationToken}` });
  expect(status).toBe(200);
});
