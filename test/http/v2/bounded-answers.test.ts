/** Limits of what clients can read: the length of headers and of errors. Pushes of many tags: `local/headers.test.ts`. */
import { beforeEach, describe, expect, test } from 'vitest';
import { CONFIG_TYPE, descriptorOf, LAYER_TYPE, pushBlob, putManifest } from '../../world/images.ts';
import { api } from '../../world/people.ts';
import { newWorld, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const bytesOf = (response: Response) =>
  [...response.headers].reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);

describe('the headers', () => {
  test('of a challenge do not repeat a host name that is too long', async () => {
    for (const path of ['/v2/', '/token', '/api/v1/me']) {
      const response = await world.fetch('GET', path, { authorization: null, headers: { host: 'a'.repeat(20_000) } });
      expect(response.status).toBe(400);
      expect(bytesOf(response)).toBeLessThan(4096);
    }
  });

  test('of a challenge for the longest name, and for a mount, stay within the limit', async () => {
    const long = `${'a'.repeat(120)}/${'b'.repeat(120)}`;
    const path = `/v2/${long}/blobs/uploads/?mount=sha256:${'0'.repeat(64)}&from=${long}`;
    const response = await world.fetch('POST', path, { authorization: null });
    expect(response.status).toBe(401);
    expect(bytesOf(response)).toBeLessThan(8192);
  });
});

describe('an error is shorter than 8 KiB', () => {
  async function refusedWith(response: Response) {
    const text = await response.text();
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(new TextEncoder().encode(text).byteLength).toBeLessThan(8192);
    return (JSON.parse(text) as { errors: [{ message: string; detail: unknown[] }] }).errors[0];
  }

  test('if hundreds of layers are missing: it says how many, and names the first', async () => {
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

  test('if hundreds of tags are immutable, and if the request itself is long', async () => {
    const config = await pushBlob(world, REPOSITORY, '{}');
    const annotations = { ['\u0001'.repeat(5000)]: 1 };
    const document = { schemaVersion: 2, config: descriptorOf(config, CONFIG_TYPE), layers: [], annotations };
    await refusedWith(await putManifest(world, REPOSITORY, 'v1', document));
    await refusedWith(await putManifest(world, REPOSITORY, 'v1', JSON.stringify(document), 'x'.repeat(20_000)));
    await refusedWith(await putManifest(world, REPOSITORY, 'v1', { schemaVersion: 2, mediaType: 'y'.repeat(50_000) }));
  });

  test('in the API, whatever fields were sent', async () => {
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

  test('and names the wrong field', async () => {
    const { body } = await api(world, 'PUT', '/organizations/acme', { body: { descriptoin: 'x' } });
    expect(JSON.stringify(body)).toContain('descriptoin');
  });
});
