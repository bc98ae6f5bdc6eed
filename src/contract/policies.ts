/** Schemas of policies, and of the explanation why a caller has a right, in the management API. */
import * as z from 'zod';
import { isRepositoryName } from '../oci/name.ts';
import { isTag } from '../oci/reference.ts';
import { ACTIONS } from '../vocabulary/actions.ts';
import { isPrincipal } from '../vocabulary/names.ts';
import { identityStatements, repositoryStatements } from './statements.ts';

export const policyQuery = z.strictObject({
  dryRun: z
    .optional(z.enum(['true', 'false']))
    .describe('`true`: saves nothing and answers with the rights that callers would gain and lose'),
});

/** A policy in the notation of AWS. Its conversion refuses members that it does not know. */
const awsPolicy = z
  .looseObject({})
  .refine((value) => Object.hasOwn(value, 'Statement'), { abort: true })
  .describe('The policy as JSON of AWS IAM, with actions of ECR. `docs/ecr.md` says what can be expressed');

export const identityPolicy = z.union([z.strictObject({ statements: identityStatements }), awsPolicy]);
export const repositoryPolicy = z.union([z.strictObject({ statements: repositoryStatements }), awsPolicy]);

/** `statements`, or the document of AWS. */
export type SentPolicy = z.output<typeof identityPolicy> | z.output<typeof repositoryPolicy>;

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
