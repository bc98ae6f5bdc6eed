/**
 * ECR operations on the registry: the login, and reads of settings that this registry does not have, which are answered
 * truthfully.
 */
import * as z from 'zod';
import { createLoginPassword } from '../../app/login.ts';
import { EcrError } from './errors.ts';
import { matching, maxResults, nextToken, PAGE, registryId } from './fields.ts';
import { type EcrCall, type EcrOperation, ecrOperation } from './operation.ts';

const NOTHING = z.object({});
const rulePrefix = '^([a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*\\/?|ROOT)$';
const cachePrefix = matching(rulePrefix, { min: 2, max: 30 });
const templatePrefix = matching(rulePrefix, { min: 1, max: 256 });

const replicationConfiguration = z.object({
  rules: z
    .array(
      z.object({
        destinations: z
          .array(z.object({ region: matching('[0-9a-z-]{2,25}', { min: 2, max: 25 }), registryId }))
          .min(0)
          .max(100),
        repositoryFilters: z.optional(
          z
            .array(
              z.object({
                filter: matching('^(?:[a-z0-9]+(?:[._-][a-z0-9]*)*/)*[a-z0-9]*(?:[._-][a-z0-9]*)*$', { min: 2, max: 256 }),
                filterType: z.enum(['PREFIX_MATCH']),
              }),
            )
            .min(1)
            .max(100),
        ),
        deleteReplication: z.optional(z.object({ enabled: z.boolean() })),
      }),
    )
    .min(0)
    .max(25),
});

/** Returns an operation that reads nothing and answers with a fixed value. */
function reading<S extends z.ZodType>(input: S, answer: (call: EcrCall, given: z.output<S>) => object): EcrOperation {
  return ecrOperation({ input, cost: 'read', answer });
}

/** Returns an operation on something that this registry never has. @param type the error type without the ending `Exception` */
function missing(input: z.ZodType, type: string, message: (registryId: string) => string): EcrOperation {
  return reading(input, (call) => {
    throw new EcrError(type, message(call.registryId));
  });
}

const noPolicy = (id: string) => `Registry policy does not exist in the registry with id '${id}'`;
const noSigning = (id: string) => `Signing configuration does not exist in the registry with id '${id}'`;

export const registryOperations: Readonly<Record<string, EcrOperation>> = {
  GetAuthorizationToken: ecrOperation({
    input: z.object({ registryIds: z.optional(z.array(registryId).min(1).max(10)) }),
    cost: 'write',
    async answer(call) {
      const { token, expiresAt } = await createLoginPassword(call, undefined);
      // The base64 text of `AWS:` and a JWT contains neither `+` nor `/`, which one release of Terraform could not decode.
      const authorizationToken = btoa(`AWS:${token}`);
      return { authorizationData: [{ authorizationToken, expiresAt, proxyEndpoint: call.origin }] };
    },
  }),

  DescribeRegistry: reading(NOTHING, (call) => ({
    registryId: call.registryId,
    replicationConfiguration: { rules: [] },
  })),

  PutReplicationConfiguration: reading(z.object({ replicationConfiguration }), (_, { replicationConfiguration: wanted }) => {
    if (wanted.rules.length === 0) return { replicationConfiguration: { rules: [] } };
    throw new EcrError('Validation', 'this registry does not replicate images: nothing was changed');
  }),

  GetRegistryScanningConfiguration: reading(NOTHING, (call) => ({
    registryId: call.registryId,
    scanningConfiguration: { scanType: 'BASIC', rules: [] },
  })),

  GetRegistryPolicy: missing(NOTHING, 'RegistryPolicyNotFound', noPolicy),
  DeleteRegistryPolicy: missing(NOTHING, 'RegistryPolicyNotFound', noPolicy),
  GetSigningConfiguration: missing(NOTHING, 'SigningConfigurationNotFound', noSigning),
  DeleteSigningConfiguration: missing(NOTHING, 'SigningConfigurationNotFound', noSigning),

  DescribePullThroughCacheRules: reading(
    z.object({
      registryId: z.optional(registryId),
      ecrRepositoryPrefixes: z.optional(z.array(cachePrefix).min(1).max(100)),
      ...PAGE,
    }),
    (call, { ecrRepositoryPrefixes }) => {
      const prefix = ecrRepositoryPrefixes?.[0];
      if (prefix === undefined) return { pullThroughCacheRules: [] };
      throw noCacheRule(call.registryId, prefix);
    },
  ),

  DeletePullThroughCacheRule: reading(
    z.object({ registryId: z.optional(registryId), ecrRepositoryPrefix: cachePrefix }),
    (call, { ecrRepositoryPrefix }) => {
      throw noCacheRule(call.registryId, ecrRepositoryPrefix);
    },
  ),

  DescribeRepositoryCreationTemplates: reading(
    z.object({ prefixes: z.optional(z.array(templatePrefix)), ...PAGE }),
    (call) => ({ registryId: call.registryId, repositoryCreationTemplates: [] }),
  ),

  DeleteRepositoryCreationTemplate: missing(
    z.object({ prefix: templatePrefix }),
    'TemplateNotFound',
    (id) => `The repository creation template does not exist in the registry with id '${id}'`,
  ),

  ListPullTimeUpdateExclusions: reading(z.object(PAGE), () => ({ pullTimeUpdateExclusions: [] })),

  ListReplicationBackfills: reading(
    z.object({
      registryId: z.optional(registryId),
      nextToken: z.optional(nextToken),
      maxResults: z.optional(maxResults.max(50)),
    }),
    (call) => ({ registryId: call.registryId, backfills: [] }),
  ),
};

function noCacheRule(id: string, prefix: string): EcrError {
  const text = `The pull through cache rule with prefix '${prefix}' does not exist in the registry with id '${id}'`;
  return new EcrError('PullThroughCacheRuleNotFound', text);
}
