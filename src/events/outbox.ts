/**
 * The table of events: the audit log and the outbox. Events are added to the batch that makes the change, so both are committed
 * or neither is (invariant 6).
 */
import type { Batch } from './batch.ts';
import type { Actor } from './event.ts';
import type { Parameters } from './sql.ts';

/** Bytes of UTF-8 of an event's target. Each event causes a copy in every webhook that hears it. */
export const TARGET_MAX_BYTES = 16 * 1024;
/** A longer target keeps this many fields, each up to so many bytes. A longer text keeps its beginning. */
const FIELDS_KEPT = 16;
const FIELD_MAX_BYTES = 512;
const TEXT_KEPT = 100;

/**
 * Adds the events of a change to its batch: one for each row that `select` yields, with the columns `type` and `target` (JSON),
 * and `changes` (see `changesIn`) if `hasChanges` is set. Whether there is an event is decided in SQL, in the transaction of
 * the change. A target of more than 16 KiB is shortened and names the shortened fields in `truncated`.
 */
export function recordEvent(batch: Batch, { about, by, select, parameters, ...options }: EventSource): void {
  const { hasChanges = false, onceIn, atMostADay } = options;
  const bounds = [
    ...(onceIn === undefined
      ? []
      : [
          `NOT EXISTS (${LAST_ABOUT} LIMIT ${LOOKED_AT}) o WHERE o.type = new.type AND o.actor = :event_actor
      AND o.key_id IS :event_key AND o.address IS :event_address AND o.at > unixepoch() - ${onceIn})`,
        ]),
    ...(atMostADay === undefined
      ? []
      : [`NOT EXISTS (${LAST_ABOUT} LIMIT 1 OFFSET ${atMostADay - 1}) o WHERE o.at > unixepoch() - ${DAY})`]),
  ];
  batch.query(
    `INSERT INTO events (at, type, about, sequence, target, actor, key_id, changes, address)
     SELECT unixepoch(), type, :event_about, ${LAST_SEQUENCE} + row_number() OVER (),
       iif(${bytesOf('target')} <= ${TARGET_MAX_BYTES}, target, ${SHORTENED}), :event_actor, :event_key,
       ${hasChanges ? `iif(${bytesOf('changes')} > ${CHANGES_MAX_BYTES}, '{"truncated":true}', changes)` : 'NULL'},
         :event_address
     FROM (${select}) AS new ${bounds.length > 0 ? `WHERE ${bounds.join(' AND ')}` : ''}
     RETURNING id AS recorded_event, type`,
    {
      ...parameters,
      ...{ event_about: about, event_actor: by.subject, event_key: by.key ?? null, event_address: by.address ?? null },
    },
  );
}

/** An event for each row of `select`. The SQL may name the values of `parameters`, and `:event_about`, `:event_actor`. */
export interface EventSource {
  about: string;
  by: Actor;
  select: string;
  parameters?: Parameters;
  hasChanges?: boolean;
  /** Seconds within which the same actor, with the same key and address, has only one event of this type. */
  onceIn?: number;
  /** Events with this `about` per day. */
  atMostADay?: number;
}

const LAST_ABOUT =
  'SELECT 1 FROM (SELECT type, actor, key_id, address, at FROM events WHERE about = :event_about ORDER BY id DESC';
/** The newest events that are searched for an equal one. */
const LOOKED_AT = 200;
const DAY = 24 * 60 * 60;

const CHANGES_MAX_BYTES = 4 * 1024;

/** A field, and SQL expressions of its value before and after the change. */
export type ChangedField = [name: string, from: string, to: string];

/** SQL: the fields that change, each as `{"from": …, "to": …}` (JSON). Long values are shortened. */
export function changesIn(fields: readonly ChangedField[]): string {
  const shown = (side: 1 | 2) =>
    `iif(${bytesOf(`value -> ${side}`)} <= ${FIELD_MAX_BYTES}, json(value -> ${side}),
      substr(value ->> ${side}, 1, ${TEXT_KEPT}) || '…')`;
  const all = fields.map(([name, from, to]) => `json_array('${name}', ${from}, ${to})`);
  return `(SELECT json_group_object(value ->> 0, json_object('from', ${shown(1)}, 'to', ${shown(2)}))
    FROM json_each(json_array(${all.join(', ')})) WHERE value -> 1 IS NOT value -> 2)`;
}

/** SQL: a boolean of SQLite as a boolean of JSON. */
export function booleanIn(expression: string): string {
  return `json(iif(${expression}, 'true', 'false'))`;
}

/** SQL: the length of a text in bytes of UTF-8; `length` counts characters. */
export function bytesOf(text: string): string {
  return `length(CAST(${text} AS BLOB))`;
}

/** SQL: `target` with long fields shortened or left out. */
const FIELD = 'target -> f.fullkey';
const IS_WHOLE = `f.place <= ${FIELDS_KEPT} AND ${bytesOf(FIELD)} <= ${FIELD_MAX_BYTES}`;
const FIELDS = `(SELECT key, fullkey, type, value, row_number() OVER (ORDER BY id) AS place FROM json_each(target)) f`;
const SHORTENED = `json_set(
    (SELECT json_group_object(f.key, iif(${IS_WHOLE}, json(${FIELD}), substr(f.value, 1, ${TEXT_KEPT}) || '…'))
      FROM ${FIELDS} WHERE f.place <= ${FIELDS_KEPT} AND (${IS_WHOLE} OR f.type = 'text')),
    '$.truncated', json((SELECT json_group_array(f.key) FROM ${FIELDS} WHERE f.place <= 2 * ${FIELDS_KEPT}
      AND NOT (${IS_WHOLE}))))`;

const LAST_SEQUENCE = 'coalesce((SELECT sequence FROM events WHERE about = :event_about ORDER BY id DESC LIMIT 1), 0)';

/** SQL: the id of the newest event; 0: there is none. For rows of other modules that begin or end with it. */
export const NEWEST = 'coalesce((SELECT max(id) FROM events), 0)';

/** SQL: the time of the first event after this one; NULL: there is none. */
export const timeAfter = (id: string) => `(SELECT at FROM events WHERE id > ${id} ORDER BY id LIMIT 1)`;

/** SQL: true if anybody but `actor` has deleted a tag or manifest of a repository since event `since`. */
export const deletionsSince = (about: string, since: string, actor: string) => `EXISTS (SELECT 1 FROM events
  WHERE about = ${about} AND id > ${since} AND type IN ('tag.deleted', 'manifest.deleted') AND actor <> ${actor})`;
