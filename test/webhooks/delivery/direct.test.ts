/** The fallback for the queues: the schedule matches events and sends deliveries whose messages were refused or lost. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { runScheduled } from '../../../src/cron.ts';
import { tryDirectly } from '../../../src/webhooks/delivery/direct.ts';
import { pushImage } from '../../world/images.ts';
import {
  deliverSome,
  drain,
  match,
  newScene,
  pass,
  rowsOf,
  type Scene,
  statesOf,
  status,
  subscribe,
  turning,
} from '../../world/webhooks.ts';

let scene: Scene;

beforeEach(async () => {
  for (const level of ['error', 'warn'] as const) vi.spyOn(console, level).mockImplementation(() => undefined);
  scene = await newScene();
});

const cron = () => turning(scene, runScheduled(scene.env, scene.clock.now, scene.doors));

/** Makes the queues refuse all messages, as if the queue operations of the day were used up. */
function queuesAreDown(): void {
  for (const queue of [scene.events, scene.deliveries, scene.deadLetters]) queue.down = true;
}

const only = { filter: { types: ['tag.created' as const] } };

async function push(count: number, repository = 'acme/api'): Promise<void> {
  for (let n = 0; n < count; n++) await pushImage(scene.world, repository, `v${n}-${scene.clock.now}`, 1);
}

const ids = () => scene.sink.posts.map(({ id }) => id);

describe('while no queue accepts anything', () => {
  test('pushes are still delivered, each once, within three runs', async () => {
    await subscribe(scene, only);
    queuesAreDown();
    await push(8);
    for (let run = 0; run < 3; run++) {
      pass(scene, 600);
      await cron();
    }
    expect(await statesOf(scene)).toEqual(Array(8).fill('delivered'));
    expect(new Set(ids()).size).toBe(8);
    expect(ids()).toHaveLength(8);
  });

  test('a run tries at most twenty deliveries, five at once, and the next one continues', async () => {
    await subscribe(scene, { ...only, url: 'https://a.example.com/' });
    for (const name of 'bcdefghi') await subscribe(scene, { ...only, url: `https://${name}.example.com/` });
    queuesAreDown();
    await push(4);
    pass(scene, 600);
    await cron();
    const perRun: number[] = [];
    for (let run = 0; run < 5; run++) {
      const before = scene.sink.posts.length;
      pass(scene, 600);
      await cron();
      perRun.push(scene.sink.posts.length - before);
    }
    expect(Math.max(...perRun)).toBe(20);
    expect(scene.sink.most).toBeLessThanOrEqual(5);
    expect(await statesOf(scene)).toEqual(Array(36).fill('delivered'));
    expect(ids()).toHaveLength(36);
  });

  test('a webhook with many deliveries does not block another one', { tags: 'slow' }, async () => {
    const busy = await subscribe(scene, { ...only, scope: 'repository:acme/api' });
    const calm = await subscribe(scene, { ...only, scope: 'repository:acme/calm', url: 'https://calm.example.com/' });
    await push(40);
    await push(1, 'acme/calm');
    await match(scene);
    scene.deliveries.held.length = 0;
    queuesAreDown();
    pass(scene, 600);
    await cron();
    const delivered = (await rowsOf(scene))
      .filter(({ state }) => state === 'delivered')
      .map(({ subscription }) => subscription);
    expect(delivered).toContain(calm.id);
    expect(delivered).toContain(busy.id);
  });

  test('a failed one is retried at its time, and has failed after its last attempt', { tags: 'slow' }, async () => {
    await subscribe(scene, only);
    queuesAreDown();
    await push(1);
    scene.sink.answer = status(500);
    for (let run = 0; run < 144 * 2; run++) {
      pass(scene, 600);
      await cron();
    }
    expect(await statesOf(scene)).toEqual(['failed']);
    expect(scene.sink.posts.length).toBeLessThanOrEqual(10);
    expect(scene.sink.posts.length).toBeGreaterThan(3);
  });

  test('a paused endpoint is probed with one, and then gets everything pending', { tags: 'slow' }, async () => {
    await subscribe(scene, only);
    await push(12);
    await match(scene);
    scene.deliveries.held.length = 0;
    await scene.env.DB.prepare('UPDATE subscriptions SET failures = 7, open_until = 0').run();
    queuesAreDown();
    pass(scene, 600);
    await cron();
    expect(scene.sink.posts).toHaveLength(1);
    for (let run = 0; run < 4; run++) {
      pass(scene, 600);
      await cron();
    }
    expect(await statesOf(scene)).toEqual(Array(12).fill('delivered'));
  });

  test('a slow endpoint does not block the others', { tags: 'slow' }, async () => {
    await subscribe(scene, { ...only, url: 'https://slow.example.com/' });
    await subscribe(scene, { ...only, url: 'https://quick.example.com/' });
    queuesAreDown();
    await push(2);
    const hanging = new Promise<Response>(() => undefined);
    scene.sink.answer = ({ url }, signal) =>
      url.includes('slow')
        ? Promise.race([hanging, new Promise<Response>((_, no) => signal.addEventListener('abort', () => no(new Error('x'))))])
        : new Response(null, { status: 204 });
    for (let run = 0; run < 3; run++) {
      pass(scene, 600);
      await cron();
    }
    expect(scene.sink.acknowledged.map(({ url }) => url)).toEqual(Array(2).fill('https://quick.example.com/'));
  });
});

