/**
 * Unpacks Zstandard (RFC 8878) while it is read, in memory of two windows. The work is bounded by what was read: a block
 * unpacks to at most 128 KiB. Checksums are not compared, because a blob has a digest. Pure.
 */
import { BLOCK_MAX, type FrameState, type Output, unpackBlock } from './zstd-block.ts';
import { damaged, ZstdError } from './zstd-tables.ts';

export { ZstdError };

/** The window that each decoder should support (RFC 8878, 3.1.1.1.2). Only `zstd --long` and `--ultra` make larger ones. */
export const WINDOW_MAX = 8 * 1024 * 1024;

const MAGIC = 0xfd2fb528;
/** The first of 16 numbers that begin a frame without content. */
const SKIPPABLE = 0x184d2a50;

/** Bytes of the header of a frame, at most. */
const HEADER_MAX = 18;

type Step =
  | { kind: 'frame' }
  | { kind: 'block' }
  | { kind: 'body'; size: number; type: number; isLast: boolean }
  | { kind: 'skip'; left: number };

export class ZstdUnpacker {
  /** Blocks that were unpacked. Each may take the time of many bytes. */
  blocks = 0;
  /** Twice as long as a block, so that bytes are moved rarely. */
  readonly #input = new Uint8Array(2 * (BLOCK_MAX + HEADER_MAX));
  /** The part of the input that is not consumed. */
  #start = 0;
  #end = 0;
  #step: Step = { kind: 'frame' };
  #frame: FrameState = newFrame();
  #window = 0;
  #hasChecksum = false;
  readonly #out: Output = { bytes: new Uint8Array(0), at: 0, end: 0 };

