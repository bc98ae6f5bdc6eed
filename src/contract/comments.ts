/** Schemas of stars and comments in the management API. */
import * as z from 'zod';
import { PAGE_QUERY } from './pages.ts';

/** The maximum number of UTF-8 bytes of a comment. */
export const COMMENT_MAX_BYTES = 4096;

const bytesOf = (text: string) => new TextEncoder().encode(text).byteLength;

export const commentChange = z.strictObject({
  text: z
    .string()
    .max(COMMENT_MAX_BYTES)
    .refine((text) => text.trim() !== '', 'must have some text')
    .refine((text) => bytesOf(text) <= COMMENT_MAX_BYTES, `must have up to ${COMMENT_MAX_BYTES} bytes`)
    .describe('Markdown'),
});

export const commentQuery = z.strictObject({
  ...PAGE_QUERY,
  last: z.optional(z.string().regex(/^[1-9]\d{0,14}$/, 'must be `next` of the page before')),
});
