/**
 * Matches events with subscriptions: creates a delivery for each event and each webhook that selects it. The cursor is the id
 * of the newest matched event. It is written in the same batch as the deliveries. So each event is matched exactly once, even
 * if a queue message is lost, repeated, or handled by two consumers. A message only says that there are events to match.
 */
import type { Env, Vars } from '../../env.ts';
import { type Database, newBatch } from '../../events/batch.ts';
import { isAboutRepository, type RecordedEvent } from '../../events/event.ts';
import { eventsAfter } from '../../events/history.ts';
import { NEWEST, timeAfter } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';
import { hears, scopesOf } from '../filter.ts';
import { FORMATS } from '../formats/all.ts';
import type { RepositoryFacts } from '../formats/format.ts';
import { reviewAfter, reviewDue, type Standing } from '../standing.ts';
import { type Subscription, type SubscriptionRow, subscriptionOf } from '../subscriptions.ts';
import { INSERT_DELIVERIES, type NewDelivery, sendDeliveries, storedData } from './deliveries.ts';
import { withinDay } from './owner-days.ts';

/** Returns data about repositories, for payload formats that contain them. Repositories that do not exist are left out. */
export type Describe = (repositories: RepositoryName[]) => Promise<Map<string, RepositoryFacts>>;

/** The maximum number of events that one batch matches. The events of one batch are called a slice. */
const EVENTS_PER_SLICE = 100;
/** The maximum number of deliveries that one slice creates. If the events need more, the slice ends earlier. */
const DELIVERIES_PER_SLICE = 500;

type Stores = Database & Pick<Env, 'DELIVERIES'> & Vars;

/**
 * Matches events that were not matched yet, the oldest first.
 * @param slices the maximum number of slices
 * @param rights checks the rights of the webhooks' owners; `null` to skip this check
 * @param events the maximum number of events in a slice
 * @returns true if all events are matched
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

/** Returns the id of the newest event, or `null` if that event is matched already. */
export async function unmatchedEvent(env: Database): Promise<number | null> {
  const [found] = await env.DB.batch([matchingState(env)]);
  return matchingStateOf(found).unmatched;
}

const CURSOR = 'coalesce((SELECT event FROM match_cursor), 0)';

export interface MatchingState {
  /** The id of the newest event that was matched. */
  cursor: number;
  /** The id of the newest event, or `null` if that event is matched already. */
  unmatched: number | null;
  /** The age of the oldest event that is not matched, in seconds, or 0 if there is none. */
  waiting: number;
}

/** Returns a SELECT. `matchingStateOf` reads its result. */
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

/** Returns the id of the newest event that was matched, or 0. */
async function cursorOf(env: Database): Promise<number> {
  return (await env.DB.prepare('SELECT event FROM match_cursor').first<number>('event')) ?? 0;
}

/** The arguments for checking that the owners of webhooks still have their rights. */
interface Rights {
  standing: Standing;
  /** The present time, in milliseconds since the epoch. */
  now: number;
}

/**
 * Matches one slice. @returns false if all events that existed at the beginning are matched. Later events are announced by
 * messages of their own
 */
async function matchSlice(env: Stores, describe: Describe, rights: Rights | null, limit: number): Promise<boolean> {
  const from = await cursorOf(env);
  const { items: events, more } = await eventsAfter(env, from, limit);
  if (events.length === 0) return false;
  const pairs = await allowedPairs(env, events, rights);
  const { taken, last } = fitting(events, pairs);
  const { allowed, count } = await withinDay(env, taken);
  const created = await dataFor(allowed, describe);
  const batch = newBatch(env);
  batch.require('overtaken', `${CURSOR} = :from`, { from });
  if (created.rows.length > 0) batch.run(`${INSERT_DELIVERIES} ON CONFLICT DO NOTHING`, { ...created, replayed: false });
  count(batch);
  batch.run('INSERT INTO match_cursor (one, event) VALUES (1, :last) ON CONFLICT DO UPDATE SET event = :last', {
    last: last.id,
  });
  try {
    await batch.commit();
  } catch (error) {
    // Another consumer has matched these events first. It also sends the messages for their deliveries.
    if (isRefusal(error, 'overtaken')) return true;
    throw error;
  }
  await sendDeliveries(env, created.rows);
  return more || last !== events.at(-1);
}

/**
 * Pairs each event with the webhooks that select it. Leaves out webhooks whose owners have lost the right to administer the
 * scope.
 */
async function allowedPairs(env: Database, events: RecordedEvent[], rights: Rights | null): Promise<Pair[]> {
  if (rights) await reviewAfter(env, events, rights.standing);
  const pairs = pairsOf(events, await listenersTo(env, events));
  const listeners = new Map(pairs.map(({ listener }) => [listener.id, listener]));
  // The scope of an ended webhook was deleted, so its owner is not checked.
  const current = [...listeners.values()].filter(({ lastEvent }) => lastEvent === null);
  const lost = rights ? await reviewDue(env, current, rights.standing, rights.now) : new Set();
  return lost.size === 0 ? pairs : pairs.filter(({ listener }) => !lost.has(listener.id));
}

async function listenersTo(env: Database, events: RecordedEvent[]): Promise<Subscription[]> {
  const scopes = [...new Set(events.flatMap(scopesOf))];
  const { results } = await prepare(
    env,
    'SELECT * FROM subscriptions WHERE scope IN (SELECT value FROM json_each(:scopes)) AND disabled IS NULL',
    { scopes },
  ).all<SubscriptionRow>();
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

/**
 * Returns the pairs of the first events, as many as fit into one slice, and the last of these events. If even the pairs of the
 * first event do not fit, they are returned nevertheless.
 */
function fitting(events: RecordedEvent[], pairs: Pair[]): { taken: Pair[]; last: RecordedEvent } {
  const past = pairs[DELIVERIES_PER_SLICE]?.event ?? null;
  const first = events[0] as RecordedEvent;
  const before = past === null ? events : events.filter(({ id }) => id < past.id);
  const last = before.at(-1) ?? first;
  return { taken: pairs.filter(({ event }) => event.id <= last.id), last };
}

/**
 * Returns the rows of the deliveries and the data of their events. The rows refer to the data by index. The data of an event
 * are stored once, or twice if only some payload formats contain data about the repository. This keeps the SQL parameter small:
 * D1 allows 2 MB.
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
