/**
 * The consumer of deliveries. All of a batch are tried at once, and none waits for another: what is slow goes on behind the
 * batch's back, and no endpoint may have more than a few connections at a time.
 */
import type { Env } from '../../env.ts';
import { type Background, type Database, isLost } from '../../events/batch.ts';
import { pauseAfter } from '../../events/database-failure.ts';
import { report } from '../../telemetry.ts';
import { attempt, type Settings, type World } from './attempt.ts';
import { claimDeliveries } from './claims.ts';
import { giveConnection, takeConnection } from './connections.ts';
import {
  CLAIM,
  type DeliveryKey,
  deliveryId,
  isDeliveryKey,
  isResumption,
  type Loaded,
  markFailed,
  type Result,
  type Resumption,
} from './deliveries.ts';
import { resume } from './reminders.ts';
import { saveResults } from './results.ts';
import { BREAK_AFTER, MAX_TRIES, postponed } from './schedule.ts';

export type Stores = Database & Pick<Env, 'DELIVERIES' | 'DEAD_LETTERS'> & Settings;

/** Milliseconds for which a batch waits for its answers. */
const PATIENCE_MS = 1000;
/** Of one message, after which another takes its place: a queue gives one up after 100 (`max_retries`). */
const RETRIES_MAX = 80;
/** Seconds until a delivery is looked at again, where the database or the endpoint is busy. */
const SOON = 10;
/** Seconds past which nothing is kept in the queue just to wait: that costs an operation each time, and the cron reminds. */
const LONG = 10 * 60;

/** A message and the delivery that it reminds of. `null`: it was acknowledged, as its attempt took long. */
interface Reminder {
  key: DeliveryKey;
  message: Message<unknown> | null;
}

export async function deliver(env: Stores, batch: MessageBatch, world: World, work: Background): Promise<void> {
  const reminders = await remindersIn(env, batch);
  await Promise.all(batch.messages.map((message) => goOn(env, message)));
  const places = new Map<Reminder, number | null>(reminders.map((one) => [one, takeConnection(one.key, world.now())]));
  const free = reminders.filter((one) => places.get(one) !== null);
  const busy = reminders.filter((one) => places.get(one) === null);
  const give = (one: Reminder) => giveConnection(one.key, places.get(one) ?? null);
  const { loaded, pause } = await loadFor(env, free, world);
  const tried = free.flatMap((reminder) => {
    const one = loaded?.get(deliveryId(reminder.key));
    return one?.claimed ? [{ reminder, result: attempt(env, one, world).finally(() => give(reminder)) }] : [];
  });
  const others = free.filter(({ key }) => !loaded?.get(deliveryId(key))?.claimed);
  for (const one of others) give(one);
  const left = loaded
    ? others.map((one) => leave(env, one, loaded.get(deliveryId(one.key)), world))
    : others.map((one) => again(env, one, postponed(pause, world.random())));
  await Promise.all([
    ...left,
    ...busy.map((one) => again(env, one, postponed(SOON, world.random()))),
    settle(env, tried, world, work),
  ]);
}

/** Of several messages about one delivery the first; what reminds of nothing goes to the dead letters. */
async function remindersIn(env: Stores, batch: MessageBatch): Promise<Reminder[]> {
  const found = new Map<string, Reminder>();
  for (const message of batch.messages) {
    const { body } = message;
    if (isResumption(body)) continue;
    if (!isDeliveryKey(body)) await bury(env, message, body);
    else if (found.has(deliveryId(body))) message.ack();
    else found.set(deliveryId(body), { key: body, message });
  }
  return [...found.values()];
}

/** Of a message about an endpoint that is well again. */
async function goOn(env: Stores, message: Message<unknown>): Promise<void> {
  if (!isResumption(message.body)) return;
  try {
    await resume(env, message.body);
    message.ack();
  } catch (error) {
    report('deliveries.not-resumed', { error });
    message.retry({ delaySeconds: SOON });
  }
}

/** `loaded` is `null` if the database could not be asked: all are tried again after `pause` seconds. */
async function loadFor(
  env: Stores,
  reminders: Reminder[],
  world: World,
): Promise<{ loaded: Map<string, Loaded> | null; pause: number }> {
  if (reminders.length === 0) return { loaded: new Map(), pause: SOON };
  try {
    const keys = reminders.map(({ key }) => key);
    return { loaded: new Map((await claimDeliveries(env, keys)).map((one) => [deliveryId(one.key), one])), pause: SOON };
  } catch (error) {
    report('deliveries.not-read', { error });
    return { loaded: null, pause: pauseAfter(error, SOON, world.now()) };
  }
}

