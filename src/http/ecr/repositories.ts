/** ECR operations on repositories. */
import * as z from 'zod';
import {
  changeLabels,
  findRepositories,
  getLabels,
  listSettings,
  type SettledRepository,
  setScanOnPush,
} from '../../app/labels.ts';
import { createRepository, deleteRepository } from '../../app/repositories.ts';
import { listRepositories } from '../../app/repository-lists.ts';
import { putTagMutability } from '../../app/tags.ts';
import { parseRepositoryName, type RepositoryName } from '../../oci/name.ts';
import type { Mutability } from '../../vocabulary/mutability.ts';
import { EcrError, repositoryNotFound } from './errors.ts';
import {
  exclusionFilters,
  imageScanningConfiguration,
  imageTagMutability,
  label,
  PAGE,
  REPOSITORY,
  registryId,
  repositoryName,
} from './fields.ts';
import { type EcrCall, type EcrOperation, ecrOperation } from './operation.ts';
import { invalidParameter } from './validation.ts';

/** The number of repositories on a page if the client requests no number. */
const PAGE_DEFAULT = 100;

/** The prefix of label keys that AWS reserves for itself. */
const RESERVED = /^aws:/i;

/** Returns the ARN of a repository, with the region of the caller. */
export function repositoryArn({ region, registryId: number }: EcrCall, name: string): string {
  return `arn:aws:ecr:${region}:${number}:repository/${name}`;
}

/** @throws InvalidParameterException; RepositoryNotFoundException if the ARN is that of another registry */
function repositoryInArn(call: EcrCall, arn: string): RepositoryName {
  const [, number, name = ''] = /^arn:aws[a-z-]*:ecr:[a-z0-9-]+:(\d{12}):repository\/(.+)$/.exec(arn) ?? [];
  if (!repositoryName.safeParse(name).success) throw invalidParameter('resourceArn', 'Invalid ARN');
  if (number !== call.registryId) throw repositoryNotFound(number ?? '', name);
  return parseRepositoryName(name);
}

function shownRepository(call: EcrCall, { name, createdAt, mutability, scanOnPush }: SettledRepository) {
  return {
    repositoryArn: repositoryArn(call, name),
    registryId: call.registryId,
    repositoryName: name,
    repositoryUri: `${call.service}/${name}`,
    createdAt,
    ...shownMutability(mutability),
    imageScanningConfiguration: { scanOnPush },
    encryptionConfiguration: { encryptionType: 'AES256' },
  };
}

function shownMutability({ value, exclusions }: Mutability) {
  const filters = exclusions.map((filter) => ({ filterType: 'WILDCARD', filter }));
  return {
    imageTagMutability: value,
    ...(filters.length > 0 ? { imageTagMutabilityExclusionFilters: filters } : {}),
  };
}

/** Returns the mutability settings in an input. @throws InvalidParameterException if the filters do not fit the value */
function mutabilityIn({
  imageTagMutability: value = 'MUTABLE',
  imageTagMutabilityExclusionFilters: filters = [],
}: {
  imageTagMutability?: Mutability['value'] | undefined;
  imageTagMutabilityExclusionFilters?: { filter: string }[] | undefined;
}): Mutability {
  if (value.endsWith('_WITH_EXCLUSION') !== filters.length > 0)
    throw invalidParameter('imageTagMutabilityExclusionFilters', `Filters belong to values that end in _WITH_EXCLUSION`);
  return { value, exclusions: filters.map(({ filter }) => filter) };
}

/** @throws InvalidTagParameterException */
function labelsIn(tags: readonly { Key: string; Value: string }[]): Record<string, string> {
  const keys = tags.map(({ Key }) => Key);
  const repeated = keys.find((key, n) => keys.indexOf(key) !== n);
  if (repeated !== undefined) throw new EcrError('InvalidTagParameter', `the key "${repeated}" is given more than once`);
  const reserved = keys.find((key) => RESERVED.test(key));
  if (reserved !== undefined)
    throw new EcrError('InvalidTagParameter', `the key "${reserved}" begins with "aws:", which is reserved`);
  return Object.fromEntries(tags.map(({ Key, Value }) => [Key, Value]));
}

/** @throws RepositoryNotFoundException for the first repository that does not exist or from which the caller may not pull */
async function describedRepositories(call: EcrCall, names: readonly string[]): Promise<SettledRepository[]> {
  const found = await findRepositories(call, names.map(parseRepositoryName));
  const byName = new Map(found.map((one) => [one.name as string, one]));
  return names.map((name) => {
    const one = byName.get(name);
    if (!one) throw repositoryNotFound(call.registryId, name);
    return one;
  });
}

async function describedRepository(call: EcrCall, name: string): Promise<SettledRepository> {
  return (await describedRepositories(call, [name]))[0] as SettledRepository;
}

