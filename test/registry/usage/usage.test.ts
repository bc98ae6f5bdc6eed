/** The usage of namespaces. One statement counts all of them, and another one of them. Both agree with the test's own count. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { collectSlice } from '../../../src/registry/gc/collector.ts';
import { holdingsOf } from '../../../src/registry/usage/holdings.ts';
import { recountSums } from '../../../src/registry/usage/sums.ts';
import { recountUsage } from '../../../src/registry/usage/usage.ts';
import { sumsAreRight } from '../../world/checker.ts';
import {
  CONFIG_TYPE,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  LAYER_TYPE,
  noise,
  pushBlob,
  pushImage,
  putManifest,
} from '../../world/images.ts';
import { makeOrganization } from '../../world/organizations.ts';
import { api } from '../../world/people.ts';
import { newWorld, type World } from '../../world/world.ts';

interface Stored {
  bytes: number;
  blobs: number;
}

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

async function rows<T>(sql: string): Promise<T[]> {
  return (await world.env.DB.prepare(sql).all<T>()).results;
}

/** The table `usage` after all namespaces were counted again. */
async function recounted(): Promise<Record<string, Stored>> {
  await recountUsage(world.env);
  const counted = await rows<Stored & { namespace: string }>('SELECT namespace, bytes, blobs FROM usage ORDER BY namespace');
  return Object.fromEntries(counted.map(({ namespace, bytes, blobs }) => [namespace, { bytes, blobs }]));
}

const namespaceOf = (name: string) => (name.includes('/') ? (name.split('/', 1)[0] as string) : '');

/** The usage of all namespaces, counted by the test row by row. `trashed` is the content that only the trash holds. */
async function countedByHand(): Promise<Record<string, Stored & { trashed: number }>> {
  const repositories = await rows<{ id: number; name: string; trashed: number }>(
    `SELECT id, name, 0 AS trashed FROM repositories
     UNION ALL SELECT repository_id, repository, 1 FROM trash WHERE kind = 'repository'`,
  );
  const links = await rows<{ id: number; digest: string }>('SELECT repository_id AS id, digest FROM repository_blobs');
  const named = await rows<{ id: number; digest: string }>(
    'SELECT repository_id AS id, child AS digest FROM trashed_references',
  );
  const needed = await rows<{ id: number; digest: string }>(
    'SELECT repository_id AS id, child AS digest FROM manifest_references',
  );
  const manifests = await rows<{ id: number; size: number; trashed: number }>(
    `SELECT repository_id AS id, size, 0 AS trashed FROM manifests UNION ALL SELECT repository_id, size, 1 FROM trashed_manifests`,
  );
  const sizes = new Map(
    (await rows<{ digest: string; size: number }>('SELECT digest, size FROM blobs')).map((row) => [row.digest, row.size]),
  );
  const result: Record<string, Stored & { trashed: number }> = {};
  for (const namespace of new Set(['', ...repositories.map(({ name }) => namespaceOf(name))])) {
    const own = new Map(repositories.filter(({ name }) => namespaceOf(name) === namespace).map((one) => [one.id, one]));
    const held = new Map<string, boolean>();
    for (const { id, digest } of [...links, ...named].filter((one) => own.has(one.id) && sizes.has(one.digest))) {
      const isIn = (list: { id: number; digest: string }[]) => list.some((one) => one.id === id && one.digest === digest);
      const lives = own.get(id)?.trashed === 0 && isIn(links) && (isIn(needed) || !isIn(named));
      held.set(digest, held.get(digest) || lives);
    }
    const mine = manifests.filter(({ id }) => own.has(id));
    const sum = (numbers: number[]) => numbers.reduce((total, one) => total + one, 0);
    const blobBytes = (digests: [string, boolean][]) => sum(digests.map(([digest]) => sizes.get(digest) ?? 0));
    result[namespace] = {
      bytes: blobBytes([...held]) + sum(mine.map(({ size }) => size)),
      blobs: held.size,
      trashed:
        blobBytes([...held].filter(([, lives]) => !lives)) +
        sum(mine.filter(({ id, trashed }) => trashed || own.get(id)?.trashed).map(({ size }) => size)),
    };
  }
  return result;
}

/** Deletes a repository: its row is deleted, and an entry in the trash keeps its id and name. */
async function trashRepository(name: string): Promise<void> {
  const { DB } = world.env;
  await DB.batch([
    DB.prepare(
      `INSERT INTO trash (repository_id, kind, name, repository, actor, deleted_at)
       SELECT id, 'repository', '', name, 'user:admin', unixepoch() FROM repositories WHERE name = ?1`,
    ).bind(name),
    DB.prepare('DELETE FROM repositories WHERE name = ?1').bind(name),
  ]);
}

