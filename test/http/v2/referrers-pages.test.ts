/**
 * Long lists of referrers: pages limited in number and bytes, with every entry exactly once.
 *
 * @module-tag walk
 */
import { beforeAll, describe, expect, test } from 'vitest';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  pushBlob,
  putManifest,
  refusal,
} from '../../world/images.ts';
import { everyPage } from '../../world/reading.ts';
import { inFull } from '../../world/sampling.ts';
import { newWorld, type World } from '../../world/world.ts';

interface Referrers {
  manifests: { digest: string; artifactType: string; annotations: Record<string, string> }[];
}

const MIB = 1024 * 1024;
const subject = `sha256:${'c'.repeat(64)}`;
const path = (repository: string, query = '') => `/v2/${repository}/referrers/${subject}${query}`;
const TYPES = ['application/vnd.a', 'application/vnd.b', 'application/vnd.c'];

let world: World;
let config: Content;

beforeAll(async () => {
  world = await newWorld();
  for (const repository of ['acme/many', 'acme/large', 'acme/mixed']) config = await pushBlob(world, repository, '{}');
});

/** Pushes a referrer. @returns its digest */
async function refer(repository: string, n: number, bytes = 0): Promise<string> {
  const document = {
    schemaVersion: 2,
    artifactType: TYPES[n % TYPES.length],
    config: descriptorOf(config, CONFIG_TYPE),
    layers: [],
    subject: { mediaType: IMAGE_TYPE, digest: subject, size: 1 },
    annotations: { n: String(n), text: 'x'.repeat(bytes) },
  };
  const { digest } = await contentOf(JSON.stringify(document));
  expect((await putManifest(world, repository, digest, document)).status).toBe(201);
  return digest;
}

async function referAll(repository: string, count: number, bytes: (n: number) => number = () => 0): Promise<string[]> {
  const all: string[] = [];
  for (let n = 0; n < count; n++) all.push(await refer(repository, n, bytes(n)));
  return all;
}

const digestsOf = (pages: Referrers[]) => pages.flatMap(({ manifests }) => manifests.map(({ digest }) => digest));
const remove = (repository: string, digest: string) => world.fetch('DELETE', `/v2/${repository}/manifests/${digest}`);

describe('a thousand referrers', () => {
  let all: string[];

  beforeAll(async () => {
    all = await referAll('acme/many', 1000);
  }, 120_000);

  test('are returned in one page or many, each once, in one order', { tags: 'slow' }, async () => {
    const [whole] = (await everyPage<Referrers>(world, path('acme/many'))) as [Referrers];
    const listed = digestsOf([whole]);
    expect([...listed].sort()).toEqual([...all].sort());
    for (const n of [7, 100, 999]) {
      const pages = await everyPage<Referrers>(world, path('acme/many', `?n=${n}`));
      expect(pages.map(({ manifests }) => manifests.length)).toEqual(
        pages.map((_, page) => (page < pages.length - 1 ? n : 1000 - n * (pages.length - 1))),
      );
      expect(digestsOf(pages)).toEqual(listed);
    }
  });

  test('of one type are returned in pages of that type', async () => {
    const pages = await everyPage<Referrers>(world, path('acme/many', `?n=50&artifactType=${TYPES[1]}`));
    expect(digestsOf(pages).sort()).toEqual(all.filter((_, n) => n % TYPES.length === 1).sort());
    expect(new Set(pages.flatMap(({ manifests }) => manifests.map(({ artifactType }) => artifactType)))).toEqual(
      new Set([TYPES[1]]),
    );
  });

  test('continue after the last one of a page, although it was deleted meanwhile and others were added and removed', async () => {
    const before = digestsOf(await everyPage<Referrers>(world, path('acme/many')));
    const gone = new Set<string>();
    const added: string[] = [];
    const pages = await everyPage<Referrers>(world, path('acme/many', '?n=100'), async (page) => {
      const [last, first, ahead] = [before[page * 100 - 1], before[0], before[page * 100 + 50]] as [string, string, string];
      for (const digest of page === 1 ? [last, first, ahead] : [last, ahead]) {
        if (gone.has(digest)) continue;
        gone.add(digest);
        await remove('acme/many', digest);
      }
      added.push(await refer('acme/many', 1000 + page));
    });
    const seen = digestsOf(pages);
    expect(new Set(seen).size).toBe(seen.length);
    const untouched = before.filter((digest) => !gone.has(digest));
    const extra = new Set([...added, ...gone]);
    expect(seen.filter((digest) => !extra.has(digest))).toEqual(untouched);
  });

  test.each(['-1', 'abc', '2.5', '1e3', '', '1'.repeat(20)])('of n=%j are a 400 UNSUPPORTED', async (n) => {
    expect(await refusal(await world.fetch('GET', path('acme/many', `?n=${n}`)))).toBe('400 UNSUPPORTED');
  });

  test('with n=0 are returned one by one, because a list must never end without a link while there is more', async () => {
    const response = await world.fetch('GET', path('acme/many', '?n=0'));
    expect(((await response.json()) as Referrers).manifests).toHaveLength(1);
    expect(response.headers.get('link')).toContain('n=0');
  });

  test.each([
    ['SQL', "' OR 1=1 --", "' OR 1=1 --"],
    ['wildcards', '%', '_'],
    ['NUL', '\0', '\0'],
    ['20,000 characters', 'z'.repeat(20_000), 'z'.repeat(20_000)],
    ['another script', '\u{1f600}', 'é'],
  ])('after a place that holds %s are what follows in the order of the bytes', async (_, lastType, last) => {
    const query = new URLSearchParams({ lastType, last, n: '1' });
    const response = await world.fetch('GET', path('acme/many', `?${query}`));
    expect(response.status).toBe(200);
    expect(((await response.json()) as Referrers).manifests).toHaveLength(lastType < 'application' ? 1 : 0);
  });
});

