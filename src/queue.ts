/** The Worker's handler of queue messages. Each queue has its own consumer. */
import { INTERNET } from './app/call.ts';
import { type DeliveryRuntime, handleAnnouncements, handleDeadLetters, handleDeliveries } from './app/deliveries.ts';
import { requireStores } from './app/setup.ts';
import type { Env } from './env.ts';
import { observed } from './telemetry.ts';

/**
 * Handles a batch of queue messages and logs it.
 * @throws not-set-up if the database or the bucket belongs to another registry, or if migrations are missing. The queue
 * delivers the messages again later
 */
export async function handleMessages(
  batch: MessageBatch,
  env: Env,
  context: Pick<ExecutionContext, 'waitUntil'>,
): Promise<void> {
  await requireStores(env);
  const run = (counted: Env) => consume(batch, counted, context);
  await observed(env, 'queue', { queue: batch.queue, messages: batch.messages.length }, { now: Date.now, run });
}

export async function consume(batch: MessageBatch, env: Env, work: Pick<ExecutionContext, 'waitUntil'>): Promise<void> {
  const kind = /dead-letters|deliveries|events/.exec(batch.queue)?.[0];
  if (kind === 'events') await handleAnnouncements(batch, env, deliveryRuntime);
  else if (kind === 'deliveries') await handleDeliveries(batch, env, deliveryRuntime, work);
  else if (kind === 'dead-letters') await handleDeadLetters(batch, env);
  else throw new Error(`there is no consumer for the queue ${batch.queue}`);
}

export const deliveryRuntime: DeliveryRuntime = {
  now: () => Date.now(),
  random: () => Math.random(),
  ...INTERNET,
};
