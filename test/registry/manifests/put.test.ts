/** The right to create tags without the right to move them. A put checks it, although no credential can have it yet. */
import { beforeEach, describe, expect, test } from 'vitest';
import { parseManifest } from '../../../src/oci/manifest.ts';
import { parseRepositoryName } from '../../../src/oci/name.ts';
import { parseTag } from '../../../src/oci/reference.ts';
import { type MovedTags, putManifest } from '../../../src/registry/manifests/put.ts';
import { type Content, IMAGE_TYPE, imageIn, pushImage } from '../../world/images.ts';
import { digestAt, eventsOf, tagsOf } from '../../world/reading.ts';
import { builtOnce, type World } from '../../world/world.ts';

let world: World;
let before: Content;

const build = builtOnce(async (made) => {
  world = made;
  before = await pushImage(world, 'acme/api', 'latest', 1);
});

beforeEach(async () => {
  world = await build();
});

function put({ digest, bytes }: Content, ...tags: string[]): Promise<MovedTags> {
  const push = {
    repository: parseRepositoryName('acme/api'),
    digest,
    manifest: parseManifest(bytes, IMAGE_TYPE),
    size: bytes.length,
    tags: tags.map(parseTag),
    by: { subject: 'user:somebody' },
    mayCreate: true,
    condition: null,
    notToMake: [],
    notToMove: tags.map(parseTag),
  };
  return putManifest(world.env, push, { waitUntil: () => {} });
}

describe('a user who may push but not move tags', () => {
  test('creates tags, and pushes again what a tag names already', async () => {
    const image = await imageIn(world, 'acme/api', 2);
    expect(await put(image, 'v1', 'v2')).toEqual([]);
    expect(await put(image, 'v1', 'v3')).toEqual([]);
    expect(await put(before, 'latest')).toEqual([]);
    expect(await put(image)).toEqual([]);
    expect(await tagsOf(world, 'acme/api')).toEqual(['latest', 'v1', 'v2', 'v3']);
  });

  test.each(['latest', 'v1'])(
    'is refused as DENIED if a tag would move, even if it is called %s, and nothing of the push happens',
    async (tag) => {
      await pushImage(world, 'acme/api', 'v1', 1);
      const image = await imageIn(world, 'acme/api', 2);
      const events = await eventsOf(world, 'acme/api');
      await expect(put(image, 'new', tag)).rejects.toThrow(expect.objectContaining({ reason: 'forbidden' }));
      expect(await digestAt(world, 'acme/api', tag)).toBe(before.digest);
      expect(await digestAt(world, 'acme/api', image.digest)).toBe(404);
      expect(await tagsOf(world, 'acme/api')).toEqual(['latest', 'v1']);
      expect(await eventsOf(world, 'acme/api')).toEqual(events);
    },
  );

  test('is one of sixteen who create one tag: the first succeeds, the others are refused', async () => {
    const images: Content[] = [];
    for (let seed = 0; seed < 16; seed++) images.push(await imageIn(world, 'acme/api', seed + 10));
    const outcomes = await Promise.allSettled(images.map((image) => put(image, 'release')));
    const won = outcomes.flatMap(({ status }, n) => (status === 'fulfilled' ? [images[n]?.digest] : []));
    expect(won).toHaveLength(1);
    expect(await digestAt(world, 'acme/api', 'release')).toBe(won[0]);
  });
});
