/** Schemas of pagination: the query parameters of a list, and the page in its answer. */
import * as z from 'zod';

export const PAGE_DEFAULT = 100;
const PAGE_MAX = 1000;

export const PAGE_QUERY = {
  n: z.optional(z.coerce.number().int().min(1).max(PAGE_MAX)).describe(`Items a page, ${PAGE_DEFAULT} by default`),
  last: z.optional(z.string().max(512)).describe('`next` of the page before'),
};

/** The schema of a page: its items, and the cursor of the next page. */
export function pageSchema<T extends z.ZodType>(item: T) {
  return z.strictObject({
    items: z.array(item),
    next: z.nullable(z.string()).describe('`last` of the next page; null at the end'),
  });
}
