/**
 * The bytes of an unfinished upload. They take one of three lanes:
 *
 *   direct   digest and length are known: one put that R2 verifies (`putVerified`, not in this file)
 *   staged   each chunk becomes a piece, an object of its own; the finish streams the pieces into one verified put
 *   hashed   (VERIFY=stream) the bytes of the first request are hashed and written to a multipart object; those of later
 *            requests are staged, and appended as further parts at the finish
 *
 * Requests never write to the same place: each uses new keys and a new multipart upload. The upload's row in D1 decides which
 * of two concurrent requests wins. R2 requires parts of one size (all but the last) of at least 5 MiB; `partBytes` is that
 * size, and also the most that is held in memory.
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
 * The bytes received so far: the parts of `multipart`, if there is one, then the pieces. Stored as JSON in the upload's row.
 */
export interface Staged {
  multipart: Multipart | null;
  pieces: Piece[];
  /** Digest of all bytes, if they came in one request and were hashed. */
  digest: Digest | null;
  /**
   * Etag of a last part that contains the same bytes as the pieces, so that the parts are complete. It becomes useless when
   * more bytes come, because only the last part may be shorter than the others.
   */
  lastPart: string | null;
}

export interface StagingLimits {
  partBytes: number;
  maxPutBytes: number;
  verify: 'storage' | 'stream';
  /** Bytes that the upload may have, if a quota leaves no space for more. */
  room?: number;
}

interface Appended {
  staged: Staged;
  /** To discard after the upload's row names `staged`. */
  superseded: Staged;
  /** To discard if the row could not be changed. */
  written: Staged;
  /** True if the connection broke: the request failed, but the staged bytes count. */
  interrupted: unknown;
}

export const NOTHING_STAGED: Staged = { multipart: null, pieces: [], digest: null, lastPart: null };

export function stagedSize(staged: Staged): number {
  return staged.pieces.reduce((sum, piece) => sum + piece.size, staged.multipart?.size ?? 0);
}

/**
 * Bytes that the finish of an upload can read and hash within 300 s of CPU, the most that a paid plan allows a request
 * (`limits.cpu_ms`). A megabyte takes up to 6 ms.
 */
const STREAM_MAX_BYTES = 46 * 1024 ** 3;

/** @throws blob-too-large if the upload becomes longer than its lane can publish */
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
 * Stores a chunk as a piece. Small pieces before it are merged into it, so that each piece is at least twice as long as the
 * next, or as long as a part. So even small chunks make few pieces: at the finish, each takes an R2 read, and a Worker has
 * 1,000 subrequests. A byte is written again at most as often as the logarithm of the number of chunks.
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

/** The pieces that are merged into a new one of `length` bytes, and their length together. */
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

/** Stores a body of unknown length, or one to be hashed, buffer by buffer: as parts (hashed) or pieces (staged). */
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

/** A buffer that is shorter than the others is the last of its request. It becomes a piece, and the last part as well. */
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

/** `buffersOf`, but a broken connection ends the sequence and is reported, so that the bytes before it can be kept. */
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

/** Deletes pieces and aborts a multipart upload. A completed one stays. */
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
