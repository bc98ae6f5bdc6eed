/**
 * Claims of deliveries. A consumer claims a delivery before it sends it, so that only one consumer sends it at a time. A claim
 * lasts a minute, or until the outcome is stored. This module also limits the connections of this isolate to each endpoint.
 */
import { type Database, newBatch } from '../../events/batch.ts';
import { type SubscriptionRow, subscriptionOf } from '../subscriptions.ts';
import { claimProbe } from './breaker.ts';
import {
  type Attempt,
  CLAIM,
  type DeliveryKey,
  deliveryId,
  EARLY,
  KEYS,
  type LoadedDelivery,
  type State,
  withTargets,
} from './deliveries.ts';
import { BREAK_AFTER, MAX_TRIES } from './schedule.ts';

type Row = SubscriptionRow & {
  delivery_event: number;
  event_data: string;
  state: State;
  due_at: number;
  claimed_until: number;
  tries: number;
  first_tried_at: number | null;
  attempts: string;
  now: number;
};

/**
 * Returns an SQL condition: the breaker of subscription `id` is closed, or the subscription is disabled. The deliveries of a
 * disabled subscription can be claimed; the attempt then fails without a request.
 */
const isClosed = (id: string) =>
  `EXISTS (SELECT 1 FROM subscriptions WHERE id = ${id} AND (failures < ${BREAK_AFTER} OR disabled IS NOT NULL))`;

/**
 * Loads deliveries, and claims those that may be sent now. Deliveries that do not exist are left out. If the breaker of an
 * endpoint is open, nothing is claimed during the pause, and after it one delivery is claimed as the probe.
 */
export async function claimDeliveries(env: Database, keys: readonly DeliveryKey[]): Promise<LoadedDelivery[]> {
  const batch = newBatch(env);
  const claimed = batch.query<DeliveryKey>(
    `UPDATE deliveries SET claimed_until = unixepoch() + ${CLAIM} FROM (${KEYS}) AS k
     WHERE deliveries.subscription = k.subscription AND deliveries.event = k.event AND ${isClosed('k.subscription')}
       AND state = 'waiting' AND due_at <= unixepoch() + ${EARLY} AND claimed_until <= unixepoch() AND tries < ${MAX_TRIES}
     RETURNING deliveries.subscription, deliveries.event`,
    { keys },
  );
  const rows = batch.query<Row>(
    `SELECT s.*, d.event AS delivery_event, d.event_data, d.state, d.due_at, d.claimed_until, d.tries, d.first_tried_at,
       d.attempts, unixepoch() AS now
     FROM (${KEYS}) k JOIN deliveries d ON d.subscription = k.subscription AND d.event = k.event
     JOIN subscriptions s ON s.id = d.subscription`,
    { keys },
  );
  const results = await batch.commit();
  const mine = new Set(results.of(claimed).map(deliveryId));
  const loaded = results.of(rows).map((row) => loadedOf(row, mine));
  const claims = await Promise.all(loaded.map(async (one) => (await claimProbe(env, one, loaded)) ?? one));
  return withTargets(env, claims);
}

function loadedOf(row: Row, mine: Set<string>): LoadedDelivery {
  const { delivery_event, event_data, state, due_at, claimed_until, tries, first_tried_at, attempts, now, ...subscription } =
    row;
  const key = { subscription: row.id, event: delivery_event };
  return {
    key,
    state,
    eventData: event_data,
    tries,
    firstTriedAt: first_tried_at,
    attempts: JSON.parse(attempts) as Attempt[],
    dueAt: due_at,
    claimedUntil: claimed_until,
    claimed: mine.has(deliveryId(key)),
    subscription: subscriptionOf(subscription),
    now,
  };
}

/** The maximum number of connections from this isolate to one endpoint. */
const CONNECTIONS_MAX = 5;

/** For each subscription, the times at which its open connections were reserved, in milliseconds since the epoch. */
const open = new Map<string, number[]>();

/**
 * Reserves a connection to the endpoint of a delivery. An invocation that is killed does not release its connection, so a
 * connection counts only for the duration of a claim.
 * @param now milliseconds since the epoch
 * @returns the value to pass to `giveConnection`, or `null` if there are too many connections
 */
export function takeConnection({ subscription }: DeliveryKey, now: number): number | null {
  const taken = (open.get(subscription) ?? []).filter((since) => since > now - CLAIM * 1000 && since <= now);
  if (taken.length >= CONNECTIONS_MAX) return null;
  open.set(subscription, [...taken, now]);
  return now;
}

export function giveConnection({ subscription }: DeliveryKey, taken: number | null): void {
  const all = open.get(subscription) ?? [];
  const at = taken === null ? -1 : all.indexOf(taken);
  const rest = at < 0 ? all : all.toSpliced(at, 1);
  if (rest.length > 0) open.set(subscription, rest);
  else open.delete(subscription);
}
