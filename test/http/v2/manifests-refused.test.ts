/** Manifests that are refused: the answer, and that nothing changes. */
import { beforeAll, describe, expect, test } from 'vitest';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  type Descriptor,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  LAYER_TYPE,
  pushBlob,
  pushImage,
  putManifest,
  refusal,
  textOf,
} from '../../world/images.ts';
import { limited } from '../../world/limits.ts';
import { digestAt, eventsOf, tagsOf } from '../../world/reading.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
/** The descriptor of a config with the two bytes `{}`. */
const config = {
  mediaType: CONFIG_TYPE,
  digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
  size: 2,
};
const nowhere = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;

let world: World;
let before: Content;

beforeAll(async () => {
  world = await newWorld();
  await pushBlob(world, 'acme/api', '{}');
  before = await pushImage(world, 'acme/api', 'v1', 1);
});

const image = (more: Record<string, unknown> = {}) => ({
  schemaVersion: 2,
  config,
  layers: [],
  ...more,
});
const indexOf = (...manifests: Descriptor[]) => ({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests });

/** Puts a manifest under v1 and under its digest. Expects that both are refused and that v1 does not change. */
async function refused(document: unknown, contentType = IMAGE_TYPE): Promise<string> {
  const text = typeof document === 'string' ? document : JSON.stringify(document);
  const { digest } = await contentOf(text);
  const events = await eventsOf(world, 'acme/api');
  const answer = await refusal(await putManifest(world, 'acme/api', 'v1', text, contentType));
  expect(await refusal(await putManifest(world, 'acme/api', `${digest}?tag=v2`, text, contentType))).toBe(answer);
  expect(await digestAt(world, 'acme/api', 'v1')).toBe(before.digest);
  expect(await digestAt(world, 'acme/api', digest)).toBe(404);
  expect(await tagsOf(world, 'acme/api')).toEqual(['v1']);
  expect(await eventsOf(world, 'acme/api')).toEqual(events);
  return answer;
}

describe('a body that is not a manifest is refused as MANIFEST_INVALID', () => {
  test.each<[string, unknown]>([
    ['nothing', ''],
    ['no JSON', '<script>alert(1)</script>'],
    ['a list', '[]'],
    ['null', 'null'],
    ['an empty object', '{}'],
    ['two documents', `${JSON.stringify(image())}\n${JSON.stringify(image())}`],
    ['one after a byte order mark', `\ufeff${JSON.stringify(image())}`],
    ['10,000 levels deep', `{"x":${'['.repeat(10_000)}${']'.repeat(10_000)},${JSON.stringify(image()).slice(1)}`],
    ['200,000 levels deep', `{"x":${'{"x":'.repeat(200_000)}1${'}'.repeat(200_000)},${JSON.stringify(image()).slice(1)}`],
    ['one with a second config', JSON.stringify(image()).replace('"layers"', '"config":{},"layers"')],
    [
      'one with a second mediaType',
      JSON.stringify(image({ mediaType: IMAGE_TYPE })).replace('"layers"', `"mediaType":"${INDEX_TYPE}","layers"`),
    ],
    ['one with a size below zero', image({ layers: [{ mediaType: LAYER_TYPE, digest: nowhere(1), size: -1 }] })],
    ['one with a size of 1e30', image({ layers: [{ mediaType: LAYER_TYPE, digest: nowhere(1), size: 1e30 }] })],
    ['one of schemaVersion "2"', image({ schemaVersion: '2' })],
    ['schema 1', { schemaVersion: 1, name: 'a', tag: 'b', fsLayers: [], history: [], signatures: [] }],
    ['one that says it is another type', image({ mediaType: DOCKER_IMAGE })],
    ['an image with children', image({ manifests: [] })],
    ['one whose subject is a list', image({ subject: [] })],
    [
      'one whose subject is itself, as far as a text can be',
      image({ subject: { mediaType: IMAGE_TYPE, digest: 'self', size: 1 } }),
    ],
    ['one with a huge artifactType', image({ artifactType: 'x'.repeat(3_000_000) })],
  ])('%s', async (_, document) => {
    expect(await refused(document)).toBe('400 MANIFEST_INVALID');
  });

  test('for bytes that are not UTF-8', async () => {
    const body = new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);
    const headers = { 'content-type': IMAGE_TYPE };
    expect(await refusal(await world.fetch('PUT', '/v2/acme/api/manifests/v1', { headers, body }))).toBe(
      '400 MANIFEST_INVALID',
    );
  });

  test('for a missing body', async () => {
    const headers = { 'content-type': IMAGE_TYPE };
    expect(await refusal(await world.fetch('PUT', '/v2/acme/api/manifests/v1', { headers }))).toBe('400 MANIFEST_INVALID');
  });
});

