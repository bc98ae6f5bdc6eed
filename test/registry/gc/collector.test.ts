/** The collector deletes unneeded content. A client that was told that content exists does not lose it. */
import { beforeEach, describe, expect, test } from 'vitest';
import { faulty } from '../../world/faults.ts';
import {
  type Content,
  contentOf,
  INDEX_TYPE,
  imageIn,
  indexOf,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  textOf,
} from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { digestAt } from '../../world/reading.ts';
import { builtOnce, newWorld, type World, worldOf } from '../../world/world.ts';
import { collect, collectAll, count, daysPass, head, keys, slice, wrong } from './garbage.ts';

let world: World;
beforeEach(async () => {
  world = await newWorld();
});

const API = '/v2/acme/api';

describe('an unreferenced blob', () => {
  test('loses its link and its row once lease and grace period are over, and its bytes a grace period later', async () => {
    const blob = await pushBlob(world, 'acme/api', noise(500));
    expect(await collect(world)).toMatchObject({ links: 0, blobs: 0, objects: 0 });
    await daysPass(world, 2);
    expect(await collect(world)).toMatchObject({ links: 1, blobs: 1, bytes: 500, objects: 0, problems: [] });
    expect(await head(world, `${API}/blobs/${blob.digest}`)).toBe(404);
    expect(await keys(world)).toHaveLength(1);
    expect(await collect(world)).toMatchObject({ links: 0, blobs: 0, objects: 0 });
    await daysPass(world, 2);
    expect(await collect(world)).toMatchObject({ objects: 1 });
    expect(await keys(world)).toEqual([]);
    expect(await count(world, 'tombstones')).toBe(0);
  });

  test('is recorded in one event with its size', async () => {
    await pushBlob(world, 'acme/api', noise(500, 1));
    await pushBlob(world, 'acme/base', noise(300, 2));
    await daysPass(world, 2);
    await collect(world);
    const event = await world.env.DB.prepare("SELECT about, actor, target FROM events WHERE type = 'gc.collected'").all();
    expect(event.results).toEqual([{ about: '', actor: 'registry', target: '{"blobs":2,"bytes":800}' }]);
  });

  test('stays while it is younger than the grace period, whatever its link says', async () => {
    const { env } = world;
    const blob = await pushBlob(world, 'acme/api', noise(500));
    await env.DB.prepare('UPDATE repository_blobs SET leased_until = unixepoch() - 1').run();
    expect(await collect(world)).toMatchObject({ links: 1, blobs: 0 });
    expect(await count(world, 'blobs')).toBe(1);
    await env.DB.prepare('UPDATE blobs SET created_at = unixepoch() - 86399').run();
    expect(await collect(world)).toMatchObject({ blobs: 0 });
    await env.DB.prepare('UPDATE blobs SET created_at = unixepoch() - 86401').run();
    expect(await collect(world)).toMatchObject({ blobs: 1 });
    expect((await pushBlob(world, 'acme/api', blob.bytes)).digest).toBe(blob.digest);
  });
});

describe('a client that was told of a blob can put its manifest, even if the blob was old and unreferenced', () => {
  /** The requests after which a client may use a blob. The collector runs between the answer and the push of the manifest. */
  const asks: Record<string, (path: string, digest: string) => Promise<void>> = {
    'by HEAD': async (path, digest) => expect(await head(world, `${path}/blobs/${digest}`)).toBe(200),
    'by a mount': async (path, digest) => {
      const mounted = await world.fetch('POST', `${path}/blobs/uploads/?mount=${digest}&from=acme/base`);
      expect(mounted.status).toBe(201);
    },
  };

  test.each(Object.keys(asks))('%s', async (how) => {
    const image = await imageIn(world, 'acme/api', 1);
    await imageIn(world, 'acme/base', 1);
    await daysPass(world, 2);
    for (const layer of [`{"seed":1}`, noise(100, 1)]) await asks[how]?.(API, (await contentOf(layer)).digest);
    await collect(world);
    await daysPass(world, 0.9);
    await collect(world);
    expect((await putManifest(world, 'acme/api', 'v1', textOf(image))).status).toBe(201);
    expect(await wrong(world)).toEqual([]);
  });

  test('by the answer to its upload', async () => {
    const image = await imageIn(world, 'acme/api', 1);
    await daysPass(world, 2);
    await imageIn(world, 'acme/api', 1);
    await collect(world);
    expect((await putManifest(world, 'acme/api', 'v1', textOf(image))).status).toBe(201);
    expect(await wrong(world)).toEqual([]);
  });

  test('and one that asks in the middle of a slice gets a correct answer, at any point', { tags: 'slow' }, async () => {
    let image: Content;
    const start = builtOnce(async (made) => {
      world = made;
      image = await imageIn(world, 'acme/api', 1);
      await daysPass(world, 2);
    });
    const runs = await everyOrder(world, async () => {
      world = await start();
      const layer = (await contentOf(noise(100, 1))).digest;
      const config = (await contentOf(`{"seed":1}`)).digest;
      return {
        outer: async (through) => {
          await slice(through.env);
          return new Response();
        },
        inner: async (through) => {
          await through.fetch('HEAD', `${API}/blobs/${config}`);
          return through.fetch('HEAD', `${API}/blobs/${layer}`);
        },
        check: async (_, told) => {
          await collect(world);
          const put = await putManifest(world, 'acme/api', 'v1', textOf(image));
          expect(put.status).toBe(told.status === 200 ? 201 : 400);
          expect(await wrong(world)).toEqual([]);
        },
      };
    });
    expect(runs).toBeGreaterThan(8);
  });
});

