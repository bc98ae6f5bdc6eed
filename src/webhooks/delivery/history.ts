/** Lists deliveries and sends them again ("replay"): one delivery, all failed deliveries, or all events of a time span. */
import type { Env } from '../../env.ts';
import type { Database } from '../../events/batch.ts';
import { aboutOf } from '../../events/event.ts';
import { eventsAfter, firstEventOf, firstEventSince } from '../../events/history.ts';
import { prepare } from '../../events/sql.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { hears } from '../filter.ts';
import type { Subscription } from '../subscriptions.ts';
import { type Attempt, type DeliveryKey, type EventData, INSERT_DELIVERIES, type State, sendDeliveries } from './deliveries.ts';
import { type Describe, dataFor } from './matching.ts';

type Stores = Database & Pick<Env, 'DELIVERIES'>;

/** The maximum number of deliveries that one request sends again. */
export const REPLAY_MAX = 500;
/** The maximum number of events that one request reads in order to send them again. */
const EVENTS_PER_REQUEST = 1000;

export interface DeliverySummary {
  key: DeliveryKey;
  data: EventData;
  state: State;
  /** The number of stored attempts. */
  attempts: number;
  /** The time when the delivery was created, in seconds since the epoch. */
  createdAt: number;
  /** The time of the next attempt, or of the last attempt if there is no next one, in seconds since the epoch. */
  dueAt: number;
}

export type Delivery = Omit<DeliverySummary, 'attempts'> & { attempts: Attempt[] };

interface Row {
  subscription: string;
  event: number;
  event_data: string;
  state: State;
  created_at: number;
  due_at: number;
  attempts: string;
}

function summaryOf({ subscription, event, event_data, state, created_at, due_at }: Omit<Row, 'attempts'>) {
  const data = JSON.parse(event_data) as EventData;
  return { key: { subscription, event }, data, state, createdAt: created_at, dueAt: due_at };
}

function deliveryOf(row: Row): Delivery {
  return { ...summaryOf(row), attempts: JSON.parse(row.attempts) as Attempt[] };
}

/**
 * Lists the deliveries of a webhook, the newest first.
 * @param query.before the id of the last event of the previous page, or `null` for the first page
 * @param query.state the state to list, or `null` for all states
 */
export async function listDeliveries(
  env: Database,
  { id }: Subscription,
  { before, limit, state }: { before: number | null; limit: number; state: State | null },
): Promise<Page<DeliverySummary>> {
  const { results } = await prepare(
    env,
    `SELECT subscription, event, event_data, state, created_at, due_at, json_array_length(attempts) AS attempts
     FROM deliveries WHERE subscription = :id AND event < :before AND state = coalesce(:state, state)
     ORDER BY event DESC LIMIT :rows`,
    { id, before: before ?? Number.MAX_SAFE_INTEGER, state, rows: limit + 1 },
  ).all<Omit<Row, 'attempts'> & { attempts: number }>();
  return pageOf(
    results.map(({ attempts, ...row }) => ({ ...summaryOf(row), attempts })),
    limit,
  );
}

/** @throws not-found if the delivery does not exist */
export async function getDelivery(env: Database, { subscription, event }: DeliveryKey): Promise<Delivery> {
  const row = await prepare(env, 'SELECT * FROM deliveries WHERE subscription = :subscription AND event = :event', {
    subscription,
    event,
  }).first<Row>();
  if (!row) throw new Refusal('not-found');
  return deliveryOf(row);
}

/**
 * SQL assignments that make a delivery pending again. `first_tried_at` becomes the present time, so that its lifetime begins
 * again.
 */
const WAITING_AGAIN =
  "state = 'waiting', due_at = unixepoch(), tries = 0, first_tried_at = unixepoch(), claimed_until = 0, replayed_at = " +
  'unixepoch()';

/**
 * The number of seconds within which a request for many events sends the same delivery only once, so that repeated requests do
 * not flood the endpoint. Failed deliveries are exempt.
 */
const REPLAYED_ONCE_IN = 10 * 60;
const MAY_BE_REPLAYED = `(deliveries.state = 'failed'
  OR coalesce(deliveries.replayed_at, 0) <= unixepoch() - ${REPLAYED_ONCE_IN})`;

/** Sends a delivery again with the same id. A pending delivery is sent at once. @throws not-found */
export async function replayDelivery(env: Stores, key: DeliveryKey): Promise<Delivery> {
  await prepare(
    env,
    `UPDATE deliveries SET ${WAITING_AGAIN}
     WHERE subscription = :subscription AND event = :event AND claimed_until <= unixepoch()`,
    { subscription: key.subscription, event: key.event },
  ).run();
  const delivery = await getDelivery(env, key);
  await sendDeliveries(env, [key]);
  return delivery;
}

export interface Replayed {
  /** The number of deliveries that will be sent again. */
  count: number;
  /** The id of the event after which the next request continues, or `null` at the end. */
  next: number | null;
}

/**
 * Sends failed deliveries again, the oldest first. @param after the `next` of the previous request, or 0 for the first request
 */
export async function replayFailed(env: Stores, { id }: Subscription, after: number): Promise<Replayed> {
  const { results } = await prepare(
    env,
    `UPDATE deliveries SET ${WAITING_AGAIN} WHERE subscription = :id AND state = 'failed' AND event IN (
       SELECT event FROM deliveries
       WHERE subscription = :id AND state = 'failed' AND event > :after ORDER BY event LIMIT ${REPLAY_MAX})
     RETURNING subscription, event`,
    { id, after },
  ).all<DeliveryKey>();
  await sendDeliveries(env, results);
  const last = Math.max(0, ...results.map(({ event }) => event));
  return { count: results.length, next: results.length < REPLAY_MAX ? null : last };
}

/**
 * Sends all events of a time span that match the filter of the webhook, even events from before its creation. An event that was
 * delivered already is delivered again. Pending deliveries are not changed.
 * @param span `since` and `until` in seconds since the epoch; `after` is the `next` of the previous request, or 0
 */
export async function replaySince(
  env: Stores,
  subscription: Subscription,
  span: { since: number; until: number | null; after: number },
  describe: Describe,
): Promise<Replayed> {
  const { scope } = subscription;
  const beginning = scope.startsWith('repository:') ? await firstEventOf(env, aboutOf(scope)) : 0;
  const from = Math.max(span.after, (await firstEventSince(env, span.since)) - 1, beginning);
  const { items: seen, more } = await eventsAfter(env, from, EVENTS_PER_REQUEST);
  const within = seen.filter(({ at }) => at >= span.since && (span.until === null || at < span.until));
  const heard = within.filter((event) => hears(subscription, event));
  const wanted = heard.slice(0, REPLAY_MAX);
  const wanting = await dataFor(
    wanted.map((event) => ({ event, listener: subscription })),
    describe,
  );
  const { results } = await prepare(
    env,
    `${INSERT_DELIVERIES} ON CONFLICT DO UPDATE SET ${WAITING_AGAIN} WHERE state <> 'waiting' AND ${MAY_BE_REPLAYED}
     RETURNING subscription, event`,
    { ...wanting, replayed: true },
  ).all<DeliveryKey>();
  await sendDeliveries(env, results);
  const ended = !more || (span.until !== null && (seen.at(-1)?.at ?? 0) >= span.until);
  const past = wanted.length < heard.length ? wanted.at(-1) : ended ? undefined : seen.at(-1);
  return { count: results.length, next: past?.id ?? null };
}
