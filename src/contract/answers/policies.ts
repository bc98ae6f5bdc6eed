/** Schemas of the answers that belong to `../policies.ts`. The Worker does not contain them. */

import * as z from 'zod';
import { ACTIONS } from '../../vocabulary/actions.ts';
import { sourceSchema, statementSchema, warningsSchema } from './statements.ts';

const warnings = warningsSchema.describe(
  'Likely mistakes: principals that do not exist or that you may not know of (a name means the account that has it ' +
    'when the policy is saved), and push without pull, with which docker does not work',
);

export const policySchema = z.strictObject({ statements: z.array(statementSchema), warnings });

const right = z.strictObject({ action: z.enum(ACTIONS), tags: z.optional(z.array(z.string())) });

export const policyPreviewSchema = z.strictObject({
  changes: z.array(
    z.strictObject({ principal: z.string(), repository: z.string(), gains: z.array(right), loses: z.array(right) }),
  ),
  truncated: z.boolean().describe('The list is incomplete: there was more to compare than one request may'),
  warnings,
});

export const explanationSchema = z.strictObject({
  allowed: z.boolean(),
  reason: z.string().describe('The decision in words'),
  decidedBy: z.nullable(sourceSchema).describe('The statement that decides; `null` if none matches'),
  matched: z.array(sourceSchema).describe('All statements that match'),
  limitedBy: z.nullable(z.string()).describe('The key whose own statements do not allow this'),
  grantedBy: z
    .array(z.string())
    .describe(
      'Who could grant the missing right. `administrator` and `owner of acme` stand for people whose names you may not know',
    ),
  partial: z
    .optional(z.literal(true))
    .describe(
      'The answer considers only the name and what you may know: not whether the principal exists, or what else it belongs to',
    ),
});
