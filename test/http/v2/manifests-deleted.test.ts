/** Deletions of manifests and tags: content that is deleted with them, content that stays, and deletions that are refused. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import {
  CONFIG_TYPE,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  indexOf,
  pushBlob,
  pushImage,
  putManifest,
  refusal,
  textOf,
} from '../../world/images.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { digestAt, eventsOf, tagsOf } from '../../world/reading.ts';
import { newWorld, type World } from '../../world/world.ts';

let world: World;

beforeAll(async () => {
  world = await newWorld();
});

const remove = (repository: string, reference: string) => world.fetch('DELETE', `/v2/${repository}/manifests/${reference}`);
const events = async (repository: string) =>
  (await eventsOf(world, repository)).map(({ type, target }) => `${type} ${target.tag ?? ''}`.trim());

function blobsOf(manifest: string): string[] {
  const { config, layers } = JSON.parse(manifest) as { config: { digest: string }; layers: { digest: string }[] };
  return [config, ...layers].map(({ digest }) => digest);
}

describe('deleting a tag', () => {
  test('removes that tag only: the manifest stays by digest and under its other tags', async () => {
    const { digest } = await pushImage(world, 'acme/tag', 'v1', 1);
    await pushImage(world, 'acme/tag', 'v2', 1);
    expect((await remove('acme/tag', 'v1')).status).toBe(202);
    expect(await digestAt(world, 'acme/tag', 'v1')).toBe(404);
    expect(await digestAt(world, 'acme/tag', 'v2')).toBe(digest);
    expect(await digestAt(world, 'acme/tag', digest)).toBe(digest);
    expect((await eventsOf(world, 'acme/tag')).at(-1)).toEqual({
      type: 'tag.deleted',
      target: { tag: 'v1', digest, cause: 'deletion' },
    });
  });

  test('that does not exist is a 404, as is a second time or an unknown repository, and is not recorded', async () => {
    await pushImage(world, 'acme/none', 'v1', 1);
    expect(await refusal(await remove('acme/none', 'v2'))).toBe('404 MANIFEST_UNKNOWN');
    expect((await remove('acme/none', 'v1')).status).toBe(202);
    expect(await refusal(await remove('acme/none', 'v1'))).toBe('404 MANIFEST_UNKNOWN');
    expect(await refusal(await remove('acme/nowhere', 'v1'))).toBe('404 MANIFEST_UNKNOWN');
    expect(await events('acme/none')).toEqual(['repository.created', 'tag.created v1', 'tag.deleted v1']);
    expect(await events('acme/nowhere')).toEqual([]);
  });

  test('called latest is like deleting any other tag', async () => {
    const { digest } = await pushImage(world, 'acme/latest', 'latest', 1);
    expect((await remove('acme/latest', 'latest')).status).toBe(202);
    expect(await digestAt(world, 'acme/latest', 'latest')).toBe(404);
    expect(await digestAt(world, 'acme/latest', digest)).toBe(digest);
  });
});

describe('deleting a digest', () => {
  test('removes the manifest with all its tags, and keeps its blobs and other manifests', async () => {
    const { digest, bytes } = await pushImage(world, 'acme/digest', 'v1', 1);
    await pushImage(world, 'acme/digest', 'v2', 1);
    const other = await pushImage(world, 'acme/digest', 'v3', 2);
    expect((await remove('acme/digest', digest)).status).toBe(202);
    expect(await tagsOf(world, 'acme/digest')).toEqual(['v3']);
    for (const reference of ['v1', 'v2', digest]) expect(await digestAt(world, 'acme/digest', reference)).toBe(404);
    expect(await digestAt(world, 'acme/digest', 'v3')).toBe(other.digest);
    for (const blob of blobsOf(new TextDecoder().decode(bytes))) {
      expect((await world.fetch('HEAD', `/v2/acme/digest/blobs/${blob}`)).status).toBe(200);
    }
    expect((await events('acme/digest')).slice(-3)).toEqual(['tag.deleted v1', 'tag.deleted v2', 'manifest.deleted']);
  });

  test('that does not exist is a 404, as is a second time or an unknown repository', async () => {
    const { digest } = await pushImage(world, 'acme/gone', null, 1);
    expect((await remove('acme/gone', digest)).status).toBe(202);
    expect(await refusal(await remove('acme/gone', digest))).toBe('404 MANIFEST_UNKNOWN');
    expect(await refusal(await remove('acme/nowhere', digest))).toBe('404 MANIFEST_UNKNOWN');
    expect(await events('acme/gone')).toEqual(['repository.created', 'manifest.pushed', 'manifest.deleted']);
  });

  test('allows pushing it again, with another media type too', async () => {
    const config = descriptorOf(await pushBlob(world, 'acme/again', '{}'), CONFIG_TYPE);
    const image = await contentOf(JSON.stringify({ schemaVersion: 2, config, layers: [] }));
    expect((await putManifest(world, 'acme/again', 'v1', textOf(image))).status).toBe(201);
    expect((await remove('acme/again', image.digest)).status).toBe(202);
    const docker = 'application/vnd.docker.distribution.manifest.v2+json';
    expect((await putManifest(world, 'acme/again', 'v1', textOf(image), docker)).status).toBe(201);
    expect((await world.fetch('HEAD', '/v2/acme/again/manifests/v1')).headers.get('content-type')).toBe(docker);
  });

  test('of a large manifest keeps its object in the trash, and a new push writes a new object', { tags: 'slow' }, async () => {
    const large = { annotations: { text: 'x'.repeat(200_000) } };
    const { digest, bytes } = await pushImage(world, 'acme/large', 'v1', 1, large);
    expect((await remove('acme/large', digest)).status).toBe(202);
    const { objects } = await world.env.BLOBS.list({ prefix: 'manifests/' });
    const { results } = await world.env.DB.prepare('SELECT object_key FROM trashed_manifests WHERE digest = ?')
      .bind(digest)
      .all();
    expect(results).toEqual(objects.map(({ key }) => ({ object_key: key })));
    await pushImage(world, 'acme/large', 'v1', 1, large);
    for (const { key } of objects) await world.env.BLOBS.delete(key);
    const response = await world.fetch('GET', '/v2/acme/large/manifests/v1');
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes);
  });

  test('of a large manifest that is in the trash already keeps the newer object and drops the older', async () => {
    const large = { annotations: { text: 'x'.repeat(200_000) } };
    const { digest } = await pushImage(world, 'acme/larger', 'v1', 1, large);
    const trashed = world.env.DB.prepare(
      `SELECT object_key FROM trashed_manifests WHERE digest = ?
       AND repository_id = (SELECT id FROM repositories WHERE name = 'acme/larger')`,
    ).bind(digest);
    const key = async () => (await trashed.first<string>('object_key')) ?? '';
    await remove('acme/larger', digest);
    const older = await key();
    await pushImage(world, 'acme/larger', 'v1', 1, large);
    expect((await remove('acme/larger', digest)).status).toBe(202);
    expect(await key()).not.toBe(older);
    const { results } = await world.env.DB.prepare('SELECT object_key FROM tombstones').all();
    expect(results).toEqual([{ object_key: older }]);
    expect(await world.env.BLOBS.head(await key())).not.toBeNull();
  });

  test('of a subject keeps its referrers, and of a referrer keeps the subject', async () => {
    const subject = await pushImage(world, 'acme/subject', 'v1', 1);
    const more = { subject: descriptorOf(subject, IMAGE_TYPE) };
    const [one, two] = [
      await pushImage(world, 'acme/subject', null, 2, more),
      await pushImage(world, 'acme/subject', null, 3, more),
    ];
    expect((await remove('acme/subject', one.digest)).status).toBe(202);
    expect(await digestAt(world, 'acme/subject', 'v1')).toBe(subject.digest);
    expect((await remove('acme/subject', subject.digest)).status).toBe(202);
    const list = (await (await world.fetch('GET', `/v2/acme/subject/referrers/${subject.digest}`)).json()) as {
      manifests: { digest: string }[];
    };
    expect(list.manifests.map(({ digest }) => digest)).toEqual([two.digest]);
  });
});

describe('referenced content cannot be deleted (405 UNSUPPORTED)', () => {
  test('a child of an index, by digest; its tag can, and the child can once the index is deleted', async () => {
    const child = await pushImage(world, 'acme/index', 'child', 1);
    const index = await indexOf([child, await pushImage(world, 'acme/index', null, 2)]);
    expect((await putManifest(world, 'acme/index', 'multi', textOf(index), INDEX_TYPE)).status).toBe(201);
    const response = await remove('acme/index', child.digest);
    expect(response.headers.get('allow')).toBe('GET, HEAD');
    const { errors } = (await response.clone().json()) as { errors: { detail: unknown }[] };
    expect(errors[0]?.detail).toEqual({ digest: child.digest, referencedBy: [index.digest] });
    expect(await refusal(response)).toBe('405 UNSUPPORTED');
    expect(await tagsOf(world, 'acme/index')).toEqual(['child', 'multi']);
    expect(await digestAt(world, 'acme/index', child.digest)).toBe(child.digest);

    expect((await remove('acme/index', 'child')).status).toBe(202);
    expect(await refusal(await remove('acme/index', child.digest))).toBe('405 UNSUPPORTED');
    expect((await remove('acme/index', index.digest)).status).toBe(202);
    expect((await remove('acme/index', child.digest)).status).toBe(202);
  });

  test('a child of two indexes, until both are deleted', async () => {
    const child = await pushImage(world, 'acme/two', null, 1);
    const indexes = [await indexOf([child]), await indexOf([child], { annotations: { of: 'the second' } })];
    for (const index of indexes) await putManifest(world, 'acme/two', index.digest, textOf(index), INDEX_TYPE);
    for (const index of indexes) {
      expect(await refusal(await remove('acme/two', child.digest))).toBe('405 UNSUPPORTED');
      expect((await remove('acme/two', index.digest)).status).toBe(202);
    }
    expect((await remove('acme/two', child.digest)).status).toBe(202);
  });

  test('except a child of an index of another repository', async () => {
    const child = await pushImage(world, 'acme/here', null, 1);
    await pushImage(world, 'acme/there', null, 1);
    const index = await indexOf([child]);
    await putManifest(world, 'acme/there', 'multi', textOf(index), INDEX_TYPE);
    expect((await remove('acme/here', child.digest)).status).toBe(202);
    expect(await refusal(await remove('acme/there', child.digest))).toBe('405 UNSUPPORTED');
  });

  test('a blob of a manifest, until the last manifest with it is deleted', async () => {
    const { digest, bytes } = await pushImage(world, 'acme/blob', 'v1', 1);
    const second = await pushImage(world, 'acme/blob', null, 1, { annotations: { of: 'the second' } });
    for (const manifest of [digest, second.digest]) {
      for (const blob of blobsOf(new TextDecoder().decode(bytes))) {
        expect(await refusal(await world.fetch('DELETE', `/v2/acme/blob/blobs/${blob}`))).toBe('405 UNSUPPORTED');
      }
      expect((await remove('acme/blob', manifest)).status).toBe(202);
    }
    for (const blob of blobsOf(new TextDecoder().decode(bytes))) {
      expect((await world.fetch('DELETE', `/v2/acme/blob/blobs/${blob}`)).status).toBe(202);
    }
  });
});

describe('the object of a large manifest is kept for its trash', () => {
  beforeEach(async () => {
    world = await newWorld();
  });

  const large = { annotations: { text: 'x'.repeat(200_000) } };
  const trashedBytes = async (digest: string) => {
    const key = await world.env.DB.prepare('SELECT object_key FROM trashed_manifests WHERE digest = ?')
      .bind(digest)
      .first<string>('object_key');
    return (await (await world.env.BLOBS.get(key ?? ''))?.text()) ?? null;
  };

  test('whenever the manifest is deleted during its put', async () => {
    await everyOrder(world, async (run) => {
      const image = await imageIn(world, 'acme/early', 300 + run, large);
      return {
        outer: (at) => putManifest(at, 'acme/early', 'v1', textOf(image)),
        inner: (at) => at.fetch('DELETE', `/v2/acme/early/manifests/${image.digest}`),
        check: async (put, deleted) => {
          expect(put.status).toBe(201);
          expect([202, 404]).toContain(deleted.status);
          if (deleted.status === 202) expect((await trashedBytes(image.digest)) === textOf(image), `run ${run}`).toBe(true);
        },
      };
    });
    expect(await violations(world.env)).toEqual([]);
  });

  test('whenever its repository is deleted during the put', async () => {
    await everyOrder(world, async (run) => {
      const image = await imageIn(world, `acme/r${run}`, 300 + run, large);
      return {
        outer: (at) => putManifest(at, `acme/r${run}`, 'v1', textOf(image)),
        inner: (at) => at.fetch('DELETE', `/api/v1/repositories/acme/r${run}?force=true`),
        check: async (put, deleted) => {
          expect(deleted.status).toBe(200);
          const { results } = await world.env.DB.prepare('SELECT object_key FROM manifests WHERE digest = ?')
            .bind(image.digest)
            .all<{ object_key: string }>();
          for (const { object_key } of results) expect(await world.env.BLOBS.head(object_key), `${run}`).not.toBeNull();
          expect([201, 400]).toContain(put.status);
        },
      };
    });
    expect(await violations(world.env)).toEqual([]);
  });
});
