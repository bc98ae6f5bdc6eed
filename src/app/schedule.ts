/**
 * The jobs of the schedule, in slices that fit the free plan. Each resumes where rows and keys say that something is due. The
 * six runs of an hour share the jobs, so that a run without work costs little. All jobs together have a budget for the day.
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
import { deletePolicy } from './maintenance.ts';

/** Uploads that one run expires. Each costs up to four calls to a store, and an invocation has 1,000. */
const UPLOADS_PER_RUN = 50;
const LOGINS_PER_RUN = 1000;
const DELIVERIES_PER_RUN = 1000;
const EVENTS_PER_RUN = 1000;
/** Messages that one run sends to the queue again for deliveries that are overdue. */
const REMINDERS_PER_RUN = 200;
/** Deliveries that one run sends itself. An invocation has 50 requests to the outside and 10 ms of CPU. */
const DIRECT_PER_RUN = 20;
/** Lifecycle policies that one run carries out. Each loads its whole repository. */
const LIFECYCLES_PER_RUN = 2;
/** Minutes between two runs. */
const RUN_MINUTES = 10;
/** Pages of R2 listings in one run. Each is a paid operation. */
const PAGES_PER_SWEEP = 10;

/** The state at the beginning of a run, read in one call. */
interface Run {
  /** Milliseconds since the epoch, when the schedule fired. */
  now: number;
  /** The run of the hour, 0 to 5. */
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
 * @param now milliseconds since the epoch, when the schedule fired
 * @returns the errors of jobs that failed; they do not stop the other jobs
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

/** Uploads that began before this one may have expired. */
const beganBefore = (now: number) => uploadIdAt(now - UPLOAD_LIFETIME * 1000);

/**
 * Cheap jobs come first. Long jobs take turns, so that one that always uses up the CPU does not always stop the same others.
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

/** Matches events that the queue missed. */
function match(env: Env, { matching, runtime }: Run, left: Cost): Promise<void> {
  return matchForgotten(env, matching, { mayAnnounce: left.queueOperations > 0, runtime });
}

/** A pass begins once an hour, because it reads everything, and every run continues it. */
async function collect(env: Env, left: Cost): Promise<void> {
  await collectSlice(env, deletePolicy, left);
}

/** @param direct receives the deliveries that are tried without the queue */
async function remind(env: Env, left: Cost, direct: DeliveryKey[]): Promise<void> {
  const messages = Math.min(REMINDERS_PER_RUN, Math.floor(left.queueOperations / 3));
  direct.push(...(await retryForgotten(env, { messages, direct: DIRECT_PER_RUN })).direct);
}

function work(job: Job, run: (env: Env, left: Cost) => Promise<unknown>): Work {
  return { job, run };
}

/** The number of rows that a job may delete. @param rows rows written for each of them, at most */
function within(limit: number, { rowsWritten }: Cost, rows: number): number {
  return Math.max(1, Math.min(limit, Math.floor(rowsWritten / rows)));
}

/** Jobs that run once an hour, by the slot of the run that does them. */
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

/** Deletes staged pieces that no row names. A signed location may name a piece for one lifetime; two leave a margin. */
async function sweepAbandoned(env: Env, now: number): Promise<void> {
  const abandoned = uploadIdAt(now - 2 * UPLOAD_LIFETIME * 1000);
  let cursor: string | null | undefined;
  for (let page = 0; page < PAGES_PER_SWEEP && cursor !== null; page++) {
    cursor = await sweepPieces(env, abandoned, cursor);
  }
}
