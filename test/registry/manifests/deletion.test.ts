/** Deletions move rows into the trash. The choice of a lifecycle rule is deleted only if it has not changed since. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Digest, parseDigest } from '../../../src/oci/digest.ts';
import type { RepositoryName } from '../../../src/oci/name.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import { deleteExpired, type ExpiredContent } from '../../../src/registry/manifests/deletion.ts';
import { getMutability } from '../../../src/registry/tags/mutability.ts';
import { violations } from '../../world/checker.ts';
import {
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  indexOf,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  refusal,
  textOf,
} from '../../world/images.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { limited } from '../../world/limits.ts';
import { eventsDuring, tally } from '../../world/organizations.ts';
import { api, inviteUser, refused } from '../../world/people.ts';
import { digestAt, tagsOf } from '../../world/reading.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api' as RepositoryName;
const LARGE = { annotations: { text: 'x'.repeat(200_000) } };

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const put = (reference: string, content: Content, type = IMAGE_TYPE) =>
  putManifest(world, REPOSITORY, reference, textOf(content), type);
const remove = (reference: string, at = world) => at.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${reference}`);

async function must(response: Promise<Response>, status = 202): Promise<void> {
  expect((await response).status).toBe(status);
}

async function rowsOf(table: string, columns = '*'): Promise<Record<string, unknown>[]> {
  const { results } = await world.env.DB.prepare(`SELECT ${columns} FROM ${table}`).all();
  return results.sort((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));
}

async function contents(): Promise<unknown> {
  const tables =
    'repositories manifests manifest_references repository_blobs tags tag_history trash trashed_manifests trashed_references tombstones events';
  const rows = await Promise.all(tables.split(' ').map((table) => rowsOf(table)));
  return [rows, (await world.env.BLOBS.list()).objects.map(({ key }) => key)];
}

async function untouched(request: () => Promise<Response>): Promise<string> {
  const before = await contents();
  const code = await refusal(await request());
  expect(await contents()).toEqual(before);
  return code;
}

const COLUMNS = 'digest, repository_id, media_type, artifact_type, subject, size, pushed_at, object_key, content';
const REFERENCES = 'child, repository_id, parent';

describe('a deleted tag', () => {
  test('is in the trash with its digest and who deleted it, and its manifest stays unchanged', async () => {
    const dev = await inviteUser(world, 'dev', { administrator: true });
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    const [manifests, references] = [await rowsOf('manifests'), await rowsOf('manifest_references')];
    await must(world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/v1`, { authorization: dev.basic }));
    expect(await rowsOf('trash')).toMatchObject([
      {
        kind: 'tag',
        name: 'v1',
        repository: REPOSITORY,
        digest: image.digest,
        tags: '[]',
        reason: null,
        actor: dev.subject,
        key_id: dev.keyId,
        purging: 0,
      },
    ]);
    expect([await rowsOf('manifests'), await rowsOf('manifest_references')]).toEqual([manifests, references]);
    for (const table of ['tags', 'trashed_manifests', 'trashed_references', 'tombstones'])
      expect(await rowsOf(table)).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('deleted again after it was created again replaces the entry in the trash', async () => {
    await pushImage(world, REPOSITORY, 'v1', 1);
    await must(remove('v1'));
    const second = await pushImage(world, REPOSITORY, 'v1', 2);
    expect(await rowsOf('trash')).toHaveLength(1);
    await must(remove('v1'));
    expect(await rowsOf('trash', 'kind, name, digest')).toEqual([{ kind: 'tag', name: 'v1', digest: second.digest }]);
  });
});

describe('a deleted manifest', () => {
  test.each<[string, Record<string, unknown>]>([
    ['small', {}],
    ['large', LARGE],
    ['with annotations, an artifact type and a subject', { artifactType: 'a/b', annotations: { a: '\u00e9"\\' } }],
  ])('moves as it is, with what it points at and without its tags: %s', async (_, more) => {
    const other = await pushImage(world, REPOSITORY, 'other', 2);
    const image = await imageIn(world, REPOSITORY, 1, {
      ...more,
      ...(more.artifactType ? { subject: descriptorOf(other, IMAGE_TYPE) } : {}),
    });
    await must(put(`${image.digest}?tag=b&tag=a&tag=c`, image), 201);
    const of = `WHERE digest = '${image.digest}'`;
    const from = `WHERE parent = '${image.digest}'`;
    const [row, references] = [
      await rowsOf(`manifests ${of}`, COLUMNS),
      await rowsOf(`manifest_references ${from}`, REFERENCES),
    ];
    expect(references).toHaveLength(2);
    const objects = (await world.env.BLOBS.list()).objects.map(({ key }) => key);

    await must(remove(image.digest));
    expect(await rowsOf('trashed_manifests', COLUMNS)).toEqual(row);
    expect(await rowsOf('trashed_references', REFERENCES)).toEqual(references);
    expect(await rowsOf('trash')).toMatchObject([
      {
        kind: 'manifest',
        name: image.digest,
        repository: REPOSITORY,
        digest: null,
        tags: '["a","b","c"]',
        reason: null,
        actor: 'user:admin',
      },
    ]);
    expect(await rowsOf(`manifests ${of}`)).toEqual([]);
    expect(await rowsOf(`manifest_references ${from}`)).toEqual([]);
    expect(await rowsOf('manifest_references')).toHaveLength(2);
    expect(await rowsOf('tombstones')).toEqual([]);
    expect((await world.env.BLOBS.list()).objects.map(({ key }) => key)).toEqual(objects);
    expect(await tagsOf(world, REPOSITORY)).toEqual(['other']);
    expect(await violations(world.env)).toEqual([]);
  });

  test('leaves blobs that another manifest shares', async () => {
    const [one, two] = [await imageIn(world, REPOSITORY, 1), await imageIn(world, REPOSITORY, 1, { annotations: { n: '2' } })];
    for (const image of [one, two]) await must(put(image.digest, image), 201);
    await must(remove(one.digest));
    expect(await rowsOf('manifest_references', 'parent')).toEqual([{ parent: two.digest }, { parent: two.digest }]);
    expect(await rowsOf('trashed_references', 'parent')).toEqual([{ parent: one.digest }, { parent: one.digest }]);
  });

  test('records each of its tags and itself, and writes the history of each', async () => {
    const image = await pushImage(world, REPOSITORY, 'a', 1);
    await pushImage(world, REPOSITORY, 'b', 1);
    const events = await eventsDuring(world, () => remove(image.digest));
    expect(events).toEqual([
      { type: 'tag.deleted', target: { tag: 'a', digest: image.digest, cause: 'deletion' }, actor: 'user:admin' },
      { type: 'tag.deleted', target: { tag: 'b', digest: image.digest, cause: 'deletion' }, actor: 'user:admin' },
      {
        type: 'manifest.deleted',
        target: { digest: image.digest, mediaType: IMAGE_TYPE, cause: 'deletion' },
        actor: 'user:admin',
      },
    ]);
    const history = await rowsOf('tag_history WHERE point = 2', 'tag, digest, previous, reserved');
    expect(history).toEqual(['a', 'b'].map((tag) => ({ tag, digest: null, previous: image.digest, reserved: 0 })));
  });

  test('may be one whose object is missing, whether that is known or not', async () => {
    for (const known of [false, true]) {
      const image = await pushImage(world, REPOSITORY, null, 1, LARGE);
      for (const { key } of (await world.env.BLOBS.list({ prefix: 'manifests/' })).objects) await world.env.BLOBS.delete(key);
      if (known) await must(world.fetch('GET', `/v2/${REPOSITORY}/manifests/${image.digest}`), 404);
      const references = await rowsOf('manifest_references', REFERENCES);
      expect(references).toHaveLength(2);
      await must(remove(image.digest));
      expect(await rowsOf('manifest_references')).toEqual([]);
      expect(await rowsOf('trashed_references', REFERENCES)).toEqual(references);
      expect(await refusal(await remove(image.digest))).toBe('404 MANIFEST_UNKNOWN');
    }
  });

  test('deleted again after it was pushed again is there once, with its newer object; the older is dropped', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1, LARGE);
    await must(remove(image.digest));
    const [older] = await rowsOf('trashed_manifests', 'object_key, digest');
    await pushImage(world, REPOSITORY, 'v2', 1, LARGE);
    expect(await rowsOf('trash')).toHaveLength(1);
    await must(remove(image.digest));
    const trashed = await rowsOf('trashed_manifests', 'object_key, digest');
    expect(trashed).toHaveLength(1);
    expect(trashed).not.toEqual([older]);
    expect(await rowsOf('trash', 'name, tags')).toEqual([{ name: image.digest, tags: '["v1","v2"]' }]);
    expect(await rowsOf('tombstones', 'object_key')).toEqual([{ object_key: older?.object_key }]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('that is small drops nothing when it is pushed and deleted again', async () => {
    for (let n = 0; n < 3; n++) {
      const image = await pushImage(world, REPOSITORY, 'v1', 1);
      await must(remove(image.digest));
    }
    expect(await rowsOf('tombstones')).toEqual([]);
    expect(await rowsOf('trashed_manifests')).toHaveLength(1);
    expect(await violations(world.env)).toEqual([]);
  });

  test('deleted a second time is a 404; its blobs can be deleted then, except what the trash needs', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    await must(remove(image.digest));
    expect(await untouched(() => remove(image.digest))).toBe('404 MANIFEST_UNKNOWN');
    expect(await untouched(() => remove('v1'))).toBe('404 MANIFEST_UNKNOWN');
  });

  test('must not be listed by an index; the index is deleted first, and its references are in the trash with it', async () => {
    const child = await pushImage(world, REPOSITORY, 'child', 1);
    const index = await indexOf([child]);
    await must(put('multi', index, INDEX_TYPE), 201);
    expect(await untouched(() => remove(child.digest))).toBe('405 UNSUPPORTED');
    await must(remove(index.digest));
    const above = { child: child.digest, parent: index.digest };
    expect(await rowsOf('trashed_references', 'child, parent')).toEqual([above]);
    await must(remove(child.digest));
    expect(await rowsOf('trashed_references', 'child, parent')).toHaveLength(3);
    expect(await rowsOf('manifest_references')).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('that was an index of 40 children, inside another index, leaves nothing behind', { tags: 'slow' }, async () => {
    const config = await pushBlob(world, REPOSITORY, '{}');
    const children: Content[] = [];
    for (let n = 0; n < 40; n++) {
      const document = {
        schemaVersion: 2,
        mediaType: IMAGE_TYPE,
        config: descriptorOf(config, 'a/b'),
        layers: [],
        annotations: { n: `${n}` },
      };
      const child = await contentOf(JSON.stringify(document));
      await must(put(`c${n}`, child), 201);
      children.push(child);
    }
    const index = await indexOf(children);
    await must(put('inner', index, INDEX_TYPE), 201);
    const outer = await indexOf([index], {}, INDEX_TYPE);
    await must(put('outer', outer, INDEX_TYPE), 201);
    expect(await untouched(() => remove(index.digest))).toBe('405 UNSUPPORTED');
    for (const { digest } of [outer, index]) await must(remove(digest));
    expect(await rowsOf('trashed_references')).toHaveLength(41);
    for (const { digest } of children) await must(remove(digest));
    expect(await rowsOf('manifest_references')).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });

  test.each([false, true])('is one document, however its keys and digests are escaped (large: %s)', async (large) => {
    const [config, layer] = [await pushBlob(world, REPOSITORY, '{}'), await pushBlob(world, REPOSITORY, noise(100))];
    const spelt = (digest: string) =>
      digest.replace(/[a-f]$/, (last) => `\\u00${last.charCodeAt(0).toString(16)}`).replace(':', '\\u003a');
    const document = `{ "schemaVersion" : 2, "\\u0063onfig": {"mediaType":"a\\/b", "dig\\u0065st":"${spelt(config.digest)}", "size":2},
      "l\\u0061yers": [{"mediaType":"a/b","digest":"${spelt(layer.digest)}","size":100}, {"mediaType":"a/b","digest":"${layer.digest}","size":100}],
      "annotations": {"$.config.digest":"no","text":"${large ? 'x'.repeat(200_000) : ''}"}}`;
    const response = await putManifest(world, REPOSITORY, 'v1', document);
    expect(response.status).toBe(201);
    expect(await rowsOf('manifest_references')).toHaveLength(2);
    await must(remove(response.headers.get('docker-content-digest') ?? ''));
    expect(await rowsOf('manifest_references')).toEqual([]);
    expect((await rowsOf('trashed_references', 'child')).map(({ child }) => child)).toEqual(
      [config.digest, layer.digest].toSorted(),
    );
  });

  test('keeps its referrers, and as a referrer its subject', async () => {
    const subject = await pushImage(world, REPOSITORY, 'v1', 1);
    const referrer = await pushImage(world, REPOSITORY, null, 2, { subject: descriptorOf(subject, IMAGE_TYPE) });
    await must(remove(subject.digest));
    expect(await digestAt(world, REPOSITORY, referrer.digest)).toBe(referrer.digest);
    expect(await rowsOf('trashed_manifests', 'digest')).toEqual([{ digest: subject.digest }]);
  });
});

describe('concurrently', () => {
  test('16 deletions of a tag or manifest succeed once, with one event', { tags: 'slow' }, async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1, LARGE);
    for (const [reference, type] of [
      ['v1', 'tag.deleted'],
      [image.digest, 'manifest.deleted'],
    ] as const) {
      const events = await eventsDuring(world, async () => {
        const answers = await Promise.all(Array.from({ length: 16 }, () => remove(reference)));
        expect(tally(answers.map(({ status }) => status))).toEqual({ 202: 1, 404: 15 });
      });
      expect(events.map((event) => event.type)).toEqual([type]);
    }
    expect(await violations(world.env)).toEqual([]);
  });

  test('deletions and pushes of the same image, large and small, keep the stores consistent', async () => {
    for (const more of [{}, LARGE]) {
      const image = await imageIn(world, REPOSITORY, 1, more);
      const requests = Array.from({ length: 24 }, (_, n) =>
        n % 3 === 1 ? remove(image.digest) : n % 3 === 2 ? remove('v1') : put('v1', image),
      );
      for (const { status } of await Promise.all(requests)) expect([201, 202, 404]).toContain(status);
      expect(await violations(world.env)).toEqual([]);
    }
  });

  test('a push at any point of a deletion loses nothing that was answered', async () => {
    await everyOrder(world, async (run) => {
      const image = await imageIn(world, REPOSITORY, 100 + run, run % 2 ? LARGE : {});
      await must(put(`t${run}`, image), 201);
      return {
        outer: (at) => remove(image.digest, at),
        inner: (at) => putManifest(at, REPOSITORY, `n${run}`, textOf(image)),
        check: async (outer, inner) => {
          expect([outer.status, inner.status]).toEqual([202, 201]);
          const now = await digestAt(world, REPOSITORY, `n${run}`);
          expect([404, image.digest]).toContain(now);
          const { results } = await world.env.DB.prepare('SELECT tags FROM trash WHERE name = ?').bind(image.digest).all();
          const gone = JSON.stringify(now === 404 ? [`n${run}`, `t${run}`] : [`t${run}`]);
          expect(results).toEqual([{ tags: gone }]);
        },
      };
    });
    expect(await violations(world.env)).toEqual([]);
  });
});

describe('where the registry is set to delete nothing (DELETION=off)', () => {
  test('a tag, a digest and a blob are refused alike, whether they exist or not: 405 UNSUPPORTED with Allow', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    const blob = await pushBlob(world, REPOSITORY, noise(300, 9));
    const off = worldOf({ ...world.env, DELETION: 'off' });
    const absent = `sha256:${'0'.repeat(64)}`;
    for (const path of [
      'manifests/v1',
      `manifests/${image.digest}`,
      `blobs/${blob.digest}`,
      'manifests/absent',
      `manifests/${absent}`,
      `blobs/${absent}`,
    ]) {
      const before = await contents();
      const response = await off.fetch('DELETE', `/v2/${REPOSITORY}/${path}`);
      expect(response.headers.get('allow'), path).toBe('GET, HEAD');
      expect(await refusal(response), path).toBe('405 UNSUPPORTED');
      expect(await contents()).toEqual(before);
    }
    expect((await off.fetch('DELETE', `/v2/${REPOSITORY}/manifests/v1`, { authorization: null })).status).toBe(401);
    expect(refused(await api(off, 'DELETE', `/repositories/${REPOSITORY}?force=true`))).toBe('405 UNSUPPORTED');
    await expect(deleteExpired(off.env, REPOSITORY, { rule: '', tags: [], levels: [] }, BY_RULE)).rejects.toMatchObject({
      reason: 'deletion-disabled',
    });
    for (const path of ['manifests/v1', `manifests/${image.digest}`, `blobs/${blob.digest}`])
      await must(world.fetch('DELETE', `/v2/${REPOSITORY}/${path}`));
  });
});

const BY_RULE = { by: { subject: 'registry' }, reason: 'rule 1: untagged for 7 days' };

describe('what a rule has chosen', () => {
  const nothing = { tags: [], manifests: [] };
  const doom = (doomed: Partial<ExpiredContent>) =>
    deleteExpired(world.env, REPOSITORY, { rule: '', tags: [], levels: [], ...doomed }, BY_RULE);
  const tag = (name: string, { digest }: Content, reserved = false) => ({ tag: name as Tag, digest, reserved });
  const unleased = () => world.env.DB.prepare('UPDATE manifests SET leased_until = 0').run();

  async function untagged(seed: number, more: Record<string, unknown> = {}): Promise<Content> {
    const image = await pushImage(world, REPOSITORY, null, seed, more);
    await unleased();
    return image;
  }

  async function unchanged(doomed: Partial<ExpiredContent>): Promise<void> {
    const before = await contents();
    expect(await doom(doomed)).toEqual(nothing);
    expect(await contents()).toEqual(before);
  }

  test('is in the trash with the rule as its reason, deleted by the registry, and recorded so', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    const loose = await untagged(2);
    const events = await eventsDuring(world, async () => {
      const gone = await doom({ tags: [tag('v1', image)], levels: [[loose.digest]] });
      expect(gone).toEqual({ tags: [{ tag: 'v1', digest: image.digest }], manifests: [loose.digest] });
    });
    const { reason } = BY_RULE;
    expect(events).toEqual([
      { type: 'tag.deleted', target: { tag: 'v1', digest: image.digest, reason, cause: 'lifecycle' }, actor: 'registry' },
      {
        type: 'manifest.deleted',
        target: { digest: loose.digest, mediaType: IMAGE_TYPE, reason, cause: 'lifecycle' },
        actor: 'registry',
      },
    ]);
    expect(await rowsOf('trash', 'repository_id, kind, name, digest, tags, reason, actor, key_id')).toMatchObject([
      { kind: 'manifest', name: loose.digest, digest: null, tags: '[]', reason, actor: 'registry', key_id: null },
      { kind: 'tag', name: 'v1', digest: image.digest, tags: '[]', reason, actor: 'registry', key_id: null },
    ]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('is deleted with its last tag in one batch', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    await unleased();
    const gone = await doom({ tags: [tag('v1', image)], levels: [[image.digest]] });
    expect(gone).toEqual({ tags: [{ tag: 'v1', digest: image.digest }], manifests: [image.digest] });
    expect(await violations(world.env)).toEqual([]);
  });

  test('stays if the tag names something else by now, or is gone', async () => {
    const [one, two] = [await pushImage(world, REPOSITORY, 'v1', 1), await pushImage(world, REPOSITORY, 'v1', 2)];
    await unchanged({ tags: [tag('v1', one), tag('never', one)] });
    await must(remove('v1'));
    await unchanged({ tags: [tag('v1', two)] });
  });

  test('stays if it was tagged again, has a lease again, is listed again, or is gone', async () => {
    const [tagged, leased, listed, gone] = [await untagged(1), await untagged(2), await untagged(3), await untagged(4)];
    await must(put('again', tagged), 201);
    await must(world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/${leased.digest}`), 200);
    const index = await indexOf([listed]);
    await must(put('multi', index, INDEX_TYPE), 201);
    await must(remove(gone.digest));
    await unchanged({ levels: [[tagged.digest, leased.digest, listed.digest, gone.digest]] });
    expect(await violations(world.env)).toEqual([]);
  });

  test('stays as long as its lease, to the second', async () => {
    const image = await pushImage(world, REPOSITORY, null, 1);
    await world.env.DB.prepare('UPDATE manifests SET leased_until = unixepoch() + 100').run();
    await unchanged({ levels: [[image.digest]] });
    await world.env.DB.prepare('UPDATE manifests SET leased_until = unixepoch()').run();
    expect((await doom({ levels: [[image.digest]] })).manifests).toEqual([image.digest]);
  });

  test('stays while its subject exists or was pushed again; is deleted with it, and if it never existed', async () => {
    const subject = await untagged(1);
    const referrer = await untagged(2, { subject: descriptorOf(subject, IMAGE_TYPE) });
    const absent = { mediaType: IMAGE_TYPE, digest: `sha256:${'0'.repeat(64)}`, size: 7 };
    const orphan = await untagged(3, { subject: absent });
    await unchanged({ levels: [[referrer.digest]] });
    expect((await doom({ levels: [[orphan.digest]] })).manifests).toEqual([orphan.digest]);
    const gone = await doom({ levels: [[subject.digest], [referrer.digest]] });
    expect(gone.manifests).toEqual([subject.digest, referrer.digest]);
  });

  test('is deleted level by level in one batch if it is an index with children and referrers', async () => {
    const [one, two, kept] = [await untagged(1), await untagged(2), await untagged(3)];
    const index = await indexOf([one, two, kept]);
    const other = await indexOf([kept], { annotations: { n: '2' } });
    await must(put('multi', index, INDEX_TYPE), 201);
    await must(put('other', other, INDEX_TYPE), 201);
    const [signature, sbom] = [
      await untagged(4, { subject: descriptorOf(one, IMAGE_TYPE) }),
      await untagged(5, { subject: descriptorOf(index, INDEX_TYPE), ...LARGE }),
    ];
    const levels = [[index.digest], [one.digest, two.digest, kept.digest, sbom.digest], [signature.digest]];
    const gone = await doom({ tags: [tag('multi', index)], levels });
    expect(gone.tags).toEqual([{ tag: 'multi', digest: index.digest }]);
    expect(gone.manifests.toSorted()).toEqual([index, one, two, sbom, signature].map(({ digest }) => digest).sort());
    expect(gone.manifests[0]).toBe(index.digest);
    expect(await digestAt(world, REPOSITORY, kept.digest)).toBe(kept.digest);
    expect(await rowsOf('trashed_references', 'child, parent')).toHaveLength(3 + 4 * 2);
    expect(await violations(world.env)).toEqual([]);
  });

  test('stays with everything below it if the index was tagged again', async () => {
    const child = await untagged(1);
    const index = await indexOf([child]);
    await must(put('multi', index, INDEX_TYPE), 201);
    const signature = await untagged(2, { subject: descriptorOf(child, IMAGE_TYPE) });
    await must(put('second', index, INDEX_TYPE), 201);
    const gone = await doom({ tags: [tag('multi', index)], levels: [[index.digest], [child.digest], [signature.digest]] });
    expect(gone).toEqual({ tags: [{ tag: 'multi', digest: index.digest }], manifests: [] });
    expect(await rowsOf('trashed_manifests')).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('in a level with its own parent is deleted or kept as a whole, in any order', async () => {
    const child = await untagged(1);
    const index = await indexOf([child]);
    await must(put(index.digest, index, INDEX_TYPE), 201);
    await unleased();
    const events = await eventsDuring(world, async () => {
      for (const level of [[child.digest, index.digest]])
        expect((await doom({ levels: [level] })).manifests).toEqual([index.digest]);
    });
    expect(events.map(({ target }) => target.digest)).toEqual([index.digest]);
    expect(await digestAt(world, REPOSITORY, child.digest)).toBe(child.digest);
    expect(await violations(world.env)).toEqual([]);
  });

  test('in a level with its own subject is deleted after it, not with it', async () => {
    const subject = await untagged(1);
    const referrer = await untagged(2, { subject: descriptorOf(subject, IMAGE_TYPE) });
    expect((await doom({ levels: [[referrer.digest, subject.digest]] })).manifests).toEqual([subject.digest]);
    expect(await rowsOf('trash', 'name')).toEqual([{ name: subject.digest }]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('stays if the mutability rule has changed since', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    const loose = await untagged(2);
    const doomed = { tags: [tag('v1', image)], levels: [[loose.digest]] };
    const save = (imageTagMutability: string) =>
      api(world, 'PUT', `/repositories/${REPOSITORY}/-/tag-mutability`, { body: { imageTagMutability } });
    await save('IMMUTABLE');
    await unchanged(doomed);
    const { rule } = await getMutability(world.env, REPOSITORY);
    await save('MUTABLE');
    await unchanged({ ...doomed, rule });
    await save('IMMUTABLE');
    expect((await doom({ ...doomed, rule })).manifests).toEqual([loose.digest]);
  });

  test('is reserved for its image if the rule says so', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    await pushImage(world, REPOSITORY, 'v2', 1);
    await doom({ tags: [tag('v1', image, true), tag('v2', image)] });
    expect(await rowsOf('tag_history WHERE digest IS NULL', 'tag, reserved, point')).toEqual([
      { tag: 'v1', reserved: 1, point: 2 },
      { tag: 'v2', reserved: 0, point: 2 },
    ]);
  });

  test('in an unknown repository, or nothing at all, is nothing', async () => {
    const image = await untagged(1);
    await unchanged({});
    await unchanged({ levels: [[], []] });
    const before = await contents();
    const elsewhere = { rule: '', tags: [tag('v1', image)], levels: [[image.digest]] };
    expect(await deleteExpired(world.env, 'acme/absent' as RepositoryName, elsewhere, BY_RULE)).toEqual(nothing);
    expect(await contents()).toEqual(before);
  });

  test("may be 200 manifests of 300 layers each, whose lists exceed the limit of one statement's parameters", {
    tags: 'slow',
  }, async () => {
    await untagged(1);
    const digests = Array.from({ length: 200 }, (_, n) => parseDigest(`sha256:a${n.toString(16).padStart(63, '0')}`));
    const layers = Array.from({ length: 300 }, (_, n) => ({ digest: `sha256:b${n.toString(16).padStart(63, '0')}` }));
    await world.env.DB.prepare(
      `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, size, pushed_at, leased_until, content)
       SELECT (SELECT id FROM repositories), value, ?2, '', 1, 0, 0, ?3 FROM json_each(?1)`,
    )
      .bind(JSON.stringify(digests), IMAGE_TYPE, JSON.stringify({ layers }))
      .run();
    await world.env.DB.prepare(
      `INSERT INTO manifest_references (repository_id, child, parent)
       SELECT (SELECT id FROM repositories), l.value ->> 'digest', d.value FROM json_each(?1) d, json_each(?2) l`,
    )
      .bind(JSON.stringify(digests), JSON.stringify(layers))
      .run();
    const doomed = { rule: '', tags: [], levels: [digests.slice(0, 199), digests.slice(199)] };
    const gone = await deleteExpired(limited(world.env), REPOSITORY, doomed, BY_RULE);
    expect(gone.manifests).toEqual(digests);
    const left = await world.env.DB.prepare('SELECT count(*) AS n FROM manifest_references').first('n');
    const moved = await world.env.DB.prepare('SELECT count(*) AS n FROM trashed_references').first('n');
    expect([left, moved]).toEqual([2, 200 * 300]);
  });

  test('is deleted in one batch if it is 360 tags and 60 manifests', { tags: 'slow' }, async () => {
    const config = await pushBlob(world, REPOSITORY, '{}');
    const digests: Digest[] = [];
    for (let n = 0; n < 60; n++) {
      const document = {
        schemaVersion: 2,
        mediaType: IMAGE_TYPE,
        config: descriptorOf(config, 'a/b'),
        layers: [],
        annotations: { n: `${n}` },
      };
      const query = Array.from({ length: 5 }, (_, m) => `tag=t${n}-${m}`).join('&');
      const body = JSON.stringify(document);
      const { headers } = await putManifest(world, REPOSITORY, `t${n}?${query}`, body);
      digests.push(parseDigest(headers.get('docker-content-digest')));
    }
    const { results } = await world.env.DB.prepare('SELECT name AS tag, digest FROM tags').all<{ tag: Tag; digest: Digest }>();
    expect(results).toHaveLength(360);
    const gone = await doom({ tags: results.map((row) => ({ ...row, reserved: false })), levels: [digests] });
    expect([gone.tags.length, gone.manifests.length]).toEqual([360, 60]);
    for (const table of ['tags', 'manifests', 'manifest_references']) expect(await rowsOf(table)).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });
});
