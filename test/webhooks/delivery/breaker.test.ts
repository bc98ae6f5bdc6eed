/**
 * Failing endpoints: when they are paused, which delivery probes them, and what happens to pending deliveries.
 *
 * @module-tag walk
 */

import { beforeEach, describe, expect, test, vi } from 'vitest';
import { runScheduled } from '../../../src/cron.ts';
import { changeSubscription } from '../../../src/webhooks/changes.ts';
import { deliver } from '../../../src/webhooks/delivery/deliver.ts';
import { replayDelivery } from '../../../src/webhooks/delivery/history.ts';
import { sendReminders } from '../../../src/webhooks/delivery/reminders.ts';
import { BREAK_AFTER, LIFETIME } from '../../../src/webhooks/delivery/schedule.ts';
import { getSubscription } from '../../../src/webhooks/subscriptions.ts';
import { pushImage } from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { deliverBatch } from '../../world/queues.ts';
import { inFull } from '../../world/sampling.ts';
import {
  attemptsOf,
  deliverSome,
  drain,
  hanging,
  match,
  newScene,
  pass,
  type Row,
  rowsOf,
  type Scene,
  statesOf,
  status,
  subscribe,
  turning,
  untilQuiet,
} from '../../world/webhooks.ts';

let scene: Scene;

beforeEach(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  scene = await newScene();
});

const cron = () => turning(scene, runScheduled(scene.env, scene.clock.now, scene.doors));

interface Breaker {
  failures: number;
  open_until: number;
}

/** The number of failures of the webhook, and the seconds that are left of its pause. */
async function breaker(): Promise<[number, number]> {
  const row = await scene.env.DB.prepare('SELECT failures, open_until FROM subscriptions').first<Breaker>();
  if (!row) throw new Error('there is no subscription');
  return [row.failures, Math.max(0, row.open_until - scene.clock.seconds)];
}

async function waiting(count: number) {
  const subscription = await subscribe(scene, { filter: { types: ['tag.created'] } });
  await more(count);
  return subscription;
}

let pushed = 0;
async function more(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await pushImage(scene.world, 'acme/api', `v${++pushed}`, 1);
  await match(scene);
}

const tries = async () => (await rowsOf(scene)).map((row) => row.tries);

/** Lets five deliveries fail, after which nothing is sent for a minute. */
async function broken(count = 5) {
  const subscription = await waiting(count);
  scene.sink.answer = status(503);
  await deliverSome(scene);
  expect(await breaker()).toEqual([BREAK_AFTER, 60]);
  return subscription;
}

test('four failures change nothing, and a success resets them', async () => {
  await waiting(5);
  scene.sink.answer = status(500);
  await deliverSome(scene, { size: 4 });
  expect(await breaker()).toEqual([4, 0]);
  scene.sink.answer = status(200);
  await deliverSome(scene, { size: 1 });
  expect(await breaker()).toEqual([0, 0]);
});

test('a batch with one success counts as a success', async () => {
  await waiting(5);
  scene.sink.answer = () => new Response(null, { status: scene.sink.posts.length === 3 ? 200 : 500 });
  await deliverSome(scene);
  expect(await breaker()).toEqual([0, 0]);
});