test('a blob shared by two repositories stays until the second one does not need it, then its bytes are deleted', async () => {
  const first = await pushImage(world, 'acme/api', 'v1');
  const second = await pushImage(world, 'acme/base', 'v1');
  const pullable = async () => head(world, `/v2/acme/base/blobs/${(await contentOf(noise(100, 1))).digest}`);
  await world.fetch('DELETE', `${API}/manifests/${first.digest}`);
  await collectAll(world);
  expect(await count(world, 'repository_blobs')).toBe(2);
  expect(await pullable()).toBe(200);
  expect(await wrong(world)).toEqual([]);
  await world.fetch('DELETE', `/v2/acme/base/manifests/${second.digest}`);
  await collectAll(world);
  expect([await count(world, 'blobs'), await count(world, 'repository_blobs'), await keys(world)]).toEqual([0, 0, []]);
});

test('everything reachable from an index stays: children, nested indexes, referrers, with a tag or without', async () => {
  const children = [await pushImage(world, 'acme/api', null, 1), await pushImage(world, 'acme/api', null, 2)];
  const nested = await indexOf(children);
  await putManifest(world, 'acme/api', nested.digest, textOf(nested), INDEX_TYPE);
  const twice = await indexOf([nested], {}, INDEX_TYPE);
  await putManifest(world, 'acme/api', 'all', textOf(twice), INDEX_TYPE);
  const subject = { mediaType: INDEX_TYPE, digest: twice.digest, size: twice.bytes.byteLength };
  const referrer = await pushImage(world, 'acme/api', null, 3, { subject });
  await collectAll(world);
  expect(await count(world, 'blobs')).toBe(6);
  expect(await keys(world)).toHaveLength(6);
  for (const { digest } of [...children, nested, twice, referrer])
    expect(await digestAt(world, 'acme/api', digest)).toBe(digest);
  expect(await wrong(world)).toEqual([]);

  for (const { digest } of [twice, nested, ...children, referrer]) {
    expect((await world.fetch('DELETE', `${API}/manifests/${digest}`)).status).toBe(202);
  }
  await collectAll(world);
  expect([await count(world, 'blobs'), await keys(world)]).toEqual([0, []]);
  expect(await count(world, 'trashed_references')).toBe(0);
});

test('a blob that is pushed again while its old bytes are being deleted stays (ABA)', async () => {
  const blob = await pushBlob(world, 'acme/api', noise(500));
  await daysPass(world, 2);
  await collect(world);
  await daysPass(world, 2);
  let pushed = false;
  const bucket = new Proxy(world.env.BLOBS, {
    get(target, name) {
      if (name !== 'delete') return Reflect.get(target, name).bind(target);
      return async (all: string[]) => {
        await pushBlob(world, 'acme/api', blob.bytes);
        pushed = true;
        await target.delete(all);
      };
    },
  });
  expect(await collect(worldOf({ ...world.env, BLOBS: bucket }))).toMatchObject({ objects: 1 });
  expect(pushed).toBe(true);
  const pulled = await world.fetch('GET', `${API}/blobs/${blob.digest}`);
  expect([pulled.status, new Uint8Array(await pulled.arrayBuffer())]).toEqual([200, blob.bytes]);
  expect(await keys(world)).toHaveLength(1);
});

test('a blob that is pushed again between its selection and its tombstone stays', { tags: 'slow' }, async () => {
  const blob = await pushBlob(world, 'acme/api', noise(500));
  await daysPass(world, 2);
  let at = 0;
  let calls = 1;
  for (; at < calls; at++) {
    world = await newWorld();
    await pushBlob(world, 'acme/api', blob.bytes);
    await daysPass(world, 2);
    calls = 0;
    const DB = intercepted(world.env.DB, async (_, effect) => {
      if (calls++ === at) await pushBlob(world, 'acme/api', blob.bytes);
      return effect();
    });
    await slice({ ...world.env, DB });
    expect(await head(world, `${API}/blobs/${blob.digest}`), `before call ${at}`).toBe(200);
    await collect(world);
    expect(await wrong(world), `before call ${at}`).toEqual([]);
  }
  expect(at).toBeGreaterThan(8);
});

