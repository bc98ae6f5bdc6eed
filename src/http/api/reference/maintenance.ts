/** What the reference says about the routes in `../maintenance.ts`. */
import {
  budget as budgetSchema,
  collectorSlice,
  finding,
  maintenanceState,
  scrubSliceSchema,
} from '../../../contract/answers/maintenance.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Maintenance';

const BUDGET = `It counts against the day's budget of background jobs. If that leaves nothing for it, the answer is 429,
unless \`force=true\`.`;

export const maintenance: Reference = {
  'GET /gc': {
    group: GROUP,
    summary: 'Read the state of garbage collection and the scrub',
    description:
      'Garbage collection deletes content that nothing needs any more. The scrub compares the stored content with ' +
      'the database. The schedule runs both, in slices.',
    answers: { 200: { description: 'The current and the last passes', schema: maintenanceState } },
  },
  'GET /budget': {
    group: GROUP,
    summary: 'Read the budget of background jobs',
    description:
      'Each day, background jobs may read and write a limited number of database rows and use a limited number of ' +
      'queue operations. The rest is left to pushes and pulls. A job that has used its share continues after 00:00 ' +
      'UTC. The settings `BACKGROUND_ROWS_READ`, `BACKGROUND_ROWS_WRITTEN` and `BACKGROUND_QUEUE_OPERATIONS` change ' +
      'the budget.',
    answers: { 200: { description: 'The budget, what was spent, and what is left for each job', schema: budgetSchema } },
  },
  'POST /gc': {
    group: GROUP,
    summary: 'Run garbage collection now',
    description: `Runs one slice of the current pass, or the first slice of a new pass. ${BUDGET}`,
    answers: { 200: { description: 'What the pass has done so far', schema: collectorSlice } },
  },
  'POST /scrub': {
    group: GROUP,
    summary: 'Run the scrub now',
    description: `Compares what is stored with what should be: one slice of the current pass, or the first slice of a new
pass. Damaged and missing content counts as absent from then on, so that the next push stores it again. ${BUDGET}`,
    answers: { 200: { description: 'What the pass has found so far', schema: scrubSliceSchema } },
  },
  'GET /fsck': {
    group: GROUP,
    summary: 'Check the consistency of the registry',
    description: 'Changes nothing. A page may be short or empty before the end. The end is where `next` is null.',
    answers: { 200: { description: 'A page of problems and their remedies', schema: pageSchema(finding) } },
  },
};
