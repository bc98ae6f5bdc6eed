/**
 * The scrub. Missing or damaged content counts as absent and can be pushed again. Only objects that no row names are deleted.
 *
 * @module-tag walk
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { parseDigest } from '../../../src/oci/digest.ts';
import { scrubSlice } from '../../../src/registry/gc/scrub.ts';
import { newUploadId } from '../../../src/registry/uploads/sessions.ts';
import { blobKey, manifestKey, streamKey } from '../../../src/storage/keys.ts';
import { counting } from '../../world/counting.ts';
import { FAULTS, faulty } from '../../world/faults.ts';
import { type Content, contentOf, noise, pushBlob, pushImage, putManifest, refusal, textOf } from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { indexesOf } from '../../world/sampling.ts';
import { begin, finish, layer, MIB, patch, unsized } from '../../world/uploads.ts';
import { builtOnce, newWorld, type World, worldOf } from '../../world/world.ts';
import { collectAll, count, keys, scrub, wrong } from './garbage.ts';

const DAY = 86_400_000;
const LARGE = { annotations: { text: 'x'.repeat(200_000) } };
const API = '/v2/acme/api';

let world: World;
beforeEach(async () => {
  world = await newWorld();
  vi.spyOn(console, 'error').mockImplementation(() => {});
});

const keyOf = async (digest: string) =>
  (await world.env.DB.prepare('SELECT object_key FROM blobs WHERE digest = ?1').bind(digest).first<string>('object_key')) ?? '';

const missing = async () =>
  (
    await world.env.DB.prepare("SELECT about, actor, target FROM events WHERE type = 'blob.missing' ORDER BY id").all<{
      target: string;
    }>()
  ).results.map(({ target, ...row }) => ({ ...row, target: JSON.parse(target) as unknown }));

/** Flips a byte in place, as a failing disk would. */
async function flip(key: string): Promise<void> {
  const bytes = new Uint8Array((await (await world.env.BLOBS.get(key))?.arrayBuffer()) ?? new ArrayBuffer(0));
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  await world.env.BLOBS.put(key, bytes);
}

async function heals(content: Content): Promise<void> {
  expect((await world.fetch('HEAD', `${API}/blobs/${content.digest}`)).status).toBe(404);
  await pushBlob(world, 'acme/api', content.bytes);
  const pulled = await world.fetch('GET', `${API}/blobs/${content.digest}`);
  expect([pulled.status, new Uint8Array(await pulled.arrayBuffer())]).toEqual([200, content.bytes]);
  await collectAll(world);
  expect(await wrong(world)).toEqual([]);
}

test('an intact registry stays as it is', async () => {
  await pushImage(world, 'acme/api', 'v1', 1, LARGE);
  await pushImage(world, 'acme/api', 'v2', 2);
  const before = await keys(world);
  expect(await scrub(world, Date.now() + 30 * DAY)).toMatchObject({
    objects: 5,
    hashed: 0,
    missing: 0,
    damaged: 0,
    orphans: 0,
  });
  world = worldOf({ ...world.env, SCRUB: 'hash' });
  expect(await scrub(world, Date.now() + 30 * DAY)).toMatchObject({
    objects: 5,
    hashed: 5,
    missing: 0,
    damaged: 0,
    problems: [],
  });
  expect(await keys(world)).toEqual(before);
  expect(await wrong(world)).toEqual([]);
});

