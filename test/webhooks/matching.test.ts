/** Matching of events: each event becomes one delivery for every matching subscription, even if it is matched several times. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { factsOf } from '../../src/app/deliveries.ts';
import { runScheduled } from '../../src/cron.ts';
import type { Env } from '../../src/env.ts';
import { newBatch } from '../../src/events/batch.ts';
import { recordEvent } from '../../src/events/outbox.ts';
import { matchEvents } from '../../src/webhooks/delivery/matching.ts';
import { deleteSubscription, endSubscriptions } from '../../src/webhooks/subscriptions.ts';
import { pushImage } from '../world/images.ts';
import { intercepted } from '../world/intercept.ts';
import { limited } from '../world/limits.ts';
import { recordAll } from '../world/record.ts';
import {
  drain,
  match,
  newScene,
  pass,
  rowsOf,
  type Scene,
  statesOf,
  subscribe,
  turning,
  untilQuiet,
} from '../world/webhooks.ts';

let scene: Scene;
const by = { subject: 'user:admin' };

beforeEach(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  scene = await newScene();
});

const cron = () => turning(scene, runScheduled(scene.env, scene.clock.now, scene.doors));

/** Records an event of one type about one subject for each target. */
async function happen(about: string, targets: object[], type = 'tag.created', env: Env = scene.env): Promise<void> {
  for (let from = 0; from < targets.length; from += 50) {
    const sources = targets.slice(from, from + 50).map((target) => ({
      ...{ about, by, select: 'SELECT :type AS type, :target AS target' },
      parameters: { type, target: JSON.stringify(target) },
    }));
    await recordAll(env, sources);
  }
}

const tags = (count: number, prefix = 'v') => Array.from({ length: count }, (_, n) => ({ tag: `${prefix}${n}` }));

/** The tags in the deliveries of a subscription, in order. */
async function toldTo(id: string): Promise<unknown[]> {
  const rows = (await rowsOf(scene)).filter(({ subscription }) => subscription === id);
  return rows.map(({ event_data }) => (JSON.parse(event_data) as { event: { target: { tag: string } } }).event.target.tag);
}

const only = { filter: { types: ['tag.created' as const] } };

test("a failed check of a webhook's owner is made again before the next event is delivered", async () => {
  await subscribe(scene, only);
  const standing = vi.fn().mockRejectedValueOnce(new Error('the database failed')).mockResolvedValue([false]);
  const matched = () => matchEvents(scene.env, (names) => factsOf(scene.env, names), 4, { standing, now: scene.clock.now });
  await happen('acme/api', tags(1));
  await expect(matched()).rejects.toThrow('the database failed');
  await matched();
  expect(standing).toHaveBeenCalledTimes(2);
  expect(await rowsOf(scene)).toEqual([]);
});