describe('after five failures in a row', () => {
  test('nothing is sent for a minute, and pending deliveries have no attempt counted', async () => {
    await broken(8);
    await drain(scene);
    pass(scene, 59);
    await drain(scene);
    expect(scene.sink.posts).toHaveLength(5);
    expect((await tries()).slice(5)).toEqual([0, 0, 0]);
    // A delivery that was not tried has no message: the emulator keeps at most 10,000, and each read of one is an operation.
    expect(scene.deliveries.held).toHaveLength(5);
  });

  test('deliveries that were not tried are sent as soon as an attempt succeeds', { tags: 'slow' }, async () => {
    await broken(40);
    await drain(scene);
    scene.sink.answer = status(204);
    pass(scene, 120);
    await drain(scene);
    // The deliveries that waited while one was tried are sent a little later.
    expect(scene.sink.acknowledged).toHaveLength(36);
    pass(scene, 300);
    await drain(scene);
    expect(await statesOf(scene)).toEqual(Array(40).fill('delivered'));
    expect(new Set(scene.sink.acknowledged.map(({ id }) => id)).size).toBe(40);
    expect(scene.sink.acknowledged).toHaveLength(40);
  });

  test('a backlog is resumed in slices, and stops if the endpoint fails again', async () => {
    const { id } = await broken(5);
    await drain(scene);
    await scene.env.DB.prepare(
      `INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at)
       SELECT subscription, 1000 + value, event_data, 'waiting', created_at, due_at FROM
         (SELECT * FROM deliveries LIMIT 1), json_each((SELECT '[' || group_concat(n) || ']' FROM
           (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1200) SELECT n FROM c)))`,
    ).run();
    await scene.env.DB.prepare('UPDATE subscriptions SET failures = 0, open_until = 0').run();
    scene.deliveries.held.length = 0;
    await sendReminders(scene.env, { resume: id, after: 0 });
    expect(scene.deliveries.held).toHaveLength(501);
    expect(scene.deliveries.held.at(-1)).toMatchObject({ body: { resume: id, after: 1500 }, delaySeconds: 5 });
    scene.deliveries.held.length = 0;
    await scene.env.DB.prepare('UPDATE subscriptions SET failures = 5').run();
    await sendReminders(scene.env, { resume: id, after: 1500 });
    expect(scene.deliveries.held).toEqual([]);
    await scene.env.DB.prepare('UPDATE subscriptions SET failures = 0').run();
    await sendReminders(scene.env, { resume: id, after: 1500 });
    await sendReminders(scene.env, { resume: id, after: 2000 });
    expect(scene.deliveries.held.filter(({ body }) => 'event' in (body as object))).toHaveLength(700);
  });

  test('a resumption whose rows cannot be read is retried, and a lost one is left to the cron', async () => {
    await broken(8);
    await drain(scene);
    scene.sink.answer = status(204);
    pass(scene, 120);
    const resumptions = () => scene.deliveries.held.filter(({ body }) => 'resume' in (body as object));
    while (resumptions().length === 0) await deliverSome(scene, { size: 1 });
    const [lost] = resumptions();
    scene.deliveries.held.splice(0);
    const env = { ...scene.env, DB: intercepted(scene.env.DB, () => Promise.reject(new Error('down'))) };
    scene.deliveries.held.push(lost as (typeof scene.deliveries.held)[number]);
    await deliverBatch(scene.deliveries, (batch, _, context) => deliver(env, batch, scene.doors, context), env);
    expect(resumptions()).toMatchObject([{ body: lost?.body, attempts: 2 }]);
    scene.deliveries.held.splice(0);
    pass(scene, 3600);
    await cron();
    await drain(scene);
    expect(await statesOf(scene)).toEqual(Array(8).fill('delivered'));
  });

  test('failures at the same time start with the first pause: a restart of a minute costs no hour', {
    tags: 'slow',
  }, async () => {
    await waiting(20);
    scene.sink.answer = status(503);
    await Promise.all([1, 2, 3, 4].map(() => deliverSome(scene)));
    expect(await breaker()).toEqual([BREAK_AFTER, 60]);
  });

  test('an attempt that started before them and fails late does not change the pause', async () => {
    await waiting(1);
    scene.sink.answer = hanging;
    const work = deliverSome(scene);
    await vi.waitFor(() => expect(scene.sink.under).toBe(1));
    await scene.env.DB.prepare('UPDATE subscriptions SET failures = 8, open_until = unixepoch() + 1000').run();
    await turning(scene, work);
    const [failures, pause] = await breaker();
    expect(failures).toBe(8);
    expect(pause).toBeGreaterThan(900);
  });

  test('a failed attempt made while somebody enabled the webhook counts like any other', async () => {
    await broken(6);
    pass(scene, 60);
    scene.sink.answer = hanging;
    for (const message of scene.deliveries.held) message.delaySeconds = 0;
    const work = deliverSome(scene);
    await vi.waitFor(() => expect(scene.sink.under).toBe(1));
    await scene.env.DB.prepare('UPDATE subscriptions SET failures = 0, open_until = 0').run();
    await turning(scene, work);
    expect(await breaker()).toEqual([0, 0]);
  });

  test('one delivery probes the endpoint, even with two consumers', async () => {
    await broken(12);
    pass(scene, 60);
    for (const message of scene.deliveries.held) message.delaySeconds = 0;
    // Each consumer gets two messages, and has a connection for each.
    await Promise.all([deliverSome(scene, { size: 2 }), deliverSome(scene, { size: 2 })]);
    expect(scene.sink.posts).toHaveLength(6);
    expect(await breaker()).toEqual([6, 120]);
    await deliverSome(scene);
    expect(scene.sink.posts).toHaveLength(6);
  });

  test('one delivery probes it, at whatever point a second consumer runs', { tags: 'slow' }, async () => {
    for (let at = 0; at < 4; at++) {
      scene = await newScene();
      await broken(12);
      pass(scene, 60);
      for (const message of scene.deliveries.held) message.delaySeconds = 0;
      let calls = 0;
      const DB = intercepted(scene.env.DB, async (_, effect) => {
        if (calls++ === at) await deliverSome(scene, { size: 2 });
        return effect();
      });
      await deliverSome(scene, { size: 2, env: { ...scene.env, DB } });
      expect(scene.sink.posts.length, `before call ${at + 1} of ${calls}`).toBe(6);
      expect(await breaker()).toEqual([6, 120]);
    }
  });

  test('a probe that dies is followed by another after a minute', async () => {
    await broken(7);
    pass(scene, 60);
    let calls = 0;
    let stop = () => {};
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const DB = intercepted(scene.env.DB, async (_, effect) => {
      // The delivery is claimed, and its result is never stored.
      if (calls++ < 2) return effect();
      stop();
      return new Promise(() => {});
    });
    for (const message of scene.deliveries.held) message.delaySeconds = 0;
    await deliverSome(scene, { env: { ...scene.env, DB }, stopped });
    expect(scene.sink.posts).toHaveLength(6);
    await drain(scene);
    pass(scene, 59);
    for (const message of scene.deliveries.held) message.delaySeconds = 0;
    await drain(scene);
    expect(scene.sink.posts).toHaveLength(6);
    pass(scene, 1);
    for (const message of scene.deliveries.held) message.delaySeconds = 0;
    await drain(scene);
    expect(scene.sink.posts).toHaveLength(7);
  });

  test('the pause doubles with each failure up to an hour, and messages do not wait in the queue', {
    tags: 'slow',
  }, async () => {
    await broken(12);
    const pauses: number[] = [];
    for (let run = 0; run < inFull(60, 30); run++) {
      pass(scene, 600);
      await cron();
      const before = scene.sink.posts.length;
      const [failures] = await breaker();
      await drain(scene);
      const [after, pause] = await breaker();
      expect(scene.sink.posts.length - before, 'one at a time').toBeLessThanOrEqual(1);
      if (after > failures) pauses.push(pause);
    }
    expect(pauses.slice(0, 8)).toEqual([120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    // Only deliveries that were tried and have a later time keep a message.
    const untried = (await rowsOf(scene)).filter((row) => row.tries === 0).map(({ event }) => event);
    expect(untried.length).toBeGreaterThan(3);
    const kept = scene.deliveries.held.map(({ body }) => (body as { event: number }).event);
    expect(kept.filter((event) => untried.includes(event))).toEqual([]);
    expect(new Set(kept).size, 'and one each').toBe(kept.length);
  });

  test('a success resets it, and everything pending is sent soon', { tags: 'slow' }, async () => {
    await broken(40);
    for (let run = 0; run < 12; run++) {
      pass(scene, 600);
      await cron();
      await drain(scene);
    }
    scene.sink.answer = status(200);
    const from = scene.clock.now;
    const posts = scene.sink.posts.length;
    for (let run = 0; run < 9 && scene.sink.posts.length < posts + 2; run++) {
      pass(scene, 600);
      await cron();
      await drain(scene);
    }
    expect(await breaker()).toEqual([0, 0]);
    pass(scene, 600);
    await cron();
    await drain(scene);
    const states = await statesOf(scene);
    // The deliveries that were tried have a due time of their own.
    expect(states.filter((state) => state === 'delivered').length).toBeGreaterThan(25);
    await untilQuiet(scene, cron);
    expect(await statesOf(scene)).toEqual(Array(40).fill('delivered'));
    expect(scene.clock.now - from).toBeLessThan(8 * 3_600_000);
    expect(new Set(scene.sink.acknowledged.map(({ id }) => id)).size).toBe(scene.sink.acknowledged.length);
  });

  test('enabling the webhook again probes it at once', async () => {
    const subscription = await getSubscription(scene.env, (await broken(6)).id);
    const change = { enabled: true, origin: 'https://registry.test' };
    await changeSubscription(scene.env, subscription, change, { ifVersion: null, by: { subject: 'user:admin' } });
    expect(await breaker()).toEqual([0, 0]);
    await drain(scene);
    expect(scene.sink.posts).toHaveLength(6);
  });

  test('other endpoints are not delayed, however much is pending for it', async () => {
    await broken(5);
    const events = Array.from({ length: 1500 }, (_, n) => n + 1_000_000);
    const id = (await rowsOf(scene))[0]?.subscription;
    await scene.env.DB.prepare(
      `INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at)
       SELECT ?1, value, '{}', 'waiting', unixepoch() - 900, unixepoch() - 900 FROM json_each(?2)`,
    )
      .bind(id, JSON.stringify(events))
      .run();
    for (let n = 0; n < 4; n++) {
      await subscribe(scene, { url: `https://other${n}.example.com/`, filter: { types: ['tag.created'] } });
    }
    await more(1);
    scene.deliveries.held.length = 0;
    scene.sink.answer = ({ url }) => new Response(null, { status: url.includes('other') ? 200 : 503 });
    pass(scene, 900);
    await cron();
    expect(scene.deliveries.held.length).toBeLessThanOrEqual(5);
    await drain(scene);
    expect(scene.sink.acknowledged).toHaveLength(4);
  });
});

describe('an endpoint that never recovers', () => {
  const COUNT = inFull(30, 10);

  test('each delivery has at most ten attempts and fails within a day: none is lost, none goes on forever', {
    tags: 'slow',
  }, async () => {
    await broken(COUNT);
    await untilQuiet(scene, cron, 30);
    const rows = await rowsOf(scene);
    expect(rows.map(({ state }) => state)).toEqual(Array(COUNT).fill('failed'));
    for (const row of rows) {
      const attempts = attemptsOf(row);
      expect(attempts.length).toBeGreaterThan(0);
      expect(attempts.length).toBeLessThanOrEqual(11);
      expect(attempts.at(-1)?.next).toBeNull();
      expect(row.due_at - row.created_at).toBeLessThanOrEqual(LIFETIME + 3600);
    }
    expect(rows.some(({ attempts }) => attempts.includes('failed for too long'))).toBe(true);
    expect(scene.sink.posts.length).toBeLessThan(60);
    expect(scene.deliveries.held).toEqual([]);
  });

  test('costs the queue only a few messages for each delivery', { tags: 'slow' }, async () => {
    await broken(COUNT);
    let handed = 0;
    const from = scene.deliveries.sent;
    const consumer = scene.env.DB;
    const DB = intercepted(consumer, (_, effect) => {
      handed++;
      return effect();
    });
    for (let run = 0; run < inFull(144, 48); run++) {
      pass(scene, 600);
      await cron();
      for (let done = 1; done > 0; ) done = await deliverSome(scene, { env: { ...scene.env, DB } });
    }
    // This is the number of round trips of the consumers. A consumer that sends nothing has one.
    expect(handed).toBeLessThan(COUNT * 10);
    expect(scene.deliveries.sent - from).toBeLessThan(COUNT * 4);
  });

  test('a repeated delivery starts again', { tags: 'slow' }, async () => {
    await broken(3 + 2);
    await untilQuiet(scene, cron, 30);
    pass(scene, 5 * 24 * 3600);
    const [row] = (await rowsOf(scene)) as [Row];
    await scene.env.DB.prepare('UPDATE subscriptions SET open_until = unixepoch() + 3000').run();
    await replayDelivery(scene.env, row);
    await cron();
    await drain(scene);
    expect((await statesOf(scene)).filter((state) => state === 'waiting')).toHaveLength(1);
    scene.sink.answer = status(200);
    await untilQuiet(scene, cron, 3);
    expect((await statesOf(scene)).filter((state) => state === 'delivered')).toHaveLength(1);
  });
});

describe('the attempts of one delivery', () => {
  test('are ten, then it is a dead letter, and then it has failed', async () => {
    await waiting(1);
    scene.sink.answer = status(500);
    const times: number[] = [];
    for (let at = 0; at < 200 && scene.deadLetters.held.length === 0; at++) {
      await deliverSome(scene);
      times[scene.sink.posts.length - 1] = scene.clock.seconds;
      pass(scene, scene.deliveries.held[0]?.delaySeconds ?? 0);
    }
    expect(scene.sink.posts).toHaveLength(10);
    expect(scene.deadLetters.held.map(({ body }) => Object.keys(body as object).sort())).toEqual([['event', 'subscription']]);
    expect(await statesOf(scene)).toEqual(['waiting']);
    const gaps = times.slice(1).map((time, n) => time - (times[n] ?? 0));
    expect(gaps).toEqual([5, 30, 120, 600, 1800, 3600, 7200, 14400, 21600]);
    await drain(scene);
    expect(await statesOf(scene)).toEqual(['failed']);
    expect(attemptsOf((await rowsOf(scene))[0] as Row)).toHaveLength(10);
  });

  test('end without dead letters too, only later, and without another POST', { tags: 'slow' }, async () => {
    await waiting(1);
    scene.sink.answer = status(500);
    scene.deadLetters.down = true;
    for (let hours = 0; hours < 20; hours++) {
      for (let run = 0; run < 6; run++) {
        pass(scene, 600);
        await cron();
        await drain(scene);
      }
    }
    expect(scene.sink.posts).toHaveLength(10);
    expect(await statesOf(scene)).toEqual(['waiting']);
    scene.deadLetters.down = false;
    await untilQuiet(scene, cron, 2);
    expect(await statesOf(scene)).toEqual(['failed']);
    expect(scene.sink.posts).toHaveLength(10);
  });

  test('are not reduced if the queue gives up a message', async () => {
    await waiting(1);
    const [message] = scene.deliveries.held.splice(0);
    scene.deadLetters.held.push({ ...(message as NonNullable<typeof message>) });
    await drain(scene);
    expect(await statesOf(scene)).toEqual(['waiting']);
    await untilQuiet(scene, cron);
    expect(await statesOf(scene)).toEqual(['delivered']);
  });

  test('a dead letter of a delivery that was repeated meanwhile fails nothing', async () => {
    await waiting(1);
    scene.sink.answer = status(410);
    await deliverSome(scene);
    expect(scene.deadLetters.held).toHaveLength(1);
    const [row] = (await rowsOf(scene)) as [Row];
    await replayDelivery(scene.env, row);
    const { held } = scene.deliveries;
    const later = held.splice(0);
    await drain(scene);
    expect(await statesOf(scene)).toEqual(['waiting']);
    held.push(...later);
    await scene.env.DB.prepare('UPDATE subscriptions SET disabled = NULL').run();
    scene.sink.answer = status(200);
    await drain(scene);
    expect(await statesOf(scene)).toEqual(['delivered']);
  });
});
