/** Names of images in the ECR API: in inputs, in outputs, and in failures. */
import * as z from 'zod';
import type { ImageProblem, SentName } from '../../app/image-ids.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';
import { EcrError, repositoryText } from './errors.ts';
import type { EcrCall } from './operation.ts';

export const imageTag = z.string().min(1).max(300);
export const imageId = z.object({ imageDigest: z.optional(z.string()), imageTag: z.optional(imageTag) });
export const imageIds = z.array(imageId).min(1).max(100);
type ImageId = z.output<typeof imageId>;

export function nameOf({ imageDigest: digest, imageTag: tag }: ImageId): SentName {
  return { digest, tag };
}

export function idOf({ digest, tag }: { digest?: string | undefined; tag?: string | null | undefined }): ImageId {
  return { ...(digest === undefined ? {} : { imageDigest: digest }), ...(tag == null ? {} : { imageTag: tag }) };
}

/** The code and the reason of a failure. Programs match some of the reasons, so they are those of ECR. */
const FAILURES: Record<ImageProblem['code'], [code: string, reason: string]> = {
  'name-missing': ['MissingDigestAndTag', 'Invalid request parameters: both tag and digest cannot be null'],
  'digest-invalid': [
    'InvalidImageDigest',
    "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
  ],
  'tag-invalid': [
    'InvalidImageTag',
    "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'",
  ],
  absent: ['ImageNotFound', 'Requested image not found'],
  mismatch: ['ImageTagDoesNotMatchDigest', 'Requested image tag does not match the requested image digest'],
  referenced: ['ImageReferencedByManifestList', 'Requested image referenced by manifest list: '],
  immutable: ['ImageInaccessible', ''],
  'not-accepted': ['ImageNotFound', 'Requested image not found: '],
  'too-large': ['ImageInaccessible', ''],
};

export function failureOf({ sent, problem }: { sent: SentName; problem: ImageProblem }) {
  const [failureCode, reason] = FAILURES[problem.code];
  return { imageId: idOf(sent), failureCode, failureReason: `${reason}${problem.message ?? ''}` };
}

/** Writes the name of an image as ECR does in messages. */
export function shownId({ digest, tag }: SentName): string {
  return `{imageDigest:'${digest ?? null}', imageTag:'${tag ?? null}'}`;
}

/** Runs an operation on images that must exist, and gives its refusal the message of ECR. */
export async function onExisting<T>(call: EcrCall, repositoryName: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isRefusal(error, 'manifest-unknown')) throw error;
    const id = shownId(error.detail as SentName);
    const where = repositoryText(call.registryId, repositoryName);
    throw new EcrError('ImageNotFound', `The image with imageId ${id} does not exist within ${where}`);
  }
}
