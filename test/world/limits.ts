/**
 * D1 with the limits of production, which the emulator does not have: at most 2 MB for a value or a row, and 100 parameters.
 */
import type { Env } from '../../src/env.ts';
import { intercepted } from './intercept.ts';

const MAX_BYTES = 2_000_000;
const MAX_PARAMETERS = 100;

/**
 * Limits the parameters of statements. The sum of their sizes is used as the size of the written row, which is hardly larger.
 */
export function limited(env: Env): Env {
  const prepare = (sql: string) => {
    const statement = env.DB.prepare(sql);
    const bind = statement.bind.bind(statement);
    statement.bind = (...values) => {
      const bytes = values.reduce(
        (sum: number, value) => sum + (typeof value === 'string' ? new TextEncoder().encode(value).length : 8),
        0,
      );
      if (bytes > MAX_BYTES) throw new Error(`D1_ERROR: string or blob too big: SQLITE_TOOBIG (${bytes} bytes)`);
      if (values.length > MAX_PARAMETERS) throw new Error('D1_ERROR: too many SQL variables');
      return bind(...values);
    };
    return statement;
  };
  const database = new Proxy(env.DB, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      return name === 'prepare' ? prepare : typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { ...env, DB: database };
}

/** Limits the answers of D1 as in production: at most 2 MB for a value or a row, and 50 MB in total. */
export function limitedAnswers(env: Env): Env {
  const DB = intercepted(env.DB, async (_, effect) => {
    const answer = await effect();
    const results = [answer].flat().flatMap((one) => (one as Partial<D1Result> | null)?.results ?? one ?? []);
    const rows = results.map((row) => new TextEncoder().encode(JSON.stringify(row)).length);
    const largest = Math.max(0, ...rows);
    if (largest > MAX_BYTES) throw new Error(`D1_ERROR: string or blob too big: SQLITE_TOOBIG (${largest} bytes)`);
    if (rows.reduce((sum, size) => sum + size, 0) > 25 * MAX_BYTES) throw new Error('D1_ERROR: the answer is too large');
    return answer;
  });
  return { ...env, DB };
}
