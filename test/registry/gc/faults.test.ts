/**
 * Failures of the collector: it is killed at every call to a store, runs twice at the same time, or finds corrupt data. Also
 * the cost of a slice.
 *
 * @module-tag walk
 */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Env } from '../../../src/env.ts';
import { counting } from '../../world/counting.ts';
import { FAULTS, faulty } from '../../world/faults.ts';
import { type Content, imageIn, noise, pushBlob, pushImage, putManifest, textOf } from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { api } from '../../world/people.ts';
import { digestAt } from '../../world/reading.ts';
import { indexesOf, inFull } from '../../world/sampling.ts';
import { builtOnce, newWorld, type World, worldOf } from '../../world/world.ts';
import { collect, collectAll, count, daysPass, keys, scrub, slice, wrong } from './garbage.ts';

let world: World;
beforeEach(async () => {
  world = await newWorld();
});

const LARGE = { annotations: { text: 'x'.repeat(200_000) } };

/** Creates garbage for every phase of the collector, and one image that must be kept. */
async function garbage(): Promise<{ kept: Content; objects: string[] }> {
  const kept = await pushImage(world, 'acme/base', 'v1', 1);
  for (const seed of [2, 3]) await pushImage(world, 'acme/base', 'moving', seed);
  const gone = await pushImage(world, 'acme/base', 'gone', 4, LARGE);
  await pushBlob(world, 'acme/base', noise(50, 9));
  await pushImage(world, 'acme/old', 'v1', 5, LARGE);
  await pushImage(world, 'acme/old', 'v2', 1);
  await world.fetch('DELETE', '/v2/acme/old/manifests/v2');
  await world.fetch('DELETE', `/v2/acme/base/manifests/${gone.digest}`);
  await world.fetch('DELETE', '/api/v1/repositories/acme/old?force=true');
  await world.env.DB.prepare("INSERT INTO tombstones VALUES ('blobs/sha256/dead/beef', 0)").run();
  await daysPass(world, 400);
  return { kept, objects: await keys(world) };
}

/** The violations of invariants, except in a repository that is being purged, whose rows are deleted table by table. */
async function wrongElsewhere(): Promise<string[]> {
  const purging = await count(world, 'trash', "kind = 'repository' AND purging = 1");
  const complaints = await wrong(world);
  return purging === 0 ? complaints : complaints.filter((one) => /^blob|events|other bytes/.test(one));
}

async function staysAndGoes(kept: Content, where: string): Promise<void> {
  await collect(world);
  await collectAll(world);
  expect(await wrong(world), where).toEqual([]);
  expect(await digestAt(world, 'acme/base', 'v1'), where).toBe(kept.digest);
  // Images 1 to 3 stay, with all their layers.
  expect(await keys(world), where).toHaveLength(6);
  for (const table of ['trash', 'trashed_manifests', 'trashed_references', 'tombstones']) {
    expect(await count(world, table), `${where}: ${table}`).toBe(0);
  }
  expect([await count(world, 'blobs'), await count(world, 'repository_blobs')], where).toEqual([6, 6]);
}

