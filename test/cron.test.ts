/** The schedule deletes unfinished uploads, unneeded content and expired rows, and nothing else. */
import { beforeEach, describe, expect, test } from 'vitest';
import { runScheduled } from '../src/cron.ts';
import { counting } from './world/counting.ts';
import { faulty } from './world/faults.ts';
import { contentOf, noise, pushImage } from './world/images.ts';
import { api } from './world/people.ts';
import { tagsOf } from './world/reading.ts';
import { newWorld, type World } from './world/world.ts';

const DAY = 24 * 60 * 60 * 1000;
let world: World;
beforeEach(async () => {
  world = await newWorld();
});

async function begin(): Promise<string> {
  return (await world.fetch('POST', '/v2/acme/api/blobs/uploads/')).headers.get('location') as string;
}

async function keys(): Promise<string[]> {
  return (await world.env.BLOBS.list()).objects.map(({ key }) => key);
}

/** A time after this many days at which the hourly jobs also run. */
const later = (days: number) => Math.ceil((Date.now() + days * DAY) / 3_600_000) * 3_600_000 + 7 * 60_000;

const rows = async () => (await world.env.DB.prepare('SELECT count(*) AS n FROM uploads').first<{ n: number }>())?.n;

test('an expired upload is deleted with its pieces; one that was used since stays', async () => {
  const [old, young] = [await begin(), await begin()];
  await world.fetch('PATCH', old, { body: noise(3000) });
  await world.fetch('PATCH', young, { body: noise(3000) });
  await world.env.DB.prepare('UPDATE uploads SET expires_at = unixepoch() - 1 WHERE id = (SELECT min(id) FROM uploads)').run();
  expect((await world.fetch('GET', old)).status).toBe(404);
  await runScheduled(world.env, later(1));
  expect(await rows()).toBe(1);
  expect(await keys()).toHaveLength(1);
  expect((await world.fetch('GET', young)).headers.get('range')).toBe('0-2999');
});

