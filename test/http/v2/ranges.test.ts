/** Ranges of a blob and conditional requests (RFC 9110, sections 13 and 14). */
import { beforeEach, describe, expect, test } from 'vitest';
import { faulty } from '../../world/faults.ts';
import { type Content, noise, pushBlob, pushImage, refusal } from '../../world/images.ts';
import { shortened } from '../../world/uploads.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const SIZE = 1000;

let world: World;
let blob: Content;
let path: string;

const build = builtOnce(async (made) => {
  world = made;
  blob = await pushBlob(world, 'acme/api', noise(SIZE));
  path = `/v2/acme/api/blobs/${blob.digest}`;
});

beforeEach(async () => {
  world = await build();
});

function get(headers: Record<string, string>, method = 'GET'): Promise<Response> {
  return world.fetch(method, path, { headers });
}

describe('a range', () => {
  test.each([
    { range: 'bytes=0-99', from: 0, to: 99 },
    { range: 'bytes=0-0', from: 0, to: 0 },
    { range: 'bytes=500-', from: 500, to: 999 },
    { range: 'bytes=999-', from: 999, to: 999 },
    { range: 'bytes=-10', from: 990, to: 999 },
    { range: 'bytes=-1000', from: 0, to: 999 },
    { range: 'bytes=-99999', from: 0, to: 999 },
    { range: 'bytes=990-99999999999999999999', from: 990, to: 999 },
    { range: 'bytes=0-', from: 0, to: 999 },
    { range: 'Bytes=10-19', from: 10, to: 19 },
  ])('"$range" is a 206 with bytes $from to $to', async ({ range, from, to }) => {
    const response = await get({ range });
    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBe(`bytes ${from}-${to}/${SIZE}`);
    expect(response.headers.get('content-length')).toBe(String(to - from + 1));
    expect(response.headers.get('docker-content-digest')).toBe(blob.digest);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(blob.bytes.slice(from, to + 1));
  });

  test.each(['bytes=500-0', 'bytes=1000-', 'bytes=1000-1001', 'bytes=99999999999999999999-', 'bytes=-0'])(
    '"%s" is a 416 that states the length of the blob and nothing else',
    async (range) => {
      const response = await get({ range });
      expect(response.headers.get('content-range')).toBe(`bytes */${SIZE}`);
      expect(response.headers.get('content-length')).not.toBe(String(SIZE));
      expect(await refusal(response)).toMatch(/^416 /);
    },
  );

  test.each(
    [
      'items=0-9',
      'bytes',
      'bytes=',
      'bytes=-',
      'bytes=a-b',
      'bytes=0x0-0x9',
      'bytes=1.5-2',
      'bytes 0-9',
      '0-9',
      'bytes=--5',
      `bytes=${'0-1,'.repeat(5000)}`,
    ].map(shortened),
  )('$shown is not looked at: the whole blob', async ({ value: range }) => {
    const response = await get({ range });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-range')).toBeNull();
    expect(response.headers.get('content-length')).toBe(String(SIZE));
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(blob.bytes);
  });

  test.each(['bytes=0-9,20-29', 'bytes=20-29,0-9', 'bytes=0-20,10-29', 'bytes=0-29,5000-', 'bytes=,0-29,,'])(
    '"%s" is one range, because its parts overlap, are close together, or lie outside',
    async (range) => {
      const response = await get({ range });
      expect([response.status, response.headers.get('content-range')]).toEqual([206, `bytes 0-29/${SIZE}`]);
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(blob.bytes.slice(0, 30));
    },
  );

  test('is ignored for HEAD', async () => {
    for (const range of ['bytes=0-99', 'bytes=500-0']) {
      const response = await get({ range }, 'HEAD');
      expect([response.status, response.headers.get('content-length')]).toEqual([200, String(SIZE)]);
      expect(response.headers.get('content-range')).toBeNull();
    }
  });

  test('of an empty blob is always a 416', async () => {
    const empty = await pushBlob(world, 'acme/api', '');
    for (const range of ['bytes=0-0', 'bytes=0-', 'bytes=-1', 'bytes=500-0']) {
      const response = await world.fetch('GET', `/v2/acme/api/blobs/${empty.digest}`, { headers: { range } });
      expect(response.headers.get('content-range')).toBe('bytes */0');
      expect(await refusal(response)).toMatch(/^416 /);
    }
  });

  test('of a manifest works like that of a blob', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const response = await world.fetch('GET', '/v2/acme/api/manifests/v1', { headers: { range: 'bytes=5-24' } });
    expect([response.status, response.headers.get('content-length')]).toEqual([206, '20']);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(image.bytes.slice(5, 25));
  });

  test('resumes a pull: two ranges make the whole', async () => {
    const [first, second] = await Promise.all([get({ range: 'bytes=0-399' }), get({ range: 'bytes=400-' })]);
    const parts = [await first?.arrayBuffer(), await second?.arrayBuffer()];
    expect(new Uint8Array(await new Blob(parts).arrayBuffer())).toEqual(blob.bytes);
  });
});