describe('an unsupported media type is refused, and never served', () => {
  test.each([
    'text/html',
    'image/svg+xml',
    'application/javascript',
    'application/json',
    'application/octet-stream',
    'constructor',
    'application/vnd.docker.distribution.manifest.v1+prettyjws',
    INDEX_TYPE,
    DOCKER_LIST,
  ])('%s', async (contentType) => {
    expect(await refused(image(), contentType)).toBe('400 MANIFEST_INVALID');
  });

  test('if there is none at all', async () => {
    const body = new TextEncoder().encode(JSON.stringify(image()));
    expect(await refusal(await world.fetch('PUT', '/v2/acme/api/manifests/v1', { body }))).toBe('400 MANIFEST_INVALID');
  });
});

test('a body that does not match the digest of its address is refused, and neither digest exists', async () => {
  const text = JSON.stringify(image({ annotations: { of: 'another digest' } }));
  const { digest } = await contentOf(text);
  expect(await refusal(await putManifest(world, 'acme/api', nowhere(5), text))).toBe('400 DIGEST_INVALID');
  expect(await refusal(await putManifest(world, 'acme/api', before.digest, text))).toBe('400 DIGEST_INVALID');
  expect(await digestAt(world, 'acme/api', nowhere(5))).toBe(404);
  expect(await digestAt(world, 'acme/api', digest)).toBe(404);
  const kept = await world.fetch('GET', `/v2/acme/api/manifests/${before.digest}`);
  expect(await kept.text()).toBe(textOf(before));
});

describe('referenced content that is missing', () => {
  const missing = (n: number, mediaType = LAYER_TYPE) => ({ mediaType, digest: nowhere(n), size: n });

  test.each<[string, unknown, string, number[]]>([
    ['layers', image({ layers: [missing(7), missing(8)] }), IMAGE_TYPE, [7, 8]],
    ['a config', image({ config: missing(7, CONFIG_TYPE) }), IMAGE_TYPE, [7]],
    ['children of an index', indexOf(missing(7, IMAGE_TYPE), missing(8, INDEX_TYPE)), INDEX_TYPE, [7, 8]],
    ['blobs of an index', indexOf(missing(7), missing(8)), INDEX_TYPE, [7, 8]],
  ])('(%s) is listed, each', async (_, document, contentType, digests) => {
    expect(await refused(document, contentType)).toBe('400 MANIFEST_BLOB_UNKNOWN');
    const response = await putManifest(world, 'acme/api', 'v1', document, contentType);
    const { errors } = (await response.json()) as { errors: { detail: { digest: string }[] }[] };
    expect(errors.flatMap(({ detail }) => detail.map(({ digest }) => digest)).sort()).toEqual(digests.map(nowhere));
  });

  test('is looked for in this repository only: a blob of another one counts as missing', async () => {
    const elsewhere = await pushBlob(world, 'acme/private', 'a layer of others');
    const answer = async (layer: Descriptor) => {
      const response = await putManifest(world, 'acme/api', 'v1', image({ layers: [layer] }));
      return `${response.status} ${(await response.text()).replaceAll(layer.digest, 'it')} ${[...response.headers]}`;
    };
    const absent = await answer({ ...descriptorOf(elsewhere, LAYER_TYPE), digest: nowhere(9) });
    expect(await answer(descriptorOf(elsewhere, LAYER_TYPE))).toBe(absent);
    expect(absent).toMatch(/^400 .*MANIFEST_BLOB_UNKNOWN/);
    const image2 = await pushImage(world, 'acme/private', null, 2);
    expect(await refused(indexOf(descriptorOf(image2, IMAGE_TYPE)), INDEX_TYPE)).toBe('400 MANIFEST_BLOB_UNKNOWN');
  });

  test('must have the right kind: a manifest is not a layer, and a blob is not a child', async () => {
    expect(await refused(image({ layers: [descriptorOf(before, LAYER_TYPE)] }))).toBe('400 MANIFEST_BLOB_UNKNOWN');
    expect(await refused(indexOf({ ...config, mediaType: IMAGE_TYPE }), INDEX_TYPE)).toBe('400 MANIFEST_BLOB_UNKNOWN');
  });

  test('does not create a repository', async () => {
    expect(await refusal(await putManifest(world, 'acme/never', 'v1', image()))).toBe('400 MANIFEST_BLOB_UNKNOWN');
    expect(await refusal(await world.fetch('GET', '/v2/acme/never/tags/list'))).toBe('404 NAME_UNKNOWN');
  });

  test('leaves no object of a large manifest', async () => {
    const text = JSON.stringify(image({ layers: [missing(7)], annotations: { text: 'x'.repeat(200_000) } }));
    expect(await refused(text)).toBe('400 MANIFEST_BLOB_UNKNOWN');
    expect((await world.env.BLOBS.list({ prefix: 'manifests/' })).objects).toEqual([]);
  });
});