describe('old history', () => {
  const times = 'UPDATE tag_history SET at = unixepoch() - (?1 - point) * 86400 * 200';

  test('is deleted, except the newest point of each tag', async () => {
    for (const seed of [1, 2, 3, 4]) await pushImage(world, 'acme/api', 'v1', seed);
    await pushImage(world, 'acme/api', 'once', 5);
    await world.env.DB.prepare(times).bind(4).run();
    expect(await collect(world)).toMatchObject({ history: 2 });
    const { results } = await world.env.DB.prepare('SELECT tag, point FROM tag_history ORDER BY tag, point').all();
    expect(results).toEqual([
      { tag: 'once', point: 1 },
      { tag: 'v1', point: 3 },
      { tag: 'v1', point: 4 },
    ]);
    expect(await wrong(world)).toEqual([]);
  });

  test('of a deleted tag is deleted completely', async () => {
    await pushImage(world, 'acme/api', 'v1');
    await world.fetch('DELETE', `${API}/manifests/v1`);
    await world.env.DB.prepare('UPDATE tag_history SET at = 0').run();
    expect(await collect(world)).toMatchObject({ history: 2 });
    expect(await count(world, 'tag_history')).toBe(0);
    await pushImage(world, 'acme/api', 'v1');
    expect(await count(world, 'tag_history', 'point = 1')).toBe(1);
    expect(await wrong(world)).toEqual([]);
  });

  test('keeps the name of a tag that was deleted while immutable', async () => {
    await pushImage(world, 'acme/api', 'v1');
    await world.fetch('DELETE', `${API}/manifests/v1`);
    await world.env.DB.prepare('UPDATE tag_history SET reserved = digest IS NULL, at = 0').run();
    expect(await collect(world)).toMatchObject({ history: 1 });
    expect(await count(world, 'tag_history', 'reserved = 1')).toBe(1);
  });
});

test('the last check of a manifest is deleted once the manifest is gone, from the trash as well', async () => {
  const kept = await pushImage(world, 'acme/api', 'v1', 1);
  const trashed = await pushImage(world, 'acme/api', 'v2', 2);
  for (const tag of ['v1', 'v2']) await world.fetch('HEAD', `${API}/manifests/${tag}`);
  await world.env.DB.prepare("INSERT INTO manifest_checks SELECT id, 'sha256:gone', 1 FROM repositories").run();
  await world.fetch('DELETE', `${API}/manifests/${trashed.digest}`);
  expect(await collect(world)).toMatchObject({ pulls: 1 });
  const { results } = await world.env.DB.prepare('SELECT digest FROM manifest_checks').all<{ digest: string }>();
  expect(results.map(({ digest }) => digest).sort()).toEqual([kept.digest, trashed.digest].sort());
});

test('old pull counts are deleted, except the last one of an existing image', async () => {
  const { digest } = await pushImage(world, 'acme/api', 'v1');
  const id = await world.env.DB.prepare('SELECT id FROM repositories').first<number>('id');
  const today = Math.floor(Date.now() / 86_400_000);
  const insert = world.env.DB.prepare('INSERT INTO pulls (repository_id, digest, day, count) VALUES (?1, ?2, ?3, 1)');
  await world.env.DB.batch(
    [
      [digest, 300],
      [digest, 200],
      ['sha256:gone', 200],
      ['sha256:gone too', 20],
    ].map(([of, days]) => insert.bind(id, of, today - Number(days))),
  );
  expect(await collect(world)).toMatchObject({ pulls: 2 });
  const { results } = await world.env.DB.prepare('SELECT digest, ?1 - day AS days FROM pulls ORDER BY day').bind(today).all();
  expect(results).toEqual([
    { digest, days: 200 },
    { digest: 'sha256:gone too', days: 20 },
  ]);
});

