/**
 * Reads and drops the rest of a request's body after the answer is known. Many clients send the whole body before they read the
 * answer. If the connection ended earlier, they would report a broken pipe instead of the refusal.
 */
import type { Context } from 'hono';
import type { AppEnv } from './context.ts';

/** The maximum number of bytes that are read and dropped. If the body is longer, the connection is ended. */
const DRAIN_MAX_BYTES = 32 * 1024 * 1024;
/** The maximum number of milliseconds that a client may take to send the rest of the body. */
const DRAIN_MAX_TIME = 3000;
const BUFFER_BYTES = 256 * 1024;

export async function drainUnread(c: Context<AppEnv>): Promise<void> {
  const { body, bodyUsed } = c.req.raw;
  if (!body || body.locked || (bodyUsed && c.res.status < 400)) return;
  if (Number(c.req.header('content-length') ?? 0) > DRAIN_MAX_BYTES) return;
  await Promise.race([drain(body), scheduler.wait(DRAIN_MAX_TIME)]);
}

/** Reads the body to its end or to the maximum. An error while reading is ignored. */
async function drain(body: ReadableStream): Promise<void> {
  try {
    const reader = body.getReader({ mode: 'byob' });
    let memory = new ArrayBuffer(BUFFER_BYTES);
    for (let drained = 0; drained < DRAIN_MAX_BYTES; ) {
      const { value, done } = await reader.readAtLeast(BUFFER_BYTES, new Uint8Array(memory));
      if (done || !value) return;
      drained += value.byteLength;
      memory = value.buffer as ArrayBuffer;
    }
  } catch {
    // The request is answered already, so the error does not matter.
  }
}
