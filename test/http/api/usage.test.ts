/** Usage, quotas and pull counts by the API: answers, permissions and conditions. */
import { beforeEach, describe, expect, test } from 'vitest';
import { recountUsage } from '../../../src/registry/usage/usage.ts';
import { counting } from '../../world/counting.ts';
import { type Content, contentOf, noise, pushBlob, pushImage } from '../../world/images.ts';
import { eventsDuring, everyItem, makeOrganization } from '../../world/organizations.ts';
import { type ApiRequest, api as anyApi, inviteUser, type Person, refused } from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

interface Body {
  bytes: number;
  blobs: number;
  repositories: number;
  tags: number;
  manifests: number;
  trash: Record<string, number>;
  maxBytes: number | null;
  warnPercent: number;
  percent: number | null;
  countedAt: string | null;
  total: unknown;
  lastPulledAt: string | null;
  days: { day: string; pulls: number }[];
  items: { namespace: string }[];
  next: string | null;
}

let world: World;
let owner: Person;
let member: Person;
let stranger: Person;

const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);

const build = builtOnce(async (made) => {
  world = made;
  owner = await inviteUser(world, 'olga');
  member = await inviteUser(world, 'mia');
  stranger = await inviteUser(world, 'sam');
  await makeOrganization(world, 'acme', { owners: [owner], members: [member] });
});

beforeEach(async () => {
  world = await build();
});

describe('the usage of an organization', () => {
  test('is what it holds now, in its parts', async () => {
    const { bytes } = await pushImage(world, 'acme/api', 'v1', 1);
    await pushImage(world, 'acme/api', 'v2', 1);
    await pushImage(world, 'acme/base', 'v1', 1);
    await pushImage(world, 'elsewhere/base', 'v1', 9);
    const answer = await api('GET', '/organizations/acme/usage', { as: owner.basic });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      organization: 'acme',
      bytes: 2 * bytes.byteLength + '{"seed":1}'.length + 100,
      blobs: 2,
      repositories: 2,
      tags: 3,
      manifests: 2,
      trash: { bytes: 0, repositories: 0, tags: 0, manifests: 0 },
      maxBytes: null,
      warnPercent: 80,
      percent: null,
      countedAt: expect.any(String),
    });
    expect(Math.abs(Date.parse(answer.body.countedAt ?? '') - Date.now())).toBeLessThan(60_000);
  });

  test('says how much of it is in the trash', async () => {
    const first = await pushImage(world, 'acme/api', 'v1', 1);
    await pushImage(world, 'acme/api', 'v2', 2);
    const before = (await api('GET', '/organizations/acme/usage')).body;
    await world.fetch('DELETE', '/v2/acme/api/manifests/v2');
    await world.fetch('DELETE', `/v2/acme/api/manifests/${first.digest}`);
    const after = (await api('GET', '/organizations/acme/usage')).body;
    expect(after).toMatchObject({
      bytes: before.bytes,
      blobs: 4,
      tags: 0,
      manifests: 1,
      trash: { bytes: first.bytes.byteLength + '{"seed":1}'.length + 100, repositories: 0, tags: 1, manifests: 1 },
    });
    await pushBlob(world, 'acme/base', noise(100, 1));
    const shared = (await api('GET', '/organizations/acme/usage')).body;
    expect(shared.bytes).toBe(before.bytes);
    expect(shared.trash.bytes, 'what another repository holds would not go with the trash').toBe(
      first.bytes.byteLength + '{"seed":1}'.length,
    );
  });

  test('is for its owners, because it is expensive; others cannot tell whether the organization exists', async () => {
    expect((await api('GET', '/organizations/acme/usage', { as: owner.basic })).status).toBe(200);
    expect(refused(await api('GET', '/organizations/acme/usage', { as: member.basic }))).toBe('403 DENIED');
    expect(refused(await api('GET', '/organizations/acme/usage', { as: stranger.basic }))).toBe('404 NOT_FOUND');
    expect(refused(await api('GET', '/organizations/nothing/usage', { as: stranger.basic }))).toBe('404 NOT_FOUND');
    expect(refused(await api('GET', '/organizations/nothing/usage'))).toBe('404 NOT_FOUND');
    expect(refused(await api('GET', '/organizations/olga/usage'))).toBe('404 NOT_FOUND');
    expect(refused(await api('GET', '/organizations/acme/usage', { as: null }))).toBe('401 UNAUTHORIZED');
  });
});