describe('a blob', () => {
  test('whose object is missing counts as absent, is reported, and is repaired by the next push', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const blob = await contentOf(noise(100, 1));
    await world.env.BLOBS.delete(await keyOf(blob.digest));
    expect(await scrub(world)).toMatchObject({
      objects: 1,
      missing: 1,
      damaged: 0,
      problems: [expect.stringMatching('missing')],
    });
    expect(await missing()).toEqual([{ about: '', actor: 'registry', target: { digest: blob.digest, reason: 'missing' } }]);
    expect(await scrub(world)).toMatchObject({ objects: 1, missing: 0 });
    expect(await missing()).toHaveLength(1);
    await heals(blob);
    expect(await scrub(world)).toMatchObject({ objects: 2, missing: 0 });
  });

  test('with a flipped byte is found by hashing only, and its bytes are deleted once it was pushed again', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const blob = await contentOf(noise(100, 1));
    const key = await keyOf(blob.digest);
    await flip(key);
    expect(await scrub(world)).toMatchObject({ missing: 0, damaged: 0 });
    expect(await scrub(worldOf({ ...world.env, SCRUB: 'hash' }))).toMatchObject({
      objects: 1,
      damaged: 1,
      hashed: 2,
      bytes: 110,
    });
    expect(await missing()).toEqual([{ about: '', actor: 'registry', target: { digest: blob.digest, reason: 'damaged' } }]);
    await heals(blob);
    expect(await keys(world)).not.toContain(key);
  });

  test.each([
    ['another size', noise(99, 7), false],
    ['another checksum', noise(100, 7), true],
  ])('of %s than its row says is damaged, without being read', async (_, bytes, hasChecksum) => {
    await pushImage(world, 'acme/api', 'v1');
    const blob = await contentOf(noise(100, 1));
    const sha256 = (await contentOf(bytes)).digest.slice('sha256:'.length);
    await world.env.BLOBS.put(await keyOf(blob.digest), bytes, hasChecksum ? { sha256 } : {});
    const { env, counts } = counting(world.env);
    expect(await scrub(worldOf(env))).toMatchObject({ damaged: 1 });
    // The object is read a second time before it counts as damaged.
    expect(counts.r2Reads).toBe(1);
    await heals(blob);
  });

  test('that was streamed is found by its key, among others that are found by digest', { tags: 'slow' }, async () => {
    const other = await pushBlob(world, 'acme/api', noise(10));
    world = worldOf({ ...world.env, VERIFY: 'stream', PART_BYTES: String(5 * MIB) });
    const blobs = await Promise.all([1, 2, 3].map((seed) => contentOf(layer(5 * MIB + seed, seed))));
    for (const { bytes, digest } of blobs) {
      const location = await begin(world);
      await patch(world, location, unsized(bytes));
      expect((await finish(world, location, digest)).status).toBe(201);
    }
    expect(await keys(world, 'blobs/stream/')).toHaveLength(3);
    await flip(await keyOf(blobs[0]?.digest ?? ''));
    await world.env.BLOBS.delete(await keyOf(blobs[1]?.digest ?? ''));
    const report = await scrub(worldOf({ ...world.env, SCRUB: 'hash' }), Date.now() + 30 * DAY);
    expect(report).toMatchObject({ damaged: 1, missing: 1, hashed: 3, orphans: 0 });
    for (const { digest } of [other, blobs[2] as Content]) {
      expect((await world.fetch('HEAD', `${API}/blobs/${digest}`)).status).toBe(200);
    }
    expect((await world.fetch('HEAD', `${API}/blobs/${blobs[0]?.digest}`)).status).toBe(404);
  });

  test('that was published after the listing does not count as missing', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const BLOBS = new Proxy(world.env.BLOBS, {
      get(target, name) {
        if (name !== 'list') return Reflect.get(target, name).bind(target);
        return async (options: R2ListOptions) => {
          const page = await target.list(options);
          if (options.prefix === 'blobs/sha') await pushBlob(world, 'acme/api', noise(77, 7));
          return page;
        };
      },
    });
    expect(await scrub(worldOf({ ...world.env, BLOBS }))).toMatchObject({ missing: 0, objects: 3 });
    expect(await wrong(world)).toEqual([]);
  });

  test('that was pushed again after the check is left alone', async () => {
    const blob = await pushBlob(world, 'acme/api', noise(100));
    await world.env.BLOBS.delete(await keyOf(blob.digest));
    let batches = 0;
    const DB = intercepted(world.env.DB, async (name, effect) => {
      // The first batch starts the pass. Before the second, a reader finds the missing object and a client pushes it again.
      if (name === 'DB.batch' && ++batches === 2) {
        await world.fetch('GET', `${API}/blobs/${blob.digest}`);
        await pushBlob(world, 'acme/api', blob.bytes);
      }
      return effect();
    });
    await scrub(worldOf({ ...world.env, DB }));
    expect(batches).toBeGreaterThanOrEqual(2);
    expect((await world.fetch('HEAD', `${API}/blobs/${blob.digest}`)).status).toBe(200);
    // The reader has reported the missing object, and the scrub has not.
    expect(await missing()).toHaveLength(1);
    expect(await wrong(world)).toEqual([]);
  });

  test('that cannot be read is reported, and does not count as damaged', async () => {
    const blob = await pushBlob(world, 'acme/api', noise(100));
    const BLOBS = new Proxy(world.env.BLOBS, {
      get: (target, name) =>
        name === 'get' ? () => Promise.reject(new Error('R2 is not there')) : Reflect.get(target, name).bind(target),
    });
    const report = await scrub(worldOf({ ...world.env, BLOBS, SCRUB: 'hash' }));
    expect(report).toMatchObject({
      damaged: 0,
      missing: 0,
      hashed: 0,
      bytes: 0,
      problems: [expect.stringMatching('could not be read')],
    });
    expect((await world.fetch('HEAD', `${API}/blobs/${blob.digest}`)).status).toBe(200);
  });
});

