/**
 * Delivers webhooks in the background. Events are matched with webhooks, which creates deliveries. A delivery is tried until it
 * succeeds or becomes a dead letter. Queue messages start this work. If a message is lost, the schedule does its work.
 */
import { publicAmong } from '../auth/visibility.ts';
import type { Env } from '../env.ts';
import type { Background, Database } from '../events/batch.ts';
import { pauseAfter } from '../events/database-failure.ts';
import type { Announcement } from '../events/event.ts';
import type { RepositoryName } from '../oci/name.ts';
import { describeRepositories } from '../registry/repositories/descriptions.ts';
import { report } from '../telemetry.ts';
import type { DeliveryRuntime } from '../webhooks/delivery/attempt.ts';
import { consumeDeadLetters, deliver } from '../webhooks/delivery/deliver.ts';
import {
  type MatchingState,
  matchEvents,
  matchingState,
  matchingStateOf,
  unmatchedEvent,
} from '../webhooks/delivery/matching.ts';
import { remindOfForgotten } from '../webhooks/delivery/reminders.ts';
import type { RepositoryFacts } from '../webhooks/formats/format.ts';
import { standingIn } from './webhook-owners.ts';

export type { DeliveryRuntime };

/** The maximum number of slices of events that one message matches. A slice takes up to ten calls to D1 and the queue. */
const SLICES_PER_MESSAGE = 4;
/** The number of seconds until a message is tried again after the database failed. */
const RETRY_SECONDS = 30;
/** The maximum number of slices that one run of the schedule matches. The run has 10 ms of CPU for all its jobs. */
const SLICES_PER_RUN = 2;
/** The number of events in a slice that the schedule matches. */
const EVENTS_PER_SLICE = 50;
/** The number of seconds that an event waits for the queue. After that the schedule matches the event itself. */
const FORGOTTEN_SECONDS = 5 * 60;
/** The maximum number of deliveries that `resumeLost` sends to the queue again. */
const REMINDERS_MAX = 1000;

/** Returns the data about repositories that webhook formats include. Repositories that do not exist are left out. */
export async function factsOf(env: Database, repositories: RepositoryName[]): Promise<Map<string, RepositoryFacts>> {
  const pages = await describeRepositories(env, repositories);
  const open = await publicAmong(env, repositories);
  return new Map(pages.map(({ name, description, createdAt }) => [name, { description, createdAt, isPublic: open.has(name) }]));
}

/** Handles messages that announce events. Every such message has the same meaning: there are events to match. */
export async function handleAnnouncements(batch: MessageBatch, env: Env, { now }: DeliveryRuntime): Promise<void> {
  try {
    const rights = { standing: standingIn(env), now: now() };
    const all = await matchEvents(env, (names) => factsOf(env, names), SLICES_PER_MESSAGE, rights);
    const newest = all ? null : await unmatchedEvent(env);
    if (newest !== null) await announce(env, newest);
  } catch (error) {
    report('events.not-matched', { error });
    batch.retryAll({ delaySeconds: pauseAfter(error, RETRY_SECONDS, now()) });
  }
}

/** Tries deliveries. This passes the call on to `webhooks/`, which needs no other module for it. */
export function handleDeliveries(batch: MessageBatch, env: Env, runtime: DeliveryRuntime, work: Background): Promise<void> {
  return deliver(env, batch, runtime, work);
}

/** Records deliveries that the queue gave up. This passes the call on to `webhooks/`, too. */
export function handleDeadLetters(batch: MessageBatch, env: Env): Promise<void> {
  return consumeDeadLetters(env, batch);
}

/** Sends a message whose consumer matches events up to the newest one. A second message for the same events does no harm. */
async function announce(env: Env, newest: number): Promise<void> {
  await env.EVENTS.send({ newest } satisfies Announcement);
}

/**
 * Sends a message for events that are not matched yet. If the queue does not accept the message, or the events have waited so
 * long that an earlier message must be lost, this function matches some of the events itself.
 */
export async function matchForgotten(
  env: Env,
  { unmatched, waiting }: MatchingState,
  { mayAnnounce, runtime }: { mayAnnounce: boolean; runtime: DeliveryRuntime },
): Promise<void> {
  if (unmatched === null) return;
  if (waiting < FORGOTTEN_SECONDS && mayAnnounce) {
    const isAnnounced = await announce(env, unmatched).then(
      () => true,
      (error: unknown) => {
        report('events.not-announced', { error });
        return false;
      },
    );
    if (isAnnounced) return;
  }
  const rights = { standing: standingIn(env), now: runtime.now() };
  await matchEvents(env, (names) => factsOf(env, names), SLICES_PER_RUN, rights, EVENTS_PER_SLICE);
}

/**
 * Sends messages again that the queues have lost. `npm start` keeps its queues in memory, so they are lost with the process.
 * @param lostAfter the number of seconds after its due time at which the message of a delivery counts as lost
 */
export async function resumeLost(env: Env, lostAfter: number): Promise<void> {
  const [matching] = await env.DB.batch([matchingState(env)]);
  const { unmatched } = matchingStateOf(matching);
  if (unmatched !== null) await announce(env, unmatched);
  await remindOfForgotten(env, REMINDERS_MAX, lostAfter);
}