describe('referrers with large annotations', () => {
  test('are returned in pages of a few megabytes, each once and complete', { tags: 'slow' }, async () => {
    const all = await referAll('acme/large', 30, () => MIB);
    const sizes: number[] = [];
    const pages: Referrers[] = [];
    for (let at: string | null = path('acme/large'); at !== null; ) {
      const response: Response = await world.fetch('GET', at);
      const text = await response.text();
      sizes.push(text.length);
      pages.push(JSON.parse(text) as Referrers);
      at = /^<([^>]+)>/.exec(response.headers.get('link') ?? '')?.[1] ?? null;
    }
    expect(digestsOf(pages).sort()).toEqual(all.sort());
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4 * MIB);
    expect(pages.length).toBeLessThan(15);
    for (const { annotations } of pages.flatMap(({ manifests }) => manifests)) expect(annotations.text).toHaveLength(MIB);
  });

  test('are returned together with small ones, wherever their documents are stored', { tags: 'slow' }, async () => {
    const sizes = [0, 100_000, 200_000, 3 * MIB, 7 * MIB];
    const all = await referAll('acme/mixed', inFull(60, 10), (n) => sizes[n % sizes.length] as number);
    for (const n of ['', '?n=1', '?n=7']) {
      const pages = await everyPage<Referrers>(world, path('acme/mixed', n));
      expect(digestsOf(pages).sort()).toEqual([...all].sort());
      for (const { annotations } of pages.flatMap(({ manifests }) => manifests)) {
        const size = sizes[Number(annotations.n) % sizes.length] as number;
        expect(annotations.text?.length).toBe(size > 4 * MIB ? undefined : size);
      }
      for (const page of pages) {
        expect(page.manifests.length).toBeGreaterThan(0);
        expect(JSON.stringify(page).length).toBeLessThanOrEqual(4 * MIB);
      }
    }
  });

  test('that are longer than a page lose their longest annotations, and no more', { tags: 'slow' }, async () => {
    await pushBlob(world, 'acme/one', '{}');
    const texts = { a: 'a'.repeat(2 * MIB), b: 'b'.repeat(3 * MIB), c: '\u20ac'.repeat(MIB / 2), d: '"'.repeat(1000), e: '' };
    const document = {
      schemaVersion: 2,
      config: descriptorOf(config, CONFIG_TYPE),
      layers: [],
      subject: { mediaType: IMAGE_TYPE, digest: subject, size: 1 },
      annotations: texts,
    };
    const { digest } = await contentOf(JSON.stringify(document));
    expect((await putManifest(world, 'acme/one', digest, document)).status).toBe(201);
    const response = await world.fetch('GET', path('acme/one'));
    const text = await response.text();
    expect(new TextEncoder().encode(text).byteLength).toBeLessThanOrEqual(4 * MIB);
    const { manifests } = JSON.parse(text) as Referrers;
    expect(manifests.map(({ annotations }) => annotations)).toEqual([{ a: texts.a, c: texts.c, d: texts.d, e: '' }]);
  });
});
