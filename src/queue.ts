/** What the queues bring: announcements of events, deliveries to be tried, and dead letters. Each queue has its own consumer. */
import type { Env } from './env.ts';
import type { Background } from './events/batch.ts';
import { pauseAfter } from './events/database-failure.ts';
import type { Announcement } from './events/event.ts';
import { factsOf, standingIn } from './facts.ts';
import { report } from './telemetry.ts';
import type { DeliveryRuntime } from './webhooks/delivery/attempt.ts';
import { consumeDeadLetters, deliver } from './webhooks/delivery/deliver.ts';
import { matchEvents, unmatchedEvent } from './webhooks/delivery/matching.ts';

/** Of an invocation: each costs up to ten calls to D1 and the queue. */
const SLICES_PER_RUN = 4;
/** Seconds until a consumer that could not ask the database asks again. */
const LATER = 30;

export async function consume(batch: MessageBatch, env: Env, work: Background): Promise<void> {
  const kind = /dead-letters|deliveries|events/.exec(batch.queue)?.[0];
  if (kind === 'events') await match(batch, env);
  else if (kind === 'deliveries') await deliver(env, batch, deliveryRuntime, work);
  else if (kind === 'dead-letters') await consumeDeadLetters(env, batch);
  else throw new Error(`there is no consumer for the queue ${batch.queue}`);
}

/** All messages of a batch say the same: that there is something to match. */
async function match(batch: MessageBatch, env: Env): Promise<void> {
  try {
    const rights = { standing: standingIn(env), now: deliveryRuntime.now() };
    const all = await matchEvents(env, (repositories) => factsOf(env, repositories), SLICES_PER_RUN, rights);
    const newest = all ? null : await unmatchedEvent(env);
    if (newest !== null) await announce(env, newest);
  } catch (error) {
    report('events.not-matched', { error });
    batch.retryAll({ delaySeconds: pauseAfter(error, LATER, Date.now()) });
  }
}

/** Has events be matched, up to the newest. Of what is announced already it says so again, which does no harm. */
export async function announce(env: Env, newest: number): Promise<void> {
  await env.EVENTS.send({ newest } satisfies Announcement);
}

/** Slices that the schedule matches by itself in one run, and events of each: it has 10 ms of CPU, for other jobs too. */
const SLICES_OF_SCHEDULE = 2;
const EVENTS_OF_SCHEDULE = 50;

/** The second way beside the queue: some of what was not matched yet. */
export async function matchSome(env: Env): Promise<void> {
  const rights = { standing: standingIn(env), now: deliveryRuntime.now() };
  await matchEvents(env, (names) => factsOf(env, names), SLICES_OF_SCHEDULE, rights, EVENTS_OF_SCHEDULE);
}

export const deliveryRuntime: DeliveryRuntime = {
  now: () => Date.now(),
  random: () => Math.random(),
  fetch: (url: string, init: RequestInit) => fetch(url, init),
  sleep: (milliseconds: number) => scheduler.wait(milliseconds),
};
