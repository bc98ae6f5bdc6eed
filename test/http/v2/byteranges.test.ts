/** Multiple ranges, which clients of eStargz and zstd:chunked use to pull lazily (RFC 9110, 14.6). */
import { beforeEach, describe, expect, test } from 'vitest';
import { counting } from '../../world/counting.ts';
import { type Content, pushBlob, pushImage, refusal } from '../../world/images.ts';
import { failingAfter, partsOf } from '../../world/parts.ts';
import { layer, MIB } from '../../world/uploads.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

let world: World;
let blob: Content;
let path: string;

const build = builtOnce(async (made) => {
  world = made;
  blob = await pushBlob(world, 'acme/api', layer(2 * MIB + 5));
  path = `/v2/acme/api/blobs/${blob.digest}`;
});

beforeEach(async () => {
  world = await build();
});

const get = (range: string, headers: Record<string, string> = {}, from = world) =>
  from.fetch('GET', path, { headers: { range, ...headers } });

describe('several ranges', () => {
  test.each([
    [
      'bytes=0-9,1000-1009',
      [
        [0, 9],
        [1000, 1009],
      ],
    ],
    [
      'bytes=1000-1009,0-9',
      [
        [0, 9],
        [1000, 1009],
      ],
    ],
    [
      'bytes=5-500000,1000000-1500000,-5',
      [
        [5, 500_000],
        [1_000_000, 1_500_000],
        [2 * MIB, 2 * MIB + 4],
      ],
    ],
    [
      'bytes=0-0,300-300,99999999-',
      [
        [0, 0],
        [300, 300],
      ],
    ],
  ] as const)('%s are a 206 with each in a part of its own', { tags: 'slow' }, async (range, spans) => {
    const response = await get(range);
    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBeNull();
    const body = new Uint8Array(await response.arrayBuffer());
    expect(response.headers.get('content-length')).toBe(String(body.byteLength));
    expect(response.headers.get('docker-content-digest')).toBe(blob.digest);
    expect(response.headers.get('content-security-policy')).toContain('sandbox');
    const parts = partsOf(response.headers.get('content-type'), body);
    expect(parts.map(({ headers }) => headers)).toEqual(
      spans.map(([first, last]) => ({
        'content-type': 'application/octet-stream',
        'content-range': `bytes ${first}-${last}/${blob.bytes.byteLength}`,
      })),
    );
    for (const [n, [first, last]] of spans.entries()) expect(parts[n]?.body).toEqual(blob.bytes.slice(first, last + 1));
  });

  test('of a manifest have its media type', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const response = await world.fetch('GET', '/v2/acme/api/manifests/v1', { headers: { range: 'bytes=0-9,200-' } });
    const parts = partsOf(response.headers.get('content-type'), new Uint8Array(await response.arrayBuffer()));
    expect(parts.map(({ body }) => body)).toEqual([image.bytes.slice(0, 10), image.bytes.slice(200)]);
    expect(parts[0]?.headers['content-type']).toBe('application/vnd.oci.image.manifest.v1+json');
  });

  test('are at most 32, each one read of the bucket; more get the whole blob', async () => {
    const ranges = (count: number) => `bytes=${Array.from({ length: count }, (_, n) => `${n * 1000}-${n * 1000 + 9}`).join()}`;
    const { env, counts } = counting(world.env);
    const response = await get(ranges(32), {}, worldOf(env));
    const parts = partsOf(response.headers.get('content-type'), new Uint8Array(await response.arrayBuffer()));
    expect([response.status, parts.length, counts.r2Reads]).toEqual([206, 32, 32]);
    const whole = await get(ranges(33));
    expect([whole.status, (await whole.arrayBuffer()).byteLength]).toEqual([200, blob.bytes.byteLength]);
  });

  test('use a boundary that whoever pushed the bytes cannot predict', async () => {
    const types = await Promise.all([get('bytes=0-9,1000-1009'), get('bytes=0-9,1000-1009')]);
    const [one, two] = await Promise.all(
      types.map(async (response) => {
        await response.arrayBuffer();
        return response.headers.get('content-type');
      }),
    );
    expect(one).toMatch(/^multipart\/byteranges; boundary=[0-9a-f]{32}$/);
    expect(one).not.toBe(two);
  });

  test('that all lie outside are a 416; If-Range with another value ignores them', async () => {
    expect(await refusal(await get('bytes=99999999-,88888888-'))).toMatch(/^416 /);
    const other = await get('bytes=0-9,1000-1009', { 'if-range': '"other"' });
    expect([other.status, (await other.arrayBuffer()).byteLength]).toEqual([200, blob.bytes.byteLength]);
    expect((await get('bytes=0-9,1000-1009', { 'if-range': `"${blob.digest}"` })).status).toBe(206);
    expect((await world.fetch('HEAD', path, { headers: { range: 'bytes=0-9,1000-1009' } })).status).toBe(200);
  });

  test('of missing bytes are a 404; if they are lost in between, the answer is cut off', async () => {
    const broken = await get('bytes=0-9,1000-1009', {}, worldOf(failingAfter(world.env, 1)));
    expect(broken.status).toBe(206);
    await expect(broken.arrayBuffer()).rejects.toThrow();
    const { objects } = await world.env.BLOBS.list();
    await world.env.BLOBS.delete(objects.map(({ key }) => key));
    expect(await refusal(await get('bytes=0-9,1000-1009'))).toBe('404 BLOB_UNKNOWN');
  });
});
