/**
 * Turns an unexpected error into a refusal. Such an error means that D1 or R2 failed, or that the code has a bug. The message
 * says what the client can do, but not the cause. It never says that something does not exist or is not allowed (invariant 10).
 */
import { databaseFailure, isDailyLimit, secondsToMidnight } from '../events/database-failure.ts';
import { Refusal } from '../vocabulary/refusal.ts';

/**
 * How many seconds a client should wait when the database is overloaded: `least` plus a random part below `more`. The random
 * part keeps clients from retrying at the same time.
 */
const OVERLOAD_PAUSE = { least: 5, more: 10 };

/** How many seconds a client should wait when the database is full. Somebody has to make room first. */
const FULL_PAUSE = 60;

/** @param now milliseconds since the epoch. @param random a random number from 0 to 1 */
export function refusalOfFailure(error: unknown, { now, random }: { now: number; random: number }): Refusal {
  const failure = databaseFailure(error);
  if (isDailyLimit(failure)) return dayUsedUp(failure, now);
  if (failure === 'overloaded') {
    const retryAfter = OVERLOAD_PAUSE.least + Math.floor(random * OVERLOAD_PAUSE.more);
    const message = `the database is overloaded: try again in ${retryAfter} seconds`;
    return new Refusal('database-busy', { message, retryAfter, cause: error });
  }
  if (failure === 'full') {
    const message =
      'the database is full, so nothing was changed: an administrator has to make room (docs/performance.md, "Scale")';
    return new Refusal('storage-unavailable', { message, retryAfter: FULL_PAUSE, cause: error });
  }
  if (failure === 'lost') return new Refusal('connection-lost', { cause: error });
  return new Refusal('storage-unavailable', { cause: error });
}

/**
 * Returns the refusal when a daily limit of Cloudflare's free plan is used up. The registry then cannot serve anything until
 * midnight UTC, or until the account has the paid plan.
 */
function dayUsedUp(failure: 'rows-read' | 'rows-written', now: number): Refusal {
  const kind = failure === 'rows-read' ? 'read' : 'written';
  const message =
    `the day's limit of database rows ${kind} on Cloudflare's free plan is used up. Nothing was changed: ` +
    'the registry answers again after 00:00 UTC, or at once on the paid plan';
  return new Refusal('daily-limit', { message, retryAfter: secondsToMidnight(now) });
}
