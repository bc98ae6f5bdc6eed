/**
 * The queues and the schedule of the runtime under `npm start`, with a consumer that records its messages.
 *
 * @module-tag slow
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { D1Database } from '@cloudflare/workers-types';
import type { Miniflare } from 'miniflare';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { deploymentOf } from '../../src/local/deployment.ts';
import { emulate } from '../../src/local/emulator.ts';
import { runSchedule } from '../../src/local/runtime.ts';
import { freePort } from '../world/registry.ts';

const WRANGLER = readFileSync(new URL('../../wrangler.toml', import.meta.url), 'utf8');
/** wrangler.toml with shorter times, because the times of a deployment are minutes. */
const HASTY = WRANGLER.replaceAll(/max_batch_timeout = \d+/g, 'max_batch_timeout = 1').replaceAll(
  /max_retries = \d+/g,
  'max_retries = 1',
);
const { producers, consumers } = deploymentOf(HASTY);

/**
 * A Worker that sends messages on request and records the messages that arrive. It retries messages that begin with "never",
 * unless they come from the queue of dead letters.
 */
const CONSUMER = `
async function write(env, queue, bodies) {
  const insert = env.DB.prepare('INSERT INTO arrivals (queue, bodies) VALUES (?, ?)');
  await insert.bind(queue, JSON.stringify(bodies)).run();
}
export default {
  async fetch(request, env) {
    const { binding, bodies } = await request.json();
    await env[binding].sendBatch(bodies.map((body) => ({ body })));
    return new Response();
  },
  async queue(batch, env) {
    await write(env, batch.queue, batch.messages.map(({ body }) => body));
    for (const message of batch.messages) {
      if (message.body.startsWith('never') && !batch.queue.includes('dead')) message.retry();
    }
  },
  scheduled: (controller, env) => write(env, 'schedule', [controller.cron]),
};`;

interface Arrival {
  queue: string;
  bodies: string[];
}

let dataDir: string;
let worker: Miniflare;
let port: number;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'berth-'));
  const main = join(dataDir, 'consumer.js');
  await writeFile(main, CONSUMER);
  const prepare = (database: D1Database) =>
    database.prepare('CREATE TABLE IF NOT EXISTS arrivals (queue TEXT, bodies TEXT) STRICT').run();
  port = await freePort();
  const place = { name: 'consumer', main, dataDir, host: '127.0.0.1', port };
  worker = await emulate({ ...place, variables: {}, producers, consumers, prepare });
});
afterAll(async () => {
  await worker?.dispose();
  await rm(dataDir, { recursive: true });
});

async function send(binding: string, bodies: string[]): Promise<void> {
  const url = `http://127.0.0.1:${port}`;
  const response = await fetch(url, { method: 'POST', body: JSON.stringify({ binding, bodies }) });
  expect(response.status).toBe(200);
}

/** The batches of a queue that contain at least one of the messages. */
async function arrivals(queue: string, bodies: string[]): Promise<Arrival[]> {
  const database = await worker.getD1Database('DB', 'consumer');
  const { results } = await database.prepare('SELECT queue, bodies FROM arrivals').all<{ queue: string; bodies: string }>();
  return results
    .map((row) => ({ queue: row.queue, bodies: JSON.parse(row.bodies) as string[] }))
    .filter((row) => row.queue === queue && (bodies.length === 0 || row.bodies.some((body) => bodies.includes(body))));
}

const SOON = { timeout: 20_000, interval: 100 };

test.each(Object.entries(producers))('a message sent to %s arrives at its consumer', async (binding, name) => {
  await send(binding, [`to ${binding}`]);
  await expect.poll(() => arrivals(name, [`to ${binding}`]), SOON).toEqual([{ queue: name, bodies: [`to ${binding}`] }]);
});

test('deliveries arrive no more than five at a time', async () => {
  const bodies = Array.from({ length: 12 }, (_, n) => `delivery ${n}`);
  await send('DELIVERIES', bodies);
  const batches = async () => (await arrivals('berth-deliveries', bodies)).map((batch) => batch.bodies.length);
  await expect.poll(async () => (await batches()).reduce((sum, size) => sum + size, 0), SOON).toBe(bodies.length);
  expect(Math.max(...(await batches()))).toBe(5);
});

test.each(['EVENTS', 'DELIVERIES'])(
  'a message of %s that is never acknowledged ends in the queue of dead letters',
  async (binding) => {
    const body = `never ${binding}`;
    await send(binding, [body]);
    await expect.poll(() => arrivals('berth-dead-letters', [body]), SOON).toHaveLength(1);
    expect(await arrivals(producers[binding] ?? '', [body]), 'one try and one more').toHaveLength(2);
  },
);

test('at the start, lost messages are looked for and the schedule runs, not only ten minutes later', async () => {
  const stop = runSchedule(worker, 'consumer', 10);
  await expect.poll(() => arrivals('schedule', ['@restart']), SOON).toHaveLength(1);
  await expect.poll(() => arrivals('schedule', ['']), SOON).toHaveLength(1);
  stop();
});

test('a failed scheduled run is logged as failed', async () => {
  const said = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const database = await worker.getD1Database('DB', 'consumer');
  await database.prepare('ALTER TABLE arrivals RENAME TO elsewhere').run();
  const stop = runSchedule(worker, 'consumer', 10);
  await expect.poll(() => said.mock.calls, SOON).toEqual([['schedule: exception'], ['schedule: exception']]);
  stop();
  await database.prepare('ALTER TABLE elsewhere RENAME TO arrivals').run();
  said.mockRestore();
});
