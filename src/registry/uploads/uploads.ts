/**
 * Uploads of a blob: append, finish, cancel. Until one has received something, and for one that comes in a single request,
 * there is no row: who holds its signed location holds a fresh upload.
 *
 * Bytes are written first, under keys of the request's own, and the row is changed after them by compare-and-swap (invariant
 * 5, `sessions.ts`). Of two requests at once one wins; the other's bytes are discarded, and it is told where the
 * upload really stands. What its organization has no room for is refused before it is taken, as far as its length is known, and
 * otherwise as soon as it is past the room: the upload is over then, and its bytes go (`usage/limit.ts`).
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
import { limitFor, requireRoomFor } from '../usage/limit.ts';
import { explained, fits, OverLimit, requireRoom } from '../usage/room.ts';
import { uncontested } from './contested.ts';
import { type Chunk, lengthMismatch, outOfStep, receive } from './receiving.ts';
import {
  closeSession,
  commitSession,
  FRESH,
  loadSession,
  openStaged,
  type Session,
  type Stores,
  saveSession,
  stagingOf,
  type Upload,
} from './sessions.ts';

/** end-13: bytes received so far. @throws upload-unknown */
export async function uploadOffset(env: Stores, upload: Upload): Promise<number> {
  return stagedSize(openStaged(await loadSession(env, upload)));
}

/**
 * end-5. Returns the upload's new offset.
 * @throws upload-unknown, chunk-out-of-order (416, `detail.offset` says where to go on), length-mismatch, quota-exceeded
 */
export async function appendToUpload(env: Stores, upload: Upload, chunk: Chunk, work: Background): Promise<number> {
  const session = await loadSession(env, upload);
  await requireInStep(upload, session, chunk);
  const { staged, written, superseded, interrupted } = await receive(env, upload, session, chunk).catch(
    async (error: unknown) => {
      await endHopeless(env, upload, session, error, work);
      throw (await overtaken(env, upload, session, error))
        ? outOfStep(await uploadOffset(env, upload))
        : await explained(env, error);
    },
  );
  if (written !== NOTHING_STAGED) {
    if (!(await saveSession(env, upload, session, staged))) {
      work.waitUntil(discard(env, written));
      throw await unsaved(env, upload, session, stagedSize(staged), work);
    }
    work.waitUntil(discard(env, superseded));
  }
  if (interrupted) throw new Refusal('body-incomplete', { cause: interrupted });
  return stagedSize(staged);
}

/**
 * A chunk without Content-Range begins where its location says. A request that is sent again to its old location is refused, as
 * its bytes may have been received the first time. @throws chunk-out-of-order
 */
async function requireInStep(upload: Upload, session: Session, { body, range }: Chunk): Promise<void> {
  const offset = stagedSize(openStaged(session));
  if (range || !isStale(upload, session) || (await isEmpty(body))) return;
  throw outOfStep(offset);
}

/** Whether the upload stood elsewhere when its location was given out. */
function isStale(upload: Upload, session: Session): boolean {
  return upload.offset !== null && upload.offset !== stagedSize(session.staged);
}

/** Why a chunk could not be saved: other uploads took the room while it came, which ends this one, or another request changed it. */
async function unsaved(env: Stores, upload: Upload, before: Session, size: number, work: Background): Promise<unknown> {
  const session = await loadSession(env, upload);
  const { limit } = session;
  if (session.version !== before.version || limit === null || fits(limit, size))
    return outOfStep(stagedSize(openStaged(session)));
  const error = new OverLimit(limit, size);
  await endHopeless(env, upload, session, error, work);
  return explained(env, error);
}

/**
 * Of a request that failed: has another one changed the upload meanwhile? Then bytes may have been taken from under this
 * one, which is a matter of order, not a fault.
 */
async function overtaken(env: Stores, upload: Upload, session: Session, error: unknown): Promise<boolean> {
  if (isRefusal(error)) return false;
  return (await loadSession(env, upload)).version !== session.version;
}

/** What can never become this blob, or has no room, is over: its bytes are of no use. */
async function endHopeless(env: Stores, upload: Upload, session: Session, error: unknown, work: Background): Promise<void> {
  if (!isRefusal(error, 'digest-mismatch', 'quota-exceeded')) return;
  if (await closeSession(env, upload, session.version)) work.waitUntil(discard(env, session.staged));
}

/** Bytes from which on it is asked before they come whether there is room: fewer are sooner put and, if need be, deleted again. */
const ASKED_FIRST = 1024 * 1024;

/** end-4b: a blob in one request, by an upload that nobody else can know of. @throws digest-mismatch, length-mismatch, quota-exceeded */
export async function uploadAtOnce(env: Stores, upload: Upload, digest: Digest, chunk: Chunk, work: Background): Promise<void> {
  const { length } = chunk.body;
  const asks = length === null || length >= ASKED_FIRST;
  const session = { ...FRESH, limit: asks ? await limitFor(env, upload.repository, digest) : null };
  try {
    if (!(await publish(env, upload, session, digest, chunk, work))) throw outOfStep(0);
  } catch (error) {
    throw await explained(env, await asIfNew(env, upload, length ?? 0, error));
  }
}

