/** Tags: what a push does to them, how they are listed, and reading what was just written. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Content, imageIn, pushBlob, pushImage, putManifest, refusal, textOf } from '../../world/images.ts';
import { digestAt, everyPage, nextPage, type TagList, tagsOf } from '../../world/reading.ts';
import { newWorld, type World } from '../../world/world.ts';

let world: World;

beforeAll(async () => {
  world = await newWorld();
  await setTags('acme/tags', ['b', 'a', 'C', '_x', '10', '9', 'a.b', 'a-b', 'aa', 'A']);
});

const BYTEWISE = ['10', '9', 'A', 'C', '_x', 'a', 'a-b', 'a.b', 'aa', 'b'];

/** Sets tags, a hundred in each request. */
async function setTags(repository: string, tags: string[]): Promise<void> {
  const { bytes, digest } = await imageIn(world, repository, 1);
  for (let at = 0; at < tags.length; at += 100) {
    const query = tags.slice(at, at + 100).map((tag) => `tag=${tag}`);
    const response = await putManifest(world, repository, `${digest}?${query.join('&')}`, new TextDecoder().decode(bytes));
    expect(response.status).toBe(201);
  }
}

async function list(query: string, repository = 'acme/tags'): Promise<{ tags: string[]; next: string | null }> {
  const response = await world.fetch('GET', `/v2/${repository}/tags/list${query}`);
  expect(response.status).toBe(200);
  const { name, tags } = (await response.json()) as TagList;
  expect(name).toBe(repository);
  return { tags, next: nextPage(response) };
}

describe('the list', () => {
  test('is in byte order, and complete unless a limit is given', async () => {
    expect(await list('')).toEqual({ tags: BYTEWISE, next: null });
  });

  test('is empty for a repository without tags, and never null', async () => {
    await pushBlob(world, 'acme/untagged', 'a blob');
    expect(await list('', 'acme/untagged')).toEqual({ tags: [], next: null });
    expect(await list('?last=zzz')).toEqual({ tags: [], next: null });
  });

  test('of an unknown repository is a 404 NAME_UNKNOWN, whatever the query', async () => {
    for (const query of ['', '?n=0', '?n=5&last=a']) {
      expect(await refusal(await world.fetch('GET', `/v2/acme/nowhere/tags/list${query}`))).toBe('404 NAME_UNKNOWN');
    }
  });

  test('is paged in any size, with every tag once', async () => {
    for (const n of [1, 2, 3, 7, 9, 10, 11]) {
      const pages = await everyPage<TagList>(world, `/v2/acme/tags/tags/list?n=${n}`);
      expect(pages.flatMap(({ tags }) => tags)).toEqual(BYTEWISE);
      expect(pages).toHaveLength(Math.ceil(BYTEWISE.length / n));
    }
  });

  test('of 0 tags is empty and has no link', async () => {
    expect(await list('?n=0')).toEqual({ tags: [], next: null });
    expect(await list('?n=0&last=a')).toEqual({ tags: [], next: null });
  });

  test('has a link only if there is more', async () => {
    expect(await list('?n=10')).toEqual({ tags: BYTEWISE, next: null });
    expect((await list('?n=9')).next).toBe('/v2/acme/tags/tags/list?n=9&last=aa');
    expect((await list('?n=4&last=_x')).next).toBe('/v2/acme/tags/tags/list?n=4&last=aa');
    expect(await list('?n=5&last=_x')).toEqual({ tags: ['a', 'a-b', 'a.b', 'aa', 'b'], next: null });
  });

  test('continues after its last tag, although that was deleted meanwhile, and shows later additions', async () => {
    await setTags('acme/moving', ['a', 'b', 'c', 'd']);
    const pages = await everyPage<TagList>(world, '/v2/acme/moving/tags/list?n=1', async (page) => {
      if (page === 1) await world.fetch('DELETE', '/v2/acme/moving/manifests/a');
      if (page === 2) await world.fetch('DELETE', '/v2/acme/moving/manifests/c');
      if (page === 2) await setTags('acme/moving', ['Z', 'bb']);
    });
    expect(pages.flatMap(({ tags }) => tags)).toEqual(['a', 'b', 'bb', 'd']);
  });

  test('has at most 1,000 tags a page, however many are requested', async () => {
    const many = Array.from({ length: 1100 }, (_, n) => `t${String(n).padStart(4, '0')}`);
    await setTags('acme/many', many);
    for (const query of ['', '?n=1000000', '?n=999999999999999']) {
      const page = await list(query, 'acme/many');
      expect(page).toEqual({ tags: many.slice(0, 1000), next: '/v2/acme/many/tags/list?n=1000&last=t0999' });
    }
    expect(await tagsOf(world, 'acme/many')).toEqual(many);
  });

  test.each(['-1', 'abc', '2.5', '1e3', '', '0x10', '+5', ' 5', '5%00', '1'.repeat(20), '٣', 'NaN'])(
    'of n=%j is a 400 UNSUPPORTED',
    async (n) => {
      expect(await refusal(await world.fetch('GET', `/v2/acme/tags/tags/list?n=${n}`))).toBe('400 UNSUPPORTED');
    },
  );

  test.each(['n=1&n=2', 'n=1&n=1', 'last=a&last=b'])('with a parameter given twice is a 400 UNSUPPORTED: %s', async (query) => {
    expect(await refusal(await world.fetch('GET', `/v2/acme/tags/tags/list?${query}`))).toBe('400 UNSUPPORTED');
  });

  test.each([
    ['a tag that is not there', 'a0', ['aa', 'b']],
    ['nothing', '', BYTEWISE],
    ['a way upwards', '../', ['10', '9', 'A', 'C', '_x', 'a', 'a-b', 'a.b', 'aa', 'b']],
    ['SQL', "a' OR 1=1 --", ['a-b', 'a.b', 'aa', 'b']],
    ['a wildcard', '%', BYTEWISE],
    ['another wildcard', '_', ['_x', 'a', 'a-b', 'a.b', 'aa', 'b']],
    ['a backslash', '\\', ['_x', 'a', 'a-b', 'a.b', 'aa', 'b']],
    ['a NUL', 'a\0', ['a-b', 'a.b', 'aa', 'b']],
    ['text beyond ASCII', '\u{1f600}', []],
    ['20,000 characters', 'a'.repeat(20_000), ['b']],
    ['a prototype key', '__proto__', ['_x', 'a', 'a-b', 'a.b', 'aa', 'b']],
  ])('after %s is what follows in the order of the bytes', async (_, last, tags) => {
    expect(await list(`?last=${encodeURIComponent(last)}`)).toEqual({ tags, next: null });
  });

  test('works after bytes that are not UTF-8', async () => {
    for (const last of ['%ff', '%ZZ', '%', '%c0%af']) expect((await list(`?last=${last}`)).next).toBeNull();
  });

  test('works with HEAD like GET', async () => {
    const head = await world.fetch('HEAD', '/v2/acme/tags/tags/list?n=1');
    const get = await world.fetch('GET', '/v2/acme/tags/tags/list?n=1');
    expect([head.status, head.headers.get('link'), await head.text()]).toEqual([200, get.headers.get('link'), '']);
  });
});

