/** Operations on the manifests of images: read, put and delete. */
import * as z from 'zod';
import { type PulledImage, pullImages, putImage } from '../../app/image-batches.ts';
import { deleteImages } from '../../app/image-deletions.ts';
import { charge } from '../../app/spending.ts';
import { parseDigest } from '../../oci/digest.ts';
import { parseStrictJson } from '../../oci/json.ts';
import { isIndexMediaType } from '../../oci/manifest.ts';
import { parseRepositoryName } from '../../oci/name.ts';
import { parseTag } from '../../oci/reference.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';
import { EcrError } from './errors.ts';
import { REPOSITORY } from './fields.ts';
import { failureOf, idOf, imageIds, imageTag, nameOf } from './image-fields.ts';
import { type EcrCall, type EcrOperation, ecrOperation } from './operation.ts';
import { invalidParameter } from './validation.ts';

/** The number of rows that the deletion of an image or a tag writes, and that a tag writes that is set. */
const ROWS_EACH = 10;

function chargeWrites(call: EcrCall, rows: number): void {
  if (!call.authority.administrator) charge(call, call.authority.subject, 'rows-written', rows);
}

type Manifest = Omit<PulledImage, 'size'>;

function shownManifest({ registryId }: EcrCall, repositoryName: string, { mediaType, text, ...name }: Manifest) {
  const image = { imageId: idOf(name), imageManifest: text, imageManifestMediaType: mediaType };
  return { registryId, repositoryName, ...image };
}

const putInput = z.object({
  ...REPOSITORY,
  imageManifest: z.string().min(1).max(4194304),
  imageManifestMediaType: z.optional(z.string()),
  imageTag: z.optional(imageTag),
  imageDigest: z.optional(z.string()),
});

export const contentOperations: Readonly<Record<string, EcrOperation>> = {
  BatchGetImage: ecrOperation({
    input: z.object({ ...REPOSITORY, imageIds, acceptedMediaTypes: z.optional(z.array(z.string()).min(1).max(100)) }),
    cost: 'read',
    async answer(call, { repositoryName, imageIds, acceptedMediaTypes: accepted }) {
      const pull = { accepted, random: Math.random() };
      const pulled = await pullImages(call, parseRepositoryName(repositoryName), imageIds.map(nameOf), pull);
      return {
        images: pulled.flatMap((one) => ('found' in one ? [shownManifest(call, repositoryName, one.found)] : [])),
        failures: pulled.flatMap((one) => ('problem' in one ? [failureOf(one)] : [])),
      };
    },
  }),

  BatchDeleteImage: ecrOperation({
    input: z.object({ ...REPOSITORY, imageIds }),
    cost: 'write',
    async answer(call, { repositoryName, imageIds }) {
      chargeWrites(call, ROWS_EACH * imageIds.length);
      const repository = parseRepositoryName(repositoryName);
      const { deleted, failures } = await deleteImages(call, repository, imageIds.map(nameOf));
      return { imageIds: deleted.map(idOf), failures: failures.map(failureOf) };
    },
  }),

  PutImage: ecrOperation({
    input: putInput,
    cost: 'write',
    // In JSON, each quotation mark of the manifest takes two bytes.
    bodyMax: 9 * 1024 * 1024,
    answer: put,
  }),
};

async function put(call: EcrCall, input: z.output<typeof putInput>) {
  const { repositoryName, imageManifest: text, imageTag, imageDigest } = input;
  const bytes = new TextEncoder().encode(text);
  const mediaType = input.imageManifestMediaType ?? mediaTypeIn(bytes);
  const tag = imageTag === undefined ? null : parseTag(imageTag);
  const image = {
    ...{ repository: parseRepositoryName(repositoryName), bytes, mediaType, tag },
    expected: imageDigest === undefined ? null : parseDigest(imageDigest),
    charge: ({ references }: { references: unknown[] }) => chargeWrites(call, references.length + ROWS_EACH),
  };
  try {
    const { digest, mediaType } = await putImage(call, image);
    return { image: shownManifest(call, repositoryName, { digest, tag, mediaType, text }) };
  } catch (error) {
    throw putError(call, input, mediaType, error);
  }
}

/** The error for a refused PutImage, in the words of ECR. */
function putError({ registryId }: EcrCall, input: z.output<typeof putInput>, mediaType: string, error: unknown): unknown {
  const { repositoryName, imageTag = null } = input;
  const where = (the: string) => `the repository with name '${repositoryName}' in ${the}registry with id '${registryId}'`;
  if (isRefusal(error, 'condition-failed')) {
    const { digest } = error.detail as { digest: string };
    const text = `Image with digest '${digest}' and tag '${imageTag}' already exists in ${where('')}`;
    return new EcrError('ImageAlreadyExists', text);
  }
  if (!isRefusal(error, 'references-unknown')) return error;
  const [type, what] = isIndexMediaType(mediaType) ? ['ReferencedImagesNotFound', 'Images'] : ['LayersNotFound', 'Layers'];
  const digests = Array.isArray(error.detail) ? error.detail.slice(0, 10).map(({ digest }) => digest) : [];
  return new EcrError(
    type,
    `${what} with digests '[${digests.join(', ')}]' required for pushing image into ${where('the ')} do not exist`,
  );
}

/** The media type that the document itself states. @throws InvalidParameterException if it states none */
function mediaTypeIn(bytes: Uint8Array): string {
  let value: unknown;
  try {
    ({ value } = parseStrictJson(bytes));
  } catch {
    throw invalidParameter('ImageManifest', 'Invalid JSON syntax');
  }
  const { mediaType } = (value ?? {}) as { mediaType?: unknown };
  if (typeof mediaType === 'string') return mediaType;
  throw new EcrError('InvalidParameter', 'image manifest mediatype not provided in manifest or parameter');
}
