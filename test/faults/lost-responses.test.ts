/** Lost and repeated answers: content exists for a client that was told so, and for a client that repeats a request. */
import { beforeEach, describe, expect, test } from 'vitest';
import { parseManifest } from '../../src/oci/manifest.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { parseTag } from '../../src/oci/reference.ts';
import { putManifest as putRow } from '../../src/registry/manifests/put.ts';
import { collect, scrub } from '../registry/gc/garbage.ts';
import { namesInTrash, purge, remove, restore, restored } from '../registry/trash/trash.ts';
import { faulty } from '../world/faults.ts';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  indexOf,
  LAYER_TYPE,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  textOf,
} from '../world/images.ts';
import { intercepted } from '../world/intercept.ts';
import { refused } from '../world/people.ts';
import { begin, finish, locationOf, patch, sized } from '../world/uploads.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const REPOSITORY = 'acme/api';
const DOCKER_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

async function put(reference: string, content: Content, type = IMAGE_TYPE): Promise<void> {
  const response = await putManifest(world, REPOSITORY, reference, textOf(content), type);
  expect(response.status, await response.text()).toBe(201);
}

const statusOf = async (path: string) => (await world.fetch('GET', `/v2/${REPOSITORY}/${path}`)).status;

describe('an upload that is finished again', () => {
  test.for(['was collected', 'was lost', 'was deleted by a client'])(
    'is answered 404 once its blob %s, so that a 201 always means the blob is usable',
    async (how) => {
      const impatient = worldOf({ ...world.env, GRACE_SECONDS: '0', LEASE_SECONDS: '1' });
      const blob = await contentOf(noise(50, 5));
      const patched = await patch(impatient, await begin(impatient, REPOSITORY), sized(blob.bytes));
      const location = locationOf(patched);
      expect((await finish(impatient, location, blob.digest)).status).toBe(201);
      expect((await finish(impatient, location, blob.digest)).status).toBe(201);
      if (how === 'was collected') {
        await world.env.DB.prepare('UPDATE repository_blobs SET leased_until = 0').run();
        await collect(impatient);
      } else if (how === 'was lost') {
        const { objects } = await world.env.BLOBS.list({ prefix: 'blobs/' });
        await world.env.BLOBS.delete(objects.map(({ key }) => key));
        expect(await statusOf(`blobs/${blob.digest}`)).toBe(404);
      } else {
        expect((await world.fetch('DELETE', `/v2/${REPOSITORY}/blobs/${blob.digest}`)).status).toBe(202);
      }
      const again = await finish(impatient, location, blob.digest);
      expect([again.status, await statusOf(`blobs/${blob.digest}`)]).toEqual([404, 404]);
    },
  );

  test('extends the lease that its answer implies (invariant 8)', async () => {
    const blob = await contentOf(noise(50, 5));
    const location = locationOf(await patch(world, await begin(world, REPOSITORY), sized(blob.bytes)));
    expect((await finish(world, location, blob.digest)).status).toBe(201);
    await world.env.DB.prepare('UPDATE repository_blobs SET leased_until = unixepoch() + 10').run();
    expect((await finish(world, location, blob.digest)).status).toBe(201);
    const lease = 'SELECT leased_until - unixepoch() AS left FROM repository_blobs';
    expect(await world.env.DB.prepare(lease).first<number>('left')).toBeGreaterThan(60 * 60);
  });
});

describe('restoring an index', () => {
  /** A manifest without a mediaType field, so that either content type is valid. */
  async function untyped(): Promise<Content> {
    const config = descriptorOf(await pushBlob(world, REPOSITORY, '{"a":1}'), CONFIG_TYPE);
    const layers = [descriptorOf(await pushBlob(world, REPOSITORY, noise(50, 3)), LAYER_TYPE)];
    return contentOf(JSON.stringify({ schemaVersion: 2, config, layers }));
  }

  test('is refused as a conflict, not as retryable, if its child was pushed again with another media type', async () => {
    const child = await untyped();
    await put(child.digest, child);
    const index = await indexOf([child]);
    await put('multi', index, INDEX_TYPE);
    await remove(world, REPOSITORY, index.digest, child.digest);
    await put('other', child, DOCKER_TYPE);
    expect(refused(await restore(world, REPOSITORY, index.digest))).toBe('409 CONFLICT');
  });

  test('is refused if its child was purged, even if a blob with the same bytes exists', async () => {
    const child = await pushImage(world, REPOSITORY, null, 1);
    await pushBlob(world, REPOSITORY, child.bytes);
    const index = await indexOf([child]);
    await put('multi', index, INDEX_TYPE);
    await remove(world, REPOSITORY, index.digest, child.digest);
    expect((await purge(world, REPOSITORY, child.digest)).status).toBe(202);
    expect(refused(await restore(world, REPOSITORY, index.digest))).toBe('409 CONFLICT');
    expect(await statusOf('manifests/multi')).toBe(404);
  });
});

