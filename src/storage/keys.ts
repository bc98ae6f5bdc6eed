/**
 * The layout of the bucket, on one page:
 *
 *   blobs/<algorithm>/<hex>/<nonce>        a blob whose digest was known at the put; R2 stores the checksum, too
 *   blobs/stream/<nonce>                   a blob that was hashed while it arrived, so its digest was known only at the end
 *   manifests/<algorithm>/<hex>/<nonce>    a manifest that is too large for its row in D1
 *   registry                               the id of the registry that owns the bucket (src/ownership.ts)
 *   uploads/<upload id>/<nonce>            a piece of an unfinished upload; ids begin with their time, so old ones sort first
 *
 * Every write uses a new nonce, so no key except `registry` is written twice, and a late deletion cannot hit a new object
 * (invariant 7).
 */
import { type Digest, isDigest } from '../oci/digest.ts';

export const REGISTRY_KEY = 'registry';
export const UPLOADS_PREFIX = 'uploads/';
/**
 * The common prefix of the R2 keys of blobs whose key contains the digest. The names of both digest algorithms begin with
 * `sha`.
 */
export const DIGESTS_PREFIX = 'blobs/sha';
export const STREAMS_PREFIX = 'blobs/stream/';
export const MANIFESTS_PREFIX = 'manifests/';

export function blobKey(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}/${nonce()}`;
}

export function streamKey(): string {
  return `${STREAMS_PREFIX}${nonce()}`;
}

export function manifestKey(digest: Digest): string {
  return `${MANIFESTS_PREFIX}${digest.replace(':', '/')}/${nonce()}`;
}

export function uploadPrefix(uploadId: string): string {
  return `${UPLOADS_PREFIX}${uploadId}/`;
}

export function pieceKey(uploadId: string): string {
  return `${uploadPrefix(uploadId)}${nonce()}`;
}

export function uploadIdOf(key: string): string {
  return key.slice(UPLOADS_PREFIX.length, key.indexOf('/', UPLOADS_PREFIX.length));
}

/** Returns the digest in the R2 key of a blob or manifest, or `null` if the key contains none (a streamed blob). */
export function digestOfKey(key: string): Digest | null {
  const [, algorithm, hex] = key.split('/');
  const digest = `${algorithm}:${hex}`;
  return isDigest(digest) ? digest : null;
}

/** Returns a string that sorts after all R2 keys of this blob and before the keys of the next digest. */
export function endOfKeys(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}/~`;
}

function nonce(): string {
  return crypto.randomUUID().replaceAll('-', '');
}
