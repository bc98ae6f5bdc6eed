/**
 * Moves bytes at low CPU cost: natively from stream to stream, or in large buffers whose memory is reused. The default reader
 * returns 4 KiB at a time and costs fifteen times the CPU. An isolate has 128 MB of memory, and exceeding it ends all requests
 * of the isolate. So no layer is held in memory as a whole, and the memory of all buffers together is limited.
 */
import { Refusal } from '../vocabulary/refusal.ts';

/** A request body. `length` is the Content-Length, or `null` if the length is unknown (a chunked body). */
export interface Incoming {
  stream: ReadableStream | null;
  length: number | null;
}

/**
 * The size of the first buffer, in bytes. The buffer is doubled while bytes arrive, because most bodies of unknown length are
 * short.
 */
export const FIRST_BUFFER = 64 * 1024;

/** How the first buffer begins. */
export interface Start {
  /** The number of bytes to leave free at its beginning, for other bytes. Less than the size of a buffer. */
  gap: number;
  /** The number of bytes for which it has memory at first. */
  expected: number;
}

/**
 * Reads a stream in buffers of `size` bytes; the last one may be shorter. A buffer is valid only until the next one is
 * requested, because its memory is reused.
 * @param rest what happens to the stream if the caller stops early: it is cancelled, or left for the caller to read
 * @throws memory-full if the buffers of other requests leave too little memory
 */
export async function* buffersOf(
  stream: ReadableStream,
  size: number,
  rest: 'cancelled' | 'left' = 'cancelled',
  { gap, expected }: Start = { gap: 0, expected: FIRST_BUFFER },
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader({ mode: 'byob' });
  const reservation: Reservation = { bytes: 0 };
  let memory: ArrayBuffer | null = null;
  let free = gap;
  const first = () => grown(null, Math.min(size, gap + expected), reservation);
  try {
    for (;;) {
      const { bytes, isLast } = await fill(reader, size, memory ?? first(), reservation, free);
      if (bytes.byteLength > free) yield bytes;
      if (isLast) return;
      memory = bytes.buffer as ArrayBuffer;
      free = 0;
    }
  } finally {
    release(reservation);
    if (rest === 'cancelled') await reader.cancel().catch(() => {});
    else reader.releaseLock();
  }
}

/**
 * Reads the next `size` bytes, or fewer at the end of the stream.
 * @param memory the memory of the previous buffer, which is reused
 * @param gap the number of bytes at the beginning that are left free
 */
async function fill(
  reader: ReadableStreamBYOBReader,
  size: number,
  memory: ArrayBuffer,
  reservation: Reservation,
  gap: number,
): Promise<{ bytes: Uint8Array; isLast: boolean }> {
  let buffer = memory;
  let filled = gap;
  for (;;) {
    const wanted = buffer.byteLength - filled;
    const { value } = await reader.readAtLeast(wanted, new Uint8Array(buffer, filled, wanted));
    // `value` is undefined if the stream was cancelled. The runtime does not return the buffer in this case.
    if (!value) return { bytes: new Uint8Array(), isLast: true };
    buffer = value.buffer as ArrayBuffer;
    filled += value.byteLength;
    const isLast = value.byteLength < wanted;
    if (isLast || filled === size) return { bytes: new Uint8Array(buffer, 0, filled), isLast };
    buffer = grown(buffer, Math.min(size, 2 * filled), reservation);
  }
}

/** The size of the buffer with which `copyInto` reads. */
const COPY_BYTES = 256 * 1024;

/** Copies the content of the sources, which have `size` bytes together, to the beginning of `target`. */
export async function copyInto(target: Uint8Array, { sources, size }: Before): Promise<void> {
  let at = 0;
  for (const open of sources) {
    for await (const bytes of buffersOf(await open(), COPY_BYTES)) {
      target.set(bytes.subarray(0, size - at), at);
      at += bytes.byteLength;
    }
  }
  if (at !== size) throw new Error(`the pieces of an upload have ${at} bytes instead of ${size}`);
}

