/** Runs a whole pass of the collector, without a grace period, at every point of a request. Acknowledged content stays. */
import { expect, test } from 'vitest';
import { collect, wrong } from '../registry/gc/garbage.ts';
import { remove, trashRepository } from '../registry/trash/trash.ts';
import {
  type Content,
  INDEX_TYPE,
  imageIn,
  indexOf,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  textOf,
} from '../world/images.ts';
import { everyOrder, type Request } from '../world/interleaving.ts';
import { api } from '../world/people.ts';
import { begin, finish, layer, locationOf, patch, sized } from '../world/uploads.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const REPOSITORY = 'acme/api';
const LARGE = { annotations: { text: 'x'.repeat(200_000) } };

interface Document {
  config?: { digest: string };
  layers?: { digest: string }[];
  manifests?: { digest: string }[];
}

/** The parts of an image, or of an index and its children, that cannot be pulled. */
async function unreadable(world: World, reference: string): Promise<string[]> {
  const response = await world.fetch('GET', `/v2/${REPOSITORY}/manifests/${reference}`);
  const text = await response.text();
  if (response.status !== 200) return [`manifest ${reference}: ${response.status}`];
  const { config, layers = [], manifests = [] } = JSON.parse(text) as Document;
  const found: string[] = [];
  for (const { digest } of [...(config ? [config] : []), ...layers]) found.push(...(await unreadableBlob(world, digest)));
  for (const { digest } of manifests) found.push(...(await unreadable(world, digest)));
  return found;
}

async function unreadableBlob(world: World, digest: string): Promise<string[]> {
  const response = await world.fetch('GET', `/v2/${REPOSITORY}/blobs/${digest}`);
  await response.arrayBuffer();
  return response.status === 200 ? [] : [`blob ${digest}: ${response.status}`];
}

/** Ends all leases. Content that no manifest references is garbage from then on. */
async function endLeases({ env }: World): Promise<void> {
  await env.DB.batch(['repository_blobs', 'manifests'].map((table) => env.DB.prepare(`UPDATE ${table} SET leased_until = 0`)));
}

const impatient = ({ env }: World) => worldOf({ ...env, GRACE_SECONDS: '0', TRASH_DAYS: '0' });

/** Two passes, because the second deletes what the first has released. */
async function collectNow(world: World): Promise<void> {
  for (let n = 0; n < 2; n++) await collect(impatient(world));
}

async function trashedIndex(world: World): Promise<Content> {
  const children = [await pushImage(world, REPOSITORY, null, 1), await pushImage(world, REPOSITORY, 'b', 2, LARGE)];
  const index = await indexOf(children);
  expect((await putManifest(world, REPOSITORY, 'multi', textOf(index), INDEX_TYPE)).status).toBe(201);
  await remove(world, REPOSITORY, index.digest, ...children.map(({ digest }) => digest));
  return index;
}

interface Contest {
  request: Request;
  /** Paths that must be readable after a success. */
  promised: () => Promise<string[]>;
  /** Called before the pass of the collector. */
  before?: () => Promise<unknown>;
}

const restoring = (what: string) => (at: World) =>
  at.fetch('POST', `/api/v1/repositories/${REPOSITORY}/-/trash/${what}/restore`);

const CONTESTS: [name: string, make: (world: World) => Promise<Contest>][] = [
  [
    'an index is restored whose days are over',
    async (world) => {
      const { digest } = await trashedIndex(world);
      return { request: restoring(`manifests/${digest}`), promised: () => unreadable(world, 'multi') };
    },
  ],
  [
    'a tag is restored whose days are over',
    async (world) => {
      const { digest } = await pushImage(world, REPOSITORY, 'v1', 1, LARGE);
      await remove(world, REPOSITORY, 'v1', digest);
      return { request: restoring('tags/v1'), promised: () => unreadable(world, 'v1') };
    },
  ],
  [
    'a repository is restored whose days are over',
    async (world) => {
      await pushImage(world, REPOSITORY, 'v1', 1, LARGE);
      const entry = await trashRepository(world, REPOSITORY);
      return { request: (at) => at.fetch('POST', `/api/v1/trash/${entry}/restore`), promised: () => unreadable(world, 'v1') };
    },
  ],
  [
    'an image is put whose blobs nothing holds',
    async (world) => {
      const image = await imageIn(world, REPOSITORY, 1);
      return {
        request: (at) => putManifest(at, REPOSITORY, 'v1', textOf(image)),
        promised: () => unreadable(world, 'v1'),
      };
    },
  ],
  [
    'an upload is finished of a blob that is just let go',
    async (world) => {
      const bytes = layer(500);
      const { digest } = await pushBlob(world, REPOSITORY, bytes);
      const location = locationOf(await patch(world, await begin(world, REPOSITORY), sized(bytes)));
      return { request: (at) => finish(at, location, digest), promised: () => unreadableBlob(world, digest) };
    },
  ],
  [
    'a blob is mounted from a repository that is deleted and purged',
    async (world) => {
      const { digest } = await pushBlob(world, 'acme/old', noise(50, 5));
      await pushImage(world, REPOSITORY, 'other', 8);
      return {
        request: (at) => at.fetch('POST', `/v2/${REPOSITORY}/blobs/uploads/?mount=${digest}&from=acme/old`),
        before: () => api(world, 'DELETE', '/repositories/acme/old?force=true'),
        promised: () => unreadableBlob(world, digest),
      };
    },
  ],
  [
    'a large image is put again that is deleted and restored meanwhile',
    async (world) => {
      const image = await pushImage(world, REPOSITORY, 'v1', 1, LARGE);
      const path = `/v2/${REPOSITORY}/manifests/${image.digest}`;
      return {
        request: (at) => putManifest(at, REPOSITORY, 'v1', textOf(image)),
        before: async () => {
          await world.fetch('DELETE', path);
          expect((await restoring(`manifests/${image.digest}`)(world)).status).toBe(200);
        },
        promised: () => unreadable(world, 'v1'),
      };
    },
  ],
  [
    'a large image is put into a repository that is deleted and restored meanwhile',
    async (world) => {
      const image = await imageIn(world, REPOSITORY, 1, LARGE);
      return {
        request: (at) => putManifest(at, REPOSITORY, 'v1', textOf(image)),
        before: async () => {
          const entry = await trashRepository(world, REPOSITORY);
          expect((await api(world, 'POST', `/trash/${entry}/restore`)).status).toBe(200);
        },
        promised: () => unreadable(world, 'v1'),
      };
    },
  ],
];

test.for(CONTESTS)('%s', { tags: 'slow', timeout: 60_000 }, async ([, make]) => {
  let current = await newWorld();
  const latest: World = {
    get env() {
      return current.env;
    },
    fetch: (...request) => current.fetch(...request),
  };
  const statuses = new Set<number>();
  await everyOrder(latest, async (run) => {
    current = await newWorld();
    const { request, promised, before } = await make(current);
    await endLeases(current);
    return {
      outer: request,
      inner: async () => {
        await before?.();
        await collectNow(current);
        return new Response();
      },
      check: async (answer) => {
        statuses.add(answer.status);
        expect(answer.status).toBeLessThan(500);
        const isDone = answer.status === 200 || answer.status === 201;
        if (isDone) expect(await promised(), `run ${run}`).toEqual([]);
        expect(await wrong(current), `run ${run}`).toEqual([]);
      },
    };
  });
  expect([...statuses].some((status) => status === 200 || status === 201)).toBe(true);
});