describe('a slice', () => {
  test.each(FAULTS)('that ends in %s at any call does no harm, and is made up for', { tags: 'slow' }, async (fault) => {
    let kept!: Content;
    const start = builtOnce(async (made) => {
      world = made;
      ({ kept } = await garbage());
    });
    world = await start();
    const counted = faulty(world.env);
    await collect(worldOf(counted.env));
    expect(counted.calls).toContain('BLOBS.delete');
    for (const at of indexesOf(counted.calls.length, FAULTS.indexOf(fault), FAULTS.length)) {
      const where = `${fault} at ${counted.calls[at]} (${at + 1} of ${counted.calls.length})`;
      world = await start();
      const faults = faulty(world.env, fault, at);
      await Promise.race([collect(worldOf(faults.env)).catch(() => {}), faults.stopped]);
      expect(await wrongElsewhere(), where).toEqual([]);
      await staysAndGoes(kept, where);
    }
  });

  test('can run completely in the middle of another one, at any point', { tags: 'slow' }, async () => {
    let kept!: Content;
    const start = builtOnce(async (made) => {
      world = made;
      ({ kept } = await garbage());
    });
    let calls = 1;
    let at = 0;
    for (; at < calls; at += inFull(1, 10)) {
      world = await start();
      calls = 0;
      const DB = intercepted(world.env.DB, async (_, effect) => {
        if (calls++ === at) await slice(world.env);
        return effect();
      });
      await collect(worldOf({ ...world.env, DB }));
      expect(await wrongElsewhere(), `before call ${at}`).toEqual([]);
      await staysAndGoes(kept, `before call ${at}`);
    }
    expect(at).toBeGreaterThan(25);
  });

  test('run twice at once records each deletion once', async () => {
    await pushBlob(world, 'acme/api', noise(50, 9));
    await daysPass(world, 2);
    await Promise.all([slice(world.env), slice(world.env), slice(world.env)]);
    await collect(world);
    expect(await count(world, 'events', "type = 'gc.collected'")).toBe(1);
    expect(await wrong(world)).toEqual([]);
  });
});

test('an object that R2 does not delete keeps its tombstone, and the next pass tries again', { tags: 'slow' }, async () => {
  await pushBlob(world, 'acme/api', noise(50, 9));
  await daysPass(world, 2);
  await collect(world);
  await daysPass(world, 2);
  const BLOBS = new Proxy(world.env.BLOBS, {
    get: (target, name) =>
      name === 'delete' ? () => Promise.reject(new Error('R2 is not there (10001)')) : Reflect.get(target, name).bind(target),
  });
  await expect(slice({ ...world.env, BLOBS })).rejects.toThrow('10001');
  expect(await count(world, 'tombstones')).toBe(1);
  const { body } = await api<{ collector: { running: { phase: string; problems: string[] } } }>(world, 'GET', '/gc');
  expect(body.collector.running).toMatchObject({ phase: 'tombstones', problems: ['tombstones: R2 is not there (10001)'] });
  expect(await collect(world)).toMatchObject({ objects: 1 });
  expect([await count(world, 'tombstones'), await keys(world)]).toEqual([0, []]);
});

test('a tombstone of a key in use is reported, and deletes nothing', async () => {
  const image = await pushImage(world, 'acme/api', 'v1', 1, LARGE);
  const streamed = await worldOf({ ...world.env, VERIFY: 'stream' });
  const location = (await streamed.fetch('POST', '/v2/acme/api/blobs/uploads/')).headers.get('location') as string;
  expect(location).not.toBeNull();
  await world.env.DB.prepare(
    "INSERT INTO blobs (digest, size, object_key, created_at) VALUES ('sha256:s', 1, 'blobs/stream/s', unixepoch())",
  ).run();
  await world.env.BLOBS.put('blobs/stream/s', 'x');
  const before = await keys(world);
  expect(before.map((key) => key.split('/').slice(0, 2).join('/'))).toEqual([
    'blobs/sha256',
    'blobs/sha256',
    'blobs/stream',
    'manifests/sha256',
  ]);
  for (const key of before) await world.env.DB.prepare('INSERT INTO tombstones VALUES (?1, 0)').bind(key).run();
  const { problems, objects } = await collect(world);
  expect(problems).toEqual(before.map((key) => `object ${key} has a tombstone but is in use: it is not deleted`));
  expect([objects, await keys(world)]).toEqual([0, before]);
  expect(await digestAt(world, 'acme/api', 'v1')).toBe(image.digest);
});

