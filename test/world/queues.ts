/**
 * Queues that hold messages until a test delivers them. So a test decides which messages arrive, when and how often. Messages
 * must stay within the limits of the platform. The tests in test/local/ use the queues of the runtime instead.
 */
import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test';
import type { Env } from '../../src/env.ts';

/**
 * The limits of Cloudflare Queues ("Limits"): bytes of a message, messages of a batch, bytes of a batch, and seconds of a
 * delay.
 */
const MESSAGE_MAX_BYTES = 128 * 1000;
const BATCH_MAX = 100;
const BATCH_MAX_BYTES = 256 * 1000;
const DELAY_MAX = 12 * 60 * 60;

export interface Held {
  id: string;
  body: unknown;
  delaySeconds: number;
  attempts: number;
}

export class TestQueue {
  readonly held: Held[] = [];
  /** The number of messages sent up to now. */
  sent = 0;
  /** True if every send fails. */
  down = false;

  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  async send(body: unknown, options: QueueSendOptions = {}): Promise<QueueSendResponse> {
    return this.sendBatch([{ body, ...options }]);
  }

  async sendBatch(messages: Iterable<MessageSendRequest>): Promise<QueueSendBatchResponse> {
    const all = [...messages];
    if (this.down) throw new Error(`${this.name} is down`);
    const sizes = all.map(({ body }) => JSON.stringify(body).length + 100);
    if (all.length > BATCH_MAX || sizes.reduce((sum, size) => sum + size, 0) > BATCH_MAX_BYTES)
      throw new Error('batch too large');
    if (sizes.some((size) => size > MESSAGE_MAX_BYTES)) throw new Error('message too large');
    for (const { body, delaySeconds = 0 } of all) {
      if (delaySeconds > DELAY_MAX || !Number.isInteger(delaySeconds)) throw new Error(`delay of ${delaySeconds} s`);
      this.sent++;
      this.held.push({ id: crypto.randomUUID(), body: structuredClone(body), delaySeconds, attempts: 1 });
    }
    return { metadata: { metrics: { backlogCount: this.held.length, backlogBytes: 0 } } };
  }

  metrics(): Promise<QueueMetrics> {
    return Promise.resolve({ backlogCount: this.held.length, backlogBytes: 0 });
  }
}

export type Consumer = (batch: MessageBatch, env: Env, context: ExecutionContext) => Promise<void>;

/**
 * Passes up to `size` messages to the consumer, in order, ignoring delays. Messages that the consumer retries are held again.
 * If the consumer throws, all messages are held again.
 * @returns the number of acknowledged messages
 */
export async function deliverBatch(queue: TestQueue, consumer: Consumer, env: Env, size = 100): Promise<number> {
  const taken = queue.held.splice(0, size);
  if (taken.length === 0) return 0;
  const batch = createMessageBatch(
    queue.name,
    taken.map(({ id, body, attempts }) => ({ id, timestamp: new Date(), attempts, body })),
  );
  const context = createExecutionContext();
  const again = (message: Held, delaySeconds: number) =>
    queue.held.push({ ...message, delaySeconds, attempts: message.attempts + 1 });
  try {
    await consumer(batch, env, context);
  } catch (error) {
    for (const message of taken) again(message, 0);
    throw error;
  }
  const result = await getQueueResult(batch, context);
  const retried = new Map(result.retryMessages.map(({ msgId, delaySeconds }) => [msgId, delaySeconds ?? 0]));
  for (const message of taken) {
    if (result.retryBatch.retry || retried.has(message.id)) again(message, retried.get(message.id) ?? 0);
  }
  return taken.length - (result.retryBatch.retry ? taken.length : retried.size);
}
