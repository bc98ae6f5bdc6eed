/**
 * The number of pulls. Small numbers are exact. Large numbers are estimates with a known error. Few rows are written.
 *
 * @module-tag walk
 */

import { beforeEach, describe, expect, test } from 'vitest';
import type { RepositoryName } from '../../../src/oci/name.ts';
import { pullsOf, writeUses } from '../../../src/registry/usage/pulls.ts';
import { counting } from '../../world/counting.ts';
import { FAULTS, faulty } from '../../world/faults.ts';
import { type Content, pushImage } from '../../world/images.ts';
import { inFull } from '../../world/sampling.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api' as RepositoryName;

let world: World;
let image: Content;

const build = builtOnce(async (made) => {
  world = made;
  image = await pushImage(world, REPOSITORY, 'v1');
});

beforeEach(async () => {
  world = await build();
});

/** Reproducible pseudo-random numbers (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Records `times` pulls of an image. @returns the counted number and the written rows */
async function pull(digest: string, times: number, random: () => number): Promise<{ estimate: number; written: number }> {
  const statements: D1PreparedStatement[] = [];
  const batch = async (all: D1PreparedStatement[]) => void statements.push(...all);
  const noting = { DB: { prepare: (sql: string) => world.env.DB.prepare(sql), batch } as unknown as D1Database };
  const use = { repository: REPOSITORY, digest: digest as Content['digest'], pulls: 1, checked: false };
  for (let n = 0; n < times; n++) await writeUses(noting, [{ ...use, random: random() }]);
  let written = 0;
  for (let at = 0; at < times; at += 1000) {
    for (const { meta } of await world.env.DB.batch(statements.slice(at, at + 1000))) written += meta.rows_written;
  }
  return { estimate: (await pullsOf(world.env, REPOSITORY, digest as Content['digest'])).total, written };
}

const digestOf = (n: number) => `sha256:${String(n).padStart(64, '0')}`;

describe('pulls of an image in a day', () => {
  test.each([1, 2, 15, 16])('are counted one by one: %i', async (times) => {
    expect(await pull(image.digest, times, () => 0.999_999)).toEqual({ estimate: times, written: times });
  });

  test('are an estimate beyond that: unbiased, within the stated error, and with few rows written', {
    tags: 'slow',
  }, async () => {
    const runs = inFull(20, 8);
    const results: { estimate: number; written: number }[] = [];
    for (let seed = 1; seed <= runs; seed++) results.push(await pull(digestOf(seed), 10_000, seeded(seed)));
    const errors = results.map(({ estimate }) => estimate / 10_000 - 1);
    const deviation = Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / runs);
    // 2.5 standard errors of a deviation that is estimated from so many runs.
    expect(deviation, 'the stated error is 18 %').toBeLessThan(0.18 * (1 + 2.5 / Math.sqrt(2 * runs)));
    expect(Math.abs(errors.reduce((sum, error) => sum + error, 0) / runs)).toBeLessThan((3 * 0.18) / Math.sqrt(runs));
    for (const { written } of results) expect(written).toBeLessThan(200);
    expect(results.reduce((sum, { written }) => sum + written, 0) / runs).toBeGreaterThan(60);
  });

  test('that the sampling skips leave the day and the count unchanged', async () => {
    await pull(image.digest, 40, () => 0.999_999);
    const { total, days } = await pullsOf(world.env, REPOSITORY, image.digest);
    expect(total).toBe(17);
    const today = await world.env.DB.prepare('SELECT unixepoch() / 86400 AS day').first('day');
    expect(days).toEqual([{ day: today, pulls: 17 }]);
  });

  test('start again each day, and the first of a day is always written', async () => {
    await pull(image.digest, 30, () => 0);
    await world.env.DB.prepare('UPDATE pulls SET day = day - 1').run();
    await pull(image.digest, 1, () => 0.999_999);
    const { days } = await pullsOf(world.env, REPOSITORY, image.digest);
    expect(days.map(({ pulls }) => pulls)).toEqual([1, expect.any(Number)]);
    expect((days[0]?.day ?? 0) - (days[1]?.day ?? 0)).toBe(1);
  });

  test('of a repository that was deleted meanwhile are not counted', async () => {
    const gone = { repository: 'acme/gone' as RepositoryName, digest: image.digest, pulls: 1, checked: false, random: 0 };
    await writeUses(world.env, [gone]);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM pulls').first('n')).toBe(0);
  });
});

