/** Garbage collection and the check of what is stored, for administrators. */
import { Hono } from 'hono';
import * as z from 'zod';
import { deleteTrashedPolicies } from '../../auth/rights/policies.ts';
import {
  type Cost,
  type Day,
  dayOf,
  JOBS,
  type Job,
  leftFor,
  NOTHING,
  today,
  totalOf,
  usedUp,
} from '../../background/budget.ts';
import { runCounted } from '../../background/jobs.ts';
import { pageSchema } from '../../contract/pages.ts';
import type { Env } from '../../env.ts';
import { secondsToMidnight } from '../../events/database-failure.ts';
import { jsonOf } from '../../oci/json.ts';
import { collectSlice } from '../../registry/gc/collector.ts';
import { fsck, isFsckCursor } from '../../registry/gc/fsck.ts';
import { type Cursor, getPasses, type Passes } from '../../registry/gc/passes.ts';
import { type ScrubReport, scrubSlice } from '../../registry/gc/scrub.ts';
import type { GcReport } from '../../registry/gc/slice.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, finishing, type RequestContext } from '../context.ts';
import { answer, timeOf } from './answers.ts';
import { asks } from './guard.ts';
import { operation } from './operation.ts';

const GROUP = 'Maintenance';

const problems = z.array(z.string()).describe('What it met and left alone; the first 50');

const collected = {
  purged: z.int().describe('Entries of the trash that were taken away for good'),
  history: z.int().describe('Points in the history of tags that were forgotten'),
  pulls: z.int().describe('Days of pulls that were forgotten'),
  links: z.int().describe('Blobs that a repository did not need any more'),
  blobs: z.int().describe('Blobs that no repository needed any more'),
  bytes: z.int().describe('Their bytes'),
  objects: z.int().describe('Objects that were deleted from R2, of blobs and manifests that had been gone for a while'),
  problems,
};

const scrubbed = {
  objects: z.int().describe('Objects that were found to be there'),
  hashed: z.int().describe('Of them, those that were read and hashed'),
  bytes: z.int().describe('The bytes of those'),
  missing: z.int().describe('Objects that were gone'),
  damaged: z.int().describe('Objects with another size, checksum or content'),
  orphans: z.int().describe('Objects that nothing named, and that were deleted'),
  problems,
};

function passes<T extends z.ZodRawShape>(report: T) {
  const running = z.strictObject({ ...report, startedAt: z.iso.datetime(), phase: z.string() });
  const finished = z.strictObject({ ...report, startedAt: z.iso.datetime(), finishedAt: z.iso.datetime() });
  return z.strictObject({
    running: z.nullable(running).describe('The pass that is under way, and what it is doing'),
    finished: z.nullable(finished).describe('The last one that came to its end'),
  });
}

const stateSchema = z.strictObject({ collector: passes(collected), scrub: passes(scrubbed) });

const sliceSchema = z.strictObject({
  pass: z.enum(['running', 'finished']).describe('`running`: there is more to do, ask again'),
  phase: z.nullable(z.string()).describe('What the next slice goes on with'),
  report: z.strictObject(collected).describe('Of the pass so far'),
});

const scrubSliceSchema = z.strictObject({
  pass: z.enum(['running', 'finished']).describe('`running`: there is more to do, ask again'),
  report: z.strictObject(scrubbed).describe('Of the pass so far'),
});

const findingSchema = z.strictObject({
  problem: z.string(),
  remedy: z.string(),
  repository: z.optional(z.string()),
  digest: z.optional(z.string()),
  tag: z.optional(z.string()),
});

const whole = z.int().min(0);
const costs = { rowsRead: whole, rowsWritten: whole, queueOperations: whole };
const limited = z.nullable(whole).describe('null: no limit');
const budgetSchema = z.strictObject({
  budget: z.strictObject({ rowsRead: limited, rowsWritten: limited, queueOperations: limited }).describe('Of a day (UTC)'),
  spent: z.strictObject(costs).describe('Today, by all jobs together'),
  jobs: z
    .array(
      z.strictObject({
        job: z.enum(JOBS),
        spent: z.strictObject(costs),
        left: z.strictObject({ rowsRead: limited, rowsWritten: limited, queueOperations: limited }),
        stopped: z.nullable(z.string()).describe('Why it does nothing more today'),
      }),
    )
    .describe('Each has a share that the others leave to it'),
  resetsAt: z.iso.datetime(),
});

const forced = z.strictObject({
  force: z.optional(z.enum(['true', 'false'])).describe("`true`: also where the day's budget of background jobs is used up"),
});

const BUDGET = `What it reads and writes counts as that of the schedule's own jobs. Where the day's budget leaves nothing to it, this is
refused with 429, unless \`force=true\`.`;

const place = z.strictObject({ last: z.optional(z.string().max(512)).describe('Where the page before ended') });

