/** Operations on lifecycle policies. */
import * as z from 'zod';
import { may } from '../../app/access.ts';
import { deleteLifecycle, getLifecycle, type Lifecycle } from '../../app/lifecycle.ts';
import {
  listPreviewedImages,
  type PreviewedImage,
  putLifecycleText,
  startLifecyclePreview,
} from '../../app/lifecycle-previews.ts';
import { parseRepositoryName } from '../../oci/name.ts';
import { WHOLE_MAX } from '../../vocabulary/lifecycle.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';
import { EcrError, repositoryText } from './errors.ts';
import { nextToken, REPOSITORY } from './fields.ts';
import { imageIds } from './image-fields.ts';
import { type EcrCall, type EcrOperation, ecrOperation } from './operation.ts';
import { readToken, writeToken } from './tokens.ts';
import { invalidParameter } from './validation.ts';

const lifecyclePolicyText = z.string().min(100).max(30720);

/** The number of images of a page, if the client asks for no other number. */
const PAGE_DEFAULT = 100;

function shown(call: EcrCall, name: string, { policy, text, report }: Lifecycle) {
  return {
    registryId: call.registryId,
    repositoryName: name,
    lifecyclePolicyText: text ?? JSON.stringify(policy),
    // ECR answers the beginning of the epoch if the rules have not run yet.
    lastEvaluatedAt: report?.at ?? 0,
  };
}

/** Runs an operation that needs a saved policy. A repository that the caller may not pull counts as absent. */
async function withPolicy<T>(call: EcrCall, name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isRefusal(error, 'not-found') || !may(call.authority, 'pull', name)) throw error;
    throw missing(call, name, 'LifecyclePolicyNotFound', 'Lifecycle policy');
  }
}

function missing(call: EcrCall, name: string, type: string, what: string): EcrError {
  return new EcrError(type, `${what} does not exist for ${repositoryText(call.registryId, name)}`);
}

/** Runs an operation that parses a text of the client. @throws InvalidParameterException with what is wrong */
async function parsing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isRefusal(error, 'request-invalid')) throw error;
    throw invalidParameter('LifecyclePolicyText', `Lifecycle policy validation failure: ${error.message}`);
  }
}

export const lifecycleOperations: Readonly<Record<string, EcrOperation>> = {
  PutLifecyclePolicy: ecrOperation({
    input: z.object({ ...REPOSITORY, lifecyclePolicyText }),
    cost: 'write',
    async answer(call, { repositoryName: name, lifecyclePolicyText: text }) {
      await parsing(() => putLifecycleText(call, parseRepositoryName(name), text));
      return { registryId: call.registryId, repositoryName: name, lifecyclePolicyText: text };
    },
  }),

  GetLifecyclePolicy: ecrOperation({
    input: z.object(REPOSITORY),
    cost: 'read',
    async answer(call, { repositoryName: name }) {
      return shown(call, name, await withPolicy(call, name, () => getLifecycle(call, parseRepositoryName(name))));
    },
  }),

  DeleteLifecyclePolicy: ecrOperation({
    input: z.object(REPOSITORY),
    cost: 'write',
    async answer(call, { repositoryName: text }) {
      const name = parseRepositoryName(text);
      return withPolicy(call, name, async () => {
        const saved = await getLifecycle(call, name);
        await deleteLifecycle(call, name, null);
        return shown(call, name, saved);
      });
    },
  }),

  StartLifecyclePolicyPreview: ecrOperation({
    input: z.object({ ...REPOSITORY, lifecyclePolicyText: z.optional(lifecyclePolicyText) }),
    cost: 'write',
    async answer(call, { repositoryName: name, lifecyclePolicyText: sent }) {
      const start = () => startLifecyclePreview(call, parseRepositoryName(name), sent);
      const text = await parsing(() => withPolicy(call, name, start));
      return { registryId: call.registryId, repositoryName: name, lifecyclePolicyText: text, status: 'IN_PROGRESS' };
    },
  }),

  GetLifecyclePolicyPreview: ecrOperation({
    input: z.object({
      ...REPOSITORY,
      imageIds: z.optional(imageIds),
      nextToken: z.optional(nextToken),
      maxResults: z.optional(z.int().min(1).max(100)),
      filter: z.optional(z.object({ tagStatus: z.optional(z.enum(['TAGGED', 'UNTAGGED', 'ANY'])) })),
    }),
    cost: 'list',
    async answer(call, { repositoryName: name, imageIds: ids, nextToken: token, maxResults, filter }) {
      if (ids && (token !== undefined || maxResults !== undefined))
        throw invalidParameter('maxResults', 'nextToken and maxResults must be absent if imageIds is present');
      const place = token === undefined ? null : readToken(previewPlace, token);
      const page = { place, limit: maxResults ?? (ids ? WHOLE_MAX : PAGE_DEFAULT) };
      const found = await listPreviewedImages(call, parseRepositoryName(name), page);
      if (!found) throw missing(call, name, 'LifecyclePolicyPreviewNotFound', 'Lifecycle policy preview');
      const images = found.images.filter((one) => isWanted(one, ids, filter?.tagStatus));
      return {
        registryId: call.registryId,
        repositoryName: name,
        lifecyclePolicyText: found.text,
        status: 'COMPLETE',
        previewResults: images.map(shownImage),
        summary: { expiringImageTotalCount: found.total },
        ...(found.next === null || ids ? {} : { nextToken: writeToken(found.next) }),
      };
    },
  }),
};

const previewPlace = z.object({ page: z.optional(z.string()), digest: z.string() });

function isWanted(
  { digest, tags }: PreviewedImage,
  ids: readonly { imageDigest?: string | undefined; imageTag?: string | undefined }[] | undefined,
  status: 'TAGGED' | 'UNTAGGED' | 'ANY' = 'ANY',
): boolean {
  const isNamed = ids?.some(
    ({ imageDigest = digest, imageTag }) => imageDigest === digest && (imageTag === undefined || tags.includes(imageTag)),
  );
  return isNamed !== false && (status === 'ANY' || tags.length > 0 === (status === 'TAGGED'));
}

function shownImage({ digest, tags, pushedAt, priority }: PreviewedImage) {
  return {
    ...(tags.length > 0 ? { imageTags: tags } : {}),
    imageDigest: digest,
    imagePushedAt: pushedAt,
    action: { type: 'EXPIRE' },
    appliedRulePriority: priority,
  };
}
