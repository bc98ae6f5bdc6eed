/**
 * Uploads of blobs: append, finish and cancel. An upload that has received nothing, or that arrives in a single request, has no
 * row in D1; its signed location contains all that is known of it.
 *
 * A request first writes its bytes to R2, under keys or part numbers that no other request uses, and then changes the upload's
 * row by compare-and-swap (invariant 5, `sessions.ts`). Of two concurrent requests, one succeeds. The bytes of the other one
 * are discarded, and its client is told how many bytes the upload has received.
 *
 * A blob that exceeds the storage limit of the namespace (`usage/limit.ts`) is refused before its bytes are read if its length
 * is known. Otherwise it is refused as soon as the received bytes exceed the limit. A refusal `quota-exceeded` or
 * `digest-mismatch` closes the upload.
 */
import type { Background } from '../../events/batch.ts';
import type { Digest } from '../../oci/digest.ts';
import { keepHash } from '../../storage/hash.ts';
import { discard, NOTHING_STAGED, type Staged, stagedSize } from '../../storage/staging.ts';
import { isEmpty } from '../../storage/streams.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { statBlobForPush } from '../blobs.ts';
import { limitFor } from '../usage/limit.ts';
import { explained, fits, OverLimit } from '../usage/staged.ts';
import { isFinishedAtOnce, publish } from './publishing.ts';
import { type Chunk, finishDespiteOthers, outOfStep, receive } from './receiving.ts';
import {
  closeSession,
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
  const { staged, written, superseded, hash, interrupted } = await receive(env, upload, session, chunk).catch(refused);
  if (written !== NOTHING_STAGED) {
    // If the answer of D1 is lost, the chunk may be saved. The client gets a storage error and asks for the offset before it
    // continues.
    await saveOrDiscard(env, upload, session, { staged, written }, work).catch((error: unknown) =>
      isRefusal(error) ? refused(error) : Promise.reject(error),
    );
    if (hash) keepHash(upload.id, hash);
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
const isStale = ({ offset }: Upload, { staged }: Session) => offset !== null && offset !== stagedSize(staged);

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

/** Endpoint end-14: cancels an upload. @throws upload-unknown */
export async function cancelUpload(env: Stores, upload: Upload, work: Background): Promise<void> {
  if (isFinishedAtOnce(upload.id)) throw new Refusal('upload-unknown');
  const staged = await closeSession(env, upload, null);
  if (!staged) throw new Refusal('upload-unknown');
  work.waitUntil(discard(env, staged));
}
