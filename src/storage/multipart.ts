/**
 * Multipart objects, for blobs that are too long for one put. R2 requires parts of one size (all but the last) of at least 5 MiB. It
 * verifies no checksum of the whole object, so the caller hashes the bytes.
 */
import { streamKey } from './keys.ts';
import type { Bucket } from './objects.ts';
import { persistent } from './retry.ts';

/** R2 limit: parts of one multipart upload. */
export const MAX_PARTS = 10_000;

/** An unfinished multipart upload with the parts that it has. */
export interface Multipart {
  key: string;
  uploadId: string;
  etags: string[];
  size: number;
}

/** Uploads one more part. The first part creates the object, under a new key. */
export async function appendPart(env: Bucket, before: Multipart | null, bytes: Uint8Array): Promise<Multipart> {
  const multipart = before ?? (await createMultipart(env));
  const { etag } = await persistent(() => resume(env, multipart).uploadPart(multipart.etags.length + 1, bytes));
  return { ...multipart, etags: [...multipart.etags, etag], size: multipart.size + bytes.byteLength };
}

async function createMultipart(env: Bucket): Promise<Multipart> {
  const key = streamKey();
  const httpMetadata = { contentType: 'application/octet-stream' };
  const { uploadId } = await persistent(() => env.BLOBS.createMultipartUpload(key, { httpMetadata }));
  return { key, uploadId, etags: [], size: 0 };
}

export async function completeMultipart(env: Bucket, multipart: Multipart): Promise<void> {
  const parts = multipart.etags.map((etag, n) => ({ etag, partNumber: n + 1 }));
  await persistent(() => resume(env, multipart).complete(parts));
}

/** True for R2's errors 10024 (the upload was completed or aborted) and 10025 (a part was written again meanwhile). */
export function isSpoilt(error: unknown): boolean {
  return error instanceof Error && /\((?:10024|10025)\)/.test(error.message);
}

/** Deletes the parts. Has no effect on a completed upload. */
export async function abortMultipart(env: Bucket, multipart: Multipart): Promise<void> {
  await resume(env, multipart)
    .abort()
    .catch(() => {});
}

function resume(env: Bucket, { key, uploadId }: Multipart) {
  return env.BLOBS.resumeMultipartUpload(key, uploadId);
}
