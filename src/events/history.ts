/** Reads events: oldest first for delivery, newest first for people. Deletes old ones. */
import type { Env } from '../env.ts';
import type { Page } from '../oci/page.ts';
import type { EventType } from '../vocabulary/event-types.ts';
import { type Database, newBatch } from './batch.ts';
import type { RecordedEvent } from './event.ts';
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

/** The event without the address, which only readers of the audit log may see. */
function eventOf({ id, at, type, about, sequence, target, actor, key_id, changes }: Row): RecordedEvent {
  const by = { subject: actor, ...(key_id === null ? {} : { key: key_id }) };
  const said = JSON.parse(target) as RecordedEvent['target'];
  const all = changes === null ? said : { ...said, changes: JSON.parse(changes) as unknown };
  return { id, at, type, about, sequence, target: all, by };
}

/** Characters of the targets of one page: the deliveries made of it must fit one statement (D1, "Limits": 2 MB). */
const PAGE_MAX = 500_000;

/** Up to `limit` events after one, oldest first. A page of large events is shorter, but has at least one. */
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

/** The events that are still stored, by id. */
export async function eventsById(env: Reading, ids: readonly number[]): Promise<Map<number, RecordedEvent>> {
  const { results } = await prepare(env, 'SELECT * FROM events WHERE id IN (SELECT value FROM json_each(:ids))', {
    ids,
  }).all<Row>();
  return new Map(results.map((row) => [row.id, eventOf(row)]));
}

/** A query of events; `null`: any. Times are seconds since the epoch, from `since` and before `until`. */
interface EventQuery {
  /** One `about`, or an organization with everything that belongs to it. */
  about: { exactly: string } | { organization: string } | null;
  actor: string | null;
  types: readonly EventType[] | null;
  since: number | null;
  until: number | null;
  /** Only events that name this tag, or this digest, in their target. */
  tag: string | null;
  digest: string | null;
  /** Only events after this one. */
  after: number;
}

/** SQL condition: the target names the wanted tag and digest. A deletion of a manifest names the tags deleted with it. */
const NAMES_CONTENT = `(:tag IS NULL OR target ->> 'tag' = :tag
    OR EXISTS (SELECT 1 FROM json_each(target, '$.tags') WHERE value = :tag))
  AND (:digest IS NULL OR :digest IN (target ->> 'digest', target ->> 'previous'))`;

/** Rows that one page may read, by id and by `about`. If matching events are rare, the page is short. */
const IDS_PER_PAGE = 4100;
const ROWS_PER_PAGE = 2000;
/** Bytes of the targets of one page: they must fit an answer of 1 MiB. */
const BYTES_PER_PAGE = 900_000;

/** An event with the address of the client, while that is stored. */
type Logged = RecordedEvent & { address: string | null };

interface EventPage {
  items: Logged[];
  /** The next page has the events before this one; `null`: this is the last page. */
  next: number | null;
}

/** A page of events, newest first. @param before `next` of the page before; `null`: the first page */
export async function searchEvents(
  env: Database,
  search: EventQuery,
  before: number | null,
  limit: number,
): Promise<EventPage> {
  const { about, actor, types, since, until, after, tag, digest } = search;
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
           AND ${NAMES_CONTENT}
           AND (:organization IS NULL OR about IN ('organization:' || :organization, 'logins:' || :organization)
             OR substr(about, 1, length(:organization) + 1) = :organization || '/')
         ORDER BY id DESC LIMIT :rows))
       ORDER BY id DESC`,
    { ...range, actor, types, organization, tag, digest, rows: limit + 1 },
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
 * SQL: the events before `:before` and from `:first` on that one page reads, and the first event that it does not read. Ids
 * have few gaps, so a range of ids bounds the number of rows. Events with one `about` are scattered, so they are counted.
 */
const TOP = '(SELECT max(id) FROM events WHERE id < :before)';
const BY_ID = {
  // One lower bound, because a search by the key takes only one.
  rows: `SELECT * FROM events WHERE id < :before AND id >= max(:first, ${TOP} - ${IDS_PER_PAGE} + 1) AND :about IS NULL`,
  below: `SELECT max(id) AS id FROM events WHERE id >= :first AND id <= ${TOP} - ${IDS_PER_PAGE} AND :about IS NULL`,
};
const WITH_ABOUT = 'FROM events WHERE about = :about AND id < :before AND id >= :first ORDER BY id DESC';
const BY_ABOUT = {
  rows: `SELECT * ${WITH_ABOUT} LIMIT ${ROWS_PER_PAGE}`,
  below: `SELECT id ${WITH_ABOUT} LIMIT 1 OFFSET ${ROWS_PER_PAGE}`,
};

/**
 * The event after which a name belongs to the present repository: the deletion of the previous one; 0: there was none. Who may
 * read the present repository may not read earlier events.
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

/** The first event at a time or later, or the id it would have. Ids and times grow together, so a binary search finds it. */
export function firstEventSince(env: Reading, time: number): Promise<number> {
  return firstEvent(env, ':time', { time });
}

/** The first event of the last `seconds`, by the clock of the database. */
export function firstEventWithin(env: Reading, seconds: number): Promise<number> {
  return firstEvent(env, 'unixepoch() - :seconds', { seconds });
}

/** @param time an SQL expression */
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

/**
 * Deletes up to `limit` events that are older than `days` and not newer than `upTo`. The newest event of each `about` stays,
 * because it has the last sequence number.
 */
export async function expireEvents(env: Reading, { days, upTo, limit }: { days: number; upTo: number; limit: number }) {
  const bound = Math.min(await firstEventWithin(env, days * 24 * 60 * 60), upTo);
  await prepare(
    env,
    `DELETE FROM events WHERE id IN (
       SELECT id FROM events e WHERE id < :bound AND EXISTS (SELECT 1 FROM events n WHERE n.about = e.about AND n.id > e.id)
       ORDER BY id LIMIT :limit)`,
    { bound, limit },
  ).run();
}

/** Deletes up to `limit` addresses that are older than `days`. */
export async function expireAddresses(env: Reading, { days, limit }: { days: number; limit: number }): Promise<void> {
  await prepare(
    env,
    `UPDATE events SET address = NULL WHERE id IN (
       SELECT id FROM events INDEXED BY events_with_address WHERE address IS NOT NULL AND id < :bound ORDER BY id
         LIMIT :limit)`,
    { bound: await firstEventWithin(env, days * 24 * 60 * 60), limit },
  ).run();
}
