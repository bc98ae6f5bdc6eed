/**
 * The table of events is both the audit log and an outbox. An outbox is a table of messages to send; a message is written in
 * the same transaction as the change. So an event is committed if and only if the change that it describes is (invariant 6).
 */

import type { Cause } from '../vocabulary/causes.ts';
import type { Batch } from './batch.ts';
import type { Actor } from './event.ts';
import type { Parameters } from './sql.ts';

/** The maximum size of an event's target, in bytes of UTF-8. Each delivery of the event may contain the whole target. */
export const TARGET_MAX_BYTES = 16 * 1024;
/** The maximum number of fields of a target that was too long and is shortened. */
const FIELDS_KEPT = 16;
/** The maximum size of a field that is kept whole, in bytes of UTF-8. */
const FIELD_MAX_BYTES = 512;
/** The number of characters that are kept of a longer text. */
const TEXT_KEPT = 100;

/**
 * Adds statements to the batch that record events: one event for each row that `select` yields. So SQL decides, in the
 * transaction of the change, whether there is an event. A row has the columns `type` and `target` (JSON), and `changes` (see
 * `changesIn`) if `hasChanges` is true. A target of more than 16 KiB is shortened; its field `truncated` names the shortened
 * fields.
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

/**
 * Adds statements to the batch that record events about tags or manifests. Their target also contains the cause of the change.
 */
export function recordImageEvent(batch: Batch, { cause, select, parameters, ...source }: ImageEventSource): void {
  recordEvent(batch, {
    ...source,
    select: `SELECT type, json_set(target, '$.cause', :event_cause) AS target FROM (${select})`,
    parameters: { ...parameters, event_cause: cause },
  });
}

type ImageEventSource = Omit<EventSource, 'hasChanges' | 'onceIn' | 'atMostADay'> & { cause: Cause };

/** The events to record. The SQL of `select` may use `parameters`, `:event_about` and `:event_actor`. */
export interface EventSource {
  about: string;
  by: Actor;
  select: string;
  parameters?: Parameters;
  hasChanges?: boolean;
  /**
   * A number of seconds. If the same actor with the same key and address had an event of the same type and `about` within this
   * time, no event is recorded.
   */
  onceIn?: number;
  /** The maximum number of events with this `about` within 24 hours. Further events are not recorded. */
  atMostADay?: number;
}

const LAST_ABOUT =
  'SELECT 1 FROM (SELECT type, actor, key_id, address, at FROM events WHERE about = :event_about ORDER BY id DESC';
/** The number of newest events that are searched for an equal event (`onceIn`). */
const LOOKED_AT = 200;
const DAY = 24 * 60 * 60;

const CHANGES_MAX_BYTES = 4 * 1024;

/** The name of a field, and the SQL expressions of its value before and after the change. */
export type ChangedField = [name: string, from: string, to: string];

/**
 * Returns an SQL expression: a JSON object with `{"from": …, "to": …}` for each field whose value changes. Long values are
 * shortened.
 */
export function changesIn(fields: readonly ChangedField[]): string {
  const shown = (side: 1 | 2) =>
    `iif(${bytesOf(`value -> ${side}`)} <= ${FIELD_MAX_BYTES}, json(value -> ${side}),
      substr(value ->> ${side}, 1, ${TEXT_KEPT}) || '…')`;
  const all = fields.map(([name, from, to]) => `json_array('${name}', ${from}, ${to})`);
  return `(SELECT json_group_object(value ->> 0, json_object('from', ${shown(1)}, 'to', ${shown(2)}))
    FROM json_each(json_array(${all.join(', ')})) WHERE value -> 1 IS NOT value -> 2)`;
}

/** Returns an SQL expression that converts a boolean of SQLite (0 or 1) to a boolean of JSON. */
export function booleanIn(expression: string): string {
  return `json(iif(${expression}, 'true', 'false'))`;
}

/** Returns an SQL expression: the length of a text in bytes of UTF-8. SQLite's `length` of a text counts characters. */
export function bytesOf(text: string): string {
  return `length(CAST(${text} AS BLOB))`;
}

/** SQL for `SHORTENED`, the target with long fields shortened or left out. */
const FIELD = 'target -> f.fullkey';
const IS_WHOLE = `f.place <= ${FIELDS_KEPT} AND ${bytesOf(FIELD)} <= ${FIELD_MAX_BYTES}`;
const FIELDS = `(SELECT key, fullkey, type, value, row_number() OVER (ORDER BY id) AS place FROM json_each(target)) f`;
const SHORTENED = `json_set(
    (SELECT json_group_object(f.key, iif(${IS_WHOLE}, json(${FIELD}), substr(f.value, 1, ${TEXT_KEPT}) || '…'))
      FROM ${FIELDS} WHERE f.place <= ${FIELDS_KEPT} AND (${IS_WHOLE} OR f.type = 'text')),
    '$.truncated', json((SELECT json_group_array(f.key) FROM ${FIELDS} WHERE f.place <= 2 * ${FIELDS_KEPT}
      AND NOT (${IS_WHOLE}))))`;

const LAST_SEQUENCE = 'coalesce((SELECT sequence FROM events WHERE about = :event_about ORDER BY id DESC LIMIT 1), 0)';

/**
 * SQL expression: the id of the newest event, or 0 if there is none. Other modules store this id with their data to find later
 * events.
 */
export const NEWEST = 'coalesce((SELECT max(id) FROM events), 0)';

/** Returns an SQL expression: the time of the first event with a greater id than `id`, or NULL if there is none. */
export const timeAfter = (id: string) => `(SELECT at FROM events WHERE id > ${id} ORDER BY id LIMIT 1)`;

/** Returns an SQL condition: since event `since`, somebody other than `actor` has deleted a tag or manifest of a repository. */
export const deletionsSince = (about: string, since: string, actor: string) => `EXISTS (SELECT 1 FROM events
  WHERE about = ${about} AND id > ${since} AND type IN ('tag.deleted', 'manifest.deleted') AND actor <> ${actor})`;
