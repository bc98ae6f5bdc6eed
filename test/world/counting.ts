/** Bindings that count round trips to D1 (a batch is one), rows read and written in D1, and operations on R2. */
import type { Env } from '../../src/env.ts';
import { intercepted } from './intercept.ts';

export interface Counts {
  d1: number;
  rowsRead: number;
  rowsWritten: number;
  r2Reads: number;
  /** The number of class A operations: put, list, and the three operations of a multipart upload. */
  r2Writes: number;
}

const WRITES = ['put', 'list', 'createMultipartUpload', 'uploadPart', 'complete'];
const READS = ['get', 'head'];

/** @returns `longest` tells how many round trips to D1 had to wait for each other */
export function counting(env: Env): { env: Env; counts: Counts; longest: () => number } {
  const counts: Counts = { d1: 0, rowsRead: 0, rowsWritten: 0, r2Reads: 0, r2Writes: 0 };
  const chain = new Chain();
  const DB = countingDatabase(env.DB, counts, chain);
  return { env: { ...env, DB, BLOBS: countingBucket(env.BLOBS, counts) }, counts, longest: () => chain.longest };
}

/** The longest chain of calls of which each began after the one before had ended. Parallel calls count once. */
class Chain {
  longest = 0;

  async add<T>(call: () => Promise<T>): Promise<T> {
    const place = this.longest + 1;
    const result = await call();
    this.longest = Math.max(this.longest, place);
    return result;
  }
}

function countingDatabase(database: D1Database, counts: Counts, chain: Chain): D1Database {
  const tally = (results: D1Result[]) => {
    counts.d1++;
    for (const { meta } of results) {
      counts.rowsRead += meta.rows_read;
      counts.rowsWritten += meta.rows_written;
    }
  };
  return intercepted(database, async (name, effect, statement, args) => {
    if (!statement) {
      const results = (await chain.add(effect as () => Promise<unknown>)) as D1Result[];
      tally(results);
      return results;
    }
    // `first` does not return numbers of rows, so `all` is called instead. It returns them, and the same rows.
    const result = await chain.add(() => statement.all());
    tally([result]);
    if (name !== 'DB.first') return result;
    const [row] = result.results as Record<string, unknown>[];
    const [column] = args as [string?];
    return (column === undefined ? row : row?.[column]) ?? null;
  });
}

function countingBucket(bucket: R2Bucket, counts: Counts): R2Bucket {
  const counted = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(inner, name) {
        const value: unknown = Reflect.get(inner, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (WRITES.includes(String(name))) counts.r2Writes++;
          if (READS.includes(String(name))) counts.r2Reads++;
          const result: unknown = value.apply(inner, args);
          if (name === 'resumeMultipartUpload') return counted(result as R2MultipartUpload);
          return name === 'createMultipartUpload' ? (result as Promise<R2MultipartUpload>).then(counted) : result;
        };
      },
    });
  return counted(bucket);
}
