/** Operations on blobs and manifests check rights and input by themselves, whatever `http` has checked. */
import { beforeAll, expect, test } from 'vitest';
import {
  appendChunk,
  cancelUpload,
  checkBlob,
  deleteBlob,
  finishUpload,
  locationOf,
  mountBlob,
  offsetOf,
  openUpload,
  pullBlob,
  startUpload,
  uploadBlob,
} from '../../src/app/blobs.ts';
import type { ContentCall } from '../../src/app/content.ts';
import { checkManifest, deleteManifest, listReferrers, listTags, pullManifest, pushManifest } from '../../src/app/manifests.ts';
import type { RepositoryName } from '../../src/oci/name.ts';
import { parseReference, type Tag } from '../../src/oci/reference.ts';
import { contentCallAs, reasonOf } from '../world/call.ts';
import { type Content, contentOf, IMAGE_TYPE, noise, pushBlob, pushImage } from '../world/images.ts';
import { makeAcme, makeRobot } from '../world/organizations.ts';
import type { Person } from '../world/people.ts';
import { newWorld, type World } from '../world/world.ts';

const API = 'acme/api' as RepositoryName;
const OTHER = 'acme/other' as RepositoryName;
const LATEST = parseReference('latest');

let world: World;
let owner: Person;
let outsider: Person;
let puller: Person;
let pusher: Person;
let image: Content;
let blob: Content;

beforeAll(async () => {
  world = await newWorld();
  ({ owner, outsider } = await makeAcme(world));
  puller = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
  pusher = await makeRobot(world, 'acme', 'pusher', [
    { actions: ['pull', 'push'], repositories: [API] },
    { effect: 'deny', actions: ['push'], repositories: [API], tags: ['release'] },
  ]);
  image = await pushImage(world, API, 'latest');
  blob = await pushBlob(world, OTHER, noise(200, 9));
});

/** A chunk of an upload with these bytes. */
function chunkOf({ bytes }: Content) {
  return { body: { stream: new Blob([bytes]).stream(), length: bytes.byteLength }, range: null };
}

function push(call: ContentCall, tags: string[] = [], expected = image.digest) {
  const condition = null;
  return pushManifest(call, {
    repository: API,
    bytes: image.bytes,
    contentType: IMAGE_TYPE,
    expected,
    tags: tags as Tag[],
    condition,
  });
}

/** The reasons for which each of these callers is refused. */
async function reasons(callers: (Person | null)[], operations: ((call: ContentCall) => Promise<unknown>)[], grants?: string[]) {
  const found = new Set<string>();
  for (const who of callers) {
    for (const operation of operations) {
      found.add(await reasonOf(world, async () => operation(await contentCallAs(world, who, [API, OTHER], grants))));
    }
  }
  return [...found];
}

const READS = [
  (call: ContentCall) => pullManifest(call, API, LATEST, 0),
  (call: ContentCall) => checkManifest(call, API, LATEST),
  (call: ContentCall) => pullBlob(call, API, blob.digest),
  (call: ContentCall) => checkBlob(call, API, blob.digest),
  async (call: ContentCall) => listTags(call, API, { after: '', limit: 10 }),
  async (call: ContentCall) =>
    listReferrers(call, API, {
      subject: image.digest,
      artifactTypes: [],
      after: { artifactType: '', digest: '' },
      limit: 10,
    }),
];
const PUSHES = [
  (call: ContentCall) => push(call, ['new']),
  (call: ContentCall) => startUpload(call, API, 'sha256'),
  (call: ContentCall) => openUpload(call, API, 'no-location'),
];
const DELETIONS = [
  (call: ContentCall) => deleteManifest(call, API, LATEST, null),
  (call: ContentCall) => deleteBlob(call, API, blob.digest),
];

test('content is read only by callers who may pull', async () => {
  expect(await reasons([null, outsider], READS)).toEqual(['forbidden']);
});

test('content is pushed only by callers who may push', async () => {
  expect(await reasons([null], PUSHES)).toEqual(['unauthenticated']);
  expect(await reasons([outsider, puller], PUSHES)).toEqual(['forbidden']);
});

test('content is deleted only by callers who may delete', async () => {
  expect(await reasons([null], DELETIONS)).toEqual(['unauthenticated']);
  expect(await reasons([outsider, puller, pusher], DELETIONS)).toEqual(['forbidden']);
});

