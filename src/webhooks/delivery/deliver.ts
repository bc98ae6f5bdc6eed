/**
 * The queue consumers of deliveries and of dead letters. All deliveries of a message batch are sent at the same time. A slow
 * attempt continues after the consumer has finished, so no delivery waits for another one. The number of connections to each
 * endpoint is limited. After an attempt, the state of the delivery and the state of the endpoint's circuit breaker are stored.
 * If the endpoint answered 410, the subscription is disabled.
 */
import type { Env } from '../../env.ts';
import { type Background, type Database, isLost, newBatch } from '../../events/batch.ts';
import { pauseAfter } from '../../events/database-failure.ts';
import { report } from '../../telemetry.ts';
import { disableSubscription } from '../standing.ts';
import { attempt, type DeliveryRuntime, type DeliverySettings } from './attempt.ts';
import { recordHealth } from './breaker.ts';
import { claimDeliveries, giveConnection, takeConnection } from './claims.ts';
import {
  CLAIM,
  type DeliveryKey,
  deliveryId,
  isDeliveryKey,
  isResumption,
  type LoadedDelivery,
  markFailed,
  type Result,
  type Resumption,
} from './deliveries.ts';
import { sendReminders } from './reminders.ts';
import { BREAK_AFTER, MAX_TRIES, postponed } from './schedule.ts';

export type Stores = Database & Pick<Env, 'DELIVERIES' | 'DEAD_LETTERS'> & DeliverySettings;

/** The number of milliseconds for which the consumer waits for the responses of endpoints. */
const PATIENCE_MS = 1000;
/**
 * The maximum number of retries of one message. Then a new message replaces it, because the queue gives up a message after 100
 * retries (`max_retries`).
 */
const RETRIES_MAX = 80;
/** The number of seconds after which a delivery is tried again if D1 or the endpoint is busy. */
const SOON = 10;
/**
 * The maximum number of seconds for which a message is kept. A message that must wait longer is acknowledged, because each
 * retry costs a queue operation. The cron job sends a new message when the delivery is due.
 */
const LONG = 10 * 60;

/**
 * The key of a delivery, and the queue message about it. A message only reminds the consumer of the delivery; the row has all
 * data.
 */
interface Reminder {
  key: DeliveryKey;
  /** The message. `null` if there was none, or if it was acknowledged already because the attempt takes long. */
  message: Message<unknown> | null;
}

export async function deliver(env: Stores, batch: MessageBatch, runtime: DeliveryRuntime, work: Background): Promise<void> {
  const reminders = await remindersIn(env, batch);
  await Promise.all(batch.messages.map((message) => resume(env, message)));
  const connections = new Map<Reminder, number | null>(reminders.map((one) => [one, takeConnection(one.key, runtime.now())]));
  const free = reminders.filter((one) => connections.get(one) !== null);
  const busy = reminders.filter((one) => connections.get(one) === null);
  const give = (one: Reminder) => giveConnection(one.key, connections.get(one) ?? null);
  const { loaded, pause } = await loadFor(env, free, runtime);
  const tried = free.flatMap((reminder) => {
    const one = loaded?.get(deliveryId(reminder.key));
    return one?.claimed ? [{ reminder, result: attempt(env, one, runtime).finally(() => give(reminder)) }] : [];
  });
  const others = free.filter(({ key }) => !loaded?.get(deliveryId(key))?.claimed);
  for (const one of others) give(one);
  const skipped = loaded
    ? others.map((one) => skip(env, one, loaded.get(deliveryId(one.key)), runtime))
    : others.map((one) => remindLater(env, one, postponed(pause, runtime.random())));
  await Promise.all([
    ...skipped,
    ...busy.map((one) => remindLater(env, one, postponed(SOON, runtime.random()))),
    settle(env, tried, runtime, work),
  ]);
}

/**
 * Returns the first message about each delivery. Further messages about the same delivery are acknowledged. A message with an
 * unknown body is sent to the dead letters.
 */
async function remindersIn(env: Stores, batch: MessageBatch): Promise<Reminder[]> {
  const found = new Map<string, Reminder>();
  for (const message of batch.messages) {
    const { body } = message;
    if (isResumption(body)) continue;
    if (!isDeliveryKey(body)) await deadLetter(env, message, body);
    else if (found.has(deliveryId(body))) message.ack();
    else found.set(deliveryId(body), { key: body, message });
  }
  return [...found.values()];
}

