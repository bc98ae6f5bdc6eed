/** Manifests that are accepted: stored byte for byte, found by tag and digest, and recorded once. */
import { beforeAll, describe, expect, test } from 'vitest';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  indexOf,
  LAYER_TYPE,
  pushBlob,
  pushImage,
  putManifest,
  refusal,
  textOf,
} from '../../world/images.ts';
import { digestAt, eventsOf, tagsOf } from '../../world/reading.ts';
import { newWorld, type World } from '../../world/world.ts';

const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json';
const KIB = 1024;

let world: World;
let config: Content;

beforeAll(async () => {
  world = await newWorld();
  config = await pushBlob(world, 'acme/api', '{}');
});

/** The text of a manifest without layers. `more` adds or replaces fields. */
function imageText(more: Record<string, unknown> = {}): string {
  return JSON.stringify({ schemaVersion: 2, config: descriptorOf(config, CONFIG_TYPE), layers: [], ...more });
}

async function bytesAt(reference: string): Promise<Uint8Array> {
  return new Uint8Array(await (await world.fetch('GET', `/v2/acme/api/manifests/${reference}`)).arrayBuffer());
}

/** A manifest of exactly this many bytes. */
function imageOf(size: number): string {
  const annotations = { text: '' };
  annotations.text = 'x'.repeat(size - imageText({ annotations }).length);
  return imageText({ annotations });
}

describe('a manifest is returned byte for byte', () => {
  test.each<[string, (text: string) => string]>([
    ['with white space', (text) => ` \n\t${text.replaceAll('":', '" :\r\n ')}\n\n`],
    ['without a line break at its end', (text) => text],
    ['with its keys in an odd order', (text) => `{"layers":[],${text.slice(1).replace(',"layers":[]', '')}`],
    ['with escapes that need not be', (text) => text.replace('schemaVersion', '\\u0073chemaVersion')],
    ['with a slash that is escaped', (text) => text.replaceAll('/', '\\/')],
    ['with an escaped NUL and half of a surrogate pair', (text) => text.replace('{', '{"x":"\\u0000\\ud800",')],
    ['with text of every width', (text) => text.replace('{', '{"x":"aé€😀 e\u0301\u2028\ufeff\u202e",')],
    ['with numbers written oddly', (text) => text.replace('{', '{"x":[1.0,1e2,-0,12345678901234567890],')],
    ['with keys of every object', (text) => text.replace('{', '{"__proto__":{"a":1},"constructor":{},')],
  ])('%s', async (_, bend) => {
    const manifest = await contentOf(bend(imageText()));
    const response = await putManifest(world, 'acme/api', 'exact', textOf(manifest));
    expect(response.status).toBe(201);
    expect(response.headers.get('docker-content-digest')).toBe(manifest.digest);
    expect(await bytesAt('exact')).toEqual(manifest.bytes);
    expect(await bytesAt(manifest.digest)).toEqual(manifest.bytes);
  });

  test.each([128 * KIB - 1, 128 * KIB, 128 * KIB + 1, 4 * KIB * KIB, 8 * KIB * KIB])(
    'of %i bytes',
    { tags: 'slow' },
    async (size) => {
      const manifest = await contentOf(imageOf(size));
      expect(manifest.bytes).toHaveLength(size);
      for (let time = 0; time < 2; time++) {
        expect((await putManifest(world, 'acme/api', 'sized', textOf(manifest))).status).toBe(201);
        expect((await contentOf((await bytesAt('sized')) as Uint8Array<ArrayBuffer>)).digest).toBe(manifest.digest);
      }
      const head = await world.fetch('HEAD', '/v2/acme/api/manifests/sized');
      expect(head.headers.get('content-length')).toBe(String(size));
      expect((await world.env.BLOBS.list({ prefix: `manifests/sha256/${manifest.digest.slice(7)}/` })).objects.length).toBe(
        size > 128 * KIB ? 1 : 0,
      );
    },
  );

  test('above 8 MiB is refused with 413, with or without a content length', async () => {
    const body = imageOf(8 * KIB * KIB + 1);
    expect(await refusal(await putManifest(world, 'acme/api', 'large', body))).toBe('413 SIZE_INVALID');
    const headers = { 'content-type': IMAGE_TYPE, 'content-length': String(body.length) };
    expect(await refusal(await world.fetch('PUT', '/v2/acme/api/manifests/large', { headers, body }))).toBe('413 SIZE_INVALID');
    expect(await digestAt(world, 'acme/api', 'large')).toBe(404);
  });
});

