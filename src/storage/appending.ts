/**
 * Appends the bytes of a request to an upload: in the staged lane as pieces, in the hashed lane as parts of one multipart
 * upload, and a piece for the rest (see `staging.ts`).
 */
import type { DigestAlgorithm } from '../oci/digest.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { keptHash, RunningHash } from './hash.ts';
import { appendPart, type Bucket, isSpoilt, MAX_PARTS } from './objects.ts';
import {
  type Appended,
  appendPiece,
  discard,
  merged,
  openers,
  type Staged,
  type StagingLimits,
  stagedSize,
  tailSize,
  unchanged,
} from './staging.ts';
import { buffersOf, copyInto, FIRST_BUFFER, type Incoming, isFree, type Start } from './streams.ts';

/**
 * The maximum number of bytes that a finish can read and hash within 300 s of CPU time, which is the limit of a request on a
 * paid plan (`limits.cpu_ms`). Hashing a megabyte takes up to 6 ms.
 */
const STREAM_MAX_BYTES = 46 * 1024 ** 3;

/**
 * Stores the bytes of one request body after the bytes that are already staged.
 * @param uploadId the id of the registry's upload, not of R2's multipart upload
 * @throws blob-too-large if the upload becomes longer than its lane or the storage limit allows
 */
export async function append(
  env: Bucket,
  uploadId: string,
  staged: Staged,
  body: Incoming,
  limits: StagingLimits,
  algorithm: DigestAlgorithm,
): Promise<Appended> {
  const size = stagedSize(staged);
  const lane = limits.verify === 'stream' ? Math.min(MAX_PARTS * limits.partBytes, STREAM_MAX_BYTES) : limits.maxPutBytes;
  const capacity = Math.min(lane, limits.room ?? lane);
  if (body.length !== null && size + body.length > capacity) throw tooLarge(capacity);
  const { stream, length } = body;
  if (!stream || length === 0) return unchanged(staged);
  const whole = length !== null && length <= limits.maxPutBytes ? length : null;
  const appending = { env, uploadId, before: staged, stream, length, limits, capacity: capacity - size };
  if (isHashed(staged, whole, limits)) return appendParts(appending, algorithm);
  if (whole !== null) return appendPiece(env, uploadId, staged, stream, whole, limits);
  return appendPieces(appending);
}

/**
 * True if the hashed lane takes the body. It holds a part in memory, so if there is no memory for that, a body of known length
 * becomes a piece, which needs none. The finish then reads and hashes it.
 * @param length the length of the body if it fits into one put, otherwise `null`
 */
function isHashed(staged: Staged, length: number | null, { verify, partBytes }: StagingLimits): boolean {
  const tail = tailSize(staged);
  if (verify !== 'stream' || tail >= partBytes) return false;
  return length === null || isFree(Math.min(partBytes, tail + memoryFor(length)));
}

/** Returns the size of a buffer for a body. With one byte more than the body it is not full at the end, and does not grow. */
function memoryFor(length: number): number {
  return length + 1;
}

function tooLarge(capacity: number): Refusal {
  return new Refusal('blob-too-large', {
    message: `a blob may have up to ${capacity} bytes on this registry: this one is not stored`,
  });
}

interface Appending {
  env: Bucket;
  uploadId: string;
  before: Staged;
  stream: ReadableStream;
  length: number | null;
  limits: StagingLimits;
  /** The maximum number of bytes of the body. */
  capacity: number;
}

/** Stores a body of unknown length as pieces. */
async function appendPieces({ env, uploadId, before, stream, limits, capacity }: Appending): Promise<Appended> {
  const store = (bytes: Uint8Array, appended: Appended) => withPiece(env, uploadId, appended, bytes, limits);
  return storeBuffers({ env, before, stream, capacity, size: limits.partBytes, gap: 0, expected: FIRST_BUFFER }, store);
}

/** Hashes a body, and stores it together with the pieces before it: as parts, and the rest as a piece. */
async function appendParts(appending: Appending, algorithm: DigestAlgorithm): Promise<Appended> {
  const { env, uploadId, before, stream, length, limits, capacity } = appending;
  const { partBytes } = limits;
  const size = stagedSize(before);
  const hash = hashAt(uploadId, algorithm, size);
  const tail = { sources: openers(env, before), size: tailSize(before) };
  const nextNumber = numbering(appending);
  let isClosed = false;
  const store = async (buffer: Uint8Array, appended: Appended, gap: number): Promise<Appended> => {
    const bytes = buffer.subarray(gap);
    hash?.update(bytes);
    if (buffer.byteLength === partBytes && !isClosed) {
      if (gap > 0) await copyInto(buffer.subarray(0, gap), tail);
      const grown = await withNextPart(env, before, appended, buffer, await nextNumber());
      if (grown) return grown;
      isClosed = true;
    }
    const isLast = size === 0 && !isClosed && appended.staged.multipart !== null;
    const [next, part] = await Promise.all([
      withPiece(env, uploadId, appended, bytes, limits),
      isLast ? appendPart(env, appended.staged.multipart, bytes) : null,
    ]);
    return { ...next, staged: { ...next.staged, lastPart: part?.etags.at(-1) ?? null } };
  };
  const start = { gap: tail.size, expected: length === null ? FIRST_BUFFER : memoryFor(length) };
  const appended = await storeBuffers({ env, before, stream, capacity, size: partBytes, ...start }, store);
  return { ...appended, staged: { ...appended.staged, digest: hash?.digest() ?? null }, hash };
}