/** Sends the pending deliveries of an endpoint if the message says that the endpoint works again. Ignores other messages. */
async function resume(env: Stores, message: Message<unknown>): Promise<void> {
  if (!isResumption(message.body)) return;
  try {
    await sendReminders(env, message.body);
    message.ack();
  } catch (error) {
    report('deliveries.not-resumed', { error });
    message.retry({ delaySeconds: SOON });
  }
}

/**
 * Claims and loads the deliveries of messages.
 * @returns the deliveries by id. `loaded` is `null` if D1 failed; all messages are then retried after `pause` seconds
 */
async function loadFor(
  env: Stores,
  reminders: Reminder[],
  runtime: DeliveryRuntime,
): Promise<{ loaded: Map<string, LoadedDelivery> | null; pause: number }> {
  if (reminders.length === 0) return { loaded: new Map(), pause: SOON };
  try {
    const keys = reminders.map(({ key }) => key);
    return { loaded: new Map((await claimDeliveries(env, keys)).map((one) => [deliveryId(one.key), one])), pause: SOON };
  } catch (error) {
    report('deliveries.not-read', { error });
    return { loaded: null, pause: pauseAfter(error, SOON, runtime.now()) };
  }
}

/**
 * Handles the message of a delivery that must not be sent now. There are these cases:
 * - The delivery was done or deleted: the message is acknowledged.
 * - The delivery had its last attempt: it is sent to the dead letters.
 * - Another consumer has claimed the delivery: the message is retried, because that consumer may be killed.
 * - The delivery is due later: another message was sent for that time, so this one is acknowledged.
 * - The breaker of its endpoint is open: the message is retried after the pause. If the delivery was never tried, the message
 *   is acknowledged, because `sendReminders` sends another one when the endpoint works again.
 *
 * If the wait is longer than `LONG`, the message is acknowledged.
 */
async function skip(
  env: Stores,
  reminder: Reminder,
  loaded: LoadedDelivery | undefined,
  runtime: DeliveryRuntime,
): Promise<void> {
  if (loaded?.state !== 'waiting') return reminder.message?.ack();
  // The message to the dead letters that was sent after the last attempt must have been lost.
  if (loaded.tries >= MAX_TRIES) return deadLetter(env, reminder.message, reminder.key);
  const { claimedUntil, dueAt, subscription, now } = loaded;
  const wait = Math.max(claimedUntil, dueAt, subscription.openUntil) - now;
  const isResumed = subscription.failures >= BREAK_AFTER && loaded.tries === 0 && claimedUntil <= now;
  if (isResumed || wait > LONG || (dueAt > now + CLAIM && claimedUntil <= now)) return reminder.message?.ack();
  return remindLater(env, reminder, postponed(wait, runtime.random()));
}

/** Stores the outcomes of attempts that end soon. The other attempts continue, and their outcomes are stored later. */
async function settle(
  env: Stores,
  tried: { reminder: Reminder; result: Promise<Result> }[],
  runtime: DeliveryRuntime,
  work: Background,
): Promise<void> {
  if (tried.length === 0) return;
  const patience = runtime.sleep(PATIENCE_MS).then(() => null);
  const soon = await Promise.all(
    tried.map(async ({ reminder, result }) => ({ reminder, result, done: await Promise.race([result, patience]) })),
  );
  for (const { reminder, result } of soon.filter(({ done }) => done === null)) {
    reminder.message?.ack();
    const late = async () => finishDeliveries(env, [{ reminder: { ...reminder, message: null }, done: await result }]);
    work.waitUntil(late());
  }
  await finishDeliveries(
    env,
    soon.flatMap(({ reminder, done }) => (done ? [{ reminder, done }] : [])),
  );
}

/**
 * Stores the outcomes, and then acknowledges or retries the messages. If a message is lost after that, the row still has the
 * whole state.
 */
export async function finishDeliveries(env: Stores, all: { reminder: Reminder; done: Result }[]): Promise<void> {
  if (all.length === 0) return;
  const saved = await saveTwice(
    env,
    all.map(({ done }) => done),
  );
  await Promise.all(
    all.map(({ reminder, done }) => {
      const { next, at } = done.attempt;
      if (!saved) return remindLater(env, reminder, CLAIM);
      if (done.delivered) return reminder.message?.ack();
      return next === null ? deadLetter(env, reminder.message, reminder.key) : remindLater(env, reminder, next - at);
    }),
  );
  if (saved) await resumeRecovered(env, all);
}

