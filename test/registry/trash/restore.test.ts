/** Tags and manifests are restored with all content that they need, or not at all. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import type { RepositoryName } from '../../../src/oci/name.ts';
import { parseTag } from '../../../src/oci/reference.ts';
import { deleteExpired } from '../../../src/registry/manifests/deletion.ts';
import { violations } from '../../world/checker.ts';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  indexOf,
  LAYER_TYPE,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  textOf,
} from '../../world/images.ts';
import { eventsDuring, type Happened } from '../../world/organizations.ts';
import { api, refused } from '../../world/people.ts';
import { digestAt, tagsOf } from '../../world/reading.ts';
import { newWorld, type World } from '../../world/world.ts';
import { namesInTrash, purge, remove, restore, restored, trashOf } from './trash.ts';

const REPOSITORY = 'acme/api';
const LARGE = { annotations: { text: 'x'.repeat(200_000) } };
const FOREIGN_TYPE = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

async function pushIndex(tag: string | null, children: Content[], more: Record<string, unknown> = {}, type = IMAGE_TYPE) {
  const index = await indexOf(children, more, type);
  expect((await putManifest(world, REPOSITORY, tag ?? index.digest, textOf(index), INDEX_TYPE)).status).toBe(201);
  return index;
}

const referrerOf = (subject: Content, type = IMAGE_TYPE) => ({ subject: descriptorOf(subject, type) });
const typesOf = (events: Happened[]) => events.map(({ type, target }) => `${type} ${target.tag ?? target.digest}`);
const setRule = async (imageTagMutability: string) => {
  await world.env.DB.prepare(
    'INSERT OR REPLACE INTO tag_mutability (repository_id, rule) SELECT id, ?2 FROM repositories WHERE name = ?1',
  )
    .bind(REPOSITORY, imageTagMutability === 'MUTABLE' ? '' : JSON.stringify({ value: imageTagMutability, exclusions: [] }))
    .run();
};

/** Deletes tags and manifests as a lifecycle rule does. */
async function doom(tags: { tag: string; digest: Digest; reserved: boolean }[], levels: Digest[][] = []) {
  const rule = await world.env.DB.prepare('SELECT rule FROM tag_mutability').first<string>('rule');
  const doomed = {
    rule: rule ?? '',
    tags: tags.map(({ tag, ...named }) => ({ ...named, tag: parseTag(tag) })),
    levels,
  };
  await world.env.DB.prepare('UPDATE manifests SET leased_until = 0').run();
  return deleteExpired(world.env, REPOSITORY as RepositoryName, doomed, { by: { subject: 'registry' }, reason: 'a rule' });
}

async function pulls(image: Content): Promise<void> {
  const response = await world.fetch('GET', `/v2/${REPOSITORY}/manifests/${image.digest}`);
  expect(response.status).toBe(200);
  expect(new Uint8Array(await response.arrayBuffer())).toEqual(image.bytes);
  const { config, layers = [] } = JSON.parse(textOf(image)) as { config?: { digest: string }; layers?: { digest: string }[] };
  for (const { digest } of config ? [config, ...layers] : layers) {
    expect((await world.fetch('GET', `/v2/${REPOSITORY}/blobs/${digest}`)).status, digest).toBe(200);
  }
}

