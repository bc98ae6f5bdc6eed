/**
 * Uploads of blobs: append, finish and cancel. An upload that has received nothing, or that arrives in a single request, has no
 * row in D1; its signed location contains all that is known of it.
 *
 * A request first writes its bytes to R2 under new keys and then changes the upload's row by compare-and-swap (invariant 5,
 * `sessions.ts`). Of two concurrent requests, one succeeds. The bytes of the other one are discarded, and its client is told
 * how many bytes the upload has received.
 *
 * A blob that exceeds the storage limit of the namespace (`usage/limit.ts`) is refused before its bytes are read if its length
 * is known. Otherwise it is refused as soon as the received bytes exceed the limit. A refusal `quota-exceeded` or
 * `digest-mismatch` closes the upload.
 */
import { settings } from '../../env.ts';
import type { Background } from '../../events/batch.ts';
import { algorithmOf, type Digest } from '../../oci/digest.ts';
import { assemble } from '../../storage/assembly.ts';
import { blobKey } from '../../storage/keys.ts';
import { deleteObjects, putVerified } from '../../storage/objects.ts';
import { discard, NOTHING_STAGED, type Staged, stagedSize } from '../../storage/staging.ts';
import { isEmpty, storeBody } from '../../storage/streams.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { type Blob, statBlobForPush } from '../blobs.ts';
import { limitFor } from '../usage/limit.ts';
import { explained, fits, OverLimit, requireRoom } from '../usage/staged.ts';
import { type Chunk, finishDespiteOthers, lengthMismatch, outOfStep, receive } from './receiving.ts';
import {
  closeSession,
  commitSession,
  FRESH,
  loadSession,
  openStaged,
  type Session,
  type Stores,
  saveSession,
  type Upload,
} from './sessions.ts';

/** Endpoint end-13: returns the number of bytes received up to now. @throws upload-unknown */
export async function uploadOffset(env: Stores, upload: Upload): Promise<number> {
  return stagedSize(openStaged(await loadSession(env, upload)));
}

/**
 * Endpoint end-5: appends a chunk. @returns the number of bytes that the upload has received @throws upload-unknown,
 * chunk-out-of-order (`detail.offset` is the offset to continue at), length-mismatch, quota-exceeded
 */
export async function appendToUpload(env: Stores, upload: Upload, chunk: Chunk, work: Background): Promise<number> {
  const session = upload.session ?? (await loadSession(env, upload));
  await requireInStep(upload, session, chunk);
  const refused = async (error: unknown): Promise<never> => {
    await closeIfHopeless(env, upload, session, error, work);
    if (await isOvertaken(env, upload, session, error)) throw outOfStep(await uploadOffset(env, upload));
    throw await explained(env, upload.repository, error);
  };
  const { staged, written, superseded, interrupted } = await receive(env, upload, session, chunk).catch(refused);
  if (written !== NOTHING_STAGED) {
    // If the answer of D1 is lost, the chunk may be saved. The client gets a storage error and asks for the offset before it
    // continues.
    await saveOrDiscard(env, upload, session, { staged, written }, work).catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
      return refused(error);
    });
    work.waitUntil(discard(env, superseded));
  }
  if (interrupted) throw new Refusal('body-incomplete', { cause: interrupted });
  return stagedSize(staged);
}

/** Saves in the upload's row where the bytes of a request are staged. If the batch fails, discards the bytes. */
async function saveOrDiscard(
  env: Stores,
  upload: Upload,
  session: Session,
  { staged, written }: { staged: Staged; written: Staged },
  work: Background,
): Promise<void> {
  try {
    await saveSession(env, upload, session, staged);
  } catch (error) {
    if (isRefusal(error)) work.waitUntil(discard(env, written));
    throw error;
  }
}

/**
 * Refuses a chunk that has no Content-Range and is sent to an outdated location. Such a chunk begins at the offset of that
 * location, so it may repeat bytes that were already received. @throws chunk-out-of-order
 */
async function requireInStep(upload: Upload, session: Session, { body, range }: Chunk): Promise<void> {
  const offset = stagedSize(openStaged(session));
  if (range || !isStale(upload, session) || (await isEmpty(body))) return;
  throw outOfStep(offset);
}

/** True if the upload has received bytes since its location was issued. */
function isStale(upload: Upload, session: Session): boolean {
  return upload.offset !== null && upload.offset !== stagedSize(session.staged);
}

/** Returns true if a concurrent request changed the upload. It may have deleted bytes that this request was reading. */
async function isOvertaken(env: Stores, upload: Upload, session: Session, error: unknown): Promise<boolean> {
  if (isRefusal(error)) return error.reason === 'overtaken';
  return (await loadSession(env, upload)).version !== session.version;
}

/** Closes an upload and deletes its bytes if the error means that the upload can never succeed. */
async function closeIfHopeless(env: Stores, upload: Upload, session: Session, error: unknown, work: Background): Promise<void> {
  if (!isRefusal(error, 'digest-mismatch', 'quota-exceeded')) return;
  if (await closeSession(env, upload, session.version)) work.waitUntil(discard(env, session.staged));
}

