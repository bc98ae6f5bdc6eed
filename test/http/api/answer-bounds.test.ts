/** Limits of list answers: bytes per answer and rows read per call. */
import { beforeEach, describe, expect, test } from 'vitest';
import { createSubscription } from '../../../src/webhooks/subscriptions.ts';
import { counting } from '../../world/counting.ts';
import { noise, pushBlob, pushImage } from '../../world/images.ts';
import { makeOrganization } from '../../world/organizations.ts';
import { api } from '../../world/people.ts';
import { recordAll } from '../../world/record.ts';
import { builtOnce, ORIGIN, type World, worldOf } from '../../world/world.ts';

const MAX_BYTES = 1024 * 1024;
const by = { subject: 'user:admin' };
let world: World;

const build = builtOnce(async (made) => {
  world = made;
  await makeOrganization(world, 'acme');
});

beforeEach(async () => {
  world = await build();
});

/** Reads all pages, and expects that each is within the limit. @returns the items, and the bytes of the largest page */
async function walk(path: string): Promise<{ items: { id: string | number }[]; largest: number; pages: number }> {
  const items: { id: string | number }[] = [];
  let [largest, pages] = [0, 0];
  for (let last: string | null = ''; last !== null; pages++) {
    const { status, text, body } = await page(`${path}${last === '' ? '' : `&last=${encodeURIComponent(last)}`}`);
    expect(status, text.slice(0, 200)).toBe(200);
    const { length } = new TextEncoder().encode(text);
    expect(length).toBeLessThanOrEqual(MAX_BYTES);
    largest = Math.max(largest, length);
    items.push(...body.items);
    last = body.next;
  }
  return { items, largest, pages };
}

async function page(path: string) {
  const response = await world.fetch('GET', `/api/v1${path}`);
  const text = await response.text();
  return { status: response.status, text, body: JSON.parse(text) as { items: { id: string }[]; next: string | null } };
}

/** Creates events with the longest targets, made of a character that takes three bytes, or six if JSON escapes it. */
async function manyEvents(count: number, character: string): Promise<void> {
  const bytes = new TextEncoder().encode(JSON.stringify(character)).length - 2;
  const target = JSON.stringify({ subject: 'user:x', note: character.repeat(Math.floor(16_000 / bytes)) });
  const one = () => ({ about: '', by, select: `SELECT 'user.changed' AS type, :target AS target`, parameters: { target } });
  for (let n = 0; n < count; n += 50) await recordAll(world.env, Array.from({ length: Math.min(50, count - n) }, one));
}

describe('GET /events', () => {
  test.each(['x', '€', '\u0001'])('has 1 MiB at most, and its pages leave nothing out: %j', async (character) => {
    await manyEvents(200, character);
    const { items, pages } = await walk('/events?n=1000');
    const ids = items.map(({ id }) => Number(id));
    expect(ids.length).toBeGreaterThanOrEqual(200);
    expect(ids).toEqual([...new Set(ids)].sort((a, b) => b - a));
    expect(Math.min(...ids)).toBe(1);
    expect(pages).toBeGreaterThan(2);
  });

  test.each([
    'n=1000',
    'n=1',
    'n=1000&actor=user:nobody',
    'n=1000&type=tag.moved',
    'n=1000&organization=acme',
    'n=1000&repository=acme/api&type=tag.moved',
  ])('reads some thousands of rows at most, of 20,000 that there are: %s', async (query) => {
    await world.env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
       INSERT INTO events (at, type, about, sequence, target, actor)
       SELECT unixepoch(), 'tag.created', 'acme/api', i, '{"tag":"v' || i || '"}', 'user:alice' FROM n`,
    ).run();
    await world.env.DB.prepare('INSERT OR IGNORE INTO repositories (name, created_at) VALUES (?1, 0)').bind('acme/api').run();
    const { env, counts } = counting(world.env);
    expect((await api(worldOf(env), 'GET', `/events?${query}`)).status).toBe(200);
    expect(counts.rowsRead).toBeLessThan(5000);
  });
});

test('a list of webhooks of maximum size stays within 1 MiB and leaves nothing out', async () => {
  const patterns = Array.from({ length: 50 }, (_, n) => `acme/${'x'.repeat(240)}${n}*`);
  const tags = Array.from({ length: 50 }, (_, n) => `${'v'.repeat(120)}${n}*`);
  const ids: string[] = [];
  for (let n = 0; n < 50; n++) {
    const { subscription } = await createSubscription(
      world.env,
      {
        scope: 'organization:acme',
        description: '€'.repeat(200),
        endpoint: { url: `https://hooks.example.com/${'p'.repeat(1900)}`, headers: {} },
        types: ['*'],
        repositories: patterns,
        tags,
        format: 'native',
        origin: ORIGIN,
      },
      { by, idempotency: null, requireScope: () => {} },
    );
    ids.push(subscription.id);
  }
  const { items } = await walk('/organizations/acme/webhooks?n=1000');
  expect(items.map(({ id }) => id)).toEqual(ids.sort());
});

