/**
 * Seeded runs of concurrent clients on failing stores, and the judge's own trial: it has to find what is planted. More seeds:
 * `VITE_SEEDS=5-200 npm test -- --project workerd test/history/history.test.ts`.
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { Complaint } from './judge.ts';
import { forgettingTags, keepingTags, type Plant, withoutPreconditions, withStaleTags } from './planted.ts';
import { runSeed } from './run.ts';

declare global {
  interface ImportMeta {
    readonly env: { VITE_SEEDS?: string };
  }
}

const { VITE_SEEDS = '1-4' } = import.meta.env;
const [FIRST = 1, LAST = FIRST] = VITE_SEEDS.split('-').map(Number);
const SEEDS = Array.from({ length: LAST - FIRST + 1 }, (_, n) => FIRST + n);

// What fails on purpose would fill pages.
beforeEach(() => {
  vi.spyOn(console, 'error').mockImplementation(() => {});
});

function inWords(seed: number, complaints: Complaint[]): string {
  return complaints.map(({ about, why }) => `seed ${seed}, ${about}: ${why}`).join('\n');
}

describe('whatever fails, and in whatever order', () => {
  const done = new Map<string, number>();

  test.each(SEEDS)(
    'each tag, manifest and blob is one register, and what was acknowledged is there (seed %i)',
    async (seed) => {
      const { complaints, answered } = await runSeed(seed);
      for (const [what, count] of answered) done.set(what, (done.get(what) ?? 0) + count);
      expect(inWords(seed, complaints)).toBe('');
    },
  );

  test('everything happened that can: a run in which nothing does has nothing to complain of', () => {
    const expected = [
      ...['put 201', 'put 400', 'put 403', 'put 412', 'put 0', 'put 503', 'roll-back 200', 'read 200', 'read 404'],
      ...['delete-tag 202', 'delete-tag 403', 'delete-tag 404', 'delete-manifest 202', 'delete-manifest 405', 'list 200'],
      ...['referrers 200', 'push-blob 201', 'mount 201', 'mount 202', 'read-blob 200', 'delete-blob 202', 'delete-blob 405'],
    ];
    expect(expected.filter((what) => !done.has(what))).toEqual([]);
  });
});

const PLANTED: [bug: string, plant: Plant, about: RegExp, why: RegExp][] = [
  ['preconditions that do nothing', withoutPreconditions, /^tag acme\/(api|web):(v1|v2)$/, /PUT \w+ as v[12].* -> 201/],
  ['a put that is acknowledged and not written', forgettingTags, /^tag /, /PUT .* -> 201/],
  ['tags that outlive their manifest', keepingTags, /^tag /, /delete-manifest .* -> 202|list tags|DELETE tag \w+ -> 404/],
  ['reads of tags from a stale cache', withStaleTags, /^tag /, /read \w+ -> (200|404)/],
];

describe('the judge complains of', () => {
  test.each(PLANTED)('%s, and names the tag and the few calls that show it', async (_, plant, about, why) => {
    const { complaints } = await runSeed(1, plant);
    const found = complaints.filter((complaint) => about.test(complaint.about) && complaint.why.includes('no order'));
    expect(inWords(1, complaints)).toMatch(why);
    expect(found.length).toBeGreaterThan(0);
    const lines = found.map((complaint) => complaint.why.split('\n').length - 1);
    expect(Math.min(...lines)).toBeLessThanOrEqual(4);
  });

  test('an immutable tag that has named two things', async () => {
    const { complaints } = await runSeed(1, withoutPreconditions);
    expect(inWords(1, complaints)).toMatch(/tag acme\/\w+:v[12]: is immutable, and has named \w+, \w+/);
  });
});
