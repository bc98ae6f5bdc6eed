/** Schemas of tags in the management API: the history of a tag, the rollback of a tag, and immutable tags. */
import * as z from 'zod';
import { isDigest } from '../oci/digest.ts';

import { EXCLUSION, EXCLUSIONS_MAX, MUTABILITIES } from '../vocabulary/mutability.ts';
import { PAGE_QUERY } from './pages.ts';

const digest = z.string().refine(isDigest, 'must be sha256: and 64 hex digits, or sha512: and 128');

export const historyQuery = z.strictObject({
  ...PAGE_QUERY,
  last: z.optional(z.string().regex(/^[1-9]\d{0,14}$/, 'must be `next` of the page before')),
});

export const rollback = z
  .strictObject({
    point: z.optional(z.int().min(1)).describe('A point of the history: the tag names what it named from there on'),
    digest: z.optional(digest).describe('A digest that the tag has named before'),
  })
  .refine((sent) => (sent.point === undefined) !== (sent.digest === undefined), 'must have either point or digest');

export const tagMutability = z.strictObject({
  imageTagMutability: z
    .enum(MUTABILITIES)
    .describe('Whether tags can be moved and deleted. With an exclusion, the opposite holds for tags that match a filter'),
  imageTagMutabilityExclusionFilters: z
    .optional(
      z
        .array(
          z.strictObject({
            filterType: z.optional(z.literal('WILDCARD')),
            filter: z.string().regex(EXCLUSION, 'must have letters, digits, ".", "_", "-" and "*" only'),
          }),
        )
        .max(EXCLUSIONS_MAX),
    )
    .describe(
      `Tags for which the opposite holds: 1 to ${EXCLUSIONS_MAX} filters with …_WITH_EXCLUSION, none otherwise. \`*\` ` +
        `stands for any run of characters`,
    ),
});
