/** Retries R2 calls after transient errors. */

/** R2's error codes: InternalError, ServiceUnavailable, TooManyRequests (a write a second for each key). */
const TRANSIENT = /\((?:10001|10043|10058)\)/;

/** Milliseconds before each retry, while the client waits. The last pause exceeds the second in which R2 takes one write per key. */
const PAUSES = [100, 400, 1200];

/**
 * Retries a call that can be repeated: a read, a deletion, a put of bytes in memory or of objects that still exist. Never a put of a
 * request body, which can be read only once.
 */
export async function persistent<T>(call: () => Promise<T>): Promise<T> {
  for (const pause of PAUSES) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof Error && TRANSIENT.test(error.message))) throw error;
      await scheduler.wait(pause);
    }
  }
  return call();
}