describe('a check (HEAD)', () => {
  const check = (reference: string, on = world) => on.fetch('HEAD', `/v2/${REPOSITORY}/manifests/${reference}`);
  const days = async () => {
    const sql = 'SELECT digest, unixepoch() / 86400 - day AS ago FROM manifest_checks ORDER BY digest';
    return (await world.env.DB.prepare(sql).all()).results;
  };

  test('stores the last day on which an image was checked, by tag or digest, and counts no pull', async () => {
    for (const reference of ['v1', image.digest, 'v1']) expect((await check(reference)).status).toBe(200);
    expect(await days()).toEqual([{ digest: image.digest, ago: 0 }]);
    await world.env.DB.prepare('UPDATE manifest_checks SET day = day - 3').run();
    expect(await pullsOf(world.env, REPOSITORY, image.digest)).toMatchObject({ total: 0, days: [] });
    const today = await world.env.DB.prepare('SELECT unixepoch() / 86400 AS day').first<number>('day');
    for (const digest of [image.digest, null]) {
      expect(await pullsOf(world.env, REPOSITORY, digest)).toMatchObject({ checkedOn: Number(today) - 3 });
    }
    await check('v1');
    expect(await days()).toEqual([{ digest: image.digest, ago: 0 }]);
  });

  test('of something unknown or hidden is not stored', async () => {
    expect((await check('v2')).status).toBe(404);
    expect((await world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/v1`, { authorization: null })).status).toBe(401);
    expect(await days()).toEqual([]);
  });

  test('writes one row for a day and image, however often, and succeeds even if that fails', async () => {
    const { env, counts } = counting(world.env);
    for (let n = 0; n < 40; n++) expect((await check('v1', worldOf(env))).status).toBe(200);
    expect(counts.rowsWritten).toBe(1);
    const probe = faulty(world.env);
    await check('v1', worldOf(probe.env));
    const failing = faulty(world.env, 'fail-before', probe.calls.length - 1);
    expect((await check('v1', worldOf(failing.env))).status).toBe(200);
  });
});

describe('a request', () => {
  const get = (path: string, init = {}) => world.fetch('GET', `/v2/${REPOSITORY}/${path}`, init);
  const total = async () => (await pullsOf(world.env, REPOSITORY, image.digest)).total;

  test('counts as a pull if it returns a manifest, by tag or by digest', async () => {
    expect((await get('manifests/v1')).status).toBe(200);
    expect((await get(`manifests/${image.digest}`)).status).toBe(200);
    expect(await total()).toBe(2);
  });

  test('does not count if it only checks, returns something else, or fails', async () => {
    await world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/v1`);
    await get('tags/list');
    await get(`referrers/${image.digest}`);
    expect((await get('manifests/v2')).status).toBe(404);
    expect((await get('manifests/v1', { authorization: null })).status).toBe(401);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM pulls').first('n')).toBe(0);
  });

  test('takes one more statement after its answer, which writes a row for the first pulls of a day, and rarely later', {
    tags: 'slow',
  }, async () => {
    const cost = async () => {
      const { env, counts } = counting(world.env);
      expect((await worldOf(env).fetch('GET', `/v2/${REPOSITORY}/manifests/v1`)).status).toBe(200);
      return counts;
    };
    const first = await cost();
    expect(first.rowsWritten).toBe(1);
    await pull(image.digest, 20_000, seeded(1));
    let written = 0;
    for (let n = 0; n < 50; n++) written += (await cost()).rowsWritten;
    expect(written).toBeLessThanOrEqual(5);
  });

  test.each(FAULTS.filter((fault) => fault.startsWith('fail')))('succeeds even if the count fails: %s', async (fault) => {
    const { calls } = await (async () => {
      const probe = faulty(world.env);
      await worldOf(probe.env).fetch('GET', `/v2/${REPOSITORY}/manifests/v1`);
      return probe;
    })();
    const { env } = faulty(world.env, fault, calls.length - 1);
    const response = await worldOf(env).fetch('GET', `/v2/${REPOSITORY}/manifests/v1`);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(new TextDecoder().decode(image.bytes));
    expect(await total()).toBe(fault === 'fail-before' ? 1 : 2);
  });
});

describe('pulls that are counted in memory', () => {
  const atOnce = (on: World, paths: string[]) => Promise.all(paths.map((path) => on.fetch('GET', `/v2/${REPOSITORY}/${path}`)));

  test('take no call of their own, and are written together', { tags: 'slow' }, async () => {
    // With a log of requests, each request has its own wrapper of the database.
    const { env, counts } = counting({ ...world.env, PULL_COUNT_SECONDS: '1', LOG: 'json' });
    const answers = await atOnce(worldOf(env), Array(20).fill('manifests/v1'));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect((await pullsOf(world.env, REPOSITORY, image.digest)).total).toBe(20);
    expect(counts.rowsWritten).toBe(1);
    // Each pull reads the caller's rights and the manifest. The last call writes all twenty.
    expect(counts.d1).toBe(20 * 2 + 1);
  });

  test('of different images are written by one call, with the checks', { tags: 'slow' }, async () => {
    const other = await pushImage(world, REPOSITORY, 'v2', 2);
    const { env, counts } = counting({ ...world.env, PULL_COUNT_SECONDS: '1' });
    const check = worldOf(env).fetch('HEAD', `/v2/${REPOSITORY}/manifests/v2`);
    await Promise.all([check, atOnce(worldOf(env), ['manifests/v1', 'manifests/v2', 'manifests/v2'])]);
    expect((await pullsOf(world.env, REPOSITORY, image.digest)).total).toBe(1);
    expect(await pullsOf(world.env, REPOSITORY, other.digest)).toMatchObject({ total: 2, checkedOn: expect.any(Number) });
    expect(counts.d1).toBe(4 * 2 + 1);
  });
});