describe('a restored tag', () => {
  test('names the same digest, and its history continues', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    await remove(world, REPOSITORY, 'v1');
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(404);
    const events = await eventsDuring(world, async () => {
      expect(await restored(world, REPOSITORY, 'v1')).toEqual({ tags: ['v1'], notRestored: [], manifests: [] });
    });
    expect(events).toEqual([
      {
        type: 'tag.restored',
        target: { tag: 'v1', digest: image.digest, mediaType: IMAGE_TYPE, size: image.bytes.byteLength, cause: 'restore' },
        actor: 'user:admin',
      },
    ]);
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(image.digest);
    expect(await namesInTrash(world, REPOSITORY)).toEqual([]);
    const { results } = await world.env.DB.prepare('SELECT point, digest, previous FROM tag_history ORDER BY point').all();
    expect(results).toEqual([
      { point: 1, digest: image.digest, previous: null },
      { point: 2, digest: null, previous: image.digest },
      { point: 3, digest: image.digest, previous: null },
    ]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('is restored once', async () => {
    await pushImage(world, REPOSITORY, 'v1');
    await remove(world, REPOSITORY, 'v1');
    await restored(world, REPOSITORY, 'v1');
    expect(refused(await restore(world, REPOSITORY, 'v1'))).toBe('404 MANIFEST_UNKNOWN');
    for (const name of ['v2', '.v1', 'V1'])
      expect(refused(await restore(world, REPOSITORY, name))).toBe('404 MANIFEST_UNKNOWN');
  });

  test('is refused if a tag of its name exists by now, whatever that names', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    for (const seed of [1, 2]) {
      await remove(world, REPOSITORY, 'v1');
      const next = await pushImage(world, REPOSITORY, 'v1', seed);
      expect(refused(await restore(world, REPOSITORY, 'v1'))).toBe('409 CONFLICT');
      expect(await digestAt(world, REPOSITORY, 'v1')).toBe(next.digest);
    }
    expect((await trashOf(world, REPOSITORY)).map(({ digest }) => digest)).toEqual([image.digest]);
  });

  test('restores its manifest, whose other tags stay in the trash', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    for (const tag of ['v2', 'latest']) await putManifest(world, REPOSITORY, tag, textOf(image));
    await remove(world, REPOSITORY, 'v1', image.digest);
    const events = await eventsDuring(world, async () => {
      expect(await restored(world, REPOSITORY, 'v1')).toEqual({ tags: ['v1'], notRestored: [], manifests: [image.digest] });
    });
    expect(typesOf(events)).toEqual([`manifest.restored ${image.digest}`, 'tag.restored v1']);
    await pulls(image);
    expect(await tagsOf(world, REPOSITORY)).toEqual(['v1']);
    expect(await namesInTrash(world, REPOSITORY)).toEqual(['tag latest', 'tag v2']);
    await restored(world, REPOSITORY, 'latest');
    expect(await digestAt(world, REPOSITORY, 'latest')).toBe(image.digest);
    expect(await violations(world.env)).toEqual([]);
  });

  test('is refused if its manifest was purged', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    await remove(world, REPOSITORY, 'v1', image.digest);
    expect((await purge(world, REPOSITORY, image.digest)).status).toBe(202);
    const answer = await restore(world, REPOSITORY, 'v1');
    expect(refused(answer)).toBe('409 CONFLICT');
    expect(JSON.stringify(answer.body)).toContain(image.digest);
    expect(await violations(world.env)).toEqual([]);
  });

  test('may be one that a rule reserved, for the same image only', async () => {
    const one = await pushImage(world, REPOSITORY, 'v1', 1);
    await remove(world, REPOSITORY, one.digest);
    const two = await pushImage(world, REPOSITORY, 'v1', 2);
    await setRule('IMMUTABLE');
    await doom([{ tag: 'v1', digest: two.digest, reserved: true }]);
    expect(await restored(world, REPOSITORY, one.digest)).toMatchObject({ tags: [], notRestored: ['v1'] });
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(404);
    expect(await restored(world, REPOSITORY, 'v1')).toMatchObject({ tags: ['v1'] });
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(two.digest);
    expect(await violations(world.env)).toEqual([]);
  });
});

