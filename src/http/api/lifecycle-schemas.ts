/** What requests and answers about lifecycle policies are made of. */
import * as z from 'zod';
import type { DoomedAttached, DoomedManifest, DoomedTag, Plan } from '../../registry/lifecycle/chooser.ts';
import { VERSIONS_MAX } from '../../registry/lifecycle/known.ts';
import type { Place } from '../../registry/lifecycle/large.ts';
import {
  ACTION_TYPES,
  COUNT_TYPES,
  complaintsAbout,
  type LifecyclePolicy,
  TAG_STATUSES,
} from '../../registry/lifecycle/policy.ts';
import type { Report } from '../../registry/lifecycle/report.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { timeOf, withinAnswer } from './answers.ts';
import { jsonOf } from './params.ts';

/** ECR's limit. */
const RULES_MAX = 50;
/** Of a rule; all together have a limit of their own. */
const LIST_MAX = 50;
const DESCRIPTION_MAX = 256;

const UNSUPPORTED = 'storage classes are not supported';

/** ECR's words for them, by which a policy that was written for it is told from one that is misspelt. */
const OF_STORAGE_CLASSES = ['storageClass', 'targetStorageClass', 'transition', 'sinceImageTransitioned'];

/** For zod: our words where it is about storage classes, its own otherwise. */
function inWords(issue: { code?: string | undefined; keys?: unknown; input?: unknown }): string | undefined {
  const given = issue.code === 'unrecognized_keys' ? (issue.keys as unknown[]) : [issue.input];
  return given.some((one) => OF_STORAGE_CLASSES.includes(one as string)) ? UNSUPPORTED : undefined;
}

const tagList = z.array(z.string().min(1).max(128)).min(1).max(LIST_MAX);

const selectionSchema = z.strictObject(
  {
    tagStatus: z.enum(TAG_STATUSES),
    tagPatternList: z
      .optional(tagList)
      .describe('`*` stands for any run of characters, up to four times. The tags of an image must match all of the list.'),
    tagPrefixList: z.optional(tagList),
    tagSemverRange: z
      .optional(z.string().min(1).max(200))
      .describe('Of rules that keep: tags that are versions in this range, as `^1.2 || >=2`; with `countNumber`, the newest'),
    countType: z
      .optional(z.enum(COUNT_TYPES, { error: inWords }))
      .describe(
        '`sinceImagePulled`: a pull of anything that an index lists is one of the index, and one of an image is one of what refers to it; so is a check (HEAD). Of what was never pulled nor checked, since it was pushed',
      ),
    countUnit: z.optional(z.enum(['days'])).describe('Of `sinceImagePushed` and `sinceImagePulled`'),
    countNumber: z.optional(z.int().min(1)),
  },
  { error: inWords },
);

const ruleSchema = z.strictObject(
  {
    rulePriority: z.int().min(1),
    description: z.optional(
      z
        .string()
        .max(DESCRIPTION_MAX)
        .refine((text) => !/\p{Cc}/u.test(text), 'is one line of text'),
    ),
    selection: selectionSchema,
    action: z
      .strictObject(
        {
          type: z.enum(ACTION_TYPES, { error: inWords }),
          includeImmutable: z.optional(z.boolean()).describe('Of rules that expire: they may take tags that are immutable'),
        },
        { error: inWords },
      )
      .describe('`keep` wins over every rule that expires, whatever its priority'),
  },
  { error: inWords },
);

export const policySchema = z
  .strictObject({ rules: z.array(ruleSchema).min(1).max(RULES_MAX) })
  .superRefine((policy: LifecyclePolicy, context) => {
    for (const { at, message } of complaintsAbout(policy)) context.addIssue({ code: 'custom', path: ['rules', at], message });
  });

/** A place and what rules count: five of them may count a thousand versions each. */
const PLACE_MAX = 200_000;

export const previewBody = z.strictObject({
  policy: z.optional(policySchema).describe('To be tried; left out, the saved one'),
  after: z.optional(z.string().max(PLACE_MAX)).describe('The `next` of the page before'),
});

const reportSchema = z.strictObject({
  at: z.iso.datetime(),
  by: z.nullable(z.string()).describe('`registry`: the schedule. For those who may push; `null` for others'),
  tags: z.int().describe('That were deleted'),
  manifests: z.int(),
  remaining: z.int().describe('Tags and manifests that were to go and did not, as they changed meanwhile or were too many'),
  failed: z.nullable(z.string()).describe('Why the run did not come to its end'),
});

