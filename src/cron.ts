/** The Worker's handler of cron triggers. It decides which jobs run and logs jobs that fail. */
import { type DeliveryRuntime, resumeLost } from './app/deliveries.ts';
import { runJobs } from './app/schedule.ts';
import { requireStores } from './app/setup.ts';
import type { Env } from './env.ts';
import { deliveryRuntime } from './queue.ts';
import { observed, report } from './telemetry.ts';

/**
 * Runs the work of the cron trigger that fired, and logs the run.
 * @throws not-set-up if the database or the bucket belongs to another registry, or if migrations are missing
 */
export async function handleSchedule({ cron, scheduledTime }: ScheduledController, env: Env): Promise<void> {
  await requireStores(env);
  await observed(env, 'schedule', { cron }, { now: Date.now, run: (counted) => runNamed(counted, cron, scheduledTime) });
}

/**
 * Runs the background jobs that are due. If a job fails, the other jobs still run.
 * @param now the time when the trigger fired, in milliseconds since the epoch
 * @throws AggregateError with the errors of the jobs that failed
 */
export async function runScheduled(env: Env, now: number, runtime: DeliveryRuntime = deliveryRuntime): Promise<void> {
  const failures = await runJobs(env, now, runtime);
  for (const error of failures) report('schedule.job-failed', { error });
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} jobs of the schedule failed`);
}

/**
 * The additional schedules of `npm start`. They only send lost queue messages again. The value is the number of seconds after
 * which a message counts as lost. These schedules have no daily budget, because the user's machine has no daily limit.
 */
const LOST_AFTER: Record<string, number> = { '@restart': 0, '@minute': 60 };

/**
 * Runs the work of one schedule.
 * @param cron the cron expression of the trigger, or a key of `LOST_AFTER`
 * @param now the time when the trigger fired, in milliseconds since the epoch
 */
async function runNamed(env: Env, cron: string, now: number): Promise<void> {
  const lostAfter = LOST_AFTER[cron];
  await (lostAfter === undefined ? runScheduled(env, now) : resumeLost(env, lostAfter));
}
