/** What became of deliveries, and having them delivered again: one, those that failed, or all since a time. */

import type { Env } from '../../env.ts';
import type { Database } from '../../events/batch.ts';
import { aboutOf } from '../../events/event.ts';
import { beginningOf, eventsAfter, firstEventSince } from '../../events/history.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { hears } from '../filter.ts';
import type { Describe } from '../matching.ts';
import { dataFor } from '../matching.ts';
import type { Subscription } from '../subscriptions.ts';
import { type Attempt, type DeliveryKey, type EventData, insertDeliveries, type State, sendDeliveries } from './deliveries.ts';

type Stores = Database & Pick<Env, 'DELIVERIES'>;

/** Deliveries that one request makes wait again, and events that it looks at. */
export const REPLAY_MAX = 500;
const EVENTS_PER_REQUEST = 1000;

export interface DeliverySummary {
  key: DeliveryKey;
  data: EventData;
  state: State;
  /** How many of them are kept. */
  attempts: number;
  /** Seconds since the epoch. */
  createdAt: number;
  /** When it is tried next, or was last. */
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
 * The newest first.
 * @param query.before the event that the page before ended with, `null` for the first
 * @param query.state `null` for any
 */
export async function listDeliveries(
  env: Database,
  { id }: Subscription,
  { before, limit, state }: { before: number | null; limit: number; state: State | null },
): Promise<Page<DeliverySummary>> {
  const { results } = await env.DB.prepare(
    `SELECT subscription, event, event_data, state, created_at, due_at, json_array_length(attempts) AS attempts
     FROM deliveries WHERE subscription = ?1 AND event < ?2 AND state = coalesce(?3, state) ORDER BY event DESC LIMIT ?4`,
  )
    .bind(id, before ?? Number.MAX_SAFE_INTEGER, state, limit + 1)
    .all<Omit<Row, 'attempts'> & { attempts: number }>();
  return pageOf(
    results.map(({ attempts, ...row }) => ({ ...summaryOf(row), attempts })),
    limit,
  );
}

/** @throws not-found */
export async function getDelivery(env: Database, { subscription, event }: DeliveryKey): Promise<Delivery> {
  const row = await env.DB.prepare('SELECT * FROM deliveries WHERE subscription = ?1 AND event = ?2')
    .bind(subscription, event)
    .first<Row>();
  if (!row) throw new Refusal('not-found');
  return deliveryOf(row);
}

/** Its life begins anew: `first_tried_at` is now, as of a row that is older than that is known how long it has waited. */
const WAITING_AGAIN =
  "state = 'waiting', due_at = unixepoch(), tries = 0, first_tried_at = unixepoch(), claimed_until = 0, replayed_at = unixepoch()";

/** Seconds within which no request for many has one made twice that was delivered: sent again and again it would be a flood. */
const REPLAYED_ONCE_IN = 10 * 60;
const MAY_BE_REPLAYED = `(deliveries.state = 'failed' OR coalesce(deliveries.replayed_at, 0) <= unixepoch() - ${REPLAYED_ONCE_IN})`;

/** Delivered again under its id, whatever became of it. One that waits is tried now. @throws not-found */
export async function replayDelivery(env: Stores, key: DeliveryKey): Promise<Delivery> {
  await env.DB.prepare(
    `UPDATE deliveries SET ${WAITING_AGAIN} WHERE subscription = ?1 AND event = ?2 AND claimed_until <= unixepoch()`,
  )
    .bind(key.subscription, key.event)
    .run();
  const delivery = await getDelivery(env, key);
  await sendDeliveries(env, [key]);
  return delivery;
}

export interface Replayed {
  /** How many wait again. */
  count: number;
  /** The event to go on after; `null` where that was all. */
  next: number | null;
}

/** All that failed, the oldest first. @param after the event that the request before ended with */
export async function replayFailed(env: Stores, { id }: Subscription, after: number): Promise<Replayed> {
  const { results } = await env.DB.prepare(
    `UPDATE deliveries SET ${WAITING_AGAIN} WHERE subscription = ?1 AND state = 'failed' AND event IN (
       SELECT event FROM deliveries
       WHERE subscription = ?1 AND state = 'failed' AND event > ?2 ORDER BY event LIMIT ?3)
     RETURNING subscription, event`,
  )
    .bind(id, after, REPLAY_MAX)
    .all<DeliveryKey>();
  await sendDeliveries(env, results);
  const last = Math.max(0, ...results.map(({ event }) => event));
  return { count: results.length, next: results.length < REPLAY_MAX ? null : last };
}

/**
 * All that the webhook would have heard since a time, were it there or not: what was delivered is delivered again, what is under
 * way stays so.
 * @param span seconds since the epoch; `after` is the event that the request before ended with
 */
export async function replaySince(
  env: Stores,
  subscription: Subscription,
  span: { since: number; until: number | null; after: number },
  describe: Describe,
): Promise<Replayed> {
  const { scope } = subscription;
  const beginning = scope.startsWith('repository:') ? await beginningOf(env, aboutOf(scope)) : 0;
  const from = Math.max(span.after, (await firstEventSince(env, span.since)) - 1, beginning);
  const { items: seen, more } = await eventsAfter(env, from, EVENTS_PER_REQUEST);
  const within = seen.filter(({ at }) => at >= span.since && (span.until === null || at < span.until));
  const heard = within.filter((event) => hears(subscription, event));
  const wanted = heard.slice(0, REPLAY_MAX);
  const made = await dataFor(
    wanted.map((event) => ({ event, listener: subscription })),
    describe,
  );
  const again = `DO UPDATE SET ${WAITING_AGAIN} WHERE state <> 'waiting' AND ${MAY_BE_REPLAYED} RETURNING subscription, event`;
  const { results } = await insertDeliveries(env, made, again, true).all<DeliveryKey>();
  await sendDeliveries(env, results);
  const ended = !more || (span.until !== null && (seen.at(-1)?.at ?? 0) >= span.until);
  const past = wanted.length < heard.length ? wanted.at(-1) : ended ? undefined : seen.at(-1);
  return { count: results.length, next: past?.id ?? null };
}
