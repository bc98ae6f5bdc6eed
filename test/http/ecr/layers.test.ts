import { beforeEach, expect, test } from 'vitest';
import { mintDownload } from '../../../src/auth/layers.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import { parseRepositoryName } from '../../../src/oci/name.ts';
import { type Changes, ecr, expectHidden } from '../../world/aws.ts';
import { counting } from '../../world/counting.ts';
import {
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  LAYER_TYPE,
  noise,
  pushBlob,
  putManifest,
} from '../../world/images.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, ORIGIN, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'alice/app';
const NO_DIGEST = `sha256:${'0'.repeat(64)}`;
const NO_UPLOAD = '00000000-0000-4000-8000-000000000000';
const PART = 5 * 1024 * 1024;

let world: World;
let alice: Person;
let bob: Person;
/** A layer of an image, and a blob that no image references. */
let layer: Content;
let loose: Content;

const build = builtOnce(async (made) => {
  alice = await inviteUser(made, 'alice');
  bob = await inviteUser(made, 'bob');
  layer = await pushBlob(made, REPOSITORY, noise(1000, 1));
  loose = await pushBlob(made, REPOSITORY, noise(1000, 2));
  const config = await pushBlob(made, REPOSITORY, '{}');
  const image = {
    ...{ schemaVersion: 2, mediaType: IMAGE_TYPE },
    config: descriptorOf(config, 'application/vnd.oci.image.config.v1+json'),
    layers: [descriptorOf(layer, LAYER_TYPE)],
  };
  expect((await putManifest(made, REPOSITORY, 'v1', image)).status).toBe(201);
});

beforeEach(async () => {
  world = await build();
});

interface Output {
  uploadId: string;
  partSize: number;
  layers: object[];
  failures: { failureCode: string }[];
  downloadUrl: string;
  lastByteReceived: number;
}

const by = ({ keyId, secret }: Person) => ({ id: keyId, secret });
const call = (operation: string, input: object = {}, as = alice, on = world) =>
  ecr<Output>(on, by(as), operation, { repositoryName: REPOSITORY, ...input });

function base64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 30_000) text += String.fromCharCode(...bytes.subarray(at, at + 30_000));
  return btoa(text);
}

const start = async (as = alice) => (await call('InitiateLayerUpload', {}, as)).body.uploadId;
const part = (uploadId: string, first: number, bytes: Uint8Array, as = alice) =>
  call(
    'UploadLayerPart',
    {
      ...{ uploadId, partFirstByte: first, partLastByte: first + bytes.length - 1 },
      layerPartBlob: base64(bytes),
    },
    as,
  );
const finish = (uploadId: string, digest: string, as = alice) =>
  call('CompleteLayerUpload', { uploadId, layerDigests: [digest] }, as);

