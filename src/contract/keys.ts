/** Schemas of access keys in the management API. */
import * as z from 'zod';
import { PAGE_QUERY } from './pages.ts';
import { limitStatements } from './statements.ts';

/** The default and the maximum number of seconds for which a replaced key remains valid. */
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
  .optional(z.nullable(limitStatements))
  .describe('Limits the key: it may do what both its owner and these statements allow. `null`: no limit');

/** The maximum depends on settings, so the operation checks it. `minimum` is only for the documentation. */
const keyDays = z
  .optional(z.int().meta({ minimum: 1 }))
  .describe('Days that the key works, counted from its creation, up to `KEY_MAX_DAYS`');

export const newKey = z.strictObject({ name: keyName, statements: keyStatements, days: keyDays });

export const keyChange = z.strictObject({ name: z.optional(keyName), statements: keyStatements, days: keyDays });

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