describe('the answer', () => {
  test('to HEAD has the status and headers of GET, and no body', async () => {
    const { digest } = await pushImage(world, 'acme/head', 'v1', 1);
    for (const reference of ['v1', digest, 'none']) {
      const get = await world.fetch('GET', `/v2/acme/head/manifests/${reference}`);
      const head = await world.fetch('HEAD', `/v2/acme/head/manifests/${reference}`);
      expect(head.status).toBe(get.status);
      expect([...head.headers]).toEqual([...get.headers]);
      expect(await head.text()).toBe('');
    }
  });

  test('has type, length and digest, and no browser runs the content', async () => {
    const { digest, bytes } = await pushImage(world, 'acme/head', 'v1', 1);
    const { headers } = await world.fetch('GET', '/v2/acme/head/manifests/v1');
    expect(headers.get('content-type')).toBe(IMAGE_TYPE);
    expect(headers.get('content-length')).toBe(String(bytes.length));
    expect(headers.get('docker-content-digest')).toBe(digest);
    expect(headers.get('etag')).toBe(`"${digest}"`);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain('sandbox');
    expect(headers.get('cache-control')).toContain('no-cache');
  });

  test('to a condition that holds is a 304 without a body, until the tag moves', async () => {
    const { digest } = await pushImage(world, 'acme/head', 'etag', 2);
    const ask = () => world.fetch('GET', '/v2/acme/head/manifests/etag', { headers: { 'if-none-match': `"${digest}"` } });
    const response = await ask();
    expect([response.status, await response.text()]).toEqual([304, '']);
    await pushImage(world, 'acme/head', 'etag', 3);
    expect((await ask()).status).toBe(200);
  });

  test('to a Range request is that part', async () => {
    const { bytes } = await pushImage(world, 'acme/head', 'v1', 1);
    const response = await world.fetch('GET', '/v2/acme/head/manifests/v1', { headers: { range: 'bytes=-10' } });
    expect(response.status).toBe(206);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes.slice(-10));
  });
});

describe('the media type', () => {
  test.each([`${IMAGE_TYPE}; charset=utf-8`, IMAGE_TYPE.toUpperCase()])(
    'pushed as %s is served without parameters',
    async (contentType) => {
      expect((await putManifest(world, 'acme/api', 'typed', imageText(), contentType)).status).toBe(201);
      expect((await world.fetch('GET', '/v2/acme/api/manifests/typed')).headers.get('content-type')).toBe(IMAGE_TYPE);
    },
  );

  test('of bytes that state none is that of their first push: a second one with another type is refused', async () => {
    const text = imageText({ annotations: { of: 'no type' } });
    expect((await putManifest(world, 'acme/api', 'first', text, DOCKER_IMAGE)).status).toBe(201);
    expect(await refusal(await putManifest(world, 'acme/api', 'second', text, IMAGE_TYPE))).toBe('400 MANIFEST_INVALID');
    expect(await digestAt(world, 'acme/api', 'second')).toBe(404);
    expect((await world.fetch('GET', '/v2/acme/api/manifests/first')).headers.get('content-type')).toBe(DOCKER_IMAGE);
    await pushBlob(world, 'acme/other', '{}');
    expect((await putManifest(world, 'acme/other', 'second', text, IMAGE_TYPE)).status).toBe(201);
  });
});

describe('referenced content', () => {
  test('may be missing if it is a foreign layer', async () => {
    const foreign = {
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      digest: `sha256:${'f'.repeat(64)}`,
      size: 9,
    };
    expect((await putManifest(world, 'acme/api', 'windows', imageText({ layers: [foreign] }))).status).toBe(201);
  });

  test("may be a blob in an index, as in BuildKit's cache", async () => {
    const layer = await pushBlob(world, 'acme/api', 'a cached layer');
    const manifests = [descriptorOf(layer, LAYER_TYPE), descriptorOf(config, 'application/vnd.buildkit.cacheconfig.v0')];
    const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests };
    expect((await putManifest(world, 'acme/api', 'cache', index, INDEX_TYPE)).status).toBe(201);
  });

  test('may have wrong inline data, which is stored as it is and never served as content', async () => {
    const text = imageText({ config: descriptorOf(config, CONFIG_TYPE, { data: 'bm90IGl0' }) });
    expect((await putManifest(world, 'acme/api', 'data', text)).status).toBe(201);
    expect(new TextDecoder().decode(await bytesAt('data'))).toBe(text);
    const blob = await world.fetch('GET', `/v2/acme/api/blobs/${config.digest}`);
    expect(new Uint8Array(await blob.arrayBuffer())).toEqual(config.bytes);
  });

  test('may be nested 30 indexes deep, each listing the next one twice: pushed, read and deleted one by one', {
    tags: 'slow',
  }, async () => {
    let below = await pushImage(world, 'acme/deep', null, 4);
    const chain = [below];
    for (let level = 0; level < 30; level++) {
      const type = level === 0 ? IMAGE_TYPE : INDEX_TYPE;
      const index = await indexOf([below, below], { annotations: { level: `${level}` } }, type);
      expect((await putManifest(world, 'acme/deep', index.digest, textOf(index), INDEX_TYPE)).status).toBe(201);
      chain.push(index);
      below = index;
    }
    const references = await world.env.DB.prepare(
      `SELECT count(*) AS n FROM manifest_references WHERE repository_id = (SELECT id FROM repositories WHERE name = 'acme/deep')`,
    ).first<{ n: number }>();
    expect(references?.n).toBe(30 + 2);
    for (const { digest } of chain.reverse()) {
      expect((await world.fetch('DELETE', `/v2/acme/deep/manifests/${digest}`)).status).toBe(202);
    }
  });
});

