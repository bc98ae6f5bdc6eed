/** Finishes an upload: combines all its staged bytes (see `staging.ts`) into one R2 object and verifies the digest. */
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { keptHash, RunningHash } from './hash.ts';
import { blobKey } from './keys.ts';
import {
  abortMultipart,
  appendPart,
  type Bucket,
  completeMultipart,
  digestMismatch,
  lastNumber,
  type Multipart,
  openSurely,
  persistent,
  putVerified,
  statObject,
  withPart,
} from './objects.ts';
import { openers, type Staged, type StagingLimits, stagedSize, tailSize } from './staging.ts';
import { buffersOf, concatenated } from './streams.ts';

/**
 * Combines all staged bytes into one R2 object and returns its key. The staged bytes are kept, so that the caller can repeat
 * the call after a failure.
 * @throws digest-mismatch if the bytes have another digest. If they were in a multipart upload, the completed object is kept,
 * because a concurrent finish may have published it; only the upload's row in D1 says whether one did
 */
export async function assemble(
  env: Bucket,
  uploadId: string,
  staged: Staged,
  digest: Digest,
  limits: StagingLimits,
): Promise<string> {
  const size = stagedSize(staged);
  if (staged.digest && algorithmOf(staged.digest) === algorithmOf(digest) && staged.digest !== digest) {
    throw digestMismatch(digest);
  }
  if (staged.multipart) return assembleParts(env, uploadId, staged, staged.multipart, digest, limits);
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
 * Completes the multipart upload, with the pieces as its last parts. If the digest was not computed while the bytes arrived,
 * the function reads and hashes the completed object, from the place up to which this isolate has the hash.
 */
async function assembleParts(
  env: Bucket,
  uploadId: string,
  staged: Staged,
  multipart: Multipart,
  digest: Digest,
  limits: StagingLimits,
): Promise<string> {
  const { partBytes } = limits;
  try {
    await completeMultipart(env, await allParts(env, staged, multipart, limits));
  } catch (error) {
    const object = await statObject(env, multipart.key);
    if (!object) throw error;
    return assembleAgain(env, staged, multipart, object.size, digest, partBytes);
  }
  if (staged.digest === digest) return multipart.key;
  const size = stagedSize(staged);
  const hash = keptHash(uploadId, algorithmOf(digest), size) ?? new RunningHash(algorithmOf(digest));
  if ((await digestOfObject(env, multipart.key, size, hash, partBytes)) !== digest) throw digestMismatch(digest);
  return multipart.key;
}

/** Uploads the pieces as the last parts of the multipart upload. */
async function allParts(
  env: Bucket,
  staged: Staged,
  multipart: Multipart,
  { partBytes, claimParts }: StagingLimits,
): Promise<Multipart> {
  if (staged.pieces.length === 0) return multipart;
  if (staged.lastPart) return withPart(multipart, staged.lastPart, lastNumber(multipart) + 1);
  const tail = tailSize(staged);
  let whole = multipart;
  let number = claimParts ? await claimParts(Math.ceil(tail / partBytes)) : lastNumber(multipart) + 1;
  for await (const bytes of buffersOf(concatenated(openers(env, staged), tail), partBytes)) {
    whole = await appendPart(env, whole, bytes, number++);
  }
  return whole;
}

/**
 * Assembles an upload whose multipart object is complete already, although the upload's row says otherwise. An earlier finish
 * completed it and then died, or another request changed the row first. The completed object has the expected content, or it
 * begins with the parts of this upload and continues with bytes of another request. If it is shorter than these parts, bytes
 * of a chunk that came at the same time as that finish are lost, and the client has to upload the blob again.
 * @throws upload-unknown if parts are lost
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
  if (found < beginning) throw new Refusal('upload-unknown');
  if (found === size) {
    const whole = await digestOfObject(env, key, size, new RunningHash(algorithmOf(digest)), partBytes);
    if (whole === digest) return key;
  }
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
  const hash = new RunningHash(algorithmOf(digest));
  let whole: Multipart | null = null;
  try {
    for await (const bytes of buffersOf(concatenated(sources, size), partBytes)) {
      hash.update(bytes);
      whole = await appendPart(env, whole, bytes);
    }
    if (hash.digest() !== digest) throw digestMismatch(digest);
    if (!whole) throw new Error('nothing is staged');
    await completeMultipart(env, whole);
    return whole.key;
  } catch (error) {
    if (whole) await abortMultipart(env, whole);
    throw error;
  }
}

/** Adds the bytes of an object after those in `hash`, and returns the digest of all. @param size the size of the object */
async function digestOfObject(env: Bucket, key: string, size: number, hash: RunningHash, partBytes: number): Promise<Digest> {
  if (hash.size === size) return hash.digest();
  const rest = await openSurely(env, key, { offset: hash.size, length: size - hash.size });
  for await (const bytes of buffersOf(rest, partBytes)) hash.update(bytes);
  return hash.digest();
}