describe('each event', () => {
  test('creates a row and a message for each matching subscription', async () => {
    const [all, organization, repository, other] = await Promise.all([
      subscribe(scene, only),
      subscribe(scene, { ...only, scope: 'organization:acme' }),
      subscribe(scene, { ...only, scope: 'repository:acme/api' }),
      subscribe(scene, { ...only, scope: 'repository:acme/other' }),
    ]);
    await happen('acme/api', tags(2));
    await happen('zeta/api', tags(1, 'z'));
    expect(await match(scene)).toBe(true);
    expect(await toldTo(all.id)).toEqual(['v0', 'v1', 'z0']);
    expect(await toldTo(organization.id)).toEqual(['v0', 'v1']);
    expect(await toldTo(repository.id)).toEqual(['v0', 'v1']);
    expect(await toldTo(other.id)).toEqual([]);
    expect(scene.deliveries.held).toHaveLength(7);
  });

  test('is matched once by sixteen concurrent consumers', { tags: 'slow' }, async () => {
    const { id } = await subscribe(scene, only);
    await happen('acme/api', tags(250));
    await Promise.all(Array.from({ length: 16 }, () => match(scene)));
    while (!(await match(scene)));
    expect(await toldTo(id)).toEqual(tags(250).map(({ tag }) => tag));
    expect(scene.deliveries.held).toHaveLength(250);
    expect(await statesOf(scene)).toEqual(Array(250).fill('waiting'));
  });

  test('is matched once, at whatever point another consumer runs', async () => {
    for (let at = 0; at < 5; at++) {
      scene = await newScene();
      const { id } = await subscribe(scene, only);
      await happen('acme/api', tags(3));
      let calls = 0;
      const DB = intercepted(scene.env.DB, async (_, effect) => {
        if (calls++ === at) await match(scene);
        return effect();
      });
      await match({ env: { ...scene.env, DB } });
      expect(await toldTo(id)).toEqual(['v0', 'v1', 'v2']);
      expect(scene.deliveries.held, `before call ${at + 1} of ${calls}`).toHaveLength(3);
    }
  });

  test('is matched after hundreds of others, in slices that report what is left', async () => {
    const { id } = await subscribe(scene, only);
    await happen('acme/api', tags(450));
    expect(await match(scene)).toBe(false);
    // The first event is the creation of the subscription itself.
    expect((await rowsOf(scene)).length).toBe(399);
    expect(await match(scene)).toBe(true);
    expect(await toldTo(id)).toHaveLength(450);
  });

  test('with many subscriptions is one slice by itself', async () => {
    for (let n = 0; n < 12; n++) await subscribe(scene, only);
    await happen('acme/api', tags(100));
    while (!(await match(scene)));
    expect(await rowsOf(scene)).toHaveLength(1200);
    expect(scene.deliveries.held).toHaveLength(1200);
  });

  test('of maximum size does not block others, although bound values are limited to 2 MB', async () => {
    for (let n = 0; n < 9; n++) await subscribe(scene, { filter: { types: ['policy.saved'] } });
    const statements = 'x'.repeat(450_000);
    await happen(
      'acme/api',
      Array.from({ length: 6 }, (_, n) => ({ statements: `${n}${statements}` })),
      'policy.saved',
    );
    await happen('acme/api', tags(1));
    const env = limited(scene.env);
    for (let n = 0; n < 20 && !(await matchEvents(env, (names) => factsOf(env, names), 4)); n++);
    expect(await rowsOf(scene)).toHaveLength(54);
    expect(await match(scene)).toBe(true);
  });

  test('without a subscription moves the cursor, and costs no row', async () => {
    await happen('acme/api', tags(5));
    expect(await match(scene)).toBe(true);
    expect(await rowsOf(scene)).toEqual([]);
    expect(scene.deliveries.held).toEqual([]);
    expect(await scene.env.DB.prepare('SELECT event FROM match_cursor').first('event')).toBe(5);
  });
});

test("has the repository's facts that its format needs, even if other formats do not", async () => {
  const [harbor, native] = [await subscribe(scene, { ...only, format: 'harbor' }), await subscribe(scene, only)];
  await pushImage(scene.world, 'acme/api', 'v1');
  await happen('acme/gone', tags(1));
  await match(scene);
  const facts = (await rowsOf(scene)).map(({ subscription, event_data }) => [
    subscription,
    (JSON.parse(event_data) as { facts: unknown }).facts,
  ]);
  expect(facts.filter(([id]) => id === harbor.id).map(([, one]) => one)).toEqual([
    { description: '', createdAt: expect.any(Number), isPublic: false },
    null,
  ]);
  expect(facts.filter(([id]) => id === native.id).map(([, one]) => one)).toEqual([null, null]);
});

