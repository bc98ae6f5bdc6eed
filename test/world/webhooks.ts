/**
 * Helpers for tests of webhooks: a registry with a clock that the test advances, endpoints with answers that the test chooses,
 * and queues that the test delivers. No code waits for real time: code that sleeps wakes when the test advances the clock.
 */

import { factsOf } from '../../src/app/deliveries.ts';
import type { Env } from '../../src/env.ts';
import type { Background } from '../../src/events/batch.ts';
import type { DeliveryRuntime } from '../../src/webhooks/delivery/attempt.ts';
import { consumeDeadLetters, deliver } from '../../src/webhooks/delivery/deliver.ts';
import { type Attempt, type DeliveryKey, deliveryId, type State } from '../../src/webhooks/delivery/deliveries.ts';
import { matchEvents } from '../../src/webhooks/delivery/matching.ts';
import { seal } from '../../src/webhooks/endpoint/sealing.ts';
import type { Filter } from '../../src/webhooks/filter.ts';
import { createSubscription, type NewSubscription, type Subscription } from '../../src/webhooks/subscriptions.ts';
import type { Held, TestQueue } from './queues.ts';
import { newWorld, ORIGIN, type World, worldOf } from './world.ts';

export const URL_OF_SINK = 'https://hooks.example.com/berth';
/** The settings of the queue of deliveries, as in wrangler.toml. */
const BATCH_SIZE = 5;
const MAX_RETRIES = 100;

/** A clock that the test advances. D1 uses it too (`clocked`). */
export class Clock {
  now = Math.floor(Date.now() / 1000) * 1000;
  private sleepers: { until: number; wake: () => void }[] = [];

  get seconds(): number {
    return Math.floor(this.now / 1000);
  }

  sleep(milliseconds: number): Promise<void> {
    return new Promise((wake) => this.sleepers.push({ until: this.now + milliseconds, wake }));
  }

  turn(milliseconds: number): void {
    this.now += milliseconds;
    const woken = this.sleepers.filter(({ until }) => until <= this.now);
    this.sleepers = this.sleepers.filter(({ until }) => until > this.now);
    for (const { wake } of woken) wake();
  }
}

