/** Claims: one consumer at a time tries a delivery. A claim lasts a minute, or until the result is stored. */
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
  type Loaded,
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

/** SQL: the breaker of subscription `id` is closed, or the subscription is disabled, so that nothing is sent anyway. */
const isClosed = (id: string) =>
  `EXISTS (SELECT 1 FROM subscriptions WHERE id = ${id} AND (failures < ${BREAK_AFTER} OR disabled IS NOT NULL))`;

/**
 * Claims the deliveries that may be tried now, and loads all of them. Those that do not exist are left out. If the breaker of an endpoint
 * is open, nothing is claimed until the pause is over, and then one delivery probes it.
 */
export async function claimDeliveries(env: Database, keys: readonly DeliveryKey[]): Promise<Loaded[]> {
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

function loadedOf(row: Row, mine: Set<string>): Loaded {
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
