/**
 * Purges on request and in slices. Content that is being purged cannot be restored, and a large repository is purged in steps.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { purgeEntry } from '../../../src/registry/gc/purge.ts';
import { pushImage, refusal } from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { api } from '../../world/people.ts';
import { digestAt } from '../../world/reading.ts';
import { newWorld, type World } from '../../world/world.ts';
import { collect, collectAll, count, daysPass, keys, slice, wrong } from './garbage.ts';

let world: World;
beforeEach(async () => {
  world = await newWorld();
});

const API = '/v2/acme/api';
const ALICE = { subject: 'user:alice', key: 'K1' };

const idOf = async (name: string) =>
  (await world.env.DB.prepare('SELECT id FROM repositories WHERE name = ?1').bind(name).first<number>('id')) ?? Number.NaN;

async function purgedBy(): Promise<unknown[]> {
  const { results } = await world.env.DB.prepare(
    "SELECT about, actor, key_id, target FROM events WHERE type = 'trash.purged' ORDER BY id",
  ).all();
  return results;
}

describe('purgeEntry', () => {
  test('purges a tag at once and records who did it; a second time there is nothing', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    await world.fetch('DELETE', `${API}/manifests/v1`);
    const entry = { repositoryId: await idOf('acme/api'), kind: 'tag', name: 'v1' } as const;
    expect(await purgeEntry(world.env, { ...entry, name: 'v2' }, ALICE)).toBe(false);
    expect(await purgeEntry(world.env, entry, ALICE)).toBe(true);
    expect(await purgeEntry(world.env, entry, ALICE)).toBe(false);
    expect(await purgedBy()).toEqual([
      { about: 'acme/api', actor: 'user:alice', key_id: 'K1', target: '{"kind":"tag","name":"v1"}' },
    ]);
    expect(await digestAt(world, 'acme/api', image.digest)).toBe(image.digest);
    expect(await wrong(world)).toEqual([]);
  });

  test('purges a manifest, and the next pass deletes the blobs that only it referenced', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    await world.fetch('DELETE', `${API}/manifests/${image.digest}`);
    await daysPass(world, 2);
    expect(await collect(world)).toMatchObject({ links: 0, blobs: 0 });
    const entry = { repositoryId: await idOf('acme/api'), kind: 'manifest', name: image.digest } as const;
    expect(await purgeEntry(world.env, entry, ALICE)).toBe(true);
    expect(await count(world, 'trashed_manifests')).toBe(0);
    expect(await wrong(world)).toEqual([]);
    expect(await collect(world)).toMatchObject({ purged: 0, links: 2, blobs: 2 });
    expect(await count(world, 'trashed_references')).toBe(0);
  });

  test('makes a repository unrestorable at once, and the next pass purges its content', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const repositoryId = await idOf('acme/api');
    await world.fetch('DELETE', '/api/v1/repositories/acme/api?force=true');
    expect(await purgeEntry(world.env, { repositoryId, kind: 'repository', name: '' }, ALICE)).toBe(true);
    expect(await purgeEntry(world.env, { repositoryId, kind: 'repository', name: '' }, ALICE)).toBe(false);
    expect((await api(world, 'POST', `/trash/${repositoryId}/restore`)).status).toBeGreaterThanOrEqual(400);
    expect(await count(world, 'manifests')).toBe(1);
    await collect(world);
    expect([await count(world, 'manifests'), await count(world, 'tags'), await count(world, 'trash')]).toEqual([0, 0, 0]);
    expect(await purgedBy()).toHaveLength(1);
    expect(await wrong(world)).toEqual([]);
  });
});

/** Inserts as many rows as a repository has that was used for a long time. */
async function manyRows(id: number, rows: number): Promise<void> {
  const each = (sql: string) =>
    world.env.DB.prepare(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) ${sql}`).bind(id, rows);
  await world.env.DB.batch([
    each("INSERT INTO tags SELECT ?1, 't' || i, 'sha256:' || (i % 700), 1 FROM n"),
    each(
      "INSERT INTO tag_history (repository_id, tag, point, at, digest, actor) SELECT ?1, 't' || i, 1, 1, 'sha256:' || (i % 700), 'x' FROM n",
    ),
    each("INSERT INTO manifest_references SELECT ?1, 'sha256:c' || i, 'sha256:' || (i % 700) FROM n"),
    each(
      "INSERT INTO manifests SELECT ?1, 'sha256:' || i, 'type', '', NULL, 1, 1, 0, NULL, iif(i % 2, NULL, 'manifests/sha256/x/' || ?1 || i), iif(i % 2, '{}', NULL), NULL, NULL FROM n",
    ),
    each("INSERT INTO pulls SELECT ?1, 'sha256:' || i, 1, 1 FROM n"),
    each("INSERT INTO manifest_checks SELECT ?1, 'sha256:' || i, 1 FROM n"),
    each(
      "INSERT INTO trash (repository_id, kind, name, repository, digest, actor, deleted_at) SELECT ?1, 'tag', 'd' || i, 'acme/api', 'sha256:' || i, 'x', unixepoch() FROM n",
    ),
  ]);
}

describe('a deleted repository', () => {
  test('with thousands of rows is purged in slices, each of which could be the last, and nothing else is purged', {
    tags: 'slow',
  }, async () => {
    const other = await pushImage(world, 'acme/base', 'v1', 7);
    await api(world, 'PUT', '/repositories/acme/api');
    const id = await idOf('acme/api');
    await manyRows(id, 1500);
    await world.fetch('DELETE', '/api/v1/repositories/acme/api?force=true');
    await daysPass(world, 8);
    const { slices, purged, problems } = await collect(world);
    expect(slices).toBeGreaterThan(10);
    // The repository's own entries in the trash expired with it, and some of them were purged before it.
    expect(purged).toBeGreaterThan(0);
    expect(problems).toEqual([]);
    for (const table of ['tags', 'tag_history', 'manifest_references', 'manifests', 'pulls', 'manifest_checks', 'trash']) {
      expect(await count(world, table, `repository_id = ${id}`), table).toBe(0);
    }
    expect(await count(world, 'tombstones')).toBe(750);
    expect(await digestAt(world, 'acme/base', 'v1')).toBe(other.digest);
    expect(await wrong(world)).toEqual([]);
  });

  test('that exists again is not touched, although the trash says it was deleted', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    await world.env.DB.prepare(
      "INSERT INTO trash (repository_id, kind, name, repository, actor, deleted_at, purging) VALUES (?1, 'repository', '', 'acme/api', 'x', 0, 1)",
    )
      .bind(await idOf('acme/api'))
      .run();
    const { problems } = await collect(world);
    expect(problems).toEqual([expect.stringMatching('acme/api exists and is also in the trash')]);
    expect(await digestAt(world, 'acme/api', 'v1')).toBe(image.digest);
    expect(await wrong(world)).toEqual([]);
  });

  test('that is deleted or restored during a pass loses nothing that can be restored', async () => {
    world.env.DELETION = 'on';
    await pushImage(world, 'acme/api', 'v1');
    const before = await keys(world);
    const id = await idOf('acme/api');
    await daysPass(world, 2);
    await slice(world.env);
    await world.fetch('DELETE', '/api/v1/repositories/acme/api?force=true');
    await collectAllBut(7);
    expect((await api(world, 'POST', `/trash/${id}/restore`)).status).toBeLessThan(300);
    await collect(world);
    expect(await keys(world)).toEqual(before);
    expect((await world.fetch('GET', `${API}/manifests/v1`)).status).toBe(200);
    expect(await wrong(world)).toEqual([]);
  });
});

test('that was restored and deleted again while being purged gets its full time in the trash', { tags: 'slow' }, async () => {
  let calls = 1;
  let at = 0;
  for (; at < calls; at++) {
    world = await newWorld();
    const image = await pushImage(world, 'acme/api', 'v1');
    await world.fetch('DELETE', `${API}/manifests/v1`);
    await daysPass(world, 8);
    calls = 0;
    let restored = 0;
    const DB = intercepted(world.env.DB, async (_, effect) => {
      if (calls++ === at) {
        restored = (await api(world, 'POST', '/repositories/acme/api/-/trash/tags/v1/restore')).status;
        if (restored < 300) await world.fetch('DELETE', `${API}/manifests/v1`);
      }
      return effect();
    });
    await slice({ ...world.env, DB });
    expect(await count(world, 'trash'), `before call ${at}`).toBe(restored < 300 ? 1 : 0);
    expect(await purgedBy(), `before call ${at}`).toHaveLength(restored < 300 ? 0 : 1);
    expect(await digestAt(world, 'acme/api', image.digest)).toBe(image.digest);
    expect(await wrong(world), `before call ${at}`).toEqual([]);
  }
  expect(at).toBeGreaterThan(8);
});

/** Runs the collector on each day before the given one, on which the trash would be purged. */
async function collectAllBut(days: number): Promise<void> {
  for (let day = 1; day < days; day++) {
    await daysPass(world, 1);
    await collect(world);
  }
}

test('a push into a repository whose predecessor is being purged goes to the new one', async () => {
  await pushImage(world, 'acme/api', 'v1', 1);
  await world.fetch('DELETE', '/api/v1/repositories/acme/api?force=true');
  await daysPass(world, 8);
  await slice(world.env);
  const again = await pushImage(world, 'acme/api', 'v1', 1);
  await collectAll(world);
  expect(await digestAt(world, 'acme/api', 'v1')).toBe(again.digest);
  expect(await refusal(await world.fetch('GET', `${API}/manifests/v2`))).toBe('404 MANIFEST_UNKNOWN');
  expect(await count(world, 'manifests')).toBe(1);
  expect(await wrong(world)).toEqual([]);
});
