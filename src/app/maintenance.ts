/**
 * Operations for administrators: garbage collection, the scrub job, the consistency check (`fsck`), and the budget of
 * background jobs.
 */
import { deleteTrashedPolicies } from '../auth/rights/trashed-policies.ts';
import { type Cost, type Day, dayOf, leftFor, NO_COST, today, totalOf, usedUp } from '../background/budget.ts';
import { runCounted } from '../background/jobs.ts';
import { findingsCursor } from '../contract/maintenance.ts';
import type { Env } from '../env.ts';
import { secondsToMidnight } from '../events/database-failure.ts';
import { jsonOf } from '../oci/json.ts';
import { collectSlice } from '../registry/gc/collector.ts';
import { fsck, isFsckCursor } from '../registry/gc/fsck.ts';
import type { Finding } from '../registry/gc/fsck-checks.ts';
import { type Cursor, type GcReport, getPasses, type Passes } from '../registry/gc/passes.ts';
import { type ScrubReport, scrubSlice } from '../registry/gc/scrub.ts';
import { JOBS, type Job } from '../vocabulary/jobs.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { deleteTrashedSubscriptions } from '../webhooks/trashed.ts';
import { requireAdministrator } from './access.ts';
import { type Call, finishing } from './call.ts';

export type { Cost, Finding, Passes };

/** Returns the running and the last finished pass of garbage collection and of the scrub job. */
export async function getMaintenance(call: Call): Promise<{ collector: Passes<GcReport>; scrub: Passes<ScrubReport> }> {
  requireAdministrator(call);
  return {
    collector: await getPasses<GcReport>(call.env, 'gc'),
    scrub: await getPasses<ScrubReport>(call.env, 'scrub'),
  };
}

export interface BudgetState {
  /** The daily limit of each resource, for all jobs together. `Infinity` means no limit. */
  budget: Cost;
  spent: Cost;
  jobs: { job: Job; spent: Cost; left: Cost; stopped: string | null }[];
  /** The time when the budget is reset, in seconds since the epoch. */
  resetsAt: number;
}

export async function getBudget(call: Call): Promise<BudgetState> {
  requireAdministrator(call);
  const day = await readDay(call.env);
  return {
    budget: day.budget,
    spent: totalOf(day),
    jobs: JOBS.map((job) => {
      return { job, spent: day.spent[job] ?? NO_COST, left: leftFor(day, job), stopped: usedUp(day, job) };
    }),
    resetsAt: Math.floor(call.now / 1000) + secondsToMidnight(call.now),
  };
}

/**
 * Runs one slice of garbage collection. Its costs count against the daily budget of background jobs.
 * @param force true to run even if the budget is used up
 * @throws daily-limit if the budget is used up
 */
export async function collectNow(call: Call, { force }: { force: boolean }) {
  requireAdministrator(call);
  const day = await requireBudget(call, 'collector', force);
  return finishing(
    call,
    runCounted(call.env, day, 'collector', (env) => collectSlice(env, deleteWithRepository)),
  );
}

/** Adds statements to the batch that purges a deleted repository. They delete its policy and its webhooks. */
export function deleteWithRepository(batch: Parameters<typeof deleteTrashedPolicies>[0], repositoryId: number): void {
  deleteTrashedPolicies(batch, [repositoryId]);
  deleteTrashedSubscriptions(batch, repositoryId);
}

/** Runs one slice of the scrub job, which compares the objects in R2 with the rows in D1. @throws daily-limit */
export async function scrubNow(call: Call, { force }: { force: boolean }) {
  requireAdministrator(call);
  const day = await requireBudget(call, 'scrub', force);
  return runCounted(call.env, day, 'scrub', (env) => scrubSlice(env, call.now));
}

async function readDay(env: Env): Promise<Day> {
  const [result] = await env.DB.batch([today(env)]);
  return dayOf(env, result);
}

/** Reads today's costs. @throws daily-limit if the job may not spend any more today, unless `force` is true */
async function requireBudget({ env, now }: Call, job: Job, force: boolean): Promise<Day> {
  const day = await readDay(env);
  const why = usedUp(day, job);
  if (why && !force) {
    throw new Refusal('daily-limit', { message: `${why}. With force=true it is done now`, retryAfter: secondsToMidnight(now) });
  }
  return day;
}

/**
 * Returns one page of inconsistencies in the registry, and changes nothing. A page can be short or empty although more pages
 * follow.
 * @param after the `next` of the previous page; `undefined` means the first page
 * @throws request-invalid
 */
export async function checkConsistency(
  call: Call,
  after: string | undefined,
): Promise<{ items: Finding[]; next: string | null }> {
  requireAdministrator(call);
  const { items, next } = await fsck(call.env, after === undefined ? null : cursorOf(after));
  return { items, next: next && JSON.stringify([next.phase, ...next.after]) };
}

/** Parses a cursor of the consistency check. @throws request-invalid if the text is not such a cursor */
function cursorOf(text: string): Cursor {
  const parts = findingsCursor.safeParse(jsonOf(text));
  if (parts.success) {
    const [phase, ...after] = parts.data;
    if (isFsckCursor({ phase, after })) return { phase, after };
  }
  throw new Refusal('request-invalid', { message: '`last` is not a valid cursor; start from the first page' });
}
