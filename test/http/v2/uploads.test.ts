/**
 * Blob uploads: every way through the protocol, in both verification modes. Refusals: `uploads-refused.test.ts`.
 *
 * @module-tag walk
 */

import { beforeEach, describe, expect, test } from 'vitest';
import { contentOf, refusal } from '../../world/images.ts';
import { inFull } from '../../world/sampling.ts';
import {
  begin,
  broken,
  brokenOff,
  countOf,
  finish,
  keysOf,
  layer,
  locationOf,
  MODES,
  patch,
  postWhole,
  progressOf,
  pulled,
  sized,
  standing,
  statusOf,
  truncated,
  unsized,
} from '../../world/uploads.ts';
import { newWorld, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';

describe.each(inFull<readonly (typeof MODES)[number][]>(MODES, MODES.slice(0, 1)))('VERIFY=$verify', ({ verify, part }) => {
  let world: World;

  beforeEach(async () => {
    world = await newWorld({ VERIFY: verify, PART_BYTES: String(part) });
  });

  describe('starting', () => {
    test('returns 202 with a location of this registry, an id and an empty range', async () => {
      const response = await world.fetch('POST', `/v2/${REPOSITORY}/blobs/uploads/`);
      expect(progressOf(response)).toBe('202 0-0');
      expect(locationOf(response)).toMatch(/^\/v2\/acme\/api\/blobs\/uploads\/[\w.-]+$/);
      expect(response.headers.get('docker-upload-uuid')).toMatch(/^[0-9a-z]{41}$/);
      expect(response.headers.get('oci-chunk-min-length')).toBeNull();
      expect(await response.text()).toBe('');
    });

    test('writes nothing, however often: no rows and no objects', async () => {
      const locations = await Promise.all(Array.from({ length: 50 }, () => begin(world)));
      expect(new Set(locations).size).toBe(50);
      expect(await countOf(world, 'uploads')).toBe(0);
      expect(await countOf(world, 'repositories')).toBe(0);
      expect(await keysOf(world)).toEqual([]);
    });

    test('creates an upload whose status is 204 with its own location', async () => {
      const location = await begin(world);
      const response = await world.fetch('GET', location);
      expect(progressOf(response)).toBe('204 0-0');
      expect(locationOf(response)).toBe(location);
      expect(await statusOf(world, 'HEAD', location)).toBe(204);
    });

    test('works with and without a trailing slash', async () => {
      expect(await statusOf(world, 'POST', `/v2/${REPOSITORY}/blobs/uploads`)).toBe(202);
    });
  });

  describe('a blob in one request', () => {
    test('can be pushed by a single POST, and pulled at the returned location', async () => {
      const { bytes, digest } = await contentOf(layer(1000));
      const response = await postWhole(world, REPOSITORY, digest, sized(bytes));
      expect(response.status).toBe(201);
      expect(response.headers.get('docker-content-digest')).toBe(digest);
      const got = await world.fetch('GET', locationOf(response));
      expect(new Uint8Array(await got.arrayBuffer())).toEqual(bytes);
    });

    test('can be pushed by a POST and a PUT, byte for byte', async () => {
      const { bytes, digest } = await contentOf(layer(3 * part));
      const response = await finish(world, await begin(world), digest, sized(bytes));
      expect(response.status).toBe(201);
      expect(response.headers.get('docker-content-digest')).toBe(digest);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test('leaves no session row, so its location stays usable until it expires', async () => {
      const first = await contentOf(layer(1000, 1));
      const second = await contentOf(layer(1000, 2));
      const location = await begin(world);
      expect((await finish(world, location, first.digest, sized(first.bytes))).status).toBe(201);
      expect(await countOf(world, 'uploads')).toBe(0);
      expect(await standing(world, location)).toBe('204 0-0');
      expect((await finish(world, location, second.digest, sized(second.bytes))).status).toBe(201);
      expect(await pulled(world, REPOSITORY, first.digest)).toBe(first.digest);
      expect(await pulled(world, REPOSITORY, second.digest)).toBe(second.digest);
    });

    test('may be of unknown length, in a PUT and in a POST', async () => {
      const put = await contentOf(layer(2 * part + 7, 1));
      const posted = await contentOf(layer(2 * part + 7, 2));
      expect((await finish(world, await begin(world), put.digest, unsized(put.bytes))).status).toBe(201);
      expect((await postWhole(world, REPOSITORY, posted.digest, unsized(posted.bytes))).status).toBe(201);
      expect(await pulled(world, REPOSITORY, put.digest)).toBe(put.digest);
      expect(await pulled(world, REPOSITORY, posted.digest)).toBe(posted.digest);
      expect(await keysOf(world, 'uploads/')).toEqual([]);
    });

    test('may state its range from 0', async () => {
      const { bytes, digest } = await contentOf(layer(10));
      expect((await finish(world, await begin(world), digest, sized(bytes, '0-9'))).status).toBe(201);
    });

    test('may be empty: by POST and PUT, and by a single POST', async () => {
      const { bytes, digest } = await contentOf('');
      expect((await finish(world, await begin(world), digest)).status).toBe(201);
      expect((await postWhole(world, 'acme/other', digest, sized(bytes))).status).toBe(201);
      const path = `/v2/acme/other/blobs/${digest}`;
      const head = await world.fetch('HEAD', path);
      expect([head.status, head.headers.get('content-length')]).toEqual([200, '0']);
      expect((await (await world.fetch('GET', path)).arrayBuffer()).byteLength).toBe(0);
      const ranged = await world.fetch('GET', path, { headers: { range: 'bytes=0-0' } });
      expect([ranged.status, ranged.headers.get('content-range')]).toEqual([416, 'bytes */0']);
    });
  });

  describe('a blob in chunks', () => {
    test('can be pushed by one PATCH of unknown length and an empty PUT, as docker does', async () => {
      const { bytes, digest } = await contentOf(layer(2 * part + 1000));
      const patched = await patch(world, await begin(world), unsized(bytes));
      expect(progressOf(patched)).toBe(`202 0-${bytes.byteLength - 1}`);
      expect((await finish(world, locationOf(patched), digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await keysOf(world, 'uploads/')).toEqual([]);
    });

    test('may end exactly at the end of a part', async () => {
      const { bytes, digest } = await contentOf(layer(2 * part));
      const location = await begin(world);
      await patch(world, location, unsized(bytes));
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test('can be pushed by PATCHes with ranges, and each answer has the offset and the next location', async () => {
      const { bytes, digest } = await contentOf(layer(30));
      let location = await begin(world);
      for (const at of [0, 10, 20]) {
        const response = await patch(world, location, sized(bytes.slice(at, at + 10), `${at}-${at + 9}`));
        expect(progressOf(response)).toBe(`202 0-${at + 9}`);
        location = locationOf(response);
        expect(await standing(world, location)).toBe(`204 0-${at + 9}`);
      }
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test('continues at any of its locations, because the offset in the row counts', async () => {
      const { bytes, digest } = await contentOf(layer(30));
      const first = await begin(world);
      const second = locationOf(await patch(world, first, sized(bytes.slice(0, 10), '0-9')));
      expect((await patch(world, first, sized(bytes.slice(10, 20), '10-19'))).status).toBe(202);
      expect((await patch(world, second, sized(bytes.slice(20), '20-29'))).status).toBe(202);
      expect((await finish(world, first, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test.each(['with its range', 'without a range', 'of unknown length'])('may end in the closing PUT, %s', async (how) => {
      const { bytes, digest } = await contentOf(layer(2 * part + 100));
      const location = await begin(world);
      const [head, tail] = [bytes.slice(0, part + 50), bytes.slice(part + 50)];
      await patch(world, location, sized(head, `0-${part + 49}`));
      const range = how === 'with its range' ? `${part + 50}-${bytes.byteLength - 1}` : undefined;
      const body = how === 'of unknown length' ? unsized(tail) : sized(tail, range);
      expect((await finish(world, location, digest, body)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await keysOf(world, 'uploads/')).toEqual([]);
    });

    test('may have chunks of one byte', async () => {
      const { bytes, digest } = await contentOf(layer(4));
      const location = await begin(world);
      for (const at of [0, 1, 2]) {
        expect(progressOf(await patch(world, location, sized(bytes.slice(at, at + 1), `${at}-${at}`)))).toBe(`202 0-${at}`);
      }
      expect((await finish(world, location, digest, sized(bytes.slice(3), '3-3'))).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test.each([
      { kind: 'known', make: sized },
      { kind: 'unknown', make: unsized },
    ])('may have uneven chunks of $kind length', async ({ make }) => {
      const sizes = [1.4 * part, part, 1.8 * part, 1].map(Math.floor);
      const { bytes, digest } = await contentOf(layer(sizes.reduce((sum, size) => sum + size)));
      const location = await begin(world);
      let at = 0;
      for (const size of sizes) {
        const chunk = bytes.slice(at, at + size);
        expect((await patch(world, location, make(chunk, `${at}-${at + size - 1}`))).status).toBe(202);
        at += size;
      }
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await keysOf(world, 'uploads/')).toEqual([]);
    });

    test('may have an empty PATCH, which changes nothing', async () => {
      const { bytes, digest } = await contentOf(layer(10));
      const location = await begin(world);
      expect(progressOf(await patch(world, location, sized(new Uint8Array())))).toBe('202 0-0');
      expect(await countOf(world, 'uploads')).toBe(0);
      await patch(world, location, sized(bytes));
      expect(progressOf(await patch(world, location, unsized(new Uint8Array())))).toBe('202 0-9');
      expect((await finish(world, location, digest)).status).toBe(201);
    });

    test.each(['bytes 0-9/10', 'bytes 0-9/*', 'bytes 0-9', 'bytes=0-9', '0-9/10', ' 0-9 ', '0000-0009'])(
      'may state its range as "%s", which can only mean 0-9',
      async (range) => {
        const { bytes } = await contentOf(layer(10));
        expect(progressOf(await patch(world, await begin(world), sized(bytes, range)))).toBe('202 0-9');
      },
    );
  });

  describe('sha512', () => {
    test('is a digest like any other: announced at the start, or only at the end', async () => {
      const { bytes, digest } = await contentOf(layer(2 * part + 5), 'sha512');
      for (const query of ['?digest-algorithm=sha512', '']) {
        const location = await begin(world, REPOSITORY, query);
        await patch(world, location, unsized(bytes));
        const response = await finish(world, location, digest);
        expect([response.status, response.headers.get('docker-content-digest')]).toEqual([201, digest]);
        expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      }
      expect((await postWhole(world, 'acme/b', digest, sized(bytes))).status).toBe(201);
      expect((await finish(world, await begin(world, 'acme/c'), digest, unsized(bytes))).status).toBe(201);
      expect(await pulled(world, 'acme/c', digest)).toBe(digest);
    });

    test('may be used for an upload announced as sha256, and the reverse', async () => {
      const bytes = layer(2 * part + 5);
      for (const [announced, used] of [
        ['sha256', 'sha512'],
        ['sha512', 'sha256'],
      ] as const) {
        const { digest } = await contentOf(bytes, used);
        const location = await begin(world, REPOSITORY, `?digest-algorithm=${announced}`);
        await patch(world, location, unsized(bytes));
        expect((await finish(world, location, digest)).status).toBe(201);
        expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      }
    });
  });

  describe('committing again', () => {
    test('returns 201 for the committed digest and 404 for another one', async () => {
      const { bytes, digest } = await contentOf(layer(100));
      const other = await contentOf(layer(100, 2));
      const location = await begin(world);
      await patch(world, location, sized(bytes));
      expect((await finish(world, location, digest)).status).toBe(201);
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await refusal(await finish(world, location, other.digest, sized(other.bytes)))).toBe('404 BLOB_UPLOAD_UNKNOWN');
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await statusOf(world, 'HEAD', `/v2/${REPOSITORY}/blobs/${other.digest}`)).toBe(404);
    });

    test('after a lost answer duplicates nothing: one blob, one link, one object', async () => {
      const { bytes, digest } = await contentOf(layer(2 * part + 3));
      const [direct, chunked] = [await begin(world), await begin(world)];
      await patch(world, chunked, sized(bytes.slice(0, part + 1)));
      for (let attempt = 0; attempt < 2; attempt++) {
        expect((await finish(world, chunked, digest, sized(bytes.slice(part + 1)))).status).toBe(201);
        expect((await finish(world, direct, digest, sized(bytes))).status).toBe(201);
      }
      expect(await countOf(world, 'blobs')).toBe(1);
      expect(await countOf(world, 'repository_blobs')).toBe(1);
      expect(await keysOf(world)).toHaveLength(1);
    });

    test('ends the upload: its status, a PATCH and a cancellation are 404', async () => {
      const { bytes, digest } = await contentOf(layer(100));
      const location = await begin(world);
      await patch(world, location, sized(bytes));
      await finish(world, location, digest);
      for (const method of ['GET', 'PATCH', 'DELETE']) {
        const response = await world.fetch(method, location, method === 'PATCH' ? sized(bytes) : {});
        expect(await refusal(response)).toBe('404 BLOB_UPLOAD_UNKNOWN');
      }
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });
  });

  test('existing content is stored once, for two repositories as for one', async () => {
    const { bytes, digest } = await contentOf(layer(2 * part + 3));
    for (const repository of [REPOSITORY, REPOSITORY, 'acme/other']) {
      expect((await postWhole(world, repository, digest, sized(bytes))).status).toBe(201);
      const location = await begin(world, repository);
      await patch(world, location, unsized(bytes));
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await pulled(world, repository, digest)).toBe(digest);
    }
    expect(await countOf(world, 'blobs')).toBe(1);
    expect(await countOf(world, 'repository_blobs')).toBe(2);
    expect(await keysOf(world)).toHaveLength(1);
  });

  describe('cancelling', () => {
    test('returns 204 and removes the received bytes, and every later request is 404', async () => {
      const { bytes, digest } = await contentOf(layer(2 * part + 3));
      const location = await begin(world);
      await patch(world, location, unsized(bytes));
      expect(await statusOf(world, 'DELETE', location)).toBe(204);
      expect(await keysOf(world)).toEqual([]);
      for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
        const path = method === 'PUT' ? `${location}?digest=${digest}` : location;
        const response = await world.fetch(method, path, method.startsWith('P') ? sized(bytes) : {});
        expect(await refusal(response)).toBe('404 BLOB_UPLOAD_UNKNOWN');
      }
      expect(await statusOf(world, 'HEAD', `/v2/${REPOSITORY}/blobs/${digest}`)).toBe(404);
      expect(await keysOf(world)).toEqual([]);
    });

    test('ends an upload that has received nothing, too', async () => {
      const location = await begin(world);
      expect(await statusOf(world, 'DELETE', location)).toBe(204);
      expect(await statusOf(world, 'GET', location)).toBe(404);
    });
  });

  describe('a broken connection', () => {
    test('in a PATCH of unknown length keeps the complete parts; the status says how far, and the upload continues there', async () => {
      const { bytes, digest } = await contentOf(layer(3 * part + 9));
      const location = await begin(world);
      const response = await patch(world, location, broken(bytes.slice(0, 2 * part + 10)));
      expect(await refusal(response)).toBe('400 SIZE_INVALID');
      expect(await standing(world, location)).toBe(`204 0-${2 * part - 1}`);
      const rest = bytes.slice(2 * part);
      const resumed = await patch(world, location, sized(rest, `${2 * part}-${bytes.byteLength - 1}`));
      expect(progressOf(resumed)).toBe(`202 0-${bytes.byteLength - 1}`);
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await keysOf(world, 'uploads/')).toEqual([]);
    });

    test('in a PATCH of known length keeps the status correct, and the upload continues there', async () => {
      const { bytes, digest } = await contentOf(layer(3 * part));
      const location = await begin(world);
      const cut = await patch(world, location, truncated(bytes.slice(0, 2 * part + 10), 3 * part));
      expect(await refusal(cut)).toBe('400 SIZE_INVALID');
      const kept = verify === 'stream' ? 2 * part : 0;
      expect(await standing(world, location)).toBe(`204 0-${Math.max(0, kept - 1)}`);
      const there = locationOf(await world.fetch('GET', location));
      const resumed = await patch(world, there, sized(bytes.slice(kept, kept + 100)));
      expect(progressOf(resumed)).toBe(`202 0-${kept + 99}`);
      const again = await patch(world, locationOf(resumed), brokenOff(bytes.slice(kept + 100, kept + 200), part));
      expect(await refusal(again)).toBe('400 SIZE_INVALID');
      expect(await standing(world, location)).toBe(`204 0-${kept + 99}`);
      expect((await finish(world, location, digest, sized(bytes.slice(kept + 100)))).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });

    test('before anything complete was received leaves the upload as it was', async () => {
      const location = await begin(world);
      expect(await refusal(await patch(world, location, broken(layer(10))))).toBe('400 SIZE_INVALID');
      expect(await standing(world, location)).toBe('204 0-0');
      expect(await countOf(world, 'uploads')).toBe(0);
      expect(await keysOf(world)).toEqual([]);
    });
  });
});
