/** Schemas of policies, and of the explanation of a right, in the management API. */
import * as z from 'zod';
import { isRepositoryName } from '../oci/name.ts';
import { isTag } from '../oci/reference.ts';
import { ACTIONS } from '../vocabulary/actions.ts';
import { isPrincipal } from '../vocabulary/names.ts';
import { identityStatements, repositoryStatements, sourceSchema, statementSchema, warningsSchema } from './statements.ts';

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

export const policyQuery = z.strictObject({
  dryRun: z
    .optional(z.enum(['true', 'false']))
    .describe('`true`: saves nothing and answers with the rights that callers would gain and lose'),
});

export const identityPolicy = z.strictObject({ statements: identityStatements });
export const repositoryPolicy = z.strictObject({ statements: repositoryStatements });

export const explainQuery = z.strictObject({
  principal: z
    .optional(
      z
        .string()
        .refine(
          (text) => isPrincipal(text) || /^(?:key|ci):/.test(text),
          'must be user:NAME, robot:ORGANIZATION/NAME, team:ORGANIZATION/NAME, organization:NAME, key:ID, ci:NAME or *',
        ),
    )
    .describe('Default: you, with the credential of this request. `*` is an anonymous caller'),
  action: z.enum(ACTIONS),
  repository: z.string().refine(isRepositoryName, 'must be a repository name, such as acme/api'),
  tag: z.optional(z.string().refine(isTag, 'must be a tag')),
  claims: z.optional(z.string().max(4000)).describe("With a `ci:` principal: the token's claims, as a JSON object"),
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
