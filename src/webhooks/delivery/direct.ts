/**
 * The second way beside the queue: the schedule tries deliveries by itself. Once the day's operations of queues are used up, nothing
 * that is sent to a queue arrives before midnight. A claim decides who tries a delivery, whichever way it comes.
 */
import { attempt, type World } from './attempt.ts';
import { claimDeliveries } from './claims.ts';
import { giveConnection, takeConnection } from './connections.ts';
import { finish, type Stores } from './deliver.ts';
import { type DeliveryKey, type Loaded, markFailed } from './deliveries.ts';
import { MAX_TRIES } from './schedule.ts';

/** Deliveries that are tried at once: a Worker has six connections that wait for an answer. */
const WAVE = 5;

/**
 * Tries deliveries, a few at a time. Each wave is claimed, tried and written down before the next one, so what is cut off was
 * claimed for a minute, and is tried again.
 */
export async function tryDirectly(env: Stores, keys: readonly DeliveryKey[], world: World): Promise<void> {
  for (let from = 0; from < keys.length; from += WAVE) {
    const places = keys.slice(from, from + WAVE).map((key) => ({ key, place: takeConnection(key, world.now()) }));
    const free = places.filter(({ place }) => place !== null);
    try {
      const loaded =
        free.length > 0
          ? await claimDeliveries(
              env,
              free.map(({ key }) => key),
            )
          : [];
      // Given up already: the message that should have said so to the dead letters was not taken.
      const hopeless = loaded.filter(({ state, tries }) => state === 'waiting' && tries >= MAX_TRIES);
      if (hopeless.length > 0)
        await markFailed(
          env,
          hopeless.map(({ key }) => key),
        );
      const done = await Promise.all(loaded.filter(({ claimed }) => claimed).map((one) => tryOne(env, one, world)));
      await finish(env, done);
    } finally {
      for (const { key, place } of free) giveConnection(key, place);
    }
  }
}

async function tryOne(env: Stores, loaded: Loaded, world: World) {
  return { reminder: { key: loaded.key, message: null }, done: await attempt(env, loaded, world) };
}
