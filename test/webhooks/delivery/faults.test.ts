/**
 * Makes each call to the database and each send to a queue fail between a push and an endpoint: the call is refused, its answer
 * is lost, or the Worker stops. Afterwards all messages are delivered and the schedule runs. Each event was accepted by its
 * endpoint under one id. It was accepted twice only if the Worker stopped between the answer of the endpoint and the save of
 * the result.
 *
 * @module-tag walk
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { factsOf } from '../../../src/app/deliveries.ts';
import { runScheduled } from '../../../src/cron.ts';
import type { Env } from '../../../src/env.ts';
import { replayDelivery, replayFailed, replaySince } from '../../../src/webhooks/delivery/history.ts';
import { matchEvents } from '../../../src/webhooks/delivery/matching.ts';
import { remindOfForgotten } from '../../../src/webhooks/delivery/reminders.ts';
import { getSubscription } from '../../../src/webhooks/subscriptions.ts';
import { FAULTS, type Fault, faulty, SAMPLED_FAULTS } from '../../world/faults.ts';
import { imageIn, pushImage, putManifest } from '../../world/images.ts';
import { tally } from '../../world/organizations.ts';
import { indexesOf, inFull } from '../../world/sampling.ts';
import {
  bury,
  deliverSome,
  idOf,
  match,
  newScene,
  pass,
  rowsOf,
  type Scene,
  status,
  subscribe,
  turning,
  untilQuiet,
} from '../../world/webhooks.ts';
import { worldOf } from '../../world/world.ts';

beforeEach(() => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
});

interface Step {
  prepare(scene: Scene): Promise<void>;
  /** Runs the step with bindings that may fail. `stopped` resolves when the Worker stops. */
  run(scene: Scene, env: Env, stopped: Promise<void>): Promise<unknown>;
  /** The maximum number of times that a delivery may be accepted. By default once. */
  most?(fault: Fault, call: number): number;
  /** True if all deliveries end as failed. */
  failed?: boolean;
}

const PUSHES = 3;
const heard = (scene: Scene) => scene.env.DB.prepare("SELECT id FROM events WHERE type = 'tag.created'").all<{ id: number }>();

async function subscribed(scene: Scene): Promise<void> {
  for (let n = 0; n < 2; n++) {
    await subscribe(scene, {
      url: `https://hooks${n}.example.com/`,
      filter: { types: ['tag.created'] },
      format: n === 0 ? 'native' : 'harbor',
    });
  }
}

async function pushed(scene: Scene): Promise<void> {
  await subscribed(scene);
  for (let n = 0; n < PUSHES; n++) await pushImage(scene.world, 'acme/api', `v${n}`, 1);
}

async function matched(scene: Scene): Promise<void> {
  await pushed(scene);
  await match(scene);
}

async function givenUp(scene: Scene): Promise<void> {
  await matched(scene);
  await scene.env.DB.prepare('UPDATE deliveries SET tries = 9, first_tried_at = unixepoch() - 60000').run();
  scene.sink.answer = status(500);
  await deliverSome(scene, { size: 100 });
  // The endpoint with more than five deliveries, its limit of connections, is tried by the remaining ones only.
  scene.sink.answer = status(200);
}

async function failedAll(scene: Scene): Promise<void> {
  await givenUp(scene);
  await bury(scene);
  expect((await rowsOf(scene)).map(({ state }) => state)).toEqual(Array(2 * PUSHES).fill('failed'));
}

const eachSubscription = async (scene: Scene, work: (id: string) => Promise<unknown>) => {
  const ids = new Set((await rowsOf(scene)).map(({ subscription }) => subscription));
  for (const id of ids) await work(id);
};

