/**
 * Splits Zstandard (RFC 8878) into its frames, without unpacking them: the decoder of the runtime unpacks one frame. Refuses
 * frames that would take too much memory. This module does no I/O.
 */

/** Data that are no valid Zstandard, or that would take too much memory. The message is for users. */
export class ZstdError extends Error {}

export function damaged(): ZstdError {
  return new ZstdError('the layer is no valid zstd');
}

/**
 * The maximum window of a frame, in bytes: the one that each decoder should support (RFC 8878, 3.1.1.1.2). Only `zstd --long`
 * and `--ultra` make larger ones.
 */
export const WINDOW_MAX = 8 * 1024 * 1024;
/** The binary logarithm of `WINDOW_MAX`. */
export const WINDOW_LOG_MAX = 23;

const MAGIC = 0xfd2fb528;
/** The first of the 16 magic numbers of frames without content. */
const SKIPPABLE = 0x184d2a50;
/** The maximum number of bytes that a block unpacks to. */
const BLOCK_MAX = 128 * 1024;
const CHECKSUM_BYTES = 4;

/** A part of a frame, or its end. */
export type FramePart = { bytes: Uint8Array } | 'end';

type State =
  /** Collects the header of a frame or of a block in `#head`. */
  | { kind: 'frame' | 'block' }
  /** Passes on (or drops, outside of a frame with content) the next `left` bytes, and then goes to `next`. */
  | { kind: 'body'; left: number; isContent: boolean; next: 'frame' | 'block' };

export class ZstdFrames {
  /** The header that is being read: up to 18 bytes. */
  #head: number[] = [];
  #state: State = { kind: 'frame' };
  #hasChecksum = false;

  /** @throws ZstdError if the data are damaged, or a window is larger than `WINDOW_MAX` */
  *push(chunk: Uint8Array): Generator<FramePart> {
    let at = 0;
    while (at < chunk.length) {
      const state = this.#state;
      if (state.kind === 'body') {
        const bytes = chunk.subarray(at, at + state.left);
        at += bytes.length;
        state.left -= bytes.length;
        if (state.isContent) yield { bytes };
        if (state.left === 0) yield* this.#endBody(state);
      } else {
        this.#head.push(chunk[at++] as number);
        if (this.#head.length >= this.#headLength(state.kind)) yield* this.#endHead(state.kind);
      }
    }
  }

  /** @throws ZstdError if the data end within a frame */
  end(): void {
    if (this.#state.kind === 'frame' && this.#head.length === 0) return;
    throw new ZstdError('the layer ends in the middle of its zstd data');
  }

  *#endBody({ isContent, next }: Extract<State, { kind: 'body' }>): Generator<FramePart> {
    this.#state = { kind: next };
    if (isContent && next === 'frame') yield 'end';
  }

  /** The length of the header, as far as it is known from its first bytes. */
  #headLength(kind: 'frame' | 'block'): number {
    if (kind === 'block') return 3;
    if (this.#head.length < 5) return 5;
    if (this.#number(0, 4) !== MAGIC) return 8;
    const { isSingle, dictionaryBytes, sizeBytes } = this.#flags();
    return 5 + (isSingle ? 0 : 1) + dictionaryBytes + sizeBytes;
  }

  #flags() {
    const flags = this.#head[4] ?? 0;
    const isSingle = (flags & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][flags & 3] as number;
    const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6] as number;
    return { isSingle, dictionaryBytes, sizeBytes, isReserved: (flags & 8) !== 0, hasChecksum: (flags & 4) !== 0 };
  }

  *#endHead(kind: 'frame' | 'block'): Generator<FramePart> {
    const bytes = Uint8Array.from(this.#head);
    if (kind === 'block') {
      this.#state = this.#blockBody();
      yield { bytes };
      this.#head = [];
      if (this.#state.kind === 'body' && this.#state.left === 0) yield* this.#endBody(this.#state);
    } else if (this.#number(0, 4) === MAGIC) {
      this.#checkFrame();
      this.#hasChecksum = this.#flags().hasChecksum;
      this.#state = { kind: 'block' };
      this.#head = [];
      yield { bytes };
    } else {
      if (this.#number(0, 4) < SKIPPABLE || this.#number(0, 4) > SKIPPABLE + 15) throw damaged();
      const left = this.#number(4, 4);
      this.#state = left === 0 ? { kind: 'frame' } : { kind: 'body', left, isContent: false, next: 'frame' };
      this.#head = [];
    }
  }

  /** The state behind the header of a block (RFC 8878, 3.1.1.2). */
  #blockBody(): State {
    const header = this.#number(0, 3);
    const [isLast, type, size] = [(header & 1) === 1, (header >> 1) & 3, header >> 3];
    if (type === 3 || size > BLOCK_MAX) throw damaged();
    // A block of one repeated byte has one byte.
    const left = (type === 1 ? 1 : size) + (isLast && this.#hasChecksum ? CHECKSUM_BYTES : 0);
    return { kind: 'body', left, isContent: true, next: isLast ? 'frame' : 'block' };
  }

  /** Checks the header of a frame (RFC 8878, 3.1.1.1). */
  #checkFrame(): void {
    const { isSingle, isReserved, dictionaryBytes, sizeBytes } = this.#flags();
    if (isReserved) throw damaged();
    if (this.#number(isSingle ? 5 : 6, dictionaryBytes) !== 0)
      throw new ZstdError('the layer is packed by zstd with a dictionary, which is not there');
    const descriptor = this.#head[5] ?? 0;
    const base = 2 ** (10 + (descriptor >> 3));
    const size = this.#number(this.#head.length - sizeBytes, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
    const window = isSingle ? size : base + (base / 8) * (descriptor & 7);
    if (window <= WINDOW_MAX) return;
    throw new ZstdError(
      `the layer is packed by zstd with a window of ${window} bytes: those of up to ${WINDOW_MAX} bytes are unpacked`,
    );
  }

  /** A number of the header, the lowest byte first. */
  #number(at: number, length: number): number {
    let value = 0;
    for (let n = length - 1; n >= 0; n--) value = value * 256 + (this.#head[at + n] ?? 0);
    return value;
  }
}
