/** What clients can read of an answer is bounded: the number and length of its headers, and the length of an error. */
import { beforeEach, describe, expect, test } from 'vitest';
import { CONFIG_TYPE, descriptorOf, imageIn, LAYER_TYPE, pushBlob, putManifest, textOf } from '../../world/images.ts';
import { api } from '../../world/people.ts';
import { tagsOf } from '../../world/reading.ts';
import { newWorld, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const query = (tags: string[]) => tags.map((tag) => `tag=${tag}`).join('&');
/** As many as there may be at once, each `length` long. */
const hundred = (length: number) => Array.from({ length: 100 }, (_, n) => `t${n}`.padEnd(length, 'x'));
const bytesOf = (response: Response) =>
  [...response.headers].reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);

describe('headers', () => {
  test('of a push of a hundred tags name them all, in no more lines than any client reads', async () => {
    const [first, second] = [await imageIn(world, REPOSITORY, 1), await imageIn(world, REPOSITORY, 2)];
    for (const image of [first, second]) {
      const lines = await headerLines(() =>
        putManifest(world, REPOSITORY, `${image.digest}?${query(hundred(70))}`, textOf(image)),
      );
      expect(lines.filter(([name]) => name === 'oci-tag').flatMap(([, value]) => value.split(', '))).toEqual(hundred(70));
      expect(lines.length).toBeLessThan(75);
      expect(lines.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0)).toBeLessThan(14 * 1024);
    }
    expect(await tagsOf(world, REPOSITORY)).toHaveLength(100);
  });

  test('of few tags name each in a line of its own', async () => {
    const image = await imageIn(world, REPOSITORY, 1);
    const lines = await headerLines(() =>
      putManifest(world, REPOSITORY, `${image.digest}?${query(hundred(5).slice(0, 40))}`, textOf(image)),
    );
    expect(lines.filter(([name]) => name === 'oci-tag').map(([, value]) => value)).toEqual(hundred(5).slice(0, 40));
  });

  test('that would be too long are refused before anything is tagged', async () => {
    const image = await imageIn(world, REPOSITORY, 1);
    const response = await putManifest(world, REPOSITORY, `${image.digest}?${query(hundred(128))}`, textOf(image));
    expect(response.status).toBe(414);
    expect(await response.text()).toContain('8192 characters');
    expect((await world.fetch('GET', `/v2/${REPOSITORY}/tags/list`)).status).toBe(200);
    expect(await tagsOf(world, REPOSITORY)).toEqual([]);
  });

  test('of a challenge do not repeat a host that is longer than one can be', async () => {
    for (const path of ['/v2/', '/token', '/api/v1/me']) {
      const response = await world.fetch('GET', path, { authorization: null, headers: { host: 'a'.repeat(20_000) } });
      expect(response.status).toBe(400);
      expect(bytesOf(response)).toBeLessThan(4096);
    }
  });

  test('of a challenge for the longest name, and for a mount, keep within the bound', async () => {
    const long = `${'a'.repeat(120)}/${'b'.repeat(120)}`;
    const path = `/v2/${long}/blobs/uploads/?mount=sha256:${'0'.repeat(64)}&from=${long}`;
    const response = await world.fetch('POST', path, { authorization: null });
    expect(response.status).toBe(401);
    expect(bytesOf(response)).toBeLessThan(8192);
  });

  /** As they are set one by one: a Headers object joins them. */
  async function headerLines(send: () => Promise<Response>): Promise<[string, string][]> {
    const set: string[][] = [];
    const original = Headers.prototype.append;
    Headers.prototype.append = function append(this: Headers, name: string, value: string) {
      set.push([name.toLowerCase(), value]);
      original.call(this, name, value);
    };
    const response = await send().finally(() => {
      Headers.prototype.append = original;
    });
    expect(response.status).toBe(201);
    const appended = set.filter(([name]) => name === 'oci-tag' || name === 'warning') as [string, string][];
    const others = [...response.headers].filter(([name]) => name !== 'oci-tag' && name !== 'warning');
    return [...appended, ...others];
  }
});

describe('an error is shorter than 8 KiB', () => {
  async function refusedWith(response: Response) {
    const text = await response.text();
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(new TextEncoder().encode(text).byteLength).toBeLessThan(8192);
    return (JSON.parse(text) as { errors: [{ message: string; detail: unknown[] }] }).errors[0];
  }

  test('where hundreds of layers are missing: it says how many, and names the first', async () => {
    const config = await pushBlob(world, REPOSITORY, '{}');
    const digest = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;
    for (const count of [1, 50, 600, 3000]) {
      const layers = Array.from({ length: count }, (_, n) => ({ mediaType: LAYER_TYPE, digest: digest(n), size: 1 }));
      const document = { schemaVersion: 2, config: descriptorOf(config, CONFIG_TYPE), layers };
      const { message, detail } = await refusedWith(await putManifest(world, REPOSITORY, 'v1', document));
      expect(detail.length).toBe(Math.min(count, detail.length));
      expect(detail.length).toBeGreaterThanOrEqual(Math.min(count, 50));
      if (count > detail.length) expect(message).toContain(`${count} in all, of which ${detail.length} are named`);
    }
  });

  test('where hundreds of tags may not be moved, and where the request itself is long', async () => {
    const config = await pushBlob(world, REPOSITORY, '{}');
    const annotations = { ['\u0001'.repeat(5000)]: 1 };
    const document = { schemaVersion: 2, config: descriptorOf(config, CONFIG_TYPE), layers: [], annotations };
    await refusedWith(await putManifest(world, REPOSITORY, 'v1', document));
    await refusedWith(await putManifest(world, REPOSITORY, 'v1', JSON.stringify(document), 'x'.repeat(20_000)));
    await refusedWith(await putManifest(world, REPOSITORY, 'v1', { schemaVersion: 2, mediaType: 'y'.repeat(50_000) }));
  });

  test('of the API, whatever fields were sent', async () => {
    const unknown = Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`field${n}`, '\u20ac'.repeat(10)]));
    const statements = Array.from({ length: 300 }, () => ({ actions: ['x'.repeat(100)], repositories: [7] }));
    for (const [path, body] of [
      ['/repositories/acme/new', unknown],
      ['/users/bob/policy', { statements }],
      ['/organizations/acme', { ['k'.repeat(100_000)]: 1 }],
    ] as const) {
      const response = await world.fetch('PUT', `/api/v1${path}`, {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      expect(response.status).toBe(400);
      await refusedWith(response);
    }
  });

  test('and names the key that is wrong', async () => {
    const { body } = await api(world, 'PUT', '/organizations/acme', { body: { descriptoin: 'x' } });
    expect(JSON.stringify(body)).toContain('descriptoin');
  });
});
