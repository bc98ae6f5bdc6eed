/**
 * Uploads of a blob: append, finish, cancel. An upload that has received nothing, or comes in a single request, has no row: its
 * signed location is all there is of it.
 *
 * A request first writes its bytes, under keys of its own, and then changes the row by compare-and-swap (invariant 5,
 * `sessions.ts`). If two requests are concurrent, one wins. The bytes of the other are discarded, and it is told how much the
 * upload has received.
 *
 * A blob over the namespace's limit (`usage/limit.ts`) is refused before its bytes are received if its length is known,
 * otherwise as soon as they exceed the limit. An upload that is refused for the limit, or for its digest, is closed.
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

/** end-13: bytes received so far. @throws upload-unknown */
export async function uploadOffset(env: Stores, upload: Upload): Promise<number> {
  return stagedSize(openStaged(await loadSession(env, upload)));
}

/**
 * end-5: appends a chunk.
 * @returns the bytes that the upload has received
 * @throws upload-unknown, chunk-out-of-order (`detail.offset` says where to continue), length-mismatch, quota-exceeded
 */
export async function appendToUpload(env: Stores, upload: Upload, chunk: Chunk, work: Background): Promise<number> {
  const session = upload.session ?? (await loadSession(env, upload));
  await requireInStep(upload, session, chunk);
  const refused = async (error: unknown): Promise<never> => {
    await closeIfHopeless(env, upload, session, error, work);
    if (await isOvertaken(env, upload, session, error)) throw outOfStep(await uploadOffset(env, upload));
    throw await explained(env, error);
  };
  const { staged, written, superseded, interrupted } = await receive(env, upload, session, chunk).catch(refused);
  if (written !== NOTHING_STAGED) {
    // If the answer was lost, the chunk may have been saved: a storage error, after which the client asks for the offset.
    await saveOrDiscard(env, upload, session, { staged, written }, work).catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
      return refused(error);
    });
    work.waitUntil(discard(env, superseded));
  }
  if (interrupted) throw new Refusal('body-incomplete', { cause: interrupted });
  return stagedSize(staged);
}

/** Saves what a request has received. If the batch is refused, discards what it has written. */
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
 * Refuses a chunk without Content-Range that comes to an old location: such a chunk begins where its location says, and the
 * request may be a repetition whose bytes were received the first time. @throws chunk-out-of-order
 */
async function requireInStep(upload: Upload, session: Session, { body, range }: Chunk): Promise<void> {
  const offset = stagedSize(openStaged(session));
  if (range || !isStale(upload, session) || (await isEmpty(body))) return;
  throw outOfStep(offset);
}

/** True if the upload has received something since its location was issued. */
function isStale(upload: Upload, session: Session): boolean {
  return upload.offset !== null && upload.offset !== stagedSize(session.staged);
}

/**
 * True if a concurrent request changed the upload. That request may have deleted bytes that this one reads, so any error other
 * than a refusal is a conflict then, not a storage error.
 */
async function isOvertaken(env: Stores, upload: Upload, session: Session, error: unknown): Promise<boolean> {
  if (isRefusal(error)) return error.reason === 'overtaken';
  return (await loadSession(env, upload)).version !== session.version;
}

/** Closes an upload that cannot become the blob any more, and deletes its bytes. */
async function closeIfHopeless(env: Stores, upload: Upload, session: Session, error: unknown, work: Background): Promise<void> {
  if (!isRefusal(error, 'digest-mismatch', 'quota-exceeded')) return;
  if (await closeSession(env, upload, session.version)) work.waitUntil(discard(env, session.staged));
}

/** Bytes of a body for which the limit is read before it is received. Shorter bodies are received first. */
const LIMIT_FIRST = 1024 * 1024;

/** True if the limit is read before a body of this length is received. @param length bytes; `null`: not known */
export function readsLimit(length: number | null): boolean {
  return length === null || length >= LIMIT_FIRST;
}

/** end-4b: a blob in one request, which no other can name. @throws digest-mismatch, length-mismatch, quota-exceeded */
export async function uploadAtOnce(env: Stores, upload: Upload, digest: Digest, chunk: Chunk, work: Background): Promise<void> {
  const { length } = chunk.body;
  const loadLimit = async () => (readsLimit(length) ? limitFor(env, upload.repository, digest) : null);
  const session = upload.session ?? { ...FRESH, limit: await loadLimit() };
  try {
    await publish(env, upload, session, digest, chunk, work);
  } catch (error) {
    if (isRefusal(error, 'overtaken')) throw outOfStep(0);
    throw await explained(env, await asIfNew(env, upload, length ?? 0, error));
  }
}

