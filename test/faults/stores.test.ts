/** Stores that fail, hang or have lost content: the answers to clients, and the state afterwards. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Env } from '../../src/env.ts';
import { type Method, ROUTES } from '../../src/http/routes.ts';
import { violations } from '../world/checker.ts';
import { faulty } from '../world/faults.ts';
import { type Content, contentOf, IMAGE_TYPE, noise, pushBlob, pushImage, refusal } from '../world/images.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

let world: World;
beforeEach(async () => {
  world = await newWorld();
});

/** A binding whose calls all fail, as if the network to it were down. */
function broken<T extends object>(binding: T): T {
  const fail = () => Promise.reject(new Error('D1_ERROR: Network connection lost'));
  const statement = { bind: () => statement, first: fail, all: fail, run: fail };
  return new Proxy(binding, { get: (_, name) => (name === 'prepare' ? () => statement : fail) });
}

describe('while the database is down', () => {
  test('every request that needs it is a 503 to be retried, never a 404 or a 401', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const begun = await world.fetch('POST', '/v2/acme/api/blobs/uploads/');
    const upload = (begun.headers.get('location') as string).split('/').at(-1) as string;
    const away = worldOf({ ...world.env, DB: broken(world.env.DB) });
    // Pages, and a form and an invitation that are refused before the database is read.
    const withoutDatabase = [
      'GET /',
      'GET /join',
      'GET /api',
      'GET /api/openapi.json',
      'GET /api/event.schema.json',
      'POST /token',
      'POST /api/v1/invitations/accept',
      // Without a valid token in the query, the answer needs no database.
      `GET /layers/${image.digest.replace(':', '')}`,
    ];
    for (const [route, methods] of Object.entries(ROUTES)) {
      const path = route
        .replace(':name{.+}', 'acme/api')
        .replace(':reference', 'v1')
        .replace(':digest', image.digest)
        .replace(':upload', upload)
        .replaceAll(/:(\w+)/g, '$1');
      for (const method of Object.keys(methods) as Method[]) {
        if (withoutDatabase.includes(`${method} ${path}`)) continue;
        const put = path.includes('/manifests/')
          ? { body: new TextDecoder().decode(image.bytes), headers: { 'content-type': IMAGE_TYPE } }
          : { body: 'x' };
        const query = path.includes('uploads/') && method === 'PUT' ? `?digest=${(await contentOf('x')).digest}` : '';
        const response = await away.fetch(method, path + query, method === 'PUT' || method === 'PATCH' ? put : {});
        expect(`${method} ${path}: ${await refusal(response.clone())}`).toBe(`${method} ${path}: 503 UNAVAILABLE`);
        expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
        expect(await response.text()).not.toMatch(/D1|Network|SELECT|stack/);
      }
    }
    expect((await away.fetch('HEAD', `/v2/acme/api/blobs/${image.digest}`)).status).toBe(503);
  });
});