describe('usage includes', () => {
  test('each blob once in a namespace, and once in each namespace that has it', async () => {
    for (const repository of ['acme/api', 'acme/base', 'acme/deep/er', 'other/api', 'plain']) {
      await pushBlob(world, repository, noise(1000));
    }
    await pushBlob(world, 'acme/base', noise(300, 2));
    expect(await recounted()).toEqual({
      '': { bytes: 1000, blobs: 1 },
      acme: { bytes: 1300, blobs: 2 },
      other: { bytes: 1000, blobs: 1 },
    });
  });

  test('each manifest of each repository, with its blobs', async () => {
    const first = await pushImage(world, 'acme/api', 'v1', 1);
    await pushImage(world, 'acme/base', 'v1', 1);
    const config = '{"seed":1}'.length;
    expect((await recounted()).acme).toEqual({ bytes: 2 * first.bytes.byteLength + config + 100, blobs: 2 });
  });

  test('the trash: repositories, and manifests with what they need', async () => {
    const image = await pushImage(world, 'acme/api', 'v1', 1);
    await pushBlob(world, 'acme/old', noise(700, 2));
    const before = await recounted();
    expect((await world.fetch('DELETE', `/v2/acme/api/manifests/${image.digest}`)).status).toBe(202);
    await trashRepository('acme/old');
    expect(await recounted()).toEqual(before);
    await pushImage(world, 'acme/api', 'v1', 1);
    expect((await recounted()).acme?.bytes, 'the document is there twice').toBe(
      (before.acme?.bytes ?? 0) + image.bytes.byteLength,
    );
  });

  test('as trash only what no existing manifest needs', async () => {
    const shared = await pushBlob(world, 'acme/api', noise(700, 7));
    const config = await pushBlob(world, 'acme/api', '{}');
    const put = async (tag: string, own: number) => {
      const layers = [shared, await pushBlob(world, 'acme/api', noise(own, own))];
      const document = {
        schemaVersion: 2,
        mediaType: IMAGE_TYPE,
        config: descriptorOf(config, CONFIG_TYPE),
        layers: layers.map((layer) => descriptorOf(layer, LAYER_TYPE)),
      };
      expect((await putManifest(world, 'acme/api', tag, document)).status).toBe(201);
      return contentOf(JSON.stringify(document));
    };
    const [first] = [await put('v1', 50), await put('v2', 60)];
    expect((await holdingsOf(world.env, 'acme')).trash.bytes).toBe(0);
    expect((await world.fetch('DELETE', `/v2/acme/api/manifests/${first.digest}`)).status).toBe(202);
    expect((await holdingsOf(world.env, 'acme')).trash.bytes).toBe(50 + first.bytes.byteLength);
  });

  test('nothing of names that only begin alike', async () => {
    for (const repository of ['acme-x/a', 'acme.x/a', 'acme_x/a', 'acmee/a', 'acme', 'x/acme/a']) {
      await pushBlob(world, repository, noise(10));
    }
    expect((await holdingsOf(world.env, 'acme')).bytes).toBe(0);
    expect((await recounted()).acme).toBeUndefined();
  });

  test('nothing once everything is deleted', async () => {
    await pushBlob(world, 'acme/api', noise(10));
    expect((await recounted()).acme).toEqual({ bytes: 10, blobs: 1 });
    await world.env.DB.batch(['repository_blobs', 'repositories'].map((table) => world.env.DB.prepare(`DELETE FROM ${table}`)));
    expect((await recounted()).acme).toEqual({ bytes: 0, blobs: 0 });
  });
});