/**
 * The minimum length of a body for which the storage limit is read before receiving it. Otherwise only the commit checks it.
 */
const LIMIT_FIRST = 1024 * 1024;

/** Returns true if the storage limit is read before the body is received. @param length bytes, or `null` if unknown */
export function readsLimit(length: number | null): boolean {
  return length === null || length >= LIMIT_FIRST;
}

/** Endpoint end-4b: uploads a blob in a single request. @throws digest-mismatch, length-mismatch, quota-exceeded */
export async function uploadAtOnce(env: Stores, upload: Upload, digest: Digest, chunk: Chunk, work: Background): Promise<void> {
  const { length } = chunk.body;
  const loadLimit = async () => (readsLimit(length) ? limitFor(env, upload.repository, digest) : null);
  const session = upload.session ?? { ...FRESH, limit: await loadLimit() };
  try {
    await publish(env, upload, session, digest, chunk, work);
  } catch (error) {
    if (isRefusal(error, 'overtaken')) throw outOfStep(0);
    throw await explained(env, upload.repository, await asIfNew(env, upload, length ?? 0, error));
  }
}

/**
 * Endpoint end-6: finishes an upload. If the upload was already finished with the same digest, the call succeeds, because the
 * client may have lost the first answer.
 * @throws digest-mismatch or quota-exceeded, which both close the upload; upload-unknown, chunk-out-of-order, length-mismatch
 */
export async function finishUpload(env: Stores, upload: Upload, digest: Digest, chunk: Chunk, work: Background): Promise<void> {
  const session = upload.session ?? (await loadSession(env, upload, digest));
  if (session.state === 'committed' && session.digest === digest) return requireStill(env, upload, digest);
  openStaged(session);
  const attempt = () => publish(env, upload, session, digest, chunk, work);
  try {
    return await finishDespiteOthers(attempt, (error) => isOvertaken(env, upload, session, error), chunk.body.stream === null);
  } catch (error) {
    if (isMisplaced(upload, session, chunk, error)) throw outOfStep(stagedSize(session.staged));
    await closeIfHopeless(env, upload, session, error, work);
    if (!(await isOvertaken(env, upload, session, error))) {
      const size = stagedSize(session.staged) + (chunk.body.length ?? 0);
      throw await explained(env, upload.repository, await asIfNew(env, upload, size, error));
    }
  }
  await settle(env, upload, digest);
}

/**
 * Returns true if the last chunk has no Content-Range, was sent to an outdated location, and does not continue the received
 * bytes (the digest is wrong). In this case the upload stays open, because the bytes received before may be right.
 */
function isMisplaced(upload: Upload, session: Session, { body, range }: Chunk, error: unknown): boolean {
  const isOtherContent = isRefusal(error, 'digest-mismatch');
  return isOtherContent && !range && body.stream !== null && isStale(upload, session);
}

/**
 * Turns `digest-mismatch` into `quota-exceeded` if the content would exceed the storage limit. The limit does not apply to a
 * blob that the namespace stores already. So the error `digest-mismatch` would tell the client that the namespace stores the
 * blob with this digest.
 */
async function asIfNew(env: Stores, { repository }: Upload, size: number, error: unknown): Promise<unknown> {
  if (!isRefusal(error, 'digest-mismatch')) return error;
  const limit = await limitFor(env, repository, null);
  return limit === null || fits(limit, size) ? error : new OverLimit(limit, size);
}

/** Checks that the blob of a finished upload still exists. Takes a lease on the blob (invariant 8). @throws upload-unknown */
async function requireStill(env: Stores, { repository }: Upload, digest: Digest): Promise<void> {
  try {
    await statBlobForPush(env, repository, digest);
  } catch (error) {
    if (isRefusal(error, 'blob-unknown')) throw new Refusal('upload-unknown');
    throw error;
  }
}

/**
 * Called if a concurrent request has changed the upload. Succeeds if that request finished the upload with the same digest.
 * @throws chunk-out-of-order, upload-unknown
 */
async function settle(env: Stores, upload: Upload, digest: Digest): Promise<void> {
  const session = await loadSession(env, upload);
  if (session.state === 'committed' && session.digest === digest) return requireStill(env, upload, digest);
  throw outOfStep(stagedSize(openStaged(session)));
}

/**
 * Verifies the staged bytes and the last chunk, then publishes the blob (invariant 1).
 * @throws overtaken if another request has changed the upload meanwhile; digest-mismatch, length-mismatch, quota-exceeded
 */
async function publish(
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
    const objectKey = await assemble(env, staged, digest, settings(env));
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

function rememberFinished(id: string): void {
  const [oldest] = finishedAtOnce;
  if (oldest !== undefined && finishedAtOnce.size >= FINISHED_MAX) finishedAtOnce.delete(oldest);
  finishedAtOnce.add(id);
}

/** Endpoint end-14: cancels an upload. @throws upload-unknown */
export async function cancelUpload(env: Stores, upload: Upload, work: Background): Promise<void> {
  if (finishedAtOnce.has(upload.id)) throw new Refusal('upload-unknown');
  const staged = await closeSession(env, upload, null);
  if (!staged) throw new Refusal('upload-unknown');
  work.waitUntil(discard(env, staged));
}