describe('a queue that accepts messages and delivers none', () => {
  test('gets one reminder, and then the next run delivers itself', async () => {
    await subscribe(scene, only);
    await push(2);
    await match(scene);
    pass(scene, 600);
    await cron();
    expect(scene.sink.posts).toEqual([]);
    pass(scene, 600);
    await cron();
    expect(await statesOf(scene)).toEqual(['delivered', 'delivered']);
    const posts = scene.sink.posts.length;
    await drain(scene);
    expect(scene.sink.posts, 'messages that come at last find it done').toHaveLength(posts);
  });

  test('does not block events: after five minutes the schedule matches them', async () => {
    await subscribe(scene, only);
    await push(1);
    scene.events.held.length = 0;
    await cron();
    expect(await rowsOf(scene)).toEqual([]);
    expect(scene.events.held).toHaveLength(1);
    pass(scene, 310);
    await cron();
    expect(await rowsOf(scene)).toHaveLength(1);
  });
});

describe('a delivery that both ways try at once', () => {
  test('is sent once, whoever is first', async () => {
    await subscribe(scene, only);
    await push(5);
    await match(scene);
    const keys = (await rowsOf(scene)).map(({ subscription, event }) => ({ subscription, event }));
    await turning(scene, Promise.all([tryDirectly(scene.env, keys, scene.doors), deliverSome(scene), deliverSome(scene)]));
    await drain(scene);
    expect(ids()).toHaveLength(5);
    expect(new Set(ids()).size).toBe(5);
    expect(await statesOf(scene)).toEqual(Array(5).fill('delivered'));
  });

  test('is retried if the schedule was cut off in the middle, because its claim expires', async () => {
    await subscribe(scene, only);
    queuesAreDown();
    await push(1);
    pass(scene, 600);
    await cron();
    scene.sink.answer = () => new Promise<Response>(() => undefined);
    pass(scene, 600);
    // The run stops while the endpoint is called, so nothing is stored.
    void runScheduled(scene.env, scene.clock.now, { ...scene.doors, sleep: () => new Promise(() => undefined) });
    await vi.waitFor(() => expect(scene.sink.posts).toHaveLength(1));
    scene.sink.answer = status(204);
    pass(scene, 600);
    await cron();
    expect(await statesOf(scene)).toEqual(['delivered']);
    expect(new Set(ids()).size).toBe(1);
  });
});
