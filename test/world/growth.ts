/** How the time of a computation grows with its input: a ratio of two sizes, which says the same on a slow machine. */

/**
 * How many times longer the work on the large input takes than that on the small one, each at its best of several runs:
 * four times the input gives about 4 where the time is linear, 16 where it is quadratic.
 */
export function growth(workOf: (size: number) => () => void, small: number, large: number): number {
  return best(workOf(large)) / best(workOf(small));
}

/** Milliseconds, and never 0. */
function best(work: () => void): number {
  let shortest = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run++) {
    const start = performance.now();
    work();
    shortest = Math.min(shortest, performance.now() - start);
  }
  return Math.max(shortest, 0.5);
}
