/** Reads events: the oldest first for delivery, the newest first for the audit log. Deletes old events. */
import type { Env } from '../env.ts';
import type { Page } from '../oci/page.ts';
import type { Cause } from '../vocabulary/causes.ts';
import type { EventType } from '../vocabulary/event-types.ts';
import { type Database, newBatch } from './batch.ts';
import { actorIn, type RecordedEvent } from './event.ts';
import { bytesOf } from './outbox.ts';
import { type Parameters, prepare } from './sql.ts';

type Reading = Pick<Env, 'DB'>;

interface Row {
  id: number;
  at: number;
  type: RecordedEvent['type'];
  about: string;
  sequence: number;
  target: string;
  actor: string;
  key_id: string | null;
  changes: string | null;
}

/** Converts a row to an event. Leaves out the client's address, which only readers of the audit log may see. */
function eventOf({ id, at, type, about, sequence, target, actor, key_id, changes }: Row): RecordedEvent {
  const by = actorIn(actor, key_id);
  const said = JSON.parse(target) as RecordedEvent['target'];
  const all = changes === null ? said : { ...said, changes: JSON.parse(changes) as unknown };
  return { id, at, type, about, sequence, target: all, by };
}

/**
 * The maximum number of characters of the targets of all events on one page. One statement inserts the deliveries of these
 * events, and D1 accepts parameters of up to 2 MB.
 */
const PAGE_MAX = 500_000;

/**
 * Returns up to `limit` events after the given id, the oldest first. A page with large events is shorter, but has at least one
 * event.
 */
export async function eventsAfter(env: Reading, id: number, limit: number): Promise<Page<RecordedEvent>> {
  const { results } = await prepare(
    env,
    `SELECT id, at, type, about, sequence, target, actor, key_id, changes, more FROM (
       SELECT *, sum(length(target)) OVER (ORDER BY id) - length(target) AS before,
         row_number() OVER (ORDER BY id) AS place, id < (SELECT max(id) FROM events) AS more
       FROM (SELECT * FROM events WHERE id > :id ORDER BY id LIMIT :limit))
     WHERE place = 1 OR before + length(target) <= ${PAGE_MAX} ORDER BY id`,
    { id, limit },
  ).all<Row & { more: number }>();
  return { items: results.map(eventOf), more: results.at(-1)?.more === 1 };
}

/** Returns events by their ids. Events that are no longer stored are left out. */
export async function eventsById(env: Reading, ids: readonly number[]): Promise<Map<number, RecordedEvent>> {
  const { results } = await prepare(env, 'SELECT * FROM events WHERE id IN (SELECT value FROM json_each(:ids))', {
    ids,
  }).all<Row>();
  return new Map(results.map((row) => [row.id, eventOf(row)]));
}

/**
 * Selects events. A field that is `null` does not restrict the selection. `since` and `until` are seconds since the epoch;
 * `since` is included, and `until` is not.
 */
interface EventQuery {
  /** Only events with exactly this `about`, or all events of an organization and everything that belongs to it. */
  about: { exactly: string } | { organization: string } | null;
  actor: string | null;
  types: readonly EventType[] | null;
  cause: Cause | null;
  since: number | null;
  until: number | null;
  /** Only events whose target contains this tag. */
  tag: string | null;
  /** Only events whose target contains this digest. */
  digest: string | null;
  /** Only events with a greater id. */
  after: number;
}

/**
 * SQL condition: the target contains the given tag and digest. The event of a deleted manifest contains, in `tags`, the tags
 * that were deleted with it.
 */
const NAMES_CONTENT = `(:tag IS NULL OR target ->> 'tag' = :tag
    OR EXISTS (SELECT 1 FROM json_each(target, '$.tags') WHERE value = :tag))
  AND (:digest IS NULL OR :digest IN (target ->> 'digest', target ->> 'previous'))`;

