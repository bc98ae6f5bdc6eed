/** Manifests that an isolate remembers: fewer queries and smaller ones, no right that comes from memory, no tag either. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { counting } from '../world/counting.ts';
import { type Content, pushImage, refusal, textOf } from '../world/images.ts';
import { intercepted } from '../world/intercept.ts';
import { api, inviteUser } from '../world/people.ts';
import { tokenFor } from '../world/tokens.ts';
import { builtOnce, type World, worldOf } from '../world/world.ts';

let world: World;
let image: Content;
let manifest: string;
let bearer: string;

const build = builtOnce(
  async (made) => {
    image = await pushImage(made, 'acme/api', 'v1');
    manifest = `manifests/${image.digest}`;
    bearer = `Bearer ${await tokenFor(made, 'repository:acme/api:pull')}`;
  },
  { BLOB_CACHE_SECONDS: '60', LOG: 'json' },
);

beforeEach(async () => {
  world = await build();
});

afterEach(() => vi.useRealTimers());

const ask = (method: string, path: string, on = world, authorization: string | null = bearer) =>
  on.fetch(method, `/v2/acme/api/${path}`, { authorization });

/** The same stores as another isolate sees them: it remembers nothing of this one. */
const elsewhere = () => worldOf({ ...world.env, DB: intercepted(world.env.DB, (_, effect) => effect()) });

test('a pull by HEAD of the tag, GET of the digest and GET of a layer waits for one call to the database', async () => {
  const { env, counts } = counting(world.env);
  const on = worldOf(env);
  const head = await ask('HEAD', 'manifests/v1', on);
  const pulled = await ask('GET', `manifests/${head.headers.get('docker-content-digest')}`, on);
  expect([pulled.status, await pulled.text()]).toEqual([200, textOf(image)]);
  for (const name of ['content-type', 'content-length', 'docker-content-digest']) {
    expect(pulled.headers.get(name)).toBe(head.headers.get(name));
  }
  const { layers } = JSON.parse(textOf(image)) as { layers: [{ digest: string }] };
  expect((await ask('GET', `blobs/${layers[0].digest}`, on)).status).toBe(200);
  // The HEAD and the pull are counted after their answers.
  expect(counts.d1).toBe(1 + 2);
});

test('a program that only watches a tag, and a client that may push, read no layers', async () => {
  const { env, counts } = counting(world.env);
  const on = worldOf(env);
  const cost = async (method: string, path: string, authorization = bearer) => {
    const { d1, rowsRead } = counts;
    expect((await ask(method, path, on, authorization)).status).toBe(200);
    return { d1: counts.d1 - d1, rowsRead: counts.rowsRead - rowsRead };
  };
  const pusher = `Bearer ${await tokenFor(world, 'repository:acme/api:pull,push')}`;
  await cost('HEAD', 'manifests/v1', pusher);
  const plain = await cost('HEAD', 'manifests/v1', pusher);
  // The HEAD, and its count after the answer.
  expect(plain.d1).toBe(2);
  expect(plain.rowsRead).toBeLessThanOrEqual(8);
  const watched = [];
  for (let n = 0; n < 6; n++) watched.push(await cost('HEAD', 'manifests/v1'));
  expect(watched[0]?.rowsRead).toBeGreaterThan(plain.rowsRead);
  expect(watched.slice(4)).toEqual([plain, plain]);
  // A pull ends this.
  await cost('GET', manifest);
  expect(await cost('HEAD', 'manifests/v1')).toEqual(watched[0]);
});

test('a manifest that was read ahead is hidden from those who may not pull', async () => {
  await ask('HEAD', 'manifests/v1');
  const { basic } = await inviteUser(world, 'bob');
  for (const [authorization, status] of [
    [null, 401],
    [basic, 403],
  ] as const) {
    const asked = await ask('GET', manifest, world, authorization);
    expect(asked.status).toBe(status);
    expect(await refusal(asked)).toBe(
      await refusal(await ask('GET', `manifests/sha256:${'0'.repeat(64)}`, world, authorization)),
    );
  }
});

test('a manifest that was deleted, or whose repository was, is gone at once', async () => {
  await ask('HEAD', 'manifests/v1');
  expect((await world.fetch('DELETE', `/v2/acme/api/${manifest}`)).status).toBe(202);
  expect(await refusal(await ask('GET', manifest))).toBe('404 MANIFEST_UNKNOWN');
  await pushImage(world, 'acme/api', 'v1');
  await ask('HEAD', 'manifests/v1');
  expect((await api(world, 'DELETE', '/repositories/acme/api?force=true')).status).toBeLessThan(300);
  expect((await ask('GET', manifest)).status).toBe(404);
});

test('a manifest that another isolate deleted is gone after BLOB_CACHE_SECONDS, and its tag at once', async () => {
  await ask('HEAD', 'manifests/v1');
  expect((await elsewhere().fetch('DELETE', `/v2/acme/api/${manifest}`)).status).toBe(202);
  expect(await refusal(await ask('GET', 'manifests/v1'))).toBe('404 MANIFEST_UNKNOWN');
  expect((await ask('GET', manifest)).status).toBe(200);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 });
  expect(await refusal(await ask('GET', manifest))).toBe('404 MANIFEST_UNKNOWN');
});

test('a second pull of a tag asks the database what the tag names, and reads nothing else again', async () => {
  const { env, counts } = counting(world.env);
  const on = worldOf(env);
  const cost = async () => {
    const { d1, rowsRead } = counts;
    const pulled = await ask('GET', 'manifests/v1', on);
    expect([pulled.status, await pulled.text()]).toEqual([200, textOf(image)]);
    expect(pulled.headers.get('docker-content-digest')).toBe(image.digest);
    return { d1: counts.d1 - d1, rowsRead: counts.rowsRead - rowsRead };
  };
  await cost();
  const [first, second] = [await cost(), await cost()];
  expect(second).toEqual(first);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 16_000 });
  // The layers must be remembered until their pulls, so they are read again from time to time.
  const later = await cost();
  expect(later.d1).toBe(first.d1);
  expect(later.rowsRead).toBeGreaterThan(first.rowsRead);
});

test('a second pull of a tag that another isolate moved gives the other image, and after its deletion none', async () => {
  await (await ask('GET', 'manifests/v1')).text();
  const other = await pushImage(elsewhere(), 'acme/api', 'v1', 2);
  const pulled = await ask('GET', 'manifests/v1');
  expect([await pulled.text(), pulled.headers.get('docker-content-digest')]).toEqual([textOf(other), other.digest]);
  expect((await elsewhere().fetch('DELETE', `/v2/acme/api/manifests/${other.digest}`)).status).toBe(202);
  expect(await refusal(await ask('GET', 'manifests/v1'))).toBe('404 MANIFEST_UNKNOWN');
});

test('a manifest that is read ahead while it is deleted is not remembered', async () => {
  let deleted = false;
  const reading = intercepted(world.env.DB, async (name, effect) => {
    const found = await effect();
    if (!deleted && name !== 'DB.batch') {
      deleted = true;
      await worldOf({ ...world.env, DB: reading }).fetch('DELETE', `/v2/acme/api/${manifest}`);
    }
    return found;
  });
  const on = worldOf({ ...world.env, DB: reading });
  expect((await ask('HEAD', 'manifests/v1', on)).status).toBe(200);
  expect(await refusal(await ask('GET', manifest, on))).toBe('404 MANIFEST_UNKNOWN');
});
