/** Operations that list and describe images. */
import * as z from 'zod';
import {
  type DescribedImage,
  describeNamed,
  getNamed,
  type ImagePlace,
  keepStored,
  listDescribed,
  listImageIds,
  listReferrersOf,
  type Tagged,
} from '../../app/image-ids.ts';
import { parseDigest } from '../../oci/digest.ts';
import { parseRepositoryName } from '../../oci/name.ts';
import { EcrError, repositoryText } from './errors.ts';
import { nextToken, PAGE, REPOSITORY } from './fields.ts';
import { idOf, imageId, imageIds, nameOf, onExisting, shownId } from './image-fields.ts';
import { type EcrCall, type EcrOperation, ecrOperation } from './operation.ts';
import { readToken, writeToken } from './tokens.ts';
import { invalidParameter } from './validation.ts';

/** The number of images and of referrers of a page, if the client asks for no other number. */
const PAGE_DEFAULT = 100;
const REFERRERS_DEFAULT = 20;

const imageStatus = z.optional(z.enum(['ACTIVE', 'ARCHIVED', 'ACTIVATING', 'ANY']));
const filter = z.optional(z.object({ tagStatus: z.optional(z.enum(['TAGGED', 'UNTAGGED', 'ANY'])), imageStatus }));
const listInput = z.object({ ...REPOSITORY, filter, ...PAGE });
const oneImage = { ...REPOSITORY, imageId };

/** A page of a list, as the input asks for it. */
function pageIn({ filter, nextToken, maxResults = PAGE_DEFAULT }: z.output<typeof listInput>) {
  const tagged = (filter?.tagStatus ?? 'ANY').toLowerCase() as Tagged;
  return { tagged, after: nextToken === undefined ? null : readToken(imagePlace, nextToken), limit: maxResults };
}

/** No image of this registry is archived. */
function isEmpty({ imageStatus }: { imageStatus?: string | undefined } = {}): boolean {
  return imageStatus === 'ARCHIVED' || imageStatus === 'ACTIVATING';
}

function nextOf(place: ImagePlace | null): { nextToken?: string } {
  return place === null ? {} : { nextToken: writeToken({ digest: place.digest, tag: place.tag }) };
}

const digest = z.string().regex(/^[a-z0-9]+:[0-9a-f]+$/);
/** The places behind an item of a list, in the tokens of pages. */
const imagePlace = z.object({ digest, tag: z.string().regex(/^[\w.-]{0,128}$/) });
const referrerPlace = z.object({ digest, artifactType: z.string().regex(/^[ -~]{0,255}$/) });

function shownImage({ registryId }: EcrCall, repositoryName: string, image: DescribedImage) {
  const { digest, tags, size, pushedAt, mediaType, artifactMediaType, lastPulledOn, subject } = image;
  return {
    registryId,
    repositoryName,
    imageDigest: digest,
    ...(tags.length === 0 ? {} : { imageTags: tags }),
    ...(size === null ? {} : { imageSizeInBytes: size }),
    imagePushedAt: pushedAt,
    imageManifestMediaType: mediaType,
    ...(artifactMediaType === null ? {} : { artifactMediaType }),
    ...(lastPulledOn === null ? {} : { lastRecordedPullTime: lastPulledOn * SECONDS_PER_DAY }),
    ...(subject === null ? {} : { subjectManifestDigest: subject }),
    imageStatus: 'ACTIVE',
  };
}

const SECONDS_PER_DAY = 24 * 60 * 60;

async function existing(call: EcrCall, repositoryName: string, id: z.output<typeof imageId>) {
  return onExisting(call, repositoryName, () => getNamed(call, parseRepositoryName(repositoryName), nameOf(id)));
}

