/**
 * Makes each call to a store fail during a request: the call is refused, its answer is lost, or the Worker stops, before or
 * after the call took effect. An answer is always true, a request without an answer can be repeated, and no invariant breaks.
 *
 * @module-tag walk
 */
import { describe, expect, test } from 'vitest';
import type { Env } from '../../src/env.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { violations } from '../world/checker.ts';
import { FAULTS, type Fault, faulty, SAMPLED_FAULTS } from '../world/faults.ts';
import { type Content, contentOf, imageIn, noise, pushBlob, pushImage, putManifest } from '../world/images.ts';
import { indexesOf, inFull } from '../world/sampling.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

/** A change that a client makes. After a failure it may be run again, as often as necessary. */
interface Change {
  vars?: Partial<Env>;
  /** Creates the content that must exist before. Runs without faults. */
  prepare?(world: World): Promise<void>;
  /** Sends the requests. Throws if an answer is not a success. */
  run(world: World): Promise<void>;
  /** Checks the result, after `run` has returned. */
  holds(world: World): Promise<void>;
}

class Unanswered extends Error {}

/** The answer 429: the buffers of requests that were stopped before still take up the memory for uploads. */
class Busy extends Unanswered {}

/** Throws unless the status is a success. A refusal other than "try again" fails the test. */
async function must(response: Promise<Response>, ...successes: number[]): Promise<Response> {
  const answer = await response;
  if (answer.status === 503) throw new Unanswered();
  if (answer.status === 429) throw new Busy();
  expect(successes).toContain(answer.status);
  return answer;
}

const REPOSITORY = 'acme/api';
const UPLOADS = `/v2/${REPOSITORY}/blobs/uploads/`;

async function reads(world: World, content: Content): Promise<void> {
  const pulled = await world.fetch('GET', `/v2/${REPOSITORY}/blobs/${content.digest}`);
  expect(pulled.status).toBe(200);
  expect(await digestOf('sha256', new Uint8Array(await pulled.arrayBuffer()))).toBe(content.digest);
}

