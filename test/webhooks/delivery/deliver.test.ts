/**
 * The consumer of deliveries, alone and end to end. Each delivery is sent once, whatever the order of its messages and however
 * often they arrive.
 */
import { createExecutionContext } from 'cloudflare:test';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { runScheduled } from '../../../src/cron.ts';
import worker from '../../../src/index.ts';
import { changeSubscription } from '../../../src/webhooks/changes.ts';
import { deliver } from '../../../src/webhooks/delivery/deliver.ts';
import { deleteSubscription } from '../../../src/webhooks/subscriptions.ts';
import { pushImage } from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { deliverBatch } from '../../world/queues.ts';
import {
  attemptsOf,
  batchOf,
  bury,
  deliverSome,
  drain,
  hanging,
  idOf,
  match,
  newScene,
  pass,
  rowsOf,
  type Scene,
  statesOf,
  status,
  subscribe,
  turning,
  untilQuiet,
  works,
} from '../../world/webhooks.ts';

let scene: Scene;
const by = { subject: 'user:admin' };

beforeEach(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  scene = await newScene();
});

const cron = () => turning(scene, runScheduled(scene.env, scene.clock.now, scene.doors));

/** Creates a webhook and pushes images. Each image is one matching event. */
async function waiting(count = 1, told: Parameters<typeof subscribe>[1] = {}) {
  const subscription = await subscribe(scene, { filter: { types: ['tag.created'] }, ...told });
  for (let n = 1; n <= count; n++) await pushImage(scene.world, 'acme/api', `v${n}`, 1);
  await match(scene);
  return subscription;
}

const ids = () => scene.sink.posts.map(({ id }) => id);

describe('from a push to an endpoint', () => {
  test('an event goes through both queues and arrives once', async () => {
    const { id } = await subscribe(scene, { scope: 'repository:acme/api', filter: { types: ['tag.created'] } });
    await pushImage(scene.world, 'acme/api', 'v1');
    expect(scene.events.held.length).toBeGreaterThan(0);
    await drain(scene);
    expect(await statesOf(scene)).toEqual(['delivered']);
    const [post] = scene.sink.posts;
    expect(post).toMatchObject({ url: 'https://hooks.example.com/berth', redirect: 'manual' });
    expect(post?.id).toMatch(new RegExp(`^${id}_[0-9]+$`));
    expect(post?.headers['berth-webhook']).toBe(post?.id);
    expect(JSON.parse(post?.body ?? '')).toMatchObject({ data: { repository: 'acme/api', tag: 'v1' } });
    expect(scene.sink.posts).toHaveLength(1);
    expect(scene.deliveries.held).toEqual([]);
  });

  test('the consumers are those of the Worker, by queue name', async () => {
    const fetched = vi.spyOn(globalThis, 'fetch').mockImplementation(async () => new Response('ok'));
    try {
      await subscribe(scene, { filter: { types: ['tag.created'] } });
      await pushImage(scene.world, 'acme/api', 'v1');
      await deliverBatch(scene.events, worker.queue, scene.env);
      expect(scene.deliveries.held).toHaveLength(1);
      expect(await deliverBatch(scene.deliveries, worker.queue, scene.env)).toBe(1);
      expect(fetched).toHaveBeenCalledTimes(1);
      expect(await statesOf(scene)).toEqual(['delivered']);
      const { batch } = batchOf(scene.events, []);
      await expect(worker.queue({ ...batch, queue: 'other' }, scene.env, createExecutionContext())).rejects.toThrow('other');
    } finally {
      fetched.mockRestore();
    }
  });

  test('messages hold ids only, however much there is to send', async () => {
    await subscribe(scene, {});
    await pushImage(scene.world, 'acme/api', 'v1', 1, { annotations: { text: 'x'.repeat(2_000_000) } });
    await match(scene);
    expect(scene.deliveries.held.length).toBeGreaterThan(0);
    for (const { body } of [...scene.events.held, ...scene.deliveries.held]) {
      expect(JSON.stringify(body).length).toBeLessThan(200);
    }
  });

  test.each(['lost', 'refused'])('where the announcement is %s, the cron goes on', async (how) => {
    await subscribe(scene, { filter: { types: ['tag.created'] } });
    scene.events.down = how === 'refused';
    await pushImage(scene.world, 'acme/api', 'v1');
    scene.events.down = false;
    scene.events.held.length = 0;
    await cron();
    await drain(scene);
    expect(await statesOf(scene)).toEqual(['delivered']);
  });

  test.each(['lost', 'refused'])('if its message is %s, the cron sends it again, and not before five minutes', async (how) => {
    scene.deliveries.down = how === 'refused';
    await waiting();
    scene.deliveries.down = false;
    scene.deliveries.held.length = 0;
    pass(scene, 290);
    await cron();
    expect(scene.deliveries.held).toEqual([]);
    pass(scene, 20);
    await cron();
    expect(scene.deliveries.held).toHaveLength(1);
    await cron();
    expect(scene.deliveries.held, 'it is not said twice').toHaveLength(1);
    await drain(scene);
    expect(await statesOf(scene)).toEqual(['delivered']);
    expect(scene.sink.posts).toHaveLength(1);
  });

  test('while the queue is down other jobs of the cron succeed, and later it finds everything', async () => {
    await waiting(3);
    scene.deliveries.held.length = 0;
    scene.deliveries.down = true;
    scene.events.down = true;
    pass(scene, 1000);
    await pushImage(scene.world, 'acme/api', 'v9', 1);
    await cron();
    expect(ids(), 'the schedule has tried them by itself').toHaveLength(3);
    expect(await statesOf(scene), 'and matched what came meanwhile').toHaveLength(4);
    scene.deliveries.down = false;
    scene.events.down = false;
    await untilQuiet(scene, cron);
    expect(await statesOf(scene)).toEqual(Array(4).fill('delivered'));
    expect(new Set(ids()).size).toBe(4);
  });
});