describe('the first and the last event of a subscription', () => {
  test('events before it was created are not delivered, even if they are matched later', async () => {
    await happen('acme/api', tags(2, 'before'));
    const { id } = await subscribe(scene);
    await happen('acme/api', tags(1, 'after'));
    await match(scene);
    expect(await toldTo(id)).toEqual(['after0']);
  });

  test('its own creation is not delivered to it, but to others', async () => {
    const first = await subscribe(scene);
    const second = await subscribe(scene);
    await match(scene);
    const told = (await rowsOf(scene)).map(({ subscription }) => subscription);
    expect(told).toEqual([first.id]);
    expect(second.firstEvent).toBeGreaterThan(first.firstEvent);
  });

  /** Records the deletion of a repository or an organization, and ends the subscriptions of its scope. */
  async function goes(about: string, scope: string): Promise<void> {
    const batch = newBatch(scene.env);
    recordEvent(batch, { about, by, select: `SELECT 'repository.deleted' AS type, '{}' AS target` });
    endSubscriptions(batch, scope);
    await batch.commit();
  }

  test('the deletion of its repository is the last event, and then it is removed', async () => {
    const { id } = await subscribe(scene, { scope: 'repository:acme/api' });
    await happen('acme/api', tags(1));
    await goes('acme/api', 'repository:acme/api');
    await happen('acme/api', tags(3, 'again'));
    await subscribe(scene, { scope: 'repository:acme/api', url: 'https://next.example.com/' });
    await happen('acme/api', tags(1, 'next'));
    await untilQuiet(scene, cron);
    const told = scene.sink.posts.map(({ url, body }) => {
      const { type, data } = JSON.parse(body) as { type: string; data: { tag?: string } };
      return `${new URL(url).hostname} ${type} ${data.tag ?? ''}`.trim();
    });
    expect(told.sort()).toEqual([
      'hooks.example.com berth.image.tag.created v0',
      'hooks.example.com berth.repository.deleted',
      'next.example.com berth.image.tag.created next0',
    ]);
    pass(scene, 3600);
    for (let run = 0; run < 6; run++, pass(scene, 600)) await cron();
    const { results } = await scene.env.DB.prepare('SELECT id FROM subscriptions').all<{ id: string }>();
    expect(results.map((row) => row.id)).not.toContain(id);
    expect(results).toHaveLength(1);
    expect((await rowsOf(scene)).map(({ subscription }) => subscription)).not.toContain(id);
  });

  test('it is not removed before its last event was matched, or while that is pending', async () => {
    await subscribe(scene, { scope: 'repository:acme/api' });
    await goes('acme/api', 'repository:acme/api');
    const count = () => scene.env.DB.prepare('SELECT count(*) AS n FROM subscriptions').first('n');
    const hourly = async () => {
      const hour = Math.floor(scene.clock.now / 3_600_000) * 3_600_000;
      for (let run = 0; run < 6; run++) await runScheduled(scene.env, hour + run * 600_000, scene.doors);
    };
    await hourly();
    expect(await count()).toBe(1);
    await match(scene);
    await hourly();
    expect(await count()).toBe(1);
    await drain(scene);
    await hourly();
    expect(await count()).toBe(0);
  });

  test('a deleted one gets nothing more, not even earlier events', async () => {
    const subscription = await subscribe(scene, only);
    await happen('acme/api', tags(3));
    await deleteSubscription(scene.env, subscription, { ifVersion: null, by });
    await match(scene);
    expect(await rowsOf(scene)).toEqual([]);
  });

  test('one that is removed between reading and writing leaves no orphaned row', async () => {
    const subscription = await subscribe(scene, only);
    await happen('acme/api', tags(3));
    const DB = intercepted(scene.env.DB, async (name, effect) => {
      if (name === 'DB.batch') await scene.env.DB.prepare('DELETE FROM subscriptions WHERE id = ?').bind(subscription.id).run();
      return effect();
    });
    await match({ env: { ...scene.env, DB } });
    expect(await rowsOf(scene)).toEqual([]);
    expect(await match(scene)).toBe(true);
  });
});