describe('a quota', () => {
  const put = (body: unknown, request: ApiRequest = {}) => api('PUT', '/organizations/acme/quota', { body, ...request });

  test('is set in the batch that counts the stored content, and is recorded', async () => {
    await pushBlob(world, 'acme/api', noise(250));
    const events = await eventsDuring(world, async () => {
      const answer = await put({ maxBytes: 1000, warnPercent: 90 });
      expect([answer.status, answer.body]).toEqual([200, { maxBytes: 1000, warnPercent: 90 }]);
    });
    expect(events).toEqual([{ type: 'quota.saved', target: { maxBytes: 1000, warnPercent: 90 }, actor: 'user:admin' }]);
    const about = await world.env.DB.prepare("SELECT about FROM events WHERE type = 'quota.saved'").first('about');
    expect(about).toBe('organization:acme');
    expect(await world.env.DB.prepare("SELECT bytes, blobs FROM usage WHERE namespace = 'acme'").first()).toEqual({
      bytes: 250,
      blobs: 1,
    });
    expect((await api('GET', '/organizations/acme/usage')).body).toMatchObject({
      maxBytes: 1000,
      warnPercent: 90,
      percent: 25,
    });
  });

  test('keeps the threshold if it is not given, and is removed with null', async () => {
    await put({ maxBytes: 1000, warnPercent: 90 });
    expect((await put({ maxBytes: 2000 })).body).toEqual({ maxBytes: 2000, warnPercent: 90 });
    expect((await put({ maxBytes: null })).body).toEqual({ maxBytes: null, warnPercent: 90 });
    const large = await contentOf(noise(3000));
    const path = `/v2/acme/api/blobs/uploads/?digest=${large.digest}`;
    expect((await world.fetch('POST', path, { body: large.bytes })).status).toBe(201);
  });

  test('set to the same value changes nothing and records nothing', async () => {
    const first = await put({ maxBytes: 1000 });
    const events = await eventsDuring(world, async () => {
      const again = await put({ maxBytes: 1000, warnPercent: 80 });
      expect(again.headers.get('etag')).toBe(first.headers.get('etag'));
    });
    expect(events).toEqual([]);
    expect(await eventsDuring(world, () => api('PUT', '/organizations/acme/quota', { body: { maxBytes: 1000 } }))).toEqual([]);
    await makeOrganization(world, 'other');
    expect(await eventsDuring(world, () => api('PUT', '/organizations/other/quota', { body: { maxBytes: null } }))).toEqual([]);
  });

  test('can be set on condition', async () => {
    const etag = (await api('GET', '/organizations/acme/usage')).headers.get('etag') as string;
    const first = await put({ maxBytes: 1 }, { headers: { 'if-match': etag } });
    expect(first.status).toBe(200);
    expect(refused(await put({ maxBytes: 2 }, { headers: { 'if-match': etag } }))).toBe('412 PRECONDITION_FAILED');
    expect((await api('GET', '/organizations/acme/usage')).headers.get('etag')).toBe(first.headers.get('etag'));
    await recountUsage(world.env);
    const next = { headers: { 'if-match': first.headers.get('etag') as string } };
    expect((await put({ maxBytes: 2 }, next)).status).toBe(200);
    expect(refused(await put({ maxBytes: 3 }, { headers: { 'if-none-match': '*' } }))).toBe('412 PRECONDITION_FAILED');
  });

  test('is set by administrators, and for organizations only', async () => {
    for (const as of [owner.basic, member.basic]) {
      expect(refused(await put({ maxBytes: null }, { as }))).toBe('403 DENIED');
    }
    for (const name of ['nothing', 'olga']) {
      expect(refused(await api('PUT', `/organizations/${name}/quota`, { body: { maxBytes: 5 } }))).toBe('404 NOT_FOUND');
    }
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM usage').first('n')).toBe(0);
  });

  test.each([
    {},
    { maxBytes: -1 },
    { maxBytes: 1.5 },
    { maxBytes: '1' },
    { maxBytes: 1, warnPercent: 0 },
    { maxBytes: 1, warnPercent: 101 },
    { maxBytes: 1, x: 1 },
  ])('that is none is refused: %j', async (body) => {
    expect(refused(await put(body))).toBe('400 INVALID');
  });
});

