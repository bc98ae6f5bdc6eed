/** Expiry of events and deliveries. The newest event of each subject, unmatched events and pending deliveries are kept. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { expireEvents } from '../../src/events/history.ts';
import { expireDeliveries, removeEnded } from '../../src/webhooks/subscriptions.ts';
import { counting } from '../world/counting.ts';
import { recordAll } from '../world/record.ts';
import { newScene, pass, rowsOf, type Scene, subscribe } from '../world/webhooks.ts';

let scene: Scene;
const DAY = 24 * 3600;

beforeEach(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  scene = await newScene();
});

async function happen(about: string, type = 'tag.created'): Promise<void> {
  const by = { subject: 'user:admin' };
  await recordAll(scene.env, [{ about, by, select: `SELECT :type AS type, '{}' AS target`, parameters: { type } }]);
}

const eventIds = async () =>
  (await scene.env.DB.prepare('SELECT id FROM events ORDER BY id').all<{ id: number }>()).results.map(({ id }) => id);

describe('events', () => {
  const expire = (days: number, upTo = Number.MAX_SAFE_INTEGER, limit = 100) => expireEvents(scene.env, { days, upTo, limit });

  test('are deleted after their days, and not a second before', async () => {
    await happen('acme/api');
    pass(scene, DAY);
    await happen('acme/api');
    await happen('acme/api');
    pass(scene, 9 * DAY);
    await expire(10);
    expect(await eventIds()).toEqual([1, 2, 3]);
    pass(scene, 1);
    await expire(10);
    expect(await eventIds()).toEqual([2, 3]);
  });

  test('are kept if they are the newest of their subject, so that numbers continue and ids never repeat', async () => {
    for (const about of ['acme/api', 'acme/api', 'organization:acme', '', 'acme/api', '']) await happen(about);
    pass(scene, 100 * DAY);
    await expire(1);
    expect(await eventIds()).toEqual([3, 5, 6]);
    await happen('acme/api');
    await happen('');
    const { results } = await scene.env.DB.prepare('SELECT id, about, sequence FROM events ORDER BY id').all();
    expect(results).toEqual([
      { id: 3, about: 'organization:acme', sequence: 1 },
      { id: 5, about: 'acme/api', sequence: 3 },
      { id: 6, about: '', sequence: 2 },
      { id: 7, about: 'acme/api', sequence: 4 },
      { id: 8, about: '', sequence: 3 },
    ]);
  });

  describe('of very many subjects', () => {
    const COUNT = 30_000;
    const HOUR = 3600;

    beforeEach(async () => {
      const sql = `WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${COUNT})
        INSERT INTO events (id, at, type, about, sequence, target, actor)
        SELECT id, unixepoch(), 'tag.created', 'acme/' || id, 1, '{}', 'user:admin' FROM n`;
      await scene.env.DB.prepare(sql).run();
    });

    test('cost the same however many of them there are', async () => {
      pass(scene, 100 * DAY);
      const counted = counting(scene.env);
      await expireEvents(counted.env, { days: 1, upTo: Number.MAX_SAFE_INTEGER, limit: 100 });
      expect(counted.counts.rowsRead).toBeLessThan(35_000);
      expect(await eventIds()).toHaveLength(COUNT);
    });

    test('are deleted within some hours when a later event of their subject follows', async () => {
      for (const id of [1, COUNT / 2, COUNT]) await happen(`acme/${id}`);
      pass(scene, 100 * DAY);
      for (let hour = 0; hour < 7; hour++) {
        await expire(1);
        pass(scene, HOUR);
      }
      expect(await eventIds()).toHaveLength(COUNT);
      expect((await eventIds()).slice(-4)).toEqual([COUNT - 1, COUNT + 1, COUNT + 2, COUNT + 3]);
    });
  });

  test('that were not matched yet are kept, however old', async () => {
    for (let n = 0; n < 6; n++) await happen('acme/api');
    pass(scene, 100 * DAY);
    await expire(1, 3);
    expect(await eventIds()).toEqual([3, 4, 5, 6]);
    await expire(1, 0);
    expect(await eventIds()).toEqual([3, 4, 5, 6]);
  });

  test('are deleted in slices, oldest first', async () => {
    for (let n = 0; n < 6; n++) await happen('acme/api');
    pass(scene, 100 * DAY);
    await expire(1, 100, 2);
    expect(await eventIds()).toEqual([3, 4, 5, 6]);
  });

  test('are not touched if there are none', async () => {
    await expire(1);
    expect(await eventIds()).toEqual([]);
  });
});

describe('deliveries', () => {
  async function row(subscription: string, event: number, state: string, due = 0): Promise<void> {
    await scene.env.DB.prepare(
      `INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at)
       VALUES (?1, ?2, '{}', ?3, unixepoch(), unixepoch() + ?4)`,
    )
      .bind(subscription, event, state, due)
      .run();
  }
  const left = async () => (await rowsOf(scene)).map(({ event }) => event);

  test('that are finished are deleted after their days; pending ones stay, and those repeated since', async () => {
    const { id } = await subscribe(scene);
    const other = await subscribe(scene);
    for (let n = 0; n < 6; n++) await happen('acme/api');
    const [a, b, c, d] = (await eventIds()).slice(-6) as [number, number, number, number];
    await row(id, a, 'delivered');
    await row(id, b, 'failed');
    await row(id, c, 'waiting');
    await row(id, d, 'delivered', 3 * DAY);
    await row(other.id, a, 'delivered');
    pass(scene, 14 * DAY);
    await expireDeliveries(scene.env, 14, 100);
    expect(await left()).toHaveLength(5);
    pass(scene, 1);
    await happen('acme/api');
    await expireDeliveries(scene.env, 14, 100);
    expect(await left()).toEqual([c, d]);
    pass(scene, 3 * DAY);
    await expireDeliveries(scene.env, 14, 100);
    expect(await left()).toEqual([c]);
  });

  test('are deleted in slices', async () => {
    const { id } = await subscribe(scene);
    for (let n = 0; n < 6; n++) await happen('acme/api');
    for (const event of (await eventIds()).slice(-6)) await row(id, event, 'delivered');
    pass(scene, 20 * DAY);
    await expireDeliveries(scene.env, 14, 4);
    expect(await left()).toHaveLength(2);
    await expireDeliveries(scene.env, 14, 4);
    expect(await left()).toEqual([]);
  });

  test('are deleted even if their events are deleted sooner', async () => {
    const { id } = await subscribe(scene);
    await happen('acme/api');
    await row(id, 2, 'delivered');
    pass(scene, DAY);
    await happen('acme/api');
    pass(scene, 20 * DAY);
    await expireEvents(scene.env, { days: 1, upTo: 100, limit: 100 });
    expect(await eventIds()).not.toContain(2);
    await expireDeliveries(scene.env, 14, 100);
    expect(await left()).toEqual([]);
  });

  test('of an ended subscription are deleted with it, and pending ones only if a person deleted it', async () => {
    const [deleted, ended, alive] = [await subscribe(scene), await subscribe(scene), await subscribe(scene)];
    for (const { id } of [deleted, ended, alive]) {
      await row(id, 1, 'waiting');
      await row(id, 2, 'delivered');
    }
    await scene.env.DB.prepare('UPDATE subscriptions SET last_event = iif(id = ?1, 0, 7) WHERE id IN (?1, ?2)')
      .bind(deleted.id, ended.id)
      .run();
    const subscriptions = async () =>
      (await scene.env.DB.prepare('SELECT id FROM subscriptions').all<{ id: string }>()).results.map(({ id }) => id);
    await removeEnded(scene.env, 6, 100);
    expect((await subscriptions()).sort()).toEqual([ended.id, alive.id].sort());
    expect(await rowsOf(scene)).toHaveLength(4);
    await removeEnded(scene.env, 7, 100);
    expect((await rowsOf(scene)).map(({ subscription, state }) => [subscription, state]).sort()).toEqual(
      [
        [ended.id, 'waiting'],
        [alive.id, 'delivered'],
        [alive.id, 'waiting'],
      ].sort(),
    );
    await scene.env.DB.prepare("UPDATE deliveries SET state = 'failed' WHERE subscription = ?1").bind(ended.id).run();
    await removeEnded(scene.env, 7, 100);
    expect(await subscriptions()).toEqual([alive.id]);
    expect(await rowsOf(scene)).toHaveLength(2);
  });
});