test('one with an unknown format does not block the others', async () => {
  const [odd, good] = [await subscribe(scene, only), await subscribe(scene, only)];
  await scene.env.DB.prepare("UPDATE subscriptions SET format = 'pigeon' WHERE id = ?").bind(odd.id).run();
  await happen('acme/api', tags(2));
  await untilQuiet(scene, cron);
  expect(await toldTo(good.id)).toEqual(['v0', 'v1']);
  expect(scene.sink.acknowledged).toHaveLength(2);
});

describe('a large event', () => {
  const long = { subject: 'user:alice', note: '€'.repeat(4000) };

  test('is stored once, and reaches each subscription in full', async () => {
    for (let n = 0; n < 30; n++) await subscribe(scene, { filter: { types: ['user.changed'] } });
    await happen('', [long], 'user.changed');
    await match(scene);
    const stored = (await rowsOf(scene)).map(({ event_data }) => event_data.length);
    expect(stored).toHaveLength(30);
    expect(Math.max(...stored)).toBeLessThan(1500);
    await untilQuiet(scene, cron);
    expect(scene.sink.acknowledged).toHaveLength(30);
    expect(scene.sink.posts.map(({ body }) => JSON.parse(body).data.target)).toEqual(Array(30).fill(long));
  });

  test('that is no longer stored is not sent, and the delivery says so', async () => {
    const { id } = await subscribe(scene, { filter: { types: ['user.changed'] } });
    await happen('', [long, long], 'user.changed');
    await match(scene);
    const [first] = await rowsOf(scene);
    await scene.env.DB.prepare('DELETE FROM events WHERE id = ?1').bind(first?.event).run();
    await untilQuiet(scene, cron);
    expect(await statesOf(scene)).toEqual(['failed', 'delivered']);
    const [gone] = await rowsOf(scene);
    expect(gone?.subscription).toBe(id);
  });
});

describe("an owner's daily limit", () => {
  test('allows a number of deliveries: further ones are dropped, reported once, and others are not affected', async () => {
    scene = await newScene({ OWNER_DELIVERIES: '30' });
    const [own, other, all] = [
      await subscribe(scene, { ...only, scope: 'organization:acme' }),
      await subscribe(scene, { ...only, scope: 'organization:zeta' }),
      await subscribe(scene, only),
    ];
    await happen('acme/api', tags(25));
    await match(scene);
    await happen('acme/web', tags(25, 'w'));
    await happen('zeta/api', tags(25, 'z'));
    await happen('acme/web', tags(5, 'x'));
    await untilQuiet(scene, cron);
    expect(await toldTo(own.id)).toHaveLength(30);
    expect(await toldTo(other.id)).toHaveLength(25);
    expect(await toldTo(all.id)).toHaveLength(80);
    const { results } = await scene.env.DB.prepare("SELECT about, target FROM events WHERE type = 'webhook.throttled'").all<{
      about: string;
      target: string;
    }>();
    expect(results.map(({ about, target }) => [about, JSON.parse(target)])).toEqual([
      ['acme/web', { id: own.id, owner: 'acme', maxDeliveries: 30 }],
    ]);
    pass(scene, 24 * 60 * 60);
    await happen('acme/api', tags(3, 'tomorrow'));
    await untilQuiet(scene, cron);
    expect(await toldTo(own.id)).toHaveLength(33);
  });

  test('is reported once for each owner and day, whatever the events are about and however close the days are', async () => {
    scene = await newScene({ OWNER_DELIVERIES: '5' });
    await subscribe(scene, { ...only, scope: 'organization:acme' });
    const reported = () =>
      scene.env.DB.prepare("SELECT count(*) AS n FROM events WHERE type = 'webhook.throttled'").first<number>('n');
    pass(scene, 47 * 60 * 60 - (scene.clock.seconds % (24 * 60 * 60)));
    for (const name of ['api', 'web', 'api', 'ui']) {
      await happen(`acme/${name}`, tags(4, name));
      await match(scene);
    }
    expect(await reported()).toBe(1);
    pass(scene, 2 * 60 * 60);
    await happen('acme/api', tags(6, 'next'));
    await match(scene);
    expect(await reported()).toBe(2);
  });
});
