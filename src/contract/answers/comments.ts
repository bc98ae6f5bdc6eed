/** Schemas of the answers that belong to `../comments.ts`. The Worker does not contain them. */
import * as z from 'zod';

export const starsSchema = z.strictObject({
  stars: z.int().describe('The number of people who have starred the repository'),
  starred: z.boolean().describe('True if you are one of them'),
});

export const commentSchema = z.strictObject({
  id: z.int().describe('Numbers the comments of the repository, from 1'),
  author: z.nullable(z.string()).describe('Who wrote it. Null if that person may not pull any more, and you may not push here'),
  text: z.string().describe('Markdown'),
  createdAt: z.iso.datetime(),
  editedAt: z.nullable(z.iso.datetime()),
});
