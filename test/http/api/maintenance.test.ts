/** Garbage collection and consistency checks through the API: for administrators only. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { contentOf, noise, pushBlob, pushImage } from '../../world/images.ts';
import { makeOrganization, makeRobot } from '../../world/organizations.ts';
import { api, inviteUser, refused } from '../../world/people.ts';
import { newWorld, type World } from '../../world/world.ts';

let world: World;
beforeEach(async () => {
  world = await newWorld();
  vi.spyOn(console, 'error').mockImplementation(() => {});
});

interface Slice {
  pass: string;
  phase: string | null;
  report: Record<string, number | string[]>;
}

type Pass = Record<string, unknown> | null;

interface State {
  collector: { running: Pass; finished: Pass };
  scrub: { running: Pass; finished: Pass };
}

async function daysPass(days: number): Promise<void> {
  await world.env.DB.batch(
    [
      'blobs SET created_at = created_at',
      'repository_blobs SET leased_until = leased_until',
      'trash SET deleted_at = deleted_at',
    ].map((set) => world.env.DB.prepare(`UPDATE ${set} - ?1`).bind(days * 86_400)),
  );
}

const NOTHING = { purged: 0, history: 0, pulls: 0, links: 0, blobs: 0, bytes: 0, objects: 0, problems: [] };

test('POST /scrub finds current damage, and the next push of the content repairs it', async () => {
  const blob = await pushBlob(world, 'acme/api', noise(500));
  const [object] = (await world.env.BLOBS.list({ prefix: 'blobs/' })).objects;
  await world.env.BLOBS.put(object?.key ?? '', noise(400));
  let answer = (await api<Slice>(world, 'POST', '/scrub')).body;
  for (let n = 0; n < 10 && answer.pass === 'running'; n++) answer = (await api<Slice>(world, 'POST', '/scrub')).body;
  expect(answer).toMatchObject({ pass: 'finished', report: { damaged: 1, missing: 0 } });
  const look = () => world.fetch('HEAD', `/v2/acme/api/blobs/${blob.digest}`);
  expect((await look()).status).toBe(404);
  await pushBlob(world, 'acme/api', blob.bytes);
  expect((await look()).status).toBe(200);
});

describe('POST /gc', () => {
  test('runs a slice and reports its work, and GET shows the last pass', async () => {
    await pushBlob(world, 'acme/api', noise(500));
    await daysPass(2);
    expect((await api<State>(world, 'GET', '/gc')).body).toEqual({
      collector: { running: null, finished: null },
      scrub: { running: null, finished: null },
    });
    const { status, body } = await api<Slice>(world, 'POST', '/gc');
    expect(status).toBe(200);
    expect(body).toEqual({ pass: 'finished', phase: null, report: { ...NOTHING, links: 1, blobs: 1, bytes: 500 } });
    const { collector } = (await api<State>(world, 'GET', '/gc')).body;
    expect(collector).toEqual({
      running: null,
      finished: { ...body.report, startedAt: expect.stringMatching(/Z$/), finishedAt: expect.stringMatching(/Z$/) },
    });
  });

  test('continues where the previous slice ended, and both passes are shown', { tags: 'slow' }, async () => {
    await api(world, 'POST', '/gc');
    await world.env.DB.prepare(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
       INSERT INTO blobs SELECT 'sha256:' || i, 1, 'blobs/sha256/x/' || i, 0, NULL FROM n`,
    ).run();
    const first = (await api<Slice>(world, 'POST', '/gc')).body;
    expect(first).toMatchObject({ pass: 'running', phase: 'blobs' });
    const { running, finished } = (await api<State>(world, 'GET', '/gc')).body.collector;
    expect(running).toMatchObject({ phase: 'blobs', blobs: first.report.blobs });
    expect(finished).toMatchObject({ blobs: 0 });
    let last = first;
    for (let n = 0; n < 50 && last.pass === 'running'; n++) last = (await api<Slice>(world, 'POST', '/gc')).body;
    expect(last.report).toMatchObject({ blobs: 3000, bytes: 3000 });
  });

  test('deletes the policy of a repository that is purged', async () => {
    await pushImage(world, 'acme/api', 'v1');
    await api(world, 'PATCH', '/repositories/acme/api', { body: { visibility: 'public' } });
    await api(world, 'DELETE', '/repositories/acme/api?force=true');
    const policies = async () =>
      (await world.env.DB.prepare('SELECT subject FROM policies').all<{ subject: string }>()).results.map(
        ({ subject }) => subject,
      );
    expect(await policies()).toEqual([expect.stringMatching(/^trash:\d+$/)]);
    await daysPass(8);
    await api(world, 'POST', '/gc');
    expect(await policies()).toEqual([]);
  });
});

describe('GET /fsck', () => {
  test('reports problems and their remedies page by page', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const { digest } = await contentOf(noise(100, 1));
    await world.env.DB.prepare('UPDATE blobs SET missing_since = 1 WHERE digest = ?1').bind(digest).run();
    const { status, body } = await api<{ items: object[]; next: string | null }>(world, 'GET', '/fsck');
    expect([status, body]).toEqual([
      200,
      {
        items: [
          {
            problem: `the bytes of blob ${digest} in acme/api are gone or damaged; 1 manifest needs it: acme/api:v1`,
            remedy: expect.stringMatching('Push one of these images again'),
            repository: 'acme/api',
            digest,
            tag: 'v1',
          },
        ],
        next: null,
      },
    ]);
  });

  test('continues at `next`, and refuses a cursor that it did not give', async () => {
    await world.env.DB.prepare(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
       INSERT INTO tags SELECT 7, 't' || i, 'sha256:' || i, 0 FROM n`,
    ).run();
    const problems: string[] = [];
    let path = '/fsck';
    for (let next: string | null = ''; next !== null; path = `/fsck?last=${encodeURIComponent(next ?? '')}`) {
      const { body }: { body: { items: { problem: string }[]; next: string | null } } = await api(world, 'GET', path);
      problems.push(...body.items.map(({ problem }) => problem));
      next = body.next;
    }
    expect(new Set(problems).size).toBe(300);
    expect(problems).toHaveLength(300);
    for (const last of [
      'x',
      '{}',
      '[]',
      '["tags"]',
      '["tags","x","y"]',
      '["tags",1,"y",3]',
      '["nothing",1]',
      '["tags",1,{}]',
    ]) {
      expect(refused(await api(world, 'GET', `/fsck?last=${encodeURIComponent(last)}`)), last).toBe('400 INVALID');
    }
  });
});

test('only administrators may: no owner, user, robot, anonymous caller, or administrator with a narrowed key', async () => {
  const owner = await inviteUser(world, 'olga');
  const user = await inviteUser(world, 'ulf');
  const administrator = await inviteUser(world, 'ada', { administrator: true });
  await makeOrganization(world, 'acme', { owners: [owner] });
  const robot = await makeRobot(world, 'acme', 'builder');
  const narrowed = await api<{ secret: string }>(world, 'POST', '/keys', {
    as: administrator.basic,
    body: { name: 'narrow', statements: [{ actions: 'all actions', repositories: ['*'] }] },
  });
  expect(narrowed.status).toBe(201);
  const before = await world.env.DB.prepare('SELECT count(*) AS n FROM maintenance').first<number>('n');
  const asked = [
    ['GET', '/gc'],
    ['POST', '/scrub'],
    ['POST', '/gc'],
    ['GET', '/fsck'],
  ] as const;
  for (const [method, path] of asked) {
    for (const as of [owner.basic, user.bearer, robot.basic, `Bearer ${narrowed.body.secret}`]) {
      expect(refused(await api(world, method, path, { as })), `${method} ${path}`).toBe('403 DENIED');
    }
    expect(refused(await api(world, method, path, { as: null }))).toBe('401 UNAUTHORIZED');
  }
  expect(await world.env.DB.prepare('SELECT count(*) AS n FROM maintenance').first<number>('n')).toBe(before);
  expect((await api(world, 'GET', '/gc', { as: administrator.basic })).status).toBe(200);
});
