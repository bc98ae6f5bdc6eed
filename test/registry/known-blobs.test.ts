/** Layers after their manifest: no query, no right that comes from memory, and no content that was deleted. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { counting } from '../world/counting.ts';
import { type Content, contentOf, noise, pushBlob, pushImage, refusal, textOf } from '../world/images.ts';
import { intercepted } from '../world/intercept.ts';
import { api, inviteUser } from '../world/people.ts';
import { tokenFor } from '../world/tokens.ts';
import { builtOnce, type World, worldOf } from '../world/world.ts';

let world: World;
let image: Content;
let layer: string;
let bearer: string;

const build = builtOnce(
  async (made) => {
    image = await pushImage(made, 'acme/api', 'v1');
    const { layers } = JSON.parse(textOf(image)) as { layers: [{ digest: string }] };
    layer = `blobs/${layers[0].digest}`;
    bearer = `Bearer ${await tokenFor(made, 'repository:acme/api:pull')}`;
  },
  { BLOB_CACHE_SECONDS: '60', LOG: 'json' },
);

beforeEach(async () => {
  world = await build();
});

afterEach(() => vi.useRealTimers());

const get = (path: string, on = world, authorization: string | null = bearer) =>
  on.fetch('GET', `/v2/acme/api/${path}`, { authorization });

/** The same stores as another isolate sees them: it remembers nothing of this one. */
const elsewhere = () => worldOf({ ...world.env, DB: intercepted(world.env.DB, (_, effect) => effect()) });

test.each(['by tag', 'by digest'])('a layer after its manifest %s takes no call to the database', async (how) => {
  const { env, counts } = counting(world.env);
  await (await get(`manifests/${how === 'by tag' ? 'v1' : image.digest}`, worldOf(env))).text();
  const { d1, r2Reads } = counts;
  for (const method of ['GET', 'HEAD']) {
    const answer = await worldOf(env).fetch(method, `/v2/acme/api/${layer}`, { authorization: bearer });
    expect(answer.status).toBe(200);
    await answer.arrayBuffer();
  }
  expect([counts.d1 - d1, counts.r2Reads - r2Reads]).toEqual([0, 1]);
});

test('a layer that no manifest named takes one call', async () => {
  const { digest } = await pushBlob(world, 'acme/api', noise(100, 9));
  const { env, counts } = counting(world.env);
  await (await get(`manifests/v1`, worldOf(env))).text();
  const { d1 } = counts;
  expect((await get(`blobs/${digest}`, worldOf(env))).status).toBe(200);
  expect(counts.d1 - d1).toBe(1);
});

test('a layer that somebody pulled is hidden from those who may not pull', async () => {
  await (await get('manifests/v1')).text();
  expect((await get(layer)).status).toBe(200);
  const { basic } = await inviteUser(world, 'bob');
  for (const [authorization, status] of [
    [null, 401],
    [basic, 403],
    [`Bearer ${await tokenFor(world, 'repository:acme/other:pull')}`, 401],
  ] as const) {
    const asked = await get(layer, world, authorization);
    expect(await refusal(asked)).toBe(await refusal(await get(`blobs/sha256:${'0'.repeat(64)}`, elsewhere(), authorization)));
    expect(asked.status).toBe(status);
  }
});

test('a deleted layer and the layers of a deleted repository are gone at once', async () => {
  await (await get('manifests/v1')).text();
  expect((await get(layer)).status).toBe(200);
  for (const path of [`manifests/${image.digest}`, layer]) {
    expect((await world.fetch('DELETE', `/v2/acme/api/${path}`)).status).toBe(202);
  }
  expect(await refusal(await get(layer))).toBe('404 BLOB_UNKNOWN');
  await pushImage(world, 'acme/api', 'v1');
  await (await get('manifests/v1')).text();
  expect((await api(world, 'DELETE', '/repositories/acme/api?force=true')).status).toBeLessThan(300);
  expect((await get(layer)).status).toBe(404);
});

test('a client that may push and asks again for a layer takes one call, and a lease if another isolate ended it', async () => {
  const { env, counts } = counting(world.env);
  const on = worldOf(env);
  const authorization = `Bearer ${await tokenFor(world, 'repository:acme/api:pull,push')}`;
  const cost = async (status: number) => {
    const { d1, rowsRead } = counts;
    expect((await on.fetch('HEAD', `/v2/acme/api/${layer}`, { authorization })).status).toBe(status);
    return { d1: counts.d1 - d1, rowsRead: counts.rowsRead - rowsRead };
  };
  const first = await cost(200);
  const again = await cost(200);
  expect([first.d1, again.d1]).toEqual([1, 1]);
  expect(again.rowsRead).toBeLessThan(first.rowsRead);
  await world.env.DB.prepare('UPDATE repository_blobs SET leased_until = 0').run();
  await cost(200);
  const digest = layer.replace('blobs/', '');
  const lease = await world.env.DB.prepare(
    'SELECT leased_until - unixepoch() AS seconds FROM repository_blobs WHERE digest = ?',
  )
    .bind(digest)
    .first<number>('seconds');
  expect(lease).toBeGreaterThan(23 * 3600);
  for (const path of [`manifests/${image.digest}`, layer]) {
    expect((await elsewhere().fetch('DELETE', `/v2/acme/api/${path}`)).status).toBe(202);
  }
  expect((await cost(404)).d1).toBe(1);
});

test('a layer that another isolate deleted is gone after BLOB_CACHE_SECONDS', async () => {
  await (await get('manifests/v1')).text();
  for (const path of [`manifests/${image.digest}`, layer]) {
    expect((await elsewhere().fetch('DELETE', `/v2/acme/api/${path}`)).status).toBe(202);
  }
  expect((await get(layer)).status).toBe(200);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 });
  expect(await refusal(await get(layer))).toBe('404 BLOB_UNKNOWN');
});

test('a layer whose object was lost and pushed again meanwhile is served from its new object', async () => {
  await (await get('manifests/v1')).text();
  const bytes = new Uint8Array(await (await get(layer, elsewhere())).arrayBuffer());
  const { digest } = await contentOf(bytes);
  const key = await world.env.DB.prepare('SELECT object_key FROM blobs WHERE digest = ?')
    .bind(digest)
    .first<string>('object_key');
  await world.env.BLOBS.delete(key ?? '');
  expect((await get(layer, elsewhere())).status).toBe(404);
  await pushBlob(elsewhere(), 'acme/api', bytes);
  const answer = await get(layer);
  expect(answer.status).toBe(200);
  expect(new Uint8Array(await answer.arrayBuffer())).toEqual(bytes);
});

test('a manifest that is read while its layer is deleted is no reason to remember the layer', async () => {
  let deleted = false;
  const reading = intercepted(world.env.DB, async (name, effect) => {
    const found = await effect();
    if (!deleted && name !== 'DB.batch') {
      deleted = true;
      const on = worldOf({ ...world.env, DB: reading });
      await on.fetch('DELETE', '/api/v1/repositories/acme/api?force=true');
    }
    return found;
  });
  const on = worldOf({ ...world.env, DB: reading });
  await (await get('manifests/v1', on)).text();
  expect((await get(layer, on)).status).toBe(404);
});
