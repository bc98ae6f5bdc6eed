/** Deletions of tags and images by the management API: one, several at once, and previewed. */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import { counting } from '../../world/counting.ts';
import {
  type Content,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  indexOf,
  pushBlob,
  pushImage,
  putManifest,
  textOf,
} from '../../world/images.ts';
import { eventsDuring, makeAcme, makeRobot } from '../../world/organizations.ts';
import { type ApiRequest, api, type Person, refused } from '../../world/people.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const PATH = `/repositories/${REPOSITORY}/-`;
/** Bytes of the config and the layer of a test image with a seed of one digit. */
const CONTENT = '{"seed":1}'.length + 100;

interface Preview {
  tags: { tag: string; digest: string; immutable: boolean }[];
  attached: { tag: string }[];
  manifests: { digest: string; size: number }[];
  referenced: { digest: string; referencedBy: string }[];
  orphans: string[];
  bytes: number;
  freedBytes: number | null;
}

let world: World;
let one: Content;

beforeEach(async () => {
  world = await newWorld();
  one = await pushImage(world, REPOSITORY, 'v1', 1);
});

const preview = async (body: object, request: ApiRequest = {}) =>
  api<Preview>(world, 'POST', `${PATH}/deletion/preview`, { body, ...request });
const remove = (body: object, request: ApiRequest = {}, at = world) =>
  api<{ tags: { tag: string }[]; manifests: string[] }>(at, 'POST', `${PATH}/deletion`, { body, ...request });

async function present(): Promise<{ tags: string[]; manifests: string[] }> {
  const tags = await world.env.DB.prepare('SELECT name FROM tags ORDER BY 1').all<{ name: string }>();
  const manifests = await world.env.DB.prepare('SELECT digest FROM manifests ORDER BY 1').all<{ digest: string }>();
  return { tags: tags.results.map(({ name }) => name), manifests: manifests.results.map(({ digest }) => digest) };
}

/** An index of two images, which have no tags. */
async function pushIndex(tag: string): Promise<{ index: Content; children: Content[] }> {
  const children = [await pushImage(world, REPOSITORY, null, 5), await pushImage(world, REPOSITORY, null, 6)];
  const index = await indexOf(children);
  expect((await putManifest(world, REPOSITORY, tag, textOf(index), INDEX_TYPE)).status).toBe(201);
  return { index, children };
}

const digestsOf = (...images: Content[]) => images.map(({ digest }) => digest).sort();

test('a tag is deleted as by /v2: the image stays, the tag is in the trash, and If-Match counts', async () => {
  const other = `"sha256:${'0'.repeat(64)}"`;
  const stale = await api(world, 'DELETE', `${PATH}/tags/v1`, { headers: { 'if-match': other } });
  expect(refused(stale)).toBe('412 DENIED');
  const { status, body } = await api(world, 'DELETE', `${PATH}/tags/v1`, { headers: { 'if-match': `"${one.digest}"` } });
  expect([status, body]).toEqual([200, { tags: [{ tag: 'v1', digest: one.digest }], manifests: [] }]);
  expect(await present()).toEqual({ tags: [], manifests: [one.digest] });
  expect((await api(world, 'POST', `${PATH}/trash/tags/v1/restore`)).status).toBe(200);
  expect(refused(await api(world, 'DELETE', `${PATH}/tags/none`))).toBe('404 MANIFEST_UNKNOWN');
});

test('an image is deleted with its tags and signatures, and can be restored', async () => {
  const signature = await pushImage(world, REPOSITORY, `${one.digest.replace(':', '-')}.sig`, 2);
  const { status, body } = await api<{ tags: { tag: string }[]; manifests: string[] }>(
    world,
    'DELETE',
    `${PATH}/images/${one.digest}`,
  );
  expect([status, body.tags.length, body.manifests.sort()]).toEqual([200, 2, digestsOf(one, signature)]);
  expect(await present()).toEqual({ tags: [], manifests: [] });
  expect((await api(world, 'POST', `${PATH}/trash/manifests/${one.digest}/restore`)).status).toBe(200);
  expect((await present()).tags).toHaveLength(2);
  expect(await violations(world.env)).toEqual([]);
});