  /**
   * Yields each block that the chunk completes, also empty ones. The bytes are overwritten when the next ones are taken.
   * @throws ZstdError if the data are damaged, or their window is larger than `WINDOW_MAX`
   */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    let at = 0;
    while (at < chunk.length || this.#canStep()) {
      if (this.#step.kind === 'skip') {
        at += this.#skip(chunk.length - at);
        continue;
      }
      at += this.#fill(chunk, at);
      while (this.#canStep()) {
        const unpacked = this.#next();
        if (unpacked !== null) yield unpacked;
      }
    }
  }

  #fill(chunk: Uint8Array, at: number): number {
    if (this.#end === this.#input.length) {
      this.#input.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    const taken = chunk.subarray(at, at + this.#input.length - this.#end);
    this.#input.set(taken, this.#end);
    this.#end += taken.length;
    return taken.length;
  }

  get #filled(): number {
    return this.#end - this.#start;
  }

  /** @throws ZstdError if the data end within a frame */
  end(): void {
    if (this.#step.kind !== 'frame' || this.#filled > 0) throw new ZstdError('the layer ends in the middle of its zstd data');
  }

  /** Skips bytes of the input, and then of a chunk. @returns the number of bytes of the chunk */
  #skip(available: number): number {
    const step = this.#step as Extract<Step, { kind: 'skip' }>;
    const buffered = Math.min(this.#filled, step.left);
    this.#consume(buffered);
    const skipped = Math.min(available, step.left - buffered);
    step.left -= buffered + skipped;
    if (step.left === 0) this.#step = { kind: 'frame' };
    return skipped;
  }

  /** True if the input holds all bytes of the next step. */
  #canStep(): boolean {
    const step = this.#step;
    if (step.kind === 'frame') return this.#filled >= 5 && this.#filled >= this.#headerLength();
    if (step.kind === 'block') return this.#filled >= 3;
    if (step.kind === 'body') return this.#filled >= step.size;
    return this.#filled > 0 || step.left === 0;
  }

  #next(): Uint8Array | null {
    const step = this.#step;
    if (step.kind === 'frame') this.#beginFrame();
    else if (step.kind === 'block') this.#beginBlock();
    else if (step.kind === 'body') return this.#unpack(step);
    else this.#skip(0);
    return null;
  }

  #headerLength(): number {
    if (this.#number(0, 4) !== MAGIC) return 8;
    const flags = this.#byte(4);
    const isSingle = (flags >> 5) & 1;
    return 5 + (1 - isSingle) + ([0, 1, 2, 4][flags & 3] as number) + this.#sizeLength(flags);
  }

  #sizeLength(flags: number): number {
    return [(flags >> 5) & 1, 2, 4, 8][flags >> 6] as number;
  }

  #beginFrame(): void {
    const magic = this.#number(0, 4);
    if (magic !== MAGIC) {
      if (magic < SKIPPABLE || magic > SKIPPABLE + 15) throw damaged();
      this.#step = { kind: 'skip', left: this.#number(4, 4) };
      this.#consume(8);
      return;
    }
    const flags = this.#byte(4);
    const [isSingle, dictionary, length] = [((flags >> 5) & 1) === 1, [0, 1, 2, 4][flags & 3] as number, this.#headerLength()];
    if ((flags & 8) !== 0) throw damaged();
    if (this.#number(isSingle ? 5 : 6, dictionary) !== 0) {
      throw new ZstdError('the layer is packed by zstd with a dictionary, which is not there');
    }
    const sizeLength = this.#sizeLength(flags);
    const descriptor = this.#byte(5);
    const base = 2 ** (10 + (descriptor >> 3));
    const window = isSingle
      ? this.#number(length - sizeLength, sizeLength) + (sizeLength === 2 ? 256 : 0)
      : base + (base / 8) * (descriptor & 7);
    this.#hasChecksum = (flags & 4) !== 0;
    this.#openWindow(window);
    this.#consume(length);
    this.#step = { kind: 'block' };
  }

  #openWindow(window: number): void {
    if (window > WINDOW_MAX) {
      throw new ZstdError(
        `the layer is packed by zstd with a window of ${window} bytes: those of up to ${WINDOW_MAX} bytes are unpacked`,
      );
    }
    this.#window = window;
    this.#frame = newFrame();
    this.#out.at = 0;
    // Twice the window, so that bytes are moved rarely.
    const capacity = 2 * window + BLOCK_MAX;
    if (this.#out.bytes.length < capacity) this.#out.bytes = new Uint8Array(capacity);
  }

  #beginBlock(): void {
    const header = this.#number(0, 3);
    const [type, size, isLast] = [(header >> 1) & 3, header >> 3, (header & 1) === 1];
    if (type === 3 || size > BLOCK_MAX) throw damaged();
    this.#consume(3);
    if (type === 1) this.#makeRoom(size);
    this.#step = { kind: 'body', size: type === 1 ? 1 : size, type, isLast };
  }

  #unpack({ size, type, isLast }: Extract<Step, { kind: 'body' }>): Uint8Array {
    this.blocks++;
    const out = this.#out;
    const body = this.#input.subarray(this.#start, this.#start + size);
    // The room of a block of one repeated byte was made when its size was read.
    if (type !== 1) this.#makeRoom(type === 0 ? size : BLOCK_MAX);
    const from = out.at;
    if (type === 2) unpackBlock(body, this.#frame, out);
    else {
      if (type === 0) out.bytes.set(body, from);
      else out.bytes.fill(body[0] as number, from, out.end);
      out.at = out.end;
    }
    this.#consume(size);
    this.#step = isLast ? (this.#hasChecksum ? { kind: 'skip', left: 4 } : { kind: 'frame' }) : { kind: 'block' };
    return out.bytes.subarray(from, out.at);
  }

  /** Moves the window to the beginning, if there is no room for a block behind it. */
  #makeRoom(size: number): void {
    const out = this.#out;
    if (out.at + size > out.bytes.length) {
      const kept = Math.min(this.#window, out.at);
      out.bytes.copyWithin(0, out.at - kept, out.at);
      out.at = kept;
    }
    out.end = out.at + size;
  }

  #consume(count: number): void {
    this.#start += count;
    if (this.#start < this.#end) return;
    this.#start = 0;
    this.#end = 0;
  }

  #byte(at: number): number {
    return this.#input[this.#start + at] as number;
  }

  /** A number of the input, the lowest byte first. */
  #number(at: number, length: number): number {
    let value = 0;
    for (let n = length - 1; n >= 0; n--) value = value * 256 + this.#byte(at + n);
    return value;
  }
}

function newFrame(): FrameState {
  return { huffman: null, tables: [null, null, null], offsets: [1, 4, 8] };
}