/** Sends a message for each endpoint whose breaker was open and which has now accepted a delivery. */
async function resumeRecovered(env: Stores, all: { done: Result }[]): Promise<void> {
  const recovered = all.filter(({ done }) => done.delivered && done.loaded.subscription.failures >= BREAK_AFTER);
  for (const id of new Set(recovered.map(({ done }) => done.loaded.subscription.id))) {
    await env.DELIVERIES.send({ resume: id, after: 0 } satisfies Resumption).catch((error: unknown) => {
      report('deliveries.not-resumed', { error });
    });
  }
}

/**
 * Stores the outcomes. Tries twice if the connection to D1 was lost. Without the outcome, an endpoint would get a delivery
 * again. Storing an outcome twice does no harm.
 * @returns true if the outcomes were stored
 */
async function saveTwice(env: Stores, results: Result[]): Promise<boolean> {
  for (const last of [false, true]) {
    try {
      await saveResults(env, results);
      return true;
    } catch (error) {
      if (!last && isLost(error)) continue;
      report('deliveries.not-saved', { error });
      return false;
    }
  }
  return false;
}

/**
 * Makes the consumer see a delivery again after a delay. If the queue does not accept a new message, retries the old one. If
 * there is no old message, the cron job sends one later.
 */
async function remindLater(env: Stores, { key, message }: Reminder, delaySeconds: number): Promise<void> {
  if (message && message.attempts < RETRIES_MAX) return message.retry({ delaySeconds });
  try {
    await env.DELIVERIES.send(key, { delaySeconds });
    message?.ack();
  } catch (error) {
    report('deliveries.not-sent', { error });
    message?.retry({ delaySeconds });
  }
}

/** Sends a message to the dead letters. Their consumer marks the delivery as failed. */
async function deadLetter(env: Stores, message: Message<unknown> | null, body: unknown): Promise<void> {
  try {
    await env.DEAD_LETTERS.send(body);
    message?.ack();
  } catch (error) {
    report('deliveries.not-dead-lettered', { error });
    message?.retry({ delaySeconds: SOON });
  }
}

/**
 * The consumer of dead letters. A message that is not about a delivery announces events, and the cron job matches these events.
 */
export async function consumeDeadLetters(env: Database, batch: MessageBatch): Promise<void> {
  const keys = batch.messages.flatMap(({ body }) => (isDeliveryKey(body) ? [body] : []));
  for (const { id, body } of batch.messages)
    if (!isDeliveryKey(body)) report('deliveries.dead-letter-unknown', { message: id });
  try {
    await markFailed(env, keys);
  } catch (error) {
    report('deliveries.not-saved', { error });
    batch.retryAll({ delaySeconds: CLAIM });
  }
}

/** The maximum number of attempts that are stored for one delivery. */
const ATTEMPTS_KEPT = 20;

/**
 * Stores outcomes. A delivery without a next attempt stays in the state `waiting` until the consumer of dead letters marks it
 * as failed. If another consumer has claimed the delivery in the meantime, only a success is stored.
 */
async function saveResults(env: Database, results: readonly Result[]): Promise<void> {
  const outcomes = results.map(({ loaded, attempt, delivered }) => ({
    ...loaded.key,
    claim: loaded.claimedUntil,
    state: delivered ? 'delivered' : 'waiting',
    due: attempt.next ?? attempt.at,
    tries: delivered || attempt.next !== null ? loaded.tries + 1 : MAX_TRIES,
    at: attempt.at,
    attempts: JSON.stringify([...loaded.attempts, attempt].slice(-ATTEMPTS_KEPT)),
  }));
  const batch = newBatch(env);
  batch.run(
    `UPDATE deliveries SET state = o.state, due_at = o.due, claimed_until = 0, reminded = 0, tries = o.tries,
       first_tried_at = coalesce(first_tried_at, o.at), attempts = o.attempts
     FROM (SELECT value ->> 'subscription' AS subscription, value ->> 'event' AS event, value ->> 'claim' AS claim,
       value ->> 'state' AS state, value ->> 'due' AS due, value ->> 'tries' AS tries, value ->> 'at' AS at,
       value ->> 'attempts' AS attempts FROM json_each(:outcomes)) AS o
     WHERE deliveries.subscription = o.subscription AND deliveries.event = o.event AND deliveries.state = 'waiting'
       AND (o.state = 'delivered' OR deliveries.claimed_until = o.claim)`,
    { outcomes },
  );
  recordHealth(batch, results);
  for (const { gone, loaded } of results) if (gone) disableSubscription(batch, loaded.subscription, { reason: 'gone' });
  await batch.commit();
}
