/** Schemas of the answers that belong to `../lifecycle.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { lifecyclePolicy } from '../lifecycle.ts';

export const lifecycleReport = z.strictObject({
  at: z.iso.datetime(),
  by: z.nullable(z.string()).describe('Who ran it; `registry`: the schedule. Null unless you may push here'),
  tags: z.int().describe('Deleted tags'),
  manifests: z.int().describe('Deleted manifests'),
  remaining: z
    .int()
    .describe('Tags and manifests that were due but were not deleted: they had changed, or there were too many'),
  failed: z.nullable(z.string()).describe('Why the run ended early'),
});

export const savedLifecycle = z.strictObject({
  policy: lifecyclePolicy,
  lastRanAt: z.nullable(z.iso.datetime()),
  lastReport: z.nullable(lifecycleReport),
});

export const lifecycleItem = z.strictObject({
  tag: z.nullable(z.string()).describe('Null: the manifest itself'),
  digest: z.string(),
  rule: z.strictObject({ priority: z.int(), description: z.nullable(z.string()) }),
  reason: z.string(),
});

const list = {
  tags: z.int(),
  attached: z
    .optional(z.int())
    .describe(
      'Tags of signatures, attestations, SBOMs and lists of referrers that are deleted with the image that their name ' +
        'refers to. Not counted in `tags`; absent if there are none',
    ),
  manifests: z.int(),
  items: z.array(lifecycleItem).describe('The first of them: tags, then tags attached to a manifest, then manifests'),
  truncated: z.boolean().describe('True if there are more than are listed'),
};

export const lifecyclePlan = z.strictObject({
  ...list,
  next: z.optional(z.string()).describe('In a large repository: `after` of the next page. Absent on the last page'),
  bytes: z
    .optional(z.int())
    .describe('Bytes that are freed when the trash is emptied: content that no other image of the registry needs'),
  waiting: z
    .int()
    .describe(
      'Manifests that the rules select but that are left alone for some hours, because they were pushed without a tag ' +
        'or a client was told that they exist. A later run deletes them',
    ),
  waitingUntil: z.optional(z.iso.datetime()).describe('When all of these may be deleted. Absent if there are none'),
  note: z.optional(z.string()).describe('The same in words. Absent if there are none'),
});

export const lifecycleDeletions = z.strictObject({
  ...list,
  remaining: z.int().describe('What the plan contains and is still there: run it again'),
  unfinished: z
    .optional(z.literal(true))
    .describe('In a large repository: there are more pages. Run it again, or leave it to the schedule'),
});
