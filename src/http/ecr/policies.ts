/** Operations on the policies of repositories. */
import * as z from 'zod';
import { deletePolicyText, getPolicyText, setPolicyText } from '../../app/ecr-policies.ts';
import { parseRepositoryName } from '../../oci/name.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';
import { EcrError, repositoryText } from './errors.ts';
import { REPOSITORY } from './fields.ts';
import { type EcrCall, type EcrOperation, ecrOperation } from './operation.ts';
import { invalidParameter } from './validation.ts';

function shown({ registryId }: EcrCall, repositoryName: string, policyText: string | null) {
  if (policyText !== null) return { registryId, repositoryName, policyText };
  const where = repositoryText(registryId, repositoryName);
  throw new EcrError('RepositoryPolicyNotFound', `Repository policy does not exist for ${where}`);
}

export const policyOperations: Readonly<Record<string, EcrOperation>> = {
  SetRepositoryPolicy: ecrOperation({
    input: z.object({ ...REPOSITORY, policyText: z.string().max(10240), force: z.optional(z.boolean()) }),
    cost: 'write',
    async answer(call, { repositoryName: name, policyText: text, force = false }) {
      try {
        await setPolicyText(call, parseRepositoryName(name), { text, force });
      } catch (error) {
        if (!isRefusal(error, 'request-invalid')) throw error;
        throw invalidParameter('PolicyText', error.message);
      }
      return shown(call, name, text);
    },
  }),

  GetRepositoryPolicy: ecrOperation({
    input: z.object(REPOSITORY),
    cost: 'read',
    async answer(call, { repositoryName: name }) {
      return shown(call, name, await getPolicyText(call, parseRepositoryName(name)));
    },
  }),

  DeleteRepositoryPolicy: ecrOperation({
    input: z.object(REPOSITORY),
    cost: 'write',
    async answer(call, { repositoryName: name }) {
      return shown(call, name, await deletePolicyText(call, parseRepositoryName(name)));
    },
  }),
};
