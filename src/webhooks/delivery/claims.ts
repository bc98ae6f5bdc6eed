/** Who tries a delivery: one at a time. Whoever claims a row has it for a minute, or until its result is written down. */
import type { Database } from '../../events/batch.ts';
import { type Row as SubscriptionRow, subscriptionOf } from '../subscriptions.ts';
import { askedAgain } from './breaker.ts';
import {
  type Attempt,
  CLAIM,
  type DeliveryKey,
  deliveryId,
  EARLY,
  type Loaded,
  MEANT,
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

/** Whether subscription `id` may be sent to, or has nothing sent to it anyway: an SQL expression. */
const OPEN = (id: string) =>
  `EXISTS (SELECT 1 FROM subscriptions WHERE id = ${id} AND (failures < ${BREAK_AFTER} OR disabled IS NOT NULL))`;

/**
 * Claims what may be tried now and loads all of them; what is not there is left out. An endpoint that has failed too often in a
 * row is left in peace until its pause is over, and then asked by one delivery.
 */
export async function claimDeliveries(env: Database, keys: readonly DeliveryKey[]): Promise<Loaded[]> {
  const meant = JSON.stringify(keys);
  const [claimed, rows] = await env.DB.batch([
    env.DB.prepare(
      `UPDATE deliveries SET claimed_until = unixepoch() + ${CLAIM} FROM (${MEANT}) AS m
       WHERE deliveries.subscription = m.subscription AND deliveries.event = m.event AND ${OPEN('m.subscription')}
         AND state = 'waiting' AND due_at <= unixepoch() + ${EARLY} AND claimed_until <= unixepoch() AND tries < ${MAX_TRIES}
       RETURNING deliveries.subscription, deliveries.event`,
    ).bind(meant),
    env.DB.prepare(
      `SELECT s.*, d.event AS delivery_event, d.event_data, d.state, d.due_at, d.claimed_until, d.tries, d.first_tried_at,
         d.attempts, unixepoch() AS now
       FROM (${MEANT}) m JOIN deliveries d ON d.subscription = m.subscription AND d.event = m.event
       JOIN subscriptions s ON s.id = d.subscription`,
    ).bind(meant),
  ]);
  const mine = new Set(((claimed?.results ?? []) as unknown as DeliveryKey[]).map(deliveryId));
  const loaded = ((rows?.results ?? []) as Row[]).map((row) => loadedOf(row, mine));
  const claims = await Promise.all(loaded.map(async (one) => (await askedAgain(env, one, loaded)) ?? one));
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
