/** Tests the search for an order with histories that are known to be possible or impossible. */
import { describe, expect, test } from 'vitest';
import { contradiction, isLinearizable, type Step } from './linearizable.ts';
import { Random } from './random.ts';

const NEVER = Number.POSITIVE_INFINITY;
const NOTHING = '';

type Made = Omit<Step, 'start' | 'end'>;

const write = (value: string): Made => ({ what: `write ${value}`, observes: false, apply: () => value });
const read = (value: string): Made => ({
  what: `read ${value || 'nothing'}`,
  observes: true,
  apply: (state) => (state === value ? state : undefined),
});
/** A compare-and-swap from one value to another. It is answered as done if the value was the first one, else as refused. */
const swap = (from: string, to: string): Made => ({
  what: `swap ${from || 'nothing'} ${to}`,
  observes: false,
  apply: (state) => (state === from ? to : undefined),
});
const swapRefused = (from: string): Made => ({
  what: `swap ${from || 'nothing'} refused`,
  observes: true,
  apply: (state) => (state === from ? undefined : state),
});
/** The same with an unknown outcome. */
const maybeSwap = (from: string, to: string): Made => ({
  what: `swap ${from || 'nothing'} ${to}?`,
  observes: false,
  apply: (state) => (state === from ? to : state),
});

/** A history of steps with their starts and ends. */
function history(...parts: [start: number, end: number, made: Made][]): Step[] {
  return parts.map(([start, end, made]) => ({ start, end, ...made }));
}

const GOOD: Record<string, Step[]> = {
  nothing: [],
  'one after the other': history([1, 2, write('a')], [3, 4, read('a')], [5, 6, write('b')], [7, 8, read('b')]),
  'a read beside a write, that sees it or not': history([1, 6, write('a')], [2, 3, read(NOTHING)], [4, 5, read('a')]),
  'two writes at once, in the order that a reader sees': history([1, 10, write('a')], [2, 9, write('b')], [11, 12, read('a')]),
  'a compare-and-swap with one winner': history(
    [1, 2, write('a')],
    [3, 8, swap('a', 'b')],
    [4, 7, swapRefused('a')],
    [9, 10, read('b')],
  ),
  'a write of unknown outcome that nobody ever sees': history(
    [1, 2, write('a')],
    [3, NEVER, write('b')],
    [4, 5, read('a')],
    [9, 10, read('a')],
  ),
  'a write of unknown outcome that shows much later': history(
    [1, 2, write('a')],
    [3, NEVER, write('b')],
    [4, 5, read('a')],
    [6, 7, read('a')],
    [8, 9, read('b')],
  ),
  'a swap that could only be done after one of unknown outcome': history(
    [1, 2, write('a')],
    [3, NEVER, maybeSwap('a', 'b')],
    [4, 5, swap('b', 'c')],
    [6, 7, read('c')],
  ),
};

