/** Unpacks Zstandard with the decoder of the runtime, which is in its module `node:zlib` and reads one frame. */
import { constants, createZstdDecompress, type ZstdDecoder } from 'node:zlib';
import { damaged, WINDOW_LOG_MAX, ZstdFrames } from '../oci/zstd-frames.ts';

/**
 * Yields the unpacked bytes of all frames, in chunks of at most 64 KiB, while the stream is read.
 * @throws ZstdError if the data are damaged, or take too much memory
 */
export async function* unzstd(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const frames = new ZstdFrames();
  let decoder: Decoder | null = null;
  try {
    for await (const chunk of stream) {
      for (const part of frames.push(chunk)) {
        decoder ??= new Decoder();
        if (part === 'end') {
          yield* decoder.finish();
          decoder = null;
        } else yield* decoder.unpack(part.bytes);
      }
    }
    frames.end();
  } finally {
    decoder?.close();
  }
}

/** The decoder of one frame. */
class Decoder {
  readonly #decoder: ZstdDecoder = createZstdDecompress({
    chunkSize: 64 * 1024,
    params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
  });
  #error: Error | null = null;
  #wake: () => void = () => {};

  constructor() {
    this.#decoder.on('error', (error) => {
      this.#error = error;
      this.#wake();
    });
    for (const event of ['readable', 'end', 'drain', 'close'] as const) this.#decoder.on(event, () => this.#wake());
  }

  /** Yields the bytes that are unpacked when these were read. */
  async *unpack(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    let isRead = false;
    this.#decoder.write(bytes, () => {
      isRead = true;
      this.#wake();
    });
    yield* this.#until(() => isRead);
  }

  /** Yields the rest of the frame. */
  async *finish(): AsyncGenerator<Uint8Array> {
    this.#decoder.end();
    yield* this.#until(() => this.#decoder.readableEnded);
  }

  close(): void {
    this.#decoder.destroy();
  }

  async *#until(isDone: () => boolean): AsyncGenerator<Uint8Array> {
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      for (let chunk = this.#decoder.read(); chunk !== null; chunk = this.#decoder.read()) yield chunk;
      if (this.#error) throw damaged();
      if (isDone()) return;
      await woken;
    }
  }
}