test('an access token allows no more than its scopes, whatever its owner may do', async () => {
  expect(await reasons([owner], [...READS, ...PUSHES, ...DELETIONS], [])).toEqual(['unauthenticated']);
  expect(await reasons([owner], [...PUSHES, ...DELETIONS], [`repository:${API}:pull`])).toEqual(['unauthenticated']);
  expect(await reasons([owner], DELETIONS, [`repository:${API}:pull,push`])).toEqual(['unauthenticated']);
});

test('a tag that the caller may not push, and a digest that the bytes do not have, are refused', async () => {
  expect(await reasons([pusher], [(call) => push(call, ['release'])])).toEqual(['forbidden']);
  const other = await contentOf('other');
  expect(await reasons([pusher], [(call) => push(call, [], other.digest)])).toEqual(['digest-mismatch']);
});

test('the location of an upload opens it for its own caller and repository only', async () => {
  const call = await contentCallAs(world, pusher, [API]);
  const location = await locationOf(call, await startUpload(call, API, 'sha256'), 0);
  expect(await reasons([owner], [(other) => openUpload(other, API, location)])).toEqual(['upload-unknown']);
  expect(await reasons([owner], [(other) => openUpload(other, OTHER, location)])).toEqual(['upload-unknown']);
  expect((await openUpload(call, API, location)).repository).toBe(API);
});

test('a blob is mounted only from a repository that the caller may pull', async () => {
  const call = await contentCallAs(world, pusher, [API, OTHER]);
  for (const from of [OTHER, undefined]) expect(await mountBlob(call, API, blob.digest, from)).toBe(false);
  expect(await reasons([puller], [(other) => pullBlob(other, API, blob.digest)])).toEqual(['blob-unknown']);
});

test('bytes that do not have the digest are not stored', async () => {
  const call = await contentCallAs(world, pusher, [API]);
  const upload = await startUpload(call, API, 'sha256');
  const refused = await reasonOf(world, () => uploadBlob(call, upload, image.digest, chunkOf(blob)));
  expect(refused).toBe('digest-mismatch');
});

test('an upload takes no chunk out of order and no digest that its bytes do not have, and ends once', async () => {
  const call = await contentCallAs(world, pusher, [API]);
  const upload = await startUpload(call, API, 'sha256');
  const outOfOrder = { ...chunkOf(blob), range: { offset: 5, length: blob.bytes.byteLength } };
  expect(await reasonOf(world, () => appendChunk(call, upload, outOfOrder))).toBe('chunk-out-of-order');
  const offset = await appendChunk(call, upload, chunkOf(blob));
  const half = { ...upload, offset };
  expect(await offsetOf(call, half)).toBe(blob.bytes.byteLength);
  const nothing = { body: { stream: null, length: 0 }, range: null };
  // The upload is closed, because its bytes can no longer become the blob that the client wants.
  await expect(finishUpload(call, half, image.digest, nothing)).rejects.toMatchObject({ reason: 'digest-mismatch' });
  for (const operation of [() => offsetOf(call, half), () => finishUpload(call, half, blob.digest, nothing)]) {
    expect(await reasonOf(world, operation)).toBe('upload-unknown');
  }
});

test('a cancelled upload cannot be continued', async () => {
  const call = await contentCallAs(world, pusher, [API]);
  const upload = await startUpload(call, API, 'sha256');
  const half = { ...upload, offset: await appendChunk(call, upload, chunkOf(blob)) };
  await cancelUpload(call, half);
  expect(await reasonOf(world, () => appendChunk(call, half, chunkOf(blob)))).toBe('upload-unknown');
});

test('a push does not create a repository that the caller may not create', async () => {
  const absent = 'acme/absent' as RepositoryName;
  expect(await reasonOf(world, async () => startUpload(await contentCallAs(world, puller, [absent]), absent, 'sha256'))).toBe(
    'forbidden',
  );
  const call = await contentCallAs(world, pusher, [API]);
  const upload = { ...(await startUpload(call, API, 'sha256')), repository: absent, mayCreate: false };
  expect(await reasonOf(world, () => uploadBlob(call, upload, blob.digest, chunkOf(blob)))).toBe('repository-unknown');
});
