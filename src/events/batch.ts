/**
 * D1's only transaction is a batch, and a batch knows no IF. `refuseUnless` is its precondition: a statement that ends the
 * batch where the condition does not hold, so that what follows is written as a whole or not at all.
 */
import type { Env } from '../env.ts';

export type Database = Pick<Env, 'DB'>;

/** Work that may outlive the answer. Nothing necessary is given to it: the cron finishes what it leaves (invariant 9). */
export interface Background {
  waitUntil(work: Promise<unknown>): void;
}

/** `condition` is an SQL expression. */
export function refuseUnless(env: Database, condition: string, ...parameters: unknown[]): D1PreparedStatement {
  return env.DB.prepare(`INSERT INTO refusals (reason) SELECT 'refused' WHERE NOT (${condition})`).bind(...parameters);
}

/** The batch's results, or `null` where a precondition refused it. */
export async function tryBatch(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[] | null> {
  try {
    return await env.DB.batch(statements);
  } catch (error) {
    if (error instanceof Error && error.message.includes('CHECK constraint failed: precondition')) return null;
    throw error;
  }
}

/**
 * For a batch that does no harm when it is carried out twice. D1 repeats only reads by itself; a write that it lost, as it
 * does when its own code is updated, may have been committed or not. An overloaded database is not asked again.
 */
export async function tryBatchTwice(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[] | null> {
  try {
    return await tryBatch(env, statements);
  } catch (error) {
    if (error instanceof Error && error.message.includes('overloaded')) throw error;
    return await tryBatch(env, statements);
  }
}
