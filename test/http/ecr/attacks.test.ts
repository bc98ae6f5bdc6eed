/** What an attacker tries at the ECR API: replays, foreign names and tokens, narrowed and ended keys, and costly inputs. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Changes, ecr } from '../../world/aws.ts';
import { counting } from '../../world/counting.ts';
import { pushImage } from '../../world/images.ts';
import { makeOrganization, makeRobot } from '../../world/organizations.ts';
import { api, basicOf, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'alice/app';
const ABSENT = 'alice/nil';
const DIGEST = `sha256:${'0'.repeat(64)}`;

let world: World;
let alice: Person;
let bob: Person;
let registryId: string;
let layer: string;

const build = builtOnce(async (made) => {
  [alice, bob] = [await inviteUser(made, 'alice'), await inviteUser(made, 'bob')];
  await pushImage(made, REPOSITORY, 'v1');
  const by = { id: alice.keyId, secret: alice.secret };
  registryId = (await ecr<Output>(made, by, 'DescribeRegistry')).body.registryId;
  const image = { repositoryName: REPOSITORY, imageIds: [{ imageTag: 'v1' }] };
  const { images } = (await ecr<Output>(made, by, 'BatchGetImage', image)).body;
  layer = JSON.parse(images[0]?.imageManifest ?? '{}').layers[0].digest;
});

beforeEach(async () => {
  world = await build();
});

interface Output {
  registryId: string;
  images: { imageManifest: string }[];
  imageIds: object[];
  failures: { failureCode: string }[];
  repositories: { repositoryName: string }[];
  nextToken: string;
  uploadId: string;
  downloadUrl: string;
  authorizationData: { authorizationToken: string }[];
}

type Signer = Pick<Person, 'keyId' | 'secret'>;

const call = (operation: string, input: object | string = {}, as: Signer = alice, changes: Changes = {}) =>
  ecr<Output>(world, { id: as.keyId, secret: as.secret }, operation, input, changes);
const on = (repositoryName: string, input: object = {}) => ({ repositoryName, ...input });

/** A key of a user that may only pull one repository. */
async function narrowKey(as: Person): Promise<Signer> {
  const statements = [{ effect: 'allow', actions: ['pull'], repositories: [REPOSITORY] }];
  const { body } = await api<{ key: { id: string }; secret: string }>(world, 'POST', '/keys', {
    as: as.bearer,
    body: { name: 'narrow', statements },
  });
  return { keyId: body.key.id, secret: body.secret };
}

describe('a request that was recorded', () => {
  test('takes effect once, and a read repeats', async () => {
    const at = Date.now();
    const twice = async (operation: string, input: object) => [
      await call(operation, input, alice, { at }),
      await call(operation, input, alice, { at }),
    ];
    const [read, again] = await twice('DescribeRepositories', {});
    expect(again?.body).toEqual(read?.body);
    const [, created] = await twice('CreateRepository', on('alice/new'));
    expect(created?.error).toBe('RepositoryAlreadyExists');
    const [, deleted] = await twice('BatchDeleteImage', on(REPOSITORY, { imageIds: [{ imageTag: 'v1' }] }));
    expect(deleted?.body.failures[0]?.failureCode).toBe('ImageNotFound');
  });

  test('does nothing with another body, another header, twice the same header, or another address', async () => {
    const tampered: NonNullable<Changes['tamper']>[] = [
      (request) => (request.body = JSON.stringify(on(REPOSITORY))),
      ({ headers }) => (headers['x-amz-target'] += ', AmazonEC2ContainerRegistry_V20150921.DeleteRepository'),
      ({ headers }) => (headers['x-amz-date'] += `, ${headers['x-amz-date']}`),
      ({ headers }) => (headers.host = 'elsewhere.test'),
      (request) => (request.path = `/?X-Amz-Credential=${alice.keyId}`),
      (request) => (request.path = '/?X-Amz-Target=AmazonEC2ContainerRegistry_V20150921.DeleteRepository'),
      ({ headers }) => (headers.cookie = `berth=${alice.secret}`),
      ({ headers }) => (headers.authorization = `${alice.bearer}, ${headers.authorization}`),
    ];
    for (const [n, tamper] of tampered.entries())
      expect((await call('DeleteRepository', on(ABSENT, { force: true }), alice, { tamper })).status, `${n}`).toBe(400);
    expect((await call('DescribeRepositories', { repositoryNames: [REPOSITORY] })).status).toBe(200);
  });
});

