/**
 * Clients push, mount and delete the same few layers while a collector without a grace period runs. A client that was told that
 * content exists can use it. At the end, all acknowledged content exists, and no other content.
 *
 * @module-tag walk
 */
import { expect, test } from 'vitest';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  LAYER_TYPE,
  noise,
  textOf,
} from '../../world/images.ts';
import { inFull } from '../../world/sampling.ts';
import { newWorld, type World } from '../../world/world.ts';
import { collect, collectAll, count, daysPass, keys, scrub, slice, wrong } from './garbage.ts';

const REPOSITORIES = ['acme/api', 'acme/base'];
const IMAGES = 9;
const CLIENTS = 4;
const ROUNDS = inFull(6, 2);
const STEPS = 8;

interface Image extends Content {
  blobs: Content[];
}

/** An image whose layers other images share. */
async function image(seed: number): Promise<Image> {
  const config = await contentOf(`{"seed":${seed}}`);
  const layers = [await contentOf(noise(60, 100 + (seed % 3))), await contentOf(noise(80, 200 + (seed % 4)))];
  const manifest = await contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_TYPE,
      config: descriptorOf(config, CONFIG_TYPE),
      layers: layers.map((one) => descriptorOf(one, LAYER_TYPE)),
      ...(seed % 4 === 0 ? { annotations: { text: 'x'.repeat(150_000) } } : {}),
    }),
  );
  return { ...manifest, blobs: [config, ...layers] };
}

/** A reproducible random number below `sides`. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

/** Pushes an image as docker does: it checks each blob first, mounts it if possible, and skips existing blobs. */
async function push(world: World, repository: string, { digest, blobs, ...manifest }: Image, tag: string): Promise<void> {
  const other = REPOSITORIES.find((one) => one !== repository);
  for (const blob of blobs) {
    const path = `/v2/${repository}/blobs`;
    if ((await world.fetch('HEAD', `${path}/${blob.digest}`)).status === 200) continue;
    const mounted = await world.fetch('POST', `${path}/uploads/?mount=${blob.digest}&from=${other}`);
    if (mounted.status === 201) continue;
    const pushed = await world.fetch('POST', `${path}/uploads/?digest=${blob.digest}`, { body: blob.bytes });
    expect(pushed.status).toBe(201);
  }
  for (let tries = 1; ; tries++) {
    const put = await world.fetch('PUT', `/v2/${repository}/manifests/${tag}`, {
      headers: { 'content-type': IMAGE_TYPE },
      body: manifest.bytes,
    });
    if (put.status === 503 && tries < 5) continue;
    expect([put.status, put.status === 201 ? '' : await put.text()], `${repository} ${digest}`).toEqual([201, '']);
    break;
  }
  for (const blob of blobs) {
    const pulled = await world.fetch('GET', `/v2/${repository}/blobs/${blob.digest}`);
    expect([pulled.status, new Uint8Array(await pulled.arrayBuffer())]).toEqual([200, blob.bytes]);
  }
}

async function client(world: World, images: Image[], id: number, round: number): Promise<void> {
  const roll = dice(1000 * round + id);
  for (let step = 0; step < STEPS; step++) {
    const repository = REPOSITORIES[roll(2)] as string;
    const chosen = images[roll(IMAGES)] as Image;
    if (roll(2) === 0) await push(world, repository, chosen, `t${roll(6)}`);
    else {
      for (const { digest } of images.filter(() => roll(2) === 0)) {
        const gone = await world.fetch('DELETE', `/v2/${repository}/manifests/${digest}`);
        expect([202, 404, 503]).toContain(gone.status);
      }
    }
  }
}

test('nothing acknowledged is lost, and nothing unreferenced stays', { tags: 'slow' }, async () => {
  const world = await newWorld({ GRACE_SECONDS: '0', TRASH_DAYS: '0' });
  const images = await Promise.all(Array.from({ length: IMAGES }, (_, seed) => image(seed)));
  let slices = 0;
  for (let round = 0; round < ROUNDS; round++) {
    let busy = true;
    const collector = async () => {
      for (; busy; slices++) await slice(world.env);
    };
    const clients = Promise.all(Array.from({ length: CLIENTS }, (_, id) => client(world, images, id, round))).finally(() => {
      busy = false;
    });
    await Promise.all([clients, collector(), collector()]);
    await collect(world);
    expect(await scrub(world)).toMatchObject({ missing: 0, damaged: 0 });
    expect(await wrong(world)).toEqual([]);
    // Leases end between rounds. In the next round everything unreferenced is old.
    await daysPass(world, 3);
  }
  expect(slices).toBeGreaterThan(inFull(20, 2));
  const collected = await world.env.DB.prepare(
    "SELECT sum(target ->> 'blobs') AS n FROM events WHERE type = 'gc.collected'",
  ).first<number>('n');
  expect(collected).toBeGreaterThan(inFull(10, 0));

  await collectAll(world);
  const { results } = await world.env.DB.prepare('SELECT digest FROM manifests').all<{ digest: string }>();
  const needed = images.filter(({ digest }) => results.some((row) => row.digest === digest));
  const blobs = new Set(needed.flatMap((one) => one.blobs.map(({ digest }) => digest)));
  expect(await count(world, 'blobs')).toBe(blobs.size);
  expect(await keys(world, 'blobs/')).toHaveLength(blobs.size);
  expect(needed.map(textOf)).not.toEqual([]);
});
