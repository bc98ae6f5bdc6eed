/**
 * Receives the bytes of a chunk behind what an upload has staged already, as far as the limit leaves space; and finishes an
 * upload that others finish at the same time.
 */
import { settings } from '../../env.ts';
import type { ByteRange } from '../../oci/range.ts';
import { isSpoilt } from '../../storage/objects.ts';
import { append, discard, type Staged, stagedSize } from '../../storage/staging.ts';
import type { Incoming } from '../../storage/streams.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { fits, type Limit, OverLimit, requireRoom, roomIn } from '../usage/staged.ts';
import { openStaged, type Session, type Stores, type Upload } from './sessions.ts';

export interface Chunk {
  body: Incoming;
  /** The range of `Content-Range`; `null` if there is none. */
  range: ByteRange | null;
}

/**
 * Writes the bytes of a chunk. The upload's row does not name them yet. @throws chunk-out-of-order, length-mismatch,
 * quota-exceeded
 */
export async function receive(env: Stores, upload: Upload, session: Session, { body, range }: Chunk) {
  const before = openStaged(session);
  const offset = stagedSize(before);
  if (range && range.offset !== offset) throw outOfStep(offset);
  if (range && body.length !== null && body.length !== range.length) throw lengthMismatch();
  requireRoom(session.limit, offset + (body.length ?? 0));
  const appended = await appendWithin(env, upload, before, body, session.limit);
  if (range && !appended.interrupted && stagedSize(appended.staged) !== offset + range.length) {
    await discard(env, appended.written);
    throw lengthMismatch();
  }
  return appended;
}

/** Appends a body; one of unknown length is cut off where the space ends. @throws quota-exceeded */
async function appendWithin(env: Stores, upload: Upload, before: Staged, body: Incoming, limit: Limit | null) {
  const lane = settings(env);
  const room = limit === null ? Number.POSITIVE_INFINITY : roomIn(limit);
  const narrowed = { ...lane, room, maxPutBytes: Math.min(lane.maxPutBytes, room) };
  const appended = await append(env, upload.id, before, body, narrowed, upload.algorithm).catch((error: unknown) => {
    const isNarrower = room < lane.maxPutBytes || lane.verify === 'stream';
    const isCutOff = isNarrower && isRefusal(error, 'blob-too-large', 'length-mismatch');
    throw limit !== null && isCutOff ? new OverLimit(limit, null) : error;
  });
  if (limit === null || fits(limit, stagedSize(appended.staged))) return appended;
  await discard(env, appended.written);
  throw new OverLimit(limit, null);
}

export function outOfStep(offset: number): Refusal {
  return new Refusal('chunk-out-of-order', {
    message: `the upload has received ${offset} bytes: continue from there`,
    detail: { offset },
  });
}

export function lengthMismatch(): Refusal {
  return new Refusal('length-mismatch', { message: 'Content-Range does not match the length of the body' });
}

/** Milliseconds to wait for another finish of the same upload. */
const PAUSES = [100, 300, 900, 2700];

/**
 * Runs a finish. If a concurrent one spoils it, waits until that one has won. If none wins, a repeatable finish is tried again.
 * @param hasLost true if another request has changed the upload since
 * @param isRepeatable true if the request has no body, which could be read only once
 * @throws the error of the last attempt
 */
export async function finishDespiteOthers<T>(
  attempt: () => Promise<T>,
  hasLost: (error: unknown) => Promise<boolean>,
  isRepeatable: boolean,
): Promise<T> {
  let next = attempt;
  for (const pause of PAUSES) {
    try {
      return await next();
    } catch (error) {
      if (!isSpoilt(error)) throw error;
      await scheduler.wait(pause);
      if (await hasLost(error)) throw error;
      if (!isRepeatable) next = () => Promise.reject(error);
    }
  }
  return next();
}