describe('several at once', () => {
  test('go in one batch, with one event each', async () => {
    const two = await pushImage(world, REPOSITORY, 'v2', 2);
    await putManifest(world, REPOSITORY, 'latest', textOf(one));
    const events = await eventsDuring(world, async () => {
      const { status, body } = await remove({ tags: ['v1'], images: [two.digest, two.digest] });
      expect([status, body]).toMatchObject([200, { tags: [{ tag: 'v1' }, { tag: 'v2' }], manifests: [two.digest] }]);
    });
    expect(events.map(({ type }) => type)).toEqual(['tag.deleted', 'tag.deleted', 'manifest.deleted']);
    expect(await present()).toEqual({ tags: ['latest'], manifests: [one.digest] });
  });

  test('are an index and its images, which alone are refused', async () => {
    const { index, children } = await pushIndex('multi');
    const alone = await remove({ images: digestsOf(...children) });
    expect([refused(alone), JSON.stringify(alone.body)]).toEqual(['405 UNSUPPORTED', expect.stringContaining(index.digest)]);
    const { body } = await remove({ images: digestsOf(index, ...children) });
    expect(body.manifests.sort()).toEqual(digestsOf(index, ...children));
    expect(await violations(world.env)).toEqual([]);
  });

  test('go all or not at all', async () => {
    await pushImage(world, REPOSITORY, 'v2', 2);
    const before = await present();
    const absent = await remove({ tags: ['v1', 'none', 'nothing'] });
    expect([refused(absent), JSON.stringify(absent.body)]).toEqual([
      '404 MANIFEST_UNKNOWN',
      expect.stringContaining('nothing'),
    ]);
    expect(refused(await remove({ tags: ['v1'], images: [`sha256:${'0'.repeat(64)}`] }))).toBe('404 MANIFEST_UNKNOWN');
    const body = {
      imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
      imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'v1' }],
    };
    await api(world, 'PUT', `${PATH}/tag-mutability`, { body });
    expect(refused(await remove({ tags: ['v1', 'v2'] }))).toBe('403 DENIED');
    expect((await preview({ tags: ['v1', 'v2'] })).body.tags.map(({ immutable }) => immutable)).toEqual([false, true]);
    expect(await present()).toEqual(before);
    expect((await remove({ tags: ['v1'] })).status).toBe(200);
  });

  test('are refused if their documents are too long to read them all', { tags: 'slow' }, async () => {
    const annotations = { text: 'x'.repeat(6_000_000) };
    const images = [];
    for (let n = 2; n < 5; n++) images.push((await pushImage(world, REPOSITORY, `v${n}`, n, { annotations })).digest);
    expect(refused(await preview({ images }))).toBe('400 UNSUPPORTED');
    expect(refused(await remove({ images }))).toBe('400 UNSUPPORTED');
    expect((await remove({ images: images.slice(0, 2) })).status).toBe(200);
  });

  test('have a limit, and stay below 50 statements', async () => {
    const tags = Array.from({ length: 100 }, (_, n) => `t${n}`);
    const query = tags.map((tag) => `tag=${tag}`).join('&');
    expect((await putManifest(world, REPOSITORY, `${one.digest}?${query}`, textOf(one))).status).toBe(201);
    expect(refused(await remove({ tags: [...tags, 'v1'] }))).toBe('400 INVALID');
    const { env, counts } = counting(world.env);
    expect((await remove({ tags }, {}, worldOf(env))).body.tags).toHaveLength(100);
    expect(counts.d1).toBeLessThanOrEqual(3);
    expect(counts.rowsWritten).toBeLessThanOrEqual(1000);
    for (const wrong of [{}, { tags: [] }, { tags: ['a b'] }, { images: ['v1'] }, { images: [one.digest], orphans: 'x' }]) {
      expect(refused(await remove(wrong)), JSON.stringify(wrong)).toBe('400 INVALID');
    }
  });
});

describe('a preview', () => {
  test('says what goes and how many bytes come back, and changes nothing', async () => {
    const before = await present();
    const tag = await preview({ tags: ['v1'] });
    expect(tag.body).toEqual({
      tags: [{ tag: 'v1', digest: one.digest, immutable: false }],
      ...{ attached: [], manifests: [], referenced: [], orphans: [one.digest], bytes: 0, freedBytes: 0 },
    });
    const { body } = await preview({ tags: ['v1'], orphans: 'delete' });
    const bytes = CONTENT + one.bytes.byteLength;
    expect(body).toMatchObject({ manifests: [{ digest: one.digest, size: one.bytes.byteLength }], bytes, freedBytes: bytes });
    // The layer is in another image, too.
    await pushImage(world, REPOSITORY, 'v2', 1, { annotations: { other: 'image' } });
    expect((await preview({ images: [one.digest] })).body).toMatchObject({ bytes: one.bytes.byteLength });
    expect((await present()).manifests).toHaveLength(before.manifests.length + 1);
  });

  test('is what then happens, signatures and images of an index included', async () => {
    const { index, children } = await pushIndex('multi');
    const [child] = children as [Content, Content];
    await pushImage(world, REPOSITORY, `${index.digest.replace(':', '-')}.sig`, 7);
    await pushImage(world, REPOSITORY, null, 8, { subject: descriptorOf(child, IMAGE_TYPE) });
    const body = { tags: ['multi'], orphans: 'delete' };
    const planned = await preview(body);
    expect(planned.body.attached).toHaveLength(1);
    expect(planned.body.manifests).toHaveLength(5);
    const { body: done } = await remove(body, { headers: { 'if-match': planned.headers.get('etag') ?? '' } });
    expect(done.manifests.sort()).toEqual(planned.body.manifests.map(({ digest }) => digest).sort());
    expect(await present()).toEqual({ tags: ['v1'], manifests: [one.digest] });
    expect(await violations(world.env)).toEqual([]);
  });

  test('leaves what something else holds', async () => {
    const { index, children } = await pushIndex('multi');
    const [child] = children as [Content, Content];
    await putManifest(world, REPOSITORY, 'amd64', textOf(child));
    const { body } = await preview({ tags: ['multi'], orphans: 'delete' });
    expect(body.manifests.map(({ digest }) => digest).sort()).toEqual(digestsOf(index, children[1] as Content));
    await putManifest(world, REPOSITORY, 'same', textOf(index), INDEX_TYPE);
    expect((await preview({ tags: ['multi'], orphans: 'delete' })).body.manifests).toEqual([]);
    expect((await preview({ images: [child.digest] })).body.referenced).toEqual([
      { digest: child.digest, referencedBy: index.digest },
    ]);
  });

  test('counts: its ETag is refused once something else would go', async () => {
    const { headers } = await preview({ images: [one.digest] });
    await putManifest(world, REPOSITORY, 'v2', textOf(one));
    const stale = await remove({ images: [one.digest] }, { headers: { 'if-match': headers.get('etag') ?? '' } });
    expect(refused(stale)).toBe('412 PRECONDITION_FAILED');
    expect((await present()).tags).toEqual(['v1', 'v2']);
  });
});

