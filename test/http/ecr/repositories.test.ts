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

test('the values of a setting are named in the order that programs match', async () => {
  const answer = await ecr(world, by(alice), 'CreateRepository', { repositoryName: 'alice/app', imageTagMutability: 'x' });
  const values = 'IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION';
  expect(answer.message).toMatch(`'Member must satisfy enum value set: [${values}]'`);
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

interface Described {
  repository: { repositoryArn: string; imageTagMutability: string; [member: string]: unknown };
}

test('a repository is created with labels, mutability and the scan flag, and shows them', async () => {
  const created = await ecr<Described>(world, by(alice), 'CreateRepository', {
    repositoryName: 'alice/app',
    tags: [{ Key: 'team', Value: 'shop' }],
    imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
    imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'latest*' }],
    imageScanningConfiguration: { scanOnPush: true },
    encryptionConfiguration: { encryptionType: 'AES256' },
  });
  expect(created.body.repository).toMatchObject({
    imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
    imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'latest*' }],
    imageScanningConfiguration: { scanOnPush: true },
  });
  const arn = { resourceArn: created.body.repository.repositoryArn };
  expect((await ecr(world, by(alice), 'ListTagsForResource', arn)).body).toEqual({ tags: [{ Key: 'team', Value: 'shop' }] });
  await ecr(world, by(alice), 'TagResource', {
    ...arn,
    tags: [
      { Key: 'stage', Value: '' },
      { Key: 'team', Value: 'web' },
    ],
  });
  await ecr(world, by(alice), 'UntagResource', { ...arn, tagKeys: ['stage', 'none'] });
  expect((await ecr(world, by(alice), 'ListTagsForResource', arn)).body).toEqual({ tags: [{ Key: 'team', Value: 'web' }] });
  const mutable = { repositoryName: 'alice/app', imageTagMutability: 'MUTABLE' };
  expect((await ecr(world, by(alice), 'PutImageTagMutability', mutable)).body).toMatchObject(mutable);
  const unscanned = { repositoryName: 'alice/app', imageScanningConfiguration: { scanOnPush: false } };
  expect((await ecr(world, by(alice), 'PutImageScanningConfiguration', unscanned)).body).toMatchObject(unscanned);
  const { body } = await ecr<{ repositories: unknown[] }>(world, by(alice), 'DescribeRepositories');
  expect(body.repositories).toEqual([
    expect.objectContaining({ imageTagMutability: 'MUTABLE', imageScanningConfiguration: { scanOnPush: false } }),
  ]);
});

test.each([
  ['51 labels', { tags: Array.from({ length: 51 }, (_, n) => ({ Key: `k${n}`, Value: '' })) }, 'TooManyTags'],
  [
    'a key twice',
    {
      tags: [
        { Key: 'a', Value: '1' },
        { Key: 'a', Value: '2' },
      ],
    },
    'InvalidTagParameter',
  ],
  ['a reserved key', { tags: [{ Key: 'aws:cloudformation', Value: '' }] }, 'InvalidTagParameter'],
  ['a key that is too long', { tags: [{ Key: 'k'.repeat(129), Value: '' }] }, 'InvalidTagParameter'],
  [
    'filters that belong to another value',
    { imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'a' }] },
    'InvalidParameter',
  ],
  ['a key of a KMS', { encryptionConfiguration: { encryptionType: 'KMS' } }, 'Kms'],
])('a repository is not created with %s', async (_, more, error) => {
  expect(await ecr(world, by(alice), 'CreateRepository', { repositoryName: 'alice/app', ...more })).toMatchObject({
    status: 400,
    error,
  });
  expect((await ecr(world, by(alice), 'DescribeRepositories')).body).toEqual({ repositories: [] });
});

test('somebody else changes neither labels nor settings, and does not learn that the repository exists', async () => {
  const { body } = await ecr<Described>(world, by(alice), 'CreateRepository', { repositoryName: 'alice/app' });
  const resourceArn = body.repository.repositoryArn;
  const calls: [string, object][] = [
    ['TagResource', { resourceArn, tags: [{ Key: 'a', Value: '' }] }],
    ['UntagResource', { resourceArn, tagKeys: ['a'] }],
    ['ListTagsForResource', { resourceArn }],
    ['PutImageTagMutability', { repositoryName: 'alice/app', imageTagMutability: 'IMMUTABLE' }],
    ['PutImageScanningConfiguration', { repositoryName: 'alice/app', imageScanningConfiguration: { scanOnPush: true } }],
  ];
  for (const [operation, input] of calls)
    expect((await ecr(world, by(bob), operation, input)).error, operation).toBe('RepositoryNotFound');
  const scanning = await ecr(world, by(bob), 'BatchGetRepositoryScanningConfiguration', { repositoryNames: ['alice/app'] });
  expect(scanning.body).toMatchObject({ scanningConfigurations: [], failures: [{ failureCode: 'REPOSITORY_NOT_FOUND' }] });
});

test('pages of repositories follow each other', async () => {
  for (const name of ['alice/a', 'alice/b', 'alice/c']) await create(name);
  const names: string[] = [];
  let nextToken: string | undefined;
  do {
    const { body } = await ecr<{ repositories: { repositoryName: string }[]; nextToken?: string }>(
      world,
      by(alice),
      'DescribeRepositories',
      { maxResults: 2, nextToken },
    );
    names.push(...body.repositories.map(({ repositoryName }) => repositoryName));
    nextToken = body.nextToken;
  } while (nextToken);
  expect(names).toEqual(['alice/a', 'alice/b', 'alice/c']);
});

test.each(['arn:aws:ecr:eu-central-1:123:repository/alice/app', 'alice/app', 'arn:aws:s3:::alice'])(
  'the ARN %s is refused',
  async (resourceArn) => {
    expect(await ecr(world, by(alice), 'ListTagsForResource', { resourceArn })).toMatchObject({
      error: 'InvalidParameter',
      message: "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'",
    });
  },
);
