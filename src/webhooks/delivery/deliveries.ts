/**
 * Deliveries. A delivery is a row that has the whole state. A queue message only reminds a consumer of the row. If the message
 * is lost, the cron job sends another one. If it arrives twice, the second consumer finds that the row is claimed or done. The
 * state is `waiting` at first, then `delivered` or `failed`. Sending a delivery again sets its state back to `waiting`
 * (`claims.ts`, `deliver.ts`).
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

/** The primary key of a delivery. It is also the body of the queue message. */
export interface DeliveryKey {
  subscription: string;
  /** The id of the event. */
  event: number;
}

export type State = 'waiting' | 'delivered' | 'failed';

/** One attempt, in the form of the management API. Times are in seconds since the epoch. */
export interface Attempt {
  at: number;
  /** The HTTP status of the response, or `null` if there was no response. */
  status: number | null;
  /** The reason why the attempt failed, or `null` if it succeeded. */
  error: string | null;
  latencyMs: number;
  /** The beginning of the response body. */
  response: string;
  /** The time of the next attempt, or `null` if there is none. */
  next: number | null;
}

/** The event and other data that are stored with each delivery. */
export interface EventData {
  /**
   * True if the target of the event is not in this copy and must be read from the table of events. This is the first field,
   * because `isReference` searches for it at the beginning of the text.
   */
  reference?: true;
  event: RecordedEvent;
  facts: RepositoryFacts | null;
}

/** The maximum number of bytes of a target that is copied into each delivery. The target of a push has about 300. */
const COPIED_MAX_BYTES = 1024;

/**
 * Returns the text to store with a delivery. A long target is not copied into it, because an event can have many deliveries.
 */
export function storedData(data: EventData): string {
  const { event, facts } = data;
  if (new TextEncoder().encode(JSON.stringify(event.target)).byteLength <= COPIED_MAX_BYTES) return JSON.stringify(data);
  return JSON.stringify({ reference: true, event: { ...event, target: {} }, facts } satisfies EventData);
}

function isReference(stored: string): boolean {
  return stored.startsWith('{"reference":true');
}

/**
 * Adds the targets to deliveries that do not have a copy of them. Takes at most one query. If an event is no longer stored, its
 * delivery is returned unchanged.
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
  /**
   * `EventData` as JSON. It is parsed only in the attempt, so that a row that cannot be parsed does not affect other
   * deliveries.
   */
  eventData: string;
  tries: number;
  firstTriedAt: number | null;
  attempts: Attempt[];
  dueAt: number;
  claimedUntil: number;
  /** True if the statement that loaded the delivery has also claimed it. `claimedUntil` identifies the claim. */
  claimed: boolean;
  subscription: Subscription;
  /** The time when the row was read, by the clock of D1, in seconds since the epoch. */
  now: number;
}

/** The duration of a claim in seconds. It is longer than an attempt can take. */
export const CLAIM = 60;
/**
 * The number of seconds before its due time when a delivery may be sent already. The clocks of D1 and the queue differ, so a
 * message may arrive early.
 */
export const EARLY = 5;
/** The maximum number of messages in one call of `sendBatch` (Cloudflare Queues, "Limits"). */
const SEND_MAX = 100;

/** Returns the id of a delivery, for the management API and the header `webhook-id`. It is the same in all attempts. */
export function deliveryId({ subscription, event }: DeliveryKey): string {
  return `${subscription}_${event}`;
}

/** Parses the id of a delivery. Returns `null` if the text is no such id. */
export function deliveryKeyOf(id: string): DeliveryKey | null {
  const parts = /^(wh_[a-z2-7]{20})_([1-9]\d{0,14})$/.exec(id);
  return parts ? { subscription: parts[1] as string, event: Number(parts[2]) } : null;
}

export function isDeliveryKey(value: unknown): value is DeliveryKey {
  const { subscription, event } = (value ?? {}) as Partial<DeliveryKey>;
  return typeof subscription === 'string' && typeof event === 'number';
}

/** A queue message that says that an endpoint works again. Its consumer sends messages for the pending deliveries. */
export interface Resumption {
  /** The id of the subscription. */
  resume: string;
  /** The id of an event. The consumer handles only deliveries of later events. */
  after: number;
}

export function isResumption(value: unknown): value is Resumption {
  const { resume, after } = (value ?? {}) as Partial<Resumption>;
  return typeof resume === 'string' && typeof after === 'number';
}

/**
 * Sends a queue message for each delivery. @returns false if the queue did not accept them; the cron job sends messages later
 */
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

/** SQL query: the primary keys in the list `:keys`. */
export const KEYS = `SELECT value ->> 'subscription' AS subscription, value ->> 'event' AS event FROM json_each(:keys)`;

/** Returns true if the delivery may be sent now. This does not check the breaker of the endpoint. */
export function isReady({ state, dueAt, claimedUntil, tries, now }: LoadedDelivery): boolean {
  return state === 'waiting' && dueAt <= now + EARLY && claimedUntil <= now && tries < MAX_TRIES;
}

/** The outcome of an attempt. */
export interface Result {
  loaded: LoadedDelivery;
  attempt: Attempt;
  delivered: boolean;
  /** True if the endpoint answered 410, which means that it wants no further deliveries (Standard Webhooks, "Delivery"). */
  gone: boolean;
  /** True if a request was sent. Only then does the outcome count for the circuit breaker. */
  asked: boolean;
}

/**
 * Marks deliveries from the dead letters as failed if they have had their last attempt. Other deliveries are not changed,
 * because the queue also moves a message to the dead letters after a number of retries.
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

/**
 * A delivery to insert. `data` is an index into the list of event data. Deliveries of the same event share an entry of that
 * list.
 */
export interface NewDelivery extends DeliveryKey {
  data: number;
}

/**
 * SQL statement that inserts pending deliveries. The caller must append an ON CONFLICT clause. Parameters: `rows`
 * (`NewDelivery[]`), `data` (texts from `storedData`), `replayed` (boolean). The join leaves out subscriptions that were
 * deleted in the meantime, because nothing would delete their deliveries.
 */
export const INSERT_DELIVERIES = `INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at,
  replayed_at)
  SELECT s.id, value ->> 'event', :data ->> (value ->> 'data'), 'waiting', unixepoch(), unixepoch(), iif(:replayed,
    unixepoch(), NULL)
  FROM json_each(:rows) JOIN subscriptions s ON s.id = value ->> 'subscription' WHERE TRUE`;
