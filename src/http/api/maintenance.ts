/** Routes of garbage collection, the scrub, the consistency check and the budget of background jobs, for administrators. */

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
import {
  budget as budgetSchema,
  collectorSlice,
  finding,
  findingsQuery,
  maintenanceState,
  scrubSliceSchema,
  sliceQuery,
} from '../../contract/maintenance.ts';
import { pageSchema } from '../../contract/pages.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, timeOf } from './answers.ts';
import { operation } from './operation.ts';

const GROUP = 'Maintenance';

const BUDGET = `It counts against the day's budget of background jobs. If that leaves nothing for it, the answer is 429,
unless \`force=true\`.`;

export const maintenance = new Hono<AppEnv>({ strict: false })
  .get(
    '/gc',
    operation({
      group: GROUP,
      summary: 'Read the state of garbage collection and the scrub',
      description:
        'Garbage collection deletes content that nothing needs any more. The scrub compares the stored content with ' +
        'the database. The schedule runs both, in slices.',
      answers: { 200: { description: 'The current and the last passes', schema: maintenanceState } },
    }),
    async (c) => {
      const { collector, scrub } = await getMaintenance(callOf(c));
      return answer({ collector: shownPasses(collector), scrub: shownPasses(scrub) });
    },
  )
  .get(
    '/budget',
    operation({
      group: GROUP,
      summary: 'Read the budget of background jobs',
      description:
        'Each day, background jobs may read and write a limited number of database rows and use a limited number of ' +
        'queue operations. The rest is left to pushes and pulls. A job that has used its share continues after 00:00 ' +
        'UTC. The settings `BACKGROUND_ROWS_READ`, `BACKGROUND_ROWS_WRITTEN` and `BACKGROUND_QUEUE_OPERATIONS` change ' +
        'the budget.',
      answers: { 200: { description: 'The budget, what was spent, and what is left for each job', schema: budgetSchema } },
    }),
    async (c) => answer(shownBudget(await getBudget(callOf(c)))),
  )
  .post(
    '/gc',
    operation({
      group: GROUP,
      summary: 'Run garbage collection now',
      description: `Runs one slice of the current pass, or the first slice of a new pass. ${BUDGET}`,
      query: sliceQuery,
      answers: { 200: { description: 'What the pass has done so far', schema: collectorSlice } },
    }),
    async (c) => {
      const { ended, phase, report } = await collectNow(callOf(c), { force: c.var.query.force === 'true' });
      return answer({ pass: ended ? 'finished' : 'running', phase, report });
    },
  )
  .post(
    '/scrub',
    operation({
      group: GROUP,
      summary: 'Run the scrub now',
      description: `Compares what is stored with what should be: one slice of the current pass, or the first slice of a new
pass. Damaged and missing content counts as absent from then on, so that the next push stores it again. ${BUDGET}`,
      query: sliceQuery,
      answers: { 200: { description: 'What the pass has found so far', schema: scrubSliceSchema } },
    }),
    async (c) => {
      const { ended, report } = await scrubNow(callOf(c), { force: c.var.query.force === 'true' });
      return answer({ pass: ended ? 'finished' : 'running', report });
    },
  )
  .get(
    '/fsck',
    operation({
      group: GROUP,
      summary: 'Check the consistency of the registry',
      description: 'Changes nothing. A page may be short or empty before the end. The end is where `next` is null.',
      query: findingsQuery,
      answers: { 200: { description: 'A page of problems and their remedies', schema: pageSchema(finding) } },
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
