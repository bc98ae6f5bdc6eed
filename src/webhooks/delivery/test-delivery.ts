/** Test deliveries, by which somebody finds out if an endpoint works. A test has no recorded event, is tried once, and is not stored. */
import { type Actor, aboutOf } from '../../events/event.ts';
import type { RepositoryFacts } from '../formats/format.ts';
import type { Subscription } from '../subscriptions.ts';
import { type DeliveryRuntime, isSuccess, post, type Settings } from './attempt.ts';

/**
 * Returns `true` if the endpoint answered with success. It tells nothing else, neither the answer nor the time it took: a caller could
 * scan hosts with it. Therefore every failure is reported after the same time, the longest that an attempt takes.
 */
export async function sendTest(
  env: Settings,
  subscription: Subscription,
  { by, facts }: { by: Actor; facts: RepositoryFacts | null },
  runtime: DeliveryRuntime,
): Promise<boolean> {
  const now = runtime.now();
  const event = {
    // A new id each time: receivers ignore an event that they know.
    id: now,
    at: Math.floor(now / 1000),
    type: 'webhook.test' as const,
    about: aboutOf(subscription.scope),
    sequence: 0,
    target: {},
    by,
  };
  const longest = runtime.sleep(LONGEST_MS);
  const id = `${subscription.id}_test-${crypto.randomUUID()}`;
  const { status } = await post(env, subscription, { id, read: () => ({ event, facts }) }, runtime);
  const delivered = isSuccess(status);
  if (!delivered) await longest;
  return delivered;
}

/** A little longer than the time limit of an attempt. */
const LONGEST_MS = 10_500;
