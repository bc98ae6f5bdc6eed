/**
 * Messages for rows that have none: a row says by itself what is to be done with it, so whatever became of its message, it is
 * tried or comes to its end.
 */
import type { Env } from '../../env.ts';
import type { Database } from '../../events/batch.ts';
import { firstEventWithin } from '../../events/history.ts';
import { type DeliveryKey, type Resumption, sendDeliveries } from './deliveries.ts';
import { BREAK_AFTER, LIFETIME, MAX_TRIES } from './schedule.ts';

/** Seconds after its time at which a delivery counts as forgotten by the queue. */
const FORGOTTEN = 5 * 60;

/** Of subscription `s`: nothing is sent, but now and then one to see whether it is well again. */
const BROKEN = `s.failures >= ${BREAK_AFTER} AND s.disabled IS NULL`;
const WAITS = "d.state = 'waiting' AND d.claimed_until <= unixepoch()";

/**
 * Reminds the queue of what waits past its time, up to `limit`: messages that were lost, or never sent, or given back while
 * their endpoint had a long pause. Of an endpoint whose pause is over it reminds with one, the oldest. @returns how many
 */
export async function remindOfForgotten(env: Database & Pick<Env, 'DELIVERIES'>, limit: number): Promise<number> {
  const [forgotten, first] = await env.DB.batch([
    env.DB.prepare(
      `UPDATE deliveries SET due_at = unixepoch() WHERE (subscription, event) IN (
         SELECT d.subscription, d.event FROM subscriptions s
         CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
         WHERE NOT (${BROKEN}) AND ${WAITS} AND d.due_at < unixepoch() - ${FORGOTTEN} LIMIT ?1)
       RETURNING subscription, event`,
    ).bind(limit),
    env.DB.prepare(
      `SELECT subscription, event FROM (
         SELECT s.id AS subscription, (
           SELECT d.event FROM deliveries d INDEXED BY deliveries_waiting
           WHERE d.subscription = s.id AND ${WAITS} AND d.due_at <= unixepoch() ORDER BY d.event LIMIT 1) AS event
         FROM subscriptions s WHERE ${BROKEN} AND s.open_until <= unixepoch())
       WHERE event IS NOT NULL LIMIT ?1`,
    ).bind(limit),
  ]);
  const keys = [...(forgotten?.results ?? []), ...(first?.results ?? [])] as unknown as DeliveryKey[];
  await sendDeliveries(env, keys);
  return keys.length;
}

/** Reminders of one resumption, and seconds until the next: an endpoint that is well again is not flooded. */
const RESUMED_AT_ONCE = 500;
const RESUMED_AFTER = 5;

/**
 * Reminds of what was never tried, as its endpoint had a pause: no message is kept for each of them meanwhile. Goes on by itself
 * until all are reminded of, or the endpoint fails again. What is lost of it is left to the cron.
 */
export async function resume(env: Database & Pick<Env, 'DELIVERIES'>, { resume: id, after }: Resumption): Promise<void> {
  const { results } = await env.DB.prepare(
    `SELECT d.subscription, d.event FROM subscriptions s
     CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
     WHERE s.id = ?1 AND NOT (${BROKEN}) AND d.event > ?2 AND ${WAITS} AND d.tries = 0 ORDER BY d.event LIMIT ?3`,
  )
    .bind(id, after, RESUMED_AT_ONCE)
    .all<DeliveryKey>();
  await sendDeliveries(env, results);
  const last = results[RESUMED_AT_ONCE - 1];
  if (last) await env.DELIVERIES.send({ resume: id, after: last.event } satisfies Resumption, { delaySeconds: RESUMED_AFTER });
}

const ATTEMPT = `json_object('at', unixepoch(), 'status', NULL, 'latencyMs', 0, 'response', '', 'next', NULL,
  'error', 'the endpoint was not asked again: it failed for too long')`;

/** Fails what waited for an endpoint all its life, up to `limit`: one try an hour would never come to an end of them. */
export async function endHopeless(env: Database, limit: number): Promise<void> {
  await env.DB.prepare(
    `UPDATE deliveries SET state = 'failed', due_at = unixepoch(), attempts = json_insert(attempts, '$[#]', ${ATTEMPT})
     WHERE (subscription, event) IN (
       SELECT d.subscription, d.event FROM subscriptions s
       CROSS JOIN deliveries d INDEXED BY deliveries_waiting ON d.subscription = s.id
       WHERE ${BROKEN} AND ${WAITS} AND d.event < ?1 AND d.due_at <= unixepoch()
         AND (d.tries >= ${MAX_TRIES} OR coalesce(d.first_tried_at, d.created_at) < unixepoch() - ${LIFETIME}) LIMIT ?2)`,
  )
    .bind(await firstEventWithin(env, LIFETIME), limit)
    .run();
}