/** Returns the hash of the first `size` bytes of the upload. `null` if this isolate does not have it. */
function hashAt(uploadId: string, algorithm: DigestAlgorithm, size: number): RunningHash | null {
  if (size === 0) return new RunningHash(algorithm);
  const hash = keptHash(uploadId, algorithm, size);
  return hash?.size === size ? hash : null;
}

/**
 * Returns a function that returns the number of the next part. If other requests may write parts of the same multipart upload,
 * the numbers are claimed: at once for a body of known length, otherwise more and more at a time.
 */
function numbering({ before, length, limits: { claimParts, partBytes } }: Appending): () => Promise<number | undefined> {
  if (before.multipart === null || !claimParts) return async () => undefined;
  const expected = length === null ? 0 : Math.floor((tailSize(before) + length) / partBytes);
  let [taken, next, end] = [0, 0, 0];
  return async () => {
    if (next === end) {
      const count = Math.max(1, expected, taken);
      next = await claimParts(count);
      end = next + count;
    }
    taken++;
    return next++;
  };
}

/**
 * Uploads the pieces and the new bytes, which are together in `part`, as a part.
 * @returns `null` if the multipart upload takes no more parts: its numbers are used up, or an earlier finish has completed it
 */
async function withNextPart(
  env: Bucket,
  before: Staged,
  appended: Appended,
  part: Uint8Array,
  number: number | undefined,
): Promise<Appended | null> {
  const { staged, superseded, written } = appended;
  if (number !== undefined && number > MAX_PARTS) return null;
  try {
    const multipart = await appendPart(env, staged.multipart, part, number);
    return {
      ...appended,
      staged: { ...staged, multipart, pieces: [], digest: null, lastPart: null },
      superseded: { ...superseded, pieces: [...superseded.pieces, ...staged.pieces] },
      written: { ...written, multipart: before.multipart === null ? multipart : null },
    };
  } catch (error) {
    // If parts of this request are lost with the multipart upload, the client has to send the bytes again.
    if (isSpoilt(error) && staged.multipart === before.multipart) return null;
    throw error;
  }
}

async function withPiece(
  env: Bucket,
  uploadId: string,
  before: Appended,
  bytes: Uint8Array,
  limits: StagingLimits,
): Promise<Appended> {
  const piece = await appendPiece(env, uploadId, before.staged, bytes, bytes.byteLength, limits);
  return {
    ...piece,
    superseded: merged(before.superseded, piece.superseded),
    written: merged(before.written, piece.written),
  };
}

interface Buffers extends Start {
  env: Bucket;
  before: Staged;
  stream: ReadableStream;
  capacity: number;
  /** The size of a buffer. */
  size: number;
}

/** Passes a body to `store` buffer by buffer. If `store` fails, discards what it has stored before. */
async function storeBuffers(
  { env, before, stream, capacity, size, ...start }: Buffers,
  store: (buffer: Uint8Array, appended: Appended, gap: number) => Promise<Appended>,
): Promise<Appended> {
  let appended = unchanged(before);
  let interrupted: unknown = null;
  let [received, free] = [0, start.gap];
  try {
    for await (const buffer of wholeBuffers(stream, size, start, (error) => (interrupted = error))) {
      received += buffer.byteLength - free;
      if (received > capacity) throw tooLarge(capacity);
      appended = await store(buffer, appended, free);
      free = 0;
    }
  } catch (error) {
    await discard(env, appended.written).catch(() => {});
    throw error;
  }
  return { ...appended, interrupted };
}

/**
 * Yields buffers as `buffersOf` does. If the connection breaks, reports the error to `broken` and ends, so that the caller can
 * keep the bytes before the error.
 */
async function* wholeBuffers(
  stream: ReadableStream,
  size: number,
  start: Start,
  broken: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  const buffers = buffersOf(stream, size, 'left', start);
  try {
    for (;;) {
      const next = await buffers.next().catch((error: unknown) => {
        if (error instanceof Refusal) throw error;
        broken(error);
      });
      if (!next || next.done) return;
      yield next.value;
    }
  } finally {
    await buffers.return(undefined);
  }
}
