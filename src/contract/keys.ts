/** Schemas of access keys in the management API. */
import * as z from 'zod';
import { PAGE_QUERY } from './pages.ts';
import { identityStatements, statementSchema, warningsSchema } from './statements.ts';

/** The number of seconds for which a replaced key keeps working: the default and the maximum. */
const OVERLAP_DEFAULT = 24 * 60 * 60;
const OVERLAP_MAX = 7 * OVERLAP_DEFAULT;

const keyName = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .refine((text) => !/[\p{Cc}\p{Cf}\p{Cs}]/u.test(text), 'must not have invisible characters')
  .describe('What the key is for');

const keyStatements = z
  .optional(z.nullable(identityStatements))
  .describe('Limits the key: it may do what both its owner and these statements allow. `null`: no limit');

/** The range depends on settings, so the operation checks it. `minimum` is for the documentation only. */
const keyDays = z
  .optional(z.int().meta({ minimum: 1 }))
  .describe('Days that the key works, counted from its creation, up to `KEY_MAX_DAYS`');

export const newKey = z.strictObject({ name: keyName, statements: keyStatements, days: keyDays });

export const keyChange = z.strictObject({ name: z.optional(keyName), statements: keyStatements, days: keyDays });

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

export const keyQuery = z.strictObject({
  ...PAGE_QUERY,
  owner: z
    .optional(z.string().max(255))
    .describe(
      'Lists the keys of this user or robot. Owners of an organization see the keys of its robots; administrators see all keys',
    ),
});

export const keyRevocation = z.strictObject({
  successors: z
    .optional(z.literal('keep'))
    .describe('`keep`: keys that replaced this one keep working. A key that revokes itself cannot keep them'),
  made: z
    .optional(z.literal('revoke'))
    .describe(
      '`revoke`: also revokes the keys that were created with this one, directly or indirectly, as far as they are ' +
        'yours or belong to robots of organizations you own',
    ),
});

export const keyRotation = z.strictObject({
  overlap: z.int().min(0).max(OVERLAP_MAX).default(OVERLAP_DEFAULT).describe('Seconds until the old key stops working'),
  days: keyDays.describe(
    'Days that the new key works. Default: as many as the old key was created for. Not allowed if a key rotates itself',
  ),
});
export type NewKey = z.output<typeof newKey>;
export type KeyChange = z.output<typeof keyChange>;
export type KeyRevocation = z.output<typeof keyRevocation>;
export type KeyRotation = z.output<typeof keyRotation>;
