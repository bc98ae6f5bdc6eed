/** The query plans of changes of tags and manifests. They search an index and scan no table. */
import { beforeEach, expect, test } from 'vitest';
import type { Env } from '../../src/env.ts';
import type { RepositoryName } from '../../src/oci/name.ts';
import { deleteExpired } from '../../src/registry/manifests/deletion.ts';
import { counting } from '../world/counting.ts';
import { type Content, IMAGE_TYPE, imageIn, pushImage, textOf } from '../world/images.ts';
import { api } from '../world/people.ts';
import { builtOnce, type World, worldOf } from '../world/world.ts';

const REPOSITORY = 'acme/api' as RepositoryName;

let world: World;
let one: Content;
let two: Content;

const build = builtOnce(async (made) => {
  world = made;
  one = await pushImage(world, REPOSITORY, 'v1', 1);
  two = await imageIn(world, REPOSITORY, 2);
});

beforeEach(async () => {
  world = await build();
});

/** The same stores, with a record of all statements that are prepared. */
function listening(env: Env): { env: Env; statements: Set<string> } {
  const statements = new Set<string>();
  const prepare = (sql: string) => {
    statements.add(sql);
    return env.DB.prepare(sql);
  };
  const DB = new Proxy(env.DB, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      return name === 'prepare' ? prepare : typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { env: { ...env, DB }, statements };
}

/**
 * The steps of a query plan that scan a whole table, or all rows of a repository in a table. Lists in parameters and
 * intermediate results may be scanned.
 */
async function scansOf(sql: string): Promise<string[]> {
  const parameters = Math.max(0, ...[...sql.matchAll(/\?(\d+)/g)].map(([, number]) => Number(number)));
  const values = Array.from({ length: parameters || sql.split('?').length - 1 }, () => '[]');
  const { results } = await world.env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .bind(...values)
    .all<{ detail: string }>();
  const tables = await world.env.DB.prepare(`SELECT name FROM sqlite_master WHERE type = 'table'`).all<{ name: string }>();
  const aliases = [
    ...sql.matchAll(
      /\b(?:FROM|JOIN)\s+(\w+)(?:\s+(?:AS\s+)?(?!WHERE|JOIN|ON|LEFT|INDEXED|ORDER|GROUP|SET|CROSS|UNION|LIMIT)(\w+))?/gi,
    ),
  ]
    .filter(([, table]) => tables.results.some(({ name }) => name === table))
    .flatMap(([, table, alias]) => [table, alias ?? table]);
  return results
    .map(({ detail }) => detail)
    .filter((detail) => aliases.includes(/^(?:SCAN|SEARCH) (\w+)/.exec(detail)?.[1]) && !detail.includes('VIRTUAL TABLE'))
    .filter((detail) => detail.startsWith('SCAN') || detail.includes('(repository_id=?)'));
}

const put =
  (reference: string, image: Content, headers: Record<string, string> = {}) =>
  (at: World) =>
    at.fetch('PUT', `/v2/${REPOSITORY}/manifests/${reference}`, {
      headers: { 'content-type': IMAGE_TYPE, ...headers },
      body: textOf(image),
    });
const ask = (method: string, path: string, body?: unknown) => (at: World) =>
  api(at, method, `/repositories/${REPOSITORY}/-/${path}`, body === undefined ? {} : { body });

test.each<[string, (at: World) => Promise<unknown>]>([
  ['a push of a new tag', (at) => put('v2', two)(at)],
  ['a push that moves a tag', (at) => put('v1', two)(at)],
  ['a push without a tag', (at) => put(two.digest, two)(at)],
  ['a push on condition', (at) => put('v1', two, { 'if-match': `"${one.digest}"`, 'if-none-match': '"x"' })(at)],
  ['a push on condition that is refused', (at) => put('v1', two, { 'if-none-match': '*' })(at)],
  ['a push without a tag on condition', (at) => put(two.digest, two, { 'if-none-match': '*' })(at)],
  [
    'a push under a rule that is refused',
    async (at) => {
      await ask('PUT', 'tag-mutability', { imageTagMutability: 'IMMUTABLE' })(at);
      await put('v1', two)(at);
    },
  ],
  ['a HEAD before a push', (at) => at.fetch('HEAD', `/v2/${REPOSITORY}/manifests/${one.digest}`)],
  ['a history', ask('GET', 'tags/v1/history')],
  ['an image', ask('GET', 'images/v1')],
  ['the preview of a deletion', ask('POST', 'deletion/preview', { tags: ['v1'], orphans: 'delete' })],
  [
    'the deletion of several tags and images',
    (at) => ask('POST', 'deletion', { tags: ['v1'], images: [one.digest], orphans: 'delete' })(at),
  ],
  [
    'a rollback',
    async (at) => {
      await put('v1', two)(at);
      await ask('POST', 'tags/v1/rollback', { point: 1 })(at);
    },
  ],
  ['the deletion of a tag', (at) => at.fetch('DELETE', `/v2/${REPOSITORY}/manifests/v1`)],
  ['the deletion of a manifest', (at) => at.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${one.digest}`)],
  [
    'a large manifest that comes and goes',
    async (at) => {
      const large = await pushImage(at, REPOSITORY, 'large', 3, { annotations: { text: 'x'.repeat(200_000) } });
      await at.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${large.digest}`);
    },
  ],
  [
    'what a rule has chosen',
    async (at) => {
      const { digest } = one;
      const doomed = { rule: '', tags: [{ tag: 'v1' as never, digest, reserved: false }], levels: [[digest]] };
      await deleteExpired(at.env, REPOSITORY, doomed, { by: { subject: 'registry' }, reason: 'rule 1' });
    },
  ],
])('%s reads no table from end to end', async (_, request) => {
  const { env, statements } = listening(world.env);
  await request(worldOf(env));
  expect(statements.size).toBeGreaterThan(0);
  for (const sql of statements) expect(await scansOf(sql), sql).toEqual([]);
});

