/**
 * What is left of a request's body when its answer is known. Many clients send all of a body before they read the answer: where
 * the connection ends under them they see a broken pipe, and not why they were refused. So a bounded rest is read and dropped.
 */
import { createMiddleware } from 'hono/factory';
import type { AppEnv } from './context.ts';

/** Bytes: twice the largest manifest, and as much again. The rest of a longer body is left to the connection. */
const DRAIN_MAX_BYTES = 32 * 1024 * 1024;
/** Milliseconds that a client may take to send them. */
const DRAIN_MAX_TIME = 3000;
const BUFFER_BYTES = 256 * 1024;

export const drainUnread = createMiddleware<AppEnv>(async function drainUnread(c, next) {
  await next();
  const { body, bodyUsed } = c.req.raw;
  if (!body || body.locked || (bodyUsed && c.res.status < 400)) return;
  if (Number(c.req.header('content-length') ?? 0) > DRAIN_MAX_BYTES) return;
  await Promise.race([drain(body), scheduler.wait(DRAIN_MAX_TIME)]);
});

/** A body that breaks off has nothing left. */
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
    // Nobody waits for what it was.
  }
}
