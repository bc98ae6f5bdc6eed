/**
 * The record of what happened, which is the outbox too. `record` returns a statement, not a promise: the only way in is the
 * batch that makes the change, so the two are committed together or not at all (invariant 6).
 */
import type { Env } from '../env.ts';
import type { Actor } from './event.ts';

type Reading = Pick<Env, 'DB'>;

/**
 * One event for each row that `select` yields, with the columns `type` and `target` (JSON): the change decides in SQL
 * whether there is something to tell, in the transaction in which it happens. In `select`, ?1 is what the event is about and
 * ?2 the actor; `parameters` begin at ?3. The statement answers with what it wrote, for `tryBatch` to announce.
 * @param event.about a repository's name, `organization:acme`, or empty for the registry itself
 */
export function record(
  env: Reading,
  { about, by, select, parameters }: { about: string; by: Actor; select: string; parameters: unknown[] },
): D1PreparedStatement {
  const key = `?${parameters.length + 3}`;
  return env.DB.prepare(
    `INSERT INTO events (at, type, about, sequence, target, actor, key_id)
     SELECT unixepoch(), type, ?1, ${LAST_SEQUENCE} + row_number() OVER (), target, ?2, ${key} FROM (${select})
     RETURNING id AS recorded_event, type`,
  ).bind(about, by.subject, ...parameters, by.key ?? null);
}

const LAST_SEQUENCE = 'coalesce((SELECT sequence FROM events WHERE about = ?1 ORDER BY id DESC LIMIT 1), 0)';

/** The newest event, as an SQL expression: for rows of other rooms that begin or end with it. 0 where there is none. */
export const NEWEST = 'coalesce((SELECT max(id) FROM events), 0)';