/**
 * One that is not to be tried now: it is done, or not there any more; somebody else tries it, who may die of it; it has its time
 * later, for which another message was sent; or its endpoint has a pause. What was not tried yet needs no message for that: it is
 * resumed when the endpoint is well again, and those that were tried find that out.
 */
async function leave(env: Stores, reminder: Reminder, loaded: Loaded | undefined, world: World): Promise<void> {
  if (loaded?.state !== 'waiting') return reminder.message?.ack();
  // Its message was lost on the way to the dead letters.
  if (loaded.tries >= MAX_TRIES) return bury(env, reminder.message, reminder.key);
  const { claimedUntil, dueAt, subscription, now } = loaded;
  const wait = Math.max(claimedUntil, dueAt, subscription.openUntil) - now;
  const isResumed = subscription.failures >= BREAK_AFTER && loaded.tries === 0 && claimedUntil <= now;
  if (isResumed || wait > LONG || (dueAt > now + CLAIM && claimedUntil <= now)) return reminder.message?.ack();
  return again(env, reminder, postponed(wait, world.random()));
}

/** What came to an end soon is written down at once; for the rest the batch does not wait. */
async function settle(
  env: Stores,
  tried: { reminder: Reminder; result: Promise<Result> }[],
  world: World,
  work: Background,
): Promise<void> {
  if (tried.length === 0) return;
  const patience = world.sleep(PATIENCE_MS).then(() => null);
  const soon = await Promise.all(
    tried.map(async ({ reminder, result }) => ({ reminder, result, done: await Promise.race([result, patience]) })),
  );
  for (const { reminder, result } of soon.filter(({ done }) => done === null)) {
    reminder.message?.ack();
    const late = async () => finish(env, [{ reminder: { ...reminder, message: null }, done: await result }]);
    work.waitUntil(late());
  }
  await finish(
    env,
    soon.flatMap(({ reminder, done }) => (done ? [{ reminder, done }] : [])),
  );
}

/** Written down first: a message that is lost after that is about a row that says how it stands. */
export async function finish(env: Stores, all: { reminder: Reminder; done: Result }[]): Promise<void> {
  if (all.length === 0) return;
  const saved = await saveTwice(
    env,
    all.map(({ done }) => done),
  );
  await Promise.all(
    all.map(({ reminder, done }) => {
      const { next, at } = done.attempt;
      if (!saved) return again(env, reminder, CLAIM);
      if (done.delivered) return reminder.message?.ack();
      return next === null ? bury(env, reminder.message, reminder.key) : again(env, reminder, next - at);
    }),
  );
  if (saved) await resumeRecovered(env, all);
}

/** Endpoints that failed too often, and now did not. */
async function resumeRecovered(env: Stores, all: { done: Result }[]): Promise<void> {
  const recovered = all.filter(({ done }) => done.delivered && done.loaded.subscription.failures >= BREAK_AFTER);
  for (const id of new Set(recovered.map(({ done }) => done.loaded.subscription.id))) {
    await env.DELIVERIES.send({ resume: id, after: 0 } satisfies Resumption).catch((error: unknown) => {
      report('deliveries.not-resumed', { error });
    });
  }
}

/** An endpoint may have acknowledged what is written down here: that is worth a second try, and a second time does no harm. */
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

/** Reminds of it again. What a queue refuses to take is left to it, and at last to the cron. */
async function again(env: Stores, { key, message }: Reminder, delaySeconds: number): Promise<void> {
  if (message && message.attempts < RETRIES_MAX) return message.retry({ delaySeconds });
  try {
    await env.DELIVERIES.send(key, { delaySeconds });
    message?.ack();
  } catch (error) {
    report('deliveries.not-sent', { error });
    message?.retry({ delaySeconds });
  }
}

/** To the dead letters, whose consumer writes down that it failed. */
async function bury(env: Stores, message: Message<unknown> | null, body: unknown): Promise<void> {
  try {
    await env.DEAD_LETTERS.send(body);
    message?.ack();
  } catch (error) {
    report('deliveries.not-dead-lettered', { error });
    message?.retry({ delaySeconds: SOON });
  }
}

/** The consumer of dead letters. What is not about a delivery is about events, and the cron goes on with those. */
export async function buryAll(env: Database, batch: MessageBatch): Promise<void> {
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
