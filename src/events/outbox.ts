/**
 * The record of what happened. `record` returns a statement, not a promise: the only way in is the batch that makes the
 * change, so the two are committed together or not at all (invariant 6).
 */
import type { Env } from '../env.ts';
import type { Actor } from './event.ts';

/**
 * One event for each row that `select` yields, with the columns `type` and `target` (JSON): the change decides in SQL
 * whether there is something to tell, in the transaction in which it happens. In `select`, ?1 is the repository's name and
 * ?2 the actor; `parameters` begin at ?3.
 */
export function record(
  env: Pick<Env, 'DB'>,
  event: { repository: string; by: Actor; select: string; parameters: unknown[] },
): D1PreparedStatement {
  return env.DB.prepare(
    `INSERT INTO events (at, type, repository, target, actor)
     SELECT unixepoch(), type, ?1, target, ?2 FROM (${event.select})`,
  ).bind(event.repository, event.by.subject, ...event.parameters);
}