function grown(before: ArrayBuffer | null, size: number, reservation: Reservation): ArrayBuffer {
  reserve(reservation, size);
  const buffer = new ArrayBuffer(size);
  if (before) new Uint8Array(buffer).set(new Uint8Array(before));
  return buffer;
}

/**
 * Returns true if the body is empty. For a body of unknown length this reads the first byte, so the body cannot be used
 * afterwards.
 */
export async function isEmpty({ stream, length }: Incoming): Promise<boolean> {
  if (!stream || length === 0) return true;
  if (length !== null) return false;
  const reader = stream.getReader({ mode: 'byob' });
  const { value } = await reader.readAtLeast(1, new Uint8Array(1)).catch(() => ({ value: null }));
  reader.releaseLock();
  return value?.byteLength === 0 || value === undefined;
}

/**
 * Joins streams to one stream of known length. The runtime copies the bytes. If one of the streams fails, the joined stream
 * fails.
 */
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

/** The maximum number of bytes of a body that is read into memory instead of piped. Piping a longer body takes less memory. */
const SMALL_BODY = 256 * 1024;

/** Bytes to write before a request's body into the same object. */
export interface Before {
  sources: (() => Promise<ReadableStream>)[];
  size: number;
}

/** Returns the bytes of `sources` followed by `bytes`. */
export function joined({ sources, size }: Before, bytes: Uint8Array): ReadableStream | Uint8Array {
  if (sources.length === 0) return bytes;
  return concatenated([...sources, async () => new Response(bytes).body as ReadableStream], size + bytes.byteLength);
}

/**
 * Passes a request's body of known length to `store`. If `store` fails, its error does not say whether the connection to the
 * client or to R2 broke, so this function watches the body itself. A small body is first read into memory.
 * @throws body-incomplete if the body ended early
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

/** Returns `broke` if `store` failed because its input ended with that error, or `null` if it failed for another reason. */
function endedBy(error: unknown, broke: Refusal | null): Refusal | null {
  return broke && error instanceof Error && error.message.includes(broke.message) ? broke : null;
}

/** Reads a body into memory. @throws body-incomplete if it ends early */
export async function readSmall(stream: ReadableStream, length: number): Promise<Uint8Array> {
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

/**
 * The maximum number of bytes of all buffers of an isolate together: enough for eight long uploads of unknown length with parts
 * of 8 MiB, or for a thousand short ones.
 */
const BUFFERED_MAX = 64 * 1024 * 1024;

/**
 * The number of seconds after which a refused client should try again. Some of the running uploads may have finished by then.
 */
const RETRY_AFTER = 5;

/** The number of bytes of memory that the buffers of one body use. */
export interface Reservation {
  bytes: number;
}

/**
 * The reservations of all bodies. The references are weak, because the runtime does not run the `finally` blocks of a request
 * whose client disconnects, so such a reservation is never released.
 */
const reservations = new Set<WeakRef<Reservation>>();

/**
 * Reserves memory for the buffers of a body. `bytes` is the new total of this body.
 * @throws memory-full if the other bodies leave less memory
 */
export function reserve(reservation: Reservation, bytes: number): void {
  if (!isFree(bytes, reservation)) {
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

/** True if the buffers of all bodies leave at least `bytes`. @param own a reservation that is not counted */
export function isFree(bytes: number, own: Reservation | null = null): boolean {
  return heldByOthers(own) + bytes <= BUFFERED_MAX;
}

export function release(reservation: Reservation): void {
  reservation.bytes = 0;
  heldByOthers(reservation);
}

/** Returns the number of bytes that other bodies use. Forgets reservations that were released or garbage-collected. */
function heldByOthers(reservation: Reservation | null): number {
  let sum = 0;
  for (const reference of reservations) {
    const held = reference.deref();
    if (!held || held.bytes === 0) reservations.delete(reference);
    else if (held !== reservation) sum += held.bytes;
  }
  return sum;
}
