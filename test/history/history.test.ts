/**
 * Seeded runs of concurrent clients on failing stores, and tests of the checker, which must find bugs that are put into the
 * bindings. To run more seeds:
 * `VITE_SEEDS=5-200 npm run test:exhaustive -- test/history`.
 *
 * @module-tag walk
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { EXHAUSTIVE, inFull } from '../world/sampling.ts';
import type { Complaint } from './checker.ts';
import { runSeed } from './run.ts';
import { forgettingTags, keepingTags, type SeedBug, withoutPreconditions, withStaleTags } from './seeded-bugs.ts';

declare global {
  interface ImportMeta {
    readonly env: { VITE_SEEDS?: string };
  }
}

const { VITE_SEEDS = inFull('1-4', '1') } = import.meta.env;
const [FIRST = 1, LAST = FIRST] = VITE_SEEDS.split('-').map(Number);
const SEEDS = Array.from({ length: LAST - FIRST + 1 }, (_, n) => FIRST + n);

// The log of the injected failures would be very long.
beforeEach(() => {
  vi.spyOn(console, 'error').mockImplementation(() => {});
});

function inWords(seed: number, complaints: Complaint[]): string {
  return complaints.map(({ about, why }) => `seed ${seed}, ${about}: ${why}`).join('\n');
}

describe('with concurrent clients and failing stores', () => {
  const done = new Map<string, number>();

  test.each(SEEDS)(
    'each tag, manifest and blob is linearizable, and every acknowledged write is there (seed %i)',
    async (seed) => {
      const { complaints, answered } = await runSeed(seed);
      for (const [what, count] of answered) done.set(what, (done.get(what) ?? 0) + count);
      expect(inWords(seed, complaints)).toBe('');
    },
  );

  test.runIf(EXHAUSTIVE)('the seeds together produce every kind of answer', () => {
    const expected = [
      ...['put 201', 'put 400', 'put 403', 'put 412', 'put 0', 'put 503', 'roll-back 200', 'read 200', 'read 404'],
      ...['delete-tag 202', 'delete-tag 403', 'delete-tag 404', 'delete-manifest 202', 'delete-manifest 405', 'list 200'],
      ...['referrers 200', 'push-blob 201', 'mount 201', 'mount 202', 'read-blob 200', 'delete-blob 202', 'delete-blob 405'],
    ];
    expect(expected.filter((what) => !done.has(what))).toEqual([]);
  });
});

const SEEDED_BUGS: [bug: string, seedBug: SeedBug, about: RegExp, why: RegExp][] = [
  ['preconditions that do nothing', withoutPreconditions, /^tag acme\/(api|web):(v1|v2)$/, /PUT \w+ as v[12].* -> 201/],
  ['an acknowledged put that was not written', forgettingTags, /^tag /, /PUT .* -> 201/],
  ['tags that outlive their manifest', keepingTags, /^tag /, /delete-manifest .* -> 202|list tags|DELETE tag \w+ -> (202|404)/],
  ['reads of tags from a stale cache', withStaleTags, /^tag /, /read \w+ -> (200|404)/],
];

describe('the checker finds', () => {
  test.each(inFull(SEEDED_BUGS, SEEDED_BUGS.slice(0, 1)))(
    '%s, and names the tag and the few calls that show it',
    { tags: 'slow' },
    async (_, seedBug, about, why) => {
      const { complaints } = await runSeed(1, seedBug);
      const found = complaints.filter((complaint) => about.test(complaint.about) && complaint.why.includes('no order'));
      expect(inWords(1, complaints)).toMatch(why);
      expect(found.length).toBeGreaterThan(0);
      const lines = found.map((complaint) => complaint.why.split('\n').length - 1);
      expect(Math.min(...lines)).toBeLessThanOrEqual(4);
    },
  );

  test.runIf(EXHAUSTIVE)('an immutable tag that has named two manifests', async () => {
    const { complaints } = await runSeed(1, withoutPreconditions);
    expect(inWords(1, complaints)).toMatch(/tag acme\/\w+:v[12]: is immutable, and has named \w+, \w+/);
  });
});