/** The number of event ids that one page of a search by id covers. If matching events are rare, the page is short. */
const IDS_PER_PAGE = 4100;
/** The maximum number of rows that one page of a search by `about` reads. If matching events are rare, the page is short. */
const ROWS_PER_PAGE = 2000;
/** The maximum number of bytes of the targets of all events on one page, because an answer may have 1 MiB. */
const BYTES_PER_PAGE = 900_000;

/** An event with the address of the client. The address is `null` if none is stored. */
type Logged = RecordedEvent & { address: string | null };

interface EventPage {
  items: Logged[];
  /** The id before which the next page begins. `null` on the last page. */
  next: number | null;
}

/** Returns a page of events, the newest first. @param before the `next` of the previous page, or `null` for the first page */
export async function searchEvents(
  env: Database,
  search: EventQuery,
  before: number | null,
  limit: number,
): Promise<EventPage> {
  const { about, actor, types, since, until, after, tag, digest, cause } = search;
  const exactly = about && 'exactly' in about ? about.exactly : null;
  const organization = about && 'organization' in about ? about.organization : null;
  const end = until === null ? Number.MAX_SAFE_INTEGER : await firstEventSince(env, until);
  const start = since === null ? 0 : await firstEventSince(env, since);
  const range = { before: Math.min(before ?? end, end), first: Math.max(start, after + 1), about: exactly };
  const { rows, below } = exactly === null ? BY_ID : BY_ABOUT;
  const batch = newBatch(env);
  const found = batch.query<Omit<Row, 'target'> & { target: string | null; address: string | null }>(
    `SELECT id, at, type, about, sequence, actor, key_id, changes, address,
         iif(bytes <= ${BYTES_PER_PAGE}, target, NULL) AS target
       FROM (SELECT *, sum(${bytesOf('target')}) OVER (ORDER BY id DESC) AS bytes FROM (
         SELECT * FROM (${rows}) WHERE actor = coalesce(:actor, actor) 
           AND (:types IS NULL OR type IN (SELECT value FROM json_each(:types)))
           AND (:cause IS NULL OR target ->> 'cause' = :cause) AND ${NAMES_CONTENT}
           AND (:organization IS NULL OR about IN ('organization:' || :organization, 'logins:' || :organization)
             OR substr(about, 1, length(:organization) + 1) = :organization || '/')
         ORDER BY id DESC LIMIT :rows))
       ORDER BY id DESC`,
    { ...range, actor, types, organization, tag, digest, cause, rows: limit + 1 },
  );
  const further = batch.query<{ id: number | null }>(below, range);
  const results = await batch.commit();
  const all = results.of(found);
  const items = all
    .flatMap(({ target, address, ...row }) => (target === null ? [] : [{ ...eventOf({ ...row, target }), address }]))
    .slice(0, limit);
  const past = results.first(further)?.id ?? null;
  const next = items.length < all.length ? (items.at(-1)?.id ?? null) : past === null ? null : past + 1;
  return { items, next };
}

/**
 * SQL for one page of events with ids from `:first` to before `:before`. `rows` selects the events to search, and `below` the
 * newest event that is left for the next page. Ids of all events have few gaps, so a search by id reads a range of ids. Ids of
 * events with the same `about` have large gaps, so a search by `about` uses LIMIT.
 */
const TOP = '(SELECT max(id) FROM events WHERE id < :before)';
const BY_ID = {
  // `max()` combines two lower bounds, because SQLite's search by the primary key uses only one.
  rows: `SELECT * FROM events WHERE id < :before AND id >= max(:first, ${TOP} - ${IDS_PER_PAGE} + 1) AND :about IS NULL`,
  below: `SELECT max(id) AS id FROM events WHERE id >= :first AND id <= ${TOP} - ${IDS_PER_PAGE} AND :about IS NULL`,
};
const WITH_ABOUT = 'FROM events WHERE about = :about AND id < :before AND id >= :first ORDER BY id DESC';
const BY_ABOUT = {
  rows: `SELECT * ${WITH_ABOUT} LIMIT ${ROWS_PER_PAGE}`,
  below: `SELECT id ${WITH_ABOUT} LIMIT 1 OFFSET ${ROWS_PER_PAGE}`,
};

