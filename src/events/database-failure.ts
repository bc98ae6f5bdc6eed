/**
 * Recognizes errors of D1 by their documented texts. Four cases need different responses: the daily limit of rows is used up,
 * the database is full, it is overloaded, or the connection was lost. Sources: D1 docs, "Debug D1" (error list); changelog of
 * 2026-09-01, "D1 free tier limit enforcement".
 */

/**
 * The kind of an error of D1. `rows-read` and `rows-written`: the free plan's daily limit is used up, so no retry before 00:00
 * UTC can succeed. `full`: the database or the account has the maximum size. Reads and deletions still succeed.
 */
type DatabaseFailure = 'rows-read' | 'rows-written' | 'full' | 'overloaded' | 'lost' | 'refused';

const TEXTS: readonly [RegExp, DatabaseFailure][] = [
  [/daily row read limit/i, 'rows-read'],
  [/daily row write limit/i, 'rows-written'],
  [/exceeded maximum (?:DB size|account storage)/i, 'full'],
  [/overloaded|too many requests queued|exceeded timeout|exceeded its (?:memory|CPU time) limit/i, 'overloaded'],
  [/network connection lost|code was updated|caused object to be reset|transient issue on remote node/i, 'lost'],
  [/SQLITE_|too many SQL variables|syntax error/i, 'refused'],
];

/** The maximum number of nested errors (`cause`) that are examined. */
const DEPTH = 5;

/** Returns the kind of failure, or `null` if the text of the error is not documented. */
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

/** Returns the number of seconds until 00:00 UTC, when the daily limits are reset. @param now in milliseconds */
export function secondsToMidnight(now: number): number {
  return DAY_SECONDS - (Math.floor(now / 1000) % DAY_SECONDS);
}

/**
 * Returns the number of seconds to wait before a retry: `usual`, or the time until 00:00 UTC if the daily limit is used up.
 * @param now in milliseconds
 */
export function pauseAfter(error: unknown, usual: number, now: number): number {
  return isDailyLimit(databaseFailure(error)) ? secondsToMidnight(now) : usual;
}
