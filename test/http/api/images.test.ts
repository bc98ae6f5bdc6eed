/** Images by the management API: all manifests of a repository, and one of them in full. */
import { beforeEach, describe, expect, test } from 'vitest';
import { counting } from '../../world/counting.ts';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  LAYER_TYPE,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  textOf,
} from '../../world/images.ts';
import { everyItem, makeAcme, makeRobot } from '../../world/organizations.ts';
import { api, refused } from '../../world/people.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const PATH = `/repositories/${REPOSITORY}/-/images`;

interface Image {
  digest: string;
  kind: string;
  size: number | null;
  platforms: { os: string | null; architecture: string | null; variant: string | null; size: number | null }[] | null;
  tags: string[];
  taggedBy: { subject: string } | null;
  subject: string | null;
  listed: boolean;
  layers: { digest: string; size: number; sharedBy: number | null }[];
  config: { digest: string } | null;
  annotations: Record<string, string>;
  bytesInAll: number | null;
  bytesAlone: number | null;
  referrerList: { digest: string; artifactType: string }[];
  attestationList: { digest: string; about: string | null }[];
  truncated: boolean;
}

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

async function read(reference: string, as?: string | null, at = world): Promise<Image> {
  const { status, body } = await api<Image>(at, 'GET', `${PATH}/${reference}`, as === undefined ? {} : { as });
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

const CONFIG = JSON.stringify({ os: 'linux', architecture: 'arm64', variant: 'v8', rootfs: {} });

/** An image of a real config and three layers, of which each seed has its own last one. */
async function pushLayers(tag: string, seed: number, more: object = {}): Promise<Content> {
  const config = await pushBlob(world, REPOSITORY, CONFIG);
  const base = await pushBlob(world, REPOSITORY, noise(500, 70));
  const own = await pushBlob(world, REPOSITORY, noise(40, seed));
  const layers = [base, own, base].map((layer) => descriptorOf(layer, LAYER_TYPE));
  const document = { schemaVersion: 2, mediaType: IMAGE_TYPE, config: descriptorOf(config, CONFIG_TYPE), layers, ...more };
  const image = await contentOf(JSON.stringify(document));
  expect((await putManifest(world, REPOSITORY, tag, textOf(image))).status).toBe(201);
  return image;
}

describe('one image', () => {
  test('has its layers, what they share, its annotations, tags and referrers, by digest and by tag', async () => {
    const image = await pushLayers('v1', 1, { annotations: { note: 'x' } });
    await pushLayers('v2', 2);
    const subject = descriptorOf(image, IMAGE_TYPE);
    const signature = await pushImage(world, REPOSITORY, null, 3, { subject, artifactType: 'example/signature' });
    const found = await read('v1');
    expect(found).toMatchObject({
      ...{ digest: image.digest, kind: 'image', tags: ['v1'], taggedBy: { subject: 'user:admin' }, listed: false },
      ...{ annotations: { note: 'x' }, truncated: false, size: CONFIG.length + 540, referrers: 1 },
      layers: [{ sharedBy: 2 }, { size: 40, sharedBy: 1 }, { sharedBy: 2 }],
      ...{ bytesInAll: CONFIG.length + 540, bytesAlone: 40 },
      referrerList: [{ digest: signature.digest, artifactType: 'example/signature' }],
      platforms: [{ os: 'linux', architecture: 'arm64', variant: 'v8', size: CONFIG.length + 540 }],
    });
    expect(await read(image.digest)).toEqual(found);
    expect(await read(signature.digest)).toMatchObject({ kind: 'artifact', subject: image.digest, platforms: null });
  });

  test('shows its platform in lists once it was read, and then without reading its config again', async () => {
    await pushLayers('v1', 1);
    const inList = async () =>
      (await api<{ items: { image: Image }[] }>(world, 'GET', `/repositories/${REPOSITORY}/-/tags`)).body.items[0]?.image;
    expect((await inList())?.platforms).toBeNull();
    const costs = async () => {
      const { env, counts } = counting(world.env);
      await read('v1', undefined, worldOf(env));
      return counts;
    };
    expect(await costs()).toMatchObject({ r2Reads: 1, rowsWritten: 1 });
    expect(await costs()).toMatchObject({ r2Reads: 0, rowsWritten: 0 });
    const known = [{ os: 'linux', architecture: 'arm64', variant: 'v8', size: CONFIG.length + 540 }];
    expect((await inList())?.platforms).toMatchObject(known);
    const { digest } = await read('v1');
    expect((await api(world, 'DELETE', `${PATH}/${digest}`)).status).toBe(200);
    expect((await api(world, 'POST', `/repositories/${REPOSITORY}/-/trash/manifests/${digest}/restore`)).status).toBe(200);
    expect((await inList())?.platforms).toMatchObject(known);
  });

  test('with a config that is no JSON, or no object, has no platform', async () => {
    for (const [n, text] of [
      'no JSON',
      'null',
      '[1]',
      '{"os":1,"architecture":"x"}',
      '{"os":"a/b","architecture":"x"}',
    ].entries()) {
      const config = await pushBlob(world, REPOSITORY, text);
      await putManifest(world, REPOSITORY, `v${n}`, { schemaVersion: 2, config: descriptorOf(config, CONFIG_TYPE) });
      expect((await read(`v${n}`)).platforms, text).toBeNull();
    }
  });

  test('that is an index counts each blob of its images once, and lists attestations apart', async () => {
    const [amd64, arm64] = [await pushLayers('a', 1), await pushLayers('b', 2)];
    const attestation = await pushImage(world, REPOSITORY, null, 9);
    const entry = (image: Content, architecture: string) =>
      descriptorOf(image, IMAGE_TYPE, { platform: { os: 'linux', architecture } });
    const manifests = [
      ...[entry(amd64, 'amd64'), entry(arm64, 'arm64')],
      descriptorOf(attestation, IMAGE_TYPE, {
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': amd64.digest },
      }),
    ];
    await putManifest(world, REPOSITORY, 'multi', { schemaVersion: 2, manifests }, INDEX_TYPE);
    const whole = CONFIG.length + 580 + 100 + '{"seed":9}'.length;
    const index = await read('multi');
    expect(index).toMatchObject({
      ...{ kind: 'index', layers: [], config: null, attestations: 1, bytesInAll: whole, bytesAlone: whole },
      attestationList: [{ digest: attestation.digest, about: amd64.digest }],
    });
    expect(index.platforms?.map(({ architecture, size }) => [architecture, size])).toEqual([
      ['amd64', CONFIG.length + 540],
      ['arm64', CONFIG.length + 540],
    ]);
    expect(await read('a')).toMatchObject({ listed: true, bytesAlone: 40 });
    // One entry that lists cannot show: the image itself can.
    const long = { annotations: { text: 'x'.repeat(200_000), short: 'y' } };
    await putManifest(world, REPOSITORY, 'long', { schemaVersion: 2, manifests: manifests.slice(0, 1), ...long }, INDEX_TYPE);
    expect(await read('long')).toMatchObject({
      platforms: [{ architecture: 'amd64', size: CONFIG.length + 540 }],
      truncated: true,
    });
  });

  test('takes two calls of the database, and at most 200 rows and ten for each layer', async () => {
    const blobs = await Promise.all(Array.from({ length: 12 }, (_, n) => pushBlob(world, REPOSITORY, noise(30, 200 + n))));
    const config = descriptorOf(await pushBlob(world, REPOSITORY, CONFIG), CONFIG_TYPE);
    const layers = blobs.map((blob) => descriptorOf(blob, LAYER_TYPE));
    for (let n = 0; n < 15; n++) {
      await putManifest(world, REPOSITORY, `v${n}`, { schemaVersion: 2, config, layers, annotations: { n: `${n}` } });
    }
    const { env, counts } = counting(world.env);
    expect((await read('v3', undefined, worldOf(env))).layers.map(({ sharedBy }) => sharedBy)).toEqual(Array(12).fill(10));
    expect(counts.d1).toBeLessThanOrEqual(3);
    expect(counts.rowsRead).toBeLessThanOrEqual(200 + 10 * 12);
  });

  test('that does not exist is a 404', async () => {
    await pushLayers('v1', 1);
    for (const reference of ['none', `sha256:${'0'.repeat(64)}`, '.x']) {
      expect(refused(await api(world, 'GET', `${PATH}/${reference}`)), reference).toBe('404 MANIFEST_UNKNOWN');
    }
    expect(refused(await api(world, 'GET', `${PATH}/sha256:xyz`))).toBe('400 DIGEST_INVALID');
  });
});

describe('the list', () => {
  test('has every manifest by digest, or those without a tag', async () => {
    const one = await pushLayers('v1', 1);
    const two = await pushImage(world, REPOSITORY, null, 2, { subject: descriptorOf(one, IMAGE_TYPE) });
    const three = await pushImage(world, REPOSITORY, null, 3);
    const index = { schemaVersion: 2, manifests: [descriptorOf(three, IMAGE_TYPE)] };
    await putManifest(world, REPOSITORY, 'multi', index, INDEX_TYPE);
    const items = await everyItem<Image>(world, PATH);
    expect(items.map(({ digest }) => digest)).toEqual([...new Set(items.map(({ digest }) => digest))].sort());
    expect(items).toHaveLength(4);
    expect(items.find(({ digest }) => digest === one.digest)).toMatchObject({ tags: ['v1'], listed: false, referrers: 1 });
    const { body } = await api<{ items: Image[]; next: null }>(world, 'GET', `${PATH}?untagged=true`);
    expect(body.items.map(({ digest, listed, subject, taggedBy }) => [digest, listed, subject, taggedBy]).sort()).toEqual(
      [
        [two.digest, false, one.digest, null],
        [three.digest, true, null, null],
      ].sort(),
    );
    expect(refused(await api(world, 'GET', `${PATH}?last=x`))).toBe('400 INVALID');
  });

  test('reads in proportion to its page, and 2,000 images to find those without a tag', async () => {
    const image = await pushLayers('v1', 1);
    const many = (sql: string) =>
      world.env.DB.prepare(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) ${sql}`)
        .bind(image.digest)
        .run();
    await many(
      `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, size, pushed_at, content, content_size)
       SELECT m.repository_id, 'sha256:' || printf('%064d', i), m.media_type, '', 1, 1, m.content, 1 FROM n, manifests m WHERE m.digest = ?1`,
    );
    await many(
      `INSERT INTO tags (repository_id, name, digest, updated_at)
       SELECT m.repository_id, 't' || i, 'sha256:' || printf('%064d', i), 1 FROM n, manifests m WHERE m.digest = ?1 AND i <> 2400`,
    );
    const cost = async (query: string) => {
      const { env, counts } = counting(world.env);
      const { body } = await api<{ items: Image[]; next: string | null }>(worldOf(env), 'GET', `${PATH}${query}`);
      return { ...counts, items: body.items.length, next: body.next };
    };
    const page = await cost('');
    expect(page).toMatchObject({ items: 50, rowsWritten: 0 });
    expect(page.rowsRead).toBeLessThanOrEqual(900);
    const untagged = await cost('?untagged=true');
    expect(untagged).toMatchObject({ items: 0, next: expect.stringContaining('sha256:') });
    expect(untagged.rowsRead).toBeLessThanOrEqual(8000);
    expect(await cost(`?untagged=true&last=${untagged.next}`)).toMatchObject({ items: 1, next: null });
  });
});

test('whoever may pull sees them without names of people, and nobody else sees anything', async () => {
  await makeAcme(world);
  const image = await pushLayers('v1', 1);
  const puller = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
  const outsider = await makeRobot(world, 'acme', 'outsider', []);
  expect(await read('v1', puller.basic)).toMatchObject({ digest: image.digest, taggedBy: null });
  for (const as of [outsider.basic, null]) {
    for (const path of ['', '/v1', `/${image.digest}`]) {
      const there = await api(world, 'GET', `${PATH}${path}`, { as });
      const absent = await api(world, 'GET', `/repositories/acme/none/-/images${path}`, { as });
      expect(there.body).toEqual(absent.body);
      expect(there.status).toBe(as === null ? 401 : 404);
    }
  }
  await api(world, 'PATCH', `/repositories/${REPOSITORY}`, { body: { visibility: 'public' } });
  expect(await read('v1', null)).toMatchObject({ digest: image.digest, taggedBy: null });
});
