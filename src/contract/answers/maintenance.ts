/** Schemas of the answers that belong to `../maintenance.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { JOBS } from '../../vocabulary/jobs.ts';

const problems = z.array(z.string()).describe('Problems that were logged and skipped; the first 50');

const collected = {
  purged: z.int().describe('Entries of the trash that were deleted for good'),
  history: z.int().describe('Deleted points of tag histories'),
  pulls: z.int().describe('Deleted days of pull counts'),
  links: z.int().describe('Blobs that a repository no longer needed'),
  blobs: z.int().describe('Blobs that no repository needed any more'),
  bytes: z.int().describe('Bytes of those blobs'),
  objects: z.int().describe('R2 objects that were deleted, of blobs and manifests that had been deleted before'),
  problems,
};

const scrubbed = {
  objects: z.int().describe('R2 objects that were found'),
  hashed: z.int().describe('Objects that were read and hashed'),
  bytes: z.int().describe('Bytes of the hashed objects'),
  missing: z.int().describe('Objects that were missing'),
  damaged: z.int().describe('Objects with a wrong size, checksum or content'),
  orphans: z.int().describe('Objects that no row named, and that were deleted'),
  problems,
};

function passes<T extends z.ZodRawShape>(report: T) {
  const running = z.strictObject({ ...report, startedAt: z.iso.datetime(), phase: z.string() });
  const finished = z.strictObject({ ...report, startedAt: z.iso.datetime(), finishedAt: z.iso.datetime() });
  return z.strictObject({
    running: z.nullable(running).describe('The current pass'),
    finished: z.nullable(finished).describe('The last finished pass'),
  });
}

const pass = z.enum(['running', 'finished']).describe('`running`: there is more to do, send the request again');

export const maintenanceState = z.strictObject({ collector: passes(collected), scrub: passes(scrubbed) });

export const collectorSlice = z.strictObject({
  pass,
  phase: z.nullable(z.string()).describe('Where the next slice continues'),
  report: z.strictObject(collected).describe('Totals of the pass so far'),
});

export const scrubSliceSchema = z.strictObject({
  pass,
  report: z.strictObject(scrubbed).describe('Totals of the pass so far'),
});

export const finding = z.strictObject({
  problem: z.string().describe('What is wrong'),
  remedy: z.string().describe('What to do'),
  repository: z.optional(z.string()),
  digest: z.optional(z.string()),
  tag: z.optional(z.string()),
});

const whole = z.int().min(0);

const cost = z.strictObject({ rowsRead: whole, rowsWritten: whole, queueOperations: whole });

const limit = z.nullable(whole).describe('null: no limit');

const limits = z.strictObject({ rowsRead: limit, rowsWritten: limit, queueOperations: limit });

export const budget = z.strictObject({
  budget: limits.describe('What all jobs together may use in a day (UTC)'),
  spent: cost.describe('What all jobs together have used today'),
  jobs: z
    .array(
      z.strictObject({
        job: z.enum(JOBS),
        spent: cost,
        left: limits,
        stopped: z.nullable(z.string()).describe('Why the job does nothing more today; null: it runs'),
      }),
    )
    .describe('Each job has a share that the others leave to it'),
  resetsAt: z.iso.datetime(),
});
