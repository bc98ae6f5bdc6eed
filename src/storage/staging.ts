/**
 * Stores the bytes of an unfinished upload in R2. There are three ways to do it, called lanes:
 *
 *   direct   The digest and the length are known: one put that R2 verifies (`putVerified` in `objects.ts`).
 *   staged   Each chunk becomes an object of its own, called a piece. The finish streams all pieces into one verified put.
 *   hashed   Used with VERIFY=stream. The bytes are hashed while they arrive and written to a multipart upload. Bytes that
 *            fill no part become a piece. The next request makes a part of them, or the finish does.
 *
 * `appending.ts` has the first steps of the second and third lane, and `assembly.ts` the last one. Two requests never write to
 * the same place: each uses new keys, and a new multipart upload or part numbers of its own. The upload's row in D1 decides
 * which of two concurrent requests wins. R2 requires that all parts but the last have the same size, at least 5 MiB.
 * `partBytes` is that size, and also the maximum number of bytes that one request holds in memory.
 */
import type { Digest } from '../oci/digest.ts';
import type { RunningHash } from './hash.ts';
import { pieceKey } from './keys.ts';
import { abortMultipart, type Bucket, deleteObjects, type Multipart, openSurely, persistent } from './objects.ts';
import { joined, storeBody } from './streams.ts';

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
  /** The digest of all bytes. `null` unless all of them were hashed while they arrived, one request after the other. */
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
  /**
   * Reserves part numbers that no other request uses, and returns the first one. Absent if the upload's row names no multipart
   * upload: then no other request knows the one that this request creates.
   */
  claimParts?: (count: number) => Promise<number>;
}

export interface Appended {
  staged: Staged;
  /** Objects that `staged` replaces. The caller deletes them once the upload's row contains `staged`. */
  superseded: Staged;
  /**
   * Objects that this request wrote. The caller deletes them if the upload's row could not be changed. Parts of an earlier
   * request's multipart upload are not among them: R2 drops the parts that its completion does not name.
   */
  written: Staged;
  /** The hash of all bytes. `null` if it is not known. The caller keeps it after the upload's row names `staged`. */
  hash: RunningHash | null;
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

/** The number of bytes in the pieces. */
export function tailSize(staged: Staged): number {
  return stagedSize(staged) - (staged.multipart?.size ?? 0);
}

export function unchanged(staged: Staged): Appended {
  return { staged, superseded: NOTHING_STAGED, written: NOTHING_STAGED, hash: null, interrupted: null };
}

/**
 * Stores a chunk as a piece. Merges small pieces at the end into it, so that each piece has the size of a part or at least
 * twice the size of the next piece. So even many small chunks leave few pieces. The finish can read only few pieces, because
 * each takes one of the Worker's 1,000 subrequests. Merging copies a byte several times; the number of copies grows with the
 * logarithm of the number of chunks.
 */
export async function appendPiece(
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
    hash: null,
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

/** Deletes the pieces and aborts the multipart upload. If the multipart upload is completed, its object is kept. */
export async function discard(env: Bucket, staged: Staged): Promise<void> {
  await deleteObjects(
    env,
    staged.pieces.map((piece) => piece.key),
  );
  if (staged.multipart) await abortMultipart(env, staged.multipart);
}

export function merged(one: Staged, other: Staged): Staged {
  return { ...NOTHING_STAGED, multipart: one.multipart ?? other.multipart, pieces: [...one.pieces, ...other.pieces] };
}

export function openers(env: Bucket, staged: Staged): (() => Promise<ReadableStream>)[] {
  return staged.pieces.map((piece) => opener(env, piece));
}

function opener(env: Bucket, piece: Piece): () => Promise<ReadableStream> {
  return () => openSurely(env, piece.key, null);
}