describe('a restored manifest', () => {
  test('is as it was, with its tags', async () => {
    for (const more of [{}, LARGE]) {
      world = await newWorld();
      const image = await pushImage(world, REPOSITORY, 'v1', 1, more);
      await putManifest(world, REPOSITORY, 'v2', textOf(image));
      const columns = 'digest, media_type, artifact_type, subject, size, pushed_at, object_key, content';
      await world.env.DB.prepare('UPDATE manifests SET pushed_at = 1000').run();
      const before = await world.env.DB.prepare(`SELECT ${columns} FROM manifests`).all();
      await remove(world, REPOSITORY, image.digest);
      const events = await eventsDuring(world, async () => {
        const answer = await restored(world, REPOSITORY, image.digest);
        expect(answer).toEqual({ tags: ['v1', 'v2'], notRestored: [], manifests: [image.digest] });
      });
      expect(typesOf(events)).toEqual([`manifest.restored ${image.digest}`, 'tag.restored v1', 'tag.restored v2']);
      const size = image.bytes.byteLength;
      expect(events[0]?.target).toEqual({ digest: image.digest, mediaType: IMAGE_TYPE, size, cause: 'restore' });
      await pulls(image);
      expect((await world.env.DB.prepare(`SELECT ${columns} FROM manifests`).all()).results).toEqual(before.results);
      const leased = 'SELECT count(*) AS n FROM manifests WHERE leased_until > unixepoch() + 3600';
      expect(await world.env.DB.prepare(leased).first('n')).toBe(1);
      expect(await namesInTrash(world, REPOSITORY)).toEqual([]);
      expect(await world.env.DB.prepare('SELECT count(*) AS n FROM tombstones').first('n')).toBe(0);
      expect(await violations(world.env)).toEqual([]);
    }
  });

  test('is restored without tags whose names are taken, which stay in the trash', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    await putManifest(world, REPOSITORY, 'v2', textOf(image));
    await remove(world, REPOSITORY, image.digest);
    const other = await pushImage(world, REPOSITORY, 'v1', 2);
    expect(await restored(world, REPOSITORY, image.digest)).toMatchObject({ tags: ['v2'], notRestored: ['v1'] });
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(other.digest);
    expect(await namesInTrash(world, REPOSITORY)).toEqual(['tag v1']);
    await remove(world, REPOSITORY, 'v1');
    expect((await trashOf(world, REPOSITORY))[0]?.digest, 'what was deleted last').toBe(other.digest);
    expect(await violations(world.env)).toEqual([]);
  });

  test('that is an index restores its children at any depth, and all referrers of any of them', { tags: 'slow' }, async () => {
    const images = [await pushImage(world, REPOSITORY, null, 1), await pushImage(world, REPOSITORY, null, 2)];
    const inner = await pushIndex(null, images);
    const index = await pushIndex('v1', [inner], {}, INDEX_TYPE);
    const signature = await pushImage(world, REPOSITORY, null, 3, referrerOf(index, INDEX_TYPE));
    const sbom = await pushImage(world, REPOSITORY, null, 4, referrerOf(images[0] as Content));
    const counter = await pushImage(world, REPOSITORY, null, 5, { ...referrerOf(signature), ...LARGE });
    const all = [counter, signature, sbom, index, inner, ...images];
    await remove(world, REPOSITORY, ...all.map(({ digest }) => digest));
    const bystander = await pushImage(world, REPOSITORY, 'other', 6);
    await remove(world, REPOSITORY, bystander.digest);
    const { tags, manifests } = await restored(world, REPOSITORY, index.digest);
    expect(tags).toEqual(['v1']);
    expect(manifests.toSorted()).toEqual(all.map(({ digest }) => digest).sort());
    for (const content of all) await pulls(content);
    expect(await namesInTrash(world, REPOSITORY)).toEqual([`manifest ${bystander.digest}`]);
    const referrers = await (await world.fetch('GET', `/v2/${REPOSITORY}/referrers/${index.digest}`)).json();
    expect(referrers).toMatchObject({ manifests: [{ digest: signature.digest }] });
    expect(await violations(world.env)).toEqual([]);
  });

  test('uses manifests that exist already', async () => {
    const images = [await pushImage(world, REPOSITORY, null, 1), await pushImage(world, REPOSITORY, 'kept', 2)];
    const index = await pushIndex('v1', images, LARGE);
    await remove(world, REPOSITORY, index.digest, images[0]?.digest ?? '');
    expect((await restored(world, REPOSITORY, index.digest)).manifests).toEqual([images[0]?.digest, index.digest]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('gets back blobs that a client deleted meanwhile, with a lease on each', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    await remove(world, REPOSITORY, image.digest);
    const { config, layers } = JSON.parse(textOf(image)) as { config: { digest: string }; layers: [{ digest: string }] };
    for (const { digest } of [config, layers[0]]) {
      expect((await world.fetch('DELETE', `/v2/${REPOSITORY}/blobs/${digest}`)).status).toBe(202);
    }
    await restored(world, REPOSITORY, image.digest);
    await pulls(image);
    const leased = 'SELECT count(*) AS n FROM repository_blobs WHERE leased_until > unixepoch() + 3600';
    expect(await world.env.DB.prepare(leased).first('n')).toBe(2);
    expect(await violations(world.env)).toEqual([]);
  });

  describe('with thousands of blobs that a client deleted meanwhile', () => {
    /** Pushes an image with this many layers. */
    async function withLayers(layers: number): Promise<Content> {
      const digestOf = (n: number) => `sha256:${String(n).padStart(64, '0')}` as Digest;
      const config = descriptorOf(await pushBlob(world, REPOSITORY, '{}'), CONFIG_TYPE);
      const all = Array.from({ length: layers }, (_, n) => ({ mediaType: LAYER_TYPE, size: 7, digest: digestOf(n) }));
      const digests = JSON.stringify(all.map(({ digest }) => digest));
      const insert = (sql: string) => world.env.DB.prepare(`INSERT INTO ${sql} FROM json_each(?1)`).bind(digests).run();
      await insert("blobs (digest, size, object_key, created_at) SELECT value, 7, 'blobs/' || value, 1");
      await insert(`repository_blobs (digest, repository_id, leased_until)
        SELECT value, (SELECT id FROM repositories WHERE name = '${REPOSITORY}'), 0`);
      const image = await contentOf(JSON.stringify({ schemaVersion: 2, mediaType: IMAGE_TYPE, config, layers: all }));
      expect((await putManifest(world, REPOSITORY, image.digest, textOf(image))).status).toBe(201);
      return image;
    }

    test('gets all of them back', { tags: 'slow' }, async () => {
      const image = await withLayers(1100);
      await remove(world, REPOSITORY, image.digest);
      await world.env.DB.prepare('DELETE FROM repository_blobs').run();
      await restored(world, REPOSITORY, image.digest);
      expect(await world.env.DB.prepare('SELECT count(*) AS n FROM repository_blobs').first('n')).toBe(1101);
    });

    test('is refused with the limit if they are more than an image can have', async () => {
      const image = await pushImage(world, REPOSITORY, null);
      await remove(world, REPOSITORY, image.digest);
      const layers = `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 4001)
        SELECT json_group_array(json_object('mediaType', '${LAYER_TYPE}', 'size', 7, 'digest', printf('sha256:%064d', n))) FROM n`;
      await world.env.DB.prepare(
        `UPDATE trashed_manifests SET content = json_set(content, '$.layers', json((${layers})))`,
      ).run();
      const answer = await restore(world, REPOSITORY, image.digest);
      expect(refused(answer)).toBe('409 CONFLICT');
      expect(JSON.stringify(answer.body)).toContain('more than 4000 blobs');
    });
  });

  test('is refused if a blob that it needs was purged, and nothing is restored', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    const index = await pushIndex('v2', [image]);
    await remove(world, REPOSITORY, index.digest, image.digest);
    const { layers } = JSON.parse(textOf(image)) as { layers: [{ digest: string }] };
    await world.env.DB.prepare('UPDATE blobs SET missing_since = 1 WHERE digest = ?1').bind(layers[0].digest).run();
    for (const { digest } of [image, index]) {
      const answer = await restore(world, REPOSITORY, digest);
      expect(refused(answer)).toBe('409 CONFLICT');
      expect(JSON.stringify(answer.body)).toContain(layers[0].digest);
    }
    expect(await digestAt(world, REPOSITORY, index.digest)).toBe(404);
    expect(await namesInTrash(world, REPOSITORY)).toHaveLength(2);
    await pushBlob(world, REPOSITORY, noise(100, 1));
    await restored(world, REPOSITORY, index.digest);
    expect(await violations(world.env)).toEqual([]);
  });

  test('is refused if one of its children was purged', async () => {
    const image = await pushImage(world, REPOSITORY, null);
    const index = await pushIndex('v2', [image]);
    await remove(world, REPOSITORY, index.digest, image.digest);
    await purge(world, REPOSITORY, image.digest);
    const answer = await restore(world, REPOSITORY, index.digest);
    expect(refused(answer)).toBe('409 CONFLICT');
    expect(JSON.stringify(answer.body)).toContain(image.digest);
    await pushImage(world, REPOSITORY, null);
    expect(await restored(world, REPOSITORY, index.digest)).toMatchObject({ tags: ['v2'], manifests: [index.digest] });
    expect(await violations(world.env)).toEqual([]);
  });

  test('is refused if its document is lost', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1, LARGE);
    await remove(world, REPOSITORY, image.digest);
    const key = await world.env.DB.prepare('SELECT object_key FROM trashed_manifests').first<string>('object_key');
    await world.env.BLOBS.delete(key ?? '');
    expect(refused(await restore(world, REPOSITORY, image.digest))).toBe('409 CONFLICT');
    expect(await digestAt(world, REPOSITORY, image.digest)).toBe(404);
  });

  test('is restored without a referrer that cannot be restored', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    const signature = await pushImage(world, REPOSITORY, null, 2, referrerOf(image));
    await remove(world, REPOSITORY, image.digest, signature.digest);
    const { layers } = JSON.parse(textOf(signature)) as { layers: [{ digest: string }] };
    await world.env.DB.prepare('UPDATE blobs SET missing_since = 1 WHERE digest = ?1').bind(layers[0].digest).run();
    expect((await restored(world, REPOSITORY, image.digest)).manifests).toEqual([image.digest]);
    expect(await namesInTrash(world, REPOSITORY)).toEqual([`manifest ${signature.digest}`]);
  });

  test('needs no foreign layer, and gets no blob of another repository', async () => {
    const config = descriptorOf(await pushBlob(world, REPOSITORY, '{}'), CONFIG_TYPE);
    const secret = await pushBlob(world, 'bravo/secret', noise(100, 9));
    const other = await pushBlob(world, REPOSITORY, noise(100, 10));
    const layers = [descriptorOf(secret, FOREIGN_TYPE), descriptorOf(other, LAYER_TYPE)];
    const image = await contentOf(JSON.stringify({ schemaVersion: 2, mediaType: IMAGE_TYPE, config, layers }));
    expect((await putManifest(world, REPOSITORY, 'v1', textOf(image))).status).toBe(201);
    await remove(world, REPOSITORY, image.digest);
    await world.fetch('DELETE', `/v2/${REPOSITORY}/blobs/${other.digest}`);
    await restored(world, REPOSITORY, image.digest);
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(image.digest);
    expect((await world.fetch('GET', `/v2/${REPOSITORY}/blobs/${other.digest}`)).status).toBe(200);
    expect((await world.fetch('GET', `/v2/${REPOSITORY}/blobs/${secret.digest}`)).status).toBe(404);
  });

  test('that was pushed again is the pushed one: the other copy is dropped, and its tags are restored', {
    tags: 'slow',
  }, async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1, LARGE);
    await remove(world, REPOSITORY, image.digest);
    const key = await world.env.DB.prepare('SELECT object_key FROM trashed_manifests').first('object_key');
    await pushImage(world, REPOSITORY, 'v2', 1, LARGE);
    const events = await eventsDuring(world, () => restored(world, REPOSITORY, image.digest));
    expect(typesOf(events)).toEqual(['tag.restored v1']);
    await pulls(image);
    expect(await tagsOf(world, REPOSITORY)).toEqual(['v1', 'v2']);
    expect((await world.env.DB.prepare('SELECT object_key FROM tombstones').all()).results).toEqual([{ object_key: key }]);
    expect(await namesInTrash(world, REPOSITORY)).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('replaces one that was pushed again and lost', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1, LARGE);
    await remove(world, REPOSITORY, image.digest);
    await pushImage(world, REPOSITORY, 'v2', 1, LARGE);
    await world.env.DB.prepare("UPDATE manifests SET object_key = ''").run();
    const events = await eventsDuring(world, () => restored(world, REPOSITORY, image.digest));
    expect(typesOf(events)).toEqual([`manifest.restored ${image.digest}`, 'tag.restored v1']);
    await pulls(image);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM tombstones').first('n')).toBe(0);
  });

  test('past its time can be restored as long as it is there', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    await remove(world, REPOSITORY, image.digest);
    await world.env.DB.prepare('UPDATE trash SET deleted_at = 1000').run();
    expect((await trashOf(world, REPOSITORY))[0]?.restorableUntil).toBe('1970-01-08T00:16:40.000Z');
    await restored(world, REPOSITORY, image.digest);
    await pulls(image);
  });

  test('is refused while it is purged', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    await remove(world, REPOSITORY, 'v1', image.digest);
    await world.env.DB.prepare('UPDATE trash SET purging = 1').run();
    for (const name of ['v1', image.digest])
      expect(refused(await restore(world, REPOSITORY, name))).toBe('404 MANIFEST_UNKNOWN');
    expect(await namesInTrash(world, REPOSITORY)).toEqual([]);
  });

  test('that is an index of 1,000 is restored at once', { tags: 'slow' }, async () => {
    const config = descriptorOf(await pushBlob(world, REPOSITORY, '{}'), CONFIG_TYPE);
    const layers = [descriptorOf(await pushBlob(world, REPOSITORY, noise(100)), LAYER_TYPE)];
    const children: Content[] = [];
    for (let n = 0; n < 1000; n++) {
      const image = { schemaVersion: 2, mediaType: IMAGE_TYPE, config, layers, annotations: { n: `${n}` } };
      children.push(await contentOf(JSON.stringify(image)));
    }
    for (let n = 0; n < 1000; n += 50) {
      const puts = children.slice(n, n + 50).map((child) => putManifest(world, REPOSITORY, child.digest, textOf(child)));
      expect((await Promise.all(puts)).every(({ status }) => status === 201)).toBe(true);
    }
    const index = await pushIndex('v1', children);
    const digests = children.map(({ digest }) => digest);
    await doom([{ tag: 'v1', digest: index.digest, reserved: false }], [[index.digest], digests]);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM manifests').first('n')).toBe(0);
    const { tags, manifests } = await restored(world, REPOSITORY, 'v1');
    expect(tags).toEqual(['v1']);
    expect(manifests.toSorted()).toEqual([...digests, index.digest].sort());
    expect(manifests.at(-1)).toBe(index.digest);
    expect(await violations(world.env)).toEqual([]);
  });
});

