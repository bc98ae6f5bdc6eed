/** Expiry of unfinished uploads. */
import { beforeEach, describe, expect, test } from 'vitest';
import { expireUploads, newUploadId, sweepPieces, uploadIdAt } from '../../../src/registry/uploads/sessions.ts';
import { pieceKey } from '../../../src/storage/keys.ts';
import { faulty } from '../../world/faults.ts';
import { contentOf, refusal } from '../../world/images.ts';
import {
  begin,
  countOf,
  expireAll,
  finish,
  keysOf,
  layer,
  MIB,
  patch,
  pulled,
  sized,
  standing,
  statusOf,
  unsized,
} from '../../world/uploads.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const HOUR = 60 * 60 * 1000;

let world: World;

beforeEach(async () => {
  world = await newWorld({ VERIFY: 'stream', PART_BYTES: String(5 * MIB) });
});

/** An id that sorts after the ids of all uploads. The schedule would expire them tomorrow. */
const tomorrow = () => uploadIdAt(Date.now() + 25 * HOUR);

describe('expireUploads', () => {
  test('removes an expired upload with its bytes', async () => {
    const location = await begin(world);
    await patch(world, location, sized(layer(1000)));
    await expireAll(world);
    expect(await expireUploads(world.env, tomorrow(), 10)).toBe(1);
    expect(await keysOf(world)).toEqual([]);
    expect(await countOf(world, 'uploads')).toBe(0);
    expect(await expireUploads(world.env, tomorrow(), 10)).toBe(0);
  });

  test('keeps an upload that received something since, and one that started too recently', async () => {
    const location = await begin(world);
    await patch(world, location, sized(layer(1000)));
    expect(await expireUploads(world.env, tomorrow(), 10)).toBe(0);
    await expireAll(world);
    expect(await expireUploads(world.env, uploadIdAt(Date.now() - HOUR), 10)).toBe(0);
    expect(await countOf(world, 'uploads')).toBe(1);
    expect(await keysOf(world)).toHaveLength(1);
  });

  test('processes at most the given number of uploads, and returns their number', async () => {
    for (let n = 0; n < 5; n++) await patch(world, await begin(world), sized(layer(10, n)));
    await expireAll(world);
    expect(await expireUploads(world.env, tomorrow(), 3)).toBe(3);
    expect(await expireUploads(world.env, tomorrow(), 3)).toBe(2);
    expect(await keysOf(world)).toEqual([]);
  });

  test('keeps the blob of a committed upload, although it consists of the received parts', { tags: 'slow' }, async () => {
    const { bytes, digest } = await contentOf(layer(6 * MIB));
    const location = await begin(world);
    await patch(world, location, unsized(bytes));
    expect((await finish(world, location, digest)).status).toBe(201);
    await expireAll(world);
    expect(await expireUploads(world.env, tomorrow(), 10)).toBe(1);
    expect(await pulled(world, 'acme/api', digest)).toBe(digest);
  });

  test('aborts a multipart object, so that it cannot be completed any more', async () => {
    await patch(world, await begin(world), unsized(layer(6 * MIB)));
    const staged = await world.env.DB.prepare('SELECT staged FROM uploads').first<string>('staged');
    const { multipart } = JSON.parse(staged ?? '') as { multipart: { key: string; uploadId: string; etags: string[] } };
    await expireAll(world);
    await expireUploads(world.env, tomorrow(), 10);
    const upload = world.env.BLOBS.resumeMultipartUpload(multipart.key, multipart.uploadId);
    await expect(upload.complete(multipart.etags.map((etag, n) => ({ etag, partNumber: n + 1 })))).rejects.toThrow('10024');
    expect(await keysOf(world)).toEqual([]);
  });

  test('removes the object that a finish completed before it died', async () => {
    const { bytes, digest } = await contentOf(layer(6 * MIB));
    const location = await begin(world);
    await patch(world, location, unsized(bytes));
    const { env, calls } = faulty(world.env, 'fail-before', 2);
    expect(await refusal(await finish(worldOf(env), location, digest))).toBe('503 UNAVAILABLE');
    expect(calls.slice(0, 3)).toEqual(['DB.batch', 'BLOBS.complete', 'DB.batch']);
    expect(await keysOf(world, 'blobs/')).toHaveLength(1);
    await expireAll(world);
    await expireUploads(world.env, tomorrow(), 10);
    expect(await keysOf(world)).toEqual([]);
  });

  test('keeps a cancelled upload until its location has expired', async () => {
    const location = await begin(world);
    await patch(world, location, sized(layer(10)));
    await world.fetch('DELETE', location);
    expect(await expireUploads(world.env, tomorrow(), 10)).toBe(0);
    expect(await statusOf(world, 'GET', location)).toBe(404);
    await expireAll(world);
    expect(await expireUploads(world.env, tomorrow(), 10)).toBe(1);
    expect(await countOf(world, 'uploads')).toBe(0);
  });
});

describe('sweepPieces', () => {
  test('removes old pieces that no upload names, and keeps pieces of uploads and recent ones', async () => {
    const old = pieceKey(newUploadId(Date.now() - 100 * HOUR));
    const young = pieceKey(newUploadId(Date.now()));
    const location = await begin(world);
    await patch(world, location, sized(layer(1000)));
    const kept = await keysOf(world);
    for (const key of [old, young]) await world.env.BLOBS.put(key, 'piece');
    const last = await sweepPieces(world.env, uploadIdAt(Date.now() - 48 * HOUR), undefined);
    expect(last).toBe(old);
    expect((await keysOf(world)).sort()).toEqual([...kept, young].sort());
    expect(await sweepPieces(world.env, uploadIdAt(Date.now() - 48 * HOUR), last ?? '')).toBeNull();
    await sweepPieces(world.env, tomorrow(), undefined);
    expect(await keysOf(world)).toEqual(kept);
    expect(await standing(world, location)).toBe('204 0-999');
  });
});
