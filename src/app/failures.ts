/**
 * Errors that are not refusals: a store failed, or the code has a bug. The client is told what it can do, but never the cause,
 * and never "absent" or "not allowed" (invariant 10).
 */
import { databaseFailure, isDailyLimit, secondsToMidnight } from '../events/database-failure.ts';
import { Refusal } from '../vocabulary/refusal.ts';

/** Seconds until clients retry on an overloaded database, plus a random part that keeps them from all coming at once. */
const OVERLOAD_PAUSE = { least: 5, more: 10 };

/** @param now milliseconds since the epoch. @param random from 0 to 1 */
export function refusalOfFailure(error: unknown, { now, random }: { now: number; random: number }): Refusal {
  const failure = databaseFailure(error);
  if (isDailyLimit(failure)) return dayUsedUp(failure, now);
  if (failure === 'overloaded') {
    const retryAfter = OVERLOAD_PAUSE.least + Math.floor(random * OVERLOAD_PAUSE.more);
    const message = `the database is overloaded: try again in ${retryAfter} seconds`;
    return new Refusal('database-busy', { message, retryAfter, cause: error });
  }
  if (failure === 'lost') return new Refusal('connection-lost', { cause: error });
  return new Refusal('storage-unavailable', { cause: error });
}

/** The free plan's day is used up, so the registry serves nothing until midnight UTC or a paid plan. */
function dayUsedUp(failure: 'rows-read' | 'rows-written', now: number): Refusal {
  const kind = failure === 'rows-read' ? 'read' : 'written';
  const message =
    `the day's limit of database rows ${kind} on Cloudflare's free plan is used up. Nothing was changed: ` +
    'the registry answers again after 00:00 UTC, or at once on the paid plan';
  return new Refusal('daily-limit', { message, retryAfter: secondsToMidnight(now) });
}