/** Returns the same database, but with the clock of the test. */
function clocked(database: D1Database, clock: Clock): D1Database {
  return new Proxy(database, {
    get(target, name) {
      if (name === 'prepare') return (sql: string) => target.prepare(sql.replaceAll('unixepoch()', String(clock.seconds)));
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

export interface Post {
  /** The value of the header `webhook-id`. */
  id: string;
  url: string;
  headers: Record<string, string>;
  body: string;
  redirect: string | undefined;
  /** The time of the request, in seconds. */
  at: number;
}

export type Answering = (post: Post, signal: AbortSignal) => Response | Promise<Response>;

export const status =
  (code: number, headers: Record<string, string> = {}): Answering =>
  () =>
    new Response(code === 204 || code === 304 ? null : 'said the endpoint', { status: code, headers });

/** An endpoint that never answers, and stops when the request is aborted. */
export const hanging: Answering = (_, signal) =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));

/** The endpoint that receives and records all outgoing requests. */
export class Sink {
  posts: Post[] = [];
  /** The requests that the endpoint answered with a 2xx status. */
  acknowledged: Post[] = [];
  answer: Answering = status(204);
  under = 0;
  most = 0;
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  async fetch(url: string, init: RequestInit): Promise<Response> {
    const headers = init.headers as Record<string, string>;
    const id = headers['webhook-id'] ?? '';
    const post = { id, url, headers, body: init.body as string, redirect: init.redirect, at: this.clock.seconds };
    this.posts.push(post);
    this.under++;
    this.most = Math.max(this.most, this.under);
    try {
      const response = await this.answer(post, init.signal as AbortSignal);
      if (response.ok) this.acknowledged.push(post);
      return response;
    } finally {
      this.under--;
    }
  }
}

export interface Scene {
  world: World;
  env: Env;
  clock: Clock;
  sink: Sink;
  doors: DeliveryRuntime;
  events: TestQueue;
  deliveries: TestQueue;
  deadLetters: TestQueue;
}

export async function newScene(vars: Partial<Env> = {}): Promise<Scene> {
  const { env: bindings } = await newWorld(vars);
  const clock = new Clock();
  const sink = new Sink(clock);
  const env = { ...bindings, DB: clocked(bindings.DB, clock) };
  return {
    world: worldOf(env),
    env,
    clock,
    sink,
    doors: {
      now: () => clock.now,
      random: () => 0.5,
      fetch: (url, init) => sink.fetch(url, init),
      sleep: (milliseconds) => clock.sleep(milliseconds),
    },
    events: env.EVENTS as unknown as TestQueue,
    deliveries: env.DELIVERIES as unknown as TestQueue,
    deadLetters: env.DEAD_LETTERS as unknown as TestQueue,
  };
}

const NONE = {};

export interface Told {
  scope?: string;
  url?: string;
  headers?: Record<string, string>;
  filter?: Partial<Filter>;
  format?: NewSubscription['format'];
  origin?: string;
}

export async function subscribe(
  { env }: Pick<Scene, 'env'>,
  { scope = 'registry', url = URL_OF_SINK, headers = NONE, filter = {}, format = 'native', origin = ORIGIN }: Told = {},
): Promise<Subscription & { secret: string }> {
  const { subscription, secret } = await createSubscription(
    env,
    { scope, description: '', endpoint: { url: URL_OF_SINK, headers: {} }, ...filter, format, origin },
    { by: { subject: 'user:admin' }, idempotency: null, requireScope: () => {} },
  );
  const { id } = subscription;
  // The row is changed directly, because the operation would refuse some of these endpoints and would set default types.
  const types = filter.types ?? null;
  const endpoint = url === URL_OF_SINK && headers === NONE ? subscription.endpoint : await seal(env, id, { url, headers });
  await env.DB.prepare("UPDATE subscriptions SET filter = json_set(filter, '$.types', json(?2)), endpoint = ?3 WHERE id = ?1")
    .bind(id, JSON.stringify(types), endpoint)
    .run();
  return { ...subscription, endpoint, filter: { ...subscription.filter, types }, secret };
}

/** Advances the clock, and reduces the delays of the messages in the queues. */
export function pass(scene: Scene, seconds: number): void {
  scene.clock.turn(seconds * 1000);
  for (const queue of [scene.events, scene.deliveries, scene.deadLetters]) {
    for (const held of queue.held) held.delaySeconds = Math.max(0, held.delaySeconds - seconds);
  }
}

export function match({ env }: Pick<Scene, 'env'>, slices = 4): Promise<boolean> {
  return matchEvents(env, (repositories) => factsOf(env, repositories), slices);
}

/** Returns the batch for a consumer. `said` records for each message `ack`, or the delay of its retry in seconds. */
export function batchOf(queue: TestQueue, held: readonly Held[]) {
  const said = new Map<string, 'ack' | number>();
  const messages = held.map(({ id, body, attempts }) => ({
    id,
    body,
    attempts,
    timestamp: new Date(),
    ack: () => void said.set(id, 'ack'),
    retry: ({ delaySeconds = 0 }: QueueRetryOptions = {}) => void said.set(id, delaySeconds),
  }));
  const batch: MessageBatch = {
    queue: queue.name,
    messages,
    metadata: { metrics: { backlogCount: 0, backlogBytes: 0 } },
    ackAll: () => messages.forEach((message) => void message.ack()),
    retryAll: (options) => messages.forEach((message) => void message.retry(options)),
  };
  return { batch, said };
}

export type Consumer = (batch: MessageBatch, work: Background) => Promise<void>;

/**
 * Passes the first due messages to the consumer. If the consumer throws, the messages that it neither acknowledged nor retried
 * are queued again. If the consumer is stopped, all messages are queued again, because its decisions take effect only when it
 * ends.
 * @returns the number of messages that were passed
 */
export async function handOver(
  queue: TestQueue,
  deadLetters: TestQueue,
  consumer: Consumer,
  { size = BATCH_SIZE, stopped = new Promise<never>(() => {}), work = works() }: Handing = {},
): Promise<number> {
  const taken = queue.held.filter(({ delaySeconds }) => delaySeconds === 0).slice(0, size);
  if (taken.length === 0) return 0;
  for (const one of taken) queue.held.splice(queue.held.indexOf(one), 1);
  const { batch, said } = batchOf(queue, taken);
  const end = consumer(batch, work).then(
    () => 'ended',
    () => 'threw',
  );
  const how = await Promise.race([end, stopped.then(() => 'stopped')]);
  for (const message of taken) {
    const word = how === 'stopped' ? 0 : (said.get(message.id) ?? (how === 'ended' ? 'ack' : 0));
    if (word === 'ack') continue;
    const again = { ...message, attempts: message.attempts + 1, delaySeconds: word };
    if (again.attempts > MAX_RETRIES + 1) deadLetters.held.push({ ...again, attempts: 1, delaySeconds: 0 });
    else queue.held.push(again);
  }
  // The consumer may also be stopped during its background work.
  if (how !== 'stopped') await Promise.race([work.done(), stopped]);
  return taken.length;
}

export interface Handing {
  size?: number;
  /** Resolves when the consumer is stopped. */
  stopped?: Promise<unknown>;
  work?: ReturnType<typeof works>;
}

export function works() {
  const all: Promise<unknown>[] = [];
  return { waitUntil: (work: Promise<unknown>) => void all.push(work), done: () => Promise.all(all) };
}

export function deliverSome(scene: Scene, handing: Handing & { env?: Env } = {}): Promise<number> {
  const { env = scene.env } = handing;
  const consumer: Consumer = (batch, work) => deliver(env, batch, scene.doors, work);
  return handOver(scene.deliveries, scene.deadLetters, consumer, handing);
}

export function bury(scene: Scene, handing: Handing & { env?: Env } = {}): Promise<number> {
  const { env = scene.env } = handing;
  return handOver(scene.deadLetters, scene.deadLetters, (batch) => consumeDeadLetters(env, batch), { size: 100, ...handing });
}

/** Delivers all due messages, until none is left. */
export async function drain(scene: Scene): Promise<void> {
  for (let done = 1; done > 0; ) {
    done = await handOver(scene.events, scene.deadLetters, async () => void (await match(scene)), { size: 100 });
    done += await turning(scene, deliverSome(scene));
    done += await bury(scene);
  }
}

/** Advances the clock while requests to endpoints wait, until `work` has ended. */
export async function turning<T>(scene: Scene, work: Promise<T>): Promise<T> {
  let over = false;
  const ended = work.finally(() => {
    over = true;
  });
  ended.catch(() => undefined);
  while (!over) {
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, scene.sink.under > 0 ? 2 : 1))]).catch(
      () => undefined,
    );
    if (!over && scene.sink.under > 0) pass(scene, 1);
  }
  return ended;
}

