/**
 * Where the bytes of an unfinished upload are, and by which lane they come there. Three lanes:
 *
 *   direct   digest and length are known: one put that R2 verifies. Not here: `putVerified` alone.
 *   staged   chunks become pieces, objects of their own; the finish streams them in order into one verified put.
 *   hashed   (VERIFY=stream) the first request's bytes go straight into a multipart object while they are hashed;
 *            whatever comes after them is staged, and appended as further parts at the finish.
 *
 * A lane never writes where another request might: keys and multipart uploads are fresh for each request, and which of
 * two wins is decided by the upload's row in D1, not here. R2 wants parts of one size (all but the last) and at least
 * 5 MiB; `partBytes` is that size, and also the most that is held in memory.
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

/** The bytes received so far: the parts of `multipart` if there is one, then the pieces. Kept as JSON in the upload's row. */
export interface Staged {
  multipart: Multipart | null;
  pieces: Piece[];
  /** Digest of everything received, where it all came in one request and was hashed on the way. */
  digest: Digest | null;
  /**
   * Etag of a part that follows those of `multipart` and holds what the pieces hold. With it the parts are the whole; it
   * is void as soon as more comes, as only the last part may be shorter than the others.
   */
  lastPart: string | null;
}

export interface Limits {
  partBytes: number;
  maxPutBytes: number;
  verify: 'storage' | 'stream';
  /** Bytes that an upload may come to, where there is no room for more. */
  room?: number;
}

interface Appended {
  staged: Staged;
  /** What became of use to nobody, once the upload's row names `staged`. */
  superseded: Staged;
  /** What to discard where the row could not be changed. */
  written: Staged;
  /** The connection broke after the bytes that are staged; they count, the request failed. */
  interrupted: unknown;
}

export const NOTHING_STAGED: Staged = { multipart: null, pieces: [], digest: null, lastPart: null };

export function stagedSize(staged: Staged): number {
  return staged.pieces.reduce((sum, piece) => sum + piece.size, staged.multipart?.size ?? 0);
}

/**
 * What the finish of an upload can read and hash within 300 s of CPU, the most that a paid plan gives a request (`limits.cpu_ms`),
 * at up to 6 ms a megabyte.
 */
const STREAM_MAX_BYTES = 46 * 1024 ** 3;

/** @throws length-mismatch (413) where the upload grows past what a lane can publish */
export async function append(
  env: Bucket,
  uploadId: string,
  staged: Staged,
  body: Incoming,
  limits: Limits,
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
    message: `a blob may have up to ${capacity} bytes on this registry`,
  });
}

/**
 * One more piece. Small pieces before it are written again as part of it, so that each is at least twice as long as the
 * next or as long as a part: however small the chunks, there are few pieces in the end (R2 reads at the finish are
 * subrequests, of which a Worker has 1,000), and no byte is written more often than the logarithm of their number.
 */
async function appendPiece(
  env: Bucket,
  uploadId: string,
  staged: Staged,
  content: ReadableStream | Uint8Array,
  length: number,
  limits: Limits,
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

/** Which of the pieces a new one of `length` bytes takes in, and how long it is with them. */
function absorb(pieces: Piece[], length: number, { partBytes, maxPutBytes }: Limits) {
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

interface BufferLane extends Limits {
  hashed: boolean;
  capacity: number;
}

/** A body of unknown length, or one to be hashed: buffer by buffer, into parts (hashed) or pieces (staged). */
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

/** A buffer shorter than the others is the last of its request: it becomes a piece, and the last part as well. */
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

/** `buffersOf`, but a connection that breaks ends the sequence and is reported: what came before it is worth keeping. */
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

/** Deletes pieces and abandons a multipart upload; one that was completed stays. */
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
