/** Measures how running time grows with the size of the input, as a ratio that does not depend on the speed of the machine. */

/**
 * The maximum ratio of `slowdown` that counts as linear. It is this high because CPU caches make large inputs a few times
 * slower per byte.
 */
export const LINEAR = 12;

/**
 * Returns the time per byte of a large input, divided by the time per byte of the smallest input. The result is about 1 if the
 * work is linear, and the ratio of the sizes if the work is quadratic. The size is multiplied by four until the largest size is
 * reached or the ratio is clearly not linear, because quadratic work would take minutes at the largest size.
 */
export function slowdown(workOf: (size: number) => () => void, smallest: number, largest: number): number {
  const base = timeOf(workOf(smallest)) / smallest;
  let worst = 1;
  for (let size = smallest * 4; size <= largest && worst < LINEAR; size *= 4) {
    worst = Math.max(worst, timeOf(workOf(size)) / size / base);
  }
  return worst;
}

/**
 * Returns the time of one run in milliseconds: the best of several averages. Each average covers enough runs for a coarse
 * clock.
 */
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
