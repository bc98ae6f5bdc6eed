/** Schemas of the answers that belong to `../repositories.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { visibility } from '../repositories.ts';

export const repositorySummary = z.strictObject({
  name: z.string(),
  visibility,
  description: z.string(),
  createdAt: z.iso.datetime(),
  lastPushedAt: z.nullable(z.iso.datetime()).describe('The last push of a tag that it has. Null if it has no tag'),
  stars: z.int().describe('The number of people who have starred it'),
  bytes: z
    .int()
    .describe('Bytes of its manifests, and of the layers and configs that they reference, each once. The trash does not count'),
  tags: z.int().describe('All tags, those of signatures and the like included'),
  manifests: z.int().describe('All manifests: images, the parts of indexes, signatures and other referrers'),
});

export const repository = repositorySummary.extend({ overview: z.string() });
