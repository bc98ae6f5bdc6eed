/**
 * What the pages of repositories and images cost in D1: calls, rows, and rounds of calls that wait for each other. One round
 * reads the rights of the reader. A commit that raises a number must say why.
 */
import { beforeEach, expect, test } from 'vitest';
import { Browser, browserOf } from '../../world/browser.ts';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  LAYER_TYPE,
  pushBlob,
  putManifest,
  textOf,
} from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { tarOf } from '../../world/tar.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const LIST = `/repositories/${REPOSITORY}`;
const LAYERS = 60;
const TAGS = 120;

let world: World;
let cookie: string | null;
let image: Content;
let layer: Content;

/** An image of this many layers, of which the first ones are shared with others. */
async function pushLayers(at: World, tag: string, layers: Content[], n: number): Promise<Content> {
  const config = await pushBlob(at, REPOSITORY, JSON.stringify({ os: 'linux', architecture: n % 2 ? 'arm64' : 'amd64', n }));
  const described = layers.map((one) => descriptorOf(one, LAYER_TYPE));
  const document = { schemaVersion: 2, mediaType: IMAGE_TYPE, config: descriptorOf(config, CONFIG_TYPE), layers: described };
  const made = await contentOf(JSON.stringify(document));
  expect((await putManifest(at, REPOSITORY, tag, textOf(made))).status).toBe(201);
  return made;
}

const build = builtOnce(async (made) => {
  const layers: Content[] = [];
  for (let n = 0; n < LAYERS; n++) layers.push(await pushBlob(made, REPOSITORY, tarOf([{ path: `app/${n}` }])));
  [layer] = layers as [Content];
  const images = [];
  for (let n = 0; n < 4; n++) images.push(await pushLayers(made, `v${n}`, layers, n));
  [image] = images as [Content];
  const manifests = images.map((one, n) =>
    descriptorOf(one, IMAGE_TYPE, { platform: { os: 'linux', architecture: ['amd64', 'arm64', 's390x', 'ppc64le'][n] } }),
  );
  for (const [n, tag] of ['multi', 'multi2'].entries()) {
    const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests, annotations: { n: `${n}` } };
    expect((await putManifest(made, REPOSITORY, tag, index, INDEX_TYPE)).status).toBe(201);
  }
  const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${TAGS})`;
  await made.env.DB.batch(
    [
      `${numbers} INSERT INTO tags SELECT t.repository_id, iif(i % 2, 't' || i, 'sha256-' || printf('%064x', i)), t.digest, i
       FROM n, tags t WHERE t.name = 'v0'`,
      `${numbers} INSERT INTO tag_history (repository_id, tag, point, at, digest, actor)
       SELECT t.repository_id, 'v0', i + 1, i, t.digest, 'user:admin' FROM n, tags t WHERE t.name = 'v0'`,
    ].map((sql) => made.env.DB.prepare(sql)),
  );
  ({ cookie } = await browserOf(made));
});

beforeEach(async () => {
  world = await build();
});

/** Counts what a page costs that was shown before, so that platforms are known. */
async function costOf(path: string): Promise<{ calls: number; rounds: number; rows: number; kilobytes: number }> {
  const counts = { calls: 0, rounds: 0, rows: 0 };
  let open = 0;
  const DB = intercepted(world.env.DB, async (name, effect, statement, args) => {
    if (open++ === 0) counts.rounds++;
    counts.calls++;
    try {
      const results = (statement ? [await statement.all()] : await effect()) as D1Result[];
      for (const { meta } of results) counts.rows += meta.rows_read;
      if (!statement) return results;
      if (name !== 'DB.first') return results[0];
      const row = results[0]?.results[0] as Record<string, unknown> | undefined;
      const [column] = args as [string?];
      return (column === undefined ? row : row?.[column]) ?? null;
    } finally {
      open--;
    }
  });
  const ask = async (of: World) => {
    const browser = new Browser(of);
    browser.cookie = cookie;
    return (await browser.page(path)).length / 1000;
  };
  await ask(world);
  const kilobytes = await ask(worldOf({ ...world.env, DB }));
  return { ...counts, kilobytes };
}

test.each<[string, () => string, { calls: number; rounds: number; rows: number }]>([
  ['the tags of a repository', () => LIST, { calls: 4, rounds: 2, rows: 1000 }],
  ['the tags with a filter', () => `${LIST}?filter=t1`, { calls: 4, rounds: 2, rows: 600 }],
  // The names are sorted first.
  ['the tags by version', () => `${LIST}?sort=version`, { calls: 5, rounds: 3, rows: 1050 }],
  ['a tag of an image of 60 layers', () => `${LIST}/-/tags/v0`, { calls: 4, rounds: 2, rows: 200 + LAYERS }],
  ['an image of 60 layers', () => `${LIST}/-/images/${image.digest}`, { calls: 4, rounds: 2, rows: 200 + LAYERS }],
  // The image of one platform is read once the index is known. Its blobs are summed over all platforms.
  ['an index of four images of 60 layers', () => `${LIST}/-/tags/multi`, { calls: 5, rounds: 3, rows: 200 + 7 * 4 * LAYERS }],
  ['the files of a layer', () => `${LIST}/-/layers/${layer.digest}`, { calls: 4, rounds: 2, rows: 20 }],
  ['a comparison', () => `${LIST}/-/compare?from=v0&to=v1`, { calls: 5, rounds: 2, rows: 2 * (200 + LAYERS) }],
  // It reads 20 layers, one after the other.
  ['a comparison that reads files', () => `${LIST}/-/compare?from=v0&to=v1&files=read`, { calls: 25, rounds: 22, rows: 600 }],
  ['the history of a tag', () => `${LIST}/-/tags/v0/history`, { calls: 4, rounds: 2, rows: 150 }],
  ['a deletion', () => `${LIST}/-/deletion?tag=v0&tag=t1`, { calls: 5, rounds: 3, rows: 60 }],
])('the page of %s costs no more than its budget', async (_, path, budget) => {
  const { kilobytes, ...cost } = await costOf(path());
  const over = Object.entries(budget).filter(([name, most]) => cost[name as keyof typeof cost] > most);
  expect(over, JSON.stringify(cost)).toEqual([]);
  expect(kilobytes).toBeLessThan(150);
});