describe('a large manifest', () => {
  test.each(['gone', 'damaged'])('whose document is %s counts as absent, and comes back with the next push', async (how) => {
    const image = await pushImage(world, 'acme/api', 'v1', 1, LARGE);
    const [key] = await keys(world, 'manifests/');
    if (how === 'gone') await world.env.BLOBS.delete(key as string);
    else await flip(key as string);
    const report = await scrub(worldOf({ ...world.env, SCRUB: 'hash' }));
    expect(report).toMatchObject(how === 'gone' ? { missing: 1, damaged: 0 } : { missing: 0, damaged: 1 });
    expect(await refusal(await world.fetch('GET', `${API}/manifests/v1`))).toBe('404 MANIFEST_UNKNOWN');
    expect((await putManifest(world, 'acme/api', 'v1', textOf(image))).status).toBe(201);
    const pulled = await world.fetch('GET', `${API}/manifests/v1`);
    expect([pulled.status, new Uint8Array(await pulled.arrayBuffer())]).toEqual([200, image.bytes]);
    await collectAll(world);
    expect(await keys(world, 'manifests/')).toHaveLength(1);
    expect(await wrong(world)).toEqual([]);
  });

  test('in the trash keeps its document', async () => {
    const image = await pushImage(world, 'acme/api', 'v1', 1, LARGE);
    await world.fetch('DELETE', `${API}/manifests/${image.digest}`);
    expect(await scrub(world, Date.now() + 30 * DAY)).toMatchObject({ objects: 3, orphans: 0 });
    expect(await keys(world, 'manifests/')).toHaveLength(1);
  });
});

