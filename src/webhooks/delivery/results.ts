/** What attempts have come to, written down: of the delivery, of its endpoint, and where that wants no more, of the subscription. */

import { commit, type Database } from '../../events/batch.ts';
import { aboutOf, REGISTRY } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Subscription } from '../subscriptions.ts';
import { health } from './breaker.ts';
import type { Result } from './deliveries.ts';
import { MAX_TRIES } from './schedule.ts';

/** Attempts of one delivery that are kept. */
const ATTEMPTS_KEPT = 20;

/**
 * Writes down what attempts have come to. What has no next try is given up: it waits for the dead-letter queue to say that it
 * failed. What somebody else has claimed meanwhile is theirs, but that it was delivered is true whoever has it.
 */
export async function saveResults(env: Database, results: readonly Result[]): Promise<void> {
  const saved = results.map(({ loaded, attempt, delivered }) => ({
    ...loaded.key,
    claim: loaded.claimedUntil,
    state: delivered ? 'delivered' : 'waiting',
    due: attempt.next ?? attempt.at,
    tries: delivered || attempt.next !== null ? loaded.tries + 1 : MAX_TRIES,
    at: attempt.at,
    attempts: JSON.stringify([...loaded.attempts, attempt].slice(-ATTEMPTS_KEPT)),
  }));
  await commit(env, [
    env.DB.prepare(
      `UPDATE deliveries SET state = m.state, due_at = m.due, claimed_until = 0, reminded = 0, tries = m.tries,
         first_tried_at = coalesce(first_tried_at, m.at), attempts = m.attempts
       FROM (SELECT value ->> 'subscription' AS subscription, value ->> 'event' AS event, value ->> 'claim' AS claim,
         value ->> 'state' AS state, value ->> 'due' AS due, value ->> 'tries' AS tries, value ->> 'at' AS at,
         value ->> 'attempts' AS attempts FROM json_each(?1)) AS m
       WHERE deliveries.subscription = m.subscription AND deliveries.event = m.event AND deliveries.state = 'waiting'
         AND (m.state = 'delivered' OR deliveries.claimed_until = m.claim)`,
    ).bind(JSON.stringify(saved)),
    ...health(env, results),
    ...results.filter(({ gone }) => gone).flatMap(({ loaded }) => disable(env, loaded.subscription)),
  ]);
}

/** The endpoint itself said that it wants no more. */
function disable(env: Database, { id, scope }: Subscription): D1PreparedStatement[] {
  return [
    record(env, {
      about: aboutOf(scope),
      by: REGISTRY,
      select: `SELECT 'webhook.disabled' AS type, json_object('id', ?3, 'scope', ?4, 'reason', 'gone') AS target
        FROM subscriptions WHERE id = ?3 AND disabled IS NULL AND last_event IS NULL`,
      parameters: [id, scope],
    }),
    env.DB.prepare("UPDATE subscriptions SET disabled = 'gone', version = version + 1 WHERE id = ?1 AND disabled IS NULL").bind(
      id,
    ),
  ];
}
