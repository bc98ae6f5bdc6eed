/**
 * Routes of garbage collection, the scrub job, the consistency check and the budget of background jobs. Only administrators may
 * use them.
 */

import type * as z from 'zod';
import {
  type BudgetState,
  type Cost,
  checkConsistency,
  collectNow,
  getBudget,
  getMaintenance,
  type Passes,
  scrubNow,
} from '../../app/maintenance.ts';
import type { budget as budgetSchema } from '../../contract/answers/maintenance.ts';
import { findingsQuery, sliceQuery } from '../../contract/maintenance.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, timeOf } from './answers.ts';
import { operation } from './operation.ts';

export const maintenance = new Hono<AppEnv>({ strict: false })
  .get('/gc', operation({}), async (c) => {
    const { collector, scrub } = await getMaintenance(callOf(c));
    return answer({ collector: shownPasses(collector), scrub: shownPasses(scrub) });
  })
  .get('/budget', operation({}), async (c) => answer(shownBudget(await getBudget(callOf(c)))))
  .post(
    '/gc',
    operation({
      query: sliceQuery,
    }),
    async (c) => {
      const { ended, phase, report } = await collectNow(callOf(c), { force: c.var.query.force === 'true' });
      return answer({ pass: ended ? 'finished' : 'running', phase, report });
    },
  )
  .post(
    '/scrub',
    operation({
      query: sliceQuery,
    }),
    async (c) => {
      const { ended, report } = await scrubNow(callOf(c), { force: c.var.query.force === 'true' });
      return answer({ pass: ended ? 'finished' : 'running', report });
    },
  )
  .get(
    '/fsck',
    operation({
      query: findingsQuery,
    }),
    async (c) => answer(await checkConsistency(callOf(c), c.var.query.last)),
  );

function shownBudget({ budget, spent, jobs, resetsAt }: BudgetState): z.output<typeof budgetSchema> {
  return {
    budget: shownLimits(budget),
    spent,
    jobs: jobs.map((one) => ({ ...one, left: shownLimits(one.left) })),
    resetsAt: timeOf(resetsAt),
  };
}

function shownLimits({ rowsRead, rowsWritten, queueOperations }: Cost) {
  const shown = (number: number) => (Number.isFinite(number) ? number : null);
  return { rowsRead: shown(rowsRead), rowsWritten: shown(rowsWritten), queueOperations: shown(queueOperations) };
}

function shownPasses<R>({ running, finished }: Passes<R>) {
  return {
    running: running && { ...running, startedAt: timeOf(running.startedAt) },
    finished: finished && {
      ...finished,
      startedAt: timeOf(finished.startedAt),
      finishedAt: timeOf(finished.finishedAt),
    },
  };
}
