/**
 * The background jobs of the cron trigger, which fires every ten minutes. A run does as much of a job as fits the limits of the
 * free plan, and the next run continues. A job finds in D1 and R2 what it has to do. The jobs of an hour are spread over its
 * six runs, so that a run without work costs little. All jobs together have a daily budget of D1 rows and queue operations.
 */
import { expireLogins } from '../auth/logins.ts';
import { expireOutsideLogins } from '../auth/outside/jobs.ts';
import { type Cost, type Day, dayOf, forgetDays, today } from '../background/budget.ts';
import { runWithin, type Work } from '../background/jobs.ts';
import { type Env, settings } from '../env.ts';
import { databaseFailure, isDailyLimit } from '../events/database-failure.ts';
import { expireAddresses, expireEvents } from '../events/history.ts';
import { collectSlice } from '../registry/gc/collector.ts';
import { runningPass } from '../registry/gc/passes.ts';
import { scrubSlice } from '../registry/gc/scrub.ts';
import { anyLifecycleDue, runDueLifecycles } from '../registry/lifecycle/run.ts';
import { anyUploadExpired, expireUploads, sweepPieces, UPLOAD_LIFETIME, uploadIdAt } from '../registry/uploads/sessions.ts';
import type { Job } from '../vocabulary/jobs.ts';
import type { DeliveryKey } from '../webhooks/delivery/deliveries.ts';
import { tryDirectly } from '../webhooks/delivery/direct.ts';
import { type MatchingState, matchingState, matchingStateOf } from '../webhooks/delivery/matching.ts';
import { expireOwnerDays } from '../webhooks/delivery/owner-days.ts';
import { anyWaiting, failExpired, retryForgotten } from '../webhooks/delivery/reminders.ts';
import { expireDeliveries, removeEnded } from '../webhooks/subscriptions.ts';
import { type DeliveryRuntime, matchForgotten } from './deliveries.ts';
import { deleteWithRepository } from './maintenance.ts';

/**
 * The maximum number of uploads that one run expires. Each takes up to four calls to D1 or R2, and an invocation may make
 * 1,000.
 */
const UPLOADS_PER_RUN = 50;
const LOGINS_PER_RUN = 1000;
const DELIVERIES_PER_RUN = 1000;
const EVENTS_PER_RUN = 1000;
/** The maximum number of events that the hourly run deletes, if the daily budget allows 24 times as many. */
const OLD_EVENTS_PER_RUN = 10_000;
/** The maximum number of queue messages that one run sends for overdue deliveries. */
const REMINDERS_PER_RUN = 200;
/**
 * The maximum number of deliveries that one run sends without the queue. An invocation may make 50 outgoing requests and use 10
 * ms of CPU time.
 */
const DIRECT_PER_RUN = 20;
/** The maximum number of lifecycle policies that one run carries out. Each of them loads a whole repository. */
const LIFECYCLES_PER_RUN = 2;
/** The number of minutes between two runs. */
const RUN_MINUTES = 10;
/** The maximum number of R2 listings in one run. Each listing is a paid operation. */
const PAGES_PER_SWEEP = 10;

/** The state at the beginning of a run. One D1 call reads it. */
interface Run {
  /** The time when the trigger fired, in milliseconds since the epoch. */
  now: number;
  /** The number of the run within the hour, from 0 to 5. */
  slot: number;
  runtime: DeliveryRuntime;
  matching: MatchingState;
  isCollecting: boolean;
  hasDeliveries: boolean;
  hasLifecycles: boolean;
  hasUploads: boolean;
}

/**
 * Runs the jobs that are due.
 * @param now the time when the trigger fired, in milliseconds since the epoch
 * @returns the errors of the jobs that failed. A failed job does not stop the other jobs
 */
export async function runJobs(env: Env, now: number, runtime: DeliveryRuntime): Promise<unknown[]> {
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
  return runWithin(env, day, jobsOf(run), (failure) => isDailyLimit(databaseFailure(failure)));
}

/** Returns an upload id with the time of the expiry limit. Only uploads with smaller ids can have expired. */
const beganBefore = (now: number) => uploadIdAt(now - UPLOAD_LIFETIME * 1000);

/**
 * Returns the jobs of a run in the order in which they run. Short jobs come first. The long jobs take turns to be the first of
 * them, because a job that uses up the CPU time stops all jobs after it.
 */
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
    ...(run.matching.unmatched === null ? [] : [work('deliveries', (env, left) => match(env, run, left))]),
    ...(run.hasDeliveries ? [work('deliveries', (env, left) => remind(env, left, direct))] : []),
    ...(run.hasUploads ? [work('expiry', (env) => expireUploads(env, beganBefore(now), UPLOADS_PER_RUN))] : []),
    ...(ONCE_AN_HOUR[slot]?.(run) ?? []),
    ...long.slice(turn),
    ...long.slice(0, turn),
  ];
}

/** Matches events with webhooks if their queue messages were lost. */
function match(env: Env, { matching, runtime }: Run, left: Cost): Promise<void> {
  return matchForgotten(env, matching, { mayAnnounce: left.queueOperations > 0, runtime });
}

/**
 * Runs a slice of garbage collection. A pass reads the whole registry, so a new pass starts only once an hour. Every run
 * continues a running pass.
 */
async function collect(env: Env, left: Cost): Promise<void> {
  await collectSlice(env, deleteWithRepository, left);
}

/** Sends queue messages for overdue deliveries. @param direct receives the deliveries to send without the queue */
async function remind(env: Env, left: Cost, direct: DeliveryKey[]): Promise<void> {
  const messages = Math.min(REMINDERS_PER_RUN, Math.floor(left.queueOperations / 3));
  direct.push(...(await retryForgotten(env, { messages, direct: DIRECT_PER_RUN })).direct);
}

function work(job: Job, run: (env: Env, left: Cost) => Promise<unknown>): Work {
  return { job, run };
}

/**
 * Returns how many things a job may delete within its budget. @param rows the maximum number of rows written for each of them
 */
function within(limit: number, { rowsWritten }: Cost, rows: number): number {
  return Math.max(1, Math.min(limit, Math.floor(rowsWritten / rows)));
}

/**
 * Returns the number of old events that the hourly run may delete. With a larger budget it may delete more. Otherwise the table
 * of a registry that records more events in an hour would grow without end.
 */
function oldEventsWithin(left: Cost): number {
  const hourly = Math.floor(left.rowsWritten / 2 / 24);
  return within(Math.max(EVENTS_PER_RUN, Math.min(OLD_EVENTS_PER_RUN, hourly)), left, 2);
}

/** The jobs that run once an hour, by the number of the run within the hour. */
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
      expireEvents(env, { days: settings(env).eventDays, upTo: matching.cursor, limit: oldEventsWithin(left) }),
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

/**
 * Deletes staged pieces that no upload row names. A signed location is valid for one upload lifetime, so a piece can be in use
 * for that long. Only pieces older than two lifetimes are deleted, to leave a margin.
 */
async function sweepAbandoned(env: Env, now: number): Promise<void> {
  const abandoned = uploadIdAt(now - 2 * UPLOAD_LIFETIME * 1000);
  let cursor: string | null | undefined;
  for (let page = 0; page < PAGES_PER_SWEEP && cursor !== null; page++) {
    cursor = await sweepPieces(env, abandoned, cursor);
  }
}
