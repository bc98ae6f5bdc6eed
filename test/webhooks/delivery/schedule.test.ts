/** The retry schedule: properties for any randomness and any Retry-After. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BREAK_AFTER,
  delayAfter,
  LIFETIME,
  MAX_TRIES,
  postponed,
  retryAfterOf,
  retryPause,
} from '../../../src/webhooks/delivery/schedule.ts';

const HOUR = 60 * 60;
const chance = fc.double({ min: 0, max: 1, noNaN: true });
const seconds = fc.integer({ min: 0, max: 10 ** 9 });

/** The delays between all attempts of a delivery. */
function delays(chances: number[], retryAfter = 0): number[] {
  const all: number[] = [];
  for (let tries = 1; ; tries++) {
    const age = all.reduce((sum, one) => sum + one, 0);
    const delay = delayAfter(tries, { retryAfter, age, chance: chances[tries - 1] ?? 0.5 });
    if (delay === null) return all;
    all.push(delay);
  }
}

describe('the delays of one delivery', () => {
  test('grow, are whole seconds, and end before a queue would lose the message', () => {
    fc.assert(
      fc.property(fc.array(chance, { minLength: MAX_TRIES, maxLength: MAX_TRIES }), (chances) => {
        const all = delays(chances);
        expect(all).toHaveLength(MAX_TRIES - 1);
        expect(all.every(Number.isInteger)).toBe(true);
        expect([...all].sort((a, b) => a - b)).toEqual(all);
        expect(all.reduce((sum, one) => sum + one, 0)).toBeLessThan(LIFETIME);
      }),
    );
    expect(LIFETIME).toBeLessThan(24 * HOUR);
  });

  test('are jittered by a fifth around five seconds to six hours', () => {
    const planned = [5, 30, 120, 600, 1800, 3600, 7200, 14400, 21600];
    expect(delays(Array(9).fill(0.5))).toEqual(planned);
    expect(delays(Array(9).fill(0))).toEqual(planned.map((one) => one * 0.8));
    expect(delays(Array(9).fill(1))).toEqual(planned.map((one) => one * 1.2));
  });

  test("are never shorter than the endpoint requests, longer than 12 hours, or past the delivery's life", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), seconds, seconds, chance, (tries, retryAfter, age, luck) => {
        const delay = delayAfter(tries, { retryAfter, age, chance: luck });
        if (delay === null) return;
        expect(Number.isInteger(delay)).toBe(true);
        expect(delay).toBeGreaterThanOrEqual(Math.min(retryAfter, 12 * HOUR));
        expect(delay).toBeLessThanOrEqual(12 * HOUR);
        expect(delay).toBeGreaterThan(0);
        expect(age + delay).toBeLessThanOrEqual(LIFETIME);
        expect(tries).toBeLessThan(MAX_TRIES);
      }),
    );
  });

  test('end even if the endpoint requests a year each time', () => {
    expect(delays([], 365 * 24 * HOUR)).toEqual([12 * HOUR]);
  });
});

test('a pause doubles from a minute to an hour, and no further', () => {
  const pauses = Array.from({ length: 2000 }, (_, n) => retryPause(BREAK_AFTER + n));
  expect(pauses.slice(0, 8)).toEqual([60, 120, 240, 480, 960, 1920, 3600, 3600]);
  expect(pauses.at(-1)).toBe(3600);
});

test('a postponed delivery comes after its time, with jitter, in whole seconds that a queue accepts', () => {
  fc.assert(
    fc.property(fc.integer({ min: -(10 ** 6), max: 10 ** 6 }), chance, (wait, luck) => {
      const delay = postponed(wait, luck);
      expect(Number.isInteger(delay)).toBe(true);
      expect(delay).toBeGreaterThanOrEqual(Math.min(Math.max(1, wait), 12 * HOUR));
      expect(delay).toBeLessThanOrEqual(12 * HOUR);
      expect(delay).toBeLessThanOrEqual(1 + 2 * Math.max(wait, 21));
    }),
  );
});

describe('Retry-After', () => {
  const NOW = Date.parse('2026-01-01T00:00:00Z');
  test.each([
    [null, 0],
    ['120', 120],
    [' 7 ', 7],
    ['0', 0],
    ['999999999', 999999999],
    ['Thu, 01 Jan 2026 00:02:00 GMT', 120],
    ['Thu, 01 Jan 2026 00:00:00 GMT', 0],
    ['Wed, 31 Dec 2025 23:00:00 GMT', 0],
    ['-5', 0],
    ['1.5', 0],
    ['soon', 0],
    ['', 0],
    ['NaN', 0],
    ['Infinity', 0],
    ['99999999999999999999', 0],
  ])('%j is %i seconds', (header, expected) => expect(retryAfterOf(header, NOW)).toBe(expected));

  test('is a non-negative number, whatever it says', () => {
    fc.assert(
      fc.property(fc.string(), (header) => {
        const found = retryAfterOf(header, NOW);
        expect(Number.isInteger(found)).toBe(true);
        expect(found).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});
