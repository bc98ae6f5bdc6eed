/**
 * What a delivery is: a row, which is the truth, and a message, which is only the reminder to look at it. One that is lost is sent
 * again by the cron, one that comes twice finds the row claimed, or done. waiting -> delivered or failed, and waiting again when
 * it is replayed: `claims.ts` and `results.ts` are the steps of that.
 */
import type { Env } from '../../env.ts';
import type { Database } from '../../events/batch.ts';
import type { RecordedEvent } from '../../events/event.ts';
import { eventsById } from '../../events/history.ts';
import { report } from '../../telemetry.ts';
import type { RepositoryFacts } from '../formats/format.ts';
import type { Subscription } from '../subscriptions.ts';
import { MAX_TRIES } from './schedule.ts';

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
  /** The event's target is not in this copy: it is read from the event itself. First, as `isReference` looks for it there. */
  reference?: true;
  event: RecordedEvent;
  facts: RepositoryFacts | null;
}

/** Bytes of a target that each webhook's delivery has a copy of. A push has some 300. */
const COPIED_MAX_BYTES = 1024;

/** As it is stored: one long event with many webhooks must not grow the database by as many copies of it. */
export function storedData(data: EventData): string {
  const { event, facts } = data;
  if (new TextEncoder().encode(JSON.stringify(event.target)).byteLength <= COPIED_MAX_BYTES) return JSON.stringify(data);
  return JSON.stringify({ reference: true, event: { ...event, target: {} }, facts } satisfies EventData);
}

function isReference(stored: string): boolean {
  return stored.startsWith('{"reference":true');
}

/**
 * With the targets that the rows only refer to: one query, and only where there are any. A reference to an event that is no
 * longer kept stays one.
 */
export async function withTargets(env: Database, all: Loaded[]): Promise<Loaded[]> {
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
export const EARLY = 5;
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

/** A message that an endpoint is well again: what waits for it is to be reminded of, from after an event on. */
export interface Resumption {
  resume: string;
  after: number;
}

export function isResumption(value: unknown): value is Resumption {
  const { resume, after } = (value ?? {}) as Partial<Resumption>;
  return typeof resume === 'string' && typeof after === 'number';
}

/** What a queue refuses waits for the cron: `false` then. */
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

/** The delivery that a key of ?1 means. */
export const MEANT = `SELECT value ->> 'subscription' AS subscription, value ->> 'event' AS event FROM json_each(?1)`;

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
  replayed = false,
): D1PreparedStatement {
  return env.DB.prepare(
    `INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at, replayed_at)
     SELECT s.id, value ->> 'event', ?2 ->> (value ->> 'data'), 'waiting', unixepoch(), unixepoch(),
       ${replayed ? 'unixepoch()' : 'NULL'}
     FROM json_each(?1) JOIN subscriptions s ON s.id = value ->> 'subscription' WHERE TRUE ON CONFLICT ${conflict}`,
  ).bind(JSON.stringify(rows), JSON.stringify(data));
}
