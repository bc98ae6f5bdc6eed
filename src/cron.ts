/** The schedule: its runs, by name, and what is logged when jobs fail. */
import { type DeliveryRuntime, resumeLost } from './app/deliveries.ts';
import { runJobs } from './app/schedule.ts';
import { requireStores } from './app/setup.ts';
import type { Env } from './env.ts';
import { deliveryRuntime } from './queue.ts';
import { observed, report } from './telemetry.ts';

/** Runs the schedule that fired, and logs the run. @throws not-set-up */
export async function handleSchedule({ cron, scheduledTime }: ScheduledController, env: Env): Promise<void> {
  await requireStores(env);
  await observed(env, 'schedule', { cron }, { now: Date.now, run: (counted) => runNamed(counted, cron, scheduledTime) });
}

/**
 * Runs the jobs that are due. A job that fails does not stop the others.
 * @param now milliseconds since the epoch, when the schedule fired
 */
export async function runScheduled(env: Env, now: number, runtime: DeliveryRuntime = deliveryRuntime): Promise<void> {
  const failures = await runJobs(env, now, runtime);
  for (const error of failures) report('schedule.job-failed', { error });
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} jobs of the schedule failed`);
}

/**
 * Schedules that `npm start` adds, and the seconds after which each of them takes a message for lost. They have no budget,
 * because the machine has no daily limit.
 */
const LOST_AFTER: Record<string, number> = { '@restart': 0, '@minute': 60 };

/** Runs the schedule of this name. @param now milliseconds since the epoch, when it fired */
async function runNamed(env: Env, cron: string, now: number): Promise<void> {
  const lostAfter = LOST_AFTER[cron];
  await (lostAfter === undefined ? runScheduled(env, now) : resumeLost(env, lostAfter));
}
