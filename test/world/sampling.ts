/**
 * How much of a walk runs. Files named `*.walk.test.ts` run twice: whole in `npm run test:exhaustive`, and as a short sample of
 * every walk in `npm test`. Files named `*.exhaustive.test.ts` run in `npm run test:exhaustive` only.
 */
import { inject } from 'vitest';

declare module 'vitest' {
  export interface ProvidedContext {
    exhaustive: boolean;
  }
}

/** True in `npm run test:exhaustive`. */
export const EXHAUSTIVE = inject('exhaustive');

/** Returns the first in `npm run test:exhaustive`, and the second in `npm test`. */
export function inFull<T>(whole: T, sample: T): T {
  return EXHAUSTIVE ? whole : sample;
}

/**
 * The indexes below `count` that one of `parts` tests visits: all of them in the whole walk, one in a sample. The samples of
 * all parts are spread evenly.
 */
export function indexesOf(count: number, part: number, parts: number): number[] {
  return inFull(
    Array.from({ length: count }, (_, at) => at),
    count === 0 ? [] : [Math.floor((count * (2 * part + 1)) / (2 * parts))],
  );
}
