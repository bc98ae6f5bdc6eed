/**
 * From events to deliveries. The cursor and the deliveries that were made up to it are one batch, so an event is matched once,
 * whatever message was lost, came twice, or came to two consumers; a message only says that there is something to do.
 */
import type { Env, Vars } from '../env.ts';
import { type Database, refuseUnless, tryBatch } from '../events/batch.ts';
import { isAboutRepository, type RecordedEvent } from '../events/event.ts';
import { eventsAfter } from '../events/history.ts';
import { NEWEST, timeAfter } from '../events/outbox.ts';
import type { RepositoryName } from '../oci/name.ts';
import { insertDeliveries, type NewDelivery, sendDeliveries, storedData } from './delivery/deliveries.ts';
import { hears, scopesOf } from './filter.ts';
import { FORMATS } from './formats/all.ts';
import type { RepositoryFacts } from './formats/format.ts';
import { withinDay } from './owner-days.ts';
import { dueForReview, review, reviewAfter, type Standing } from './standing.ts';
import { type Row, type Subscription, subscriptionOf } from './subscriptions.ts';

/** What other rooms know of repositories: of those that are not there, nothing. */
export type Describe = (repositories: RepositoryName[]) => Promise<Map<string, RepositoryFacts>>;

/** Of one batch. A slice of events that would make more of them ends earlier. */
const EVENTS_PER_SLICE = 100;
const DELIVERIES_PER_SLICE = 500;

type Stores = Database & Pick<Env, 'DELIVERIES'> & Vars;

/**
 * Up to `slices` of the events that were not matched yet, in the order in which they happened. Returns whether that was all.
 * @param events of one slice
 */
export async function matchEvents(
  env: Stores,
  describe: Describe,
  slices: number,
  rights: Rights | null = null,
  events = EVENTS_PER_SLICE,
): Promise<boolean> {
  for (let slice = 0; slice < slices; slice++) {
    if (!(await matchSlice(env, describe, rights, events))) return true;
  }
  return (await unmatchedEvent(env)) === null;
}

/** The newest event, if it was not matched yet. */
export async function unmatchedEvent(env: Database): Promise<number | null> {
  const [found] = await env.DB.batch([matchingState(env)]);
  return matchingStateOf(found).unmatched;
}

const CURSOR = 'coalesce((SELECT event FROM match_cursor), 0)';

export interface MatchingState {
  /** The newest event that was matched. */
  cursor: number;
  /** The newest event, if it was not matched yet. */
  unmatched: number | null;
  /** Seconds for which the oldest of those has waited. */
  waiting: number;
}

/** A statement that `matchingStateOf` reads. */
export function matchingState(env: Database): D1PreparedStatement {
  return env.DB.prepare(`SELECT ${CURSOR} AS cursor, ${NEWEST} AS newest, unixepoch() - ${timeAfter(CURSOR)} AS waiting`);
}

export function matchingStateOf(result: D1Result | undefined): MatchingState {
  const {
    cursor = 0,
    newest = 0,
    waiting,
  } = (result?.results[0] ?? {}) as Partial<Record<'cursor' | 'newest' | 'waiting', number>>;
  return { cursor, unmatched: newest > cursor ? newest : null, waiting: waiting ?? 0 };
}

/** The newest event that was matched. */
async function cursorOf(env: Database): Promise<number> {
  return (await env.DB.prepare('SELECT event FROM match_cursor').first<number>('event')) ?? 0;
}

/** How the owners of webhooks are asked about, and the clock in milliseconds. */
export interface Rights {
  standing: Standing;
  now: number;
}

