/**
 * Sends deliveries without the queue: the cron job sends some of them itself. This is needed when the daily limit of queue
 * operations is used up, because no message arrives before midnight then. A claim ensures that the cron job and a queue
 * consumer do not send the same delivery.
 */
import { attempt, type DeliveryRuntime } from './attempt.ts';
import { claimDeliveries, giveConnection, takeConnection } from './claims.ts';
import { finishDeliveries, type Stores } from './deliver.ts';
import { type DeliveryKey, type LoadedDelivery, markFailed } from './deliveries.ts';
import { MAX_TRIES } from './schedule.ts';

/** The number of deliveries that are sent at the same time. A Worker may have six connections that wait for a response. */
const WAVE = 5;

/**
 * Sends deliveries in groups of a few (waves). Each wave is claimed, sent and stored before the next one begins. If the
 * invocation is killed, the claims end after a minute, and the deliveries are sent again.
 */
export async function tryDirectly(env: Stores, keys: readonly DeliveryKey[], runtime: DeliveryRuntime): Promise<void> {
  for (let from = 0; from < keys.length; from += WAVE) {
    const wave = keys.slice(from, from + WAVE).map((key) => ({ key, connection: takeConnection(key, runtime.now()) }));
    const free = wave.filter(({ connection }) => connection !== null);
    try {
      const wanted = free.map(({ key }) => key);
      const loaded = wanted.length > 0 ? await claimDeliveries(env, wanted) : [];
      // These deliveries have had their last attempt, but the message to the dead letters was lost.
      const ended = loaded.filter(({ state, tries }) => state === 'waiting' && tries >= MAX_TRIES).map(({ key }) => key);
      if (ended.length > 0) await markFailed(env, ended);
      const done = await Promise.all(loaded.filter(({ claimed }) => claimed).map((one) => tryOne(env, one, runtime)));
      await finishDeliveries(env, done);
    } finally {
      for (const { key, connection } of free) giveConnection(key, connection);
    }
  }
}

async function tryOne(env: Stores, loaded: LoadedDelivery, runtime: DeliveryRuntime) {
  return { reminder: { key: loaded.key, message: null }, done: await attempt(env, loaded, runtime) };
}
