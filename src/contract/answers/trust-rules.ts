/** Schemas of the answers that belong to `../trust-rules.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { ACTIONS } from '../../vocabulary/actions.ts';
import { warningsSchema } from './statements.ts';

const shownConditions = z.record(z.string(), z.union([z.string(), z.array(z.string())]));

export const trustRuleSchema = z.strictObject({
  name: z.string(),
  principal: z.string().describe('The name of its jobs in policies and in the audit log'),
  issuer: z.string(),
  audience: z.string(),
  claims: shownConditions,
  statements: z.array(
    z.strictObject({
      effect: z.enum(['allow', 'deny']),
      actions: z.array(z.enum(ACTIONS)),
      repositories: z.array(z.string()),
      tags: z.optional(z.array(z.string())),
      when: z.optional(shownConditions),
    }),
  ),
  description: z.string(),
  lifetime: z.int().describe('Seconds that a login lasts'),
  disabled: z.boolean(),
  createdAt: z.iso.datetime(),
});

export const savedTrustRuleSchema = trustRuleSchema.extend({
  warnings: warningsSchema.describe(
    'Likely mistakes in the statements. Example: push without pull, with which docker does not work',
  ),
});
