/**
 * Uploads of a blob: append, finish, cancel. Until one has received something, and for one that comes in a single request,
 * there is no row: who holds its signed location holds a fresh upload.
 *
 * Bytes are written first, under keys of the request's own, and the row is changed after them by compare-and-swap (invariant
 * 5, `upload-sessions.ts`). Of two requests at once one wins; the other's bytes are discarded, and it is told where the
 * upload really stands.
 */
import { settings } from '../env.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { ByteRange } from '../oci/range.ts';
import { assemble } from '../storage/assembly.ts';
import { blobKey } from '../storage/keys.ts';
import { deleteObjects, putVerified } from '../storage/objects.ts';
import { append, discard, NOTHING_STAGED, type Staged, stagedSize } from '../storage/staging.ts';
import type { Incoming } from '../storage/streams.ts';
import type { Background } from './batch.ts';
import {
  closeSession,
  commitSession,
  loadSession,
  openStaged,
  type Session,
  type Stores,
  saveSession,
  type Upload,
} from './upload-sessions.ts';

export interface Chunk {
  body: Incoming;
  /** The bytes it claims to be, `null` where it does not say. */
  range: ByteRange | null;
}

/** end-13: bytes received so far. @throws BLOB_UPLOAD_UNKNOWN */
export async function uploadOffset(env: Stores, upload: Upload): Promise<number> {
  return stagedSize(openStaged(await loadSession(env, upload)));
}

/**
 * end-5. Returns the upload's new offset.
 * @throws BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID (416, `detail.offset` says where to go on), SIZE_INVALID
 */
export async function appendToUpload(env: Stores, upload: Upload, chunk: Chunk, work: Background): Promise<number> {
  const session = await loadSession(env, upload);
  const appended = await receive(env, upload, openStaged(session), chunk);
  const { staged, written, superseded, interrupted } = appended;
  if (written !== NOTHING_STAGED) {
    if (!(await saveSession(env, upload, session, staged))) {
      work.waitUntil(discard(env, written));
      throw outOfStep(await uploadOffset(env, upload));
    }
    work.waitUntil(discard(env, superseded));
  }
  if (interrupted) throw new RegistryError('UNAVAILABLE', { message: 'the connection broke', cause: interrupted });
  return stagedSize(staged);
}

/** Writes the chunk's bytes behind what is staged. The row does not know of them yet. */
async function receive(env: Stores, upload: Upload, staged: Staged, { body, range }: Chunk) {
  const offset = stagedSize(staged);
  if (range && range.offset !== offset) throw outOfStep(offset);
  if (range && body.length !== null && body.length !== range.length) throw lengthMismatch();
  const appended = await append(env, upload.id, staged, body, settings(env), upload.algorithm);
  if (range && !appended.interrupted && stagedSize(appended.staged) !== offset + range.length) {
    await discard(env, appended.written);
    throw lengthMismatch();
  }
  return appended;
}

function outOfStep(offset: number): RegistryError {
  return new RegistryError('BLOB_UPLOAD_INVALID', {
    message: `the upload stands at ${offset} bytes: go on from there`,
    detail: { offset },
  });
}

function lengthMismatch(): RegistryError {
  return new RegistryError('SIZE_INVALID', { message: 'Content-Range and the length of the body differ' });
}

/**
 * end-6, and end-4b with an upload nobody has seen yet. Verifies, then publishes (invariant 1). Asked again for a digest
 * it has committed, it says yes again: the first answer may have been lost.
 * @throws DIGEST_INVALID and closes the upload; BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID, SIZE_INVALID
 */
export async function finishUpload(env: Stores, upload: Upload, digest: Digest, chunk: Chunk, work: Background): Promise<void> {
  const session = await loadSession(env, upload);
  if (session.state === 'committed' && session.digest === digest) return;
  const before = openStaged(session);
  let staged: Staged = before;
  let loose: Staged = NOTHING_STAGED;
  let objectKey: string;
  let size: number;
  try {
    if (isWhole(env, session, chunk)) {
      size = chunk.body.length ?? 0;
      objectKey = await putWhole(env, digest, chunk);
    } else {
      const appended = await receive(env, upload, before, chunk);
      loose = appended.written;
      staged = appended.staged;
      if (appended.interrupted) throw new RegistryError('UNAVAILABLE', { cause: appended.interrupted });
      size = stagedSize(staged);
      objectKey = await assemble(env, staged, digest, settings(env));
    }
  } catch (error) {
    work.waitUntil(discard(env, loose));
    if (error instanceof RegistryError && error.code === 'DIGEST_INVALID') await closeSession(env, upload, session);
    throw error;
  }
  const kept = await commitSession(env, upload, session, { digest, size, objectKey });
  if (kept !== objectKey) work.waitUntil(discardUnpublished(env, objectKey, kept === null));
  if (kept !== null) {
    work.waitUntil(discard(env, { ...staged, multipart: null, pieces: [...before.pieces, ...loose.pieces] }));
    return;
  }
  await settle(env, upload, digest);
}

/** The direct lane: the whole blob in one request of known length, for an upload that has received nothing. */
function isWhole(env: Stores, session: Session, { body }: Chunk): boolean {
  if (session.version > 0) return false;
  return !body.stream || (body.length !== null && body.length <= settings(env).maxPutBytes);
}

async function putWhole(env: Stores, digest: Digest, { body, range }: Chunk): Promise<string> {
  if (range && range.offset !== 0) throw outOfStep(0);
  if (range && range.length !== (body.length ?? 0)) throw lengthMismatch();
  const objectKey = blobKey(digest);
  await putVerified(env, objectKey, body.stream ?? '', digest);
  return objectKey;
}

/**
 * Bytes that no row names. After a refused commit the key of a multipart upload may be published by the request that won,
 * so only keys made for this request alone are deleted; what is left is the collector's.
 */
async function discardUnpublished(env: Stores, objectKey: string, refused: boolean): Promise<void> {
  if (refused && objectKey.startsWith('blobs/stream/')) return;
  await deleteObjects(env, [objectKey]);
}

/** Another request was faster: fine if it committed the same content. */
async function settle(env: Stores, upload: Upload, digest: Digest): Promise<void> {
  const session = await loadSession(env, upload);
  if (session.state === 'committed' && session.digest === digest) return;
  throw outOfStep(stagedSize(openStaged(session)));
}

/** end-14. @throws BLOB_UPLOAD_UNKNOWN */
export async function cancelUpload(env: Stores, upload: Upload, work: Background): Promise<void> {
  const session = await loadSession(env, upload);
  openStaged(session);
  if (await closeSession(env, upload, session)) return work.waitUntil(discard(env, session.staged));
  throw outOfStep(await uploadOffset(env, upload));
}