export const maintenance = new Hono<AppEnv>({ strict: false })
  .get(
    '/gc',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'What the collector and the scrub have done',
      description:
        'The collector takes away what nothing needs any more, the scrub compares what is stored with what should be. Both work in slices, by the schedule.',
      answers: { 200: { description: 'The passes that are under way, and the last ones', schema: stateSchema } },
    }),
    async (c) => {
      const [collector, scrub] = [await getPasses<GcReport>(c.env, 'gc'), await getPasses<ScrubReport>(c.env, 'scrub')];
      return answer({ collector: shown(collector), scrub: shown(scrub) });
    },
  )
  .get(
    '/budget',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'What background jobs may use up today',
      description: `The jobs of the schedule have a budget for the day, so that they leave most of what a plan allows to those who push and
pull: rows of the database and operations of queues. A job for which nothing is left goes on after 00:00 UTC. The settings
\`BACKGROUND_ROWS_READ\`, \`BACKGROUND_ROWS_WRITTEN\` and \`BACKGROUND_QUEUE_OPERATIONS\` change it.`,
      answers: { 200: { description: 'The budget, what was spent, and what is left to each job', schema: budgetSchema } },
    }),
    async (c) => answer(shownBudget(await readDay(c.env), Date.now())),
  )
  .post(
    '/gc',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Collect garbage now',
      description: `One slice of the pass that is under way, or the first one of a new pass. ${BUDGET}`,
      query: forced,
      answers: { 200: { description: 'What the pass has done so far', schema: sliceSchema } },
    }),
    async (c) => {
      const day = await dayFor(c, 'collector');
      const work = runCounted(c.env, day, 'collector', (env) =>
        collectSlice(env, (batch, id) => deleteTrashedPolicies(batch, [id])),
      );
      const { ended, phase, report } = await finishing(c, work);
      return answer({ pass: ended ? 'finished' : 'running', phase, report });
    },
  )
  .post(
    '/scrub',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Compare what is stored with what should be, now',
      description: `One slice of the pass that is under way, or the first one of a new pass. What is damaged or missing counts as absent
from then on, so that the next push brings it again. ${BUDGET}`,
      query: forced,
      answers: { 200: { description: 'What the pass has found so far', schema: scrubSliceSchema } },
    }),
    async (c) => {
      const day = await dayFor(c, 'scrub');
      const { ended, report } = await runCounted(c.env, day, 'scrub', (env) => scrubSlice(env, Date.now()));
      return answer({ pass: ended ? 'finished' : 'running', report });
    },
  )
  .get(
    '/fsck',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'What is wrong in the registry, and what helps',
      description: 'Changes nothing. A page may be short, and even empty, before the last one: go on until `next` is null.',
      query: place,
      answers: { 200: { description: 'A page of what was found', schema: pageSchema(findingSchema) } },
    }),
    async (c) => {
      const { items, next } = await fsck(c.env, cursorOf(c.var.query.last));
      return answer({ items, next: next && textOf(next) });
    },
  );

async function readDay(env: Env): Promise<Day> {
  const [result] = await env.DB.batch([today(env)]);
  return dayOf(env, result);
}

type Asked = RequestContext & { var: { query: z.output<typeof forced> } };

/** @throws daily-limit where the budget leaves nothing to the job, and nobody insists */
async function dayFor(c: Asked, job: Job): Promise<Day> {
  const day = await readDay(c.env);
  const refusal = usedUp(day, job);
  if (refusal && c.var.query.force !== 'true') {
    const retryAfter = secondsToMidnight(Date.now());
    throw new Refusal('daily-limit', { message: `${refusal}. With force=true it is done now`, retryAfter });
  }
  return day;
}

function shownBudget(day: Day, now: number): z.output<typeof budgetSchema> {
  const finite = (cost: Cost) => {
    const shown = (number: number) => (number === Number.POSITIVE_INFINITY ? null : number);
    return {
      rowsRead: shown(cost.rowsRead),
      rowsWritten: shown(cost.rowsWritten),
      queueOperations: shown(cost.queueOperations),
    };
  };
  return {
    budget: finite(day.budget),
    spent: totalOf(day),
    jobs: JOBS.map((job) => {
      return { job, spent: day.spent[job] ?? NOTHING, left: finite(leftFor(day, job)), stopped: usedUp(day, job) };
    }),
    resetsAt: timeOf(Math.floor(now / 1000) + secondsToMidnight(now)),
  };
}

function shown<R>({ running, finished }: Passes<R>) {
  return {
    running: running && { ...running, startedAt: timeOf(running.startedAt) },
    finished: finished && {
      ...finished,
      startedAt: timeOf(finished.startedAt),
      finishedAt: timeOf(finished.finishedAt),
    },
  };
}

function textOf({ phase, after }: Cursor): string {
  return JSON.stringify([phase, ...after]);
}

/** @throws request-invalid */
function cursorOf(text: string | undefined): Cursor | null {
  if (text === undefined) return null;
  const parts = z.tuple([z.string()], z.union([z.string(), z.int()])).safeParse(jsonOf(text));
  if (parts.success) {
    const [phase, ...after] = parts.data;
    if (isFsckCursor({ phase, after })) return { phase, after };
  }
  throw new Refusal('request-invalid', { message: 'query.last: is no `next` of a page before' });
}
