/** Forgetting, in slices of the cron: deliveries that came to an end some time ago, and all of subscriptions that were ended. */
import type { Database } from '../events/batch.ts';
import { firstEventWithin } from '../events/history.ts';

/** Deliveries that came to an end more than `days` ago, up to `limit`. Their events are as old: they are found by these. */
export async function expireDeliveries(env: Database, days: number, limit: number): Promise<void> {
  const seconds = days * 24 * 60 * 60;
  await env.DB.prepare(
    `DELETE FROM deliveries WHERE (subscription, event) IN (
       SELECT d.subscription, d.event FROM subscriptions s CROSS JOIN deliveries d ON d.subscription = s.id
       WHERE d.event < ?1 AND d.state <> 'waiting' AND d.due_at < unixepoch() - ?2 LIMIT ?3)`,
  )
    .bind(await firstEventWithin(env, seconds), seconds, limit)
    .run();
}

/**
 * Subscriptions that hear no more: those that people deleted with all that waits, those whose scope is gone once the last event
 * was matched and delivered. Up to `limit` deliveries at a time.
 * @param cursor the newest event that was matched
 */
export async function removeEnded(env: Database, cursor: number, limit: number): Promise<void> {
  const ended = 's.last_event <= ?1';
  await env.DB.batch([
    env.DB.prepare(
      `DELETE FROM deliveries WHERE (subscription, event) IN (
         SELECT d.subscription, d.event FROM subscriptions s CROSS JOIN deliveries d ON d.subscription = s.id
         WHERE ${ended} AND (s.last_event = 0 OR d.state <> 'waiting') LIMIT ?2)`,
    ).bind(cursor, limit),
    env.DB.prepare(
      `DELETE FROM subscriptions AS s WHERE ${ended} AND NOT EXISTS (SELECT 1 FROM deliveries WHERE subscription = s.id)`,
    ).bind(cursor),
  ]);
}
