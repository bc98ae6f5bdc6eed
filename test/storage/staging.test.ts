/** Staging of uploads: the number of pieces is small even if chunks are small, parts have the same size, blobs may be large. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { append } from '../../src/storage/appending.ts';
import { assemble } from '../../src/storage/assembly.ts';
import { discard, NOTHING_STAGED, type Staged, type StagingLimits, stagedSize } from '../../src/storage/staging.ts';
import { type Faults, faulty } from '../world/faults.ts';
import { contentOf, refusal } from '../world/images.ts';
import {
  type Bytes,
  begin,
  finish,
  keysOf,
  layer,
  locationOf,
  MIB,
  orphansOf,
  patch,
  postWhole,
  progressOf,
  pulled,
  sized,
  standing,
  unsized,
} from '../world/uploads.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const UPLOAD = '0testupload';
const LIMITS: StagingLimits = { partBytes: 4096, maxPutBytes: 1_000_000, verify: 'storage' };

describe('chunks', () => {
  let world: World;
  let recorded: Faults;

  beforeEach(async () => {
    recorded = faulty((await newWorld()).env);
    world = worldOf(recorded.env);
  });

  /** Appends the chunks as requests would. Superseded pieces are deleted at once. */
  async function stage(chunks: Bytes[], limits = LIMITS): Promise<Staged> {
    let staged = NOTHING_STAGED;
    for (const chunk of chunks) {
      const body = { stream: new Response(chunk).body, length: chunk.byteLength };
      const appended = await append(world.env, UPLOAD, staged, body, limits, 'sha256');
      await discard(world.env, appended.superseded);
      staged = appended.staged;
    }
    return staged;
  }

  function cut(bytes: Bytes, sizes: number[]): Bytes[] {
    let at = 0;
    return sizes.map((size) => {
      at += size;
      return bytes.slice(at - size, at);
    });
  }

  const total = (sizes: number[]) => sizes.reduce((sum, size) => sum + size, 0);

  /** Stages content in chunks of these sizes, and checks the result. @returns the sizes of the pieces */
  async function piecesOf(sizes: number[]): Promise<number[]> {
    const { bytes, digest } = await contentOf(layer(total(sizes)));
    const staged = await stage(cut(bytes, sizes));
    expect(stagedSize(staged)).toBe(bytes.byteLength);
    expect((await keysOf(world, 'uploads/')).sort()).toEqual(staged.pieces.map(({ key }) => key).sort());
    expect(await contentsOf(await assemble(world.env, UPLOAD, staged, digest, LIMITS))).toBe(digest);
    return staged.pieces.map(({ size }) => size);
  }

  async function contentsOf(key: string): Promise<Digest> {
    const object = await world.env.BLOBS.get(key);
    return (await contentOf(new Uint8Array((await object?.arrayBuffer()) ?? new ArrayBuffer()))).digest;
  }

  const reads = () => recorded.calls.filter((name) => name === 'BLOBS.get').length;
  const writes = () => recorded.calls.filter((name) => name === 'BLOBS.put').length;

  test('of one byte each are merged like a binary counter', async () => {
    expect(await piecesOf(Array(13).fill(1))).toEqual([8, 4, 1]);
  });

  test('of which there are 10,001 end as few pieces, with few reads and one write a chunk', { tags: 'slow' }, async () => {
    recorded = faulty({ ...world.env, BLOBS: bucketInMemory() });
    world = worldOf(recorded.env);
    const count = 10_001;
    const { bytes, digest } = await contentOf(layer(count));
    const staged = await stage(cut(bytes, Array(count).fill(1)), { ...LIMITS, partBytes: 16 * 1024 });
    expect(staged.pieces.length).toBeLessThanOrEqual(14);
    expect(writes()).toBe(count);
    expect(reads()).toBeLessThanOrEqual(count);
    const before = reads();
    expect(await contentsOf(await assemble(world.env, UPLOAD, staged, digest, LIMITS))).toBe(digest);
    expect(reads() - before).toBeLessThanOrEqual(15);
  });

  test('each a little shorter than the one before do not accumulate', { tags: 'slow' }, async () => {
    const sizes = Array.from({ length: 300 }, (_, n) => 300 - n);
    expect((await piecesOf(sizes)).length).toBeLessThanOrEqual(24);
  });

  test('that are large and small in turn do not accumulate', async () => {
    const sizes = Array.from({ length: 20 }, () => [LIMITS.partBytes, 4, 2, 1]).flat();
    expect((await piecesOf(sizes)).length).toBeLessThanOrEqual(20 + 3);
  });

  test('of a part or more are left as they are', async () => {
    const sizes = [LIMITS.partBytes, 2 * LIMITS.partBytes, LIMITS.partBytes + 1];
    expect(await piecesOf(sizes)).toEqual(sizes);
    expect(writes()).toBe(3 + 1);
  });

  test('of any sizes are kept whole; each piece is a part long, or twice as long as the next', { tags: 'slow' }, async () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 9000 })), {
      minLength: 1,
      maxLength: 25,
    });
    await fc.assert(
      fc.asyncProperty(sizes, async (chunks) => {
        const pieces = await piecesOf(chunks);
        pieces.slice(1).forEach((size, n) => {
          expect(pieces[n]).toBeGreaterThanOrEqual(Math.min(2 * size, LIMITS.partBytes));
        });
        await world.env.BLOBS.delete(await keysOf(world));
      }),
      { numRuns: 25 },
    );
  });

  test('are not merged to an object longer than one put', async () => {
    const limits = { ...LIMITS, maxPutBytes: 5000, verify: 'stream' as const };
    const staged = await stage(cut(layer(8000), [3000, 3000, 2000]), limits);
    expect(staged.pieces.every(({ size }) => size <= 5000)).toBe(true);
  });

  test('of unknown length become pieces of one part each', async () => {
    const { bytes, digest } = await contentOf(layer(3 * LIMITS.partBytes + 5));
    const body = { stream: new Response(bytes).body, length: null };
    const { staged } = await append(world.env, UPLOAD, NOTHING_STAGED, body, LIMITS, 'sha256');
    expect(staged.pieces.map(({ size }) => size)).toEqual([...Array(3).fill(LIMITS.partBytes), 5]);
    expect(await contentsOf(await assemble(world.env, UPLOAD, staged, digest, LIMITS))).toBe(digest);
  });
});

