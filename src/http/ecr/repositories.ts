/** Operations on repositories. */
import * as z from 'zod';
import { deleteRepository, getRepository, type ListedRepository, putRepository } from '../../app/repositories.ts';
import { listRepositories } from '../../app/repository-lists.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { parseRepositoryName } from '../../oci/name.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { PAGE, REPOSITORY, registryId, repositoryName } from './fields.ts';
import { type EcrCall, type EcrOperation, ecrOperation } from './operation.ts';
import { invalidParameter } from './validation.ts';

/** The number of repositories of a page, if the client asks for no other number. */
const PAGE_DEFAULT = 100;

/** The ARN of a repository, with the region of the caller. */
export function repositoryArn({ region, registryId }: EcrCall, name: string): string {
  return `arn:aws:ecr:${region}:${registryId}:repository/${name}`;
}

function shownRepository(call: EcrCall, { name, createdAt }: Pick<ListedRepository, 'name' | 'createdAt'>) {
  return {
    repositoryArn: repositoryArn(call, name),
    registryId: call.registryId,
    repositoryName: name,
    repositoryUri: `${call.service}/${name}`,
    createdAt,
    imageTagMutability: 'MUTABLE',
    imageScanningConfiguration: { scanOnPush: false },
    encryptionConfiguration: { encryptionType: 'AES256' },
  };
}

export const repositoryOperations: Readonly<Record<string, EcrOperation>> = {
  CreateRepository: ecrOperation({
    input: z.object({ ...REPOSITORY }),
    cost: 'write',
    types: { 'version-mismatch': 'RepositoryAlreadyExists' },
    async answer(call, input) {
      const name = parseRepositoryName(input.repositoryName);
      const { repository } = await createRepository(call, name);
      return { repository: shownRepository(call, repository) };
    },
  }),

  DescribeRepositories: ecrOperation({
    input: z.object({
      registryId: z.optional(registryId),
      repositoryNames: z.optional(z.array(repositoryName).min(1).max(100)),
      ...PAGE,
    }),
    cost: 'list',
    async answer(call, { repositoryNames, nextToken = '', maxResults = PAGE_DEFAULT }) {
      if (repositoryNames === undefined) {
        const { items, next } = await listRepositories(call, { after: nextToken, limit: maxResults }, {});
        const repositories = items.map((one) => shownRepository(call, one));
        return { repositories, ...(next === null ? {} : { nextToken: next }) };
      }
      if (nextToken !== '') throw invalidParameter('nextToken', 'Member must be absent if repositoryNames is present');
      const found = await Promise.all(repositoryNames.map((name) => getRepository(call, parseRepositoryName(name))));
      return { repositories: found.map((one) => shownRepository(call, one)) };
    },
  }),

  DeleteRepository: ecrOperation({
    input: z.object({ ...REPOSITORY, force: z.optional(z.boolean()) }),
    cost: 'write',
    async answer(call, { repositoryName: text, force = false }) {
      const name = parseRepositoryName(text);
      const repository = await getRepository(call, name);
      await deleteRepository(call, name, { force, ifVersion: null });
      return { repository: shownRepository(call, repository) };
    },
  }),
};

/** Creates a repository that must not exist. @throws name-taken */
async function createRepository(call: EcrCall, name: RepositoryName) {
  try {
    return await putRepository(call, name, {}, 0);
  } catch (error) {
    if (isRefusal(error, 'version-mismatch')) throw new Refusal('name-taken');
    throw error;
  }
}
