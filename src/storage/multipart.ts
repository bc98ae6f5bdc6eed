/**
 * An object that is written part by part, for blobs longer than one put can be. R2 wants parts of one size (all but the
 * last) of 5 MiB at least, and can verify no checksum of the whole: whoever completes one has hashed its bytes.
 */
import { streamKey } from './keys.ts';
import type { Bucket } from './objects.ts';
import { persistent } from './retry.ts';

/** R2 limit of parts a multipart upload. */
export const MAX_PARTS = 10_000;

/** What has been written so far, and how to go on. */
export interface Multipart {
  key: string;
  uploadId: string;
  etags: string[];
  size: number;
}

/** One more part; the first one begins the object, under a key of its own. */
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

/** R2: no such upload, as it was completed or let go of (10024); a part was written again meanwhile (10025). */
export function isSpoilt(error: unknown): boolean {
  return error instanceof Error && /\((?:10024|10025)\)/.test(error.message);
}

/** Lets go of the parts. Does nothing to one that was completed. */
export async function abortMultipart(env: Bucket, multipart: Multipart): Promise<void> {
  await resume(env, multipart)
    .abort()
    .catch(() => {});
}

function resume(env: Bucket, { key, uploadId }: Multipart) {
  return env.BLOBS.resumeMultipartUpload(key, uploadId);
}