describe('the usage of all namespaces', () => {
  test('is listed page by page, names without a namespace first, as last counted', async () => {
    for (const name of ['acme/api', 'acme-x/api', 'zoo/api', 'plain', 'sam/api']) await pushBlob(world, name, noise(100));
    await recountUsage(world.env);
    await pushBlob(world, 'acme/api', noise(50, 2));
    for (const n of [1, 2, 3, 10]) {
      const items = await everyItem<{ namespace: string; bytes: number }>(world, '/usage', { n });
      expect(items.map(({ namespace, bytes }) => `${namespace} ${bytes}`)).toEqual([
        ' 100',
        'acme 100',
        'acme-x 100',
        'sam 100',
        'zoo 100',
      ]);
    }
  });

  test('says when it was counted, also if it has not changed since', async () => {
    await pushBlob(world, 'acme/api', noise(100));
    await recountUsage(world.env);
    await world.env.DB.prepare('UPDATE usage SET counted_at = 1000').run();
    await recountUsage(world.env);
    const { body } = await api('GET', '/usage');
    expect(body.items).toHaveLength(2);
    for (const item of body.items as unknown as Body[])
      expect(Date.parse(item.countedAt ?? '')).toBeGreaterThan(1_000_000_000_000);
  });

  test('is right at once after a push, each blob once, with the total of all', async () => {
    const image = await pushImage(world, 'acme/api', 'v1', 1);
    await pushImage(world, 'acme/base', 'v1', 1);
    await pushImage(world, 'acme/api', 'v2', 1);
    await pushImage(world, 'zoo', 'v1', 2);
    const { body } = await api('GET', '/usage');
    const blobs = '{"seed":1}'.length + 100;
    const size = image.bytes.byteLength;
    expect(body.items).toMatchObject([
      { namespace: '', bytes: size + blobs, blobs: 2, countedAt: null },
      { namespace: 'acme', bytes: 2 * size + blobs, blobs: 2, countedAt: null },
    ]);
    expect(body.total).toEqual({ bytes: 3 * size + 2 * blobs, blobs: 4, staged: 0 });
    await recountUsage(world.env);
    const counted = (await api('GET', '/usage')).body;
    expect(counted.total).toEqual(body.total);
    for (const item of counted.items as unknown as Body[]) expect(item.countedAt).toEqual(expect.any(String));
    expect((await api('GET', '/usage?last=acme')).body).toMatchObject({ items: [], total: null });
  });

  test('of an organization in a large registry is what pushes have added up, without what has no sum', async () => {
    const { bytes } = await pushImage(world, 'acme/api', 'v1', 1);
    await pushImage(world, 'acme/base', 'v1', 1);
    await pushImage(world, 'acme/old', 'v1', 3);
    expect((await api('DELETE', '/repositories/acme/old?force=true')).status).toBeLessThan(300);
    await world.fetch('DELETE', '/v2/acme/base/manifests/v1');
    await world.env.DB.prepare('INSERT INTO repository_usage (repository_id, tags) VALUES (999, 100000)').run();
    const { body } = await api('GET', '/organizations/acme/usage', { as: owner.basic });
    expect(body).toMatchObject({
      bytes: 3 * bytes.byteLength + 2 * ('{"seed":1}'.length + 100),
      repositories: 2,
      tags: 1,
      manifests: 2,
      trash: { bytes: null, repositories: 1, tags: 1, manifests: 0 },
      countedAt: null,
    });
    for (const [as, answer] of [
      [member.basic, '403 DENIED'],
      [stranger.basic, '404 NOT_FOUND'],
    ] as const) {
      expect(refused(await api('GET', '/organizations/acme/usage', { as }))).toBe(answer);
    }
  });

  test('is for administrators', async () => {
    for (const as of [owner.basic, member.basic]) expect(refused(await api('GET', '/usage', { as }))).toBe('403 DENIED');
    expect(refused(await api('GET', '/usage', { as: null }))).toBe('401 UNAUTHORIZED');
  });
});

