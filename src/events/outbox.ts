/**
 * The record of what happened, which is the outbox too. `record` returns a statement, not a promise: the only way in is the
 * batch that makes the change, so the two are committed together or not at all (invariant 6).
 */
import type { Env } from '../env.ts';
import type { Actor } from './event.ts';

type Reading = Pick<Env, 'DB'>;

/** Bytes of UTF-8 of an event's target. Whoever causes an event also causes a copy of it in every webhook that hears it. */
export const TARGET_MAX_BYTES = 16 * 1024;
/** A longer target keeps this many of its fields, each of them whole up to so many bytes. A longer text keeps its beginning. */
const FIELDS_KEPT = 16;
const FIELD_MAX_BYTES = 512;
const TEXT_KEPT = 100;

/**
 * One event for each row that `select` yields, with the columns `type` and `target` (JSON): the change decides in SQL
 * whether there is something to tell, in the transaction in which it happens. In `select`, ?1 is what the event is about and
 * ?2 the actor; `parameters` begin at ?3. The statement answers with what it wrote, for `tryBatch` to announce.
 * A target of more than 16 KiB is shortened, and names the fields that are not whole in `truncated`.
 * @param event.about a repository's name, `organization:acme`, or empty for the registry itself
 */
export function record(
  env: Reading,
  { about, by, select, parameters }: { about: string; by: Actor; select: string; parameters: unknown[] },
): D1PreparedStatement {
  const key = `?${parameters.length + 3}`;
  return env.DB.prepare(
    `INSERT INTO events (at, type, about, sequence, target, actor, key_id)
     SELECT unixepoch(), type, ?1, ${LAST_SEQUENCE} + row_number() OVER (),
       iif(${bytesOf('target')} <= ${TARGET_MAX_BYTES}, target, ${SHORTENED}), ?2, ${key} FROM (${select})
     RETURNING id AS recorded_event, type`,
  ).bind(about, by.subject, ...parameters, by.key ?? null);
}

/** SQL: the length of a text in bytes of UTF-8, as `length` counts characters. */
export function bytesOf(text: string): string {
  return `length(CAST(${text} AS BLOB))`;
}

/** SQL: `target` with its long fields shortened or left out. */
const FIELD = 'target -> f.fullkey';
const IS_WHOLE = `f.place <= ${FIELDS_KEPT} AND ${bytesOf(FIELD)} <= ${FIELD_MAX_BYTES}`;
const FIELDS = `(SELECT key, fullkey, type, value, row_number() OVER (ORDER BY id) AS place FROM json_each(target)) f`;
const SHORTENED = `json_set(
    (SELECT json_group_object(f.key, iif(${IS_WHOLE}, json(${FIELD}), substr(f.value, 1, ${TEXT_KEPT}) || '…'))
      FROM ${FIELDS} WHERE f.place <= ${FIELDS_KEPT} AND (${IS_WHOLE} OR f.type = 'text')),
    '$.truncated', json((SELECT json_group_array(f.key) FROM ${FIELDS} WHERE f.place <= 2 * ${FIELDS_KEPT} AND NOT (${IS_WHOLE}))))`;

const LAST_SEQUENCE = 'coalesce((SELECT sequence FROM events WHERE about = ?1 ORDER BY id DESC LIMIT 1), 0)';

/** The newest event, as an SQL expression: for rows of other rooms that begin or end with it. 0 where there is none. */
export const NEWEST = 'coalesce((SELECT max(id) FROM events), 0)';
