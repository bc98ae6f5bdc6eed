/** Pulls by digest with a read replica that lags behind: what a client was told is never missing, and deletions count. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Content, imageIn, noise, pushBlob, pushImage, putManifest, refusal, textOf } from '../world/images.ts';
import { api, inviteUser } from '../world/people.ts';
import { newReplica, type Replica } from '../world/replica.ts';
import { tokenFor } from '../world/tokens.ts';
import { builtOnce, type World } from '../world/world.ts';

let world: World;
let replica: Replica;
let image: Content;
let bearer: string;

const build = builtOnce(
  async (made) => {
    image = await pushImage(made, 'acme/api', 'v1');
    bearer = `Bearer ${await tokenFor(made, 'repository:acme/api:pull')}`;
  },
  { D1_REPLICAS: 'on', BLOB_CACHE_SECONDS: '60', LOG: 'json' },
);

beforeEach(async () => {
  world = await build();
  replica = newReplica(world);
});

afterEach(() => vi.useRealTimers());

type Isolate = ReturnType<Replica['isolate']>;

/** A Worker that asked for a tag a moment ago, so that it knows a bookmark, and a replica that has reached it. */
async function warm(): Promise<Isolate> {
  const isolate = replica.isolate();
  await pull(isolate, 'HEAD', 'manifests/absent');
  await replica.catchUp();
  isolate.served.length = 0;
  return isolate;
}

const pull = (on: World, method: string, path: string, authorization: string | null = bearer) =>
  on.fetch(method, `/v2/acme/api/${path}`, { authorization });

const layerOf = (one: Content) => (JSON.parse(textOf(one)) as { layers: [{ digest: string }] }).layers[0].digest;

/** All requests that read content by digest, in an order in which none is answered from what an earlier one remembered. */
const routesTo = (one: Content) =>
  [
    ['HEAD', `blobs/${layerOf(one)}`],
    ['GET', `blobs/${layerOf(one)}`],
    ['GET', `manifests/${one.digest}`],
    ['HEAD', `manifests/${one.digest}`],
  ] as const;

/** The statuses of these requests, without repetitions. */
async function statuses(on: World, one: Content): Promise<number[]> {
  const all = new Set<number>();
  for (const [method, path] of routesTo(one)) {
    const answer = await pull(on, method, path);
    await answer.arrayBuffer();
    all.add(answer.status);
  }
  return [...all];
}

describe('with a replica that is up to date', () => {
  test('content is read by digest from the replica, with one call', async () => {
    const isolate = await warm();
    for (const [method, path] of routesTo(image)) {
      isolate.served.length = 0;
      expect((await pull(isolate, method, path)).status, path).toBe(200);
      // A pull of a manifest is counted on the primary after the answer.
      expect(isolate.served, `${method} ${path}`).toEqual(path.startsWith('blobs') ? ['replica'] : ['replica', 'primary']);
    }
  });

  test('tags, referrers, and the reads of those who may push are read from the primary', async () => {
    const isolate = await warm();
    const pusher = `Bearer ${await tokenFor(world, 'repository:acme/api:pull,push')}`;
    for (const [method, path, authorization] of [
      ['GET', 'manifests/v1', bearer],
      ['HEAD', 'manifests/v1', bearer],
      ['GET', 'tags/list', bearer],
      ['GET', `referrers/${image.digest}`, bearer],
      ['HEAD', `manifests/${image.digest}`, pusher],
      ['HEAD', `blobs/${layerOf(image)}`, pusher],
    ] as const) {
      expect((await pull(isolate, method, path, authorization)).status, path).toBe(200);
    }
    expect(isolate.served).not.toContain('replica');
  });

  test('an isolate that has just started asks the primary', async () => {
    await replica.catchUp();
    const isolate = replica.isolate();
    expect((await pull(isolate, 'GET', `blobs/${layerOf(image)}`)).status).toBe(200);
    expect(isolate.served).toEqual(['primary']);
  });

  test('content that nobody has is looked up in both, and its refusal is as without a replica', async () => {
    const isolate = await warm();
    const absent = `sha256:${'0'.repeat(64)}`;
    expect(await refusal(await pull(isolate, 'GET', `blobs/${absent}`))).toBe('404 BLOB_UNKNOWN');
    expect(isolate.served).toEqual(['replica', 'primary']);
    expect(await refusal(await pull(isolate, 'GET', `manifests/${absent}`))).toBe('404 MANIFEST_UNKNOWN');
  });
});