describe('one delivery with several messages', () => {
  test('in one batch is sent once', async () => {
    await waiting();
    const [held] = scene.deliveries.held;
    for (let n = 0; n < 4; n++) scene.deliveries.held.push({ ...(held as (typeof scene.deliveries.held)[0]), id: `copy${n}` });
    await deliverSome(scene);
    expect(scene.sink.posts).toHaveLength(1);
    expect(scene.deliveries.held).toEqual([]);
  });

  test('one after the other is sent once', async () => {
    await waiting();
    const copies = structuredClone(scene.deliveries.held);
    await deliverSome(scene);
    scene.deliveries.held.push(...copies);
    await deliverSome(scene);
    expect(scene.sink.posts).toHaveLength(1);
    expect(scene.deliveries.held).toEqual([]);
  });

  test('for two consumers, in each of their orders, is sent once', async () => {
    await waiting();
    const copy = structuredClone(scene.deliveries.held);
    scene.deliveries.held.push(...structuredClone(copy));
    await Promise.all([deliverSome(scene, { size: 1 }), deliverSome(scene, { size: 1 })]);
    expect(scene.sink.posts).toHaveLength(1);

    for (let at = 0; at < 4; at++) {
      scene = await newScene();
      await waiting();
      scene.deliveries.held.push(...structuredClone(scene.deliveries.held));
      let calls = 0;
      const inner = scene.env;
      const DB = intercepted(inner.DB, async (_, effect) => {
        if (calls++ === at) await deliverSome(scene, { size: 1 });
        return effect();
      });
      await deliverSome(scene, { size: 1, env: { ...inner, DB } });
      await untilQuiet(scene, cron);
      expect(scene.sink.posts, `the other before call ${at + 1} of ${calls}`).toHaveLength(1);
      expect(await statesOf(scene)).toEqual(['delivered']);
    }
  });

  test('of which one comes during the attempt keeps that message, in case the attempt dies', async () => {
    await waiting();
    const copy = structuredClone(scene.deliveries.held);
    scene.sink.answer = hanging;
    const work = works();
    const { batch } = batchOf(scene.deliveries, scene.deliveries.held.splice(0));
    const first = deliver(scene.env, batch, scene.doors, work);
    await vi.waitFor(() => expect(scene.sink.under).toBe(1));
    scene.deliveries.held.push(...copy);
    await deliverSome(scene);
    expect(scene.sink.posts).toHaveLength(1);
    expect(scene.deliveries.held[0]?.delaySeconds).toBeGreaterThanOrEqual(60);
    pass(scene, 11);
    await first;
    await work.done();
    pass(scene, 11);
    scene.sink.answer = status(204);
    await untilQuiet(scene, cron);
    expect(scene.sink.posts).toHaveLength(2);
    expect(await statesOf(scene)).toEqual(['delivered']);
  });

  test.each([300, 7200])('of which one comes %i s early is not sent earlier, and no second message remains', async (asked) => {
    await waiting();
    const copy = structuredClone(scene.deliveries.held);
    scene.sink.answer = status(503, { 'retry-after': String(asked) });
    await deliverSome(scene);
    expect(scene.deliveries.held).toMatchObject([{ delaySeconds: asked }]);
    scene.deliveries.held.push(...copy);
    await deliverSome(scene);
    expect(scene.sink.posts).toHaveLength(1);
    expect(scene.deliveries.held).toHaveLength(1);
    for (const passed of [asked / 2, asked / 2 - 10]) {
      pass(scene, passed);
      await cron();
      await drain(scene);
      expect(scene.sink.posts).toHaveLength(1);
    }
    pass(scene, 10);
    await drain(scene);
    expect(scene.sink.posts).toHaveLength(2);
  });

  test.each([
    ['fails', 500, 204],
    ['succeeds where that one failed', 200, 500],
    ['succeeds as well', 200, 204],
  ])('a consumer that was held up for minutes, and then %s, undoes nothing of what another wrote', async (_, code, other) => {
    await waiting();
    const copy = structuredClone(scene.deliveries.held);
    let answer = (_response: Response) => {};
    scene.sink.answer = () =>
      new Promise((resolve) => {
        answer = resolve;
      });
    const { batch } = batchOf(scene.deliveries, scene.deliveries.held.splice(0));
    const work = works();
    const doors = { ...scene.doors, sleep: () => new Promise<void>(() => {}) };
    const held = deliver(scene.env, batch, doors, work);
    await vi.waitFor(() => expect(scene.sink.posts).toHaveLength(1));
    pass(scene, 70);
    scene.sink.answer = status(other);
    scene.deliveries.held.push(...copy);
    await deliverSome(scene);
    const before = await rowsOf(scene);
    answer(new Response(null, { status: code }));
    await held;
    const after = await rowsOf(scene);
    if (other === 204) expect(after).toEqual(before);
    expect(after.map(({ state }) => state)).toEqual(['delivered']);
    await untilQuiet(scene, cron);
    expect(scene.sink.posts).toHaveLength(2);
  });

  test('does not lose its second claim to the first one that expired', async () => {
    await waiting();
    const copy = structuredClone(scene.deliveries.held);
    const answers: ((response: Response) => void)[] = [];
    scene.sink.answer = () => new Promise((resolve) => answers.push(resolve));
    const doors = { ...scene.doors, sleep: () => new Promise<void>(() => {}) };
    const first = deliver(scene.env, batchOf(scene.deliveries, scene.deliveries.held.splice(0)).batch, doors, works());
    await vi.waitFor(() => expect(answers).toHaveLength(1));
    pass(scene, 70);
    const second = deliver(scene.env, batchOf(scene.deliveries, copy).batch, doors, works());
    await vi.waitFor(() => expect(answers).toHaveLength(2));
    const [before] = await rowsOf(scene);
    answers[0]?.(new Response(null, { status: 500 }));
    await first;
    expect(await rowsOf(scene)).toEqual([before]);
    answers[1]?.(new Response(null, { status: 204 }));
    await second;
    expect(await statesOf(scene)).toEqual(['delivered']);
  });

  test('of another deployment, or invalid ones, go to the dead letters, and block none', async () => {
    await waiting();
    const bodies = [
      null,
      'text',
      7,
      {},
      { subscription: 5, event: 'x' },
      { subscription: 'wh_x', event: 1.5 },
      [],
      { event: 1 },
    ];
    scene.deliveries.held.unshift(...bodies.map((body, n) => ({ id: `poison${n}`, body, delaySeconds: 0, attempts: 1 })));
    await deliverSome(scene, { size: 100 });
    expect(await statesOf(scene)).toEqual(['delivered']);
    expect(scene.deliveries.held).toEqual([]);
    expect(scene.deadLetters.held).toHaveLength(7);
    await bury(scene);
    expect(scene.deadLetters.held).toEqual([]);
  });

  test('about deleted rows are dropped', async () => {
    const { id } = await waiting(2);
    await scene.env.DB.prepare('DELETE FROM deliveries WHERE event = (SELECT min(event) FROM deliveries)').run();
    await deliverSome(scene);
    expect(scene.sink.posts).toHaveLength(1);
    await pushImage(scene.world, 'acme/api', 'w', 1);
    await match(scene);
    await scene.env.DB.prepare('DELETE FROM subscriptions WHERE id = ?').bind(id).run();
    await deliverSome(scene);
    expect(scene.sink.posts).toHaveLength(1);
    expect(scene.deliveries.held).toEqual([]);
  });
});