test('a layer is uploaded in parts, and is there', { tags: 'slow' }, async () => {
  const content = await contentOf(noise(PART + 1000, 7));
  const begun = await call('InitiateLayerUpload');
  expect(begun.body).toEqual({
    uploadId: expect.stringMatching(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
    partSize: PART,
  });
  const { uploadId } = begun.body;
  expect((await part(uploadId, 0, content.bytes.subarray(0, PART))).body).toEqual({
    ...{ registryId: expect.any(String), repositoryName: REPOSITORY, uploadId, lastByteReceived: PART - 1 },
  });
  expect((await part(uploadId, PART, content.bytes.subarray(PART))).body.lastByteReceived).toBe(PART + 999);
  for (let n = 0; n < 2; n++) {
    expect((await finish(uploadId, content.digest)).body).toEqual({
      ...{ registryId: expect.any(String), repositoryName: REPOSITORY, uploadId, layerDigest: content.digest },
    });
  }
  const pulled = await world.fetch('GET', `/v2/${REPOSITORY}/blobs/${content.digest}`);
  expect((await contentOf(new Uint8Array(await pulled.arrayBuffer()))).digest).toBe(content.digest);
});

test('a short layer is one part, and takes few calls to the database', async () => {
  const content = await contentOf(noise(500, 7));
  const { env, counts } = counting(world.env);
  const input = { partFirstByte: 0, partLastByte: 499, layerPartBlob: base64(content.bytes) };
  await call('InitiateLayerUpload', {}, alice, worldOf(env));
  counts.d1 = 0;
  const { uploadId } = (await call('InitiateLayerUpload', {}, alice, worldOf(env))).body;
  const cost = async (work: Promise<{ status: number }>) => {
    counts.d1 = 0;
    expect((await work).status).toBe(200);
    return counts.d1;
  };
  // The key is looked up before the body is read, and again with the rights. One of the calls is that of the test.
  expect(await cost(call('UploadLayerPart', { uploadId, ...input }, alice, worldOf(env)))).toBeLessThanOrEqual(5);
  const done = call('CompleteLayerUpload', { uploadId, layerDigests: [content.digest] }, alice, worldOf(env));
  expect(await cost(done)).toBeLessThanOrEqual(5);
});

test('a part must continue the bytes before it, and the answer says which is the last of them', async () => {
  const uploadId = await start();
  expect((await part(uploadId, 10, noise(10))).error).toBe('UploadNotFound');
  await part(uploadId, 0, noise(10));
  expect((await part(uploadId, 0, noise(10))).status).toBe(200);
  expect(await part(uploadId, 20, noise(10))).toMatchObject({
    error: 'InvalidLayerPart',
    body: { registryId: expect.any(String), repositoryName: REPOSITORY, uploadId, lastValidByteReceived: 9 },
  });
  const wrong = { uploadId, partFirstByte: 10, partLastByte: 99, layerPartBlob: 'aGk=' };
  expect(await call('UploadLayerPart', wrong)).toMatchObject({ error: 'InvalidLayerPart', body: { lastValidByteReceived: 9 } });
});

test('parts before the last one must have 5 MiB', async () => {
  const content = await contentOf(noise(20, 7));
  const uploadId = await start();
  await part(uploadId, 0, content.bytes.subarray(0, 10));
  await part(uploadId, 10, content.bytes.subarray(10));
  expect((await finish(uploadId, content.digest)).error).toBe('LayerPartTooSmall');
});

test('an upload without bytes, with the wrong digest, or of a layer that is there is refused', async () => {
  expect((await finish(await start(), NO_DIGEST)).error).toBe('EmptyUpload');
  const uploadId = await start();
  await part(uploadId, 0, noise(10));
  expect((await call('CompleteLayerUpload', { uploadId, layerDigests: [NO_DIGEST, layer.digest] })).error).toBe(
    'InvalidParameter',
  );
  expect((await finish(uploadId, NO_DIGEST)).error).toBe('InvalidLayer');
  const again = await start();
  await part(again, 0, layer.bytes);
  expect(await finish(again, layer.digest)).toMatchObject({
    error: 'LayerAlreadyExists',
    message: 'the repository has this layer already',
  });
});

test('only the caller who started an upload continues it, in its repository', async () => {
  const uploadId = await start();
  expect((await part(uploadId, 0, noise(10))).status).toBe(200);
  const policy = { statements: [{ effect: 'allow', principals: ['user:bob'], actions: ['pull', 'push'] }] };
  await api(world, 'PUT', `/repositories/${REPOSITORY}/-/policy`, { body: policy });
  expect((await part(await start(bob), 0, noise(10), bob)).status).toBe(200);
  expect((await part(uploadId, 10, noise(10), bob)).error).toBe('UploadNotFound');
  expect((await finish(uploadId, NO_DIGEST, bob)).error).toBe('UploadNotFound');
  expect((await part(NO_UPLOAD, 0, noise(10))).error).toBe('UploadNotFound');
  await pushBlob(world, 'alice/other', noise(10));
  expect(
    (await call('CompleteLayerUpload', { repositoryName: 'alice/other', uploadId, layerDigests: [NO_DIGEST] })).error,
  ).toBe('UploadNotFound');
});

test('layers are available or not, and what is no digest is a failure', async () => {
  const layerDigests = [layer.digest, NO_DIGEST, 'nonsense', '', 'md5:abcd', layer.digest];
  const { body } = await call('BatchCheckLayerAvailability', { layerDigests });
  expect(body.layers).toEqual([
    { layerDigest: layer.digest, layerAvailability: 'AVAILABLE', layerSize: 1000 },
    { layerDigest: NO_DIGEST, layerAvailability: 'UNAVAILABLE' },
    { layerDigest: 'md5:abcd', layerAvailability: 'UNAVAILABLE' },
  ]);
  expect(body.failures.map(({ failureCode }) => failureCode)).toEqual(['InvalidLayerDigest', 'MissingLayerDigest']);
  expect((await call('BatchCheckLayerAvailability', { repositoryName: 'alice/nil', layerDigests })).error).toBe(
    'RepositoryNotFound',
  );
});

/** Requests a download URL without any other credential. */
async function get(url: string, { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {}) {
  expect(url.startsWith(`${ORIGIN}/layers/`)).toBe(true);
  return world.fetch(method, url.slice(ORIGIN.length), { headers, authorization: null });
}

const urlOf = async (digest = layer.digest as string) =>
  (await call('GetDownloadUrlForLayer', { layerDigest: digest })).body.downloadUrl;

test('a layer of an image is downloaded by a URL, whole and in ranges', async () => {
  const url = await urlOf();
  const whole = await get(url);
  expect([whole.status, whole.headers.get('docker-content-digest')]).toEqual([200, layer.digest]);
  expect(whole.headers.get('content-disposition')).toBe('attachment');
  expect(whole.headers.get('content-security-policy')).toContain('sandbox');
  expect(new Uint8Array(await whole.arrayBuffer())).toEqual(layer.bytes);
  const head = await get(url, { method: 'HEAD' });
  expect([head.status, head.headers.get('content-length')]).toEqual([200, '1000']);
  const some = await get(url, { headers: { range: 'bytes=10-19' } });
  expect([some.status, new Uint8Array(await some.arrayBuffer())]).toEqual([206, layer.bytes.slice(10, 20)]);
  expect((await get(url, { method: 'DELETE' })).status).toBe(405);
});

test('there is no URL for what no image references, and none for what does not exist', async () => {
  expect((await call('GetDownloadUrlForLayer', { layerDigest: loose.digest })).error).toBe('LayerInaccessible');
  expect((await call('GetDownloadUrlForLayer', { layerDigest: NO_DIGEST })).error).toBe('LayersNotFound');
  expect((await call('GetDownloadUrlForLayer', { layerDigest: 'md5:ab' })).error).toBe('LayersNotFound');
});

test('a URL is for one layer, and its token opens nothing else', async () => {
  const url = await urlOf();
  expect(url.startsWith(`${ORIGIN}/layers/${layer.digest}?token=`)).toBe(true);
  const token = new URL(url).searchParams.get('token') ?? '';
  for (const authorization of [`Bearer ${token}`, `Basic ${btoa(`AWS:${token}`)}`]) {
    expect((await world.fetch('GET', `/v2/${REPOSITORY}/blobs/${layer.digest}`, { authorization })).status).toBe(401);
    expect((await world.fetch('GET', '/api/v1/me', { authorization })).status).toBe(401);
  }
  const [head, , signature] = token.split('.');
  const forged = btoa(JSON.stringify({ sub: 'user:alice', digest: loose.digest })).replaceAll('=', '');
  const bad = [
    `${layer.digest}?token=x`,
    `${layer.digest}?token=${head}.${forged}.${signature}`,
    `${layer.digest}`,
    `${loose.digest}?token=${token}`,
  ];
  for (const path of bad) expect((await get(`${ORIGIN}/layers/${path}`)).status).toBe(403);
});

test('a URL lasts 15 minutes, and no longer than the key and the right to pull', async () => {
  const holder = { subject: 'user:alice', credentialOrigin: { epoch: 0, key: alice.keyId }, until: null };
  const download = { repository: parseRepositoryName(REPOSITORY), digest: parseDigest(layer.digest) };
  const minutes = async (ago: number) => {
    const context = { service: new URL(ORIGIN).host, now: Date.now() - ago * 60_000 };
    const token = await mintDownload(world.env, holder, download, context);
    return (await get(`${ORIGIN}/layers/${layer.digest}?token=${token}`)).status;
  };
  expect([await minutes(14), await minutes(16)]).toEqual([200, 403]);
  await api(world, 'PATCH', `/repositories/${REPOSITORY}`, { body: { visibility: 'public' } });
  const { downloadUrl } = (await call('GetDownloadUrlForLayer', { layerDigest: layer.digest }, bob)).body;
  expect((await get(downloadUrl)).status).toBe(200);
  await api(world, 'PATCH', `/repositories/${REPOSITORY}`, { body: { visibility: 'private' } });
  expect((await get(downloadUrl)).status).toBe(403);
  const url = await urlOf();
  await api(world, 'DELETE', `/keys/${alice.keyId}`);
  expect((await get(url)).status).toBe(403);
});

test('the body of a part may have its members in any order, and escaped characters', async () => {
  const content = await contentOf(noise(300, 7));
  const uploadId = await start();
  const blob = base64(content.bytes).replaceAll('/', '\\/').replaceAll('=', '\\u003d');
  const body = `{"layerPartBlob": "${blob}", "partLastByte": 299, "partFirstByte": 0, "uploadId": "${uploadId}", "repositoryName": "${REPOSITORY}"}`;
  expect((await ecr(world, by(alice), 'UploadLayerPart', body)).status).toBe(200);
  expect((await finish(uploadId, content.digest)).status).toBe(200);
  const wrong = body.replace(blob, '!');
  expect((await ecr(world, by(alice), 'UploadLayerPart', wrong)).error).toBe('Serialization');
  const escaped = body.replace('layerPartBlob', 'layerPartBlo\\u0062');
  expect((await ecr(world, by(alice), 'UploadLayerPart', escaped)).error).toBe('InvalidParameter');
});

test.each([
  ['without a signature', {}, 'MissingAuthenticationToken'],
  ['with an unknown key', { id: 'BRTHAAAAAAAAAAAAAAAA' }, 'UnrecognizedClient'],
])('a part %s is refused before its body is read', async (_, signer, error) => {
  const body = new ReadableStream({ pull: () => Promise.reject(new Error('the body was read')) });
  const tamper: Changes['tamper'] = (request) => {
    request.body = body as unknown as string;
    if (error === 'MissingAuthenticationToken') delete request.headers.authorization;
  };
  expect(await ecr(world, { ...by(alice), ...signer }, 'UploadLayerPart', '{}', { tamper })).toMatchObject({
    status: 400,
    error,
  });
});

/** An input of each operation on layers. */
const INPUTS: Record<string, object> = {
  BatchCheckLayerAvailability: { layerDigests: [NO_DIGEST] },
  InitiateLayerUpload: {},
  UploadLayerPart: { uploadId: NO_UPLOAD, partFirstByte: 0, partLastByte: 1, layerPartBlob: 'aGk=' },
  CompleteLayerUpload: { uploadId: NO_UPLOAD, layerDigests: [NO_DIGEST] },
  GetDownloadUrlForLayer: { layerDigest: NO_DIGEST },
};

test('for somebody without the right to pull, every operation says that the repository does not exist', () =>
  expectHidden(world, (operation, input, on) => call(operation, input, bob, on), INPUTS, {
    hidden: REPOSITORY,
    absent: 'alice/nil',
  }));

test('a narrowed key does what it may, and its URLs allow no more', async () => {
  const statements = [{ effect: 'allow', actions: ['pull'], repositories: [REPOSITORY] }];
  const { body } = await api<{ key: { id: string }; secret: string }>(world, 'POST', '/keys', {
    as: alice.bearer,
    body: { name: 'narrow', statements },
  });
  const as = (operation: string, input: object) =>
    ecr<Output>(world, { id: body.key.id, secret: body.secret }, operation, { repositoryName: REPOSITORY, ...input });
  expect((await as('InitiateLayerUpload', {})).error).toBe('AccessDenied');
  expect((await as('ListImages', { repositoryName: 'alice/other' })).error).toBe('RepositoryNotFound');
  const { downloadUrl } = (await as('GetDownloadUrlForLayer', { layerDigest: layer.digest })).body;
  expect((await get(downloadUrl)).status).toBe(200);
  await api(world, 'DELETE', `/keys/${body.key.id}`, { as: alice.bearer });
  expect((await get(downloadUrl)).status).toBe(403);
});

test('somebody who may only pull uploads nothing', async () => {
  await api(world, 'PATCH', `/repositories/${REPOSITORY}`, { body: { visibility: 'public' } });
  for (const operation of ['InitiateLayerUpload', 'UploadLayerPart', 'CompleteLayerUpload'])
    expect((await call(operation, INPUTS[operation], bob)).error, operation).toBe('AccessDenied');
  expect((await call('BatchCheckLayerAvailability', INPUTS.BatchCheckLayerAvailability, bob)).status).toBe(200);
});
