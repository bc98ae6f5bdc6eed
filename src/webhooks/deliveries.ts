/**
 * The rows of deliveries, and how they change: waiting -> delivered or failed, and waiting again when they are replayed. A row is
 * the truth, and a message only the reminder to look at it: one that is lost is sent again by the cron, one that comes twice
 * finds the row claimed, or done. One attempt at a time: whoever claims a row has it for a minute.
 */
import type { Env } from '../env.ts';
import { commit, type Database } from '../events/batch.ts';
import type { RecordedEvent } from '../events/event.ts';
import { record } from '../events/outbox.ts';
import { askedAgain, health } from './breaker.ts';
import type { RepositoryFacts } from './formats/format.ts';
import { BREAK_AFTER, MAX_TRIES } from './schedule.ts';
import { aboutOf, type Subscription, type Row as SubscriptionRow, subscriptionOf } from './subscriptions.ts';

/** What a message carries. */
export interface DeliveryKey {
  subscription: string;
  /** Id of the event. */
  event: number;
}

export type State = 'waiting' | 'delivered' | 'failed';

/** One try, as people see it. Times are seconds since the epoch. */
export interface Attempt {
  at: number;
  /** Of the answer; `null` where there was none. */
  status: number | null;
  /** Why there was none, or why it is no success. */
  error: string | null;
  latencyMs: number;
  /** The beginning of the answer. */
  response: string;
  /** When it is tried again; `null` where it is not. */
  next: number | null;
}

/** What a row says of its event. */
export interface EventData {
  event: RecordedEvent;
  facts: RepositoryFacts | null;
}

export interface Loaded {
  key: DeliveryKey;
  state: State;
  /** `EventData` as it is stored: whoever sends it reads it, so that one which cannot be read is no matter of the others. */
  eventData: string;
  tries: number;
  firstTriedAt: number | null;
  attempts: Attempt[];
  dueAt: number;
  claimedUntil: number;
  /** Whether this call claimed it: until `claimedUntil`, and by that the claim is known. */
  claimed: boolean;
  subscription: Subscription;
  /** The database's clock, in seconds. */
  now: number;
}

/** Seconds: longer than an attempt may take. */
export const CLAIM = 60;
/** Seconds by which a message may come too early: the database's clock is another one than the queue's. */
const EARLY = 5;
/** Attempts of one delivery that are kept. */
const ATTEMPTS_KEPT = 20;
/** Messages of one send (Cloudflare Queues, "Limits"). */
const SEND_MAX = 100;

/** `webhook-id` of a delivery, and its id in the API: the same at every try and every replay. */
export function deliveryId({ subscription, event }: DeliveryKey): string {
  return `${subscription}_${event}`;
}

/** `null` for what is no id of a delivery. */
export function deliveryKeyOf(id: string): DeliveryKey | null {
  const parts = /^(wh_[a-z2-7]{20})_([1-9]\d{0,14})$/.exec(id);
  return parts ? { subscription: parts[1] as string, event: Number(parts[2]) } : null;
}

export function isDeliveryKey(value: unknown): value is DeliveryKey {
  const { subscription, event } = (value ?? {}) as Partial<DeliveryKey>;
  return typeof subscription === 'string' && typeof event === 'number';
}

/** What a queue refuses waits for the cron. */
export async function sendDeliveries(env: Pick<Env, 'DELIVERIES'>, keys: readonly DeliveryKey[]): Promise<void> {
  try {
    for (let from = 0; from < keys.length; from += SEND_MAX) {
      const some = keys.slice(from, from + SEND_MAX);
      await env.DELIVERIES.sendBatch(some.map(({ subscription, event }) => ({ body: { subscription, event } })));
    }
  } catch (error) {
    console.error('deliveries wait for the cron:', error instanceof Error ? error.message : error);
  }
}

type Row = SubscriptionRow & {
  delivery_event: number;
  event_data: string;
  state: State;
  due_at: number;
  claimed_until: number;
  tries: number;
  first_tried_at: number | null;
  attempts: string;
  now: number;
};

/** The delivery that a key of ?1 means. */
const MEANT = `SELECT value ->> 'subscription' AS subscription, value ->> 'event' AS event FROM json_each(?1)`;

/** Whether subscription `id` may be sent to, or has nothing sent to it anyway: an SQL expression. */
const OPEN = (id: string) =>
  `EXISTS (SELECT 1 FROM subscriptions WHERE id = ${id} AND (failures < ${BREAK_AFTER} OR disabled IS NOT NULL))`;

/**
 * Claims what may be tried now and loads all of them; what is not there is left out. An endpoint that has failed too often in a
 * row is left in peace until its pause is over, and then asked by one delivery.
 */
export async function claimDeliveries(env: Database, keys: readonly DeliveryKey[]): Promise<Loaded[]> {
  const meant = JSON.stringify(keys);
  const [claimed, rows] = await env.DB.batch([
    env.DB.prepare(
      `UPDATE deliveries SET claimed_until = unixepoch() + ${CLAIM} FROM (${MEANT}) AS m
       WHERE deliveries.subscription = m.subscription AND deliveries.event = m.event AND ${OPEN('m.subscription')}
         AND state = 'waiting' AND due_at <= unixepoch() + ${EARLY} AND claimed_until <= unixepoch() AND tries < ${MAX_TRIES}
       RETURNING deliveries.subscription, deliveries.event`,
    ).bind(meant),
    env.DB.prepare(
      `SELECT s.*, d.event AS delivery_event, d.event_data, d.state, d.due_at, d.claimed_until, d.tries, d.first_tried_at,
         d.attempts, unixepoch() AS now
       FROM (${MEANT}) m JOIN deliveries d ON d.subscription = m.subscription AND d.event = m.event
       JOIN subscriptions s ON s.id = d.subscription`,
    ).bind(meant),
  ]);
  const mine = new Set(((claimed?.results ?? []) as unknown as DeliveryKey[]).map(deliveryId));
  const loaded = ((rows?.results ?? []) as Row[]).map((row) => loadedOf(row, mine));
  return Promise.all(loaded.map(async (one) => (await askedAgain(env, one, loaded)) ?? one));
}

