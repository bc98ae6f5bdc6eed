/**
 * Upload requests that are sent again because their answers were lost or they were cut off. Each is recognized or refused,
 * and nothing is received twice.
 *
 * @module-tag walk
 */

import { beforeEach, describe, expect, test } from 'vitest';
import { contentOf, refusal } from '../../world/images.ts';
import { inFull } from '../../world/sampling.ts';
import {
  begin,
  broken,
  finish,
  keysOf,
  layer,
  locationOf,
  MODES,
  patch,
  progressOf,
  pulled,
  sized,
  standing,
  statusOf,
  unsized,
} from '../../world/uploads.ts';
import { newWorld, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';

describe.each(inFull<readonly (typeof MODES)[number][]>(MODES, MODES.slice(0, 1)))('VERIFY=$verify', ({ verify, part }) => {
  let world: World;

  beforeEach(async () => {
    world = await newWorld({ VERIFY: verify, PART_BYTES: String(part) });
  });

  describe.each([
    { kind: 'of known length', make: sized },
    { kind: 'of unknown length', make: unsized },
  ])('a PATCH $kind without Content-Range', ({ make }) => {
    test('sent again to its location is a 416 with the true offset, and its bytes are not appended twice', async () => {
      const { bytes, digest } = await contentOf(layer(2 * part + 10));
      const location = await begin(world);
      const first = await patch(world, location, make(bytes));
      expect(first.status).toBe(202);
      for (let attempt = 0; attempt < 2; attempt++) {
        const again = await patch(world, location, make(bytes));
        expect(progressOf(again)).toBe(`416 0-${bytes.byteLength - 1}`);
        expect(await standing(world, locationOf(again))).toBe(`204 0-${bytes.byteLength - 1}`);
        expect(await again.json()).toMatchObject({ errors: [{ detail: { offset: bytes.byteLength } }] });
      }
      expect((await finish(world, locationOf(first), digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test('of the second chunk sent again is refused like the first', async () => {
      const { bytes, digest } = await contentOf(layer(300));
      const second = locationOf(await patch(world, await begin(world), make(bytes.slice(0, 100))));
      const third = locationOf(await patch(world, second, make(bytes.slice(100, 200))));
      expect(progressOf(await patch(world, second, make(bytes.slice(100, 200))))).toBe('416 0-199');
      expect((await finish(world, third, digest, make(bytes.slice(200)))).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test.each(['the status', 'the 416'])('goes on at the location of %s', async (answer) => {
      const { bytes, digest } = await contentOf(layer(200));
      const location = await begin(world);
      await patch(world, location, make(bytes.slice(0, 100)));
      const told = answer === 'the status' ? world.fetch('GET', location) : patch(world, location, make(bytes.slice(0, 100)));
      const next = await patch(world, locationOf(await told), make(bytes.slice(100)));
      expect(progressOf(next)).toBe('202 0-199');
      expect((await finish(world, locationOf(next), digest)).status).toBe(201);
    });

    test('sent again after it was cut off is a 416 with the stored offset', async () => {
      const { bytes, digest } = await contentOf(layer(3 * part));
      const location = await begin(world);
      await patch(world, location, broken(bytes.slice(0, 2 * part + 10)));
      const again = await patch(world, location, make(bytes));
      expect(progressOf(again)).toBe(`416 0-${2 * part - 1}`);
      const rest = await patch(world, locationOf(again), make(bytes.slice(2 * part)));
      expect((await finish(world, locationOf(rest), digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test('sent again after the upload was finished is a 404', async () => {
      const { bytes, digest } = await contentOf(layer(100));
      const location = await begin(world);
      const next = locationOf(await patch(world, location, make(bytes)));
      expect((await finish(world, next, digest)).status).toBe(201);
      for (const old of [location, next]) expect((await patch(world, old, make(bytes))).status).toBe(404);
    });
  });

  test('a PATCH with Content-Range is checked by that, whichever location it is sent to', async () => {
    const { bytes } = await contentOf(layer(30));
    const location = await begin(world);
    await patch(world, location, sized(bytes.slice(0, 10)));
    expect(progressOf(await patch(world, location, sized(bytes.slice(10, 20), '10-19')))).toBe('202 0-19');
    expect(progressOf(await patch(world, location, sized(bytes.slice(10, 20), '10-19')))).toBe('416 0-19');
  });

  describe('a closing PUT to an old location, without Content-Range', () => {
    test('is recognized by its digest if its chunk continues the upload', async () => {
      const { bytes, digest } = await contentOf(layer(200));
      const location = await begin(world);
      await patch(world, location, sized(bytes.slice(0, 100)));
      for (let attempt = 0; attempt < 2; attempt++) {
        expect((await finish(world, location, digest, sized(bytes.slice(100)))).status).toBe(201);
      }
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test.each([
      { kind: 'of known length', make: sized },
      { kind: 'of unknown length', make: unsized },
    ])('$kind is a 416 where it does not, and the upload goes on', async ({ make }) => {
      const { bytes, digest } = await contentOf(layer(2 * part + 10));
      const location = await begin(world);
      const next = locationOf(await patch(world, location, make(bytes)));
      const again = await finish(world, location, digest, make(bytes));
      expect(progressOf(again)).toBe(`416 0-${bytes.byteLength - 1}`);
      expect(await standing(world, locationOf(again))).toBe(`204 0-${bytes.byteLength - 1}`);
      expect((await finish(world, next, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await keysOf(world)).toHaveLength(1);
    });
  });

  test('a location that received something is unknown once the upload is gone', async () => {
    const { bytes, digest } = await contentOf(layer(100));
    const next = locationOf(await patch(world, await begin(world), sized(bytes)));
    await world.env.DB.prepare('DELETE FROM uploads').run();
    for (const method of ['GET', 'PATCH', 'DELETE']) {
      expect(await refusal(await world.fetch(method, next, method === 'PATCH' ? sized(bytes) : {}))).toBe(
        '404 BLOB_UPLOAD_UNKNOWN',
      );
    }
    expect((await finish(world, next, digest, sized(bytes))).status).toBe(404);
  });

  describe('a cancellation', () => {
    test.each([
      { kind: 'in one PUT', chunks: 0 },
      { kind: 'by a PATCH and a PUT', chunks: 1 },
    ])('of an upload that was finished $kind is a 404, and the blob stays', async ({ chunks }) => {
      const { bytes, digest } = await contentOf(layer(100));
      const location = await begin(world);
      if (chunks > 0) await patch(world, location, sized(bytes));
      expect((await finish(world, location, digest, chunks > 0 ? {} : sized(bytes))).status).toBe(201);
      for (let attempt = 0; attempt < 2; attempt++) expect(await statusOf(world, 'DELETE', location)).toBe(404);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test('sent again is a 404', async () => {
      const location = await begin(world);
      expect([await statusOf(world, 'DELETE', location), await statusOf(world, 'DELETE', location)]).toEqual([204, 404]);
    });
  });
});
