/**
 * Why D1 did not answer, by the texts it documents. Three cases need three answers: the day's rows are used up, the database has
 * too much to do, or the connection was lost.
 * Sources: D1 docs, "Debug D1" (error list); changelog of 2026-09-01, "D1 free tier limit enforcement".
 */

/** `rows-read` and `rows-written`: the day's limit of the free plan. No retry helps before 00:00 UTC. */
export type DatabaseFailure = 'rows-read' | 'rows-written' | 'overloaded' | 'lost' | 'refused';

const TEXTS: readonly [RegExp, DatabaseFailure][] = [
  [/daily row read limit/i, 'rows-read'],
  [/daily row write limit/i, 'rows-written'],
  [/overloaded|too many requests queued|exceeded timeout|exceeded its (?:memory|CPU time) limit/i, 'overloaded'],
  [/network connection lost|code was updated|caused object to be reset|transient issue on remote node/i, 'lost'],
  [/SQLITE_|too many SQL variables|syntax error/i, 'refused'],
];

/** An error is looked at with its causes. */
const DEPTH = 5;

/** `null`: the text is none that is documented. */
export function databaseFailure(error: unknown): DatabaseFailure | null {
  for (let one = error, depth = 0; one instanceof Error && depth < DEPTH; one = one.cause, depth++) {
    const { message } = one;
    const known = TEXTS.find(([text]) => text.test(message));
    if (known) return known[1];
  }
  return null;
}

export function isDailyLimit(failure: DatabaseFailure | null): failure is 'rows-read' | 'rows-written' {
  return failure === 'rows-read' || failure === 'rows-written';
}

const DAY_SECONDS = 24 * 60 * 60;

/** Seconds until 00:00 UTC, when the limits of the day begin anew. @param now in milliseconds */
export function secondsToMidnight(now: number): number {
  return DAY_SECONDS - (Math.floor(now / 1000) % DAY_SECONDS);
}

/** Seconds to wait before the database is asked again: until the day's limit ends, or as long as usual. @param now in milliseconds */
export function pauseAfter(error: unknown, usual: number, now: number): number {
  return isDailyLimit(databaseFailure(error)) ? secondsToMidnight(now) : usual;
}
