/**
 * Objects in R2: put with a checksum, open with a range, delete; and multipart objects, for blobs that are too long for one
 * put. R2 requires parts of one size (all but the last) of at least 5 MiB. It verifies no checksum of a multipart object, so
 * the caller hashes the bytes. Transient errors are retried. What the keys mean is in `keys.ts`.
 */
import type { Env } from '../env.ts';
import { algorithmOf, type Digest, type DigestAlgorithm, digestFromHash, hexOf, webCryptoName } from '../oci/digest.ts';
import type { ByteRange } from '../oci/range.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { streamKey } from './keys.ts';

export type Bucket = Pick<Env, 'BLOBS'>;

/** R2's error code for a put whose content has another checksum. It stores nothing then. */
const CHECKSUM_MISMATCH = '(10037)';
/** R2 limit: keys of one delete call. */
const DELETE_MAX_KEYS = 1000;

/**
 * Stores `body` under `key` if it hashes to `digest`; R2 does the hashing, at no CPU cost to the Worker.
 * @throws digest-mismatch if it does not, and stores nothing
 */
export async function putVerified(
  env: Bucket,
  key: string,
  body: ReadableStream | ArrayBufferView | string,
  digest: Digest,
): Promise<void> {
  const checksum = { [algorithmOf(digest)]: hexOf(digest) };
  try {
    const put = () => env.BLOBS.put(key, body, { ...checksum, httpMetadata: { contentType: 'application/octet-stream' } });
    await (body instanceof ReadableStream ? put() : persistent(put));
  } catch (error) {
    if (error instanceof Error && error.message.includes(CHECKSUM_MISMATCH)) throw digestMismatch(digest, error);
    throw error;
  }
}

export function digestMismatch(digest: Digest, cause?: unknown): Refusal {
  return new Refusal('digest-mismatch', { detail: { digest }, cause });
}

/** Opens an object; `null` if it is gone. The range must lie within the object: R2 ignores one that does not. */
export async function openObject(env: Bucket, key: string, range: ByteRange | null): Promise<ReadableStream | null> {
  const object = await persistent(() => env.BLOBS.get(key, range ? { range } : undefined));
  return object?.body ?? null;
}

/** Opens an object of an upload, which exists unless another request has deleted it. @throws Error if it is gone */
export async function openSurely(env: Bucket, key: string, range: ByteRange | null): Promise<ReadableStream> {
  const stream = await openObject(env, key, range);
  if (!stream) throw new Error(`the object ${key} of an upload is gone`);
  return stream;
}

export async function readText(env: Bucket, key: string): Promise<string | null> {
  return persistent(async () => (await (await env.BLOBS.get(key))?.text()) ?? null);
}

export async function putText(env: Bucket, key: string, text: string): Promise<void> {
  await env.BLOBS.put(key, text, { httpMetadata: { contentType: 'text/plain' } });
}

export async function deleteObjects(env: Bucket, keys: string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += DELETE_MAX_KEYS) {
    await persistent(() => env.BLOBS.delete(keys.slice(at, at + DELETE_MAX_KEYS)));
  }
}

/** Up to 1,000 keys after `startAfter`, in order. */
export async function listObjectKeys(env: Bucket, prefix: string, startAfter?: string): Promise<string[]> {
  const page = await persistent(() => env.BLOBS.list({ prefix, ...(startAfter ? { startAfter } : {}) }));
  return page.objects.map((object) => object.key);
}

/** An object as R2 describes it. */
export interface StoredObject {
  key: string;
  /** Bytes. */
  size: number;
  /** Milliseconds since the epoch. */
  uploadedAt: number;
  /**
   * From the checksum that R2 verified when the object was put, not from the bytes as they are now. `null` for an object that
   * was put in parts, or without such a checksum.
   */
  digest: Digest | null;
}

/** Up to `limit` objects after `startAfter`, in the order of their keys. `more`: true if others follow. */
export async function listObjects(
  env: Bucket,
  prefix: string,
  startAfter: string,
  limit: number,
): Promise<{ objects: StoredObject[]; more: boolean }> {
  const page = await persistent(() => env.BLOBS.list({ prefix, limit, ...(startAfter ? { startAfter } : {}) }));
  return { objects: page.objects.map(storedOf), more: page.truncated };
}

/** `null` if the object is gone. */
export async function statObject(env: Bucket, key: string): Promise<StoredObject | null> {
  const object = await persistent(() => env.BLOBS.head(key));
  return object && storedOf(object);
}

function storedOf({ key, size, uploaded, checksums: { sha256, sha512 } }: R2Object): StoredObject {
  const digest = sha256 ? digestFromHash('sha256', sha256) : sha512 ? digestFromHash('sha512', sha512) : null;
  return { key, size, uploadedAt: uploaded.getTime(), digest };
}

/** Hashes the bytes as they are now, in the runtime, without holding them in memory. `null` if the object is gone. */
export async function hashObject(env: Bucket, key: string, algorithm: DigestAlgorithm): Promise<Digest | null> {
  const stream = await openObject(env, key, null);
  if (!stream) return null;
  const hash = new crypto.DigestStream(webCryptoName(algorithm));
  await stream.pipeTo(hash);
  return digestFromHash(algorithm, await hash.digest);
}

/** R2's error codes: InternalError, ServiceUnavailable, TooManyRequests (a write a second for each key). */
const TRANSIENT = /\((?:10001|10043|10058)\)/;

/**
 * Milliseconds before each retry, while the client waits. The last pause exceeds the second in which R2 takes one write per
 * key.
 */
const PAUSES = [100, 400, 1200];

/**
 * Retries a call that can be repeated: a read, a deletion, a put of bytes in memory or of objects that still exist. Never a put
 * of a request body, which can be read only once.
 */
export async function persistent<T>(call: () => Promise<T>): Promise<T> {
  for (const pause of PAUSES) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof Error && TRANSIENT.test(error.message))) throw error;
      await scheduler.wait(pause);
    }
  }
  return call();
}

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
