/**
 * What the clock starts, in slices that fit the free plan; each picks up where rows and keys say it is due. Six runs an hour share
 * the jobs between them, so that none costs much while there is nothing to do. All of them together have a budget for the day.
 */
import { expireLogins } from './auth/logins.ts';
import { expireOutsideLogins } from './auth/outside/logins.ts';
import { deleteTrashedPolicies } from './auth/rights/policies.ts';
import { type Cost, type Day, dayOf, forgetDays, type Job, today } from './background/budget.ts';
import { runWithin, type Work } from './background/jobs.ts';
import { type Env, settings } from './env.ts';
import { databaseFailure, isDailyLimit } from './events/database-failure.ts';
import { expireAddresses, expireEvents } from './events/history.ts';
import { announce, deliveryRuntime, matchSome } from './queue.ts';
import { collectSlice } from './registry/gc/collector.ts';
import { runningPass } from './registry/gc/passes.ts';
import { scrubSlice } from './registry/gc/scrub.ts';
import { anyLifecycleDue, runDueLifecycles } from './registry/lifecycle/due.ts';
import { anyUploadExpired, expireUploads, sweepPieces } from './registry/uploads/expiry.ts';
import { UPLOAD_LIFETIME, uploadIdAt } from './registry/uploads/sessions.ts';
import { report } from './telemetry.ts';
import type { DeliveryRuntime } from './webhooks/delivery/attempt.ts';
import type { DeliveryKey } from './webhooks/delivery/deliveries.ts';
import { tryDirectly } from './webhooks/delivery/direct.ts';
import { type MatchingState, matchingState, matchingStateOf } from './webhooks/delivery/matching.ts';
import { expireOwnerDays } from './webhooks/delivery/owner-days.ts';
import { anyWaiting, failExpired, remindOfForgotten, retryForgotten } from './webhooks/delivery/reminders.ts';
import { expireDeliveries, removeEnded } from './webhooks/expiry.ts';

/** Rows of a slice: each costs up to four calls to a store, of which an invocation has 1,000. */
const UPLOADS_PER_RUN = 50;
const LOGINS_PER_RUN = 1000;
const DELIVERIES_PER_RUN = 1000;
const EVENTS_PER_RUN = 1000;
/** Messages that remind the queue of deliveries in one run. */
const REMINDERS_PER_RUN = 200;
/** Deliveries that the schedule tries by itself in one run: an invocation has 50 requests to the outside and 10 ms of CPU. */
const DIRECT_PER_RUN = 20;
/** Seconds after which an event that was announced and not matched is matched by the schedule. */
const FORGOTTEN = 5 * 60;
/** Repositories whose rules are carried out in one run: each is loaded as a whole. */
const LIFECYCLES_PER_RUN = 2;
/** Minutes between two runs; the first of an hour falls within as many. */
const RUN_MINUTES = 10;
/** A page of a listing is a paid operation. */
const PAGES_PER_SWEEP = 10;

/** What a run knows when it begins, asked in one call. */
interface Run {
  /** In milliseconds, the time the schedule fired. */
  now: number;
  /** 0 to 5: which run of the hour it is. */
  slot: number;
  runtime: DeliveryRuntime;
  matching: MatchingState;
  isCollecting: boolean;
  /** Whether deliveries wait, lifecycle policies are due, and uploads have expired. */
  hasDeliveries: boolean;
  hasLifecycles: boolean;
  hasUploads: boolean;
}