test.each(['event_data', 'format'])('a row whose %s cannot be read fails, and none of its batch with it', async (column) => {
  const first = await waiting(2);
  const other = await subscribe(scene, { filter: { types: ['tag.created'] } });
  await pushImage(scene.world, 'acme/api', 'v9', 1);
  await match(scene);
  const poison = {
    event_data: `UPDATE deliveries SET event_data = '{"event":null' WHERE subscription = ?1`,
    format: "UPDATE subscriptions SET format = 'gone' WHERE id = ?1",
  }[column] as string;
  await scene.env.DB.prepare(poison).bind(first.id).run();
  await untilQuiet(scene, cron);
  const states = (await rowsOf(scene)).map((row) => [row.subscription === other.id, row.state, attemptsOf(row)[0]?.error]);
  expect(states).toEqual(
    expect.arrayContaining([
      [true, 'delivered', null],
      [false, 'failed', 'an internal error: nothing was sent'],
    ]),
  );
  expect(ids()).toHaveLength(1);
  // A failure for which the endpoint is not responsible is not counted, and other events are sent.
  await pushImage(scene.world, 'acme/api', 'v10', 1);
  await untilQuiet(scene, cron);
  expect(ids().filter((id) => id.startsWith(other.id))).toHaveLength(2);
});