function loadedOf(row: Row, mine: Set<string>): Loaded {
  const { delivery_event, event_data, state, due_at, claimed_until, tries, first_tried_at, attempts, now, ...subscription } =
    row;
  const key = { subscription: row.id, event: delivery_event };
  return {
    key,
    state,
    eventData: event_data,
    tries,
    firstTriedAt: first_tried_at,
    attempts: JSON.parse(attempts) as Attempt[],
    dueAt: due_at,
    claimedUntil: claimed_until,
    claimed: mine.has(deliveryId(key)),
    subscription: subscriptionOf(subscription),
    now,
  };
}

/** Whether it may be tried now, but for the state of its endpoint. */
export function isReady({ state, dueAt, claimedUntil, tries, now }: Loaded): boolean {
  return state === 'waiting' && dueAt <= now + EARLY && claimedUntil <= now && tries < MAX_TRIES;
}

/** What an attempt has come to. */
export interface Result {
  loaded: Loaded;
  attempt: Attempt;
  delivered: boolean;
  /** 410: the endpoint wants no more (Standard Webhooks, "Delivery"). */
  gone: boolean;
  /** Whether it says something about the endpoint: it was asked. */
  asked: boolean;
}

/**
 * Writes down what attempts have come to. What has no next try is given up: it waits for the dead-letter queue to say that it
 * failed. What somebody else has claimed meanwhile is theirs, but that it was delivered is true whoever has it.
 */
export async function saveResults(env: Database, results: readonly Result[]): Promise<void> {
  const saved = results.map(({ loaded, attempt, delivered }) => ({
    ...loaded.key,
    claim: loaded.claimedUntil,
    state: delivered ? 'delivered' : 'waiting',
    due: attempt.next ?? attempt.at,
    tries: delivered || attempt.next !== null ? loaded.tries + 1 : MAX_TRIES,
    at: attempt.at,
    attempts: JSON.stringify([...loaded.attempts, attempt].slice(-ATTEMPTS_KEPT)),
  }));
  await commit(env, [
    env.DB.prepare(
      `UPDATE deliveries SET state = m.state, due_at = m.due, claimed_until = 0, tries = m.tries,
         first_tried_at = coalesce(first_tried_at, m.at), attempts = m.attempts
       FROM (SELECT value ->> 'subscription' AS subscription, value ->> 'event' AS event, value ->> 'claim' AS claim,
         value ->> 'state' AS state, value ->> 'due' AS due, value ->> 'tries' AS tries, value ->> 'at' AS at,
         value ->> 'attempts' AS attempts FROM json_each(?1)) AS m
       WHERE deliveries.subscription = m.subscription AND deliveries.event = m.event AND deliveries.state = 'waiting'
         AND (m.state = 'delivered' OR deliveries.claimed_until = m.claim)`,
    ).bind(JSON.stringify(saved)),
    ...health(env, results),
    ...results.filter(({ gone }) => gone).flatMap(({ loaded }) => disable(env, loaded.subscription)),
  ]);
}

/** The endpoint itself said that it wants no more. */
function disable(env: Database, { id, scope }: Subscription): D1PreparedStatement[] {
  return [
    record(env, {
      about: aboutOf(scope),
      by: { subject: 'registry' },
      select: `SELECT 'webhook.disabled' AS type, json_object('id', ?3, 'scope', ?4, 'reason', 'gone') AS target
        FROM subscriptions WHERE id = ?3 AND disabled IS NULL AND last_event IS NULL`,
      parameters: [id, scope],
    }),
    env.DB.prepare("UPDATE subscriptions SET disabled = 'gone', version = version + 1 WHERE id = ?1 AND disabled IS NULL").bind(
      id,
    ),
  ];
}

/**
 * What came to the dead-letter queue has failed, if it was given up. What was delivered, made to wait again, or brought there by
 * its message alone (the queue gives one up after a number of tries, whatever these were) is left to whom it belongs.
 */
export async function markFailed(env: Database, keys: readonly DeliveryKey[]): Promise<void> {
  await env.DB.prepare(
    `UPDATE deliveries SET state = 'failed', claimed_until = 0 FROM (${MEANT}) AS m
     WHERE deliveries.subscription = m.subscription AND deliveries.event = m.event AND deliveries.state = 'waiting'
       AND deliveries.tries >= ${MAX_TRIES}`,
  )
    .bind(JSON.stringify(keys))
    .run();
}

/** What a new row is made of: `data` is the place of its event's in the list of them, which holds each once. */
export interface NewDelivery extends DeliveryKey {
  data: number;
}

/**
 * Rows that wait, with `conflict` saying what becomes of those that are there. Not for a subscription that was removed
 * meanwhile: nobody would remove them.
 */
export function insertDeliveries(
  env: Database,
  { rows, data }: { rows: readonly NewDelivery[]; data: readonly string[] },
  conflict: string,
): D1PreparedStatement {
  return env.DB.prepare(
    `INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at)
     SELECT s.id, value ->> 'event', ?2 ->> (value ->> 'data'), 'waiting', unixepoch(), unixepoch()
     FROM json_each(?1) JOIN subscriptions s ON s.id = value ->> 'subscription' WHERE TRUE ON CONFLICT ${conflict}`,
  ).bind(JSON.stringify(rows), JSON.stringify(data));
}