describe('a manifest whose batch D1 did not execute', () => {
  const image = { schemaVersion: 2, mediaType: IMAGE_TYPE, layers: [] };
  const push = async (through: World) => {
    const config = await pushBlob(world, 'acme/api', '{}');
    const body = JSON.stringify({ ...image, config: { mediaType: 'application/json', digest: config.digest, size: 2 } });
    return through.fetch('PUT', '/v2/acme/api/manifests/v1', { headers: { 'content-type': IMAGE_TYPE }, body });
  };

  test.each(['fail-before', 'fail-after'] as const)('(%s) is put again by the registry, and told of once', async (fault) => {
    expect((await push(worldOf(faulty(world.env, fault, 1).env))).status).toBe(201);
    const { results } = await world.env.DB.prepare('SELECT type FROM events').all();
    expect(results).toEqual([{ type: 'repository.created' }, { type: 'tag.created' }]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('is not retried if D1 is overloaded', async () => {
    let asked = 0;
    const batch = () => {
      asked++;
      return Promise.reject(new Error('D1_ERROR: D1 DB is overloaded. Requests queued for too long.'));
    };
    const overloaded = new Proxy(world.env.DB, {
      get: (target, name) => (name === 'batch' ? batch : Reflect.get(target, name).bind(target)),
    });
    expect(await refusal(await push(worldOf({ ...world.env, DB: overloaded })))).toBe('503 UNAVAILABLE');
    expect(asked).toBe(1);
  });
});

describe('while the bucket is down', () => {
  let away: World;
  beforeEach(() => {
    away = worldOf({ ...world.env, BLOBS: broken(world.env.BLOBS) });
  });

  test('a push is a 503 and leaves no row, and an upload stays where it was', async () => {
    const blob = await contentOf(noise(500));
    const single = `/v2/acme/api/blobs/uploads/?digest=${blob.digest}`;
    expect(await refusal(await away.fetch('POST', single, { body: blob.bytes }))).toBe('503 UNAVAILABLE');
    const location = (await world.fetch('POST', '/v2/acme/api/blobs/uploads/')).headers.get('location') as string;
    await world.fetch('PATCH', location, { body: blob.bytes.slice(0, 200) });
    const rest = { body: blob.bytes.slice(200), headers: { 'content-range': '200-499' } };
    expect(await refusal(await away.fetch('PATCH', location, rest))).toBe('503 UNAVAILABLE');
    expect(await refusal(await away.fetch('PUT', `${location}?digest=${blob.digest}`, { body: blob.bytes.slice(200) }))).toBe(
      '503 UNAVAILABLE',
    );
    expect((await world.fetch('GET', location)).headers.get('range')).toBe('0-199');
    expect((await world.fetch('HEAD', `/v2/acme/api/blobs/${blob.digest}`)).status).toBe(404);
    expect((await world.fetch('PUT', `${location}?digest=${blob.digest}`, { body: blob.bytes.slice(200) })).status).toBe(201);
  });

  test('a pull is a 503, and the blob does not count as missing', async () => {
    const blob = await pushBlob(world, 'acme/api', noise(500));
    expect(await refusal(await away.fetch('GET', `/v2/acme/api/blobs/${blob.digest}`))).toBe('503 UNAVAILABLE');
    expect((await world.fetch('GET', `/v2/acme/api/blobs/${blob.digest}`)).status).toBe(200);
  });
});

describe('an object that is missing although its row exists', () => {
  let blob: Content;
  beforeEach(async () => {
    blob = await pushBlob(world, 'acme/api', noise(500));
    const { objects } = await world.env.BLOBS.list({ prefix: 'blobs/' });
    await world.env.BLOBS.delete(objects.map(({ key }) => key));
  });

  test('is absent for a reader, then for a check before a push, and is repaired by the next push', async () => {
    const path = `/v2/acme/api/blobs/${blob.digest}`;
    expect(await refusal(await world.fetch('GET', path))).toBe('404 BLOB_UNKNOWN');
    expect((await world.fetch('HEAD', path)).status).toBe(404);
    expect((await world.fetch('POST', `/v2/acme/other/blobs/uploads/?mount=${blob.digest}&from=acme/api`)).status).toBe(202);
    await pushBlob(world, 'acme/api', noise(500));
    expect(new Uint8Array(await (await world.fetch('GET', path)).arrayBuffer())).toEqual(blob.bytes);
    expect(await violations(world.env)).toEqual([]);
  });

  test('causes manifests that reference it to be refused', async () => {
    await world.fetch('GET', `/v2/acme/api/blobs/${blob.digest}`);
    const part = { mediaType: 'application/octet-stream', digest: blob.digest, size: 500 };
    const body = JSON.stringify({ schemaVersion: 2, mediaType: IMAGE_TYPE, config: part, layers: [] });
    const put = await world.fetch('PUT', '/v2/acme/api/manifests/v1', { headers: { 'content-type': IMAGE_TYPE }, body });
    expect(await refusal(put)).toBe('400 MANIFEST_BLOB_UNKNOWN');
  });
});

test('of a large manifest makes it absent until it is pushed again', async () => {
  const large = { annotations: { text: 'x'.repeat(200_000) } };
  const image = await pushImage(world, 'acme/api', 'v1', 1, large);
  const { objects } = await world.env.BLOBS.list({ prefix: 'manifests/' });
  await world.env.BLOBS.delete(objects.map(({ key }) => key));
  expect(await refusal(await world.fetch('GET', '/v2/acme/api/manifests/v1'))).toBe('404 MANIFEST_UNKNOWN');
  expect((await world.fetch('HEAD', '/v2/acme/api/manifests/v1')).status).toBe(404);
  await pushImage(world, 'acme/api', 'v1', 1, large);
  const pulled = await world.fetch('GET', '/v2/acme/api/manifests/v1');
  expect(new Uint8Array(await pulled.arrayBuffer())).toEqual(image.bytes);
  expect(await violations(world.env)).toEqual([]);
});

test('a pull that breaks in the middle is an error for the client, never a short success, and resumes by range', async () => {
  const blob = await pushBlob(world, 'acme/api', noise(100_000));
  const bucket = new Proxy(world.env.BLOBS, {
    get: (target, name) =>
      name !== 'get'
        ? Reflect.get(target, name).bind(target)
        : async (key: string) => ({ ...(await target.head(key)), body: halfOf(blob.bytes) }),
  });
  const response = await worldOf({ ...world.env, BLOBS: bucket } as Env).fetch('GET', `/v2/acme/api/blobs/${blob.digest}`);
  expect(response.headers.get('content-length')).toBe('100000');
  await expect(response.arrayBuffer()).rejects.toThrow();
  const rest = await world.fetch('GET', `/v2/acme/api/blobs/${blob.digest}`, {
    headers: { range: 'bytes=50000-', 'if-range': `"${blob.digest}"` },
  });
  expect(rest.status).toBe(206);
  expect(new Uint8Array(await rest.arrayBuffer())).toEqual(blob.bytes.slice(50_000));
});

function halfOf(bytes: Uint8Array): ReadableStream {
  return new ReadableStream({
    pull(controller) {
      if (!bytes.byteLength) return;
      controller.enqueue(bytes.slice(0, bytes.byteLength / 2));
      controller.error(new Error('the network went away'));
    },
  });
}
