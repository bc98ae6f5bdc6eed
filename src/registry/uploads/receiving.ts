/**
 * Receives the bytes of a chunk within the storage limit of the namespace. Repeats the finish of an upload that a concurrent
 * finish has disturbed.
 */
import type { ByteRange } from '../../oci/range.ts';
import { append } from '../../storage/appending.ts';
import { isSpoilt } from '../../storage/objects.ts';
import { discard, partsAfter, stagedSize } from '../../storage/staging.ts';
import type { Incoming } from '../../storage/streams.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { fits, OverLimit, requireRoom, roomIn } from '../usage/staged.ts';
import { stagingLimits } from './part-numbers.ts';
import { openStaged, type Session, type Stores, type Upload } from './sessions.ts';

export interface Chunk {
  body: Incoming;
  /** The range in `Content-Range`, or `null` if the request has no such header. */
  range: ByteRange | null;
  /** True if the chunk is one of the parts of an upload (`parts.ts`). */
  isPart?: boolean;
}

/**
 * Writes the bytes of a chunk to R2. The caller then saves the result in the upload's row.
 * @throws chunk-out-of-order, length-mismatch, quota-exceeded
 */
export async function receive(env: Stores, upload: Upload, session: Session, { body, range, isPart = false }: Chunk) {
  const before = openStaged(session);
  const offset = stagedSize(before);
  if (range && range.offset !== offset) throw outOfStep(offset);
  if (range && body.length !== null && body.length !== range.length) throw lengthMismatch();
  requireRoom(session.limit, offset + (body.length ?? 0));
  const appended = await appendWithin(env, upload, session, body);
  if (range && !appended.interrupted && stagedSize(appended.staged) !== offset + range.length) {
    await discard(env, appended.written);
    throw lengthMismatch();
  }
  if (isPart) appended.staged = { ...appended.staged, parts: partsAfter(before.parts, stagedSize(appended.staged) - offset) };
  return appended;
}

/**
 * Stores a body after the staged bytes. If the length of the body is unknown, stops reading when the limit is exceeded.
 * @throws quota-exceeded
 */
async function appendWithin(env: Stores, upload: Upload, session: Session, body: Incoming) {
  const { limit, staged } = session;
  const lane = stagingLimits(env, upload, session);
  const room = limit === null ? Number.POSITIVE_INFINITY : roomIn(limit);
  const narrowed = { ...lane, room, maxPutBytes: Math.min(lane.maxPutBytes, room) };
  const appended = await append(env, upload.id, staged, body, narrowed, upload.algorithm).catch((error: unknown) => {
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

/**
 * The pauses, in milliseconds, after each of which a failed finish checks whether a concurrent finish of the same upload has
 * succeeded.
 */
const PAUSES = [100, 300, 900, 2700];

/**
 * Finishes an upload. A concurrent finish can make `attempt` fail (`isSpoilt`). In that case waits until the other one has
 * succeeded. If it does not succeed, repeats a repeatable attempt.
 * @param hasLost returns true if another request has changed the upload meanwhile
 * @param isRepeatable true if the request has no body. A body can be read only once
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
