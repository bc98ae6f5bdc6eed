/** A delivery that somebody asks for to see whether their endpoint takes it: of no event, tried once, and kept nowhere. */
import { type Actor, aboutOf } from '../events/event.ts';
import { isSuccess, post, type Settings, type World } from './delivery/attempt.ts';
import type { RepositoryFacts } from './formats/format.ts';
import type { Subscription } from './subscriptions.ts';

/**
 * Whether the endpoint answered with success, and no more than that: neither what it said nor how long it took, as whoever asks
 * may mean to learn what is where. So failures are told after the same time, the longest that an attempt takes.
 */
export async function sendTest(
  env: Settings,
  subscription: Subscription,
  { by, facts }: { by: Actor; facts: RepositoryFacts | null },
  world: World,
): Promise<boolean> {
  const now = world.now();
  const event = {
    // Of no event, and another one each time: a receiver that knows an event does not look at it again.
    id: now,
    at: Math.floor(now / 1000),
    type: 'webhook.test' as const,
    about: aboutOf(subscription.scope),
    sequence: 0,
    target: {},
    by,
  };
  const longest = world.sleep(LONGEST_MS);
  const id = `${subscription.id}_test-${crypto.randomUUID()}`;
  const { status } = await post(env, subscription, { id, read: () => ({ event, facts }) }, world);
  const delivered = isSuccess(status);
  if (!delivered) await longest;
  return delivered;
}

/** A little longer than the limit of an attempt. */
const LONGEST_MS = 10_500;
