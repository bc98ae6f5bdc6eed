/** Reading what happened: in order for those who deliver it, the newest first for people, and forgetting it in time. */
import type { Env } from '../env.ts';
import type { Page } from '../oci/page.ts';
import type { EventType } from '../vocabulary/event-types.ts';
import type { RecordedEvent } from './event.ts';
import { bytesOf } from './outbox.ts';

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

/** Without the address, which is for those who may read the log and goes to nobody else. */
function eventOf({ id, at, type, about, sequence, target, actor, key_id, changes }: Row): RecordedEvent {
  const by = { subject: actor, ...(key_id === null ? {} : { key: key_id }) };
  const said = JSON.parse(target) as RecordedEvent['target'];
  const all = changes === null ? said : { ...said, changes: JSON.parse(changes) as unknown };
  return { id, at, type, about, sequence, target: all, by };
}

/** Characters of targets that one page has: what is made of it must fit a statement (D1, "Limits": 2 MB). */
const PAGE_MAX = 500_000;

/** In the order in which they happened, up to `limit`: of large ones fewer, but one at least. */
export async function eventsAfter(env: Reading, id: number, limit: number): Promise<Page<RecordedEvent>> {
  const { results } = await env.DB.prepare(
    `SELECT id, at, type, about, sequence, target, actor, key_id, changes, more FROM (
       SELECT *, sum(length(target)) OVER (ORDER BY id) - length(target) AS before,
         row_number() OVER (ORDER BY id) AS place, id < (SELECT max(id) FROM events) AS more
       FROM (SELECT * FROM events WHERE id > ?1 ORDER BY id LIMIT ?2))
     WHERE place = 1 OR before + length(target) <= ${PAGE_MAX} ORDER BY id`,
  )
    .bind(id, limit)
    .all<Row & { more: number }>();
  return { items: results.map(eventOf), more: results.at(-1)?.more === 1 };
}

/** Those of the events that are still kept, by their ids. */
export async function eventsById(env: Reading, ids: readonly number[]): Promise<Map<number, RecordedEvent>> {
  const { results } = await env.DB.prepare('SELECT * FROM events WHERE id IN (SELECT value FROM json_each(?1))')
    .bind(JSON.stringify(ids))
    .all<Row>();
  return new Map(results.map((row) => [row.id, eventOf(row)]));
}

/** What to look for; `null` for any. Times are seconds since the epoch: `since` and later, before `until`. */
export interface Search {
  /** What it is about, or with an organization all that belongs to it as well. */
  about: { exactly: string } | { organization: string } | null;
  actor: string | null;
  types: readonly EventType[] | null;
  since: number | null;
  until: number | null;
  /** Only what happened after this event. */
  after: number;
}

/** Rows that one page may read where it is looked for by id, and by what it is about: of what is rare it is short. */
const IDS_PER_PAGE = 4100;
const ROWS_PER_PAGE = 2000;
/** Bytes of targets of one page: what is shown of them must fit an answer of 1 MiB. */
const BYTES_PER_PAGE = 900_000;

/** As the log has it: with the address that it was done from, while that is kept. */
export type Logged = RecordedEvent & { address: string | null };

export interface Found {
  items: Logged[];
  /** Where to go on: events before this one. `null` at the end. */
  next: number | null;
}

/** The newest first. @param before the event to go on before; `null` for the newest */
export async function searchEvents(env: Reading, search: Search, before: number | null, limit: number): Promise<Found> {
  const { about, actor, types, since, until, after } = search;
  const exactly = about && 'exactly' in about ? about.exactly : null;
  const organization = about && 'organization' in about ? about.organization : null;
  const end = until === null ? Number.MAX_SAFE_INTEGER : await firstEventSince(env, until);
  const start = since === null ? 0 : await firstEventSince(env, since);
  const place = [Math.min(before ?? end, end), Math.max(start, after + 1), exactly];
  const { rows, below } = exactly === null ? BY_ID : BY_ABOUT;
  const [found, further] = await env.DB.batch([
    env.DB.prepare(
      `SELECT id, at, type, about, sequence, actor, key_id, changes, address, iif(bytes <= ${BYTES_PER_PAGE}, target, NULL) AS target
       FROM (SELECT *, sum(${bytesOf('target')}) OVER (ORDER BY id DESC) AS bytes FROM (
         SELECT * FROM (${rows}) WHERE actor = coalesce(?4, actor) AND (?5 IS NULL OR type IN (SELECT value FROM json_each(?5)))
           AND (?6 IS NULL OR about IN ('organization:' || ?6, 'logins:' || ?6) OR substr(about, 1, length(?6) + 1) = ?6 || '/')
         ORDER BY id DESC LIMIT ?7))
       ORDER BY id DESC`,
    ).bind(...place, actor, types && JSON.stringify(types), organization, limit + 1),
    env.DB.prepare(below).bind(...place),
  ]);
  const all = (found?.results ?? []) as (Omit<Row, 'target'> & { target: string | null; address: string | null })[];
  const items = all
    .flatMap(({ target, address, ...row }) => (target === null ? [] : [{ ...eventOf({ ...row, target }), address }]))
    .slice(0, limit);
  const past = ((further?.results ?? []) as { id: number | null }[])[0]?.id ?? null;
  const next = items.length < all.length ? (items.at(-1)?.id ?? null) : past === null ? null : past + 1;
  return { items, next };
}

