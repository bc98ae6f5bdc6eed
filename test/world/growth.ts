/** How the time of a computation grows with its input: a ratio, which says the same on a slow machine as on a fast one. */

/** Caches make large inputs some times slower than small ones; more than that is not linear. */
export const LINEAR = 12;

/**
 * How many times more time a byte takes in a larger input than in the smallest: about 1 where the time is linear, and where
 * it is quadratic as many times as the input is larger. Sizes quadruple up to the largest, or until the answer is clear:
 * a quadratic one would take minutes there.
 */
export function slowdown(workOf: (size: number) => () => void, smallest: number, largest: number): number {
  const base = timeOf(workOf(smallest)) / smallest;
  let worst = 1;
  for (let size = smallest * 4; size <= largest && worst < LINEAR; size *= 4) {
    worst = Math.max(worst, timeOf(workOf(size)) / size / base);
  }
  return worst;
}

/** Milliseconds: the best of a few averages, each over long enough for a coarse clock. */
function timeOf(work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + 100;
  while (performance.now() < end) {
    const start = performance.now();
    let runs = 0;
    for (; performance.now() - start < 10; runs++) work();
    best = Math.min(best, (performance.now() - start) / runs);
  }
  return best;
}