export const repositoryOperations: Readonly<Record<string, EcrOperation>> = {
  CreateRepository: ecrOperation({
    input: z.object({
      ...REPOSITORY,
      tags: z.optional(z.array(label)),
      imageTagMutability: z.optional(imageTagMutability),
      imageTagMutabilityExclusionFilters: z.optional(exclusionFilters),
      imageScanningConfiguration: z.optional(imageScanningConfiguration),
      encryptionConfiguration: z.optional(
        z.object({ encryptionType: z.enum(['AES256', 'KMS', 'KMS_DSSE']), kmsKey: z.optional(z.string().min(1).max(2048)) }),
      ),
    }),
    cost: 'write',
    types: { 'request-invalid': 'InvalidTagParameter', 'limit-reached': 'TooManyTags' },
    async answer(call, input) {
      const { tags = [], imageScanningConfiguration: scanning, encryptionConfiguration: encryption } = input;
      if (encryption && encryption.encryptionType !== 'AES256')
        throw new EcrError(
          'Kms',
          'this registry has no KMS: the storage encrypts everything with AES-256. Nothing was created',
        );
      const mutability = mutabilityIn(input);
      await createRepository(call, parseRepositoryName(input.repositoryName), {
        ...(tags.length > 0 ? { labels: labelsIn(tags) } : {}),
        ...(scanning?.scanOnPush ? { scanOnPush: true } : {}),
        ...(mutability.value === 'MUTABLE' ? {} : { mutability }),
      });
      return { repository: shownRepository(call, await describedRepository(call, input.repositoryName)) };
    },
  }),

  DescribeRepositories: ecrOperation({
    input: z.object({
      registryId: z.optional(registryId),
      repositoryNames: z.optional(z.array(repositoryName).min(1).max(100)),
      ...PAGE,
    }),
    cost: 'list',
    async answer(call, { repositoryNames, nextToken, maxResults }) {
      if (repositoryNames !== undefined) {
        if (nextToken !== undefined || maxResults !== undefined)
          throw invalidParameter('maxResults', 'nextToken and maxResults must be absent if repositoryNames is present');
        const found = await describedRepositories(call, repositoryNames);
        return { repositories: found.map((one) => shownRepository(call, one)) };
      }
      const page = { after: nextToken ?? '', limit: maxResults ?? PAGE_DEFAULT };
      const { items, next } = await listRepositories(call, page, {});
      const found = await listSettings(call, items);
      return {
        repositories: found.map((one) => shownRepository(call, one)),
        ...(next === null ? {} : { nextToken: next }),
      };
    },
  }),

  DeleteRepository: ecrOperation({
    input: z.object({ ...REPOSITORY, force: z.optional(z.boolean()) }),
    cost: 'write',
    async answer(call, { repositoryName: name, force = false }) {
      const repository = await describedRepository(call, name);
      await deleteRepository(call, parseRepositoryName(name), { force, ifVersion: null });
      return { repository: shownRepository(call, repository) };
    },
  }),

  PutImageTagMutability: ecrOperation({
    input: z.object({
      ...REPOSITORY,
      imageTagMutability,
      imageTagMutabilityExclusionFilters: z.optional(exclusionFilters),
    }),
    cost: 'write',
    async answer(call, input) {
      const name = parseRepositoryName(input.repositoryName);
      const { mutability } = await putTagMutability(call, name, mutabilityIn(input), null);
      return { registryId: call.registryId, repositoryName: name, ...shownMutability(mutability) };
    },
  }),

  PutImageScanningConfiguration: ecrOperation({
    input: z.object({ ...REPOSITORY, imageScanningConfiguration }),
    cost: 'write',
    async answer(call, { repositoryName: name, imageScanningConfiguration: { scanOnPush = false } }) {
      await setScanOnPush(call, parseRepositoryName(name), scanOnPush);
      return { registryId: call.registryId, repositoryName: name, imageScanningConfiguration: { scanOnPush } };
    },
  }),

  BatchGetRepositoryScanningConfiguration: ecrOperation({
    input: z.object({ repositoryNames: z.array(repositoryName).min(1).max(25) }),
    cost: 'read',
    async answer(call, { repositoryNames }) {
      const found = await findRepositories(call, repositoryNames.map(parseRepositoryName));
      const missing = repositoryNames.filter((name) => found.every((one) => one.name !== name));
      return {
        scanningConfigurations: found.map(({ name, scanOnPush }) => ({
          repositoryArn: repositoryArn(call, name),
          repositoryName: name,
          scanOnPush,
          scanFrequency: scanOnPush ? 'SCAN_ON_PUSH' : 'MANUAL',
          appliedScanFilters: [],
        })),
        failures: missing.map((name) => ({
          repositoryName: name,
          failureCode: 'REPOSITORY_NOT_FOUND',
          failureReason: repositoryNotFound(call.registryId, name).message,
        })),
      };
    },
  }),

  TagResource: ecrOperation({
    input: z.object({ resourceArn: z.string(), tags: z.array(label) }),
    cost: 'write',
    types: { 'request-invalid': 'InvalidTagParameter', 'limit-reached': 'TooManyTags' },
    async answer(call, { resourceArn, tags }) {
      await changeLabels(call, repositoryInArn(call, resourceArn), labelsIn(tags));
      return {};
    },
  }),

  UntagResource: ecrOperation({
    input: z.object({ resourceArn: z.string(), tagKeys: z.array(z.string()) }),
    cost: 'write',
    types: { 'request-invalid': 'InvalidTagParameter' },
    async answer(call, { resourceArn, tagKeys }) {
      await changeLabels(call, repositoryInArn(call, resourceArn), Object.fromEntries(tagKeys.map((key) => [key, null])));
      return {};
    },
  }),

  ListTagsForResource: ecrOperation({
    input: z.object({ resourceArn: z.string() }),
    cost: 'read',
    async answer(call, { resourceArn }) {
      const labels = await getLabels(call, repositoryInArn(call, resourceArn));
      return { tags: Object.entries(labels).map(([Key, Value]) => ({ Key, Value })) };
    },
  }),
};
