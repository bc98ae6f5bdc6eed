/**
 * The circuit breaker of an endpoint. After some failures in a row the breaker opens: nothing is sent for a pause, which
 * doubles with each further failure. After the pause, one delivery at a time is sent as a probe. A success closes the breaker.
 * The state is stored in the columns `failures` and `open_until` of the subscription.
 */
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import { CLAIM, isReady, type LoadedDelivery, type Result } from './deliveries.ts';
import { BREAK_AFTER, retryPause } from './schedule.ts';

/**
 * Claims a delivery as the probe of its endpoint. The probe is the first delivery of the batch that may be sent. If another
 * consumer has claimed a probe already, there is none.
 * @returns the claimed delivery, or `null` if this delivery is not the probe
 */
export async function claimProbe(
  env: Database,
  one: LoadedDelivery,
  all: readonly LoadedDelivery[],
): Promise<LoadedDelivery | null> {
  const { key, subscription, now } = one;
  if (one.claimed || subscription.failures < BREAK_AFTER || subscription.openUntil > now) return null;
  if (all.find((other) => other.key.subscription === key.subscription && isReady(other)) !== one) return null;
  const probe = { ...key, claim: now + CLAIM };
  const batch = newBatch(env);
  const claimed = batch.query(
    `UPDATE deliveries SET claimed_until = :claim
     WHERE subscription = :subscription AND event = :event AND state = 'waiting' AND claimed_until <= unixepoch()
       AND EXISTS (SELECT 1 FROM subscriptions WHERE id = :subscription AND open_until <= unixepoch()) RETURNING event`,
    probe,
  );
  // The pause is extended only to the end of the claim. So the pause ends even if this consumer is killed.
  batch.run(
    `UPDATE subscriptions SET open_until = :claim WHERE id = :subscription AND open_until <= unixepoch()
       AND EXISTS (SELECT 1 FROM deliveries WHERE subscription = :subscription AND event = :event AND claimed_until = :claim)`,
    probe,
  );
  const isClaimed = (await batch.commit()).of(claimed).length > 0;
  return isClaimed ? { ...one, claimedUntil: probe.claim, claimed: true } : null;
}

/**
 * Adds statements to the batch that record the successes and failures of endpoints. A success after another success writes
 * nothing.
 */
export function recordHealth(batch: Batch, results: readonly Result[]): void {
  const asked = results.filter((result) => result.asked);
  for (const id of new Set(asked.map(({ loaded }) => loaded.subscription.id))) {
    const own = asked.filter(({ loaded }) => loaded.subscription.id === id);
    const before = Math.max(...own.map(({ loaded }) => loaded.subscription.failures));
    if (own.some(({ delivered }) => delivered)) {
      if (before > 0) batch.run('UPDATE subscriptions SET failures = 0, open_until = 0 WHERE id = :id', { id });
    } else if (before < BREAK_AFTER) recordFailures(batch, id, own.length);
    else recordFailedProbe(batch, id, before + 1);
  }
}

/**
 * Adds a statement to the batch that records failures while the breaker is closed. However many they are, they open the breaker
 * only for the first pause.
 */
function recordFailures(batch: Batch, id: string, count: number): void {
  batch.run(
    `UPDATE subscriptions SET failures = min(failures + :count, ${BREAK_AFTER}),
       open_until = iif(failures + :count < ${BREAK_AFTER}, 0, unixepoch() + ${retryPause(BREAK_AFTER)})
     WHERE id = :id AND failures < ${BREAK_AFTER}`,
    { id, count },
  );
}

/**
 * Adds a statement to the batch that records the failure of a probe, which makes the next pause longer. Recording the same
 * failure twice has no effect.
 */
function recordFailedProbe(batch: Batch, id: string, failures: number): void {
  batch.run(
    `UPDATE subscriptions SET failures = :failures, open_until = unixepoch() + :pause
     WHERE id = :id AND failures = :failures - 1`,
    { id, failures, pause: retryPause(failures) },
  );
}
