/**
 * Moving bytes cheaply: in large buffers that are used again, or natively from stream to stream. The default reader hands out 4
 * KiB at a time and costs fifteen times the CPU. An isolate has 128 MB, and a request that exceeds them ends all requests of
 * the isolate, so a layer is never one buffer, and the memory of all buffers is limited.
 */
import { type Digest, type DigestAlgorithm, digestFromHash, webCryptoName } from '../oci/digest.ts';
import { Refusal } from '../vocabulary/refusal.ts';

/** A request body. `length` is its Content-Length; `null`: it is chunked. */
export interface Incoming {
  stream: ReadableStream | null;
  length: number | null;
}

/**
 * Reads a stream in buffers of `size` bytes; the last one is shorter. A buffer is valid until the next one is requested,
 * because its memory is used again.
 * @throws memory-full if other bodies have taken all memory
 * @param rest what happens to a stream that is not read to its end
 */
export async function* buffersOf(
  stream: ReadableStream,
  size: number,
  rest: 'cancelled' | 'left' = 'cancelled',
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader({ mode: 'byob' });
  const reservation: Reservation = { bytes: 0 };
  let memory: ArrayBuffer | null = null;
  try {
    for (;;) {
      const { bytes, isLast } = await fill(reader, size, memory, reservation);
      if (bytes.byteLength > 0) yield bytes;
      if (isLast) return;
      memory = bytes.buffer as ArrayBuffer;
    }
  } finally {
    release(reservation);
    if (rest === 'cancelled') await reader.cancel().catch(() => {});
    else reader.releaseLock();
  }
}

/** Bytes of the first buffer. It doubles as bytes arrive, because most bodies of unknown length are short. */
const FIRST_BUFFER = 64 * 1024;

/** Reads the next `size` bytes, fewer at the end. @param memory of the buffer before, which is used again */
async function fill(
  reader: ReadableStreamBYOBReader,
  size: number,
  memory: ArrayBuffer | null,
  reservation: Reservation,
): Promise<{ bytes: Uint8Array; isLast: boolean }> {
  let buffer = memory ?? grown(null, Math.min(size, FIRST_BUFFER), reservation);
  let filled = 0;
  for (;;) {
    const wanted = buffer.byteLength - filled;
    const { value } = await reader.readAtLeast(wanted, new Uint8Array(buffer, filled, wanted));
    // Without a value, the stream was cancelled and the buffer is lost.
    if (!value) return { bytes: new Uint8Array(), isLast: true };
    buffer = value.buffer as ArrayBuffer;
    filled += value.byteLength;
    const isLast = value.byteLength < wanted;
    if (isLast || filled === size) return { bytes: new Uint8Array(buffer, 0, filled), isLast };
    buffer = grown(buffer, Math.min(size, 2 * filled), reservation);
  }
}

function grown(before: ArrayBuffer | null, size: number, reservation: Reservation): ArrayBuffer {
  reserve(reservation, size);
  const buffer = new ArrayBuffer(size);
  if (before) new Uint8Array(buffer).set(new Uint8Array(before));
  return buffer;
}

/** True if the body is empty. Takes the first byte of a body of unknown length, which then cannot be read any more. */
export async function isEmpty({ stream, length }: Incoming): Promise<boolean> {
  if (!stream || length === 0) return true;
  if (length !== null) return false;
  const reader = stream.getReader({ mode: 'byob' });
  const { value } = await reader.readAtLeast(1, new Uint8Array(1)).catch(() => ({ value: null }));
  reader.releaseLock();
  return value?.byteLength === 0 || value === undefined;
}

/** Joins streams to one of known length, natively. If one of them fails, the joined stream fails. */
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

/** A hash that takes its bytes piece by piece, computed by the runtime. */
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

/** A body up to this length is held in memory instead of piped. That is less than one read of a longer one. */
const SMALL_BODY = 256 * 1024;

/** Bytes that come before a body in the object that it is written to. */
interface Before {
  sources: (() => Promise<ReadableStream>)[];
  size: number;
}

/** Bytes in memory, after the bytes that come before them. */
export function joined({ sources, size }: Before, bytes: Uint8Array): ReadableStream | Uint8Array {
  if (sources.length === 0) return bytes;
  return concatenated([...sources, async () => new Response(bytes).body as ReadableStream], size + bytes.byteLength);
}

/**
 * Passes a request's body of known length to `store`. If the store fails, it does not say if its own connection broke or the
 * client's, so the body is watched. A small body is read first.
 * @throws body-incomplete if the body broke off
 */
export async function storeBody<T>(
  before: Before,
  stream: ReadableStream,
  length: number,
  store: (content: ReadableStream | Uint8Array) => Promise<T>,
): Promise<T> {
  if (length <= SMALL_BODY) return store(joined(before, await readSmall(stream, length)));
  const { readable, writable } = new FixedLengthStream(before.size + length);
  let broke: Refusal | null = null;
  const pump = async () => {
    for (const open of before.sources) await (await open()).pipeTo(writable, { preventClose: true });
    await stream.pipeTo(writable, { preventAbort: true, preventCancel: true }).catch((error: unknown) => {
      broke = new Refusal('body-incomplete', { cause: error });
      throw broke;
    });
  };
  pump().catch((error: unknown) => writable.abort(error).catch(() => {}));
  try {
    return await store(readable);
  } catch (error) {
    await readable.cancel().catch(() => {});
    throw endedBy(error, broke) ?? error;
  }
}

/** Returns `broke` if the store failed because its input ended with that error; `null`: it failed for a reason of its own. */
function endedBy(error: unknown, broke: Refusal | null): Refusal | null {
  return broke && error instanceof Error && error.message.includes(broke.message) ? broke : null;
}

async function readSmall(stream: ReadableStream, length: number): Promise<Uint8Array> {
  const reader = stream.getReader({ mode: 'byob' });
  try {
    const { value } = await reader.readAtLeast(length, new Uint8Array(length));
    if (value?.byteLength === length) return value;
  } catch (error) {
    throw new Refusal('body-incomplete', { cause: error });
  } finally {
    reader.releaseLock();
  }
  throw new Refusal('body-incomplete');
}

/** Bytes: enough for eight long uploads of unknown length with parts of 8 MiB, or for a thousand short ones. */
const BUFFERED_MAX = 64 * 1024 * 1024;

/** Seconds after which some of the current uploads may be finished. */
const RETRY_AFTER = 5;

/** The memory that one body holds. */
export interface Reservation {
  bytes: number;
}

/** Weak references: if its client disconnects, the runtime ends a request without running its `finally` blocks. */
const reservations = new Set<WeakRef<Reservation>>();

/** @throws memory-full if the other bodies leave less than `bytes` */
export function reserve(reservation: Reservation, bytes: number): void {
  if (heldByOthers(reservation) + bytes > BUFFERED_MAX) {
    throw new Refusal('memory-full', {
      message:
        'the registry has no memory for another upload of unknown length at the moment. Nothing of this request was stored: ' +
        `try again in ${RETRY_AFTER} seconds`,
      retryAfter: RETRY_AFTER,
    });
  }
  if (reservation.bytes === 0) reservations.add(new WeakRef(reservation));
  reservation.bytes = bytes;
}

export function release(reservation: Reservation): void {
  reservation.bytes = 0;
  heldByOthers(reservation);
}

/** Also removes reservations that are released or collected. */
function heldByOthers(reservation: Reservation): number {
  let sum = 0;
  for (const reference of reservations) {
    const held = reference.deref();
    if (!held || held.bytes === 0) reservations.delete(reference);
    else if (held !== reservation) sum += held.bytes;
  }
  return sum;
}
