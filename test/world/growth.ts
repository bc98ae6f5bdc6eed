/** How the time of a computation grows with its input: a ratio, which says the same on a slow machine as on a fast one. */

/** Beyond this the answer is clear, and larger inputs are not tried: one that is quadratic would take minutes. */
const CLEARLY_MORE = 8;

/**
 * How many times more time a byte takes in a larger input than in the smallest: about 1 where the time is linear, and where
 * it is quadratic as many times as the input is larger. Sizes double from a 64th of `largest` on.
 */
export function slowdown(workOf: (size: number) => () => void, largest: number): number {
  const smallest = largest / 64;
  const base = timeOf(workOf(smallest)) / smallest;
  let worst = 1;
  for (let size = smallest * 2; size <= largest && worst < CLEARLY_MORE; size *= 2) {
    worst = Math.max(worst, timeOf(workOf(size)) / size / base);
  }
  return worst;
}

/** Milliseconds: the best of three averages, each over long enough for a coarse clock. */
function timeOf(work: () => void): number {
  const averages = Array.from({ length: 3 }, () => {
    const start = performance.now();
    let runs = 0;
    for (; performance.now() - start < 10; runs++) work();
    return (performance.now() - start) / runs;
  });
  return Math.min(...averages);
}
