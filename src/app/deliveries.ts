/**
 * Deliveries of webhooks in the background: events are matched with webhooks, which makes deliveries; a delivery is tried, and
 * tried again, until it succeeds or becomes a dead letter. Queues start this work, and the schedule does what the queues
 * missed.
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

/** Each costs up to ten calls to D1 and the queue. */
const SLICES_PER_MESSAGE = 4;
/** Seconds until a message is tried again after a failure of the database. */
const RETRY_SECONDS = 30;
/** Slices, and events in each, that one run of the schedule matches: it has 10 ms of CPU, for other jobs too. */
const SLICES_PER_RUN = 2;
const EVENTS_PER_SLICE = 50;
/** Seconds after which the schedule itself matches an event whose announcement had no effect. */
const FORGOTTEN_SECONDS = 5 * 60;
/** Deliveries that `resumeLost` sends to the queue again. */
const REMINDERS_MAX = 1000;

/** Facts about repositories for deliveries. Repositories that do not exist are left out. */
export async function factsOf(env: Database, repositories: RepositoryName[]): Promise<Map<string, RepositoryFacts>> {
  const pages = await describeRepositories(env, repositories);
  const open = await publicAmong(env, repositories);
  return new Map(pages.map(({ name, description, createdAt }) => [name, { description, createdAt, isPublic: open.has(name) }]));
}

/** Handles messages that announce events. All have the same meaning: there are events to match. */
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

/** Tries deliveries. Nothing is added here: deliveries need no other module. */
export function handleDeliveries(batch: MessageBatch, env: Env, runtime: DeliveryRuntime, work: Background): Promise<void> {
  return deliver(env, batch, runtime, work);
}

/** Records deliveries that the queue gave up. Nothing is added here, either. */
export function handleDeadLetters(batch: MessageBatch, env: Env): Promise<void> {
  return consumeDeadLetters(env, batch);
}

/** Sends a message that has events matched, up to the newest. Sending it again does no harm. */
async function announce(env: Env, newest: number): Promise<void> {
  await env.EVENTS.send({ newest } satisfies Announcement);
}

/**
 * Announces events that are not matched yet. If the queue does not accept this, or an earlier announcement had no effect, some
 * events are matched here.
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
 * Sends to the queues again what they have lost. `npm start` keeps its queues in memory, so they end with the process.
 * @param lostAfter seconds after which a message counts as lost
 */
export async function resumeLost(env: Env, lostAfter: number): Promise<void> {
  const [matching] = await env.DB.batch([matchingState(env)]);
  const { unmatched } = matchingStateOf(matching);
  if (unmatched !== null) await announce(env, unmatched);
  await remindOfForgotten(env, REMINDERS_MAX, lostAfter);
}