/** One job that fails keeps none of the others from being done. @param now in milliseconds, the time the schedule fired */
export async function runScheduled(env: Env, now: number, runtime: DeliveryRuntime = deliveryRuntime): Promise<void> {
  const [budget, matching, ...any] = await env.DB.batch([
    today(env),
    matchingState(env),
    runningPass(env, 'gc'),
    anyWaiting(env),
    anyLifecycleDue(env),
    anyUploadExpired(env, beganBefore(now)),
  ]);
  const [isCollecting = false, hasDeliveries = false, hasLifecycles = false, hasUploads = false] = any.map(
    ({ results }) => results.length > 0,
  );
  const slot = Math.floor(new Date(now).getUTCMinutes() / RUN_MINUTES);
  const found = { isCollecting, hasDeliveries, hasLifecycles, hasUploads };
  const run = { now, slot, runtime, matching: matchingStateOf(matching), ...found };
  const day: Day = dayOf(env, budget);
  const failures = await runWithin(env, day, jobsOf(run), (failure) => isDailyLimit(databaseFailure(failure)));
  for (const error of failures) report('schedule.job-failed', { error });
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} jobs of the schedule failed`);
}

/**
 * Schedules that `npm start` has besides, by name, and the seconds after which each takes a message for lost: its queues are in memory and
 * end with the process. Neither has a budget, as the machine has no day's limit.
 */
const LOST_AFTER: Record<string, number> = { '@restart': 0, '@minute': 60 };

/** What the schedule of this name does. @param now in milliseconds, the time it fired */
export async function runNamed(env: Env, cron: string, now: number): Promise<void> {
  const lostAfter = LOST_AFTER[cron];
  if (lostAfter === undefined) return runScheduled(env, now);
  const [matching] = await env.DB.batch([matchingState(env)]);
  const { unmatched } = matchingStateOf(matching);
  if (unmatched !== null) await announce(env, unmatched);
  await remindOfForgotten(env, DELIVERIES_PER_RUN, lostAfter);
}

/** Uploads that began earlier may have expired. */
const beganBefore = (now: number) => uploadIdAt(now - UPLOAD_LIFETIME * 1000);

/** The cheap ones first. Those that may take long take turns: whatever cuts one off every time does not cut off the same others. */
function jobsOf(run: Run): Work[] {
  const { slot, now } = run;
  const direct: DeliveryKey[] = [];
  const long: Work[] = [
    ...(slot === 0 || run.isCollecting ? [work('collector', collect)] : []),
    ...(run.hasDeliveries ? [work('deliveries', (env) => tryDirectly(env, direct, run.runtime))] : []),
    ...(slot === 2 ? [work('scrub', (env) => scrubSlice(env, now))] : []),
    ...(run.hasLifecycles ? [work('lifecycle', (env) => runDueLifecycles(env, { limit: LIFECYCLES_PER_RUN }))] : []),
  ];
  const turn = Math.floor(now / (RUN_MINUTES * 60_000)) % Math.max(1, long.length);
  return [
    ...(run.matching.unmatched === null ? [] : [work('deliveries', (env, left) => match(env, run.matching, left))]),
    ...(run.hasDeliveries ? [work('deliveries', (env, left) => remind(env, left, direct))] : []),
    ...(run.hasUploads ? [work('expiry', (env) => expireUploads(env, beganBefore(now), UPLOADS_PER_RUN))] : []),
    ...(ONCE_AN_HOUR[slot]?.(run) ?? []),
    ...long.slice(turn),
    ...long.slice(0, turn),
  ];
}

/** @param direct is given the deliveries that are to be tried without the queue */
async function remind(env: Env, left: Cost, direct: DeliveryKey[]): Promise<void> {
  const messages = Math.min(REMINDERS_PER_RUN, Math.floor(left.queueOperations / 3));
  direct.push(...(await retryForgotten(env, { messages, direct: DIRECT_PER_RUN })).direct);
}

function work(job: Job, run: (env: Env, left: Cost) => Promise<unknown>): Work {
  return { job, run };
}

/** Rows that may be deleted: each costs up to `rows` written. */
function within(limit: number, { rowsWritten }: Cost, rows: number): number {
  return Math.max(1, Math.min(limit, Math.floor(rowsWritten / rows)));
}

/** What needs no more than one run an hour, by the run that does it. */
const ONCE_AN_HOUR: ((run: Run) => Work[])[] = [
  ({ now }) => [work('expiry', (env) => sweepAbandoned(env, now))],
  () => [
    work('expiry', (env, left) => expireLogins(env, within(LOGINS_PER_RUN, left, 1))),
    work('expiry', (env, left) => expireOutsideLogins(env, within(LOGINS_PER_RUN, left, 2))),
    work('deliveries', (env, left) => failExpired(env, within(DELIVERIES_PER_RUN, left, 2))),
  ],
  () => [],
  ({ matching }) => [
    work('expiry', (env, left) => expireDeliveries(env, settings(env).deliveryDays, within(DELIVERIES_PER_RUN, left, 2))),
    work('expiry', (env, left) => removeEnded(env, matching.cursor, within(DELIVERIES_PER_RUN, left, 2))),
  ],
  ({ matching }) => [
    work('expiry', (env, left) =>
      expireEvents(env, { days: settings(env).eventDays, upTo: matching.cursor, limit: within(EVENTS_PER_RUN, left, 2) }),
    ),
    work('deliveries', (env, left) => failExpired(env, within(DELIVERIES_PER_RUN, left, 2))),
  ],
  () => [
    work('expiry', forgetDays),
    work('expiry', expireOwnerDays),
    work('expiry', (env, left) =>
      expireAddresses(env, { days: settings(env).auditAddressDays, limit: within(EVENTS_PER_RUN, left, 2) }),
    ),
  ],
];

/** Announces what was not matched yet; what the queue does not take, or was told of in vain, is matched here. */
async function match(env: Env, { unmatched, waiting }: MatchingState, left: Cost): Promise<void> {
  if (unmatched === null) return;
  if (waiting < FORGOTTEN && left.queueOperations > 0) {
    const told = await announce(env, unmatched).then(
      () => true,
      (error: unknown) => {
        report('events.not-announced', { error });
        return false;
      },
    );
    if (told) return;
  }
  await matchSome(env);
}

/** A pass begins once an hour, as it reads all there is, and is gone on with by every run. */
async function collect(env: Env, left: Cost): Promise<void> {
  await collectSlice(env, (batch, repositoryId) => deleteTrashedPolicies(batch, [repositoryId]), left);
}

/** A piece may be named by no row for as long as a signed location lives: twice that is on the safe side. */
async function sweepAbandoned(env: Env, now: number): Promise<void> {
  const abandoned = uploadIdAt(now - 2 * UPLOAD_LIFETIME * 1000);
  let cursor: string | null | undefined;
  for (let page = 0; page < PAGES_PER_SWEEP && cursor !== null; page++) {
    cursor = await sweepPieces(env, abandoned, cursor);
  }
}