describe('If-None-Match', () => {
  const etag = () => `"${blob.digest}"`;

  test.each([
    { kind: 'with the digest', header: () => etag() },
    { kind: 'with it among others', header: () => `"other", ${etag()}` },
    { kind: 'with it, weakly', header: () => `W/${etag()}` },
    { kind: 'with anything', header: () => '*' },
  ])('$kind is a 304 without a body, for GET and HEAD', async ({ header }) => {
    for (const method of ['GET', 'HEAD']) {
      const response = await get({ 'if-none-match': header() }, method);
      expect(response.status).toBe(304);
      expect(response.body).toBeNull();
      expect(response.headers.get('etag')).toBe(etag());
      expect(response.headers.get('docker-content-digest')).toBe(blob.digest);
    }
  });

  test.each(['"other"', '', 'W/"other", "another"', '"sha256:"'])('with %s is a 200', async (header) => {
    expect((await get({ 'if-none-match': header })).status).toBe(200);
  });

  test('with the digest without quotes, which is not an entity tag, is a 200', async () => {
    expect((await get({ 'if-none-match': blob.digest })).status).toBe(200);
  });

  test('is evaluated before a range', async () => {
    expect((await get({ 'if-none-match': etag(), range: 'bytes=0-9' })).status).toBe(304);
    expect((await get({ 'if-none-match': etag(), range: 'bytes=500-0' })).status).toBe(304);
  });

  test('is evaluated after authorization: without rights it is a 401, and for unknown content a 404', async () => {
    const headers = { 'if-none-match': '*' };
    expect(await refusal(await world.fetch('GET', path, { headers, authorization: null }))).toBe('401 UNAUTHORIZED');
    expect(await refusal(await world.fetch('GET', path.replace('acme/api', 'acme/other'), { headers }))).toBe(
      '404 BLOB_UNKNOWN',
    );
  });

  test('does not open the object', async () => {
    const recorded = faulty(world.env);
    const response = await worldOf(recorded.env).fetch('GET', path, { headers: { 'if-none-match': etag() } });
    expect(response.status).toBe(304);
    expect(recorded.calls.filter((name) => name.startsWith('BLOBS.'))).toEqual([]);
  });

  test('revalidates a tag: 304 while it names the same digest, 200 once it has moved', async () => {
    const image = await pushImage(world, 'acme/api', 'latest', 1);
    const headers = { 'if-none-match': `"${image.digest}"` };
    expect((await world.fetch('GET', '/v2/acme/api/manifests/latest', { headers })).status).toBe(304);
    await pushImage(world, 'acme/api', 'latest', 2);
    expect((await world.fetch('GET', '/v2/acme/api/manifests/latest', { headers })).status).toBe(200);
  });
});

describe('If-Range', () => {
  test('with the digest returns the range', async () => {
    expect((await get({ range: 'bytes=0-9', 'if-range': `"${blob.digest}"` })).status).toBe(206);
  });

  test.each(['"other"', 'W/"DIGEST"', 'Wed, 21 Oct 2026 07:28:00 GMT', 'garbage'])(
    'with %s returns the whole',
    async (header) => {
      const response = await get({ range: 'bytes=0-9', 'if-range': header.replace('DIGEST', blob.digest) });
      expect([response.status, response.headers.get('content-length')]).toEqual([200, String(SIZE)]);
      const beyond = await get({ range: 'bytes=5000-', 'if-range': header.replace('DIGEST', blob.digest) });
      expect(beyond.status).toBe(200);
    },
  );
});
