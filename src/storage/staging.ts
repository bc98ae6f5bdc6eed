/**
 * Stores the bytes of an unfinished upload in R2. There are three ways to do it, called lanes:
 *
 *   direct   The digest and the length are known: one put that R2 verifies (`putVerified` in `objects.ts`).
 *   staged   Each chunk becomes an object of its own, called a piece. The finish streams all pieces into one verified put.
 *   hashed   Used with VERIFY=stream. The bytes of the first request are hashed and written to a multipart upload. The bytes of
 *            later requests become pieces, and the finish uploads them as further parts.
 *
 * Two requests never write to the same place: each request uses new keys and a new multipart upload. The upload's row in D1
 * decides which of two concurrent requests wins. R2 requires that all parts but the last have the same size, at least 5 MiB.
 * `partBytes` is that size, and also the maximum number of bytes that one request holds in memory.
 */
import type { Digest, DigestAlgorithm } from '../oci/digest.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { pieceKey } from './keys.ts';
import {
  abortMultipart,
  appendPart,
  type Bucket,
  deleteObjects,
  MAX_PARTS,
  type Multipart,
  openSurely,
  persistent,
} from './objects.ts';
import { buffersOf, hasher, type Incoming, joined, storeBody } from './streams.ts';

interface Piece {
  key: string;
  size: number;
}

/**
 * The bytes that an upload has received: first the parts of `multipart`, if there is one, then the pieces. Stored as JSON in
 * the upload's row.
 */
export interface Staged {
  multipart: Multipart | null;
  pieces: Piece[];
  /** The digest of all bytes. `null` unless they came in a single request and were hashed while they arrived. */
  digest: Digest | null;
  /**
   * The etag of a last, shorter part with the same bytes as the pieces. With this part the multipart upload can be completed at
   * once. `null` as soon as more bytes arrive, because only the last part may be shorter than the others.
   */
  lastPart: string | null;
  /** Set for an upload in parts (`registry/uploads/parts.ts`). */
  parts?: StagedParts;
}

export interface StagedParts {
  /** The number of bytes of the last part. */
  last: number;
  /** True if a part before the last one is too small. */
  tooSmall: boolean;
}

export interface StagingLimits {
  partBytes: number;
  maxPutBytes: number;
  verify: 'storage' | 'stream';
  /** The maximum size of the whole upload, in bytes, within the storage limit of the namespace. Absent if there is no limit. */
  room?: number;
}

interface Appended {
  staged: Staged;
  /** Objects that `staged` replaces. The caller deletes them once the upload's row contains `staged`. */
  superseded: Staged;
  /** Objects that this request wrote. The caller deletes them if the upload's row could not be changed. */
  written: Staged;
  /**
   * The error that broke the connection, or `null`. The request has failed, but the bytes that arrived before the error are
   * staged.
   */
  interrupted: unknown;
}

export const NOTHING_STAGED: Staged = { multipart: null, pieces: [], digest: null, lastPart: null };

/** The minimum number of bytes of a part in an upload in parts, except the last. R2 and ECR have the same minimum. */
export const PART_MIN_BYTES = 5 * 1024 * 1024;

/** @param size the number of bytes of the part that was received last */
export function partsAfter(before: StagedParts | undefined, size: number): StagedParts {
  return { last: size, tooSmall: before !== undefined && (before.tooSmall || before.last < PART_MIN_BYTES) };
}

export function stagedSize(staged: Staged): number {
  return staged.pieces.reduce((sum, piece) => sum + piece.size, staged.multipart?.size ?? 0);
}

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
  if (!body.stream || body.length === 0) return unchanged(staged);
  const hashed = limits.verify === 'stream' && size === 0;
  const whole = body.length !== null && body.length <= limits.maxPutBytes ? body.length : null;
  if (whole !== null && (whole < limits.partBytes || !hashed)) {
    return appendPiece(env, uploadId, staged, body.stream, whole, limits);
  }
  return appendBuffers(env, uploadId, staged, body.stream, { ...limits, hashed, capacity: capacity - size }, algorithm);
}

function unchanged(staged: Staged): Appended {
  return { staged, superseded: NOTHING_STAGED, written: NOTHING_STAGED, interrupted: null };
}

function tooLarge(capacity: number): Refusal {
  return new Refusal('blob-too-large', {
    message: `a blob may have up to ${capacity} bytes on this registry: this one is not stored`,
  });
}

/**
 * Stores a chunk as a piece. Merges small pieces at the end into it, so that each piece has the size of a part or at least
 * twice the size of the next piece. So even many small chunks leave few pieces. The finish can read only few pieces, because
 * each takes one of the Worker's 1,000 subrequests. Merging copies a byte several times; the number of copies grows with the
 * logarithm of the number of chunks.
 */
