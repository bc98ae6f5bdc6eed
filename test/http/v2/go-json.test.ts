/** Manifests as Go writes them, with `null` for empty and without zero values: from the push to a restored deletion. */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import {
  CONFIG_TYPE,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  LAYER_TYPE,
  pushBlob,
  putManifest,
} from '../../world/images.ts';
import { api } from '../../world/people.ts';
import { newWorld, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/go';
let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const NOTHING = { urls: null, annotations: null, data: null, artifactType: null };

async function documents(): Promise<Record<string, [type: string, document: object]>> {
  const config = await pushBlob(world, REPOSITORY, '{}');
  const empty = await pushBlob(world, REPOSITORY, '');
  const layer = await pushBlob(world, REPOSITORY, 'a layer');
  const zero = { mediaType: CONFIG_TYPE, digest: empty.digest };
  const image = { schemaVersion: 2, mediaType: IMAGE_TYPE, config: descriptorOf(config, CONFIG_TYPE) };
  const layers = [descriptorOf(layer, LAYER_TYPE, NOTHING)];
  const child = await contentOf(JSON.stringify({ ...image, layers }));
  expect((await putManifest(world, REPOSITORY, child.digest, { ...image, layers })).status).toBe(201);
  const index = { schemaVersion: 2, mediaType: INDEX_TYPE };
  return {
    'layers that are null': [IMAGE_TYPE, { ...image, layers: null }],
    'no layers': [IMAGE_TYPE, image],
    'a config of no bytes without a size': [IMAGE_TYPE, { ...image, config: zero, layers: null }],
    'optional fields that are null': [
      IMAGE_TYPE,
      { ...image, mediaType: null, layers, manifests: null, subject: null, annotations: null, artifactType: null },
    ],
    'a large document with layers that are null': [
      IMAGE_TYPE,
      { ...image, layers: null, annotations: { text: 'x'.repeat(200_000) } },
    ],
    'manifests that are null': [INDEX_TYPE, { ...index, manifests: null, config: null, layers: null }],
    'no manifests': [INDEX_TYPE, index],
    'a child with fields that are null': [
      INDEX_TYPE,
      { ...index, config: null, layers: null, subject: null, manifests: [descriptorOf(child, IMAGE_TYPE, NOTHING)] },
    ],
  };
}

describe('a manifest with', () => {
  test.each([
    'layers that are null',
    'no layers',
    'a config of no bytes without a size',
    'optional fields that are null',
    'a large document with layers that are null',
    'manifests that are null',
    'no manifests',
    'a child with fields that are null',
  ])('%s is taken, given back byte for byte, deleted and restored', async (kind) => {
    const [type, document] = (await documents())[kind] ?? ['', {}];
    const text = JSON.stringify(document);
    const { digest } = await contentOf(text);
    const pushed = await putManifest(world, REPOSITORY, 'v1', text, type);
    expect([pushed.status, await pushed.text()]).toEqual([201, '']);
    const pulled = async () => (await world.fetch('GET', `/v2/${REPOSITORY}/manifests/v1`)).text();
    expect(await pulled()).toBe(text);
    expect((await world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${digest}`)).status).toBe(202);
    const restored = await api(world, 'POST', `/repositories/${REPOSITORY}/-/trash/manifests/${digest}/restore`);
    expect([restored.status, restored.body]).toMatchObject([200, {}]);
    expect(await pulled()).toBe(text);
    expect(await violations(world.env)).toEqual([]);
  });

  test('a missing size is refused unless the content is empty', async () => {
    const config = await pushBlob(world, REPOSITORY, '{}');
    const document = { schemaVersion: 2, config: { mediaType: CONFIG_TYPE, digest: config.digest }, layers: [] };
    const response = await putManifest(world, REPOSITORY, 'v1', document);
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('config.size is missing');
  });
});
