/**
 * The breaker of an endpoint: after some failures in a row nothing is sent to it for a pause, which doubles with each failure
 * more, and then one delivery at a time finds out whether it is well again. Its state is two columns of the subscription.
 */
import type { Database } from '../../events/batch.ts';
import { CLAIM, isReady, type Loaded, type Result } from './deliveries.ts';
import { BREAK_AFTER, pauseAfter } from './schedule.ts';

/**
 * Claims a delivery that is to find out if its endpoint is well again: the first of a batch that may be tried, if nobody else
 * does. `null` where it is not that one.
 */
export async function askedAgain(env: Database, one: Loaded, all: readonly Loaded[]): Promise<Loaded | null> {
  const { key, subscription, now } = one;
  if (one.claimed || subscription.failures < BREAK_AFTER || subscription.openUntil > now) return null;
  if (all.find((other) => other.key.subscription === key.subscription && isReady(other)) !== one) return null;
  const claim = now + CLAIM;
  const [claimed] = await env.DB.batch([
    env.DB.prepare(
      `UPDATE deliveries SET claimed_until = ?3
       WHERE subscription = ?1 AND event = ?2 AND state = 'waiting' AND claimed_until <= unixepoch()
         AND EXISTS (SELECT 1 FROM subscriptions WHERE id = ?1 AND open_until <= unixepoch()) RETURNING event`,
    ).bind(key.subscription, key.event, claim),
    // As long as the claim: it holds where who asks dies.
    env.DB.prepare(
      `UPDATE subscriptions SET open_until = ?3 WHERE id = ?1 AND open_until <= unixepoch()
         AND EXISTS (SELECT 1 FROM deliveries WHERE subscription = ?1 AND event = ?2 AND claimed_until = ?3)`,
    ).bind(key.subscription, key.event, claim),
  ]);
  return claimed?.results.length ? { ...one, claimedUntil: claim, claimed: true } : null;
}

/** What results say of their endpoints. One that is well, and was, costs nothing. */
export function health(env: Database, results: readonly Result[]): D1PreparedStatement[] {
  const asked = results.filter((result) => result.asked);
  const ids = [...new Set(asked.map(({ loaded }) => loaded.subscription.id))];
  return ids.flatMap((id) => {
    const own = asked.filter(({ loaded }) => loaded.subscription.id === id);
    const before = Math.max(...own.map(({ loaded }) => loaded.subscription.failures));
    if (own.some(({ delivered }) => delivered)) return before === 0 ? [] : [closed(env, id)];
    return [before < BREAK_AFTER ? failed(env, id, own.length) : stillFails(env, id, before + 1)];
  });
}

function closed(env: Database, id: string): D1PreparedStatement {
  return env.DB.prepare('UPDATE subscriptions SET failures = 0, open_until = 0 WHERE id = ?1').bind(id);
}

/** Those that were under way together open it once, for the first pause, however many they were. */
function failed(env: Database, id: string, count: number): D1PreparedStatement {
  return env.DB.prepare(
    `UPDATE subscriptions SET failures = min(failures + ?2, ${BREAK_AFTER}),
       open_until = iif(failures + ?2 < ${BREAK_AFTER}, 0, unixepoch() + ${pauseAfter(BREAK_AFTER)})
     WHERE id = ?1 AND failures < ${BREAK_AFTER}`,
  ).bind(id, count);
}

/** It was asked again, by one: written down twice it counts once. */
function stillFails(env: Database, id: string, failures: number): D1PreparedStatement {
  return env.DB.prepare(
    'UPDATE subscriptions SET failures = ?2, open_until = unixepoch() + ?3 WHERE id = ?1 AND failures = ?2 - 1',
  ).bind(id, failures, pauseAfter(failures));
}
