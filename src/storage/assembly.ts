/** Finishes an upload: makes one verified object of everything that is staged (`staging.ts`). */
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
 * Makes one object of everything that is staged and returns its key. It deletes nothing that is staged, so it can be called
 * again after a failure.
 * @throws digest-mismatch if the bytes have another digest. The object of a multipart upload stays then: another finish may
 *   have published it, and only the upload's row tells.
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
 * Completes the multipart upload, with the pieces as its last parts. Content that was not hashed as it came is read and hashed.
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
 * Uploads the pieces as parts. Two concurrent finishes write the same parts, and one can spoil the other's: R2 then refuses to
 * complete (`isSpoilt`).
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
 * After another finish has completed the object, and died before it wrote the row or lost to another request. The object is
 * this content, or begins with its parts and may continue with other bytes.
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
 * Copies the sources into a new multipart object and hashes them: for content that is too long for one put, or was half
 * finished.
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

/** The digest of an object's bytes, by the algorithm of the expected digest. */
async function digestOfObject(env: Bucket, key: string, expected: Digest, partBytes: number): Promise<Digest> {
  const hash = hasher(algorithmOf(expected));
  for await (const bytes of buffersOf(await openSurely(env, key, null), partBytes)) await hash.update(bytes);
  return hash.digest();
}
