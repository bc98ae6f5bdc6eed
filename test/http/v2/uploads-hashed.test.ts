/**
 * Uploads in several chunks with VERIFY=stream: their bytes are hashed while they arrive, and become parts of one object. The
 * finish reads again only what was not hashed: bytes of chunks that arrived in another isolate, or without memory.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { forgetAllHashes } from '../../../src/storage/hash.ts';
import { type Reservation, release, reserve } from '../../../src/storage/streams.ts';
import { isRefusal } from '../../../src/vocabulary/refusal.ts';
import { faulty } from '../../world/faults.ts';
import { type Content, contentOf, refusal } from '../../world/images.ts';
import {
  begin,
  finish,
  keysOf,
  layer,
  locationOf,
  MIB,
  orphansOf,
  patch,
  progressOf,
  pulled,
  sized,
  standing,
  unsized,
} from '../../world/uploads.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const PART = 5 * MIB;
const REPOSITORY = 'acme/api';
let world: World;
/** The content of an upload, and the ends of its chunks. */
let content: Content;
const ENDS: [number, number, number] = [PART + 1000, PART + 3000, 2 * PART + 5000];

beforeEach(async () => {
  world = await newWorld({ VERIFY: 'stream', PART_BYTES: String(PART) });
  content = await contentOf(layer(2 * PART + 5000));
});

/** Sends the chunks of `content` from number `first` to before `end`. @returns the location after them */
async function send(location: string, first = 0, end: number = ENDS.length): Promise<string> {
  let next = location;
  for (let n = first; n < end; n++) {
    const answer = await patch(world, next, sized(content.bytes.slice(ENDS[n - 1] ?? 0, ENDS[n])));
    expect(progressOf(answer)).toBe(`202 0-${(ENDS[n] ?? 0) - 1}`);
    next = locationOf(answer);
  }
  return next;
}

/** Reserves the memory that other requests have left. Stopped requests of other tests may still hold some. */
function fillMemory(): Reservation {
  const memory: Reservation = { bytes: 0 };
  for (let bytes = 64 * MIB; ; bytes -= MIB) {
    try {
      reserve(memory, bytes);
      return memory;
    } catch (error) {
      if (!isRefusal(error, 'memory-full')) throw error;
    }
  }
}

/** Finishes the upload. @returns the bytes that the finish read from R2, in reads of one object each */
async function readsOfFinish(location: string, digest: string): Promise<number[]> {
  const reads: number[] = [];
  const get = async (key: string, options?: R2GetOptions) => {
    const object = await world.env.BLOBS.get(key, options);
    const { length } = (options?.range ?? {}) as { length?: number };
    reads.push(length ?? object?.size ?? 0);
    return object;
  };
  const BLOBS = new Proxy(world.env.BLOBS, {
    get(target, name) {
      const method = name === 'get' ? get : (Reflect.get(target, name) as unknown);
      return typeof method === 'function' ? method.bind(target) : method;
    },
  });
  const answer = await finish(worldOf({ ...world.env, BLOBS }), location, digest);
  expect(answer.status).toBe(201);
  expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
  expect(await keysOf(world)).toHaveLength(1);
  return reads;
}

describe('the finish of an upload in three chunks', { tags: 'slow' }, () => {
  test('reads only the rest that fills no part', async () => {
    expect(await readsOfFinish(await send(await begin(world)), content.digest)).toEqual([5000]);
  });

  test('reads no more in another isolate', async () => {
    const location = await send(await begin(world));
    forgetAllHashes();
    expect(await readsOfFinish(location, content.digest)).toEqual([5000]);
  });

  test('reads and hashes everything if an isolate ended between two chunks', async () => {
    const location = await send(await begin(world), 0, 2);
    forgetAllHashes();
    await send(location, 2);
    expect(await readsOfFinish(location, content.digest)).toEqual([5000, content.bytes.byteLength]);
  });

  test('hashes only the last chunk if it came when there was no memory for a part', async () => {
    const location = await send(await begin(world), 0, 2);
    const memory = fillMemory();
    await send(location, 2).finally(() => release(memory));
    expect((await readsOfFinish(location, content.digest)).at(-1)).toBe(content.bytes.byteLength - PART - 3000);
  });

  test('hashes with sha512 while the bytes arrive if the client has announced it, and reads everything otherwise', async () => {
    const digest = await digestOf('sha512', content.bytes);
    expect(await readsOfFinish(await send(await begin(world, REPOSITORY, '?digest-algorithm=sha512')), digest)).toEqual([5000]);
    await world.fetch('DELETE', `/v2/${REPOSITORY}/blobs/${digest}`);
    const answer = await finish(world, await send(await begin(world)), digest);
    expect(answer.status).toBe(201);
  });

  test.each([true, false])('refuses another digest, and nothing is left (in one isolate: %s)', async (isOne) => {
    const location = await send(await begin(world), 0, 2);
    if (!isOne) forgetAllHashes();
    await send(location, 2);
    const wrong = (await contentOf('something else')).digest;
    expect(await refusal(await finish(world, location, wrong))).toBe('400 DIGEST_INVALID');
    expect(await orphansOf(world)).toEqual([]);
    expect(await keysOf(world, 'uploads/')).toEqual([]);
  });
});

