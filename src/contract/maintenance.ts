/**
 * Schemas of garbage collection, the scrub job, the consistency check (`fsck`) and the budget of background jobs in the
 * management API.
 */
import * as z from 'zod';

export const sliceQuery = z.strictObject({
  force: z.optional(z.enum(['true', 'false'])).describe("`true`: run even if the day's budget of background jobs is used up"),
});

export const findingsQuery = z.strictObject({ last: z.optional(z.string().max(512)).describe('`next` of the previous page') });

/** The content of the cursor of a list of findings, as JSON. */
export const findingsCursor = z.tuple([z.string()], z.union([z.string(), z.int()]));
