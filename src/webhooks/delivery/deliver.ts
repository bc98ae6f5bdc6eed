/**
 * The queue consumers of deliveries and of dead letters. All deliveries of a batch are tried at once. A slow attempt continues
 * after the batch has ended, so no delivery waits for another. Each endpoint has a few connections at a time at most. Outcomes
 * are stored: the delivery, the health of its endpoint, and if that answered 410, the end of the subscription.
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

/** Milliseconds for which a batch waits for the answers of endpoints. */
const PATIENCE_MS = 1000;
/** Retries of one message, after which a new message replaces it: a queue gives a message up after 100 (`max_retries`). */
const RETRIES_MAX = 80;
/** Seconds until a delivery is tried again if the database or the endpoint is busy. */
const SOON = 10;
/**
 * A message that must wait longer than so many seconds is dropped: each retry costs a queue operation, and the cron sends
 * another.
 */
const LONG = 10 * 60;

/** A delivery and its message. */
interface Reminder {
  key: DeliveryKey;
  /** `null`: there is none, or it was acknowledged because the attempt takes long. */
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

/** The first message about each delivery; the others are acknowledged. A message about nothing goes to the dead letters. */
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

/** Handles a message about an endpoint that works again. */
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

/** `loaded` is `null` if the database could not be read: all deliveries are tried again after `pause` seconds. */
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
 * Handles a delivery that must not be tried now. It may be done or deleted. Another consumer may try it, and may die doing so.
 * It may be due later, for which another message was sent. Or the breaker of its endpoint is open: a delivery that was never
 * tried then needs no message, because it is resumed when a delivery that was tried finds out that the endpoint works again.
 */
async function skip(
  env: Stores,
  reminder: Reminder,
  loaded: LoadedDelivery | undefined,
  runtime: DeliveryRuntime,
): Promise<void> {
  if (loaded?.state !== 'waiting') return reminder.message?.ack();
  // Its message to the dead letters was lost.
  if (loaded.tries >= MAX_TRIES) return deadLetter(env, reminder.message, reminder.key);
  const { claimedUntil, dueAt, subscription, now } = loaded;
  const wait = Math.max(claimedUntil, dueAt, subscription.openUntil) - now;
  const isResumed = subscription.failures >= BREAK_AFTER && loaded.tries === 0 && claimedUntil <= now;
  if (isResumed || wait > LONG || (dueAt > now + CLAIM && claimedUntil <= now)) return reminder.message?.ack();
  return remindLater(env, reminder, postponed(wait, runtime.random()));
}

/** Stores the outcomes of quick attempts at once. The batch does not wait for the others. */
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

/** Stores outcomes, then handles the messages: if a message is lost after that, the row has the state. */
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

/** Resumes endpoints whose breaker was open and that succeeded now. */
async function resumeRecovered(env: Stores, all: { done: Result }[]): Promise<void> {
  const recovered = all.filter(({ done }) => done.delivered && done.loaded.subscription.failures >= BREAK_AFTER);
  for (const id of new Set(recovered.map(({ done }) => done.loaded.subscription.id))) {
    await env.DELIVERIES.send({ resume: id, after: 0 } satisfies Resumption).catch((error: unknown) => {
      report('deliveries.not-resumed', { error });
    });
  }
}

/** Stores outcomes, with a second try: the endpoint may have acknowledged a delivery, and storing twice does no harm. */
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
 * Makes the message come again after a delay. If the queue refuses a new message, the old one is retried, or the cron sends
 * one.
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

/** Sends a message to the dead letters, whose consumer marks the delivery as failed. */
async function deadLetter(env: Stores, message: Message<unknown> | null, body: unknown): Promise<void> {
  try {
    await env.DEAD_LETTERS.send(body);
    message?.ack();
  } catch (error) {
    report('deliveries.not-dead-lettered', { error });
    message?.retry({ delaySeconds: SOON });
  }
}

/** The consumer of dead letters. A message that is not about a delivery is about events, which the cron matches. */
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

/** Attempts of one delivery that are stored. */
const ATTEMPTS_KEPT = 20;

/**
 * Stores outcomes. A delivery without a next attempt stays waiting until the dead-letter queue marks it as failed. If another
 * consumer has claimed the delivery meanwhile, only a success is stored.
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
