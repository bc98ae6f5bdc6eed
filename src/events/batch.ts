/**
 * D1's only transaction is a batch, and a batch knows no IF. `refuseUnless` is its precondition: a statement that ends the
 * batch where the condition does not hold, so that what follows is written as a whole or not at all. What a batch recorded is
 * announced to the queue once it is committed, beside the answer and not before it.
 */
import { waitUntil } from 'cloudflare:workers';
import type { Env } from '../env.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { databaseFailure } from './database-failure.ts';
import { type Announcement, QUIET_TYPES } from './event.ts';

export type Database = Pick<Env, 'DB' | 'EVENTS'>;

/** Work that may outlive the answer. Nothing necessary is given to it: the cron finishes what it leaves (invariant 9). */
export interface Background {
  waitUntil(work: Promise<unknown>): void;
}

/** `condition` is an SQL expression. */
export function refuseUnless(env: Pick<Env, 'DB'>, condition: string, ...parameters: unknown[]): D1PreparedStatement {
  return env.DB.prepare(`INSERT INTO refusals (reason) SELECT 'refused' WHERE NOT (${condition})`).bind(...parameters);
}

/** For a batch without preconditions. */
export async function commit(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[]> {
  const results = await env.DB.batch(statements);
  announceRecorded(env, results);
  return results;
}

/** The batch's results, or `null` where a precondition refused it. */
export async function tryBatch(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[] | null> {
  try {
    return await commit(env, statements);
  } catch (error) {
    if (error instanceof Error && error.message.includes('CHECK constraint failed: precondition')) return null;
    throw error;
  }
}

/**
 * Whether a batch that failed so is worth another try. D1 repeats only reads by itself; a write that it lost, as it does when its
 * own code is updated, may have been committed or not. A database that is overloaded, has used up its day or refused the
 * statement is not asked again.
 */
export function isLost(error: unknown): boolean {
  const failure = databaseFailure(error);
  return failure === null || failure === 'lost';
}

/** For a batch that does no harm when it is carried out twice, whatever happens in between. */
export async function tryBatchTwice(env: Database, statements: D1PreparedStatement[]): Promise<D1Result[] | null> {
  try {
    return await tryBatch(env, statements);
  } catch (error) {
    if (!isLost(error)) throw error;
    return await tryBatch(env, statements);
  }
}

/** Tries of a change that others race with: each takes two calls of the database, and one is won soon. */
const RACES_MAX = 5;

/**
 * For a change whose batch may be refused by what another request has just changed, and then changed back. `refusal` looks for the
 * reason: where there is none any more, the change is tried again.
 * @param attempt `null`: refused
 * @throws what `refusal` finds; overtaken where every try was overtaken
 */
export async function persistently<T>(attempt: () => Promise<T | null>, refusal: () => Promise<Refusal | null>): Promise<T> {
  for (let tries = 0; tries < RACES_MAX; tries++) {
    const done = await attempt();
    if (done !== null) return done;
    const reason = await refusal();
    if (reason) throw reason;
  }
  const message = 'others keep changing this at the same time: nothing was changed, try again';
  throw new Refusal('overtaken', { message });
}

/** A row that `record` wrote, or any other. */
type Recorded = { recorded_event?: number; type?: string };

/** One message for all that a batch recorded, and for what was recorded before it. A queue that refuses it fails nothing. */
function announceRecorded(env: Database, results: D1Result[]): void {
  const recorded = (results.flatMap((result) => result.results) as Recorded[]).filter(
    ({ recorded_event, type }) => recorded_event !== undefined && !QUIET_TYPES.includes(type ?? ''),
  );
  if (recorded.length === 0) return;
  const announcement: Announcement = { newest: Math.max(...recorded.map(({ recorded_event = 0 }) => recorded_event)) };
  const failed = (error: unknown) => console.error('events wait for the cron:', error instanceof Error ? error.message : error);
  try {
    waitUntil(env.EVENTS.send(announcement).then(() => undefined, failed));
  } catch (error) {
    failed(error);
  }
}