test('corruption stops no pass and deletes nothing more: rows without objects, objects without rows, invalid documents', async () => {
  const { env } = world;
  const kept = await pushImage(world, 'acme/api', 'v1', 1);
  const broken = await pushImage(world, 'acme/api', 'v2', 2);
  const large = await pushImage(world, 'acme/api', 'v3', 3, LARGE);
  for (const { digest } of [broken, large]) await world.fetch('DELETE', `/v2/acme/api/manifests/${digest}`);
  await env.DB.prepare("UPDATE trashed_manifests SET content = '{nonsense' WHERE content IS NOT NULL").run();
  const [document] = await keys(world, 'manifests/');
  await env.BLOBS.delete(document as string);
  await pushBlob(world, 'acme/api', noise(10, 8));
  const loose = await env.DB.prepare('SELECT object_key FROM blobs WHERE size = 10').first<string>('object_key');
  await env.BLOBS.delete(loose as string);
  await env.BLOBS.put('blobs/sha256/nobody/knows', 'x');
  await collectAll(world);
  expect(await digestAt(world, 'acme/api', 'v1')).toBe(kept.digest);
  expect(await wrong(world)).toEqual([]);
  expect([await count(world, 'blobs'), await count(world, 'trash'), await count(world, 'trashed_references')]).toEqual([
    2, 0, 0,
  ]);
  expect(await keys(world)).toHaveLength(3);
});