/**
 * Returns the id of the event that deleted the previous repository of the same name, or 0 if there was none. Only later events
 * are about the present repository. Somebody who may read the present repository may not read the earlier events.
 */
export async function firstEventOf(env: Reading, repository: string): Promise<number> {
  const beginning = await prepare(
    env,
    `SELECT max(id) AS id FROM events e WHERE about = :repository AND type = 'repository.deleted'
       AND EXISTS (SELECT 1 FROM events n WHERE n.about = :repository AND n.id > e.id)`,
    { repository },
  ).first<number>('id');
  return beginning ?? 0;
}

/**
 * Returns the id of the first event at or after a time, or the id that such an event would get. Ids and times grow together, so
 * a binary search finds the event.
 */
export function firstEventSince(env: Reading, time: number): Promise<number> {
  return firstEvent(env, ':time', { time });
}

/** Returns the id of the first event within the last `seconds` seconds, by the clock of D1. */
export function firstEventWithin(env: Reading, seconds: number): Promise<number> {
  return firstEvent(env, 'unixepoch() - :seconds', { seconds });
}

/** @param time an SQL expression of a time */
async function firstEvent(env: Reading, time: string, parameters: Parameters): Promise<number> {
  const middle = '(low + high) / 2';
  const earlier = `(SELECT at FROM events WHERE id >= ${middle} ORDER BY id LIMIT 1) < ${time}`;
  const found = await prepare(
    env,
    `WITH RECURSIVE search(low, high) AS (
       SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events) + 1
       UNION ALL
       SELECT iif(${earlier}, ${middle} + 1, low), iif(${earlier}, high, ${middle}) FROM search WHERE low < high)
     SELECT low FROM search WHERE low = high`,
    parameters,
  ).first<number>('low');
  return found ?? 1;
}

/** The number of ids in one window of `expireEvents`. */
const IDS_PER_WINDOW = 5000;

/**
 * Deletes up to `limit` events that are older than `days` and whose ids are below `upTo`. The newest event of each `about` is
 * kept, because the next event needs its sequence number. To avoid reading all kept events each time, a call searches only two
 * windows of ids: the newest ids that may be deleted, and a window that moves every hour.
 */
export async function expireEvents(env: Reading, { days, upTo, limit }: { days: number; upTo: number; limit: number }) {
  const bound = Math.min(await firstEventWithin(env, days * 24 * 60 * 60), upTo);
  await prepare(
    env,
    `WITH oldest(id) AS (SELECT min(id) FROM events),
       moving(first) AS (SELECT id + unixepoch() / 3600 % max(1, (:bound - id + :ids - 1) / :ids) * :ids FROM oldest),
       windows(first) AS (SELECT first FROM moving UNION ALL SELECT :bound - :ids)
     DELETE FROM events WHERE id IN (
       SELECT DISTINCT e.id FROM windows CROSS JOIN events e ON e.id >= first AND e.id < min(first + :ids, :bound)
       WHERE EXISTS (SELECT 1 FROM events n WHERE n.about = e.about AND n.id > e.id) LIMIT :limit)`,
    { bound, limit, ids: IDS_PER_WINDOW },
  ).run();
}

/** Removes the client's address from up to `limit` events that are older than `days`. */
export async function expireAddresses(env: Reading, { days, limit }: { days: number; limit: number }): Promise<void> {
  await prepare(
    env,
    `UPDATE events SET address = NULL WHERE id IN (
       SELECT id FROM events INDEXED BY events_with_address WHERE address IS NOT NULL AND id < :bound ORDER BY id
         LIMIT :limit)`,
    { bound: await firstEventWithin(env, days * 24 * 60 * 60), limit },
  ).run();
}