describe('an input', () => {
  test.each(['alice%2Fapp', 'alice/../app', 'alice//app', 'alice/app\n', 'ALICE/app', '../alice/app', `a${'/a'.repeat(200)}`])(
    'with the name %j is invalid',
    async (name) => {
      expect((await call('ListImages', on(name))).error).toBe('InvalidParameter');
    },
  );

  test('with 100,000 items is refused before D1 is asked', async () => {
    const many = <T>(one: T) => Array.from({ length: 8000 }, () => one);
    const { env, counts } = counting(world.env);
    const counted = (operation: string, input: object | string) =>
      ecr(worldOf(env), { id: alice.keyId, secret: alice.secret }, operation, input);
    await counted('DescribeRegistry', {});
    counts.d1 = 0;
    const inputs: [string, object][] = [
      ['BatchGetImage', on(REPOSITORY, { imageIds: many({ imageTag: 'v1' }) })],
      ['BatchDeleteImage', on(REPOSITORY, { imageIds: many({ imageDigest: 'x' }) })],
      ['BatchCheckLayerAvailability', on(REPOSITORY, { layerDigests: many('x') })],
      ['DescribeRepositories', { repositoryNames: many('a/b') }],
      ['SetRepositoryPolicy', on(REPOSITORY, { policyText: 'x'.repeat(10_241) })],
    ];
    for (const [operation, input] of inputs)
      expect((await counted(operation, input)).error, operation).toBe('InvalidParameter');
    const long = on(REPOSITORY, { imageIds: Array.from({ length: 100_000 }, () => ({ imageTag: 'v1' })) });
    expect((await counted('BatchGetImage', long)).error).toBe('InvalidParameter');
    expect((await counted('BatchGetImage', `${'['.repeat(100_000)}`)).error).toBe('Serialization');
    // The helper that signs writes one row before each request.
    expect(counts.d1).toBeLessThanOrEqual(7);
  });

  test('with a long tag is refused or finds nothing', async () => {
    const failed = await call('BatchGetImage', on(REPOSITORY, { imageIds: [{ imageTag: 'a'.repeat(300) }] }));
    expect(failed.body.failures[0]?.failureCode).toBe('InvalidImageTag');
    expect((await call('BatchGetImage', on(REPOSITORY, { imageIds: [{ imageTag: 'a'.repeat(301) }] }))).status).toBe(400);
  });

  test('with the id of another registry has no repositories', async () => {
    for (const operation of ['ListImages', 'DeleteRepository', 'InitiateLayerUpload', 'GetRepositoryPolicy'])
      expect((await call(operation, on(REPOSITORY, { registryId: '000000000000' }))).error).toBe('RepositoryNotFound');
    const resourceArn = `arn:aws:ecr:eu-central-1:000000000000:repository/${REPOSITORY}`;
    expect((await call('ListTagsForResource', { resourceArn })).error).toBe('RepositoryNotFound');
  });
});