describe('counting again', () => {
  test('writes the rows that differ, and the one with the time', async () => {
    for (let n = 0; n < 5; n++) await pushBlob(world, `acme${n}/api`, noise(10));
    await world.env.DB.prepare("INSERT INTO usage (namespace, bytes, blobs) VALUES ('acme0', 10, 1)").run();
    const written = async () => {
      const before = await rows<{ namespace: string }>('SELECT * FROM usage');
      await world.env.DB.prepare('UPDATE usage SET counted_at = 7').run();
      await recountUsage(world.env);
      const after = await rows<{ namespace: string; counted_at: number }>('SELECT * FROM usage');
      const known = before.map(({ namespace }) => namespace);
      return after
        .filter(({ namespace, counted_at }) => counted_at !== 7 || !known.includes(namespace))
        .map((row) => row.namespace);
    };
    expect(await written()).toEqual(['', 'acme1', 'acme2', 'acme3', 'acme4']);
    expect(await written()).toEqual(['']);
    await pushBlob(world, 'acme2/api', noise(20, 2));
    expect(await written()).toEqual(['', 'acme2']);
  });

  test('keeps limits, and clears a warning that does not apply any more', async () => {
    await makeOrganization(world, 'acme');
    await pushBlob(world, 'acme/api', noise(100));
    await world.env.DB.prepare(
      `INSERT INTO usage (namespace, max_bytes, warn_percent, warned, version) VALUES ('acme', 200, 50, 1, 4), ('other', 200, 50, 1, 4),
         ('free', NULL, 50, 1, 4)`,
    ).run();
    await recountUsage(world.env);
    expect(await rows('SELECT namespace, bytes, max_bytes, warn_percent, warned, version FROM usage')).toEqual([
      { namespace: '', bytes: 0, max_bytes: null, warn_percent: 80, warned: 0, version: 1 },
      { namespace: 'acme', bytes: 100, max_bytes: 200, warn_percent: 50, warned: 1, version: 4 },
      { namespace: 'free', bytes: 0, max_bytes: null, warn_percent: 50, warned: 0, version: 4 },
      { namespace: 'other', bytes: 0, max_bytes: 200, warn_percent: 50, warned: 0, version: 4 },
    ]);
  });

  test('reads in proportion to the data: a few rows for each link', async () => {
    const { DB } = world.env;
    await pushBlob(world, 'acme/api', noise(10));
    const fill = (from: number, to: number) =>
      DB.batch(
        [
          `INSERT INTO repositories (name, created_at) SELECT 'org' || (value % 50) || '/r' || value, 0 FROM n WHERE value % 10 = 0`,
          `INSERT INTO blobs (digest, size, object_key, created_at) SELECT 'sha256:' || value, 10, 'k' || value, 0 FROM n`,
          `INSERT INTO repository_blobs (digest, repository_id, leased_until) SELECT 'sha256:' || n.value, r.id, 0
             FROM n JOIN repositories r ON r.id % 100 = n.value % 100`,
        ].map((sql) =>
          DB.prepare(
            sql.replace(
              'SELECT',
              `WITH RECURSIVE n(value) AS (SELECT ${from} UNION ALL SELECT value + 1 FROM n WHERE value < ${to}) SELECT`,
            ),
          ),
        ),
      );
    await fill(1, 2000);
    const links = (await rows<{ n: number }>('SELECT count(*) AS n FROM repository_blobs'))[0]?.n ?? 0;
    const read = async () => {
      let total = 0;
      const prepare = (sql: string) => ({
        run: async () => {
          total += (await DB.prepare(sql).all()).meta.rows_read;
        },
      });
      await recountUsage({ ...world.env, DB: { prepare } as unknown as D1Database });
      return total;
    };
    expect(links).toBeGreaterThan(3000);
    expect(await read()).toBeLessThanOrEqual(6 * links);
  });
});

