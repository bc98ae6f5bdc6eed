/** Schemas of tags and images in the management API: lists and details. */
import * as z from 'zod';
import { isDigest } from '../oci/digest.ts';
import {
  FILE_FILTER_MAX,
  FILTER_MAX,
  IMAGES_DEFAULT,
  IMAGES_MAX,
  SCANNED_IMAGES_MAX,
  SCANNED_TAGS_MAX,
  SORTED_VERSIONS_MAX,
  TAG_ORDERS,
} from '../vocabulary/images.ts';

/** The cursor of a list of tags: the time of the push in seconds, and the tag. */
export const TAG_PLACE = /^(\d{1,15}):([A-Za-z0-9_][A-Za-z0-9._-]{0,127})$/;

const n = z.optional(z.coerce.number().int().min(1).max(IMAGES_MAX)).describe(`Items a page, ${IMAGES_DEFAULT} by default`);

export const tagListQuery = z.strictObject({
  n,
  last: z.optional(z.string().regex(TAG_PLACE, 'must be `next` of the page before')).describe('`next` of the page before'),
  filter: z
    .optional(z.string().max(FILTER_MAX))
    .describe(
      'A part of the name; upper and lower case are the same, and no character stands for others. One request looks at ' +
        `${SCANNED_TAGS_MAX} tags: a page may be short before the end`,
    ),
  sort: z
    .optional(z.enum(TAG_ORDERS))
    .describe(
      '`newest` (the default) and `oldest` sort by the last push. `version`: the highest first, then the tags that are no ' +
        `versions; in a repository with up to ${SORTED_VERSIONS_MAX} tags`,
    ),
  attached: z
    .optional(z.enum(['true', 'false']))
    .describe(
      '`false`: without the tags of signatures and attestations, `sha256-…` with `.sig`, `.att`, `.sbom` or nothing behind ' +
        `it. One request looks at ${SCANNED_TAGS_MAX} tags`,
    ),
});

export const imageListQuery = z.strictObject({
  n,
  last: z.optional(z.string().refine(isDigest, 'must be `next` of the page before')).describe('`next` of the page before'),
  untagged: z
    .optional(z.enum(['true', 'false']))
    .describe(
      `\`true\`: only images that no tag names. One request looks at ${SCANNED_IMAGES_MAX} images: a page may be short ` +
        'before the end',
    ),
});

/** The request for an image has no parameters. */
export const imageQuery = z.strictObject({});

export const fileChangesQuery = z.strictObject({
  from: z
    .string()
    .max(256)
    .describe('The tag or the digest of the first image. Of an index, give the digest of one of its images'),
  to: z.string().max(256).describe('The tag or the digest of the second image'),
  filter: z.optional(z.string().max(FILE_FILTER_MAX)).describe('A part of the path; upper and lower case are the same'),
});
