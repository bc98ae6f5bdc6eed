/**
 * Concurrent requests to one upload or for one blob. Which one wins is left to chance. Each test checks what holds in any
 * case, and afterwards the stores: invariants, no key written twice, nothing left over.
 *
 * @module-tag walk
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import { type Faults, faulty } from '../../world/faults.ts';
import { type Content, contentOf, refusal } from '../../world/images.ts';
import { inFull } from '../../world/sampling.ts';
import {
  begin,
  countOf,
  expireAll,
  finish,
  keysOf,
  layer,
  locationOf,
  MODES,
  orphansOf,
  patch,
  postWhole,
  progressOf,
  pulled,
  sized,
  standing,
  statusOf,
  unsized,
} from '../../world/uploads.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';

describe.each(inFull<readonly (typeof MODES)[number][]>(MODES, MODES.slice(0, 1)))('VERIFY=$verify', ({ verify, part }) => {
  let world: World;
  let recorded: Faults;

  beforeEach(async () => {
    const { env } = await newWorld({ VERIFY: verify, PART_BYTES: String(part) });
    recorded = faulty(env);
    world = worldOf(recorded.env);
  });

  afterEach(async () => {
    expect(await violations(world.env)).toEqual([]);
    expect(await orphansOf(world)).toEqual([]);
    expect(recorded.writtenKeys.filter((key, n) => recorded.writtenKeys.indexOf(key) !== n)).toEqual([]);
  });

  function contents(count: number, size: number): Promise<Content[]> {
    return Promise.all(Array.from({ length: count }, (_, n) => contentOf(layer(size, n + 1))));
  }

  const present = (digest: string) => statusOf(world, 'HEAD', `/v2/${REPOSITORY}/blobs/${digest}`);

  describe.each([
    { kind: 'two small', count: 2, size: 100_000, make: sized },
    { kind: 'eight small', count: 8, size: 100_000, make: sized },
    { kind: 'two small ones of unknown length', count: 2, size: 100_000, make: unsized },
    { kind: 'two large', count: 2, size: part + 1000, make: sized },
    { kind: 'two large ones of unknown length', count: 2, size: part + 1000, make: unsized },
  ])('$kind PATCHes of the same range, with different bytes', ({ count, size, make }) => {
    /** Lets several chunks compete for one upload. @returns the upload, the content that won, and the other contents */
    async function race(before: Uint8Array<ArrayBuffer>): Promise<[location: string, winner: Content, losers: Content[]]> {
      const location = await begin(world);
      if (before.byteLength > 0) await patch(world, location, sized(before));
      const range = `${before.byteLength}-${before.byteLength + size - 1}`;
      const chunks = await contents(count, size);
      const answers = await Promise.all(chunks.map(({ bytes }) => patch(world, location, make(bytes, range))));
      const won = answers.findIndex(({ status }) => status === 202);
      const through = `0-${before.byteLength + size - 1}`;
      expect(answers.map(progressOf).sort()).toEqual([`202 ${through}`, ...Array(count - 1).fill(`416 ${through}`)]);
      expect(await standing(world, location)).toBe(`204 ${through}`);
      return [location, chunks[won] as Content, chunks.filter((_, n) => n !== won)];
    }

    test('have one winner, and the upload can be finished with its digest', async () => {
      const [location, winner] = await race(new Uint8Array());
      expect((await finish(world, location, winner.digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, winner.digest)).toBe(winner.digest);
      expect(await keysOf(world)).toHaveLength(1);
    });

    test('cannot be finished with the digest of a loser', async () => {
      const [location, winner, losers] = await race(new Uint8Array());
      expect(await refusal(await finish(world, location, losers[0]?.digest ?? ''))).toBe('400 DIGEST_INVALID');
      for (const { digest } of [winner, ...losers]) expect(await present(digest)).toBe(404);
    });

    test('have one winner after other chunks, too', async () => {
      const head = layer(300, 99);
      const [location, winner] = await race(head);
      const { digest } = await contentOf(new Uint8Array([...head, ...winner.bytes]));
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });
  });

  test('concurrent adjacent chunks are accepted in order or not at all, and never mixed', async () => {
    for (const [first, second] of [
      [0, 1],
      [1, 0],
    ]) {
      const { bytes, digest } = await contentOf(layer(20, first));
      const location = await begin(world);
      const ranges = ['0-9', '10-19'] as const;
      const halves = [bytes.slice(0, 10), bytes.slice(10)] as const;
      const send = (n: number) => patch(world, location, sized(halves[n] ?? bytes, ranges[n]));
      const answers = await Promise.all([send(first ?? 0), send(second ?? 1)]);
      const statuses = first === 0 ? answers.map(({ status }) => status) : answers.map(({ status }) => status).reverse();
      expect(['202 416', '202 202']).toContain(statuses.join(' '));
      if (statuses[1] === 416) expect((await send(1)).status).toBe(202);
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    }
  });

  describe('one digest', () => {
    test.each([
      { kind: 'two uploads in chunks', count: 2, chunked: true },
      { kind: 'eight uploads in chunks', count: 8, chunked: true },
      { kind: 'two direct uploads', count: 2, chunked: false },
      { kind: 'eight direct uploads', count: 8, chunked: false },
    ])('finished by $kind at once is committed by all of them and kept once', async ({ count, chunked }) => {
      const { bytes, digest } = await contentOf(layer(100_000));
      const locations = await Promise.all(Array.from({ length: count }, () => begin(world)));
      if (chunked) await Promise.all(locations.map((location) => patch(world, location, unsized(bytes))));
      const answers = await Promise.all(
        locations.map((location) => finish(world, location, digest, chunked ? {} : sized(bytes))),
      );
      expect(answers.map(({ status }) => status)).toEqual(Array(count).fill(201));
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await countOf(world, 'blobs')).toBe(1);
      expect(await countOf(world, 'repository_blobs')).toBe(1);
      expect(await keysOf(world)).toHaveLength(1);
    });

    test('pushed to two repositories at once, in different ways, is in both and stored once', async () => {
      const { bytes, digest } = await contentOf(layer(2 * part + 10));
      const location = await begin(world, 'acme/one');
      await patch(world, location, unsized(bytes));
      const answers = await Promise.all([
        finish(world, location, digest),
        postWhole(world, 'acme/two', digest, sized(bytes)),
        postWhole(world, 'acme/three', digest, unsized(bytes)),
      ]);
      expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
      for (const name of ['one', 'two', 'three']) expect(await pulled(world, `acme/${name}`, digest)).toBe(digest);
      expect(await keysOf(world)).toHaveLength(1);
    });

    test('can be pulled all the time while it is pushed again', async () => {
      const { bytes, digest } = await contentOf(layer(100_000));
      expect((await postWhole(world, REPOSITORY, digest, sized(bytes))).status).toBe(201);
      const work = Array.from({ length: 4 }, async () => {
        const location = await begin(world);
        await patch(world, location, unsized(bytes));
        return (await finish(world, location, digest)).status;
      });
      const pulls = Array.from({ length: 8 }, () => pulled(world, REPOSITORY, digest));
      expect(await Promise.all(pulls)).toEqual(Array(8).fill(digest));
      expect(await Promise.all(work)).toEqual(Array(4).fill(201));
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    });
  });

  describe('two concurrent finishes of one upload', () => {
    test.each([
      { kind: 'that came in one PATCH', sizes: [2 * part + 10] },
      { kind: 'that is short', sizes: [1000] },
    ])('$kind are both told that it is done', async ({ sizes }) => {
      const { bytes, digest } = await contentOf(layer(sizes[0] ?? 0));
      const location = await begin(world);
      await patch(world, location, unsized(bytes));
      const answers = await Promise.all([finish(world, location, digest), finish(world, location, digest)]);
      expect(answers.map(({ status }) => status)).toEqual([201, 201]);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await keysOf(world)).toHaveLength(1);
    });

    test.each([
      { tail: part, count: 2 },
      { tail: part, count: 3 },
      { tail: 2 * part + 10, count: 3 },
    ])('that came in several chunks all succeed ($count finishes, $tail bytes to add)', async ({ tail, count }) => {
      const { bytes, digest } = await contentOf(layer(part + 10 + tail));
      const location = await begin(world);
      const next = locationOf(await patch(world, location, unsized(bytes.slice(0, part + 10))));
      await patch(world, next, sized(bytes.slice(part + 10)));
      const answers = await Promise.all(Array.from({ length: count }, () => finish(world, location, digest)));
      expect(answers.map(({ status }) => status)).toEqual(Array(count).fill(201));
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await keysOf(world)).toHaveLength(1);
    });

    describe("one of which makes the other's parts invalid", () => {
      /** A world whose R2 refuses a part as if another request had written it. @param times the number of such refusals */
      const spoilt = (times: number): World => {
        let left = verify === 'stream' ? times : 0;
        const resumeMultipartUpload = (key: string, id: string) => {
          const upload = world.env.BLOBS.resumeMultipartUpload(key, id);
          const complete = async (parts: R2UploadedPart[]) => {
            if (left-- > 0)
              throw new Error('completeMultipartUpload: One or more of the specified parts could not be found. (10025)');
            return upload.complete(parts);
          };
          return { uploadPart: upload.uploadPart.bind(upload), abort: upload.abort.bind(upload), complete };
        };
        const BLOBS = new Proxy(world.env.BLOBS, {
          get: (target, name) => {
            if (name === 'resumeMultipartUpload') return resumeMultipartUpload;
            const value = Reflect.get(target, name) as unknown;
            return typeof value === 'function' ? value.bind(target) : value;
          },
        });
        return worldOf({ ...world.env, BLOBS });
      };

      test('both succeed', async () => {
        const { bytes, digest } = await contentOf(layer(2 * part + 10));
        const location = await begin(world);
        const next = locationOf(await patch(world, location, unsized(bytes.slice(0, part + 10))));
        await patch(world, next, sized(bytes.slice(part + 10)));
        const answers = await Promise.all([finish(world, location, digest), finish(spoilt(1000), location, digest)]);
        expect(answers.map(({ status }) => status)).toEqual([201, 201]);
        expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      });

      test('without another finish: it is retried', async () => {
        const { bytes, digest } = await contentOf(layer(part + 10));
        const location = await begin(world);
        await patch(world, location, unsized(bytes));
        expect((await finish(spoilt(2), location, digest)).status).toBe(201);
        expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      });
    });

    test('one of which claims another digest: the content matches its digest, or does not exist', async () => {
      const [right, wrong] = await contents(2, part + 100);
      if (!right || !wrong) throw new Error('two contents');
      const location = await begin(world);
      await patch(world, location, unsized(right.bytes));
      const [good, bad] = await Promise.all([finish(world, location, right.digest), finish(world, location, wrong.digest)]);
      expect([201, 404]).toContain(good.status);
      expect([400, 404, 416]).toContain(bad.status);
      expect(await present(right.digest)).toBe(good.status === 201 ? 200 : 404);
      expect(await present(wrong.digest)).toBe(404);
    });

    test('with different last chunks have one winner, whose content is stored', async () => {
      const head = layer(part + 100, 9);
      const ends = await contents(2, 500);
      const location = await begin(world);
      await patch(world, location, unsized(head));
      const whole = await Promise.all(ends.map(({ bytes }) => contentOf(new Uint8Array([...head, ...bytes]))));
      const answers = await Promise.all(
        whole.map(({ digest }, n) => finish(world, location, digest, sized(ends[n]?.bytes ?? head))),
      );
      expect(answers.filter(({ status }) => status === 201).length).toBeLessThanOrEqual(1);
      for (const [n, { status }] of answers.entries()) {
        expect([201, 404, 416]).toContain(status);
        expect(await present(whole[n]?.digest ?? '')).toBe(status === 201 ? 200 : 404);
      }
    });
  });

  describe('a concurrent PATCH and finish', () => {
    test.each([10, part + 10])('have one winner (%i bytes before), and the loser is told the offset', async (size) => {
      const { bytes, digest } = await contentOf(layer(size));
      const location = await begin(world);
      await patch(world, location, unsized(bytes));
      const more = layer(100, 5);
      const [finished, patched] = await Promise.all([
        finish(world, location, digest),
        patch(world, location, sized(more, `${size}-${size + 99}`)),
      ]);
      if (finished.status === 201) {
        expect(await refusal(patched)).toBe('404 BLOB_UPLOAD_UNKNOWN');
        expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      } else {
        expect(patched.status).toBe(202);
        expect(progressOf(finished)).toBe(`416 0-${size + 99}`);
        const all = await contentOf(new Uint8Array([...bytes, ...more]));
        expect((await finish(world, location, all.digest)).status).toBe(201);
        expect(await pulled(world, REPOSITORY, all.digest)).toBe(all.digest);
      }
    });

    test('of a new upload: the direct PUT and the PATCH do not disturb each other', async () => {
      const [whole, chunk] = await contents(2, 1000);
      if (!whole || !chunk) throw new Error('two contents');
      const location = await begin(world);
      const [put, patched] = await Promise.all([
        finish(world, location, whole.digest, sized(whole.bytes)),
        patch(world, location, sized(chunk.bytes)),
      ]);
      expect([201, 416]).toContain(put.status);
      expect(await present(whole.digest)).toBe(put.status === 201 ? 200 : 404);
      expect(patched.status).toBe(202);
      expect((await finish(world, location, chunk.digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, chunk.digest)).toBe(chunk.digest);
    });
  });

  describe('a cancellation', () => {
    test.each([10, part + 10])('and a finish at once (%i bytes): either it is a blob or it is gone', async (size) => {
      const { bytes, digest } = await contentOf(layer(size));
      const location = await begin(world);
      await patch(world, location, unsized(bytes));
      const [cancelled, finished] = await Promise.all([world.fetch('DELETE', location), finish(world, location, digest)]);
      expect(['204 404', '404 201']).toContain(`${cancelled.status} ${finished.status}`);
      expect(await pulled(world, REPOSITORY, digest)).toBe(finished.status === 201 ? digest : 404);
      expect(await statusOf(world, 'GET', location)).toBe(404);
    });

    test('concurrent with a PATCH: the upload and its bytes are gone, whichever came first', async () => {
      const location = locationOf(await patch(world, await begin(world), sized(layer(1000))));
      const [cancelled, patched] = await Promise.all([
        world.fetch('DELETE', location),
        patch(world, location, sized(layer(1000, 2))),
      ]);
      expect(cancelled.status).toBe(204);
      expect([202, 404]).toContain(patched.status);
      expect(await statusOf(world, 'GET', location)).toBe(404);
      expect(await keysOf(world)).toEqual([]);
    });

    test('twice at once is one 204 and one 404', async () => {
      const location = await begin(world);
      await patch(world, location, unsized(layer(part + 10)));
      const answers = await Promise.all([statusOf(world, 'DELETE', location), statusOf(world, 'DELETE', location)]);
      expect(answers.sort()).toEqual([204, 404]);
      expect(await keysOf(world)).toEqual([]);
    });
  });

  describe('pieces that another request deletes while they are read', () => {
    const { bytes, digest } = { bytes: layer(1000), digest: contentOf(layer(1000)) };
    let location: string;
    let slow: Held;

    beforeEach(async () => {
      location = locationOf(await patch(world, await begin(world), sized(bytes)));
      slow = heldAt(world, 'BLOBS', 'get');
    });

    test('are a 416 for a finish that a PATCH has overtaken', async () => {
      const finished = finish(slow.world, location, (await digest).digest);
      await slow.reached;
      expect((await patch(world, location, sized(layer(1000, 2)))).status).toBe(202);
      slow.release();
      expect(progressOf(await finished)).toBe('416 0-1999');
    });

    test('are a 201 for a finish that another finish has overtaken, or a 404 if that committed something else', async () => {
      const more = layer(10, 3);
      const longer = await contentOf(new Uint8Array([...bytes, ...more]));
      const finished = [finish(slow.world, location, (await digest).digest)];
      await slow.reached;
      expect((await finish(world, location, (await digest).digest)).status).toBe(201);
      const other = await begin(world);
      await patch(world, other, sized(bytes));
      const slower = heldAt(world, 'BLOBS', 'get');
      finished.push(finish(slower.world, other, (await digest).digest));
      await slower.reached;
      expect((await finish(world, other, longer.digest, sized(more))).status).toBe(201);
      slow.release();
      slower.release();
      expect((await Promise.all(finished)).map(({ status }) => status)).toEqual([201, 404]);
    });

    test('are a 404 for a finish of an upload that was cancelled', async () => {
      const finished = finish(slow.world, location, (await digest).digest);
      await slow.reached;
      expect(await statusOf(world, 'DELETE', location)).toBe(204);
      slow.release();
      expect(await refusal(await finished)).toBe('404 BLOB_UPLOAD_UNKNOWN');
    });

    test('are a 416 for a PATCH that another PATCH has overtaken, and a 404 once it is finished', async () => {
      const patched = patch(slow.world, location, sized(layer(1000, 2)));
      await slow.reached;
      const next = await patch(world, location, sized(layer(1000, 3)));
      expect(next.status).toBe(202);
      slow.release();
      expect(progressOf(await patched)).toBe('416 0-1999');
      const whole = await contentOf(new Uint8Array([...bytes, ...layer(1000, 3)]));
      const slower = heldAt(world, 'BLOBS', 'get');
      const late = patch(slower.world, locationOf(next), sized(layer(2000, 4)));
      await slower.reached;
      expect((await finish(world, location, whole.digest)).status).toBe(201);
      slower.release();
      expect(await refusal(await late)).toBe('404 BLOB_UPLOAD_UNKNOWN');
    });
  });

  describe('a finish that has written the object and then loses', () => {
    const sizes = { first: 2 * part + 10, more: 100, other: 100 };

    /** Uploads bytes in one PATCH, and starts to finish the upload. The finish is held before its commit. */
    async function aboutToCommit(end: Uint8Array<ArrayBuffer>) {
      const bytes = layer(sizes.first);
      const location = locationOf(await patch(world, await begin(world), unsized(bytes)));
      // The first batch reads the caller's rights and the upload.
      const slow = heldAt(world, 'DB', 'batch', 2);
      const { digest } = await contentOf(new Uint8Array([...bytes, ...end]));
      const finished = finish(slow.world, location, digest, end.byteLength > 0 ? sized(end) : {});
      await slow.reached;
      return { bytes, location, slow, finished };
    }

    test('to a PATCH leaves an upload that can continue and be finished', async () => {
      const { bytes, location, slow, finished } = await aboutToCommit(new Uint8Array());
      const more = layer(sizes.more, 2);
      expect((await patch(world, location, sized(more))).status).toBe(202);
      slow.release();
      expect(progressOf(await finished)).toBe(`416 0-${sizes.first + sizes.more - 1}`);
      const { digest } = await contentOf(new Uint8Array([...bytes, ...more]));
      expect((await finish(world, location, digest)).status).toBe(201);
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await keysOf(world)).toHaveLength(1);
    });

    test.each([
      { kind: 'a shorter end', size: 0 },
      { kind: 'another end of the same length', size: 100 },
      { kind: 'a longer end', size: 300 },
    ])('to a finish with $kind is a 404, and the content is what that one sent', async ({ size }) => {
      const { bytes, location, slow, finished } = await aboutToCommit(layer(100, 2));
      const end = layer(size, 3);
      const { digest } = await contentOf(new Uint8Array([...bytes, ...end]));
      expect((await finish(world, location, digest, size > 0 ? sized(end) : {})).status).toBe(201);
      slow.release();
      expect(await refusal(await finished)).toBe('404 BLOB_UPLOAD_UNKNOWN');
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
      expect(await keysOf(world)).toHaveLength(1);
    });

    test('to a cancellation is a 404, and its object is left to garbage collection', async () => {
      const { location, slow, finished } = await aboutToCommit(new Uint8Array());
      expect(await statusOf(world, 'DELETE', location)).toBe(204);
      slow.release();
      expect(await refusal(await finished)).toBe('404 BLOB_UPLOAD_UNKNOWN');
      expect(await countOf(world, 'blobs')).toBe(0);
    });
  });

  test('an upload that expires during a PATCH accepts nothing more', async () => {
    const location = locationOf(await patch(world, await begin(world), sized(layer(1000))));
    const reading = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const body = new ReadableStream({
      type: 'bytes',
      async pull(controller) {
        reading.resolve();
        await gate.promise;
        controller.enqueue(layer(10));
        controller.close();
      },
    });
    const patched = patch(world, location, { body });
    await reading.promise;
    await expireAll(world);
    gate.resolve();
    expect(await refusal(await patched)).toBe('404 BLOB_UPLOAD_UNKNOWN');
  });

  interface Held {
    world: World;
    reached: Promise<void>;
    release(): void;
  }

  /** A world whose calls of `method` on a binding wait for their release, beginning with the `nth` call. */
  function heldAt({ env }: World, binding: 'BLOBS' | 'DB', method: string, nth = 1): Held {
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    let calls = 0;
    const held = new Proxy(env[binding], {
      get(target, name) {
        const call = Reflect.get(target, name) as (...args: unknown[]) => unknown;
        if (name !== method) return call;
        return async (...args: unknown[]) => {
          if (++calls < nth) return call.apply(target, args);
          reached.resolve();
          await gate.promise;
          return call.apply(target, args);
        };
      },
    });
    return { world: worldOf({ ...env, [binding]: held }), reached: reached.promise, release: gate.resolve };
  }
});
