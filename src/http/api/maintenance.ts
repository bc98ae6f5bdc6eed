/** Garbage collection and the check of what is stored, for administrators. */
import { Hono } from 'hono';
import * as z from 'zod';
import { dropTrashedPolicies } from '../../auth/policies.ts';
import { RegistryError } from '../../oci/errors.ts';
import { collectSlice } from '../../registry/gc/collector.ts';
import { fsck, isFsckCursor } from '../../registry/gc/fsck.ts';
import { type Cursor, getPasses, type Passes } from '../../registry/gc/passes.ts';
import { type ScrubReport, scrubSlice } from '../../registry/gc/scrub.ts';
import type { GcReport } from '../../registry/gc/slice.ts';
import { type AppEnv, finishing } from '../context.ts';
import { asks } from './guard.ts';
import { answer, operation, pageSchema } from './operation.ts';
import { timeOf } from './parts.ts';

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
  .post(
    '/gc',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Collect garbage now',
      description: 'One slice of the pass that is under way, or the first one of a new pass.',
      answers: { 200: { description: 'What the pass has done so far', schema: sliceSchema } },
    }),
    async (c) => {
      const work = collectSlice(c.env, (id) => dropTrashedPolicies(c.env, [id]));
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
      description:
        'One slice of the pass that is under way, or the first one of a new pass. What is damaged or missing counts as absent from then on, so that the next push brings it again.',
      answers: { 200: { description: 'What the pass has found so far', schema: scrubSliceSchema } },
    }),
    async (c) => {
      const { ended, report } = await scrubSlice(c.env, Date.now());
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

/** @throws INVALID */
function cursorOf(text: string | undefined): Cursor | null {
  if (text === undefined) return null;
  const parts = z.tuple([z.string()], z.union([z.string(), z.int()])).safeParse(jsonOf(text));
  if (parts.success) {
    const [phase, ...after] = parts.data;
    if (isFsckCursor({ phase, after })) return { phase, after };
  }
  throw new RegistryError('INVALID', { message: 'query.last: is no `next` of a page before' });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
