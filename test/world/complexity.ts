/** Measures how running time grows with input size, as a ratio that does not depend on the speed of the machine. */

/** Caches make large inputs a few times slower per byte than small ones. A ratio above this is not linear. */
export const LINEAR = 12;

/**
 * Time per byte of a larger input divided by time per byte of the smallest: about 1 if the work is linear, and the ratio of
 * the sizes if it is quadratic. Sizes quadruple up to the largest, or until the answer is clear, because quadratic work would
 * take minutes at the largest size.
 */
export function slowdown(workOf: (size: number) => () => void, smallest: number, largest: number): number {
  const base = timeOf(workOf(smallest)) / smallest;
  let worst = 1;
  for (let size = smallest * 4; size <= largest && worst < LINEAR; size *= 4) {
    worst = Math.max(worst, timeOf(workOf(size)) / size / base);
  }
  return worst;
}

/** Milliseconds: the best of a few averages, each over a time that a coarse clock can measure. */
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