describe('VERIFY=stream, with parts of 5 MiB and puts of up to 6 MiB', () => {
  const PART = 5 * MIB;
  const { bytes, digest } = { bytes: layer(16 * MIB), digest: contentOf(layer(16 * MIB)).then((content) => content.digest) };
  let world: World;
  /** The sizes of the parts of each completed object. */
  let objects: number[][];

  beforeEach(async () => {
    const { env } = await newWorld({ VERIFY: 'stream', PART_BYTES: String(PART), MAX_PUT_BYTES: String(6 * MIB) });
    objects = [];
    world = worldOf({ ...env, BLOBS: measured(env.BLOBS, objects) });
  });

  async function expectWhole(response: Response): Promise<void> {
    expect(response.status).toBe(201);
    expect(await pulled(world, 'acme/api', await digest)).toBe(await digest);
    expect(await keysOf(world)).toHaveLength(1);
  }

  test('a blob of 16 MiB in one PATCH of unknown length is written once, in parts of one size', { tags: 'slow' }, async () => {
    const location = await begin(world);
    expect(progressOf(await patch(world, location, unsized(bytes)))).toBe(`202 0-${16 * MIB - 1}`);
    const recorded = faulty(world.env);
    const finished = await finish(worldOf(recorded.env), location, await digest);
    expect(recorded.calls.filter((name) => name.startsWith('BLOBS.'))).toEqual(['BLOBS.complete', 'BLOBS.delete']);
    await expectWhole(finished);
    expect(objects).toEqual([[PART, PART, PART, MIB]]);
  });

  test.each([
    { kind: 'shorter than a part', sizes: [4, 4, 4, 4] },
    { kind: 'of a part and less', sizes: [5, 3, 5, 3] },
    { kind: 'longer than a put', sizes: [7, 7, 2] },
    { kind: 'short first and long then', sizes: [1, 13, 2] },
  ])('one in PATCHes $kind is taken, in parts of one size but the last', { tags: 'slow' }, async ({ sizes }) => {
    const location = await begin(world);
    let at = 0;
    for (const size of sizes) {
      const end = at + size * MIB;
      const response = await patch(world, location, sized(bytes.slice(at, end), `${at}-${end - 1}`));
      expect(progressOf(response)).toBe(`202 0-${end - 1}`);
      at = end;
    }
    await expectWhole(await finish(world, location, await digest));
    expect(objects).toEqual([[PART, PART, PART, MIB]]);
  });

  test('a blob in PATCHes, with its end in the closing PUT, is accepted', { tags: 'slow' }, async () => {
    const location = await begin(world);
    await patch(world, location, unsized(bytes.slice(0, 9 * MIB)));
    await expectWhole(await finish(world, location, await digest, sized(bytes.slice(9 * MIB))));
  });

  test('a blob in a PUT or a POST, longer than one put, is written in parts', { tags: 'slow' }, async () => {
    await expectWhole(await finish(world, await begin(world), await digest, sized(bytes)));
    expect(objects).toEqual([[PART, PART, PART, MIB]]);
    await expectWhole(await postWhole(world, 'acme/api', await digest, sized(bytes)));
  });

  test.each([
    { kind: 'in one PATCH', sizes: [16] },
    { kind: 'in PATCHes shorter than a part', sizes: [4, 4, 4, 4] },
    { kind: 'in long PATCHes', sizes: [7, 9] },
  ])('one $kind with another digest leaves nothing but what the collector knows of', { tags: 'slow' }, async ({ sizes }) => {
    let location = await begin(world);
    let at = 0;
    for (const size of sizes) {
      location = locationOf(await patch(world, location, sized(bytes.slice(at * MIB, (at + size) * MIB))));
      at += size;
    }
    const wrong = (await contentOf('something else')).digest;
    expect(await refusal(await finish(world, location, wrong))).toBe('400 DIGEST_INVALID');
    expect(await orphansOf(world)).toEqual([]);
    expect(await keysOf(world, 'uploads/')).toEqual([]);
  });
});

