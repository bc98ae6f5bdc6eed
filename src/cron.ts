/** What the clock starts, in slices that fit the free plan; each picks up where rows and keys say it is due. */
import { expireLogins } from './auth/logins.ts';
import { expireOutsideLogins } from './auth/outside/logins.ts';
import { dropTrashedPolicies } from './auth/policies.ts';
import { type Env, settings } from './env.ts';
import { databaseFailure, isDailyLimit } from './events/database-failure.ts';
import { expireAddresses, expireEvents } from './events/history.ts';
import { announce } from './queue.ts';
import { collectSlice } from './registry/gc/collector.ts';
import { getPasses } from './registry/gc/passes.ts';
import { scrubSlice } from './registry/gc/scrub.ts';
import { runDueLifecycles } from './registry/lifecycle/due.ts';
import { expireUploads, sweepPieces } from './registry/uploads/expiry.ts';
import { UPLOAD_LIFETIME, uploadIdAt } from './registry/uploads/sessions.ts';
import { endHopeless, remindOfForgotten } from './webhooks/delivery/reminders.ts';
import { expireDeliveries, removeEnded } from './webhooks/expiry.ts';
import { cursorOf } from './webhooks/matching.ts';
import { expireOwnerDays } from './webhooks/owner-days.ts';

/** Rows of a slice: each costs up to four calls to a store, of which an invocation has 1,000. */
const UPLOADS_PER_RUN = 50;
const LOGINS_PER_RUN = 1000;
const DELIVERIES_PER_RUN = 1000;
const EVENTS_PER_RUN = 1000;
/** Repositories whose rules are carried out in one run: each is loaded as a whole. */
const LIFECYCLES_PER_RUN = 2;
/** Minutes into the hour within which one run falls, and sweeps: a page of a listing is a paid operation. */
const SWEEP_MINUTES = 10;
const PAGES_PER_SWEEP = 10;

/** One job that fails keeps none of the others from being done. @param now in milliseconds, the time the schedule fired */
export async function runScheduled(env: Env, now: number): Promise<void> {
  const isHourly = new Date(now).getUTCMinutes() < SWEEP_MINUTES;
  const jobs = [
    () => expireUploads(env, uploadIdAt(now - UPLOAD_LIFETIME * 1000), UPLOADS_PER_RUN),
    () => announce(env),
    () => endHopeless(env, DELIVERIES_PER_RUN),
    () => remindOfForgotten(env, DELIVERIES_PER_RUN),
    () => collect(env, isHourly),
    ...(isHourly ? hourly(env, now) : []),
    // Last, as these may take long: whatever cuts them off cuts nothing else.
    () => runDueLifecycles(env, { limit: LIFECYCLES_PER_RUN }),
  ];
  const failures: unknown[] = [];
  for (const job of jobs) {
    await job().catch((error: unknown) => failures.push(error));
    // No other job would get further today.
    if (isDailyLimit(databaseFailure(failures.at(-1)))) break;
  }
  for (const failure of failures) console.error('schedule:', failure);
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} jobs of the schedule failed`);
}

function hourly(env: Env, now: number): (() => Promise<unknown>)[] {
  const { eventDays, deliveryDays, auditAddressDays } = settings(env);
  return [
    () => expireLogins(env, LOGINS_PER_RUN),
    () => expireOutsideLogins(env, LOGINS_PER_RUN),
    () => sweepAbandoned(env, now),
    () => scrubSlice(env, now),
    () => expireAddresses(env, { days: auditAddressDays, limit: EVENTS_PER_RUN }),
    () => expireOwnerDays(env),
    () => expireDeliveries(env, deliveryDays, DELIVERIES_PER_RUN),
    async () => removeEnded(env, await cursorOf(env), DELIVERIES_PER_RUN),
    async () => expireEvents(env, { days: eventDays, upTo: await cursorOf(env), limit: EVENTS_PER_RUN }),
  ];
}

/** A pass begins once an hour, as it reads all there is, and is gone on with by every run. */
async function collect(env: Env, mayBegin: boolean): Promise<void> {
  if (!mayBegin && !(await getPasses(env, 'gc')).running) return;
  await collectSlice(env, (repositoryId) => dropTrashedPolicies(env, [repositoryId]));
}

/** A piece may be named by no row for as long as a signed location lives: twice that is on the safe side. */
async function sweepAbandoned(env: Env, now: number): Promise<void> {
  const abandoned = uploadIdAt(now - 2 * UPLOAD_LIFETIME * 1000);
  let cursor: string | null | undefined;
  for (let page = 0; page < PAGES_PER_SWEEP && cursor !== null; page++) {
    cursor = await sweepPieces(env, abandoned, cursor);
  }
}
