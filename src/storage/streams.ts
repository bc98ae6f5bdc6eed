/**
 * Moving bytes cheaply: in large buffers that are used again, or natively from stream to stream. The default reader hands
 * out 4 KiB at a time and costs fifteen times the CPU, and a layer as one buffer does not fit an isolate's 128 MB.
 */
import type { DigestAlgorithm } from '../oci/digest.ts';
import { type Digest, digestFromHash, webCryptoName } from '../oci/digest.ts';

/** A request body: `length` is what Content-Length says, `null` for a chunked one. */
export interface Incoming {
  stream: ReadableStream | null;
  length: number | null;
}

/**
 * The stream in buffers of `size` bytes, the last one shorter. A buffer is valid until the next one is asked for: its
 * memory is used again.
 */
export async function* buffersOf(stream: ReadableStream, size: number): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader({ mode: 'byob' });
  let memory = new ArrayBuffer(size);
  try {
    for (;;) {
      const { value, done } = await reader.readAtLeast(size, new Uint8Array(memory));
      if (value && value.byteLength > 0) yield value;
      if (done || !value) return;
      if (value.byteLength < size) return;
      memory = value.buffer as ArrayBuffer;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** One stream of known length from several, pumped natively; a failing source fails the whole. */
export function concatenated(sources: (() => Promise<ReadableStream>)[], length: number): ReadableStream {
  const { readable, writable } = new FixedLengthStream(length);
  const pump = async () => {
    try {
      for (const open of sources) await (await open()).pipeTo(writable, { preventClose: true });
      await writable.close();
    } catch (error) {
      await writable.abort(error).catch(() => {});
    }
  };
  void pump();
  return readable;
}

/** A hash that is fed piece by piece, by the runtime's native implementation. */
export function hasher(algorithm: DigestAlgorithm): { update(bytes: Uint8Array): Promise<void>; digest(): Promise<Digest> } {
  const stream = new crypto.DigestStream(webCryptoName(algorithm));
  const writer = stream.getWriter();
  return {
    update: (bytes) => writer.write(bytes),
    digest: async () => {
      await writer.close();
      return digestFromHash(algorithm, await stream.digest);
    },
  };
}
