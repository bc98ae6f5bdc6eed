/**
 * Decides when a delivery is tried again, and how long the circuit breaker of an endpoint stays open. This module does no I/O.
 */

/**
 * The pauses between attempts, in seconds. Each is varied by up to a fifth. The last attempt is about 14 hours after the first.
 */
const BACK_OFF = [5, 30, 2 * 60, 10 * 60, 30 * 60, 60 * 60, 2 * 60 * 60, 4 * 60 * 60, 6 * 60 * 60];
export const MAX_TRIES = BACK_OFF.length + 1;
const JITTER = 0.2;

/**
 * The lifetime of a delivery: the number of seconds after the first attempt in which further attempts are made. A queue of the
 * free plan keeps a message for 24 hours.
 */
export const LIFETIME = 22 * 60 * 60;

/** The maximum delay of a queue message, in seconds (Cloudflare Queues, "Limits"). */
const DELAY_MAX = 12 * 60 * 60;

/** The number of failures in a row that opens the breaker. */
export const BREAK_AFTER = 5;
/** The shortest and the longest pause of an open breaker, in seconds. */
const PAUSE_MIN = 60;
const PAUSE_MAX = 60 * 60;

/**
 * Returns the number of seconds for which nothing is sent to the endpoint. @param failures the number of failures in a row, at
 * least `BREAK_AFTER`
 */
export function retryPause(failures: number): number {
  return Math.min(PAUSE_MIN * 2 ** (failures - BREAK_AFTER), PAUSE_MAX);
}

/**
 * Returns the number of seconds until the next attempt, or `null` if there is no further attempt.
 * @param tries the number of attempts up to now, at least 1
 * @param retryAfter the number of seconds in `Retry-After` of the response (RFC 9110, section 10.2.3), or 0 if it has none
 * @param age the number of seconds since the first attempt
 * @param chance a random number from 0 to 1
 */
export function delayAfter(tries: number, { retryAfter, age, chance }: { retryAfter: number; age: number; chance: number }) {
  const planned = BACK_OFF[tries - 1];
  if (planned === undefined) return null;
  const delay = Math.min(Math.max(spread(planned, chance), retryAfter), DELAY_MAX);
  return age + delay > LIFETIME ? null : delay;
}

/**
 * Returns the delay in seconds for a message that must wait for at least `wait` seconds. A random part keeps messages from
 * arriving at the same time. @param chance a random number from 0 to 1
 */
export function postponed(wait: number, chance: number): number {
  return Math.ceil(Math.min(Math.max(wait, 1) + chance * Math.max(wait, 20), DELAY_MAX));
}

function spread(seconds: number, chance: number): number {
  return Math.round(seconds * (1 - JITTER + 2 * JITTER * chance));
}

/**
 * Parses `Retry-After`. Returns a number of seconds, or 0 if the header is absent or invalid. @param now milliseconds since the
 * epoch
 */
export function retryAfterOf(header: string | null, now: number): number {
  if (header === null) return 0;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? 0 : Math.max(0, Math.ceil((date - now) / 1000));
}