describe('not sent any more', () => {
  test('are deliveries of a deleted subscription: not even their rows remain', async () => {
    const subscription = await waiting(3);
    await deleteSubscription(scene.env, subscription, { ifVersion: null, by });
    await untilQuiet(scene, cron);
    expect(scene.sink.posts).toEqual([]);
    pass(scene, 3600);
    for (let n = 0; n < 6; n++, pass(scene, 600)) await cron();
    expect(await rowsOf(scene)).toEqual([]);
    expect(await scene.env.DB.prepare('SELECT count(*) AS n FROM subscriptions').first('n')).toBe(0);
  });

  test('are deliveries of a disabled subscription: they fail at once with the reason', async () => {
    const subscription = await waiting(2);
    await changeSubscription(
      scene.env,
      subscription,
      { enabled: false, origin: 'https://registry.test' },
      { ifVersion: null, by },
    );
    await untilQuiet(scene, cron);
    expect(scene.sink.posts).toEqual([]);
    const rows = await rowsOf(scene);
    expect(rows.map(({ state }) => state)).toEqual(['failed', 'failed']);
    expect(attemptsOf(rows[0] as (typeof rows)[0])).toMatchObject([
      { error: 'the webhook is disabled (by user:admin)', next: null },
    ]);
  });

  test('nor are they if its endpoint is paused', async () => {
    const subscription = await waiting(2);
    await scene.env.DB.prepare('UPDATE subscriptions SET failures = 9, open_until = unixepoch() + 3000').run();
    await changeSubscription(
      scene.env,
      subscription,
      { enabled: false, origin: 'https://registry.test' },
      { ifVersion: null, by },
    );
    await drain(scene);
    expect(await statesOf(scene)).toEqual(['failed', 'failed']);
  });
});

describe('a hanging endpoint', () => {
  test('delays a batch by a second, and nobody else; its result is stored', async () => {
    await waiting(1, { url: 'https://slow.example.com/' });
    await subscribe(scene, { filter: { types: ['tag.created'] } });
    await pushImage(scene.world, 'acme/api', 'w', 1);
    await match(scene);
    scene.sink.answer = (post, signal) => (post.url.includes('slow') ? hanging(post, signal) : new Response());
    const work = works();
    const { batch, said } = batchOf(scene.deliveries, scene.deliveries.held.splice(0));
    let over = false;
    const done = deliver(scene.env, batch, scene.doors, work).then(() => {
      over = true;
    });
    await vi.waitFor(() => expect(scene.sink.posts).toHaveLength(3));
    pass(scene, 0.999);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(over).toBe(false);
    pass(scene, 0.001);
    await done;
    expect([...said.values()]).toEqual(['ack', 'ack', 'ack']);
    expect((await statesOf(scene)).sort()).toEqual(['delivered', 'waiting', 'waiting']);
    pass(scene, 9);
    await work.done();
    const [late] = (await rowsOf(scene)).filter(({ state }) => state === 'waiting');
    expect(late).toMatchObject({ tries: 1, claimed_until: 0 });
    expect(attemptsOf(late as NonNullable<typeof late>)).toMatchObject([
      { status: null, error: 'no answer: the connection failed, or there was no answer within 10 seconds', latencyMs: 10_000 },
    ]);
    expect(scene.deliveries.held.map(({ delaySeconds }) => delaySeconds)).toEqual([5, 5]);
    scene.sink.answer = status(200);
    await untilQuiet(scene, cron);
    expect(await statesOf(scene)).toEqual(['delivered', 'delivered', 'delivered']);
  });

  test('has at most five connections, and further deliveries are neither tried nor lost', async () => {
    await waiting(12);
    scene.sink.answer = (post, signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve(new Response('late')));
        void scene.clock.sleep(3000).then(() => resolve(new Response('slow', { status: 200 })));
        expect(post.id).toBeTruthy();
      });
    await turning(scene, Promise.all([1, 2, 3].map(() => deliverSome(scene))));
    expect(scene.sink.most).toBeLessThanOrEqual(5);
    expect(scene.sink.posts).toHaveLength(5);
    await untilQuiet(scene, cron);
    expect(scene.sink.most).toBe(5);
    expect(await statesOf(scene)).toEqual(Array(12).fill('delivered'));
    expect(scene.sink.posts).toHaveLength(12);
  });

  test('whose consumers die one after the other is tried again after a minute, without counting their connections forever', async () => {
    await waiting(6);
    scene.sink.answer = () => new Promise(() => {});
    const { batch } = batchOf(scene.deliveries, scene.deliveries.held.splice(0, 5));
    // The invocation ends here, so the result is not stored.
    const doors = { ...scene.doors, sleep: () => new Promise<void>(() => {}) };
    void deliver(scene.env, batch, doors, works());
    await vi.waitFor(() => expect(scene.sink.posts).toHaveLength(5));
    scene.sink.answer = status(204);
    await deliverSome(scene);
    expect(scene.sink.posts).toHaveLength(5);
    await untilQuiet(scene, cron);
    expect(await statesOf(scene)).toEqual(Array(6).fill('delivered'));
  });
});