async function appendPiece(
  env: Bucket,
  uploadId: string,
  staged: Staged,
  content: ReadableStream | Uint8Array,
  length: number,
  limits: StagingLimits,
): Promise<Appended> {
  const { kept, absorbed, size } = absorb(staged.pieces, length, limits);
  const piece = { key: pieceKey(uploadId), size };
  const before = { sources: absorbed.map((old) => opener(env, old)), size: size - length };
  const store = (whole: ReadableStream | Uint8Array) => env.BLOBS.put(piece.key, whole);
  if (content instanceof Uint8Array) await persistent(() => store(joined(before, content)));
  else await storeBody(before, content, length, store);
  return {
    staged: { ...staged, pieces: [...kept, piece], digest: null, lastPart: null },
    superseded: { ...NOTHING_STAGED, pieces: absorbed },
    written: { ...NOTHING_STAGED, pieces: [piece] },
    interrupted: null,
  };
}

/**
 * Decides which pieces at the end are merged with a new piece of `length` bytes. Returns these pieces, the pieces to keep, and
 * the size of the merged piece.
 */
function absorb(pieces: Piece[], length: number, { partBytes, maxPutBytes }: StagingLimits) {
  const kept = [...pieces];
  const absorbed: Piece[] = [];
  let size = length;
  for (let last = kept.at(-1); last; last = kept.at(-1)) {
    if (last.size >= partBytes || last.size >= 2 * size || last.size + size > maxPutBytes) break;
    absorbed.unshift(last);
    kept.pop();
    size += last.size;
  }
  return { kept, absorbed, size };
}

interface BufferLane extends StagingLimits {
  hashed: boolean;
  capacity: number;
}

/**
 * Stores a body buffer by buffer: as parts in the lane `hashed`, as pieces in the lane `staged`. Used for a body of unknown
 * length and for a body that must be hashed.
 */
async function appendBuffers(
  env: Bucket,
  uploadId: string,
  before: Staged,
  stream: ReadableStream,
  lane: BufferLane,
  algorithm: DigestAlgorithm,
): Promise<Appended> {
  const hash = lane.hashed ? hasher(algorithm) : null;
  let appended = unchanged(before);
  let interrupted: unknown = null;
  let received = 0;
  try {
    for await (const buffer of wholeBuffers(stream, lane.partBytes, (error) => (interrupted = error))) {
      received += buffer.byteLength;
      if (received > lane.capacity) throw tooLarge(lane.capacity);
      await hash?.update(buffer);
      appended = await appendBuffer(env, uploadId, appended, buffer, lane);
    }
  } catch (error) {
    await discard(env, appended.written).catch(() => {});
    throw error;
  }
  const digest = hash && !interrupted ? await hash.digest() : null;
  return { ...appended, staged: { ...appended.staged, digest }, interrupted };
}

/**
 * Stores one buffer. A buffer shorter than `partBytes` is the last one of its request. It becomes a piece and, in the lane
 * `hashed`, also the last part.
 */
async function appendBuffer(
  env: Bucket,
  uploadId: string,
  before: Appended,
  buffer: Uint8Array,
  lane: BufferLane,
): Promise<Appended> {
  const { multipart } = before.staged;
  if (lane.hashed && buffer.byteLength === lane.partBytes) {
    const grown = await appendPart(env, multipart, buffer);
    return { ...before, staged: { ...before.staged, multipart: grown }, written: { ...before.written, multipart: grown } };
  }
  const [piece, last] = await Promise.all([
    appendPiece(env, uploadId, before.staged, buffer, buffer.byteLength, lane),
    lane.hashed && multipart ? appendPart(env, multipart, buffer) : null,
  ]);
  return {
    staged: { ...piece.staged, lastPart: last?.etags.at(-1) ?? null },
    superseded: merged(before.superseded, piece.superseded),
    written: merged(before.written, piece.written),
    interrupted: null,
  };
}

/**
 * Yields buffers as `buffersOf` does. If the connection breaks, reports the error to `broken` and ends, so that the caller can
 * keep the bytes before the error.
 */
async function* wholeBuffers(
  stream: ReadableStream,
  size: number,
  broken: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  const buffers = buffersOf(stream, size, 'left');
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

/** Deletes the pieces and aborts the multipart upload. If the multipart upload is completed, its object is kept. */
export async function discard(env: Bucket, staged: Staged): Promise<void> {
  await deleteObjects(
    env,
    staged.pieces.map((piece) => piece.key),
  );
  if (staged.multipart) await abortMultipart(env, staged.multipart);
}

function merged(one: Staged, other: Staged): Staged {
  return { ...NOTHING_STAGED, multipart: one.multipart ?? other.multipart, pieces: [...one.pieces, ...other.pieces] };
}

export function openers(env: Bucket, staged: Staged): (() => Promise<ReadableStream>)[] {
  return staged.pieces.map((piece) => opener(env, piece));
}

function opener(env: Bucket, piece: Piece): () => Promise<ReadableStream> {
  return () => openSurely(env, piece.key, null);
}