const BAD: Record<string, [steps: Step[], contradicting: string[]]> = {
  'a stale read': [history([1, 2, write('a')], [3, 4, write('b')], [7, 8, read('a')]), ['write b', 'read a']],
  'a new value, then the old one again, while the write is under way': [
    history([1, 2, write('a')], [3, 10, write('b')], [4, 5, read('b')], [6, 7, read('a')], [20, 21, read('b')]),
    ['read b', 'read a'],
  ],
  'a lost update': [
    history([1, 2, write('a')], [3, 4, read('a')], [5, 6, write('b')], [7, 8, swap('a', 'c')], [9, 10, read('c')]),
    ['write b', 'swap a c'],
  ],
  'two winners of a compare-and-swap': [
    history([1, 2, write('a')], [3, 8, swap('a', 'b')], [4, 7, swap('a', 'c')], [9, 10, read('b')]),
    ['swap a b', 'swap a c'],
  ],
  'two that made it where there was nothing': [
    history([1, 4, swap(NOTHING, 'a')], [2, 3, swap(NOTHING, 'b')]),
    ['swap nothing a', 'swap nothing b'],
  ],
  'a swap refused though it would have fitted': [
    history([1, 2, write('a')], [3, 4, swapRefused('a')], [5, 6, write('b')]),
    ['write a', 'swap a refused'],
  ],
  'a value from nowhere': [history([1, 2, write('a')], [3, 4, write('c')], [5, 6, read('b')]), ['read b']],
  'a write of unknown outcome that is seen before it began': [history([1, 2, read('a')], [3, NEVER, write('a')]), ['read a']],
  'a write of unknown outcome that is done twice': [
    history([1, NEVER, write('a')], [2, 3, write('b')], [4, 5, read('a')], [6, 7, write('c')], [8, 9, read('a')]),
    ['write b', 'read a', 'write c', 'read a'],
  ],
  'the same without the unknown outcome, which alone would explain it': [
    history([1, 2, write('a')], [4, 5, read('a')], [6, 7, read('a')], [8, 9, read('b')]),
    ['read b'],
  ],
};

test.each(Object.entries(GOOD))('%s is possible', (_, steps) => {
  expect(contradiction(NOTHING, steps)).toBeNull();
});

test.each(Object.entries(BAD))('%s is impossible, and the contradicting calls are named', (_, [steps, contradicting]) => {
  expect(isLinearizable(NOTHING, steps)).toBe(false);
  expect(contradiction(NOTHING, steps)?.map(({ what }) => what)).toEqual(contradicting);
});

describe('a history of 400 steps by 8 clients, some with an unknown outcome', () => {
  /**
   * A random history that is possible: each step was applied to a register at a moment between its start and its end. A step
   * with an unknown outcome may not have been applied.
   */
  function carriedOut(seed: number, count: number): Step[] {
    const random = new Random(seed);
    let state = NOTHING;
    const free = Array.from({ length: 8 }, () => 0);
    const plans = Array.from({ length: count }, () => {
      const client = random.below(8);
      const start = (free[client] ?? 0) + 1 + random.next() * 3;
      const end = start + 0.5 + random.next() * 6;
      free[client] = end;
      return { start, end, at: start + (end - start) * random.next(), kind: random.weighted({ read: 4, write: 3, swap: 3 }) };
    });
    return plans
      .sort((one, other) => one.at - other.at)
      .map(({ start, end, kind }) => {
        const value = `v${random.below(5)}`;
        const before = state;
        const unknown = kind !== 'read' && random.chance(0.03);
        if (kind === 'read') return { start, end, ...read(state) };
        if (unknown && random.chance(0.5))
          return { start, end: NEVER, ...(kind === 'write' ? write(value) : maybeSwap(value, value)) };
        if (kind === 'write') {
          state = value;
          return { start, end: unknown ? NEVER : end, ...write(value) };
        }
        const from = random.chance(0.6) ? state : `v${random.below(5)}`;
        if (from === before) state = value;
        if (unknown) return { start, end: NEVER, ...maybeSwap(from, value) };
        return { start, end, ...(from === before ? swap(from, value) : swapRefused(from)) };
      });
  }

  test.each([1, 2, 3, 4, 5, 6])('is explained (seed %i)', { timeout: 5000 }, (seed) => {
    expect(contradiction(NOTHING, carriedOut(seed, 400))).toBeNull();
  });

  test.each([1, 2, 3, 4, 5, 6])('is refused if one read returns another value (seed %i)', { timeout: 5000 }, (seed) => {
    const steps = carriedOut(seed, 400);
    const at = steps.findIndex(({ what, start }) => what.startsWith('read') && start > 100);
    const changed = steps.with(at, { ...(steps[at] as Step), ...read('nowhere') });
    expect(contradiction(NOTHING, changed)?.map(({ what }) => what)).toEqual(['read nowhere']);
  });
});
