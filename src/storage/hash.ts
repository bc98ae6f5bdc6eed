/**
 * Computes digests of bytes that are passed in several calls, also over several requests. The state of a native hash cannot be
 * saved outside the isolate, so it stays in memory between the chunks of an upload. If a chunk arrives in another isolate, the
 * digest is not known at the end, and the finish reads the bytes again.
 *
 * An upload only grows (invariant 5), so the hash of its first n bytes stays right.
 */
import { createHash, type Hash } from 'node:crypto';
import type { Digest, DigestAlgorithm } from '../oci/digest.ts';

/** The hash of the first `size` bytes of an upload. */
export class RunningHash {
  readonly algorithm: DigestAlgorithm;
  size: number;
  readonly #hash: Hash;

  constructor(algorithm: DigestAlgorithm, hash: Hash = createHash(algorithm), size = 0) {
    this.algorithm = algorithm;
    this.size = size;
    this.#hash = hash;
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.size += bytes.byteLength;
  }

  copy(): RunningHash {
    return new RunningHash(this.algorithm, this.#hash.copy(), this.size);
  }

  /** Returns the digest of the bytes so far. More bytes can be added afterwards. */
  digest(): Digest {
    return `${this.algorithm}:${this.#hash.copy().digest('hex')}` as Digest;
  }
}

/** The maximum number of uploads whose hash is kept. A hash takes less than a kilobyte. */
const KEPT_MAX = 2000;

const kept = new Map<string, RunningHash>();

/** Keeps the hash of an upload for its next request. Call this after the bytes have been saved in the upload's row. */
export function keepHash(uploadId: string, hash: RunningHash): void {
  kept.delete(uploadId);
  kept.set(uploadId, hash);
  const [oldest] = kept.keys();
  if (oldest !== undefined && kept.size > KEPT_MAX) kept.delete(oldest);
}

/** Returns a copy of the kept hash of at most the first `size` bytes of an upload. `null` if this isolate has none. */
export function keptHash(uploadId: string, algorithm: DigestAlgorithm, size: number): RunningHash | null {
  const hash = kept.get(uploadId);
  return hash && hash.algorithm === algorithm && hash.size <= size ? hash.copy() : null;
}

/** Forgets all hashes, as an isolate that has just started. Tests use this. */
export function forgetAllHashes(): void {
  kept.clear();
}