test('a scan is recognized', async () => {
  expect(await scansOf(`SELECT digest FROM manifests m WHERE size = ?1`)).toEqual(['SCAN m']);
  expect(await scansOf('SELECT name FROM tags WHERE digest = ?1')).toHaveLength(1);
  expect(await scansOf('SELECT child FROM manifest_references WHERE repository_id = ?1 AND parent = ?2')).toHaveLength(1);
  expect(
    await scansOf('SELECT value FROM json_each(?1) v CROSS JOIN tags t ON t.repository_id = 1 AND t.name = value'),
  ).toEqual([]);
});

test('a change of a tag reads no more rows for a long history', async () => {
  const changes: ((at: World) => Promise<{ status: number }>)[] = [
    put('v1', two),
    ask('POST', 'tags/v1/rollback', { digest: one.digest }),
    ask('GET', 'tags/v1/history?n=5'),
    (at) => at.fetch('DELETE', `/v2/${REPOSITORY}/manifests/v1`),
    put('v1', two),
    (at) => at.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${two.digest}`),
  ];
  const costs = async () => {
    const all: number[] = [];
    for (const change of changes) {
      const { env, counts } = counting(world.env);
      expect((await change(worldOf(env))).status).toBeLessThan(300);
      all.push(counts.rowsRead);
    }
    return all;
  };
  await put('v1', two)(world);
  await put('v1', one)(world);
  // In both rounds the first change pushes a new manifest, which is counted, and is in the trash.
  expect((await world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${two.digest}`)).status).toBe(202);
  const few = await costs();
  await put('v1', one)(world);
  await world.env.DB.prepare(
    `INSERT INTO tag_history (repository_id, tag, point, at, digest, previous, actor)
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
     SELECT repository_id, tag, point + i, at, digest, previous, actor FROM tag_history, n
     WHERE point = (SELECT max(point) FROM tag_history)`,
  ).run();
  const many = await costs();
  for (const [n, rows] of many.entries()) expect(rows, `change ${n}`).toBeLessThanOrEqual((few[n] ?? 0) + 5);
});