describe('pull counts', () => {
  let image: Content;

  beforeEach(async () => {
    image = await pushImage(world, 'acme/api', 'v1', 1);
    await pushImage(world, 'acme/api', 'v2', 2);
    for (const tag of ['v1', 'v1', 'v2']) await world.fetch('GET', `/v2/acme/api/manifests/${tag}`);
    await world.env.DB.prepare('UPDATE pulls SET day = 20000').run();
    await world.fetch('GET', '/v2/acme/api/manifests/v1');
  });

  const pulls = async (query: string, as?: string) => api('GET', `/repositories/acme/api/-/pulls${query}`, as ? { as } : {});

  test('are for an image, by tag or digest, or for the whole repository', async () => {
    const today = new Date().toISOString().slice(0, 10);
    const ofImage = {
      total: 3,
      lastPulledAt: today,
      days: [
        { day: today, pulls: 1 },
        { day: '2024-10-04', pulls: 2 },
      ],
    };
    expect((await pulls('?tag=v1')).body).toEqual(ofImage);
    expect((await pulls(`?digest=${image.digest}`)).body).toEqual(ofImage);
    expect((await pulls('')).body).toMatchObject({ total: 4, days: [{ pulls: 1 }, { pulls: 3 }] });
    expect((await pulls('?tag=v2')).body).toMatchObject({ total: 1, lastPulledAt: '2024-10-04' });
    expect((await pulls(`?digest=sha256:${'0'.repeat(64)}`)).body).toEqual({ total: 0, lastPulledAt: null, days: [] });
  });

  test('are separate from checks, of which the last day is shown', async () => {
    expect((await pulls('?tag=v1')).body).not.toHaveProperty('lastCheckedAt');
    await world.fetch('HEAD', '/v2/acme/api/manifests/v1');
    await world.env.DB.prepare('UPDATE manifest_checks SET day = 20001').run();
    expect((await pulls('?tag=v1')).body).toMatchObject({ total: 3, lastCheckedAt: '2024-10-05' });
    expect((await pulls('')).body).toMatchObject({ total: 4, lastCheckedAt: '2024-10-05' });
    expect((await pulls('?tag=v2')).body).not.toHaveProperty('lastCheckedAt');
  });

  test('are refused for invalid requests', async () => {
    expect(refused(await pulls('?tag=v9'))).toBe('404 MANIFEST_UNKNOWN');
    expect(refused(await pulls(`?tag=v1&digest=${image.digest}`))).toBe('400 INVALID');
    expect(refused(await pulls('?tag=v!'))).toBe('400 INVALID');
    expect(refused(await pulls('?digest=sha256:1'))).toBe('400 INVALID');
    expect(refused(await api('GET', '/repositories/acme/none/-/pulls'))).toBe('404 NAME_UNKNOWN');
  });

  test('are for those who may pull, and hide whether a private repository exists', async () => {
    expect((await pulls('', owner.basic)).status).toBe(200);
    const hidden = await pulls('', stranger.basic);
    const absent = await api('GET', '/repositories/acme/none/-/pulls', { as: stranger.basic });
    expect([refused(hidden), hidden.body]).toEqual([refused(absent), absent.body]);
    expect(refused(hidden)).toBe('404 NOT_FOUND');
  });

  test('are found by index: for an image, only its days are read', async () => {
    await world.env.DB.prepare(
      `INSERT INTO pulls (repository_id, digest, day, count)
       WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 3000)
       SELECT id, 'sha256:' || value, 20000, 1 FROM n, repositories`,
    ).run();
    const { env, counts } = counting(world.env);
    const { status } = await anyApi(worldOf(env), 'GET', `/repositories/acme/api/-/pulls?digest=${image.digest}`);
    expect(status).toBe(200);
    expect(counts.rowsRead).toBeLessThan(60);
  });
});
