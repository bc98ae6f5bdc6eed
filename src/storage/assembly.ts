/** Finishes an upload: combines all its staged bytes (see `staging.ts`) into one R2 object and verifies the digest. */
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { blobKey } from './keys.ts';
import {
  abortMultipart,
  appendPart,
  type Bucket,
  completeMultipart,
  digestMismatch,
  type Multipart,
  openSurely,
  persistent,
  putVerified,
  statObject,
} from './objects.ts';
import { openers, type Staged, type StagingLimits, stagedSize } from './staging.ts';
import { buffersOf, concatenated, hasher } from './streams.ts';

/**
 * Combines all staged bytes into one R2 object and returns its key. The staged bytes are kept, so that the caller can repeat
 * the call after a failure.
 * @throws digest-mismatch if the bytes have another digest. If they were in a multipart upload, the completed object is kept,
 * because a concurrent finish may have published it; only the upload's row in D1 says whether one did
 */
export async function assemble(env: Bucket, staged: Staged, digest: Digest, limits: StagingLimits): Promise<string> {
  const size = stagedSize(staged);
  if (staged.digest && algorithmOf(staged.digest) === algorithmOf(digest) && staged.digest !== digest) {
    throw digestMismatch(digest);
  }
  if (staged.multipart) return assembleParts(env, staged, staged.multipart, digest, limits.partBytes);
  const sources = openers(env, staged);
  if (size > limits.maxPutBytes) return assembleLong(env, sources, size, digest, limits.partBytes);
  return persistent(async () => {
    const key = blobKey(digest);
    const [only, ...more] = sources;
    const body = !only ? '' : more.length === 0 ? await only() : concatenated(sources, size);
    await putVerified(env, key, body, digest);
    return key;
  });
}

/**
 * Completes the multipart upload, with the pieces as its last parts. If no digest was computed while the bytes arrived, reads
 * and hashes the completed object.
 */
async function assembleParts(
  env: Bucket,
  staged: Staged,
  multipart: Multipart,
  digest: Digest,
  partBytes: number,
): Promise<string> {
  try {
    await completeMultipart(env, await allParts(env, staged, multipart, partBytes));
  } catch (error) {
    const object = await statObject(env, multipart.key);
    if (!object) throw error;
    return assembleAgain(env, staged, multipart, object.size, digest, partBytes);
  }
  if (staged.digest !== digest && (await digestOfObject(env, multipart.key, digest, partBytes)) !== digest) {
    throw digestMismatch(digest);
  }
  return multipart.key;
}

/**
 * Uploads the pieces as the last parts of the multipart upload. Two concurrent finishes of the same upload write parts with the
 * same numbers, so one can replace a part of the other. In that case R2 refuses to complete the upload (see `isSpoilt`).
 */
async function allParts(env: Bucket, staged: Staged, multipart: Multipart, partBytes: number): Promise<Multipart> {
  if (staged.pieces.length === 0) return multipart;
  if (staged.lastPart) return { ...multipart, etags: [...multipart.etags, staged.lastPart] };
  let whole = multipart;
  const rest = concatenated(openers(env, staged), stagedSize(staged) - multipart.size);
  for await (const bytes of buffersOf(rest, partBytes)) whole = await appendPart(env, whole, bytes);
  return whole;
}

/**
 * Assembles an upload whose multipart object is complete already, although the upload's row says otherwise. An earlier finish
 * completed it and then died, or another request changed the row first. The completed object has the expected content, or it
 * begins with the parts of this upload and continues with bytes of another request.
 */
async function assembleAgain(
  env: Bucket,
  staged: Staged,
  { key, size: beginning }: Multipart,
  found: number,
  digest: Digest,
  partBytes: number,
): Promise<string> {
  const size = stagedSize(staged);
  if (found === size && (await digestOfObject(env, key, digest, partBytes)) === digest) return key;
  const parts = () => openSurely(env, key, { offset: 0, length: beginning });
  return assembleLong(env, [parts, ...openers(env, staged)], size, digest, partBytes);
}

/**
 * Copies the sources into a new multipart object and hashes the bytes. Used for content that is too long for a single put, and
 * if an earlier finish has completed the multipart upload.
 */
async function assembleLong(
  env: Bucket,
  sources: (() => Promise<ReadableStream>)[],
  size: number,
  digest: Digest,
  partBytes: number,
): Promise<string> {
  const hash = hasher(algorithmOf(digest));
  let whole: Multipart | null = null;
  try {
    for await (const bytes of buffersOf(concatenated(sources, size), partBytes)) {
      await hash.update(bytes);
      whole = await appendPart(env, whole, bytes);
    }
    if ((await hash.digest()) !== digest) throw digestMismatch(digest);
    if (!whole) throw new Error('nothing is staged');
    await completeMultipart(env, whole);
    return whole.key;
  } catch (error) {
    if (whole) await abortMultipart(env, whole);
    throw error;
  }
}

/** Reads an object and returns the digest of its bytes, with the algorithm of the expected digest. */
async function digestOfObject(env: Bucket, key: string, expected: Digest, partBytes: number): Promise<Digest> {
  const hash = hasher(algorithmOf(expected));
  for await (const bytes of buffersOf(await openSurely(env, key, null), partBytes)) await hash.update(bytes);
  return hash.digest();
}