test('a stranger gets the answer, and causes the cost, that an absent repository has', async () => {
  const inputs: Record<string, object> = {
    ...{ ListImages: {}, DescribeImages: {}, GetRepositoryPolicy: {}, GetLifecyclePolicy: {}, InitiateLayerUpload: {} },
    BatchGetImage: { imageIds: [{ imageTag: 'v1' }] },
    BatchDeleteImage: { imageIds: [{ imageTag: 'v1' }] },
    BatchCheckLayerAvailability: { layerDigests: [DIGEST] },
    GetDownloadUrlForLayer: { layerDigest: DIGEST },
    ListImageReferrers: { subjectId: { imageDigest: DIGEST } },
    PutImageTagMutability: { imageTagMutability: 'MUTABLE' },
    SetRepositoryPolicy: { policyText: '{"Statement":[]}' },
  };
  const { env, counts } = counting(world.env);
  const asked = async (operation: string, name: string) => {
    counts.d1 = 0;
    const input = on(name, inputs[operation]);
    const { error, message } = await ecr(worldOf(env), { id: bob.keyId, secret: bob.secret }, operation, input);
    return { error, message: message.replaceAll(name, 'NAME'), d1: counts.d1 };
  };
  await asked('ListImages', ABSENT);
  for (const operation of Object.keys(inputs)) {
    const hidden = await asked(operation, REPOSITORY);
    expect(hidden, operation).toEqual(await asked(operation, ABSENT));
    expect(hidden.error, operation).toBe('RepositoryNotFound');
  }
});

describe('a token of a page', () => {
  test('of another caller shows nothing that the caller may not see', async () => {
    await call('CreateRepository', on('alice/second'));
    const { nextToken } = (await call('DescribeRepositories', { maxResults: 1 })).body;
    expect((await call('DescribeRepositories', { nextToken }, bob)).body.repositories).toEqual([]);
  });

  test('of another list, or made up, is refused or shows only what the caller may see', async () => {
    await pushImage(world, REPOSITORY, 'v2');
    const { nextToken } = (await call('ListImages', on(REPOSITORY, { maxResults: 1 }))).body;
    expect((await call('ListImages', on(REPOSITORY, { nextToken }), bob)).error).toBe('RepositoryNotFound');
    for (const token of ['x', `'--`, 'a'.repeat(5000)])
      for (const operation of ['ListImages', 'DescribeImages', 'ListImageReferrers', 'GetLifecyclePolicyPreview'])
        expect(
          (await call(operation, on(REPOSITORY, { nextToken: token, subjectId: { imageDigest: DIGEST } }))).status,
          `${operation} ${token.slice(0, 20)}`,
        ).toBe(400);
    const { repositories } = (await call('DescribeRepositories', { nextToken }, bob)).body;
    expect(repositories ?? []).toEqual([]);
  });
});

describe('a key', () => {
  test('that is narrowed is as narrow by the ECR API and by its login, which ends with the key', async () => {
    const key = await narrowKey(alice);
    expect((await call('ListImages', on(REPOSITORY), key)).status).toBe(200);
    for (const operation of ['InitiateLayerUpload', 'DeleteRepository', 'GetRepositoryPolicy'])
      expect((await call(operation, on(REPOSITORY), key)).error, operation).toBe('AccessDenied');
    expect((await call('CreateRepository', on('alice/other'), key)).status).toBe(400);
    expect((await call('DescribeRepositories', { repositoryNames: ['alice/other'] })).error).toBe('RepositoryNotFound');
    const { authorizationData } = (await call('GetAuthorizationToken', {}, key)).body;
    const password = atob(authorizationData[0]?.authorizationToken ?? '').replace('AWS:', '');
    const authorization = basicOf('AWS', password);
    const status = async (method: string, path: string) => (await world.fetch(method, path, { authorization })).status;
    expect(await status('GET', `/v2/${REPOSITORY}/manifests/v1`)).toBe(200);
    expect(await status('POST', `/v2/${REPOSITORY}/blobs/uploads/`)).toBe(403);
    await api(world, 'DELETE', `/keys/${key.keyId}`, { as: alice.bearer });
    expect(await status('GET', `/v2/${REPOSITORY}/manifests/v1`)).toBe(401);
    expect((await call('ListImages', on(REPOSITORY), key)).error).toBe('UnrecognizedClient');
  });

  test('of a robot may do what the robot may, and nothing with other repositories', async () => {
    await makeOrganization(world, 'acme', {});
    await pushImage(world, 'acme/api', 'v1');
    const robot = await makeRobot(world, 'acme', 'ci', [{ effect: 'allow', actions: ['pull'], repositories: ['acme/*'] }]);
    expect((await call('ListImages', on('acme/api'), robot)).status).toBe(200);
    expect((await call('DeleteRepository', on('acme/api'), robot)).error).toBe('AccessDenied');
    expect((await call('ListImages', on(REPOSITORY), robot)).error).toBe('RepositoryNotFound');
  });
});