export const imageOperations: Readonly<Record<string, EcrOperation>> = {
  ListImages: ecrOperation({
    input: listInput,
    cost: 'list',
    async answer(call, input) {
      const repository = parseRepositoryName(input.repositoryName);
      const { items, next } = await listImageIds(call, repository, pageIn(input));
      if (isEmpty(input.filter)) return { imageIds: [] };
      return { imageIds: items.map(idOf), ...nextOf(next) };
    },
  }),

  DescribeImages: ecrOperation({
    input: z.object({ ...listInput.shape, imageIds: z.optional(imageIds) }),
    cost: 'list',
    async answer(call, input) {
      const { repositoryName } = input;
      const repository = parseRepositoryName(repositoryName);
      const shown = (images: DescribedImage[]) => images.map((image) => shownImage(call, repositoryName, image));
      if (input.imageIds !== undefined) {
        for (const member of ['nextToken', 'maxResults'] as const)
          if (input[member] !== undefined) throw invalidParameter(member, 'Member must be absent if imageIds is present');
        const names = input.imageIds.map(nameOf);
        const found = await onExisting(call, repositoryName, () => describeNamed(call, repository, names));
        return { imageDetails: isEmpty(input.filter) ? [] : shown(found) };
      }
      const { items, next } = await listDescribed(call, repository, pageIn(input));
      return isEmpty(input.filter) ? { imageDetails: [] } : { imageDetails: shown(items), ...nextOf(next) };
    },
  }),

  UpdateImageStorageClass: ecrOperation({
    input: z.object({ ...oneImage, targetStorageClass: z.enum(['STANDARD', 'ARCHIVE']) }),
    cost: 'write',
    async answer(call, { repositoryName, imageId, targetStorageClass }) {
      const repository = parseRepositoryName(repositoryName);
      const found = await onExisting(call, repositoryName, () => keepStored(call, repository, nameOf(imageId)));
      if (targetStorageClass === 'ARCHIVE')
        throw new EcrError('ImageStorageClassUpdateNotSupported', 'this registry has no archive: nothing was changed');
      return { registryId: call.registryId, repositoryName, imageId: idOf(found), imageStatus: 'ACTIVE' };
    },
  }),

  DescribeImageScanFindings: ecrOperation({
    input: z.object({ ...oneImage, ...PAGE }),
    cost: 'read',
    async answer(call, { repositoryName, imageId }) {
      await existing(call, repositoryName, imageId);
      const id = shownId(nameOf(imageId));
      const where = repositoryText(call.registryId, repositoryName);
      throw new EcrError('ScanNotFound', `Image scan does not exist for the image with '${id}' in ${where}`);
    },
  }),

  DescribeImageReplicationStatus: ecrOperation({
    input: z.object(oneImage),
    cost: 'read',
    async answer(call, { repositoryName, imageId }) {
      const found = await existing(call, repositoryName, imageId);
      return { repositoryName, imageId: idOf(found), replicationStatuses: [] };
    },
  }),

  DescribeImageSigningStatus: ecrOperation({
    input: z.object(oneImage),
    cost: 'read',
    async answer(call, { repositoryName, imageId }) {
      const found = await existing(call, repositoryName, imageId);
      return { repositoryName, imageId: idOf(found), registryId: call.registryId, signingStatuses: [] };
    },
  }),

  ListImageReferrers: ecrOperation({
    input: z.object({
      ...REPOSITORY,
      subjectId: z.object({ imageDigest: z.string() }),
      filter: z.optional(
        z.object({ artifactTypes: z.optional(z.array(z.string().min(1).max(255)).max(5)), artifactStatus: imageStatus }),
      ),
      nextToken: z.optional(nextToken),
      maxResults: z.optional(z.int().min(1).max(50)),
    }),
    cost: 'list',
    async answer(call, { repositoryName, subjectId, filter, nextToken, maxResults: limit = REFERRERS_DEFAULT }) {
      const subject = parseDigest(subjectId.imageDigest);
      const after = nextToken === undefined ? undefined : readToken(referrerPlace, nextToken);
      const query = { subject, artifactTypes: filter?.artifactTypes ?? [], after, limit };
      const { items, more } = await listReferrersOf(call, parseRepositoryName(repositoryName), query);
      if (isEmpty({ imageStatus: filter?.artifactStatus })) return { referrers: [] };
      const last = more ? items.at(-1) : undefined;
      const next = last && writeToken({ digest: last.digest, artifactType: last.artifactType ?? '' });
      return {
        referrers: items.map((one) => ({ ...one, artifactStatus: 'ACTIVE' })),
        ...(next === undefined ? {} : { nextToken: next }),
      };
    },
  }),
};
