/** Removes old deliveries and ended subscriptions, in slices run by the cron. */
import { type Database, newBatch } from '../events/batch.ts';
import { firstEventWithin } from '../events/history.ts';
import { prepare } from '../events/sql.ts';

/** Deletes up to `limit` deliveries that ended more than `days` ago. They are found by their events, which are as old. */
export async function expireDeliveries(env: Database, days: number, limit: number): Promise<void> {
  const seconds = days * 24 * 60 * 60;
  await prepare(
    env,
    `DELETE FROM deliveries WHERE (subscription, event) IN (
       SELECT d.subscription, d.event FROM subscriptions s CROSS JOIN deliveries d ON d.subscription = s.id
       WHERE d.event < :before AND d.state <> 'waiting' AND d.due_at < unixepoch() - :seconds LIMIT :limit)`,
    { before: await firstEventWithin(env, seconds), seconds, limit },
  ).run();
}

/**
 * Removes subscriptions that hear no more events. A deleted webhook loses all its deliveries at once. A webhook whose scope was deleted
 * is removed after its last event was matched and delivered. Deletes up to `limit` deliveries.
 * @param cursor the newest event that was matched
 */
export async function removeEnded(env: Database, cursor: number, limit: number): Promise<void> {
  const isEnded = 's.last_event <= :cursor';
  const batch = newBatch(env);
  batch.run(
    `DELETE FROM deliveries WHERE (subscription, event) IN (
       SELECT d.subscription, d.event FROM subscriptions s CROSS JOIN deliveries d ON d.subscription = s.id
       WHERE ${isEnded} AND (s.last_event = 0 OR d.state <> 'waiting') LIMIT :limit)`,
    { cursor, limit },
  );
  batch.run(
    `DELETE FROM subscriptions AS s WHERE ${isEnded} AND NOT EXISTS (SELECT 1 FROM deliveries WHERE subscription = s.id)`,
    { cursor },
  );
  await batch.commit();
}
