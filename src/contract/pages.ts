/** Pages of lists: how a client asks for one, and what it gets. */
import * as z from 'zod';

export const PAGE_DEFAULT = 100;
const PAGE_MAX = 1000;

export const PAGE_QUERY = {
  n: z.optional(z.coerce.number().int().min(1).max(PAGE_MAX)).describe(`Items a page, ${PAGE_DEFAULT} by default`),
  last: z.optional(z.string().max(512)).describe('`next` of the page before'),
};

/** A page: its items, and the cursor of the next one. */
export function pageSchema<T extends z.ZodType>(item: T) {
  return z.strictObject({
    items: z.array(item),
    next: z.nullable(z.string()).describe('`last` of the next page; null at the end'),
  });
}
