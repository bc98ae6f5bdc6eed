/**
 * Operations on R2 objects: put with a checksum, read with a range, delete, and multipart uploads for blobs that are too long
 * for a single put. R2 requires that all parts but the last have the same size, at least 5 MiB. R2 cannot verify a checksum of
 * a multipart object, so the caller hashes the bytes. Transient errors are retried. `keys.ts` describes the keys.
 */
import type { Env } from '../env.ts';
import { algorithmOf, type Digest, type DigestAlgorithm, digestFromHash, hexOf, webCryptoName } from '../oci/digest.ts';
import type { ByteRange } from '../oci/range.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { streamKey } from './keys.ts';

export type Bucket = Pick<Env, 'BLOBS'>;

/** R2's error code if the content of a put does not have the given checksum. R2 then stores nothing. */
const CHECKSUM_MISMATCH = '(10037)';
/** The maximum number of keys in one delete call to R2. */
const DELETE_MAX_KEYS = 1000;

/**
 * Stores `body` under `key` if it has the digest `digest`. R2 computes the hash, so it costs the Worker no CPU time.
 * @throws digest-mismatch if the body has another digest. Nothing is stored then
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

/**
 * Opens an object. Returns `null` if it does not exist. The range must lie within the object, because R2 ignores a range that
 * does not.
 */
export async function openObject(env: Bucket, key: string, range: ByteRange | null): Promise<ReadableStream | null> {
  const object = await persistent(() => env.BLOBS.get(key, range ? { range } : undefined));
  return object?.body ?? null;
}

/** Opens an object that must exist. @throws Error if a concurrent request has deleted the object */
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

/** Returns up to 1,000 keys that have the prefix and sort after `startAfter`, in ascending order. */
export async function listObjectKeys(env: Bucket, prefix: string, startAfter?: string): Promise<string[]> {
  const page = await persistent(() => env.BLOBS.list({ prefix, ...(startAfter ? { startAfter } : {}) }));
  return page.objects.map((object) => object.key);
}

/** The metadata of an object in R2. */
export interface StoredObject {
  key: string;
  /** The size in bytes. */
  size: number;
  /** The time of the upload, in milliseconds since the epoch. */
  uploadedAt: number;
  /**
   * The digest that R2 verified when the object was put. It does not say whether the object was damaged later. `null` if the
   * object was put in parts or without a checksum.
   */
  digest: Digest | null;
}

/**
 * Returns up to `limit` objects whose keys sort after `startAfter`, in the order of their keys. `more` is true if further
 * objects follow.
 */
export async function listObjects(
  env: Bucket,
  prefix: string,
  startAfter: string,
  limit: number,
): Promise<{ objects: StoredObject[]; more: boolean }> {
  const page = await persistent(() => env.BLOBS.list({ prefix, limit, ...(startAfter ? { startAfter } : {}) }));
  return { objects: page.objects.map(storedOf), more: page.truncated };
}

/** Returns the metadata of an object, or `null` if the object does not exist. */
export async function statObject(env: Bucket, key: string): Promise<StoredObject | null> {
  const object = await persistent(() => env.BLOBS.head(key));
  return object && storedOf(object);
}

function storedOf({ key, size, uploaded, checksums: { sha256, sha512 } }: R2Object): StoredObject {
  const digest = sha256 ? digestFromHash('sha256', sha256) : sha512 ? digestFromHash('sha512', sha512) : null;
  return { key, size, uploadedAt: uploaded.getTime(), digest };
}

/**
 * Reads an object and returns the digest of its bytes. The runtime streams the bytes, so they are not held in memory. Returns
 * `null` if the object does not exist.
 */
export async function hashObject(env: Bucket, key: string, algorithm: DigestAlgorithm): Promise<Digest | null> {
  const stream = await openObject(env, key, null);
  if (!stream) return null;
  const hash = new crypto.DigestStream(webCryptoName(algorithm));
  await stream.pipeTo(hash);
  return digestFromHash(algorithm, await hash.digest);
}

/**
 * R2's codes of errors after which a retry may succeed: InternalError, ServiceUnavailable, TooManyRequests (over one write per
 * second to a key).
 */
const TRANSIENT = /\((?:10001|10043|10058)\)/;

/**
 * The pauses before the retries, in milliseconds. They are short, because a client waits. The last one is longer than a second,
 * because R2 takes only one write per second for each key.
 */
const PAUSES = [100, 400, 1200];

/**
 * Makes a call to R2 and repeats it after a transient error. The call must be repeatable: a read, a deletion, or a put of bytes
 * in memory. A put of a request body is not, because a body can be read only once.
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

/** The maximum number of parts in one multipart upload of R2. */
export const MAX_PARTS = 10_000;

/** An unfinished multipart upload and the parts that were uploaded to it so far. */
export interface Multipart {
  key: string;
  uploadId: string;
  etags: string[];
  /** The numbers of the parts, in ascending order. Absent if they are 1, 2, 3 and so on. */
  numbers?: number[];
  size: number;
}

/**
 * Uploads one more part. If `before` is `null`, this first creates a multipart upload under a new key.
 * @param number the number of the part. By default, it follows the number of the last part
 */
export async function appendPart(
  env: Bucket,
  before: Multipart | null,
  bytes: Uint8Array,
  number: number = lastNumber(before) + 1,
): Promise<Multipart> {
  const multipart = before ?? (await createMultipart(env));
  const { etag } = await persistent(() => resume(env, multipart).uploadPart(number, bytes));
  return { ...withPart(multipart, etag, number), size: multipart.size + bytes.byteLength };
}

/** Adds a part that was uploaded. The size stays. */
export function withPart(multipart: Multipart, etag: string, number: number): Multipart {
  return { ...multipart, etags: [...multipart.etags, etag], numbers: [...numbersOf(multipart), number] };
}

function numbersOf({ etags, numbers }: Multipart): number[] {
  return numbers ?? etags.map((_, n) => n + 1);
}

/** Returns the number of the last part, or 0 if there is none. */
export function lastNumber(multipart: Multipart | null): number {
  return multipart === null ? 0 : (numbersOf(multipart).at(-1) ?? 0);
}

async function createMultipart(env: Bucket): Promise<Multipart> {
  const key = streamKey();
  const httpMetadata = { contentType: 'application/octet-stream' };
  const { uploadId } = await persistent(() => env.BLOBS.createMultipartUpload(key, { httpMetadata }));
  return { key, uploadId, etags: [], size: 0 };
}

export async function completeMultipart(env: Bucket, multipart: Multipart): Promise<void> {
  const numbers = numbersOf(multipart);
  const parts = multipart.etags.map((etag, n) => ({ etag, partNumber: numbers[n] ?? n + 1 }));
  await persistent(() => resume(env, multipart).complete(parts));
}

/**
 * Returns true for two errors of R2: 10024 (the multipart upload was completed or aborted) and 10025 (another request replaced
 * a part).
 */
export function isSpoilt(error: unknown): boolean {
  return error instanceof Error && /\((?:10024|10025)\)/.test(error.message);
}

/** Aborts a multipart upload, so that R2 deletes its parts. Does nothing if the upload is completed. */
export async function abortMultipart(env: Bucket, multipart: Multipart): Promise<void> {
  await resume(env, multipart)
    .abort()
    .catch(() => {});
}

function resume(env: Bucket, { key, uploadId }: Multipart) {
  return env.BLOBS.resumeMultipartUpload(key, uploadId);
}