export interface Row {
  subscription: string;
  event: number;
  event_data: string;
  state: State;
  created_at: number;
  due_at: number;
  claimed_until: number;
  tries: number;
  first_tried_at: number | null;
  attempts: string;
}

export async function rowsOf({ env }: Pick<Scene, 'env'>): Promise<Row[]> {
  return (await env.DB.prepare('SELECT * FROM deliveries ORDER BY subscription, event').all<Row>()).results;
}

export async function statesOf(scene: Pick<Scene, 'env'>): Promise<State[]> {
  return (await rowsOf(scene)).map(({ state }) => state);
}

export function attemptsOf({ attempts }: Row): Attempt[] {
  return JSON.parse(attempts) as Attempt[];
}

export function idOf(row: DeliveryKey): string {
  return deliveryId(row);
}

export const CRON_SECONDS = 600;

/**
 * Delivers messages and runs the schedule every ten minutes, until nothing is left to do.
 * @param hours the maximum time on the clock
 * @throws Error if something is left after that time
 */
export async function untilQuiet(scene: Scene, cron: () => Promise<void>, hours = 60): Promise<void> {
  const end = scene.clock.now + hours * 3_600_000;
  for (let next = CRON_SECONDS; ; ) {
    await drain(scene);
    const held = [...scene.events.held, ...scene.deliveries.held, ...scene.deadLetters.held];
    const waiting = (await statesOf(scene)).includes('waiting');
    const unmatched = await scene.env.DB.prepare(
      'SELECT coalesce((SELECT max(id) FROM events), 0) > coalesce((SELECT event FROM match_cursor), 0) AS more',
    ).first<number>('more');
    if (held.length === 0 && !waiting && !unmatched) return;
    if (scene.clock.now > end) throw new Error(`not quiet after ${hours} hours: ${held.length} messages`);
    const delay = Math.min(next, ...held.map(({ delaySeconds }) => delaySeconds));
    pass(scene, Math.max(delay, 1));
    next -= Math.max(delay, 1);
    if (next > 0) continue;
    await cron();
    next = CRON_SECONDS;
  }
}

const INNER = Symbol('the statement itself');

/** Records all statements, including those in batches, and counts D1 calls and the rows read and written. */
export function countingStatements(env: Env) {
  const statements: string[] = [];
  const counts = { d1: 0, rowsRead: 0, rowsWritten: 0 };
  const tally = (results: D1Result[]) => {
    counts.d1++;
    for (const { meta } of results) {
      counts.rowsRead += meta.rows_read;
      counts.rowsWritten += meta.rows_written;
    }
  };
  // `first` does not return numbers of rows, so `all` is called instead. It returns them, and the same rows.
  const asked = async (statement: D1PreparedStatement) => {
    const result = await statement.all<Record<string, unknown>>();
    tally([result]);
    return result;
  };
  const wrap = (statement: D1PreparedStatement): D1PreparedStatement =>
    ({
      [INNER]: statement,
      bind: (...values: unknown[]) => wrap(statement.bind(...values)),
      all: () => asked(statement),
      run: () => asked(statement),
      first: async (column?: string) => {
        const row = (await asked(statement)).results[0] ?? null;
        return row && column ? row[column] : row;
      },
    }) as unknown as D1PreparedStatement;
  const DB = {
    prepare: (sql: string) => {
      statements.push(sql);
      return wrap(env.DB.prepare(sql));
    },
    batch: async (all: D1PreparedStatement[]) => {
      const results = await env.DB.batch(all.map((one) => Reflect.get(one, INNER) as D1PreparedStatement));
      tally(results);
      return results;
    },
  } as unknown as D1Database;
  return { env: { ...env, DB }, counts, statements };
}
