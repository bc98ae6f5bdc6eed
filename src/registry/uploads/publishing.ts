/** Publishes the bytes of an upload as a blob. */
import { settings } from '../../env.ts';
import type { Background } from '../../events/batch.ts';
import { algorithmOf, type Digest } from '../../oci/digest.ts';
import { assemble } from '../../storage/assembly.ts';
import { blobKey } from '../../storage/keys.ts';
import { deleteObjects, putVerified } from '../../storage/objects.ts';
import { discard, NOTHING_STAGED, type Staged, stagedSize } from '../../storage/staging.ts';
import { readSmall, storeBody } from '../../storage/streams.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import type { Blob } from '../blobs.ts';
import { requireRoom } from '../usage/staged.ts';
import { stagingLimits } from './part-numbers.ts';
import { type Chunk, lengthMismatch, outOfStep, receive } from './receiving.ts';
import { commitSession, FRESH, type Session, type Stores, type Upload } from './sessions.ts';

/**
 * Verifies the staged bytes and the last chunk, then publishes the blob (invariant 1).
 * @throws overtaken if another request has changed the upload meanwhile; digest-mismatch, length-mismatch, quota-exceeded
 */
export async function publish(
  env: Stores,
  upload: Upload,
  session: Session,
  digest: Digest,
  chunk: Chunk,
  work: Background,
): Promise<void> {
  requireRoom(session.limit, stagedSize(session.staged) + (chunk.body.length ?? 0));
  const { blob, written } = isWhole(env, session, chunk)
    ? await putWhole(env, digest, chunk)
    : await putStaged(env, upload, session, digest, chunk, work);
  const deleteUnused = (kept: string | null) =>
    work.waitUntil(deleteObjects(env, unusedKeys(session.staged, written, blob.objectKey, kept)));
  try {
    deleteUnused(await commitSession(env, upload, session, blob));
  } catch (error) {
    if (isRefusal(error)) deleteUnused(null);
    throw error;
  }
  if (session.version === 0) rememberFinished(upload.id);
}

/** Returns the R2 keys to delete after a commit. @param kept the key in the blob's row; `null` if the commit failed */
function unusedKeys(before: Staged, written: Staged, objectKey: string, kept: string | null): string[] {
  const parts = before.multipart ? [before.multipart.key] : [];
  // The multipart object of `before` is kept, because the concurrent request may have published it.
  if (kept === null) return [objectKey, ...keysOfPieces(written)].filter((key) => !parts.includes(key));
  return [objectKey, ...parts, ...keysOfPieces(before), ...keysOfPieces(written)].filter((key) => key !== kept);
}

function keysOfPieces({ pieces }: Staged): string[] {
  return pieces.map(({ key }) => key);
}

interface Verified {
  blob: Blob;
  /** The bytes that this request has staged in pieces or parts. */
  written: Staged;
}

/** Returns true if the whole blob comes in one request of known length. R2 then verifies the digest during a single put. */
function isWhole(env: Stores, session: Session, { body }: Chunk): boolean {
  if (session.version > 0) return false;
  return !body.stream || (body.length !== null && body.length <= settings(env).maxPutBytes);
}

async function putWhole(env: Stores, digest: Digest, { body, range }: Chunk): Promise<Verified> {
  const size = body.length ?? 0;
  if (range && range.offset !== 0) throw outOfStep(0);
  if (range && range.length !== size) throw lengthMismatch();
  const objectKey = blobKey(digest);
  const put = (content: ReadableStream | Uint8Array | string) => putVerified(env, objectKey, content, digest);
  await (body.stream ? storeBody({ sources: [], size: 0 }, body.stream, size, put) : put(''));
  return { blob: { digest, size, objectKey }, written: NOTHING_STAGED };
}

async function putStaged(
  env: Stores,
  upload: Upload,
  session: Session,
  digest: Digest,
  chunk: Chunk,
  work: Background,
): Promise<Verified> {
  const { staged, written, interrupted } = await receive(env, { ...upload, algorithm: algorithmOf(digest) }, session, chunk);
  try {
    if (interrupted) throw new Refusal('body-incomplete', { cause: interrupted });
    const objectKey = await assemble(env, upload.id, staged, digest, stagingLimits(env, upload, session));
    return { blob: { digest, size: stagedSize(staged), objectKey }, written };
  } catch (error) {
    work.waitUntil(discard(env, written));
    throw error;
  }
}

/**
 * The ids of uploads that this isolate has finished in a single request. Such an upload has no row, because writing a row would
 * be the most expensive part of the push. A request to cancel such an upload is answered with 404 if this isolate knows the id,
 * otherwise with 204.
 */
const finishedAtOnce = new Set<string>();
const FINISHED_MAX = 2000;

export function isFinishedAtOnce(id: string): boolean {
  return finishedAtOnce.has(id);
}

function rememberFinished(id: string): void {
  const [oldest] = finishedAtOnce;
  if (oldest !== undefined && finishedAtOnce.size >= FINISHED_MAX) finishedAtOnce.delete(oldest);
  finishedAtOnce.add(id);
}

/** The maximum length in bytes of a blob that `publishSmall` holds in memory. */
const SMALL_BLOB = 256 * 1024;

/** True if `publishSmall` may try. @param length bytes, or `null` if unknown */
export function isSmall(length: number | null): length is number {
  return length !== null && length > 0 && length <= SMALL_BLOB;
}

/**
 * Publishes a small blob that comes in one request, without a look at the upload before. Its batch requires that the upload has
 * received nothing, and what `upload.assumed` says.
 * @returns `null` if the blob is published. Otherwise something was refused. Returns the chunk then, which can be read again
 * @throws body-incomplete
 */
export async function publishSmall(
  env: Stores,
  upload: Upload,
  digest: Digest,
  { body, range }: Chunk,
  work: Background,
): Promise<Chunk | null> {
  const bytes = await readSmall(body.stream as ReadableStream, body.length ?? 0);
  const chunk = () => ({ body: { stream: new Response(bytes).body, length: bytes.byteLength }, range });
  try {
    await publish(env, upload, FRESH, digest, chunk(), work);
    return null;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return chunk();
  }
}