describe('after any sequence of changes', () => {
  const REPOSITORIES = ['acme/a', 'acme/b', 'acme-x/a', 'other/a', 'plain'];
  const step = fc.record({
    kind: fc.constantFrom(
      'blob',
      'mount',
      'image',
      'index',
      'delete tag',
      'delete manifest',
      'delete blob',
      'trash repository',
      'restore tag',
      'restore or purge manifest',
      'collect',
    ),
    repository: fc.oneof(fc.constant('acme/a'), fc.constantFrom(...REPOSITORIES)),
    other: fc.constantFrom(...REPOSITORIES),
    seed: fc.integer({ min: 1, max: 4 }),
  });
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

  async function take({ kind, repository, other, seed }: Step): Promise<void> {
    const blob = await contentOf(noise(seed * 100, seed));
    const path = `/v2/${repository}`;
    if (kind === 'blob') await pushBlob(world, repository, blob.bytes);
    if (kind === 'mount') await world.fetch('POST', `${path}/blobs/uploads/?mount=${blob.digest}&from=${other}`);
    if (kind === 'delete blob') await world.fetch('DELETE', `${path}/blobs/${blob.digest}`);
    if (kind === 'delete tag') await world.fetch('DELETE', `${path}/manifests/v${seed}`);
    if (kind === 'trash repository') await trashRepository(repository);
    if (kind === 'image') await image(repository, seed);
    if (kind === 'restore tag') await api(world, 'POST', `/repositories/${repository}/-/trash/tags/v${seed}/restore`);
    if (kind === 'restore or purge manifest') await restoreOrPurge(repository, seed);
    if (kind === 'collect') await collect();
    if (kind === 'delete manifest') {
      const head = await world.fetch('HEAD', `${path}/manifests/v${seed}`);
      const digest = head.headers.get('docker-content-digest');
      if (digest) await world.fetch('DELETE', `${path}/manifests/${digest}`);
    }
  }

  async function restoreOrPurge(repository: string, seed: number): Promise<void> {
    const path = `/repositories/${repository}/-/trash`;
    const { items = [] } = (await api<{ items?: { name: string; kind: string }[] }>(world, 'GET', path)).body;
    const entry = items.filter(({ kind }) => kind === 'manifest')[seed % 2];
    if (!entry) return;
    if (seed > 2) await api(world, 'POST', `${path}/manifests/${entry.name}/restore`);
    else await api(world, 'DELETE', `${path}/manifests/${entry.name}`);
  }

  /** Runs a slice of the collector on a day on which all content is old. */
  async function collect(): Promise<void> {
    await world.env.DB.prepare('UPDATE repository_blobs SET leased_until = 0').run();
    await world.env.DB.prepare('UPDATE trash SET deleted_at = deleted_at - 4 * 86400').run();
    // The final count of all namespaces is left out, because it would repair wrong numbers.
    const prepare = (sql: string) => world.env.DB.prepare(/INSERT INTO (?:repository_)?usage/.test(sql) ? 'SELECT 1' : sql);
    const DB = { prepare, batch: world.env.DB.batch.bind(world.env.DB) } as unknown as D1Database;
    for (let n = 0; n < 5; n++) {
      if ((await collectSlice({ ...world.env, DB }, () => {})).ended) return;
    }
  }

  /** Pushes an image. Its layers are blobs that are also pushed without an image. */
  async function image(repository: string, seed: number): Promise<void> {
    const config = await pushBlob(world, repository, `{"seed":${seed}}`);
    const layers = await Promise.all([seed, (seed % 4) + 1].map((n) => pushBlob(world, repository, noise(n * 100, n))));
    const document = {
      schemaVersion: 2,
      mediaType: IMAGE_TYPE,
      config: descriptorOf(config, CONFIG_TYPE),
      layers: layers.map((layer) => descriptorOf(layer, LAYER_TYPE)),
    };
    expect((await putManifest(world, repository, `v${seed}`, document)).status).toBe(201);
  }

  test('the counts for all, for one, by each push, and by hand are equal', { tags: 'slow' }, async () => {
    const steps = fc.array(step, { minLength: 5, maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        world = await newWorld();
        await makeOrganization(world, 'acme');
        expect((await api(world, 'PUT', '/organizations/acme/quota', { body: { maxBytes: 1_000_000 } })).status).toBe(200);
        for (const one of taken) await take(one);
        const byHand = await countedByHand();
        const byPushes = (await rows<Stored>("SELECT bytes, blobs FROM usage WHERE namespace = 'acme'"))[0] as Stored;
        expect(await sumsAreRight(world.env)).toEqual([]);
        const counted = await recounted();
        for (const [namespace, { bytes, blobs, trashed }] of Object.entries(byHand)) {
          expect(counted[namespace] ?? { bytes: 0, blobs: 0 }, namespace).toEqual({ bytes, blobs });
          if (namespace === '') continue;
          const holdings = await holdingsOf(world.env, namespace);
          expect([holdings.bytes, holdings.blobs, holdings.trash.bytes], namespace).toEqual([bytes, blobs, trashed]);
        }
        expect(byPushes, 'the counter of the limit is the same number at every moment').toEqual({
          bytes: byHand.acme?.bytes ?? 0,
          blobs: byHand.acme?.blobs ?? 0,
        });
      }),
      { numRuns: 40 },
    );
  });
});

test('sums that another version of the registry did not keep are right after the next count', async () => {
  await pushImage(world, 'acme/api', 'v1', 1);
  await pushImage(world, 'acme/base', 'v1', 2);
  const idOf = (name: string) => `(SELECT id FROM repositories WHERE name = '${name}')`;
  const wrong = [
    `UPDATE repository_usage SET tags = 7 WHERE repository_id = ${idOf('acme/api')}`,
    `DELETE FROM repository_usage WHERE repository_id = ${idOf('acme/base')}`,
  ];
  await world.env.DB.batch(wrong.map((sql) => world.env.DB.prepare(sql)));
  expect(await sumsAreRight(world.env)).toHaveLength(2);
  await recountSums(world.env);
  expect(await sumsAreRight(world.env)).toEqual([]);
});