describe('tags beside a digest', () => {
  test('are all set by the one push, and named in the answer', async () => {
    const image = await imageIn(world, 'acme/tags', 5);
    const tags = ['1.2.3', '1.2', '1', 'latest', ...Array.from({ length: 20 }, (_, n) => `t${n}`)];
    const query = tags.map((tag) => `tag=${tag}`).join('&');
    const response = await putManifest(world, 'acme/tags', `${image.digest}?${query}&tag=1`, textOf(image));
    expect(response.status).toBe(201);
    expect(response.headers.get('oci-tag')?.split(', ')).toEqual(tags);
    expect(await tagsOf(world, 'acme/tags')).toEqual(tags.sort());
    expect((await eventsOf(world, 'acme/tags')).filter(({ type }) => type === 'tag.created')).toHaveLength(tags.length);
  });

  test('may be combined with a tag', async () => {
    const image = await imageIn(world, 'acme/tags', 6);
    const response = await putManifest(world, 'acme/tags', 'v6?tag=v6.1', textOf(image));
    expect(response.headers.get('oci-tag')).toBe('v6, v6.1');
    expect(await digestAt(world, 'acme/tags', 'v6')).toBe(image.digest);
    expect(await digestAt(world, 'acme/tags', 'v6.1')).toBe(image.digest);
  });

  test('are refused together if one is invalid, and with 414 if there are more than 100', async () => {
    const image = await imageIn(world, 'acme/tags', 7);
    for (const wrong of ['a:b', '.x', '', 'a%20b', 'a%00', '%ff', 't'.repeat(129), image.digest]) {
      const response = await putManifest(world, 'acme/tags', `${image.digest}?tag=good&tag=${wrong}`, textOf(image));
      expect(await refusal(response)).toBe('400 MANIFEST_INVALID');
    }
    const many = Array.from({ length: 101 }, (_, n) => `tag=many${n}`).join('&');
    expect(await refusal(await putManifest(world, 'acme/tags', `${image.digest}?${many}`, textOf(image)))).toBe(
      '414 UNSUPPORTED',
    );
    expect(await digestAt(world, 'acme/tags', 'good')).toBe(404);
    expect(await digestAt(world, 'acme/tags', image.digest)).toBe(404);
  });
});

describe('the events', () => {
  test('are one for a first push, one for each tag that is created, moved or pushed again, and none for a digest', async () => {
    const [one, two] = [await pushImage(world, 'acme/record', 'v1', 8), await imageIn(world, 'acme/record', 9)];
    await putManifest(world, 'acme/record', 'v1', textOf(one));
    await putManifest(world, 'acme/record', one.digest, textOf(one));
    await putManifest(world, 'acme/record', `${one.digest}?tag=v1`, textOf(one));
    await putManifest(world, 'acme/record', `${two.digest}?tag=v1&tag=v2`, textOf(two));
    const about = (content: Content) => ({
      digest: content.digest,
      mediaType: IMAGE_TYPE,
      size: content.bytes.length,
      cause: 'push',
    });
    expect(await eventsOf(world, 'acme/record')).toEqual([
      { type: 'repository.created', target: {} },
      { type: 'tag.created', target: { tag: 'v1', ...about(one) } },
      ...Array(2).fill({ type: 'tag.pushed', target: { tag: 'v1', ...about(one), changed: false } }),
      { type: 'tag.moved', target: { tag: 'v1', ...about(two), previous: one.digest } },
      { type: 'tag.created', target: { tag: 'v2', ...about(two) } },
    ]);
  });

  test('are one for a manifest pushed by digest only, the first time', async () => {
    const image = await pushImage(world, 'acme/record2', null, 8);
    await putManifest(world, 'acme/record2', image.digest, textOf(image));
    await putManifest(world, 'acme/record2', 'v1', textOf(image));
    expect((await eventsOf(world, 'acme/record2')).map(({ type }) => type)).toEqual([
      'repository.created',
      'manifest.pushed',
      'tag.created',
    ]);
  });
});