const STEPS: Record<string, Step> = {
  'a push': {
    prepare: async (scene) => {
      await subscribed(scene);
      await imageIn(scene.world, 'acme/api', 1);
    },
    run: async (scene, env) => {
      const image = await imageIn(scene.world, 'acme/api', 1);
      await putManifest(worldOf(env), 'acme/api', 'v1', new TextDecoder().decode(image.bytes));
    },
  },
  'the matching': {
    prepare: pushed,
    run: (_, env) => matchEvents(env, (repositories) => factsOf(env, repositories), 4),
  },
  'a batch of deliveries': {
    prepare: matched,
    run: (scene, env, stopped) => deliverSome(scene, { env, stopped }),
    // The first call claims the deliveries, and the second saves the results.
    most: (fault, call) => (fault === 'stop-before' && call === 1 ? 2 : 1),
  },
  'a batch of deliveries that an endpoint does not take': {
    prepare: matched,
    run: async (scene, env, stopped) => {
      scene.sink.answer = status(500);
      await deliverSome(scene, { env, stopped });
      scene.sink.answer = status(200);
    },
  },
  'the question whether an endpoint is well again': {
    prepare: async (scene) => {
      await matched(scene);
      await scene.env.DB.prepare('UPDATE subscriptions SET failures = 6, open_until = unixepoch() - 1').run();
    },
    run: (scene, env, stopped) => deliverSome(scene, { env, stopped }),
    // Two endpoints are probed with a call each, besides the claims.
    most: (fault, call) => (fault === 'stop-before' && call === 3 ? 2 : 1),
  },
  'the dead letters': {
    prepare: givenUp,
    run: (scene, env, stopped) => bury(scene, { env, stopped }),
    failed: true,
  },
  'the reminder of what was forgotten': {
    prepare: async (scene) => {
      await matched(scene);
      scene.deliveries.held.length = 0;
      pass(scene, 400);
    },
    run: (_, env) => remindOfForgotten(env, 1000),
  },
  'the whole schedule': {
    prepare: async (scene) => {
      await matched(scene);
      scene.deliveries.held.length = 0;
      scene.events.held.length = 0;
      await pushImage(scene.world, 'acme/api', 'w', 1);
      pass(scene, 400);
    },
    run: (scene, env) => runScheduled(env, Math.floor(scene.clock.now / 3_600_000) * 3_600_000, scene.doors),
  },
  'the replay of one': {
    prepare: failedAll,
    run: async (scene, env) => {
      for (const row of await rowsOf(scene)) await replayDelivery(env, row);
    },
  },
  'the replay of what failed': {
    prepare: failedAll,
    run: (scene, env) => eachSubscription(scene, async (id) => replayFailed(env, await getSubscription(scene.env, id), 0)),
  },
  'the replay since a time': {
    prepare: failedAll,
    run: (scene, env) =>
      eachSubscription(scene, async (id) =>
        replaySince(env, await getSubscription(scene.env, id), { since: 0, until: null, after: 0 }, (names) =>
          factsOf(env, names),
        ),
      ),
  },
};

/** Delivers all remaining messages. @returns how often each id was accepted */
async function settled(scene: Scene): Promise<Record<string, number>> {
  await untilQuiet(scene, () => turning(scene, runScheduled(scene.env, scene.clock.now, scene.doors)));
  const ids = new Set(scene.sink.posts.map(({ id }) => id));
  const rows = await rowsOf(scene);
  expect(
    [...ids].filter((id) => !rows.map(idOf).includes(id)),
    'an id of no delivery',
  ).toEqual([]);
  return tally(scene.sink.acknowledged.map(({ id }) => id));
}

async function expectHeard(scene: Scene, { most, failed }: { most: number; failed: boolean }, where: string): Promise<void> {
  const taken = await settled(scene);
  const rows = await rowsOf(scene);
  const { results } = await heard(scene);
  expect(new Set(rows.map(({ event }) => event)), where).toEqual(new Set(results.map(({ id }) => id)));
  expect(rows.length, where).toBe(2 * results.length);
  const replayed = where.includes('replay');
  for (const row of rows) {
    const times = taken[idOf(row)] ?? 0;
    const label = `${where}: ${row.state}, taken ${times} times`;
    if (failed) expect([row.state, times], label).toEqual(['failed', 0]);
    else if (replayed && row.state === 'failed') expect(times, label).toBe(0);
    else {
      expect(row.state, label).toBe('delivered');
      expect(times, label).toBeGreaterThanOrEqual(1);
      expect(times, label).toBeLessThanOrEqual(most);
    }
  }
}

