/**
 * Bindings that fail on purpose. A Worker can be killed at every call to D1 or R2. `faulty` counts the calls. The call with the
 * given number fails with an error or never returns, before or after it has taken effect.
 */
import type { Env } from '../../src/env.ts';
import { intercepted } from './intercept.ts';

export type Fault = 'fail-before' | 'fail-after' | 'stop-before' | 'stop-after';
export const FAULTS: Fault[] = ['fail-before', 'fail-after', 'stop-before', 'stop-after'];
/** The faults that `npm test` tries: a lost answer, and a Worker that is killed before the call. */
export const SAMPLED_FAULTS: Fault[] = ['fail-after', 'stop-before'];

export interface Faults {
  env: Env;
  /** The names of the calls up to now, in order. */
  calls: string[];
  /** The keys of the objects that were written, in order. */
  writtenKeys: string[];
  /** Resolves when a `stop` fault has happened. The request of that call does nothing more. */
  stopped: Promise<void>;
}

/** @param at the number of the call that fails, counted from 0. If absent, no call fails, and calls are only counted */
export function faulty(env: Env, fault?: Fault, at?: number): Faults {
  const calls: string[] = [];
  const writtenKeys: string[] = [];
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>();

  async function point<T>(name: string, effect: () => Promise<T>): Promise<T> {
    const here = calls.push(name) - 1 === at ? fault : undefined;
    if (here === 'fail-before') throw new Error(`injected: ${name} failed`);
    if (here === 'stop-before') return forEver(stop);
    const result = await effect();
    if (here === 'fail-after') throw new Error(`injected: the answer of ${name} was lost`);
    if (here === 'stop-after') return forEver(stop);
    return result;
  }

  const context = { point, wrote: (key: string) => void writtenKeys.push(key) };
  return {
    env: { ...env, DB: intercepted(env.DB, point), BLOBS: faultyBucket(env.BLOBS, context) },
    calls,
    writtenKeys,
    stopped,
  };
}

interface FaultContext {
  point<T>(name: string, effect: () => Promise<T>): Promise<T>;
  wrote(key: string): void;
}

function forEver<T>(stop: () => void): Promise<T> {
  stop();
  return new Promise<T>(() => {});
}

function faultyBucket(bucket: R2Bucket, { point, wrote }: FaultContext): R2Bucket {
  const upload = (inner: R2MultipartUpload): R2MultipartUpload => ({
    key: inner.key,
    uploadId: inner.uploadId,
    uploadPart: (...args) => point('BLOBS.uploadPart', () => inner.uploadPart(...args)),
    abort: () => point('BLOBS.abort', () => inner.abort()),
    complete: (parts) =>
      point('BLOBS.complete', async () => {
        const object = await inner.complete(parts);
        wrote(inner.key);
        return object;
      }),
  });
  return new Proxy(bucket, {
    get(target, name) {
      if (name === 'resumeMultipartUpload') return (key: string, id: string) => upload(target.resumeMultipartUpload(key, id));
      if (name === 'createMultipartUpload') {
        return (key: string) =>
          point('BLOBS.createMultipartUpload', async () => upload(await target.createMultipartUpload(key)));
      }
      const method = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>;
      return (...args: unknown[]) =>
        point(`BLOBS.${String(name)}`, async () => {
          const result = await method.apply(target, args);
          if (name === 'put') wrote(args[0] as string);
          return result;
        });
    },
  });
}