/** Inserts many rows at once, which requests could not do within a test. @param sql has ?1, the number of rows */
const rows = (sql: string, count: number) =>
  world.env.DB.prepare(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) ${sql}`)
    .bind(count)
    .run();

test('a preview of rules with long descriptions, about tags with long names, stays within 1 MiB and says that it is truncated', async () => {
  await pushImage(world, 'acme/api', 'v1');
  await rows(
    `INSERT INTO tags SELECT m.repository_id, 'v' || i || '-' || substr('${'x'.repeat(128)}', 1, 120), m.digest, 1 FROM n, manifests m`,
    900,
  );
  const selection = { tagStatus: 'any', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 1 };
  const rule = { rulePriority: 1, description: '\ud800'.repeat(256), selection, action: { type: 'expire' } };
  const response = await world.fetch('POST', '/api/v1/repositories/acme/api/-/lifecycle/preview', {
    body: JSON.stringify({ policy: { rules: [rule] } }),
    headers: { 'content-type': 'application/json' },
  });
  const text = await response.text();
  expect(response.status, text.slice(0, 200)).toBe(200);
  expect(new TextEncoder().encode(text).length).toBeLessThanOrEqual(MAX_BYTES);
  const { tags, items, truncated } = JSON.parse(text) as { tags: number; items: unknown[]; truncated: boolean };
  expect([tags, truncated]).toEqual([900, true]);
  expect(items.length).toBeGreaterThan(300);
});

test('a page about content that thousands of repositories have lost stays within 1 MiB and lists every blob', async () => {
  const { digest } = await pushBlob(world, 'acme/api', noise(100));
  await rows(
    `INSERT INTO repositories (name, created_at) SELECT 'acme/' || substr('${'x'.repeat(250)}', 1, 240) || i, 0 FROM n`,
    1500,
  );
  await rows(`INSERT INTO blobs SELECT 'sha256:' || printf('%064x', i), 1, 'blobs/' || i, 0, 1 FROM n WHERE i < ?1`, 30);
  await rows(
    `INSERT INTO repository_blobs SELECT 'sha256:' || printf('%064x', i), r.id, 0 FROM n, repositories r WHERE i < ?1 AND (i = 1 OR r.id % 25 = 0)`,
    30,
  );
  await world.env.DB.prepare('UPDATE blobs SET missing_since = 1 WHERE digest = ?1').bind(digest).run();
  const { items, pages } = await walk('/fsck?');
  const told = new Set(items.map((item) => (item as unknown as { digest: string }).digest));
  expect(told.size).toBe(30);
  expect(pages).toBeGreaterThan(2);
  expect(items.map((item) => (item as unknown as { problem: string }).problem).join()).toContain('more other repositories');
});