describe('a descriptor that contradicts the content is refused as MANIFEST_INVALID', () => {
  test('of a blob, about its size', async () => {
    expect(await refused(image({ config: { ...config, size: 3 } }))).toBe('400 MANIFEST_INVALID');
    expect(await refused(indexOf({ ...config, size: 3 }), INDEX_TYPE)).toBe('400 MANIFEST_INVALID');
  });

  test('of a child, about its size or its media type', async () => {
    const wrongSize = indexOf(descriptorOf(before, IMAGE_TYPE, { size: 1 }));
    expect(await refused(wrongSize, INDEX_TYPE)).toBe('400 MANIFEST_INVALID');
    expect(await refused(indexOf(descriptorOf(before, DOCKER_IMAGE)), INDEX_TYPE)).toBe('400 MANIFEST_INVALID');
    expect(await refused(indexOf(descriptorOf(before, INDEX_TYPE)), INDEX_TYPE)).toBe('400 MANIFEST_INVALID');
  });
});

describe("within D1's limits", () => {
  const layers = (count: number) =>
    Array.from({ length: count }, (_, n) => ({
      mediaType: `application/${'x'.repeat(100)};${'y'.repeat(255)}`,
      digest: `sha512:${n.toString(16).padStart(128, '0')}`,
      size: n,
    }));

  test('a manifest references up to 4,000 digests, and missing ones are counted and named within 8 KiB', {
    tags: 'slow',
  }, async () => {
    const response = await putManifest(worldOf(limited(world.env)), 'acme/api', 'v1', image({ layers: layers(3999) }));
    const body = await response.text();
    expect(body.length).toBeLessThan(8 * 1024);
    expect(body).toContain('MANIFEST_BLOB_UNKNOWN');
    expect(body).toMatch(/\b3,?999\b/);
    expect(await refused(image({ layers: layers(4000) }))).toBe('400 MANIFEST_INVALID');
  });

  test('a layer may be listed 16,000 times, and the manifest can be deleted', async () => {
    const production = worldOf(limited(world.env));
    const manifest = await contentOf(JSON.stringify(image({ layers: Array(16_000).fill(config) })));
    expect((await putManifest(production, 'acme/api', manifest.digest, textOf(manifest))).status).toBe(201);
    expect((await production.fetch('DELETE', `/v2/acme/api/manifests/${manifest.digest}`)).status).toBe(202);
  });

  test('a manifest of 4,000 foreign layers is accepted', async () => {
    const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
    const foreign = layers(3999).map((layer) => ({ ...layer, mediaType }));
    await pushBlob(world, 'acme/windows', '{}');
    const response = await putManifest(worldOf(limited(world.env)), 'acme/windows', 'v1', image({ layers: foreign }));
    expect(response.status).toBe(201);
  });
});

test('pushing an image whose blobs were never sent fails', async () => {
  const unsent = await contentOf(textOf(await imageIn(world, 'acme/full', 3)));
  expect(await refusal(await putManifest(world, 'acme/empty', 'v1', textOf(unsent)))).toBe('400 MANIFEST_BLOB_UNKNOWN');
  expect((await putManifest(world, 'acme/full', 'v1', textOf(unsent))).status).toBe(201);
});
