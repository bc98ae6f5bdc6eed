/** Stores the outcomes of attempts: the delivery, the health of its endpoint, and if that answered 410, the end of the subscription. */
import { type Database, newBatch } from '../../events/batch.ts';
import { disableSubscription } from '../standing.ts';
import { recordHealth } from './breaker.ts';
import type { Result } from './deliveries.ts';
import { MAX_TRIES } from './schedule.ts';

/** Attempts of one delivery that are stored. */
const ATTEMPTS_KEPT = 20;

/**
 * Stores outcomes. A delivery without a next attempt stays waiting until the dead-letter queue marks it as failed. If another consumer
 * has claimed the delivery meanwhile, only a success is stored.
 */
export async function saveResults(env: Database, results: readonly Result[]): Promise<void> {
  const outcomes = results.map(({ loaded, attempt, delivered }) => ({
    ...loaded.key,
    claim: loaded.claimedUntil,
    state: delivered ? 'delivered' : 'waiting',
    due: attempt.next ?? attempt.at,
    tries: delivered || attempt.next !== null ? loaded.tries + 1 : MAX_TRIES,
    at: attempt.at,
    attempts: JSON.stringify([...loaded.attempts, attempt].slice(-ATTEMPTS_KEPT)),
  }));
  const batch = newBatch(env);
  batch.run(
    `UPDATE deliveries SET state = o.state, due_at = o.due, claimed_until = 0, reminded = 0, tries = o.tries,
       first_tried_at = coalesce(first_tried_at, o.at), attempts = o.attempts
     FROM (SELECT value ->> 'subscription' AS subscription, value ->> 'event' AS event, value ->> 'claim' AS claim,
       value ->> 'state' AS state, value ->> 'due' AS due, value ->> 'tries' AS tries, value ->> 'at' AS at,
       value ->> 'attempts' AS attempts FROM json_each(:outcomes)) AS o
     WHERE deliveries.subscription = o.subscription AND deliveries.event = o.event AND deliveries.state = 'waiting'
       AND (o.state = 'delivered' OR deliveries.claimed_until = o.claim)`,
    { outcomes },
  );
  recordHealth(batch, results);
  for (const { gone, loaded } of results) if (gone) disableSubscription(batch, loaded.subscription, { reason: 'gone' });
  await batch.commit();
}