async function names(world: World, tag: string, digest: string | null): Promise<void> {
  const head = await world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/${tag}`);
  expect([head.status, head.headers.get('docker-content-digest')]).toEqual(digest ? [200, digest] : [404, null]);
}

function inOneRequest(): Change {
  let blob: Content;
  return {
    prepare: async () => {
      blob = await contentOf(noise(3000));
    },
    run: async (world) => void (await must(world.fetch('POST', `${UPLOADS}?digest=${blob.digest}`, { body: blob.bytes }), 201)),
    holds: (world) => reads(world, blob),
  };
}

/** Uploads a blob in chunks. After a failure it asks for the offset of the upload and continues there, as specified. */
function inChunks(vars: Partial<Env>, blob: Content, chunk: number): Change {
  const size = blob.bytes.byteLength;
  let location: string | null;
  return {
    vars,
    prepare: async () => {
      location = null;
    },
    run: async (world) => {
      let offset = 0;
      if (location) {
        const status = await must(world.fetch('GET', location), 204, 404);
        const range = status.headers.get('range');
        if (status.status === 404) location = null;
        else offset = range && range !== '0-0' ? Number(range.slice(2)) + 1 : 0;
      }
      location ??= (await must(world.fetch('POST', UPLOADS), 202)).headers.get('location') as string;
      while (offset < size) {
        const body = blob.bytes.slice(offset, offset + chunk);
        const headers = { 'content-range': `${offset}-${offset + body.byteLength - 1}` };
        await must(world.fetch('PATCH', location, { headers, body }), 202);
        offset += body.byteLength;
      }
      await must(world.fetch('PUT', `${location}?digest=${blob.digest}`), 201, 404).then((answer) => {
        if (answer.status === 404) throw new Unanswered();
      });
    },
    holds: (world) => reads(world, blob),
  };
}

function mounting(): Change {
  let blob: Content;
  return {
    prepare: async (world) => {
      blob = await pushBlob(world, 'acme/base', noise(500));
    },
    run: async (world) => void (await must(world.fetch('POST', `${UPLOADS}?mount=${blob.digest}&from=acme/base`), 201)),
    holds: (world) => reads(world, blob),
  };
}

function puttingManifest(more: Record<string, unknown> = {}): Change {
  let image: Content;
  return {
    prepare: async (world) => {
      image = await imageIn(world, REPOSITORY, 2, more);
    },
    run: async (world) => void (await must(putManifest(world, REPOSITORY, 'v1', new TextDecoder().decode(image.bytes)), 201)),
    holds: async (world) => {
      await names(world, 'v1', image.digest);
      const pulled = await world.fetch('GET', `/v2/${REPOSITORY}/manifests/v1`);
      expect(new Uint8Array(await pulled.arrayBuffer())).toEqual(image.bytes);
    },
  };
}

function movingTag(): Change {
  const change = puttingManifest();
  return {
    ...change,
    prepare: async (world) => {
      await pushImage(world, REPOSITORY, 'v1', 1);
      await change.prepare?.(world);
    },
  };
}

function deleting(what: 'tag' | 'manifest' | 'large manifest' | 'blob'): Change {
  let image: Content;
  let path: string;
  const large = { annotations: { text: 'x'.repeat(200_000) } };
  return {
    prepare: async (world) => {
      image = await pushImage(world, REPOSITORY, 'v1', 1, what === 'large manifest' ? large : {});
      const loose = await pushBlob(world, REPOSITORY, noise(400, 9));
      path = what === 'blob' ? `blobs/${loose.digest}` : `manifests/${what === 'tag' ? 'v1' : image.digest}`;
    },
    run: async (world) => void (await must(world.fetch('DELETE', `/v2/${REPOSITORY}/${path}`), 202, 404)),
    holds: async (world) => {
      expect((await world.fetch('GET', `/v2/${REPOSITORY}/${path}`)).status).toBe(404);
      await names(world, 'v1', what === 'blob' ? image.digest : null);
      if (what === 'tag') await names(world, image.digest, image.digest);
    },
  };
}

function cancelling(): Change {
  let location: string;
  return {
    prepare: async (world) => {
      location = (await world.fetch('POST', UPLOADS)).headers.get('location') as string;
      await world.fetch('PATCH', location, { body: noise(1000) });
    },
    run: async (world) => void (await must(world.fetch('DELETE', location), 204, 404)),
    holds: async (world) => expect((await world.fetch('GET', location)).status).toBe(404),
  };
}

/** Makes the change with a token of the same isolate, which then remembers the rights of the caller. */
function withToken(change: Change, ...scopes: string[]): Change {
  const query = ['repository:acme/api:pull,push', ...scopes].map((scope) => `scope=${scope}`).join('&');
  return {
    ...change,
    run: async (world) => {
      const answer = await must(world.fetch('GET', `/token?${query}`), 200);
      const authorization = `Bearer ${((await answer.json()) as { token: string }).token}`;
      await change.run({ ...world, fetch: (method, path, init) => world.fetch(method, path, { authorization, ...init }) });
    },
  };
}

const MIB = 1024 * 1024;
const small = await contentOf(noise(3000));
const long = await contentOf(noise(6 * MIB));
const CHANGES: Record<string, () => Change> = {
  'a blob in one request': inOneRequest,
  'a blob in chunks (storage)': () => inChunks({ VERIFY: 'storage' }, small, 1100),
  'a blob in small chunks (stream)': () => inChunks({ VERIFY: 'stream' }, small, 1100),
  'a blob in one long chunk (stream)': () => inChunks({ VERIFY: 'stream', PART_BYTES: String(5 * MIB) }, long, 6 * MIB),
  'a blob in long chunks (stream)': () => inChunks({ VERIFY: 'stream', PART_BYTES: String(5 * MIB) }, long, 5.5 * MIB),
  'a blob longer than one put (stream)': () =>
    inChunks({ VERIFY: 'stream', PART_BYTES: String(5 * MIB), MAX_PUT_BYTES: String(5 * MIB) }, long, 4 * MIB),
  'a mount': mounting,
  'a manifest with a new tag': () => puttingManifest(),
  'a manifest too large for its row': () => puttingManifest({ annotations: { text: 'x'.repeat(200_000) } }),
  'a manifest that moves a tag': movingTag,
  'a small blob, with remembered rights': () => withToken(inOneRequest()),
  'a mount, with remembered rights': () => withToken(mounting(), 'repository:acme/base:pull'),
  'a tag that moves, with remembered rights': () => withToken(movingTag()),
  'a large manifest, with remembered rights': () => withToken(puttingManifest({ annotations: { text: 'x'.repeat(200_000) } })),
  'the deletion of a tag': () => deleting('tag'),
  'the deletion of a manifest': () => deleting('manifest'),
  'the deletion of a large manifest': () => deleting('large manifest'),
  'the deletion of a blob': () => deleting('blob'),
  'a cancelled upload': cancelling,
};

/** Runs the change with one fault. @returns true if it was answered */
async function attempt(env: Env, change: Change, fault: Fault, at: number, keys: string[]): Promise<boolean> {
  const faults = faulty(env, fault, at);
  const answered = change.run(worldOf(faults.env)).then(
    () => true,
    (error: unknown) => {
      if (error instanceof Unanswered) return false;
      throw error;
    },
  );
  const outcome = await Promise.race([answered, faults.stopped.then(() => false)]);
  keys.push(...faults.writtenKeys);
  return outcome;
}

/** Runs the change without faults. Returns the calls that it makes. */
async function callsOf(golden: Change): Promise<string[]> {
  const quiet = await newWorld(golden.vars);
  await golden.prepare?.(quiet);
  const counted = faulty(quiet.env);
  await again(worldOf(counted.env), golden);
  await golden.holds(quiet);
  expect(counted.calls.length).toBeGreaterThan(0);
  return counted.calls;
}

describe.each(Object.entries(CHANGES))('%s', (_, make) => {
  let known: string[] | undefined;

  test.each(inFull(FAULTS, SAMPLED_FAULTS))('survives any call that ends in %s', { tags: 'slow' }, async (fault) => {
    known ??= await callsOf(make());
    for (const at of indexesOf(known.length, FAULTS.indexOf(fault), FAULTS.length)) {
      const where = `${fault} at ${known[at]} (${at + 1} of ${known.length})`;
      const change = make();
      const world = await newWorld(change.vars);
      await change.prepare?.(world);
      const keys: string[] = [];
      if (await attempt(world.env, change, fault, at, keys)) await change.holds(world);
      expect(await violations(world.env), where).toEqual([]);
      await again(world, change);
      await change.holds(world);
      expect(await violations(world.env), `${where}, after the retry`).toEqual([]);
      expect(new Set(keys).size, `${where}: a key was written twice`).toBe(keys.length);
    }
  });
});

/** The maximum number of repetitions after a 429. */
const BUSY_MAX = 80;

/**
 * Runs the change again, and once more if the first retry only finds that its upload is gone. Repeats it after a 429, as clients
 * do: the memory of stopped requests is free when the test runner has abandoned them, after 30 seconds, and the runtime has
 * collected their garbage.
 */
async function again(world: World, change: Change): Promise<void> {
  let retries = 1;
  for (let busy = 0; ; ) {
    try {
      return await change.run(world);
    } catch (error) {
      const isBusy = error instanceof Busy && busy++ < BUSY_MAX;
      if (!(error instanceof Unanswered) || (!isBusy && retries-- === 0)) throw error;
      if (isBusy) await makeGarbage();
    }
  }
}

/** Allocates memory that nothing keeps, so that the runtime collects garbage. */
async function makeGarbage(): Promise<void> {
  for (let n = 0; n < 100; n++) new Uint8Array(1024 * 1024).fill(n);
  await scheduler.wait(500);
}