describe('an image that is deleted, pushed again and deleted again', () => {
  test('keeps the tags of its first deletion in the trash: each is restored with the image or by itself', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    await remove(world, REPOSITORY, image.digest);
    await put(image.digest, image);
    await remove(world, REPOSITORY, image.digest);
    const { tags } = await restored(world, REPOSITORY, image.digest);
    expect([...tags, ...(await namesInTrash(world, REPOSITORY))]).toEqual([expect.stringMatching(/^(?:tag )?v1$/)]);
  });
});

test('a conditional put that repairs a lost document does not fail its own condition when its answer is lost', async () => {
  const image = await pushImage(world, REPOSITORY, null, 1, { annotations: { text: 'x'.repeat(200_000) } });
  const headers = { 'content-type': IMAGE_TYPE, 'if-none-match': '*' };
  const heal = async (at?: number) => {
    await world.env.DB.prepare("UPDATE manifests SET object_key = ''").run();
    const { env, calls } = at === undefined ? faulty(world.env) : faulty(world.env, 'fail-after', at);
    const path = `/v2/${REPOSITORY}/manifests/${image.digest}`;
    const { status } = await worldOf(env).fetch('PUT', path, { headers, body: image.bytes });
    return { status, calls };
  };
  const { status, calls } = await heal();
  expect(status).toBe(201);
  for (const [at, call] of calls.entries()) expect([201, 503], `${at}: ${call}`).toContain((await heal(at)).status);
});

describe('a put of a long document whose answers from the database are all lost', () => {
  /** Puts an image with a document in the bucket. No batch is executed before the put has failed. */
  async function putWithLostBatches() {
    const { digest, bytes } = await imageIn(world, REPOSITORY, 1, { annotations: { text: 'x'.repeat(200_000) } });
    const late: (() => Promise<unknown>)[] = [];
    const DB = intercepted(world.env.DB, (name, effect) => {
      if (name !== 'DB.batch') return effect();
      late.push(effect);
      throw new Error('D1_ERROR: Network connection lost.');
    });
    const push = {
      ...{ repository: parseRepositoryName(REPOSITORY), digest, manifest: parseManifest(bytes, IMAGE_TYPE) },
      ...{ size: bytes.length, tags: [parseTag('late')], by: { subject: 'user:somebody' } },
      ...{ mayCreate: true, condition: null, notToMake: [], notToMove: [] },
    };
    const after: Promise<unknown>[] = [];
    await expect(putRow({ ...world.env, DB }, push, { waitUntil: (work) => void after.push(work) })).rejects.toThrow('lost');
    await Promise.all(after);
    return { digest, late };
  }

  test('keeps the document, because the database may commit the batch afterwards', async () => {
    const { digest, late } = await putWithLostBatches();
    expect(late).toHaveLength(2);
    await late[0]?.();
    expect(await statusOf('manifests/late')).toBe(200);
    expect(await statusOf(`manifests/${digest}`)).toBe(200);
  });

  test('leaves no document behind if the database never commits it: the scrub deletes it', async () => {
    await putWithLostBatches();
    const documents = async () => (await world.env.BLOBS.list({ prefix: 'manifests/' })).objects.length;
    expect(await documents()).toBe(1);
    expect(await scrub(world, Date.now() + 2 * 24 * 60 * 60 * 1000)).toMatchObject({ orphans: 1 });
    expect(await documents()).toBe(0);
  });
});
