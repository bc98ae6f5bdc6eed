/** Operations on layers: availability, upload in parts, and download. */
import * as z from 'zod';
import { checkLayers, downloadUrl, finishLayerUpload, startLayerUpload, uploadLayerPart } from '../../app/layers.ts';
import { isDigest, parseDigest } from '../../oci/digest.ts';
import { parseRepositoryName } from '../../oci/name.ts';
import { isRefusal, type Refusal } from '../../vocabulary/refusal.ts';
import { EcrError } from './errors.ts';
import { matching, REPOSITORY } from './fields.ts';
import { type EcrOperation, ecrOperation } from './operation.ts';
import { invalidParameter } from './validation.ts';

const DIGEST = '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+';
const digest = matching(DIGEST);
const uploadId = matching('[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}');
const byte = z.int().min(0);

/** The maximum number of bytes of a part. */
const PART_MAX_BYTES = 20 * 1024 * 1024;

/** The number of bytes that clients are asked to send in each part. */
const PART_BYTES = 5 * 1024 * 1024;

/** The maximum number of bytes of the body with the longest part: a third more in base64, and some escaped characters. */
const PART_BODY_MAX = 28 * 1024 * 1024;

export const layerOperations: Readonly<Record<string, EcrOperation>> = {
  BatchCheckLayerAvailability: ecrOperation({
    input: z.object({ ...REPOSITORY, layerDigests: z.array(z.string().max(1000)).min(1).max(100) }),
    cost: 'read',
    async answer(call, { repositoryName, layerDigests }) {
      const all = [...new Set(layerDigests)];
      const sizes = await checkLayers(call, parseRepositoryName(repositoryName), all.filter(isDigest));
      const isValid = (text: string) => new RegExp(`^${DIGEST}$`).test(text);
      return {
        layers: all.filter(isValid).map((layerDigest) => {
          const layerSize = isDigest(layerDigest) ? sizes.get(layerDigest) : undefined;
          if (layerSize === undefined) return { layerDigest, layerAvailability: 'UNAVAILABLE' };
          return { layerDigest, layerAvailability: 'AVAILABLE', layerSize };
        }),
        failures: all.filter((text) => !isValid(text)).map(invalidDigest),
      };
    },
  }),

  InitiateLayerUpload: ecrOperation({
    input: z.object(REPOSITORY),
    cost: 'write',
    async answer(call, { repositoryName }) {
      return { uploadId: await startLayerUpload(call, parseRepositoryName(repositoryName)), partSize: PART_BYTES };
    },
  }),

  UploadLayerPart: ecrOperation({
    input: z.object({
      ...REPOSITORY,
      uploadId,
      partFirstByte: byte,
      partLastByte: byte,
      layerPartBlob: z.string().max(PART_MAX_BYTES),
    }),
    cost: 'write',
    blob: 'layerPartBlob',
    bodyMax: PART_BODY_MAX,
    async answer(call, { repositoryName, uploadId, partFirstByte: first, partLastByte: last, layerPartBlob }) {
      const { registryId, bytes } = call;
      if (layerPartBlob !== '' || bytes.byteLength > PART_MAX_BYTES)
        throw invalidParameter('layerPartBlob', `Member must have length less than or equal to ${PART_MAX_BYTES}`);
      try {
        await uploadLayerPart(call, parseRepositoryName(repositoryName), uploadId, { first, last, bytes });
      } catch (error) {
        if (!isRefusal(error, ...PART_REFUSALS)) throw error;
        const place = { registryId, repositoryName, uploadId, lastValidByteReceived: lastByteIn(error, first) };
        throw new EcrError('InvalidLayerPart', error.message, place);
      }
      return { registryId, repositoryName, uploadId, lastByteReceived: last };
    },
  }),

  CompleteLayerUpload: ecrOperation({
    input: z.object({ ...REPOSITORY, uploadId, layerDigests: z.array(digest).min(1).max(100) }),
    cost: 'write',
    types: {
      'request-invalid': 'EmptyUpload',
      'length-mismatch': 'LayerPartTooSmall',
      conflict: 'LayerAlreadyExists',
      'digest-mismatch': 'InvalidLayer',
      'blob-too-large': 'InvalidLayer',
      'digest-invalid': 'InvalidLayer',
    },
    async answer(call, { repositoryName, uploadId, layerDigests }) {
      const [layerDigest, ...others] = new Set(layerDigests);
      if (others.length > 0)
        throw invalidParameter('layerDigests', 'Member must have one digest, because an upload is one layer');
      await finishLayerUpload(call, parseRepositoryName(repositoryName), uploadId, parseDigest(layerDigest));
      return { registryId: call.registryId, repositoryName, uploadId, layerDigest };
    },
  }),

  GetDownloadUrlForLayer: ecrOperation({
    input: z.object({ ...REPOSITORY, layerDigest: digest }),
    cost: 'read',
    types: { 'blob-unknown': 'LayersNotFound', 'digest-invalid': 'LayersNotFound', 'content-gone': 'LayerInaccessible' },
    async answer(call, { repositoryName, layerDigest }) {
      const repository = parseRepositoryName(repositoryName);
      return { downloadUrl: await downloadUrl(call, repository, parseDigest(layerDigest)), layerDigest };
    },
  }),
};

const PART_REFUSALS = ['length-mismatch', 'chunk-out-of-order', 'blob-too-large', 'body-incomplete'] as const;

/** The last byte that the upload has received. @param first the first byte of the part that was refused */
function lastByteIn({ reason, detail }: Refusal, first: number): number {
  const received = reason === 'chunk-out-of-order' ? (detail as { offset: number }).offset : first;
  return Math.max(0, received - 1);
}

function invalidDigest(layerDigest: string) {
  const reason = `Invalid request parameters: layer digest should satisfy the regex '${DIGEST}'`;
  return { layerDigest, failureCode: layerDigest === '' ? 'MissingLayerDigest' : 'InvalidLayerDigest', failureReason: reason };
}