describe('VERIFY=storage, with puts of up to 6 MiB', () => {
  test('a blob of 16 MiB is SIZE_INVALID (413) before bytes of it are stored', async () => {
    const world = await newWorld({ VERIFY: 'storage', PART_BYTES: String(5 * MIB), MAX_PUT_BYTES: String(6 * MIB) });
    const { bytes, digest } = await contentOf(layer(16 * MIB));
    expect(await refusal(await finish(world, await begin(world), digest, sized(bytes)))).toBe('413 SIZE_INVALID');
    expect(await refusal(await patch(world, await begin(world), unsized(bytes)))).toBe('413 SIZE_INVALID');
    expect(await keysOf(world)).toEqual([]);
    const begun = await patch(world, await begin(world), sized(bytes.slice(0, 4 * MIB)));
    expect(begun.status).toBe(202);
    const location = locationOf(begun);
    expect(await refusal(await patch(world, location, sized(bytes.slice(4 * MIB, 8 * MIB))))).toBe('413 SIZE_INVALID');
    expect(await standing(world, location)).toBe(`204 0-${4 * MIB - 1}`);
  });
});

/** The bucket, with a record of the sizes of the parts at each completion of a multipart upload. */
function measured(bucket: R2Bucket, objects: number[][]): R2Bucket {
  const sizes = new Map<string, number>();
  return new Proxy(bucket, {
    get(target, name) {
      if (name !== 'resumeMultipartUpload') {
        const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
        return method.bind(target);
      }
      return (key: string, id: string): R2MultipartUpload => {
        const upload = target.resumeMultipartUpload(key, id);
        return {
          key,
          uploadId: id,
          abort: () => upload.abort(),
          complete: async (parts) => {
            const object = await upload.complete(parts);
            objects.push(parts.map(({ etag }) => sizes.get(etag) ?? Number.NaN));
            return object;
          },
          uploadPart: async (number, value) => {
            const part = await upload.uploadPart(number, value);
            sizes.set(part.etag, (value as Uint8Array).byteLength);
            return part;
          },
        };
      };
    },
  });
}

/** The methods of a bucket that pieces need, in memory. The emulator would take a minute and a half for ten thousand writes. */
function bucketInMemory(): R2Bucket {
  const objects = new Map<string, ArrayBuffer>();
  const bucket = {
    put: async (key: string, value: BodyInit) => void objects.set(key, await new Response(value).arrayBuffer()),
    get: async (key: string) => {
      const bytes = objects.get(key);
      return bytes && { body: new Response(bytes).body, arrayBuffer: async () => bytes };
    },
    delete: async (keys: string[]) => keys.forEach((key) => void objects.delete(key)),
  };
  return bucket as unknown as R2Bucket;
}
