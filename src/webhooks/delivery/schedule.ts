/** When a delivery is tried again, and how long the breaker of an endpoint stays open. Pure: randomness is an argument. */

/** Seconds between attempts, each up to a fifth more or less: some fourteen hours from the first to the last. */
const BACK_OFF = [5, 30, 2 * 60, 10 * 60, 30 * 60, 60 * 60, 2 * 60 * 60, 4 * 60 * 60, 6 * 60 * 60];
export const MAX_TRIES = BACK_OFF.length + 1;
const JITTER = 0.2;

/** Seconds after the first attempt within which another may be made: a queue of the free plan keeps a message for 24 hours. */
export const LIFETIME = 22 * 60 * 60;

/** Cloudflare Queues, "Limits": the longest delay of a message, seconds. */
const DELAY_MAX = 12 * 60 * 60;

/** Failures in a row that open the breaker, and the shortest and longest pause in seconds. */
export const BREAK_AFTER = 5;
const PAUSE_MIN = 60;
const PAUSE_MAX = 60 * 60;

/** Seconds for which nothing is sent to the endpoint. @param failures in a row, `BREAK_AFTER` or more */
export function retryPause(failures: number): number {
  return Math.min(PAUSE_MIN * 2 ** (failures - BREAK_AFTER), PAUSE_MAX);
}

/**
 * Seconds until the next attempt; `null`: there is none.
 * @param tries attempts so far, 1 or more
 * @param retryAfter seconds that the endpoint asked for (RFC 9110, section 10.2.3)
 * @param age seconds since the first attempt
 * @param chance from 0 to 1
 */
export function delayAfter(tries: number, { retryAfter, age, chance }: { retryAfter: number; age: number; chance: number }) {
  const planned = BACK_OFF[tries - 1];
  if (planned === undefined) return null;
  const delay = Math.min(Math.max(spread(planned, chance), retryAfter), DELAY_MAX);
  return age + delay > LIFETIME ? null : delay;
}

/** Seconds of delay for a message that must wait for `wait` seconds, spread at random so that not all come back at once. */
export function postponed(wait: number, chance: number): number {
  return Math.ceil(Math.min(Math.max(wait, 1) + chance * Math.max(wait, 20), DELAY_MAX));
}

function spread(seconds: number, chance: number): number {
  return Math.round(seconds * (1 - JITTER + 2 * JITTER * chance));
}

/** `Retry-After` in seconds; 0: absent or invalid. @param now in milliseconds */
export function retryAfterOf(header: string | null, now: number): number {
  if (header === null) return 0;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? 0 : Math.max(0, Math.ceil((date - now) / 1000));
}