test('a committed upload leaves nothing behind, and its blob stays', async () => {
  const blob = await contentOf(noise(3000));
  const location = await begin();
  await world.fetch('PATCH', location, { body: blob.bytes });
  expect((await world.fetch('PUT', `${location}?digest=${blob.digest}`)).status).toBe(201);
  await world.env.DB.prepare('UPDATE uploads SET expires_at = unixepoch() - 1').run();
  await runScheduled(world.env, later(1));
  expect(await rows()).toBe(0);
  expect(await keys()).toEqual([expect.stringMatching(/^blobs\/sha256\//)]);
  expect((await world.fetch('GET', `/v2/acme/api/blobs/${blob.digest}`)).status).toBe(200);
});

test('an expired multipart upload is aborted in the bucket too', async () => {
  world.env.VERIFY = 'stream';
  world.env.PART_BYTES = String(5 * 1024 * 1024);
  const location = await begin();
  await world.fetch('PATCH', location, { body: noise(6 * 1024 * 1024) });
  const { staged } = (await world.env.DB.prepare('SELECT staged FROM uploads').first<{ staged: string }>()) ?? { staged: '{}' };
  const { multipart } = JSON.parse(staged) as { multipart: { key: string; uploadId: string } };
  await world.env.DB.prepare('UPDATE uploads SET expires_at = unixepoch() - 1').run();
  await runScheduled(world.env, later(1));
  const upload = world.env.BLOBS.resumeMultipartUpload(multipart.key, multipart.uploadId);
  await expect(upload.uploadPart(3, 'x')).rejects.toThrow(/10024|does not exist/);
  expect(await keys()).toEqual([]);
});

test('pieces without a row are swept once no location can lead to them, and not before', async () => {
  const location = await begin();
  await world.fetch('PATCH', location, { body: noise(3000) });
  await world.env.DB.prepare('DELETE FROM uploads').run();
  await runScheduled(world.env, later(1));
  expect(await keys()).toHaveLength(1);
  await runScheduled(world.env, later(3));
  expect(await keys()).toEqual([]);
});

test('pieces of an active upload stay, however old it is', async () => {
  const location = await begin();
  await world.fetch('PATCH', location, { body: noise(3000) });
  await runScheduled(world.env, later(3));
  expect(await keys()).toHaveLength(1);
});

test.each([
  [3, 0],
  [9, 0],
  [17, 1],
  [57, 1],
])(
  'a run at minute %i of the hour leaves %i abandoned piece: one run in six sweeps, whenever the schedule began',
  async (minute, left) => {
    const location = await begin();
    await world.fetch('PATCH', location, { body: noise(3000) });
    await world.env.DB.prepare('DELETE FROM uploads').run();
    await runScheduled(world.env, Math.ceil((Date.now() + 3 * DAY) / 3_600_000) * 3_600_000 + minute * 60_000);
    expect(await keys()).toHaveLength(left);
  },
);

const TEN_MINUTES = 600_000;

describe.each([0, 1, 2, 3, 4, 5])('run %i of the hour', (slot) => {
  const run = () => later(0) + slot * TEN_MINUTES;

  /** Creates rows of every kind of which none is due. */
  async function idle(): Promise<void> {
    for (const [n, name] of ['acme/api', 'acme/base', 'other/api'].entries()) await pushImage(world, name, 'v1', n + 1);
    await pushImage(world, 'acme/api', 'v2', 7);
    await world.fetch('DELETE', '/v2/acme/api/manifests/v2');
    const rule = {
      rulePriority: 1,
      selection: { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 100 },
      action: { type: 'expire' },
    };
    await api(world, 'PUT', '/repositories/acme/api/-/lifecycle', { body: { rules: [rule] } });
    await api(world, 'POST', '/webhooks', { body: { url: 'https://hooks.example.com/x', types: ['tag.created'] } });
    await world.env.DB.prepare('UPDATE lifecycle_policies SET ran_at = unixepoch()').run();
    await world.env.DB.prepare(
      'INSERT INTO match_cursor SELECT 1, max(id) FROM events WHERE TRUE ON CONFLICT DO UPDATE SET event = excluded.event',
    ).run();
  }

  test('makes at most ten calls to the database if there is nothing to do', { tags: 'slow' }, async () => {
    await idle();
    const { env, counts } = counting(world.env);
    await runScheduled(env, run());
    expect(counts.d1).toBeLessThanOrEqual(10);
    expect(counts.rowsWritten).toBeLessThanOrEqual(10);
    expect(counts.r2Writes).toBeLessThanOrEqual(slot === 2 ? 3 : 1);
  });

  test('does so in an empty registry as well', async () => {
    const { env, counts } = counting(world.env);
    await runScheduled(env, run());
    expect(counts.d1).toBeLessThanOrEqual(10);
  });
});

test('the six runs of an hour run all jobs: all expired rows and content are deleted', async () => {
  await pushImage(world, 'acme/api', 'v1');
  const location = await begin();
  await world.fetch('PATCH', location, { body: noise(3000) });
  const { DB } = world.env;
  await DB.prepare('UPDATE uploads SET expires_at = 1').run();
  await DB.prepare("INSERT INTO logins (id, subject, expires_at) VALUES ('x', 'user:x', 1)").run();
  await DB.prepare("INSERT INTO tombstones (object_key, made_at) VALUES ('blobs/sha256/x', 1)").run();
  await DB.prepare('UPDATE events SET at = 1').run();
  await DB.prepare('INSERT INTO match_cursor SELECT 1, max(id) FROM events').run();
  for (let n = 0; n < 6; n++) await runScheduled(world.env, later(1) + n * TEN_MINUTES);
  const left = async (table: string) => DB.prepare(`SELECT count(*) AS n FROM ${table}`).first<number>('n');
  expect([await left('uploads'), await left('logins'), await left('tombstones')]).toEqual([0, 0, 0]);
  // The newest event of each subject stays.
  expect(await left('events')).toBe(1);
  const jobs = (await DB.prepare('SELECT job FROM maintenance WHERE finished IS NOT NULL ORDER BY job').all<{ job: string }>())
    .results;
  expect(jobs.map(({ job }) => job)).toEqual(['gc', 'scrub']);
});

test('a job that is cut off continues later, and its work until then is saved', async () => {
  world = await newWorld({ GRACE_SECONDS: '0' });
  await world.env.DB.prepare(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
     INSERT INTO blobs SELECT 'sha256:' || printf('%064d', i), 1, 'blobs/sha256/x/' || i, 0, NULL FROM n`,
  ).run();
  const rows = async () => (await world.env.DB.prepare('SELECT count(*) AS n FROM blobs').first<number>('n')) ?? 0;
  let before = await rows();
  for (let n = 0; n < 12; n++) {
    // Each run stops after a few calls without an error.
    const { env, stopped } = faulty(world.env, 'stop-after', 12);
    await Promise.race([runScheduled(env, later(0) + n * TEN_MINUTES).catch(() => undefined), stopped]);
    const cursor = await world.env.DB.prepare("SELECT cursor FROM maintenance WHERE job = 'gc'").first<string>('cursor');
    const after = await rows();
    if (after === 0) return;
    expect(after, `run ${n} at ${cursor}`).toBeLessThan(before);
    before = after;
  }
});

const passes = async () =>
  (await world.env.DB.prepare("SELECT version FROM maintenance WHERE job = 'gc'").first<number>('version')) ?? 0;

test('the collector starts a pass once an hour, and continues it in every run', async () => {
  const hour = later(0);
  await runScheduled(world.env, hour + TEN_MINUTES);
  expect(await passes()).toBe(0);
  await runScheduled(world.env, hour);
  const begun = await passes();
  expect(begun).toBeGreaterThan(0);
  await runScheduled(world.env, hour + TEN_MINUTES);
  expect(await passes()).toBe(begun);
  await world.env.DB.prepare(`UPDATE maintenance SET cursor = '{"phase":"links","after":["",0]}' WHERE job = 'gc'`).run();
  await runScheduled(world.env, hour + TEN_MINUTES);
  expect(await passes()).toBeGreaterThan(begun);
  expect(await world.env.DB.prepare("SELECT cursor FROM maintenance WHERE job = 'gc'").first('cursor')).toBe('');
});

test('content that was in the trash for TRASH_DAYS is purged, with the policy of its repository', async () => {
  world = await newWorld({ TRASH_DAYS: '0', GRACE_SECONDS: '0' });
  await pushImage(world, 'acme/api', 'v1');
  await api(world, 'PATCH', '/repositories/acme/api', { body: { visibility: 'public' } });
  expect((await api(world, 'DELETE', '/repositories/acme/api?force=true')).status).toBe(200);
  const kept = async () => (await world.env.DB.prepare("SELECT 1 FROM policies WHERE subject LIKE 'trash:%'").all()).results;
  expect(await kept()).toHaveLength(1);
  await world.env.DB.prepare('UPDATE repository_blobs SET leased_until = 0').run();
  const hour = later(0);
  for (let n = 0; n < 3; n++) await runScheduled(world.env, hour);
  expect(await kept()).toEqual([]);
  expect(await keys()).toEqual([]);
  expect((await world.env.DB.prepare('SELECT 1 FROM manifests').all()).results).toEqual([]);
});

test('lifecycle rules are carried out once a day, by the registry', async () => {
  await pushImage(world, 'acme/api', 'v1', 1);
  await pushImage(world, 'acme/api', 'v2', 2);
  const rule = {
    rulePriority: 1,
    selection: { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 1 },
    action: { type: 'expire' },
  };
  await api(world, 'PUT', '/repositories/acme/api/-/lifecycle', { body: { rules: [rule] } });
  await runScheduled(world.env, later(0));
  expect(await tagsOf(world, 'acme/api')).toHaveLength(1);
  const { items } = (await api<{ items: { actor: { subject: string } }[] }>(world, 'GET', '/events?type=tag.deleted')).body;
  expect(items.map(({ actor }) => actor.subject)).toEqual(['registry']);
  await pushImage(world, 'acme/api', 'v3', 3);
  await runScheduled(world.env, later(0));
  expect(await tagsOf(world, 'acme/api')).toHaveLength(2);
});
