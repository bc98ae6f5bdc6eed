/** What the clock starts, in slices that fit the free plan; each picks up where rows and keys say it is due. */
import { expireLogins } from './auth/logins.ts';
import type { Env } from './env.ts';
import { expireUploads, sweepPieces } from './registry/upload-expiry.ts';
import { UPLOAD_LIFETIME, uploadIdAt } from './registry/upload-sessions.ts';

/** Rows of a slice: each costs up to four calls to a store, of which an invocation has 1,000. */
const UPLOADS_PER_RUN = 50;
const LOGINS_PER_RUN = 1000;
/** Minutes into the hour within which one run falls, and sweeps: a page of a listing is a paid operation. */
const SWEEP_MINUTES = 10;
const PAGES_PER_SWEEP = 10;

/** @param now in milliseconds, the time the schedule fired */
export async function runScheduled(env: Env, now: number): Promise<void> {
  const before = uploadIdAt(now - UPLOAD_LIFETIME * 1000);
  await expireUploads(env, before, UPLOADS_PER_RUN);
  if (new Date(now).getUTCMinutes() >= SWEEP_MINUTES) return;
  await expireLogins(env, LOGINS_PER_RUN);
  // A piece may be named by no row for as long as a signed location lives: twice that is on the safe side.
  const abandoned = uploadIdAt(now - 2 * UPLOAD_LIFETIME * 1000);
  let cursor: string | null | undefined;
  for (let page = 0; page < PAGES_PER_SWEEP && cursor !== null; page++) {
    cursor = await sweepPieces(env, abandoned, cursor);
  }
}