describe('a chunk', { tags: 'slow' }, () => {
  test.each(['fail-before', 'fail-after'] as const)('whose row has an error (%s) can be continued', async (fault) => {
    const location = await send(await begin(world), 0, 2);
    const body = () => sized(content.bytes.slice(ENDS[1]));
    const counted = faulty(world.env);
    const copy = await send(await begin(world), 0, 2);
    await patch(worldOf(counted.env), copy, body());
    const at = counted.calls.findLastIndex((name) => name.startsWith('DB.'));
    expect((await patch(worldOf(faulty(world.env, fault, at).env), location, body())).status).toBe(503);
    const offset = Number((await standing(world, location)).split('-')[1]) + 1;
    expect(offset).toBe(fault === 'fail-after' ? content.bytes.byteLength : ENDS[1]);
    if (offset < content.bytes.byteLength) expect((await patch(world, location, body())).status).toBe(202);
    expect((await finish(world, location, content.digest)).status).toBe(201);
    expect(await pulled(world, REPOSITORY, content.digest)).toBe(content.digest);
  });

  test('out of order is refused, and changes neither the bytes nor their hash', async () => {
    const location = await send(await begin(world), 0, 1);
    const late = sized(content.bytes.slice(ENDS[1]), `${ENDS[1]}-${content.bytes.byteLength - 1}`);
    expect(progressOf(await patch(world, location, late))).toBe(`416 0-${PART + 999}`);
    expect(await readsOfFinish(await send(location, 1), content.digest)).toEqual([5000]);
  });

  test('that competes with others for the same range does not replace their parts', async () => {
    for (const make of [sized, unsized]) {
      const location = await send(await begin(world), 0, 1);
      const range = `${ENDS[0]}-${ENDS[0] + 2 * PART - 1}`;
      const ends = [2, 3, 4].map((seed) => layer(2 * PART, seed));
      const answers = await Promise.all(ends.map((bytes) => patch(world, location, make(bytes, range))));
      expect(answers.map(({ status }) => status).sort()).toEqual([202, 416, 416]);
      const winner = ends[answers.findIndex(({ status }) => status === 202)] ?? new Uint8Array();
      const all = new Uint8Array(ENDS[0] + 2 * PART);
      all.set(content.bytes.subarray(0, ENDS[0]));
      all.set(winner, ENDS[0]);
      const { digest } = await contentOf(all);
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    }
  });

  test('after a finish that died once the object was complete is stored, and another finish succeeds', async () => {
    const location = await send(await begin(world), 0, 1);
    await completed(1);
    expect(await readsOfFinish(await send(location, 1), content.digest)).not.toEqual([5000]);
  });

  test('whose parts a finish at the same time has dropped makes the upload unknown', async () => {
    const location = await send(await begin(world));
    await completed(1);
    expect(await refusal(await finish(world, location, content.digest))).toBe('404 BLOB_UPLOAD_UNKNOWN');
    expect(await pulled(world, REPOSITORY, content.digest)).toBe(404);
  });
});

/** Completes the multipart upload of the only upload with its first parts, as a finish does before it writes the row. */
async function completed(parts: number): Promise<void> {
  const row = await world.env.DB.prepare('SELECT staged FROM uploads').first<{ staged: string }>();
  const { multipart } = JSON.parse(row?.staged ?? '') as { multipart: { key: string; uploadId: string; etags: string[] } };
  const upload = world.env.BLOBS.resumeMultipartUpload(multipart.key, multipart.uploadId);
  await upload.complete(multipart.etags.slice(0, parts).map((etag, n) => ({ etag, partNumber: n + 1 })));
}
