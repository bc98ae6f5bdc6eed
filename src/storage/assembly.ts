/** The end of an upload: one object of everything that is staged, verified. What staging is, says `staging.ts`. */
import { algorithmOf, type Digest } from '../oci/digest.ts';
import { blobKey } from './keys.ts';
import { abortMultipart, appendPart, completeMultipart, type Multipart } from './multipart.ts';
import { type Bucket, digestMismatch, openObject, putVerified } from './objects.ts';
import { type Limits, openers, type Staged, stagedSize } from './staging.ts';
import { buffersOf, concatenated, hasher } from './streams.ts';

/**
 * Makes one object of everything staged and returns its key. Nothing that is staged is deleted by it, so it may be called
 * again after a failure.
 * @throws DIGEST_INVALID where the bytes hash to something else. The object of a multipart upload is left then: another
 * finish may have published it, and only the upload's row knows.
 */
export async function assemble(env: Bucket, staged: Staged, digest: Digest, limits: Limits): Promise<string> {
  const size = stagedSize(staged);
  if (staged.digest && algorithmOf(staged.digest) === algorithmOf(digest) && staged.digest !== digest) {
    throw digestMismatch(digest);
  }
  if (staged.multipart) return assembleParts(env, staged, staged.multipart, digest, limits.partBytes);
  if (size > limits.maxPutBytes) return assembleLong(env, staged, digest, limits.partBytes);
  const key = blobKey(digest);
  const sources = openers(env, staged);
  const [only, ...more] = sources;
  const body = !only ? '' : more.length === 0 ? await only() : concatenated(sources, size);
  await putVerified(env, key, body, digest);
  return key;
}

/** The parts are there, the pieces become the rest of them; what was not hashed on its way in is read once more. */
async function assembleParts(
  env: Bucket,
  staged: Staged,
  multipart: Multipart,
  digest: Digest,
  partBytes: number,
): Promise<string> {
  const { key } = multipart;
  try {
    let whole = multipart;
    if (staged.pieces.length > 0) {
      const rest = concatenated(openers(env, staged), stagedSize(staged) - multipart.size);
      for await (const bytes of buffersOf(rest, partBytes)) whole = await appendPart(env, whole, bytes);
    }
    await completeMultipart(env, whole);
  } catch (error) {
    // An earlier finish may have completed it and died before its row was written: then the object is here.
    const object = await env.BLOBS.head(key);
    if (object?.size !== stagedSize(staged)) throw error;
  }
  if (staged.digest !== digest) await verifyObject(env, key, digest, partBytes);
  return key;
}

/** Longer than one put can be and not hashed yet: pieces into parts, hashed on the way. */
async function assembleLong(env: Bucket, staged: Staged, digest: Digest, partBytes: number): Promise<string> {
  const hash = hasher(algorithmOf(digest));
  let whole: Multipart | null = null;
  try {
    for await (const bytes of buffersOf(concatenated(openers(env, staged), stagedSize(staged)), partBytes)) {
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

async function verifyObject(env: Bucket, key: string, digest: Digest, partBytes: number): Promise<void> {
  const stream = await openObject(env, key, null);
  if (!stream) throw new Error('an object disappeared while it was verified');
  const hash = hasher(algorithmOf(digest));
  for await (const bytes of buffersOf(stream, partBytes)) await hash.update(bytes);
  if ((await hash.digest()) !== digest) throw digestMismatch(digest);
}