describe('an unreferenced object', () => {
  async function orphans(): Promise<string[]> {
    const { digest } = await contentOf('orphan');
    const all = [blobKey(digest), blobKey(parseDigest(`sha512:${'a'.repeat(128)}`)), manifestKey(digest), streamKey()];
    for (const key of all) await world.env.BLOBS.put(key, 'orphan');
    return all;
  }

  test('is deleted once no request can be about to reference it', async () => {
    await pushImage(world, 'acme/api', 'v1', 1, LARGE);
    const before = await keys(world);
    const all = await orphans();
    expect(await scrub(world)).toMatchObject({ orphans: 0 });
    expect(await scrub(world, Date.now() + 1.1 * DAY)).toMatchObject({ orphans: 3 });
    expect(await keys(world)).toEqual([...before, all[3] as string].sort());
    expect(await scrub(world, Date.now() + 2.1 * DAY)).toMatchObject({ orphans: 1 });
    expect(await keys(world)).toEqual(before);
  });

  test('is left to running requests for an hour at least, whatever the grace period', async () => {
    await orphans();
    const impatient = worldOf({ ...world.env, GRACE_SECONDS: '0' });
    expect(await scrub(impatient, Date.now() + 59 * 60_000)).toMatchObject({ orphans: 0 });
    expect(await scrub(impatient, Date.now() + 61 * 60_000)).toMatchObject({ orphans: 3 });
  });

  test('is left to the collector if it has a tombstone, and to its upload if one is open', async () => {
    const all = await orphans();
    const { DB } = world.env;
    await DB.prepare('INSERT INTO tombstones VALUES (?1, unixepoch())').bind(all[0]).run();
    await DB.prepare(
      `INSERT INTO uploads (id, repository, state, version, size, staged, expires_at)
       VALUES (?1, 'acme/api', 'open', 1, 6, ?2, unixepoch() + 100)`,
    )
      .bind(newUploadId(Date.now()), JSON.stringify({ multipart: { key: all[3] } }))
      .run();
    expect(await scrub(world, Date.now() + 30 * DAY)).toMatchObject({ orphans: 2 });
    expect(await keys(world)).toEqual([all[0], all[3]].sort());
  });

  test('stays if a row references it at the last moment', async () => {
    const blob = await contentOf('late');
    const key = blobKey(blob.digest);
    await world.env.BLOBS.put(key, blob.bytes);
    let statements = 0;
    const DB = intercepted(world.env.DB, async (_, effect) => {
      // The third statement is the query for orphans, after the start of the pass and the rows.
      if (++statements === 3) {
        await world.env.DB.prepare('INSERT INTO blobs (digest, size, object_key, created_at) VALUES (?1, 4, ?2, 0)')
          .bind(blob.digest, key)
          .run();
      }
      return effect();
    });
    expect(await scrubSlice({ ...world.env, DB }, Date.now() + 30 * DAY)).toMatchObject({ report: { orphans: 0 } });
    expect(await keys(world)).toEqual([key]);
  });

  test('stays if most objects are unreferenced: that means another database, not garbage', { tags: 'slow' }, async () => {
    for (let seed = 1; seed <= 12; seed++) await pushImage(world, 'acme/api', `v${seed}`, seed);
    const before = await keys(world);
    const { DB } = world.env;
    await DB.batch(
      ['blobs', 'repository_blobs', 'manifest_references', 'manifests', 'tags'].map((table) =>
        DB.prepare(`DELETE FROM ${table}`),
      ),
    );
    const alarm = expect.stringMatching(/no row names 24 of 24 objects .* may not belong to this bucket/);
    expect(await scrub(world, Date.now() + 30 * DAY)).toMatchObject({ orphans: 0, problems: [alarm] });
    expect(await keys(world)).toEqual(before);
  });

  test('in other parts of the bucket stays', async () => {
    for (const key of ['uploads/x/y', 'other', 'blobs/other']) await world.env.BLOBS.put(key, 'x');
    await scrub(world, Date.now() + 30 * DAY);
    expect(await keys(world)).toEqual(['blobs/other', 'other', 'uploads/x/y']);
  });
});

/** Creates `n` blobs. Every tenth blob has no object, and for every tenth blob there is an object without a row. */
async function manyBlobs(n: number): Promise<void> {
  const digests = await Promise.all(Array.from({ length: n }, async (_, i) => (await contentOf(String(i))).digest));
  const rows = digests.map((digest, i) => ({ digest, size: String(i).length, key: blobKey(digest) }));
  for (let at = 0; at < n; at += 50) {
    await Promise.all(
      rows.slice(at, at + 50).map(({ key }, i) => ((at + i) % 10 === 1 ? null : world.env.BLOBS.put(key, String(at + i)))),
    );
  }
  const named = rows.filter((_, i) => i % 10 !== 2);
  await world.env.DB.prepare(
    `INSERT INTO blobs SELECT value ->> 'digest', value ->> 'size', value ->> 'key', unixepoch(), NULL FROM json_each(?1)`,
  )
    .bind(JSON.stringify(named))
    .run();
}

