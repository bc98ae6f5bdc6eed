/**
 * Schemas of lifecycle policies in the management API. A schema checks each field by itself. `src/registry/lifecycle/policy.ts`
 * checks the fields in combination.
 */
import * as z from 'zod';
import { isDigest } from '../oci/digest.ts';
import {
  ACTION_TYPES,
  COUNT_TYPES,
  RULE_DESCRIPTION_MAX,
  RULES_MAX,
  TAG_LIST_MAX,
  TAG_STATUSES,
  TAG_TEXT_MAX,
  VERSION_RANGE_MAX,
  VERSIONS_MAX,
} from '../vocabulary/lifecycle.ts';

const UNSUPPORTED = 'storage classes are not supported';

/**
 * ECR's words for storage classes, which are not supported. A policy with one of these words gets an error message that says
 * so.
 */
const STORAGE_CLASS_WORDS = ['storageClass', 'targetStorageClass', 'transition', 'sinceImageTransitioned'];

/** Returns the error message for an issue of zod, or `undefined` to keep zod's own message. */
function messageFor(issue: { code?: string | undefined; keys?: unknown; input?: unknown }): string | undefined {
  const given = issue.code === 'unrecognized_keys' ? (issue.keys as unknown[]) : [issue.input];
  return given.some((one) => STORAGE_CLASS_WORDS.includes(one as string)) ? UNSUPPORTED : undefined;
}

const tagList = z.array(z.string().min(1).max(TAG_TEXT_MAX)).min(1).max(TAG_LIST_MAX);

const selection = z.strictObject(
  {
    tagStatus: z
      .enum(TAG_STATUSES)
      .describe('`tagged`: tags that match the patterns or prefixes. `untagged`: manifests without a tag. `any`: all of them'),
    tagPatternList: z
      .optional(tagList)
      .describe('`*` stands for any run of characters, up to four times. The tags of an image must match every entry.'),
    tagPrefixList: z.optional(tagList).describe('Beginnings of tags'),
    tagSemverRange: z
      .optional(z.string().min(1).max(VERSION_RANGE_MAX))
      .describe(
        'Only in rules that keep: tags that are versions in this range, like `^1.2 || >=2`. With `countNumber`, the ' +
          'highest of them',
      ),
    countType: z
      .optional(z.enum(COUNT_TYPES, { error: messageFor }))
      .describe(
        '`sinceImagePulled`: counts from the last pull or check (HEAD) of the image. Pulling a part of an index counts ' +
          'for the index, and pulling an image counts for its referrers. An image that was never pulled nor checked ' +
          'counts from its push',
      ),
    countUnit: z.optional(z.enum(['days'])).describe('Needed with `sinceImagePushed` and `sinceImagePulled`'),
    countNumber: z
      .optional(z.int().min(1))
      .describe('A number of images with `imageCountMoreThan`, and a number of days otherwise'),
  },
  { error: messageFor },
);

const rule = z.strictObject(
  {
    rulePriority: z.int().min(1).describe('Rules are tried in the order of their priorities, the lowest number first'),
    description: z.optional(
      z
        .string()
        .max(RULE_DESCRIPTION_MAX)
        .refine((text) => !/\p{Cc}/u.test(text), 'must be one line of text'),
    ),
    selection,
    action: z
      .strictObject(
        {
          type: z.enum(ACTION_TYPES, { error: messageFor }),
          includeImmutable: z.optional(z.boolean()).describe('Only in rules that expire: immutable tags are deleted, too'),
        },
        { error: messageFor },
      )
      .describe('`keep` wins over every rule that expires, whatever its priority'),
  },
  { error: messageFor },
);

export const lifecyclePolicy = z.strictObject({ rules: z.array(rule).min(1).max(RULES_MAX) });

/**
 * The maximum number of characters of a preview's cursor. The cursor contains the versions that the rules keep: up to a
 * thousand for each of five rules.
 */
const CURSOR_MAX = 200_000;

export const lifecyclePreview = z.strictObject({
  policy: z.optional(lifecyclePolicy).describe('The policy to try; the saved one if left out'),
  after: z.optional(z.string().max(CURSOR_MAX)).describe('`next` of the previous page'),
});

const priority = z.string().regex(/^\d{1,15}$/);

/** The content of a preview's cursor, as JSON. */
export const lifecyclePreviewCursor = z.strictObject({
  after: z.string().max(256),
  known: z.strictObject({
    thresholds: z.record(priority, z.nullable(z.strictObject({ time: z.int(), digest: z.string().refine(isDigest) }))),
    versions: z.record(priority, z.array(z.string().max(128)).max(VERSIONS_MAX)),
    scanned: z.nullable(z.string().max(256)),
  }),
});
