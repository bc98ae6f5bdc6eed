/** The catalog: who may list it, and its pages. */
import { beforeAll, describe, expect, test } from 'vitest';
import { pushBlob, pushImage, refusal } from '../../world/images.ts';
import { everyPage, nextPage } from '../../world/reading.ts';
import { tokenFor } from '../../world/tokens.ts';
import { newWorld, type World } from '../../world/world.ts';

interface Catalog {
  repositories: string[];
}

const NAMES = ['a', 'a-b', 'a.b', 'a/b', 'a0', 'a_b', 'aa', 'constructor'];
const path = '/v2/_catalog';

let world: World;

beforeAll(async () => {
  world = await newWorld();
  for (const name of [...NAMES].reverse()) await pushBlob(world, name, '{}');
});

const list = async (query: string) => {
  const response = await world.fetch('GET', `${path}${query}`);
  expect(response.status).toBe(200);
  return { repositories: ((await response.json()) as Catalog).repositories, next: nextPage(response) };
};

describe('the catalog', () => {
  test('is in byte order and includes repositories without tags', async () => {
    expect(await list('')).toEqual({ repositories: NAMES, next: null });
  });

  test('is paged in any size, with every name once', async () => {
    for (const n of [1, 3, 7, 8, 9]) {
      const pages = await everyPage<Catalog>(world, `${path}?n=${n}`);
      expect(pages.flatMap(({ repositories }) => repositories)).toEqual(NAMES);
      expect(pages).toHaveLength(Math.ceil(NAMES.length / n));
    }
  });

  test('of 0 names is empty and has no link', async () => {
    expect(await list('?n=0')).toEqual({ repositories: [], next: null });
  });

  test('continues after a name that does not exist, and shows later additions', async () => {
    expect((await list('?n=2&last=a/0')).repositories).toEqual(['a/b', 'a0']);
    const pages = await everyPage<Catalog>(world, `${path}?n=5`, async () => {
      await pushImage(world, 'zz/new', 'v1');
      await pushImage(world, '0/new', 'v1');
    });
    expect(pages.flatMap(({ repositories }) => repositories)).toEqual([...NAMES, 'zz/new']);
  });

  test.each(['-1', 'abc', '2.5', '1e3', '', '1'.repeat(20)])('of n=%j is a 400 UNSUPPORTED', async (n) => {
    expect(await refusal(await world.fetch('GET', `${path}?n=${n}`))).toBe('400 UNSUPPORTED');
  });

  test.each([['%'], ["' OR 1=1 --"], ['\0'], ['a'.repeat(20_000)], ['\u{1f600}']])(
    'after %.10j lists what follows, taken literally',
    async (last) => {
      const all = (await list('')).repositories;
      expect((await list(`?last=${encodeURIComponent(last)}`)).repositories).toEqual(all.filter((name) => name > last));
    },
  );

  test('of thousands has at most 1,000 names a page, each once', async () => {
    await world.env.DB.prepare(
      `WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < 5000)
       INSERT INTO repositories (name, created_at) SELECT 'many/r' || n, 0 FROM counter`,
    ).run();
    const { repositories, next } = await list('?n=1000000');
    expect([repositories.length, nextPage(await world.fetch('GET', path))]).toEqual([1000, next]);
    const names = (await everyPage<Catalog>(world, path)).flatMap((page) => page.repositories);
    expect(names).toEqual([...new Set(names)].sort());
    expect(names.filter((name) => name.startsWith('many/'))).toHaveLength(5000);
  });
});

describe('is closed to', () => {
  const seen = async (authorization: string | null) => {
    const response = await world.fetch('GET', `${path}?n=1`, { authorization });
    const all = `${await response.clone().text()} ${[...response.headers]}`;
    expect(all).not.toContain('constructor');
    expect(response.headers.get('link')).toBeNull();
    return refusal(response);
  };

  test('an anonymous caller', async () => {
    expect(await seen(null)).toBe('401 UNAUTHORIZED');
  });

  test('a token for some repositories, even if its owner could list them all', async () => {
    expect(await seen(`Bearer ${await tokenFor(world, 'repository:a:*', 'repository:catalog:*')}`)).toBe('401 UNAUTHORIZED');
  });
});
