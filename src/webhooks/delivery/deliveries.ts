/**
 * A delivery is a row, which holds its state, and a message, which only reminds a consumer of the row. If a message is lost,
 * the cron sends another; if it comes twice, the second finds the row claimed or done. States: waiting, then delivered or
 * failed, and waiting again when it is replayed (`claims.ts`, `deliver.ts`).
 */
import type { Env } from '../../env.ts';
import type { Database } from '../../events/batch.ts';
import type { RecordedEvent } from '../../events/event.ts';
import { eventsById } from '../../events/history.ts';
import { prepare } from '../../events/sql.ts';
import { report } from '../../telemetry.ts';
import type { RepositoryFacts } from '../formats/format.ts';
import type { Subscription } from '../subscriptions.ts';
import { MAX_TRIES } from './schedule.ts';

/** The primary key of a delivery, and the body of its message. */
export interface DeliveryKey {
  subscription: string;
  /** The id of the event. */
  event: number;
}

export type State = 'waiting' | 'delivered' | 'failed';

/** One attempt, as people see it. Times are seconds since the epoch. */
export interface Attempt {
  at: number;
  /** The status of the answer; `null`: there was none. */
  status: number | null;
  /** Why the attempt failed; `null` if it succeeded. */
  error: string | null;
  latencyMs: number;
  /** The beginning of the answer. */
  response: string;
  /** The time of the next attempt; `null`: there is none. */
  next: number | null;
}

/** The data of an event that is stored with each delivery. */
export interface EventData {
  /** The event's target is not in this copy and is read from the event. The first field, because `isReference` looks there. */
  reference?: true;
  event: RecordedEvent;
  facts: RepositoryFacts | null;
}

/** A target of up to so many bytes is copied into each delivery. A push has some 300. */
const COPIED_MAX_BYTES = 1024;

/** The stored form. A long target is not copied, because an event may have many deliveries. */
export function storedData(data: EventData): string {
  const { event, facts } = data;
  if (new TextEncoder().encode(JSON.stringify(event.target)).byteLength <= COPIED_MAX_BYTES) return JSON.stringify(data);
  return JSON.stringify({ reference: true, event: { ...event, target: {} }, facts } satisfies EventData);
}

function isReference(stored: string): boolean {
  return stored.startsWith('{"reference":true');
}

/**
 * Reads the targets that rows only refer to, with at most one query. A reference to an event that is no longer stored stays a
 * reference.
 */
export async function withTargets(env: Database, all: LoadedDelivery[]): Promise<LoadedDelivery[]> {
  const references = all.filter(({ eventData }) => isReference(eventData));
  if (references.length === 0) return all;
  const events = await eventsById(
    env,
    references.map(({ key }) => key.event),
  );
  return all.map((one) => {
    const event = isReference(one.eventData) ? events.get(one.key.event) : undefined;
    if (!event) return one;
    const { facts } = JSON.parse(one.eventData) as EventData;
    return { ...one, eventData: JSON.stringify({ event, facts } satisfies EventData) };
  });
}

export interface LoadedDelivery {
  key: DeliveryKey;
  state: State;
  /** `EventData` as JSON. It is parsed when it is sent, so that a row that cannot be parsed does not affect others. */
  eventData: string;
  tries: number;
  firstTriedAt: number | null;
  attempts: Attempt[];
  dueAt: number;
  claimedUntil: number;
  /** True if this call claimed the delivery. `claimedUntil` identifies the claim. */
  claimed: boolean;
  subscription: Subscription;
  /** The clock of the database, in seconds. */
  now: number;
}

/** Seconds that a claim lasts: longer than an attempt may take. */
export const CLAIM = 60;
/** Seconds by which a message may come too early: the database and the queue have different clocks. */
export const EARLY = 5;
/** Messages of one send (Cloudflare Queues, "Limits"). */
const SEND_MAX = 100;