describe('with a replica that lags behind, nothing is missing that a client was told', () => {
  test('an image is pulled by digest after its push', async () => {
    const isolate = await warm();
    const pushed = await pushImage(world, 'acme/api', null, 2);
    expect(await statuses(isolate, pushed)).toEqual([200]);
  });

  test('a signature is listed after its push', async () => {
    const isolate = await warm();
    const subject = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: image.digest, size: image.bytes.length };
    const { digest } = await pushImage(world, 'acme/api', null, 2, { subject });
    const answer = await pull(isolate, 'GET', `referrers/${image.digest}`);
    expect(await answer.text()).toContain(digest);
  });

  test('a tag that moved names its new image', async () => {
    const isolate = await warm();
    const { digest } = await pushImage(world, 'acme/api', 'v1', 2);
    for (const method of ['HEAD', 'GET']) {
      expect((await pull(isolate, method, 'manifests/v1')).headers.get('docker-content-digest')).toBe(digest);
    }
  });

  test('a right counts as soon as it was granted, and no longer once it was withdrawn', async () => {
    const { basic } = await inviteUser(world, 'bob');
    const isolate = await warm();
    const path = `manifests/${image.digest}`;
    const statements = [{ actions: ['pull'], repositories: ['acme/api'] }];
    expect((await pull(isolate, 'GET', path, basic)).status).toBe(403);
    expect((await api(world, 'PUT', '/users/bob/policy', { body: { statements } })).status).toBe(200);
    expect((await pull(isolate, 'GET', path, basic)).status).toBe(200);
    expect(isolate.served).toContain('replica');
    await replica.catchUp();
    expect((await api(world, 'PUT', '/users/bob/policy', { body: { statements: [] } })).status).toBe(200);
    expect((await pull(isolate, 'GET', path, basic)).status).toBe(403);
  });

  test('an image that was deleted and pushed again is served, also if its old objects are gone', async () => {
    const large = await imageIn(world, 'acme/api', 3, { annotations: { text: 'x'.repeat(140_000) } });
    expect((await putManifest(world, 'acme/api', large.digest, textOf(large))).status).toBe(201);
    const [isolate, another] = [await warm(), await warm()];
    expect((await api(world, 'DELETE', '/repositories/acme/api?force=true')).status).toBe(200);
    // The collector deletes these rows and objects, a day later unless GRACE_SECONDS is shorter.
    await world.env.DB.batch(
      ['repository_blobs', 'blobs', 'trash'].map((table) => world.env.DB.prepare(`DELETE FROM ${table}`)),
    );
    const { objects } = await world.env.BLOBS.list();
    await world.env.BLOBS.delete(objects.map(({ key }) => key).filter((key) => key !== 'registry'));
    await pushBlob(world, 'acme/api', noise(100, 3));
    await imageIn(world, 'acme/api', 3);
    expect((await putManifest(world, 'acme/api', large.digest, textOf(large))).status).toBe(201);
    expect(await statuses(isolate, large)).toEqual([200]);
    expect(await (await pull(another, 'GET', `manifests/${large.digest}`)).text()).toBe(textOf(large));
    const faults = await world.env.DB.prepare(`SELECT count(*) AS n FROM events WHERE type = 'blob.missing'`).first('n');
    expect(faults).toBe(0);
  });

  test('a replica that cannot answer, as it lacks a migration, is no reason to fail', async () => {
    const isolate = await warm();
    replica.lackTables();
    expect(await statuses(isolate, image)).toEqual([200]);
  });
});

describe('with a replica that lags behind, deleted content is gone', () => {
  const deletions: [string, (on: World) => Promise<unknown>][] = [
    [
      'of a manifest and its layer',
      async (on) => {
        for (const path of [`manifests/${image.digest}`, `blobs/${layerOf(image)}`]) {
          expect((await on.fetch('DELETE', `/v2/acme/api/${path}`)).status).toBe(202);
        }
      },
    ],
    [
      'of a repository',
      async (on) => {
        expect((await on.fetch('DELETE', '/api/v1/repositories/acme/api?force=true')).status).toBe(200);
      },
    ],
  ];

  test.each(deletions)('at once after the deletion %s by the same isolate', async (_, remove) => {
    const isolate = await warm();
    expect(await statuses(isolate, image)).toEqual([200]);
    await remove(isolate);
    expect(await statuses(isolate, image)).toEqual([404]);
  });

  test.each(deletions)('BLOB_CACHE_SECONDS after the deletion %s by another isolate', async (_, remove) => {
    const isolate = await warm();
    await remove(replica.isolate());
    expect(await statuses(isolate, image)).toEqual([200]);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 });
    // The first of these reads finds no bookmark that counts. The others find the one of the first, which the replica lacks.
    expect(await statuses(isolate, image)).toEqual([404]);
    expect(await statuses(isolate, image)).toEqual([404]);
  });

  test('what a replica told is not remembered for longer', async () => {
    const isolate = await warm();
    const start = Date.now();
    const served = async () => {
      isolate.served.length = 0;
      // The layer comes first, because a manifest that is read says again where its layers are.
      for (const path of [`blobs/${layerOf(image)}`, `manifests/${image.digest}`]) {
        expect((await pull(isolate, 'GET', path)).status).toBe(200);
      }
      // The pull is counted on the primary after the answer.
      return isolate.served.slice(0, -1);
    };
    vi.useFakeTimers({ toFake: ['Date'], now: start + 50_000 });
    await pull(isolate, 'HEAD', `manifests/${image.digest}`);
    expect(isolate.served).toContain('replica');
    expect(await served()).toEqual([]);
    vi.useFakeTimers({ toFake: ['Date'], now: start + 61_000 });
    // The replica has not reached the bookmark that the first of these reads finds, so the second asks both.
    expect(await served()).toEqual(['primary', 'replica', 'primary']);
  });
});
