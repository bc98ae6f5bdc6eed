/** Schemas of stars and comments in the management API. */
import * as z from 'zod';
import { PAGE_QUERY } from './pages.ts';

/** The maximum number of UTF-8 bytes of a comment. */
export const COMMENT_MAX_BYTES = 4096;

const bytesOf = (text: string) => new TextEncoder().encode(text).byteLength;

export const starsSchema = z.strictObject({
  stars: z.int().describe('The number of people who have starred the repository'),
  starred: z.boolean().describe('True if you are one of them'),
});

export const commentChange = z.strictObject({
  text: z
    .string()
    .max(COMMENT_MAX_BYTES)
    .refine((text) => text.trim() !== '', 'must have some text')
    .refine((text) => bytesOf(text) <= COMMENT_MAX_BYTES, `must have up to ${COMMENT_MAX_BYTES} bytes`)
    .describe('Markdown'),
});

export const commentSchema = z.strictObject({
  id: z.int().describe('Numbers the comments of the repository, from 1'),
  author: z.nullable(z.string()).describe('Who wrote it. Null if that person may not pull any more, and you may not push here'),
  text: z.string().describe('Markdown'),
  createdAt: z.iso.datetime(),
  editedAt: z.nullable(z.iso.datetime()),
});

export const commentQuery = z.strictObject({
  ...PAGE_QUERY,
  last: z.optional(z.string().regex(/^[1-9]\d{0,14}$/, 'must be `next` of the page before')),
});