/**
 * end-6: finishes an upload. If the upload has committed the same digest before, it succeeds again: the first answer may have
 * been lost.
 * @throws digest-mismatch and quota-exceeded, which close the upload; upload-unknown, chunk-out-of-order, length-mismatch
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
      throw await explained(env, await asIfNew(env, upload, size, error));
    }
  }
  await settle(env, upload, digest);
}

/**
 * True if the last chunk came to an old location without Content-Range, and the digest shows that it does not continue what was
 * received. The upload stays open: what it has received may be right.
 */
function isMisplaced(upload: Upload, session: Session, { body, range }: Chunk, error: unknown): boolean {
  const isOtherContent = isRefusal(error, 'digest-mismatch');
  return isOtherContent && !range && body.stream !== null && isStale(upload, session);
}

/**
 * Turns `digest-mismatch` into `quota-exceeded` if the content would not fit. A blob that the namespace holds already is exempt
 * from the limit; without this, a client that claims the digest of a blob without its content would learn whether the namespace
 * holds it.
 */
async function asIfNew(env: Stores, { repository }: Upload, size: number, error: unknown): Promise<unknown> {
  if (!isRefusal(error, 'digest-mismatch')) return error;
  const limit = await limitFor(env, repository, null);
  return limit === null || fits(limit, size) ? error : new OverLimit(limit, size);
}

/**
 * Confirms a finished upload again only while its blob exists, and takes a lease on it (invariant 8). @throws upload-unknown
 */
async function requireStill(env: Stores, { repository }: Upload, digest: Digest): Promise<void> {
  try {
    await statBlobForPush(env, repository, digest);
  } catch (error) {
    if (isRefusal(error, 'blob-unknown')) throw new Refusal('upload-unknown');
    throw error;
  }
}

/** After another request won: succeeds if that one committed the same content. @throws chunk-out-of-order, upload-unknown */
async function settle(env: Stores, upload: Upload, digest: Digest): Promise<void> {
  const session = await loadSession(env, upload);
  if (session.state === 'committed' && session.digest === digest) return requireStill(env, upload, digest);
  throw outOfStep(stagedSize(openStaged(session)));
}

/**
 * Verifies what is staged together with the chunk, then publishes it (invariant 1).
 * @throws overtaken if another request changed the upload meanwhile; digest-mismatch, length-mismatch, quota-exceeded
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

/** Keys that nobody needs after a commit. @param kept the key of the blob's object; `null` if the commit was refused */
function unusedKeys(before: Staged, written: Staged, objectKey: string, kept: string | null): string[] {
  const parts = before.multipart ? [before.multipart.key] : [];
  // A request that won may have published the multipart object that was there before.
  if (kept === null) return [objectKey, ...keysOfPieces(written)].filter((key) => !parts.includes(key));
  return [objectKey, ...parts, ...keysOfPieces(before), ...keysOfPieces(written)].filter((key) => key !== kept);
}

function keysOfPieces({ pieces }: Staged): string[] {
  return pieces.map(({ key }) => key);
}

interface Verified {
  blob: Blob;
  /** The bytes that this request has staged. */
  written: Staged;
}

/** True for the direct lane: the whole blob in one request of known length, for an upload that has received nothing. */
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
 * Finished uploads that came in one request. They have no row: writing one would be the most expensive part of such a push.
 * This isolate does not know what other isolates have finished; cancelling such an upload answers 204 and does nothing.
 */
const finishedAtOnce = new Set<string>();
const FINISHED_MAX = 2000;

function rememberFinished(id: string): void {
  const [oldest] = finishedAtOnce;
  if (oldest !== undefined && finishedAtOnce.size >= FINISHED_MAX) finishedAtOnce.delete(oldest);
  finishedAtOnce.add(id);
}

/** end-14. @throws upload-unknown */
export async function cancelUpload(env: Stores, upload: Upload, work: Background): Promise<void> {
  if (finishedAtOnce.has(upload.id)) throw new Refusal('upload-unknown');
  const staged = await closeSession(env, upload, null);
  if (!staged) throw new Refusal('upload-unknown');
  work.waitUntil(discard(env, staged));
}