test.each([
  ['nested deeply', () => `{"Statement":${'['.repeat(5000)}${']'.repeat(5000)}}`],
  ['nested in its members', () => `${'{"Statement":'.repeat(700)}1${'}'.repeat(700)}`],
  ['with a repeated member', () => '{"Statement":[],"Statement":[]}'],
  ['with more statements than are allowed', () => JSON.stringify({ Statement: Array(51).fill(pulling(['user/bob'])) })],
  ['with a foreign account', () => JSON.stringify({ Statement: pulling(['user/bob'], '000000000000') })],
  ['with a service', () => JSON.stringify({ Statement: { ...pulling([]), Principal: { Service: 'x' } } })],
  ['with many stars', () => JSON.stringify({ Statement: { ...pulling(['user/bob']), Action: `ecr:${'*a'.repeat(2000)}` } })],
])('a policy %s is refused, soon', async (_, text) => {
  const answer = await call('SetRepositoryPolicy', on(REPOSITORY, { policyText: text(), force: true }));
  expect(answer.error).toBe('InvalidParameter');
  expect(answer.message.length).toBeLessThan(10_240);
});

function pulling(names: string[], account = registryId) {
  const AWS = names.map((name) => `arn:aws:iam::${account}:${name}`);
  return { Effect: 'Allow', Action: ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'], Principal: { AWS } };
}

describe('an upload and a download', () => {
  test('of one user are of no use to another', async () => {
    const { uploadId } = (await call('InitiateLayerUpload', on(REPOSITORY))).body;
    const allow = { statements: [{ effect: 'allow', actions: ['pull', 'push'], principals: ['user:bob'] }] };
    await api(world, 'PUT', `/repositories/${REPOSITORY}/-/policy`, { as: alice.bearer, body: allow });
    const part = on(REPOSITORY, { uploadId, partFirstByte: 0, partLastByte: 2, layerPartBlob: 'YWJj' });
    expect((await call('UploadLayerPart', part, bob)).error).toBe('UploadNotFound');
    const end = on(REPOSITORY, { uploadId, layerDigests: [DIGEST] });
    expect((await call('CompleteLayerUpload', end, bob)).error).toBe('UploadNotFound');
    expect((await call('UploadLayerPart', part)).status).toBe(200);
  });

  test('by a URL reads one layer, and ends with the key', async () => {
    const { downloadUrl } = (await call('GetDownloadUrlForLayer', on(REPOSITORY, { layerDigest: layer }))).body;
    const path = downloadUrl.replace(/^https:\/\/[^/]+/, '');
    const status = async (method: string, to: string) => (await world.fetch(method, to, { authorization: null })).status;
    expect(await status('GET', path)).toBe(200);
    for (const method of ['DELETE', 'PUT', 'POST']) expect(await status(method, path)).toBeGreaterThanOrEqual(400);
    const changed = `${path.slice(0, -9)}${path.at(-9) === 'A' ? 'B' : 'A'}${path.slice(-8)}`;
    expect(await status('GET', changed)).toBe(403);
    await api(world, 'DELETE', `/keys/${alice.keyId}`);
    expect(await status('GET', path)).toBe(403);
  });
});