describe('the rights', () => {
  let owner: Person;

  beforeEach(async () => {
    ({ owner } = await makeAcme(world));
  });

  const everyDeletion = (as: string | null, repository = REPOSITORY) => {
    const path = `/repositories/${repository}/-`;
    return Promise.all([
      api(world, 'DELETE', `${path}/tags/v1`, { as }),
      api(world, 'DELETE', `${path}/images/${one.digest}`, { as }),
      api(world, 'POST', `${path}/deletion`, { as, body: { tags: ['v1'] } }),
      api(world, 'POST', `${path}/deletion/preview`, { as, body: { tags: ['v1'] } }),
    ]);
  };

  test('to pull and to push are not enough, for robots, narrowed keys and everybody on a public repository', async () => {
    await api(world, 'PATCH', `/repositories/${REPOSITORY}`, { body: { visibility: 'public' } });
    const pusher = await makeRobot(world, 'acme', 'pusher', [{ actions: ['pull', 'push', 'retag'], repositories: ['acme/*'] }]);
    const narrowed = await api<{ secret: string }>(world, 'POST', '/keys', {
      as: owner.basic,
      body: { name: 'narrowed', statements: [{ actions: ['pull', 'push'], repositories: ['acme/*'] }] },
    });
    for (const as of [pusher.basic, `Bearer ${narrowed.body.secret}`]) {
      expect((await everyDeletion(as)).map(refused)).toEqual(Array(4).fill('403 DENIED'));
    }
    expect((await everyDeletion(null)).map(refused)).toEqual(Array(4).fill('401 UNAUTHORIZED'));
    expect((await present()).tags).toEqual(['v1']);
  });

  test('do not tell what exists', async () => {
    const outsider = await makeRobot(world, 'acme', 'outsider', []);
    const [there, absent] = [await everyDeletion(outsider.basic), await everyDeletion(outsider.basic, 'acme/none')];
    expect(there.map(({ status, body }) => [status, body])).toEqual(absent.map(({ status, body }) => [status, body]));
  });

  test('limited to some tags are for single deletions of those', async () => {
    const cleaner = await makeRobot(world, 'acme', 'cleaner', [
      { actions: ['pull', 'delete'], repositories: ['acme/*'] },
      { effect: 'deny', actions: ['delete'], repositories: ['acme/*'], tags: ['release*'] },
    ]);
    await putManifest(world, REPOSITORY, 'release1', textOf(one));
    const as = cleaner.basic;
    expect(refused(await remove({ tags: ['v1', 'release1'] }, { as }))).toBe('403 DENIED');
    expect(refused(await api(world, 'DELETE', `${PATH}/tags/release1`, { as }))).toBe('403 DENIED');
    expect(refused(await api(world, 'DELETE', `${PATH}/images/${one.digest}`, { as }))).toBe('403 DENIED');
    expect((await api(world, 'DELETE', `${PATH}/tags/v1`, { as })).status).toBe(200);
  });

  test('to delete here do not tell what other repositories hold', async () => {
    await pushBlob(world, 'other/secret', '{"seed":1}');
    const bytes = CONTENT + one.bytes.byteLength;
    expect((await preview({ images: [one.digest] }, { as: owner.basic })).body).toMatchObject({ bytes, freedBytes: null });
    const freedBytes = bytes - '{"seed":1}'.length;
    expect((await preview({ images: [one.digest] })).body).toMatchObject({ bytes, freedBytes });
  });
});

test('a registry that allows no deletions refuses all of it', async () => {
  const off = worldOf({ ...world.env, DELETION: 'off' });
  const answers = [
    await api(off, 'DELETE', `${PATH}/tags/v1`),
    await api(off, 'DELETE', `${PATH}/images/${one.digest}`),
    await api(off, 'POST', `${PATH}/deletion`, { body: { tags: ['v1'] } }),
    await api(off, 'POST', `${PATH}/deletion/preview`, { body: { tags: ['v1'] } }),
  ];
  expect(answers.map(refused)).toEqual(Array(4).fill('405 UNSUPPORTED'));
});
