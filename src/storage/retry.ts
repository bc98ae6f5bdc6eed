/** Errors of R2 that pass by themselves, and how often and how long they are waited for. */

/** R2's error codes: InternalError, ServiceUnavailable, TooManyRequests (a write a second for each key). */
const TRANSIENT = /\((?:10001|10043|10058)\)/;

/** Milliseconds before each further try: a client waits for all of them. The last one is longer than R2's second for a key. */
const PAUSES = [100, 400, 1200];

/**
 * For a call that may be made again, because nothing it needs is used up by it: a read, a deletion, a put of bytes in memory or of
 * objects that are still there. Never for the body of a request.
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