/**
 * end-6. Asked again for a digest that it has committed, an upload says yes again: the first answer may have been lost.
 * @throws digest-mismatch and quota-exceeded, and closes the upload; upload-unknown, chunk-out-of-order, length-mismatch
 */
export async function finishUpload(env: Stores, upload: Upload, digest: Digest, chunk: Chunk, work: Background): Promise<void> {
  const session = await loadSession(env, upload, digest);
  if (session.state === 'committed' && session.digest === digest) return requireStill(env, upload, digest);
  openStaged(session);
  const attempt = () => publish(env, upload, session, digest, chunk, work);
  try {
    if (await uncontested(attempt, (error) => overtaken(env, upload, session, error), chunk.body.stream === null)) return;
  } catch (error) {
    if (isMisplaced(upload, session, chunk, error)) throw outOfStep(stagedSize(session.staged));
    await endHopeless(env, upload, session, error, work);
    if (!(await overtaken(env, upload, session, error))) {
      const size = stagedSize(session.staged) + (chunk.body.length ?? 0);
      throw await explained(env, await asIfNew(env, upload, size, error));
    }
  }
  await settle(env, upload, digest);
}

/**
 * The last chunk came to an old location without Content-Range, and the digest shows that it does not belong behind what was
 * received. The upload stays open: what it has received may be right.
 */
function isMisplaced(upload: Upload, session: Session, { body, range }: Chunk, error: unknown): boolean {
  const isOtherContent = isRefusal(error, 'digest-mismatch');
  return isOtherContent && !range && body.stream !== null && isStale(upload, session);
}

/**
 * What the organization holds costs nothing, but whoever claims a digest without its content must not learn by that whether some
 * repository of it holds that.
 */
async function asIfNew(env: Stores, { repository }: Upload, size: number, error: unknown): Promise<unknown> {
  if (!isRefusal(error, 'digest-mismatch')) return error;
  const limit = await limitFor(env, repository, null);
  return limit === null || fits(limit, size) ? error : new OverLimit(limit, size);
}

/** Says so once more only of what is there still, and then takes a lease (invariant 8). @throws upload-unknown */
async function requireStill(env: Stores, { repository }: Upload, digest: Digest): Promise<void> {
  try {
    await statBlobForPush(env, repository, digest);
  } catch (error) {
    if (isRefusal(error, 'blob-unknown')) throw new Refusal('upload-unknown');
    throw error;
  }
}

/** Another request was faster: fine if it committed the same content. */
async function settle(env: Stores, upload: Upload, digest: Digest): Promise<void> {
  const session = await loadSession(env, upload);
  if (session.state === 'committed' && session.digest === digest) return requireStill(env, upload, digest);
  throw outOfStep(stagedSize(openStaged(session)));
}

/**
 * Verifies what is staged together with what comes, then publishes it (invariant 1). `false` where another request changed
 * the upload meanwhile.
 */
async function publish(env: Stores, upload: Upload, session: Session, digest: Digest, chunk: Chunk, work: Background) {
  requireRoom(session.limit, stagedSize(session.staged) + (chunk.body.length ?? 0));
  const { blob, written } = isWhole(env, session, chunk)
    ? await putWhole(env, digest, chunk)
    : await putStaged(env, upload, session, digest, chunk, work);
  const kept = await commitSession(env, upload, session, blob);
  work.waitUntil(deleteObjects(env, leftOver(session.staged, written, blob.objectKey, kept)));
  if (kept !== null && session.version === 0) rememberFinished(upload.id);
  if (kept === null) {
    await requireRoomFor(env, upload.repository, digest, { size: blob.size, staging: stagingOf(upload.id, session) });
  }
  return kept !== null;
}

/** Keys of no use after a commit. `kept` is the key of the blob, `null` where another request was faster. */
function leftOver(before: Staged, written: Staged, objectKey: string, kept: string | null): string[] {
  const parts = before.multipart ? [before.multipart.key] : [];
  // Whoever was faster may have published the object of the parts that were there before.
  if (kept === null) return [objectKey, ...keysOfPieces(written)].filter((key) => !parts.includes(key));
  return [objectKey, ...parts, ...keysOfPieces(before), ...keysOfPieces(written)].filter((key) => key !== kept);
}

function keysOfPieces({ pieces }: Staged): string[] {
  return pieces.map(({ key }) => key);
}

interface Verified {
  blob: Blob;
  /** What this request has staged on the way. */
  written: Staged;
}

/** The direct lane: the whole blob in one request of known length, for an upload that has received nothing. */
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
 * Uploads that came in one request and were finished: they have no row, and a row each would be the dearest part of a push. What
 * another isolate has finished is not known here; its cancellation is a 204 and cancels nothing.
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
