/**
 * Transient errors of R2 are retried a limited number of times, unless the request's body was used up.
 *
 * @module-tag slow
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../world/checker.ts';
import { contentOf, noise, pushBlob, pushImage, putManifest, refusal, textOf } from '../world/images.ts';
import { begin, finish, keysOf, layer, locationOf, MIB, patch, postWhole, pulled, sized, unsized } from '../world/uploads.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const REPOSITORY = 'acme/api';
const CODES = [10001, 10043, 10058];

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

interface Failing {
  world: World;
  calls: () => number;
}

/** Makes the next `times` calls of a method fail as R2 fails. It is a method of the bucket or of a multipart upload. */
function failing(of: World, method: string, times: number, code = 10001): Failing {
  let calls = 0;
  const wrap = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(inner, name) {
        const call = Reflect.get(inner, name) as (...args: unknown[]) => unknown;
        if (typeof call !== 'function') return call;
        return (...args: unknown[]) => {
          if (name === 'resumeMultipartUpload') return wrap(call.apply(inner, args) as object);
          if (name !== method) return call.apply(inner, args);
          calls++;
          const error = new Error(`${method}: We encountered an internal error. Please try again. (${code})`);
          return calls <= times ? Promise.reject(error) : call.apply(inner, args);
        };
      },
    });
  return { world: worldOf({ ...of.env, BLOBS: wrap(of.env.BLOBS) }), calls: () => calls };
}

describe.each(CODES)('an error %i', (code) => {
  test('of a read is retried', async () => {
    const blob = await pushBlob(world, REPOSITORY, noise(1000));
    const away = failing(world, 'get', 2, code);
    expect(await pulled(away.world, REPOSITORY, blob.digest)).toBe(blob.digest);
    expect(away.calls()).toBe(3);
  });
});

describe('a transient error', () => {
  test('in reading a large manifest is retried', async () => {
    await pushImage(world, REPOSITORY, 'large', 1, { annotations: { text: 'x'.repeat(200_000) } });
    const { world: away } = failing(world, 'get', 1);
    expect((await away.fetch('GET', `/v2/${REPOSITORY}/manifests/large`)).status).toBe(200);
  });

  test('in the put of a large manifest is retried', async () => {
    const image = await pushImage(world, REPOSITORY, null, 1);
    const text = textOf(image).replace('{', `{"x":"${'x'.repeat(200_000)}",`);
    const { world: away } = failing(world, 'put', 1);
    expect((await putManifest(away, REPOSITORY, 'v1', text)).status).toBe(201);
  });

  test('in a small blob in one request is retried', async () => {
    const { bytes, digest } = await contentOf(layer(100_000));
    const { world: away } = failing(world, 'put', 1);
    expect((await postWhole(away, REPOSITORY, digest, sized(bytes))).status).toBe(201);
    expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
  });

  test.each(['put', 'get'])('of a %s of the finish is waited for: what is staged is still there', async (method) => {
    const { bytes, digest } = await contentOf(layer(3 * MIB));
    const next = locationOf(await patch(world, await begin(world), sized(bytes.slice(0, MIB))));
    const last = locationOf(await patch(world, next, sized(bytes.slice(MIB))));
    const away = failing(world, method, 2);
    expect((await finish(away.world, last, digest)).status).toBe(201);
    expect(away.calls()).toBeGreaterThan(2);
    expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    expect(await keysOf(world)).toHaveLength(1);
    expect(await violations(world.env)).toEqual([]);
  });

  test.each(['createMultipartUpload', 'uploadPart', 'complete'])('of %s is waited for', async (method) => {
    world = await newWorld({ VERIFY: 'stream', PART_BYTES: String(5 * MIB) });
    const { bytes, digest } = await contentOf(layer(11 * MIB));
    const { world: away } = failing(world, method, 2);
    const patched = await patch(away, await begin(away), unsized(bytes));
    expect((await finish(away, locationOf(patched), digest)).status).toBe(201);
    expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
  });

  test('in the put of a chunk of unknown length is retried', async () => {
    const { bytes, digest } = await contentOf(layer(200_000));
    const { world: away } = failing(world, 'put', 1);
    const patched = await patch(away, await begin(away), unsized(bytes));
    expect(patched.status).toBe(202);
    expect((await finish(world, locationOf(patched), digest)).status).toBe(201);
  });
});

describe('is a 503', () => {
  test('if it persists after four tries', async () => {
    const blob = await pushBlob(world, REPOSITORY, noise(1000));
    const away = failing(world, 'get', 100);
    expect(await refusal(await away.world.fetch('GET', `/v2/${REPOSITORY}/blobs/${blob.digest}`))).toBe('503 UNAVAILABLE');
    expect(away.calls()).toBe(4);
    expect((await world.fetch('HEAD', `/v2/${REPOSITORY}/blobs/${blob.digest}`)).status).toBe(200);
  });

  test('at once if it is of another kind', async () => {
    const blob = await pushBlob(world, REPOSITORY, noise(1000));
    const away = failing(world, 'get', 1, 10002);
    expect(await refusal(await away.world.fetch('GET', `/v2/${REPOSITORY}/blobs/${blob.digest}`))).toBe('503 UNAVAILABLE');
    expect(away.calls()).toBe(1);
  });

  test('at once if the body of the request was used up, and the upload stays where it was', async () => {
    const { bytes, digest } = await contentOf(layer(MIB));
    const location = await begin(world);
    const away = failing(world, 'put', 1);
    expect(await refusal(await finish(away.world, location, digest, sized(bytes)))).toBe('503 UNAVAILABLE');
    expect(away.calls()).toBe(1);
    expect((await finish(world, location, digest, sized(bytes))).status).toBe(201);
  });
});
