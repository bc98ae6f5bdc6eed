/**
 * The daily budget of background jobs (invariant 11). All jobs together may use a fifth of the free plan's daily limits, so
 * that they cannot make the registry unavailable to users. The costs are those that D1 reports. They are stored in one row per
 * day, by the clock of D1. A day ends at 00:00 UTC, when D1's limits are reset.
 *
 * A part of the budget is reserved for each job; all jobs share the rest. So a large garbage collection cannot stop the
 * delivery of webhooks for the day.
 */
import { type Env, settings } from '../env.ts';
import { JOBS, type Job } from '../vocabulary/jobs.ts';

export interface Cost {
  rowsRead: number;
  rowsWritten: number;
  queueOperations: number;
}

export const NO_COST: Cost = { rowsRead: 0, rowsWritten: 0, queueOperations: 0 };

/** The reserved part of the budget for each job, in percent. */
const SHARES: Record<Job, number> = { deliveries: 15, expiry: 10, collector: 20, scrub: 5, lifecycle: 10 };

/** The jobs that send queue messages. For the other jobs, no queue operations are reserved. */
const SENDERS: Job[] = ['deliveries'];

const RESOURCES = {
  rowsRead: 'rows read',
  rowsWritten: 'rows written',
  queueOperations: 'operations of queues',
} as const satisfies Record<keyof Cost, string>;
const NAMES = Object.keys(RESOURCES) as (keyof Cost)[];

export interface Day {
  /** The limits of the day. Infinity means no limit. */
  budget: Cost;
  spent: Partial<Record<Job, Cost>>;
}

type Settings = Parameters<typeof settings>[0];

/** Returns the budget from the settings, in which 0 means no limit. */
function budgetOf(env: Settings): Cost {
  const { backgroundRowsRead, backgroundRowsWritten, backgroundQueueOperations } = settings(env);
  const limit = (number: number) => (number === 0 ? Number.POSITIVE_INFINITY : number);
  return {
    rowsRead: limit(backgroundRowsRead),
    rowsWritten: limit(backgroundRowsWritten),
    queueOperations: limit(backgroundQueueOperations),
  };
}

/** Returns a SELECT that reads today's costs. `dayOf` parses its result. */
export function today(env: Pick<Env, 'DB'>): D1PreparedStatement {
  return env.DB.prepare('SELECT spent FROM background_days WHERE day = unixepoch() / 86400');
}

export function dayOf(env: Settings, result: D1Result | undefined): Day {
  const [row] = (result?.results ?? []) as { spent: string }[];
  const rows = Object.entries(JSON.parse(row?.spent ?? '{}') as Record<string, [number, number, number]>);
  const spent = rows.map(([job, [rowsRead, rowsWritten, queueOperations]]) => [
    job,
    { rowsRead, rowsWritten, queueOperations },
  ]);
  return { budget: budgetOf(env), spent: Object.fromEntries(spent) as Day['spent'] };
}

/** Adds costs to the row of today. */
export async function recordSpending(env: Pick<Env, 'DB'>, spent: Day['spent']): Promise<void> {
  const rows = Object.entries(spent).map(([job, cost]) => [job, NAMES.map((name) => cost[name])]);
  await env.DB.prepare(
    `INSERT INTO background_days (day, spent) VALUES (unixepoch() / 86400, ?1)
     ON CONFLICT DO UPDATE SET spent = (
       SELECT json_group_object(key, json(cost)) FROM (
         SELECT key, json_array(sum(value ->> 0), sum(value ->> 1), sum(value ->> 2)) AS cost
         FROM (SELECT key, value FROM json_each(background_days.spent) UNION ALL SELECT key, value FROM json_each(?1))
           GROUP BY key))`,
  )
    .bind(JSON.stringify(Object.fromEntries(rows)))
    .run();
}

/** The number of days for which the costs are kept, so that users can look at them. */
const DAYS_KEPT = 8;

export async function forgetDays(env: Pick<Env, 'DB'>): Promise<void> {
  await env.DB.prepare(`DELETE FROM background_days WHERE day < unixepoch() / 86400 - ${DAYS_KEPT}`).run();
}

export function add(one: Cost, other: Cost): Cost {
  return {
    rowsRead: one.rowsRead + other.rowsRead,
    rowsWritten: one.rowsWritten + other.rowsWritten,
    queueOperations: one.queueOperations + other.queueOperations,
  };
}

export function totalOf({ spent }: Day): Cost {
  return Object.values(spent).reduce(add, NO_COST);
}

/**
 * Returns what a job may still spend today: the unspent part of the whole budget, minus the unspent reserves of the other jobs,
 * but at least the unspent part of the job's own reserve.
 */
export function leftFor(day: Day, job: Job): Cost {
  const total = totalOf(day);
  const left = (name: keyof Cost) => {
    const others = JOBS.filter((other) => other !== job && (name !== 'queueOperations' || SENDERS.includes(other)));
    const kept = others.map((other) => Math.max(0, shareOf(day, other, name) - (day.spent[other]?.[name] ?? 0)));
    if (day.budget[name] === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    // A job keeps its reserve even if other jobs spent more than they were allowed to. That happens in the last slice of a job,
    // or if an administrator forces a run.
    const own = shareOf(day, job, name) - (day.spent[job]?.[name] ?? 0);
    return Math.max(0, own, day.budget[name] - total[name] - kept.reduce((sum, one) => sum + one, 0));
  };
  return { rowsRead: left('rowsRead'), rowsWritten: left('rowsWritten'), queueOperations: left('queueOperations') };
}

function shareOf({ budget }: Day, job: Job, name: keyof Cost): number {
  return Math.floor((budget[name] * SHARES[job]) / 100);
}

/** Returns a message that names the resource of which nothing is left for a job, or `null` if the job may run. */
export function usedUp(day: Day, job: Job): string | null {
  const left = leftFor(day, job);
  const name = (['rowsWritten', 'rowsRead'] as const).find((one) => left[one] <= 0);
  if (!name) return null;
  return (
    `the day's budget of background jobs has no ${RESOURCES[name]} left for the ${job}: ${totalOf(day)[name]} of ` +
    `${day.budget[name]} are used, the rest is reserved for other jobs. It continues after 00:00 UTC`
  );
}