describe('a tag', () => {
  test('that moves returns a warning with what it named, and keeps both manifests', async () => {
    const one = await pushImage(world, 'acme/move', 'v1', 2);
    const two = await imageIn(world, 'acme/move', 3);
    const response = await putManifest(world, 'acme/move', 'v1', textOf(two));
    expect(response.headers.get('warning')).toBe(`299 - "tag v1 has moved: it named ${one.digest}"`);
    expect(await digestAt(world, 'acme/move', 'v1')).toBe(two.digest);
    expect(await digestAt(world, 'acme/move', one.digest)).toBe(one.digest);
  });

  test('that is new, or set to the same digest, moves nothing and returns no warning', async () => {
    const one = await imageIn(world, 'acme/still', 2);
    for (let time = 0; time < 2; time++) {
      expect((await putManifest(world, 'acme/still', 'v1', textOf(one))).headers.get('warning')).toBeNull();
    }
  });

  test('called latest behaves like any other', async () => {
    const one = await pushImage(world, 'acme/latest', 'latest', 2);
    const two = await imageIn(world, 'acme/latest', 3);
    const response = await putManifest(world, 'acme/latest', `${two.digest}?tag=latest&tag=v1`, textOf(two));
    expect(response.headers.get('warning')).toBe(`299 - "tag latest has moved: it named ${one.digest}"`);
    expect(await refusal(await world.fetch('GET', '/v2/acme/move/manifests/latest'))).toBe('404 MANIFEST_UNKNOWN');
  });

  test('may be one of a hundred that move at once, and the warnings stay within 4,096 bytes', async () => {
    const tags = Array.from({ length: 100 }, (_, n) => `${'t'.repeat(120)}${n}`);
    await setTags('acme/hundred', tags);
    const two = await imageIn(world, 'acme/hundred', 2);
    const query = tags.map((tag) => `tag=${tag}`).join('&');
    const response = await putManifest(world, 'acme/hundred', `${two.digest}?${query}`, textOf(two));
    const warnings = response.headers.get('warning') ?? '';
    expect(warnings).toContain(tags[0]);
    expect(warnings.length).toBeLessThanOrEqual(4096);
  });

  test('that was just written is read at once, in every way of reading', async () => {
    const images = [await imageIn(world, 'acme/read', 1), await imageIn(world, 'acme/read', 2)];
    for (let round = 0; round < 100; round++) {
      const written = images[round % 2] as Content;
      expect((await putManifest(world, 'acme/read', 'v1', textOf(written))).status).toBe(201);
      expect(await digestAt(world, 'acme/read', 'v1')).toBe(written.digest);
      const read = await world.fetch('GET', '/v2/acme/read/manifests/v1');
      expect(await read.text()).toBe(textOf(written));
      expect(await tagsOf(world, 'acme/read')).toEqual(['v1']);
    }
  });

  test('resolved by HEAD can be pulled by that digest, while others move the tag', { tags: 'slow' }, async () => {
    const images = await Promise.all([1, 2, 3].map((seed) => imageIn(world, 'acme/follow', seed)));
    await putManifest(world, 'acme/follow', 'v1', textOf(images[0] as Content));
    const writer = (async () => {
      for (let n = 0; n < 30; n++) await putManifest(world, 'acme/follow', 'v1', textOf(images[n % 3] as Content));
    })();
    for (let n = 0; n < 30; n++) {
      const digest = await digestAt(world, 'acme/follow', 'v1');
      const response = await world.fetch('GET', `/v2/acme/follow/manifests/${digest}`);
      expect([response.status, response.headers.get('docker-content-digest')]).toEqual([200, digest]);
    }
    await writer;
  });
});