describe.each(Object.entries(STEPS))('%s', (name, step) => {
  const never = new Promise<void>(() => {});
  let known: string[] | undefined;

  /** Runs the step without faults. @returns the calls that it makes */
  async function callsOf(): Promise<string[]> {
    const quiet = await newScene();
    await step.prepare(quiet);
    const counted = faulty(quiet.env);
    await step.run(quiet, counted.env, never);
    const { calls } = counted;
    await expectHeard(quiet, { most: 1, failed: step.failed ?? false }, `${name}, without a fault`);
    if (name.includes('replay')) expect((await rowsOf(quiet)).every(({ state }) => state === 'delivered')).toBe(true);
    return calls;
  }

  test.each(inFull(FAULTS, SAMPLED_FAULTS))('survives any call that ends in %s', async (fault) => {
    known ??= await callsOf();
    for (const at of indexesOf(known.length, FAULTS.indexOf(fault), FAULTS.length)) {
      const where = `${name}: ${fault} at ${known[at]} (${at + 1} of ${known.length})`;
      const scene = await newScene();
      await step.prepare(scene);
      const faults = faulty(scene.env, fault, at);
      const work = turning(scene, step.run(scene, faults.env, faults.stopped)).catch(() => undefined);
      await Promise.race([work, faults.stopped]);
      scene.sink.answer = status(200);
      await expectHeard(scene, { most: step.most?.(fault, at) ?? 1, failed: step.failed ?? false }, where);
    }
  });
});

describe('a send to a queue', () => {
  const KINDS = ['EVENTS', 'DELIVERIES', 'DEAD_LETTERS'] as const;

  /** A queue of which one send goes wrong. @param only the number of that send */
  function flaky(queue: Queue, how: 'fails' | 'loses its answer' | 'comes twice', only: number): Queue {
    let calls = 0;
    const act = async (send: () => Promise<unknown>) => {
      if (calls++ !== only) return send();
      if (how === 'fails') throw new Error('injected: the queue is down');
      await send();
      if (how === 'loses its answer') throw new Error('injected: the answer was lost');
      return send();
    };
    return {
      send: (body: unknown, options?: QueueSendOptions) => act(() => queue.send(body, options)),
      sendBatch: (messages: MessageSendRequest[]) => act(() => queue.sendBatch(messages)),
    } as unknown as Queue;
  }

  test.each(['fails', 'loses its answer', 'comes twice'] as const)(
    'that %s loses no event, and sends none twice',
    { tags: 'slow' },
    async (how) => {
      for (const kind of KINDS) {
        for (let only = 0; only < inFull(4, 1); only++) {
          const scene = await newScene();
          const env = { ...scene.env, [kind]: flaky(scene.env[kind] as Queue, how, only) };
          const through = { ...scene, env, world: worldOf(env) };
          await pushed(through);
          for (let n = 0; n < 4; n++) {
            await match(through);
            // The endpoint fails once, so that a message with a delay is sent.
            scene.sink.answer = n === 0 ? status(500) : status(200);
            await turning(through, deliverSome(through, { size: 3 }));
            await bury(through);
          }
          const label = `${kind}, send ${only + 1}`;
          await expectHeard(through, { most: 1, failed: false }, label);
          expect(scene.sink.posts.length, label).toBeLessThanOrEqual(2 * PUSHES + 3);
        }
      }
    },
  );

  test('that fails for an hour loses no event', async () => {
    const scene = await newScene();
    for (const queue of [scene.events, scene.deliveries, scene.deadLetters]) queue.down = true;
    await pushed(scene);
    for (let n = 0; n < 6; n++) {
      await match(scene);
      await turning(scene, runScheduled(scene.env, scene.clock.now, scene.doors)).catch(() => undefined);
      pass(scene, 600);
    }
    for (const queue of [scene.events, scene.deliveries, scene.deadLetters]) queue.down = false;
    await expectHeard(scene, { most: 1, failed: false }, 'an hour');
  });
});