/** Whether there is more: `false` where all were matched that were there when it began; those after them are announced too. */
async function matchSlice(env: Stores, describe: Describe, rights: Rights | null, limit: number): Promise<boolean> {
  const from = await cursorOf(env);
  const { items: events, more } = await eventsAfter(env, from, limit);
  if (events.length === 0) return false;
  const pairs = await allowedPairs(env, events, rights);
  const { dealtWith, last } = fitting(events, pairs);
  const { allowed, statements } = await withinDay(env, dealtWith);
  const made = await dataFor(allowed, describe);
  const done = await tryBatch(env, [
    refuseUnless(env, 'coalesce((SELECT event FROM match_cursor), 0) = ?1', from),
    ...(made.rows.length > 0 ? [insertDeliveries(env, made, 'DO NOTHING')] : []),
    ...statements,
    env.DB.prepare('INSERT INTO match_cursor (one, event) VALUES (1, ?1) ON CONFLICT DO UPDATE SET event = ?1').bind(last.id),
  ]);
  // Refused: another consumer was faster, and has sent them.
  if (!done) return true;
  await sendDeliveries(env, made.rows);
  return more || last !== events.at(-1);
}

/** Events and those who hear them, without the webhooks of those who have lost the right. */
async function allowedPairs(env: Database, events: RecordedEvent[], rights: Rights | null): Promise<Pair[]> {
  if (rights) await reviewAfter(env, events, rights.standing);
  const pairs = pairsOf(events, await listenersTo(env, events));
  const listeners = new Map(pairs.map(({ listener }) => [listener.id, listener]));
  // Those that are over were in order when they ended.
  const current = [...listeners.values()].filter(({ lastEvent }) => lastEvent === null);
  const lost = rights ? await review(env, dueForReview(current, rights.now), rights.standing) : new Set();
  return lost.size === 0 ? pairs : pairs.filter(({ listener }) => !lost.has(listener.id));
}

async function listenersTo(env: Database, events: RecordedEvent[]): Promise<Subscription[]> {
  const scopes = [...new Set(events.flatMap(scopesOf))];
  const { results } = await env.DB.prepare(
    `SELECT * FROM subscriptions WHERE scope IN (SELECT value FROM json_each(?1)) AND disabled IS NULL`,
  )
    .bind(JSON.stringify(scopes))
    .all<Row>();
  return results.map(subscriptionOf);
}

interface Pair {
  event: RecordedEvent;
  listener: Subscription;
}

function pairsOf(events: RecordedEvent[], listeners: Subscription[]): Pair[] {
  return events.flatMap((event) =>
    listeners
      .filter((listener) => event.id > listener.firstEvent && event.id <= (listener.lastEvent ?? event.id))
      .filter((listener) => hears(listener, event))
      .map((listener) => ({ event, listener })),
  );
}

/** The pairs of as many events, from the first, as fit a slice: of one event all, however many. */
function fitting(events: RecordedEvent[], pairs: Pair[]): { dealtWith: Pair[]; last: RecordedEvent } {
  const past = pairs[DELIVERIES_PER_SLICE]?.event ?? null;
  const first = events[0] as RecordedEvent;
  const before = past === null ? events : events.filter(({ id }) => id < past.id);
  const last = before.at(-1) ?? first;
  return { dealtWith: pairs.filter(({ event }) => event.id <= last.id), last };
}

/**
 * Rows for pairs, and what they say of their events: each event once, or twice where some formats want to know more of its
 * repository, as what is bound to a statement has 2 MB (D1, "Limits").
 */
export async function dataFor(pairs: Pair[], describe: Describe): Promise<{ rows: NewDelivery[]; data: string[] }> {
  const wanted = pairs.filter(({ event, listener }) => FORMATS[listener.format].needsFacts && isAboutRepository(event.about));
  const names = [...new Set(wanted.map(({ event }) => event.about as RepositoryName))];
  const facts = names.length > 0 ? await describe(names) : new Map<string, RepositoryFacts>();
  const places = new Map<string, number>();
  const data: string[] = [];
  const rows = pairs.map(({ event, listener }) => {
    const known = FORMATS[listener.format].needsFacts ? (facts.get(event.about) ?? null) : null;
    const name = `${event.id} ${known !== null}`;
    const place = places.get(name) ?? data.push(storedData({ event, facts: known })) - 1;
    places.set(name, place);
    return { subscription: listener.id, event: event.id, data: place };
  });
  return { rows, data };
}
