/** Schemas of the answers that belong to `../keys.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { statementSchema, warningsSchema } from './statements.ts';

export const keySchema = z.strictObject({
  id: z.string().describe('20 capital letters and digits'),
  name: z.string(),
  owner: z.string().describe('`user:…` or `robot:…/…`'),
  statements: z.nullable(z.array(statementSchema)).describe('`null`: not narrowed'),
  createdAt: z.iso.datetime(),
  createdBy: z.string().describe('The subject that created the key'),
  madeWith: z
    .nullable(z.string())
    .describe('The id of the access key that created this one. `null`: unknown, or you use a narrowed key'),
  expiresAt: z.iso.datetime(),
  revokedAt: z.nullable(z.iso.datetime()),
  lastUsedOn: z.nullable(z.iso.date()).describe('The day of the last use, in UTC'),
  state: z.enum(['active', 'expired', 'revoked']),
});

const keyWarnings = warningsSchema.describe(
  'Likely mistakes in the statements. Example: push without pull, with which docker does not work',
);

/** The answer to a change of a key. */
export const changedKeySchema = keySchema.extend({ warnings: keyWarnings });

export const createdKeySchema = z.strictObject({
  key: keySchema,
  warnings: keyWarnings,
  secret: z.string().describe('Shown only once. The password for docker, and the bearer token of this API'),
  aws: z.strictObject({ accessKeyId: z.string(), secretAccessKey: z.string() }).describe('The same key for AWS programs'),
  login: z.string().describe('A command to run. It asks for the secret'),
});
