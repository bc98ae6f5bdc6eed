/** Schemas of pagination: the query parameters of a list, and the page in the answer. */
import * as z from 'zod';

const PAGE_DEFAULT = 100;
const PAGE_MAX = 1000;

export const PAGE_QUERY = {
  n: z.coerce.number().int().min(1).max(PAGE_MAX).default(PAGE_DEFAULT).describe('The number of items on a page'),
  last: z.optional(z.string().max(512)).describe('`next` of the previous page'),
};

/** The schema of a page: its items, and the cursor of the next page. */
export function pageSchema<T extends z.ZodType>(item: T) {
  return z.strictObject({
    items: z.array(item),
    next: z.nullable(z.string()).describe('Send it as `last` to get the next page. `null`: this is the last page'),
  });
}