describe('a slice', () => {
  test('checks one page, and each object and row once in total', { tags: 'slow' }, async () => {
    await manyBlobs(1400);
    const slices: { d1: number; rowsRead: number; r2Reads: number; r2Writes: number }[] = [];
    for (let ended = false; !ended; ) {
      const { env, counts } = counting(world.env);
      ended = (await scrubSlice(env, Date.now() + 30 * DAY)).ended;
      slices.push(counts);
    }
    // The last slice also covers the two following ranges of keys, because they are empty.
    expect(slices.length).toBe(4);
    const last = slices.pop();
    expect(last).toMatchObject({ r2Writes: 2 });
    for (const { d1, rowsRead, r2Reads, r2Writes } of slices) {
      expect(d1).toBeLessThanOrEqual(6);
      expect(rowsRead).toBeLessThanOrEqual(3000);
      expect(r2Reads).toBeLessThanOrEqual(50);
      expect(r2Writes).toBe(1);
    }
    const finished = await world.env.DB.prepare("SELECT finished FROM maintenance WHERE job = 'scrub'").first<string>(
      'finished',
    );
    expect(JSON.parse(finished ?? '')).toMatchObject({ objects: 1120, missing: 140, orphans: 140, damaged: 0 });
    expect(await count(world, 'blobs', 'missing_since IS NOT NULL')).toBe(140);
    expect(await wrong(world)).toEqual([]);
  });

  test('reads a limited number of rows, even without objects for them', async () => {
    const lost = 'f'.repeat(64);
    await world.env.DB.prepare(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
       INSERT INTO blobs SELECT 'sha256:' || printf('%064x', i), 1, 'blobs/sha256/' || printf('%064x', i) || '/x', 0, 1 FROM n`,
    ).run();
    await world.env.DB.prepare(`INSERT INTO blobs VALUES ('sha256:${lost}', 1, 'blobs/sha256/${lost}/x', 0, NULL)`).run();
    const { env, counts } = counting(world.env);
    expect(await scrubSlice(env, Date.now())).toMatchObject({ ended: false, report: { missing: 0 } });
    expect(counts.rowsRead).toBeLessThanOrEqual(700);
    expect(await scrub(world)).toMatchObject({ missing: 1 });
    expect(await missing()).toHaveLength(1);
  });

  test('that hashes stops after its bytes, and the next one continues', { tags: 'slow' }, async () => {
    await manyBlobs(250);
    const report = await scrub(worldOf({ ...world.env, SCRUB: 'hash' }));
    expect(report).toMatchObject({ objects: 200, hashed: 200, missing: 25 });
    // Each slice hashes 50 objects.
    expect(report.slices).toBe(4);
  });

  test.each(FAULTS)('that ends in %s at any call does no harm, and is made up for', async (fault) => {
    const start = builtOnce(
      async (made) => {
        world = made;
        await pushImage(world, 'acme/api', 'v1', 1, LARGE);
        const loose = [await pushBlob(world, 'acme/api', noise(10, 8)), await pushBlob(world, 'acme/api', noise(10, 9))];
        await world.env.BLOBS.delete(await keyOf(loose[0]?.digest ?? ''));
        await flip(await keyOf(loose[1]?.digest ?? ''));
        await world.env.BLOBS.put(blobKey((await contentOf('orphan')).digest), 'orphan');
      },
      { SCRUB: 'hash' },
    );
    world = await start();
    const later = Date.now() + 30 * DAY;
    const counted = faulty(world.env);
    await scrub(worldOf(counted.env), later);
    for (const at of indexesOf(counted.calls.length, FAULTS.indexOf(fault), FAULTS.length)) {
      const where = `${fault} at ${counted.calls[at]} (${at + 1} of ${counted.calls.length})`;
      world = await start();
      const faults = faulty(world.env, fault, at);
      await Promise.race([scrub(worldOf(faults.env), later).catch(() => {}), faults.stopped]);
      await scrub(world, later);
      await scrub(world, later);
      expect(await count(world, 'blobs', 'missing_since IS NULL'), where).toBe(2);
      expect(await missing(), where).toHaveLength(2);
      expect(await keys(world), where).toHaveLength(4);
      expect(await wrong(world), where).toEqual([]);
    }
  });
});