export const lifecycleSchema = z.strictObject({
  policy: policySchema,
  lastRanAt: z.nullable(z.iso.datetime()),
  lastReport: z.nullable(reportSchema),
});

const itemSchema = z.strictObject({
  tag: z.nullable(z.string()).describe('`null`: the manifest itself'),
  digest: z.string(),
  rule: z.strictObject({ priority: z.int(), description: z.nullable(z.string()) }),
  reason: z.string(),
});

const listSchema = {
  tags: z.int(),
  attached: z
    .optional(z.int())
    .describe(
      'Tags of signatures, attestations, SBOMs and lists of referrers that go with what they belong to by their name. They are not among `tags`; absent where there are none',
    ),
  manifests: z.int(),
  items: z.array(itemSchema).describe('The first of them: tags, those that belong to a manifest, then manifests'),
  truncated: z.boolean().describe('There are more than are listed'),
};

export const planSchema = z.strictObject({
  ...listSchema,
  next: z.optional(z.string()).describe('Of a large repository: where the next page begins. Left out on the last one'),
  bytes: z.optional(z.int()).describe('That come back once the trash is emptied: what nothing else here or elsewhere needs'),
  waiting: z
    .int()
    .describe(
      'Manifests that the rules would take, and that are left alone for now: for some hours after one was pushed without a tag, or a client that may push was told that it is here. They go with a later run',
    ),
  waitingUntil: z.optional(z.iso.datetime()).describe('By then all of these may go. Absent where there are none'),
  note: z.optional(z.string()).describe('The same in words, where something is left alone'),
});

export const deletedSchema = z.strictObject({
  ...listSchema,
  remaining: z.int().describe('Of the plan, what is there still: run it again'),
  unfinished: z
    .optional(z.literal(true))
    .describe('Of a large repository: there are more pages. Run it again, or leave it to the schedule'),
});

/** What a lease keeps for now, so that a list that is short or empty says why. */
export function shownWaiting({ waiting }: Pick<Plan, 'waiting'>, leaseSeconds: number) {
  if (waiting.length === 0) return { waiting: 0 };
  const until = timeOf(waiting.reduce((latest, { leasedUntil }) => Math.max(latest, leasedUntil), 0));
  const what = waiting.length === 1 ? '1 more manifest is' : `${waiting.length} more manifests are`;
  const hours = Math.round((leaseSeconds / 3600) * 10) / 10;
  const note = `${what} left alone until ${until}: what was pushed without a tag, or a client was told is here, is kept for ${hours} hours`;
  return { waiting: waiting.length, waitingUntil: until, note };
}

const priority = z.string().regex(/^\d{1,15}$/);
const placeSchema = z.strictObject({
  after: z.string().max(256),
  known: z.strictObject({
    thresholds: z.record(priority, z.nullable(z.strictObject({ time: z.int(), digest: z.string().max(256) }))),
    versions: z.record(priority, z.array(z.string().max(128)).max(VERSIONS_MAX)),
    scanned: z.nullable(z.string().max(256)),
  }),
});

/** What a page answered as `next`; `null` for the first one. @throws request-invalid */
export function placeOf(text: string | undefined): Place | null {
  if (text === undefined) return null;
  const place = placeSchema.safeParse(jsonOf(text));
  if (place.success) return place.data as Place;
  throw new Refusal('request-invalid', { message: 'body.after: is no `next` of a page before' });
}

/** Items of an answer. */
const ITEMS_MAX = 1000;

export function shownList({ tags, attached, manifests }: Pick<Plan, 'tags' | 'attached' | 'manifests'>) {
  const named = [...tags.slice(0, ITEMS_MAX), ...attached.slice(0, Math.max(0, ITEMS_MAX - tags.length))];
  const items = withinAnswer([
    ...named.map((item) => shownItem(item, item.tag)),
    ...manifests.slice(0, Math.max(0, ITEMS_MAX - named.length)).map((item) => shownItem(item, null)),
  ]);
  return {
    tags: tags.length,
    ...(attached.length > 0 ? { attached: attached.length } : {}),
    manifests: manifests.length,
    items,
    truncated: items.length < tags.length + attached.length + manifests.length,
  };
}

function shownItem(
  { digest, rule, reason }: DoomedTag | DoomedAttached | DoomedManifest,
  tag: string | null,
): z.output<typeof itemSchema> {
  return { tag, digest, rule, reason };
}

export function shownReport(
  { at, by, tags, manifests, remaining, failed }: Report,
  tellsWho: boolean,
): z.output<typeof reportSchema> {
  return { at: timeOf(at), by: tellsWho ? by : null, tags, manifests, remaining, failed };
}