/** The `webhook-id` of a delivery and its id in the API. It stays the same for every attempt and every replay. */
export function deliveryId({ subscription, event }: DeliveryKey): string {
  return `${subscription}_${event}`;
}

/** Parses the id of a delivery; `null`: the text is not one. */
export function deliveryKeyOf(id: string): DeliveryKey | null {
  const parts = /^(wh_[a-z2-7]{20})_([1-9]\d{0,14})$/.exec(id);
  return parts ? { subscription: parts[1] as string, event: Number(parts[2]) } : null;
}

export function isDeliveryKey(value: unknown): value is DeliveryKey {
  const { subscription, event } = (value ?? {}) as Partial<DeliveryKey>;
  return typeof subscription === 'string' && typeof event === 'number';
}

/** A message: an endpoint works again, so send reminders of its waiting deliveries after this event. */
export interface Resumption {
  resume: string;
  after: number;
}

export function isResumption(value: unknown): value is Resumption {
  const { resume, after } = (value ?? {}) as Partial<Resumption>;
  return typeof resume === 'string' && typeof after === 'number';
}

/** Sends a message for each delivery. Returns `false` if the queue refused; the cron sends reminders later. */
export async function sendDeliveries(env: Pick<Env, 'DELIVERIES'>, keys: readonly DeliveryKey[]): Promise<boolean> {
  try {
    for (let from = 0; from < keys.length; from += SEND_MAX) {
      const some = keys.slice(from, from + SEND_MAX);
      await env.DELIVERIES.sendBatch(some.map(({ subscription, event }) => ({ body: { subscription, event } })));
    }
    return true;
  } catch (error) {
    report('deliveries.not-sent', { error });
    return false;
  }
}

/** SQL: the deliveries of the list `:keys`. */
export const KEYS = `SELECT value ->> 'subscription' AS subscription, value ->> 'event' AS event FROM json_each(:keys)`;

/** True if the delivery may be tried now. Ignores the breaker of its endpoint. */
export function isReady({ state, dueAt, claimedUntil, tries, now }: LoadedDelivery): boolean {
  return state === 'waiting' && dueAt <= now + EARLY && claimedUntil <= now && tries < MAX_TRIES;
}

/** The outcome of an attempt. */
export interface Result {
  loaded: LoadedDelivery;
  attempt: Attempt;
  delivered: boolean;
  /** The endpoint answered 410: it wants no more deliveries (Standard Webhooks, "Delivery"). */
  gone: boolean;
  /** True if a request was sent, so that the outcome says something about the endpoint. */
  asked: boolean;
}

/**
 * Marks deliveries from the dead-letter queue as failed if they had their last attempt. A queue gives a message up after a
 * number of retries, so a delivery in any other state is not changed.
 */
export async function markFailed(env: Database, keys: readonly DeliveryKey[]): Promise<void> {
  await prepare(
    env,
    `UPDATE deliveries SET state = 'failed', claimed_until = 0 FROM (${KEYS}) AS k
     WHERE deliveries.subscription = k.subscription AND deliveries.event = k.event AND deliveries.state = 'waiting'
       AND deliveries.tries >= ${MAX_TRIES}`,
    { keys },
  ).run();
}

/** A delivery to insert. `data` is an index into the list of event data, which holds each event once. */
export interface NewDelivery extends DeliveryKey {
  data: number;
}

/**
 * SQL: inserts waiting deliveries. Parameters: `rows` (`NewDelivery[]`), `data` (texts of `storedData`), `replayed` (boolean).
 * Append ON CONFLICT. The join leaves out subscriptions that were removed meanwhile: nobody would delete their deliveries.
 */
export const INSERT_DELIVERIES = `INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at,
  replayed_at)
  SELECT s.id, value ->> 'event', :data ->> (value ->> 'data'), 'waiting', unixepoch(), unixepoch(), iif(:replayed,
    unixepoch(), NULL)
  FROM json_each(:rows) JOIN subscriptions s ON s.id = value ->> 'subscription' WHERE TRUE`;