describe("the list of a repository's trash", () => {
  test('has the kind and name of each entry, who deleted it, and until when it can be restored', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    const other = await pushImage(world, REPOSITORY, 'v2', 2);
    await putManifest(world, REPOSITORY, 'v3', textOf(other));
    await remove(world, REPOSITORY, 'v1');
    await doom([{ tag: 'v2', digest: other.digest, reserved: false }]);
    await remove(world, REPOSITORY, other.digest);
    const [manifest, first, second] = await trashOf(world, REPOSITORY);
    const size = other.bytes.byteLength;
    const common = { kind: 'tag', tags: [], mediaType: null, size: null };
    expect(first).toMatchObject({ ...common, name: 'v1', digest: image.digest, deletedBy: 'user:admin', reason: null });
    expect(second).toMatchObject({ ...common, name: 'v2', digest: other.digest, deletedBy: 'registry', reason: 'a rule' });
    expect(manifest).toMatchObject({ kind: 'manifest', name: other.digest, tags: ['v3'], mediaType: IMAGE_TYPE, size });
    const days = (Date.parse(first?.restorableUntil ?? '') - Date.parse(first?.deletedAt ?? '')) / 86_400_000;
    expect(days).toBe(7);
  });

  test('is paged', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    for (const tag of ['a', 'b', 'c']) await putManifest(world, REPOSITORY, tag, textOf(image));
    await remove(world, REPOSITORY, 'a', 'b', 'c', image.digest);
    const all = await namesInTrash(world, REPOSITORY);
    expect(all).toEqual([`manifest ${image.digest}`, 'tag a', 'tag b', 'tag c']);
    const seen: string[] = [];
    for (let last: string | null = ''; last !== null; ) {
      const query: string = `n=1${last ? `&last=${encodeURIComponent(last)}` : ''}`;
      const { body } = await api<{ items: { kind: string; name: string }[]; next: string | null }>(
        world,
        'GET',
        `/repositories/${REPOSITORY}/-/trash?${query}`,
      );
      seen.push(...body.items.map(({ kind, name }) => `${kind} ${name}`));
      last = body.next;
    }
    expect(seen).toEqual(all);
    expect(refused(await api(world, 'GET', '/repositories/acme/none/-/trash'))).toBe('404 NAME_UNKNOWN');
  });
});
