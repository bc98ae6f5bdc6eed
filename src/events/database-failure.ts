/**
 * Classifies errors of D1 by their documented texts. Three cases need three answers: the day's rows are used up, the database
 * is overloaded, or the connection was lost. Sources: D1 docs, "Debug D1" (error list); changelog of 2026-09-01, "D1 free tier
 * limit enforcement".
 */

/** `rows-read`, `rows-written`: the daily limit of the free plan is used up, and no retry helps before 00:00 UTC. */
type DatabaseFailure = 'rows-read' | 'rows-written' | 'overloaded' | 'lost' | 'refused';

const TEXTS: readonly [RegExp, DatabaseFailure][] = [
  [/daily row read limit/i, 'rows-read'],
  [/daily row write limit/i, 'rows-written'],
  [/overloaded|too many requests queued|exceeded timeout|exceeded its (?:memory|CPU time) limit/i, 'overloaded'],
  [/network connection lost|code was updated|caused object to be reset|transient issue on remote node/i, 'lost'],
  [/SQLITE_|too many SQL variables|syntax error/i, 'refused'],
];

/** Causes of an error that are examined. */
const DEPTH = 5;

/** Returns `null` if the text is not documented. */
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

/** Seconds until 00:00 UTC, when the daily limits reset. @param now in milliseconds */
export function secondsToMidnight(now: number): number {
  return DAY_SECONDS - (Math.floor(now / 1000) % DAY_SECONDS);
}

/** Seconds to wait before a retry: until the daily limit resets, or `usual`. @param now in milliseconds */
export function pauseAfter(error: unknown, usual: number, now: number): number {
  return isDailyLimit(databaseFailure(error)) ? secondsToMidnight(now) : usual;
}
