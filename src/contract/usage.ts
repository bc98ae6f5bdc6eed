/** Schemas of usage, quotas and numbers of pulls in the management API. */
import * as z from 'zod';
import { isDigest } from '../oci/digest.ts';
import { isTag } from '../oci/reference.ts';
import { PAGE_QUERY } from './pages.ts';

export const bytes = z.int().min(0);
export const maxBytes = z.nullable(bytes).describe('Bytes that may be stored; null: no limit');
export const warnPercent = z
  .int()
  .min(1)
  .max(100)
  .describe('When usage exceeds this percentage of the limit, the event `quota.warned` is recorded once');

export const usageQuery = z.strictObject(PAGE_QUERY);
export const quotaChange = z.strictObject({
  maxBytes,
  warnPercent: z
    .optional(warnPercent)
    .describe(
      'When usage exceeds this percentage of the limit, the event `quota.warned` is recorded once. Unchanged if left ' +
        'out; 80 at first',
    ),
});

export const pullsQuery = z
  .strictObject({
    tag: z.optional(z.string().refine(isTag, 'must be a tag')).describe('Only pulls of the image that this tag names now'),
    digest: z
      .optional(z.string().refine(isDigest, 'must be sha256: and 64 hex digits, or sha512: and 128'))
      .describe('Only pulls of this image'),
  })
  .refine(({ tag, digest }) => tag === undefined || digest === undefined, 'must have tag or digest, not both');
