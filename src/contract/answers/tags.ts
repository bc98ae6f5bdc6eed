/** Schemas of the answers that belong to `../tags.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { CAUSES } from '../../vocabulary/causes.ts';

export const historyPoint = z.strictObject({
  point: z.int().describe('Numbers the changes of this tag, from 1'),
  at: z.iso.datetime(),
  digest: z.nullable(z.string()).describe('The digest that the tag names from this point on; null: the tag was deleted'),
  previous: z.nullable(z.string()).describe('The digest that it named before'),
  cause: z
    .nullable(z.enum(CAUSES))
    .describe(
      '`push`, `rollback`, `restore` from the trash, `deletion` by somebody, or `lifecycle`: a rule. Null for early changes',
    ),
  present: z.boolean().describe('True if the image of `digest` still exists, so that the tag can be rolled back to it'),
  actor: z
    .nullable(z.strictObject({ subject: z.string(), key: z.nullable(z.string()) }))
    .describe('Who changed it, and with which access key. Null unless you may push here'),
});

export const rolledBack = z.strictObject({ tag: z.string(), digest: z.string() });