/**
 * SQL: the events before ?1 and from ?2 on that one page looks at, and the first one that it does not. Ids have few gaps, so that
 * a span of them is a bound for the rows; what is about one thing lies apart, and is counted.
 */
const TOP = '(SELECT max(id) FROM events WHERE id < ?1)';
const BY_ID = {
  // One lower bound, as a search by the key takes no more.
  rows: `SELECT * FROM events WHERE id < ?1 AND id >= max(?2, ${TOP} - ${IDS_PER_PAGE} + 1) AND ?3 IS NULL`,
  below: `SELECT max(id) AS id FROM events WHERE id >= ?2 AND id <= ${TOP} - ${IDS_PER_PAGE} AND ?3 IS NULL`,
};
const OF_ONE = 'FROM events WHERE about = ?3 AND id < ?1 AND id >= ?2 ORDER BY id DESC';
const BY_ABOUT = {
  rows: `SELECT * ${OF_ONE} LIMIT ${ROWS_PER_PAGE}`,
  below: `SELECT id ${OF_ONE} LIMIT 1 OFFSET ${ROWS_PER_PAGE}`,
};

/**
 * The event after which a repository is the one that has its name now: the deletion of the one before it, 0 where there was none.
 * What happened before is not for whoever has only the new one.
 */
export async function beginningOf(env: Reading, repository: string): Promise<number> {
  const beginning = await env.DB.prepare(
    `SELECT max(id) AS id FROM events e WHERE about = ?1 AND type = 'repository.deleted'
       AND EXISTS (SELECT 1 FROM events n WHERE n.about = ?1 AND n.id > e.id)`,
  )
    .bind(repository)
    .first<number>('id');
  return beginning ?? 0;
}

/** The first event at a time or after it, or where it would be. Ids and times grow together, so it is found by halves. */
export function firstEventSince(env: Reading, time: number): Promise<number> {
  return firstEvent(env, '?1', time);
}

/** The first event of the last `seconds`, on the database's clock. */
export function firstEventWithin(env: Reading, seconds: number): Promise<number> {
  return firstEvent(env, 'unixepoch() - ?1', seconds);
}

/** @param time an SQL expression of ?1 */
async function firstEvent(env: Reading, time: string, parameter: number): Promise<number> {
  const middle = '(low + high) / 2';
  const earlier = `(SELECT at FROM events WHERE id >= ${middle} ORDER BY id LIMIT 1) < ${time}`;
  const found = await env.DB.prepare(
    `WITH RECURSIVE search(low, high) AS (
       SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events) + 1
       UNION ALL
       SELECT iif(${earlier}, ${middle} + 1, low), iif(${earlier}, high, ${middle}) FROM search WHERE low < high)
     SELECT low FROM search WHERE low = high`,
  )
    .bind(parameter)
    .first<number>('low');
  return found ?? 1;
}

/**
 * Forgets up to `limit` events that are older than `days`, and no newer than `upTo`. The newest about each thing stays: from it
 * the next one is numbered.
 */
export async function expireEvents(env: Reading, { days, upTo, limit }: { days: number; upTo: number; limit: number }) {
  const bound = Math.min(await firstEventWithin(env, days * 24 * 60 * 60), upTo);
  await env.DB.prepare(
    `DELETE FROM events WHERE id IN (
       SELECT id FROM events e WHERE id < ?1 AND EXISTS (SELECT 1 FROM events n WHERE n.about = e.about AND n.id > e.id)
       ORDER BY id LIMIT ?2)`,
  )
    .bind(bound, limit)
    .run();
}

/** Forgets up to `limit` addresses that are older than `days`. */
export async function expireAddresses(env: Reading, { days, limit }: { days: number; limit: number }): Promise<void> {
  await env.DB.prepare(
    `UPDATE events SET address = NULL WHERE id IN (
       SELECT id FROM events INDEXED BY events_with_address WHERE address IS NOT NULL AND id < ?1 ORDER BY id LIMIT ?2)`,
  )
    .bind(await firstEventWithin(env, days * 24 * 60 * 60), limit)
    .run();
}