describe('the trash', () => {
  const purged = async () =>
    (await world.env.DB.prepare("SELECT about, actor, target FROM events WHERE type = 'trash.purged' ORDER BY target").all())
      .results;

  test('is purged of a tag and a manifest after their days, not before', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const other = await pushImage(world, 'acme/api', 'v2', 2);
    await world.fetch('DELETE', `${API}/manifests/v2`);
    await world.fetch('DELETE', `${API}/manifests/${image.digest}`);
    await daysPass(world, 6.9);
    expect(await collect(world)).toMatchObject({ purged: 0, blobs: 0, links: 0 });
    expect(await wrong(world)).toEqual([]);
    await daysPass(world, 0.2);
    expect(await collect(world)).toMatchObject({ purged: 2, blobs: 2, links: 2, problems: [] });
    expect([
      await count(world, 'trash'),
      await count(world, 'trashed_manifests'),
      await count(world, 'trashed_references'),
    ]).toEqual([0, 0, 0]);
    expect(await purged()).toEqual([
      { about: 'acme/api', actor: 'registry', target: `{"kind":"manifest","name":"${image.digest}"}` },
      { about: 'acme/api', actor: 'registry', target: '{"kind":"tag","name":"v2"}' },
    ]);
    expect(await digestAt(world, 'acme/api', other.digest)).toBe(other.digest);
    expect(await wrong(world)).toEqual([]);
  });

  test('keeps the bytes it holds, even if a client deleted the blob, so that it can be restored', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const { digest } = await contentOf(noise(100, 1));
    await world.fetch('DELETE', `${API}/manifests/${image.digest}`);
    expect((await world.fetch('DELETE', `${API}/blobs/${digest}`)).status).toBe(202);
    await daysPass(world, 6);
    await collect(world);
    expect(await count(world, 'blobs')).toBe(2);
    expect(await head(world, `${API}/blobs/${digest}`)).toBe(404);
    const restored = await world.fetch('POST', `/api/v1/repositories/acme/api/-/trash/manifests/${image.digest}/restore`);
    expect(restored.status).toBeLessThan(300);
    await daysPass(world, 6);
    await collect(world);
    expect((await world.fetch('GET', `${API}/blobs/${digest}`)).status).toBe(200);
    expect(await wrong(world)).toEqual([]);
  });

  test('of zero days is purged by the next pass', async () => {
    world = await newWorld({ TRASH_DAYS: '0' });
    await pushImage(world, 'acme/api', 'v1');
    await world.fetch('DELETE', `${API}/manifests/v1`);
    expect(await count(world, 'trash')).toBe(1);
    expect(await collect(world)).toMatchObject({ purged: 1 });
  });

  test('stays if the registry deletes nothing', async () => {
    await pushImage(world, 'acme/api', 'v1');
    await world.fetch('DELETE', `${API}/manifests/v1`);
    await daysPass(world, 100);
    world.env.DELETION = 'off';
    expect(await collect(worldOf({ ...world.env }))).toMatchObject({ purged: 0 });
    expect(await count(world, 'trash')).toBe(1);
  });

  test('leaves the object of a large manifest to the tombstones', async () => {
    const large = await pushImage(world, 'acme/api', null, 1, { annotations: { text: 'x'.repeat(200_000) } });
    await world.fetch('DELETE', `${API}/manifests/${large.digest}`);
    await daysPass(world, 8);
    await collect(world);
    expect(await keys(world, 'manifests/')).toHaveLength(1);
    await daysPass(world, 2);
    await collect(world);
    expect(await keys(world)).toEqual([]);
  });

  test('is purged of a deleted repository with all its content and its policy; a new one of its name stays', async () => {
    for (const seed of [1, 2])
      await pushImage(world, 'acme/api', `v${seed}`, seed, { annotations: { text: 'x'.repeat(200_000) } });
    await world.fetch('DELETE', `${API}/manifests/v2`);
    await world.fetch('DELETE', '/api/v1/repositories/acme/api?force=true');
    await daysPass(world, 3);
    const again = await pushImage(world, 'acme/api', 'v1', 3);
    await daysPass(world, 5);
    await collectAll(world);
    const left = ['tags', 'manifests', 'repositories', 'trash', 'trashed_manifests', 'repository_pages', 'blobs', 'policies'];
    const counts = await Promise.all(
      left.map((table) => count(world, table, table === 'policies' ? "subject LIKE 'trash:%'" : 'TRUE')),
    );
    expect(counts).toEqual([1, 1, 1, 0, 0, 0, 2, 0]);
    expect(await count(world, 'manifest_references')).toBe(2);
    expect(await keys(world)).toHaveLength(2);
    expect(await digestAt(world, 'acme/api', 'v1')).toBe(again.digest);
    // Both expired together. Another repository has the name of one of them now, and is not affected.
    expect(await purged()).toEqual([
      { about: 'organization:acme', actor: 'registry', target: '{"kind":"repository","name":"","repository":"acme/api"}' },
      { about: 'organization:acme', actor: 'registry', target: '{"kind":"tag","name":"v2","repository":"acme/api"}' },
    ]);
    expect(await wrong(world)).toEqual([]);
  });
});

test('the deletions of a slice that was cut off are in the report of its pass', async () => {
  await world.env.DB.prepare(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
     INSERT INTO repository_blobs (repository_id, digest, leased_until) SELECT 1, 'sha256:' || printf('%064d', i), 0 FROM n`,
  ).run();
  // The collector stops after its first deletion without an error.
  const { env, stopped } = faulty(world.env, 'stop-after', 4);
  await Promise.race([slice(env), stopped]);
  const left = await count(world, 'repository_blobs');
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThan(250);
  expect(await collect(world)).toMatchObject({ links: 250 });
});
