/** Uploads in parts. Each part except the last has a minimum size, which is checked when the upload is finished. */
import type { Background } from '../../events/batch.ts';
import type { Digest } from '../../oci/digest.ts';
import { discard, PART_MIN_BYTES, stagedSize } from '../../storage/staging.ts';
import { type Reservation, release, reserve } from '../../storage/streams.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { statBlobForPush } from '../blobs.ts';
import { closeSession, loadSession, openStaged, type Stores, type Upload } from './sessions.ts';
import { finishUpload } from './uploads.ts';

/**
 * Finishes an upload in parts. If it was already finished with the same digest, this succeeds again.
 * @param isOld true if an upload without bytes has expired
 * @throws upload-unknown; request-invalid if no bytes were received; length-mismatch if a part is too small; conflict if the
 *   repository has the blob, which closes the upload; digest-mismatch, quota-exceeded
 */
export async function finishParts(
  env: Stores,
  upload: Upload,
  digest: Digest,
  { isOld, work }: { isOld: boolean; work: Background },
): Promise<void> {
  const session = await loadSession(env, upload, digest);
  const isFinished = session.state === 'committed' && session.digest === digest;
  if (!isFinished) {
    const staged = openStaged(session);
    if (session.version === 0 && isOld) throw new Refusal('upload-unknown');
    if (stagedSize(staged) === 0)
      throw new Refusal('request-invalid', { message: 'the upload has no bytes: send a part first' });
    if (staged.parts?.tooSmall) {
      const message = `each part except the last must have at least ${PART_MIN_BYTES} bytes: start another upload`;
      throw new Refusal('length-mismatch', { message });
    }
    if (await isHeld(env, upload, digest)) {
      if (await closeSession(env, upload, session.version)) work.waitUntil(discard(env, staged));
      throw new Refusal('conflict', { message: 'the repository has this layer already' });
    }
  }
  await finishUpload(env, { ...upload, session }, digest, { body: { stream: null, length: 0 }, range: null }, work);
}

/** True if the repository has the blob, which then gets a lease: the client is told that it has uploaded it (invariant 8). */
async function isHeld(env: Stores, { repository }: Upload, digest: Digest): Promise<boolean> {
  try {
    await statBlobForPush(env, repository, digest);
    return true;
  } catch (error) {
    if (isRefusal(error, 'blob-unknown')) return false;
    throw error;
  }
}

/** Does work that holds bytes of a body in memory. @throws memory-full if other requests leave too little memory */
export async function withMemory<T>(bytes: number, work: () => Promise<T>): Promise<T> {
  const reservation: Reservation = { bytes: 0 };
  reserve(reservation, bytes);
  try {
    return await work();
  } finally {
    release(reservation);
  }
}
