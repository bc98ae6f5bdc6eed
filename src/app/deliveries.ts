/**
 * Delivers webhooks in the background. Events are matched with webhooks: for each event and each webhook that selects it, a
 * delivery is created. A delivery is sent until it succeeds or becomes a dead letter. Queue messages start this work. If a
 * message is lost, the cron job does the work.
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

/**
 * The maximum number of slices of events that are matched for one queue message. A slice takes up to ten calls to D1 and the
 * queue.
 */
const SLICES_PER_MESSAGE = 4;
/** The number of seconds after which a queue message is handled again if the database failed. */
const RETRY_SECONDS = 30;
/** The maximum number of slices that one run of the cron job matches. All jobs of a run share 10 ms of CPU time. */
const SLICES_PER_RUN = 2;
/** The number of events in a slice that the cron job matches. */
const EVENTS_PER_SLICE = 50;
/** The number of seconds after which the cron job matches an event itself. Until then, it only sends another queue message. */
const FORGOTTEN_SECONDS = 5 * 60;
/** The maximum number of deliveries for which `resumeLost` sends another queue message. */
const REMINDERS_MAX = 1000;

/** Returns the data about repositories that the payloads of webhooks contain. Repositories that do not exist are left out. */
export async function factsOf(env: Database, repositories: RepositoryName[]): Promise<Map<string, RepositoryFacts>> {
  const pages = await describeRepositories(env, repositories);
  const open = await publicAmong(env, repositories);
  return new Map(pages.map(({ name, description, createdAt }) => [name, { description, createdAt, isPublic: open.has(name) }]));
}

/**
 * Handles queue messages that announce events. The content of a message does not matter: all events that are not matched yet
 * are matched.
 */
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

/** Sends deliveries. The entry points may not import `webhooks/`, so they call this function. */
export function handleDeliveries(batch: MessageBatch, env: Env, runtime: DeliveryRuntime, work: Background): Promise<void> {
  return deliver(env, batch, runtime, work);
}

/**
 * Marks deliveries as failed that the queue gave up. The entry points may not import `webhooks/`, so they call this function.
 */
export function handleDeadLetters(batch: MessageBatch, env: Env): Promise<void> {
  return consumeDeadLetters(env, batch);
}

/**
 * Sends a queue message whose consumer matches all events up to the newest one. A second message for the same events does no
 * harm.
 */
async function announce(env: Env, newest: number): Promise<void> {
  await env.EVENTS.send({ newest } satisfies Announcement);
}

/**
 * Sends a queue message for events that are not matched yet. Matches some of the events here if the queue does not accept the
 * message, or if they have waited so long that an earlier message must be lost.
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
 * Sends queue messages again that were lost. `npm start` keeps its queues in memory, so they are lost when the process ends.
 * @param lostAfter the number of seconds after the due time of a delivery when its message counts as lost
 */
export async function resumeLost(env: Env, lostAfter: number): Promise<void> {
  const [matching] = await env.DB.batch([matchingState(env)]);
  const { unmatched } = matchingStateOf(matching);
  if (unmatched !== null) await announce(env, unmatched);
  await remindOfForgotten(env, REMINDERS_MAX, lostAfter);
}