describe('failing stores:', () => {
  test('if the database cannot be read, all are retried later, and none is sent', async () => {
    await waiting(3);
    const DB = intercepted(scene.env.DB, () => Promise.reject(new Error('D1_ERROR')));
    await deliverSome(scene, { env: { ...scene.env, DB } });
    expect(scene.sink.posts).toEqual([]);
    expect(scene.deliveries.held.map(({ delaySeconds }) => delaySeconds)).toEqual([20, 20, 20]);
    await untilQuiet(scene, cron);
    expect(scene.sink.posts).toHaveLength(3);
  });

  test('if the queue takes no new message when the old one expires, the others of the batch are stored', async () => {
    await waiting(3);
    const [old] = scene.deliveries.held;
    Object.assign(old as object, { attempts: 90 });
    const [busy] = await rowsOf(scene);
    await scene.env.DB.prepare('UPDATE deliveries SET claimed_until = unixepoch() + 30 WHERE event = ?')
      .bind(busy?.event)
      .run();
    const DELIVERIES = { ...scene.env.DELIVERIES, send: () => Promise.reject(new Error('down')) };
    await deliverSome(scene, { env: { ...scene.env, DELIVERIES: DELIVERIES as never } });
    expect(await statesOf(scene)).toEqual(['waiting', 'delivered', 'delivered']);
    expect(scene.deliveries.held).toHaveLength(1);
  });

  test('a message that was tried eighty times is replaced before the queue gives it up', async () => {
    await waiting();
    await scene.env.DB.prepare('UPDATE deliveries SET claimed_until = unixepoch() + 30').run();
    for (const attempts of [79, 80]) {
      Object.assign(scene.deliveries.held[0] as object, { attempts, delaySeconds: 0 });
      await deliverSome(scene);
    }
    expect(scene.deliveries.held).toMatchObject([{ attempts: 1, delaySeconds: expect.toSatisfy((n: number) => n >= 30) }]);
  });

  test('an accepted delivery that could not be stored at once is stored at the second try', async () => {
    await waiting();
    let calls = 0;
    const DB = intercepted(scene.env.DB, (_, effect) =>
      calls++ === 1 ? Promise.reject(new Error('D1_ERROR: lost')) : effect(),
    );
    await deliverSome(scene, { env: { ...scene.env, DB } });
    expect(await statesOf(scene)).toEqual(['delivered']);
    expect(scene.deliveries.held).toEqual([]);
  });
});

test('each delivery keeps its id in every attempt, and each attempt is signed anew', { tags: 'slow' }, async () => {
  await waiting();
  scene.sink.answer = status(500);
  await untilQuiet(scene, cron);
  const [row] = await rowsOf(scene);
  expect(new Set(ids())).toEqual(new Set([idOf(row as NonNullable<typeof row>)]));
  const times = scene.sink.posts.map(({ headers }) => headers['webhook-timestamp']);
  const signatures = scene.sink.posts.map(({ headers }) => headers['webhook-signature']);
  expect(new Set(times).size).toBe(times.length);
  expect(new Set(signatures).size).toBe(times.length);
  expect(new Set(scene.sink.posts.map(({ body }) => body)).size).toBe(1);
});