describe('a slice costs', () => {
  /** The cost of each slice of a pass. */
  async function costs() {
    const all: (ReturnType<typeof counting>['counts'] & { statements: number; deletes: number })[] = [];
    for (let ended = false; !ended; ) {
      const { env, counts } = counting(world.env);
      let statements = 0;
      let deletes = 0;
      const DB = new Proxy(env.DB, {
        get(target, name) {
          if (name === 'batch')
            return (batch: unknown[]) => {
              statements += batch.length;
              return (target.batch as (of: unknown) => unknown)(batch);
            };
          if (name === 'prepare') return (sql: string) => countRuns(target.prepare(sql), () => statements++);
          return Reflect.get(target, name);
        },
      });
      const BLOBS = new Proxy(env.BLOBS, {
        get(target, name) {
          const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
          return (...args: unknown[]) => {
            if (name === 'delete') deletes++;
            return method.apply(target, args);
          };
        },
      });
      ended = (await slice({ ...env, DB, BLOBS } as Env)).ended;
      all.push({ ...counts, statements, deletes });
      expect(all.length).toBeLessThan(1000);
    }
    return all;
  }

  /** Counts the runs of a statement on its own. The statements of a batch are counted with the batch. */
  function countRuns(statement: D1PreparedStatement, ran: () => void): D1PreparedStatement {
    return new Proxy(statement, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (['all', 'first', 'run', 'raw'].includes(String(name))) ran();
          const result: unknown = value.apply(target, args);
          return name === 'bind' ? countRuns(result as D1PreparedStatement, ran) : result;
        };
      },
    });
  }

  const rows = (sql: string, n: number) =>
    world.env.DB.prepare(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) ${sql}`).bind(n);

  test('at most 40 statements, 20,000 rows read, 1,000 written and a few calls to R2, however much there is', {
    tags: 'slow',
  }, async () => {
    await api(world, 'PUT', '/repositories/acme/api');
    const past = 'unixepoch() - 40 * 86400 * 10';
    // The ids of deleted repositories are far above those of repositories that the tests of a runtime create.
    await world.env.DB.batch([
      rows(`INSERT INTO blobs SELECT 'sha256:' || i, 1, 'blobs/sha256/x/' || i, ${past}, NULL FROM n`, 3000),
      rows(`INSERT INTO repository_blobs SELECT 'sha256:' || i, 1 + i % 3, ${past} FROM n`, 4000),
      rows(`INSERT INTO tombstones SELECT 'blobs/sha256/dead/' || i, ${past} FROM n`, 2500),
      rows(`INSERT INTO trashed_references SELECT 'sha256:c' || i, 1, 'sha256:p' FROM n`, 1500),
      rows(
        `INSERT INTO trash (repository_id, kind, name, repository, actor, deleted_at) SELECT i % 7, iif(i % 2, 'tag', 'manifest'), i, 'acme/api', 'x', ${past} FROM n`,
        1200,
      ),
      rows(
        `INSERT INTO trash (repository_id, kind, name, repository, actor, deleted_at) SELECT 1000000 + i, 'repository', '', 'acme/' || i, 'x', ${past} FROM n`,
        300,
      ),
      rows(
        `INSERT INTO manifests SELECT 1000001, i, 'type', '', 's', 1, 1, 0, NULL, 'manifests/sha256/x/' || i, NULL, NULL, NULL FROM n`,
        1500,
      ),
      rows(
        `INSERT INTO tag_history (repository_id, tag, point, at, digest, actor) SELECT 1, 't', i, ${past}, 'd' || i, 'x' FROM n`,
        2000,
      ),
      rows(`INSERT INTO pulls SELECT 1, 'd', i, 1 FROM n`, 2000),
    ]);
    const all = await costs();
    const most = (name: keyof (typeof all)[number]) => Math.max(...all.map((one) => one[name]));
    expect(all.length).toBeGreaterThan(20);
    expect(most('statements')).toBeLessThanOrEqual(40);
    expect(most('rowsRead')).toBeLessThanOrEqual(20_000);
    expect(most('rowsWritten')).toBeLessThanOrEqual(1000);
    expect(most('deletes')).toBeLessThanOrEqual(4);
    expect([most('r2Reads'), most('r2Writes')]).toEqual([0, 0]);
    await daysPass(world, 400);
    await costs();
    for (const table of ['blobs', 'tombstones', 'trash', 'manifests', 'trashed_references'])
      expect(await count(world, table), table).toBe(0);
    expect([await count(world, 'tag_history'), await count(world, 'pulls')]).toEqual([1, 0]);
  });

  test('a few statements if there is nothing to do', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const [first, ...rest] = await costs();
    expect(rest).toEqual([]);
    expect(first?.statements).toBeLessThanOrEqual(15);
    expect(first?.rowsWritten).toBeLessThanOrEqual(6);
  });

  test('the same if there are many manifests: an index finds what is in use', async () => {
    await pushImage(world, 'acme/api', 'v1', 1, LARGE);
    await world.env.DB.batch([
      rows(`INSERT INTO manifests SELECT 1, i, 'type', '', NULL, 1, 1, 0, NULL, NULL, '{}', NULL, NULL FROM n`, 3000),
      rows(
        `INSERT INTO trashed_manifests (repository_id, digest, media_type, artifact_type, size, pushed_at, content)
         SELECT 1, i, 'type', '', 1, 1, '{}' FROM n`,
        3000,
      ),
      rows(`INSERT INTO tombstones SELECT 'manifests/sha256/dead/' || i, 0 FROM n`, 300),
    ]);
    for (const { rowsRead } of (await costs()).slice(0, -1)) expect(rowsRead).toBeLessThanOrEqual(20_000);
    expect(await count(world, 'tombstones')).toBe(0);
    const { env, counts } = counting(world.env);
    await scrub(worldOf(env));
    expect(counts.rowsRead).toBeLessThanOrEqual(50);
  });

  test('no more for a registry that needs all it has: 500 rows a step', async () => {
    const image = await imageIn(world, 'acme/api', 1);
    await putManifest(world, 'acme/api', 'v1', textOf(image));
    await world.env.DB.batch([
      rows(`INSERT INTO blobs SELECT 'sha256:' || i, 1, 'blobs/sha256/x/' || i, 0, NULL FROM n`, 10_000),
      rows(`INSERT INTO repository_blobs SELECT 'sha256:' || i, 1, 0 FROM n`, 10_000),
      rows(`INSERT INTO manifest_references SELECT 1, 'sha256:' || i, 'p' FROM n`, 10_000),
    ]);
    const all = await costs();
    expect(all.length).toBeLessThanOrEqual(12);
    expect(all.reduce((sum, { rowsWritten }) => sum + rowsWritten, 0)).toBeLessThanOrEqual(40);
    // The last slice counts the usage of namespaces, which reads every link.
    expect(Math.max(...all.slice(0, -1).map(({ rowsRead }) => rowsRead))).toBeLessThanOrEqual(20_000);
    expect(await count(world, 'blobs')).toBe(10_002);
  });
});
