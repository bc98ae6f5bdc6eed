/**
 * Decides how many cases of a test run. Files with the tag `walk` run all cases in `npm run test:exhaustive`, and a few cases
 * in `npm test`.
 */
import { inject } from 'vitest';

declare module 'vitest' {
  export interface ProvidedContext {
    exhaustive: boolean;
  }
}

/** True in `npm run test:exhaustive`. */
export const EXHAUSTIVE = inject('exhaustive');

/** Returns `whole` in `npm run test:exhaustive`, and `sample` in `npm test`. */
export function inFull<T>(whole: T, sample: T): T {
  return EXHAUSTIVE ? whole : sample;
}

/**
 * Returns the indexes below `count` that test number `part` of `parts` tests tries. In `npm run test:exhaustive` these are all
 * indexes. In `npm test` it is one index; the indexes of all tests are spread evenly.
 */
export function indexesOf(count: number, part: number, parts: number): number[] {
  return inFull(
    Array.from({ length: count }, (_, at) => at),
    count === 0 ? [] : [Math.floor((count * (2 * part + 1)) / (2 * parts))],
  );
}
