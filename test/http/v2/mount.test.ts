/** Cross-repository mounts: blobs linked from another repository instead of sent again (end-11). */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Content, contentOf, noise, pushBlob, refusal } from '../../world/images.ts';
import { tokenFor } from '../../world/tokens.ts';
import { countOf, finish, keysOf, locationOf, postWhole, progressOf, pulled, sized, statusOf } from '../../world/uploads.ts';
import { builtOnce, type World } from '../../world/world.ts';

const SOURCE = 'acme/base';
const TARGET = 'acme/api';
const NO_DIGEST = `sha256:${'0'.repeat(64)}`;

let world: World;
let blob: Content;

const build = builtOnce(async (made) => {
  world = made;
  blob = await pushBlob(world, SOURCE, noise(5000));
});

beforeEach(async () => {
  world = await build();
});

function mount(query: string, authorization?: string): Promise<Response> {
  const as = authorization === undefined ? {} : { authorization };
  return world.fetch('POST', `/v2/${TARGET}/blobs/uploads/?${query}`, as);
}

describe('a mount', () => {
  test("returns 201 with the blob's location; it can be pulled at once, and nothing was copied", async () => {
    const response = await mount(`mount=${blob.digest}&from=${SOURCE}`);
    expect(response.status).toBe(201);
    expect(response.headers.get('docker-content-digest')).toBe(blob.digest);
    const head = await world.fetch('HEAD', locationOf(response));
    expect([head.status, head.headers.get('content-length'), head.headers.get('docker-content-digest')]).toEqual([
      200,
      '5000',
      blob.digest,
    ]);
    expect(await pulled(world, TARGET, blob.digest)).toBe(blob.digest);
    expect(await keysOf(world)).toHaveLength(1);
    expect(await countOf(world, 'blobs')).toBe(1);
    expect(await countOf(world, 'uploads')).toBe(0);
  });

  test('works with sha512, and for an empty blob', async () => {
    const long = await contentOf(noise(100, 2), 'sha512');
    const empty = await contentOf('');
    for (const { bytes, digest } of [long, empty]) {
      expect((await postWhole(world, SOURCE, digest, sized(bytes))).status).toBe(201);
      expect((await mount(`mount=${digest}&from=${SOURCE}`)).status).toBe(201);
      expect(await pulled(world, TARGET, digest)).toBe(digest);
    }
  });

  test('repeated, or from the repository itself, is 201 as well, with one event in all', async () => {
    expect((await mount(`mount=${blob.digest}&from=${SOURCE}`)).status).toBe(201);
    expect((await mount(`mount=${blob.digest}&from=${SOURCE}`)).status).toBe(201);
    expect((await mount(`mount=${blob.digest}&from=${TARGET}`)).status).toBe(201);
    const { results } = await world.env.DB.prepare("SELECT about, target FROM events WHERE type = 'blob.mounted'").all();
    expect(results).toEqual([{ about: TARGET, target: JSON.stringify({ digest: blob.digest, from: SOURCE }) }]);
  });

  test('outlives a deletion in the source', async () => {
    await mount(`mount=${blob.digest}&from=${SOURCE}`);
    expect(await statusOf(world, 'DELETE', `/v2/${SOURCE}/blobs/${blob.digest}`)).toBe(202);
    expect(await pulled(world, TARGET, blob.digest)).toBe(blob.digest);
  });

  test('takes a lease, and renews it if the blob was here before', async () => {
    const lease = () =>
      world.env.DB.prepare(
        'SELECT leased_until AS until FROM repository_blobs JOIN repositories r ON r.id = repository_id WHERE r.name = ?1',
      )
        .bind(TARGET)
        .first<number>('until');
    for (let time = 0; time < 2; time++) {
      expect((await mount(`mount=${blob.digest}&from=${SOURCE}`)).status).toBe(201);
      expect(await lease()).toBeGreaterThan(Date.now() / 1000 + 60 * 60);
      await world.env.DB.prepare('UPDATE repository_blobs SET leased_until = 5').run();
    }
  });
});

describe('a mount that is not possible', () => {
  const impossible = {
    'of a digest that nobody has': `mount=${NO_DIGEST}&from=${SOURCE}`,
    'of something that is no digest': `mount=garbage&from=${SOURCE}`,
    'of nothing': `mount=&from=${SOURCE}`,
    'from a repository that is not here': 'mount=BLOB&from=acme/unknown',
    'from a repository that does not have it': 'mount=BLOB&from=acme/other',
    'from the repository itself, which does not have it': `mount=BLOB&from=${TARGET}`,
    'from a name that is none': 'mount=BLOB&from=Not/A/Name',
    'from a name of SQL and wildcards': "mount=BLOB&from=acme/%25' OR 1=1 --",
    'from nothing': 'mount=BLOB&from=',
    'without a digest, from somewhere': `from=${SOURCE}`,
  };

  test.each(Object.entries(impossible))('for %s is a 202 with an upload that works', async (_, query) => {
    await pushBlob(world, 'acme/other', 'something else');
    const response = await mount(query.replace('BLOB', blob.digest));
    expect(progressOf(response)).toBe('202 0-0');
    expect(await statusOf(world, 'HEAD', `/v2/${TARGET}/blobs/${blob.digest}`)).toBe(404);
    const sent = await contentOf(noise(100, 3));
    expect((await finish(world, locationOf(response), sent.digest, sized(sent.bytes))).status).toBe(201);
    expect(await pulled(world, TARGET, sent.digest)).toBe(sent.digest);
  });

  test('because its object is missing is a 202, too', async () => {
    await world.env.BLOBS.delete(await keysOf(world));
    expect(await statusOf(world, 'GET', `/v2/${SOURCE}/blobs/${blob.digest}`)).toBe(404);
    expect((await mount(`mount=${blob.digest}&from=${SOURCE}`)).status).toBe(202);
    expect((await mount(`mount=${blob.digest}`)).status).toBe(202);
  });

  test('creates neither a repository nor an event', async () => {
    await mount(`mount=${NO_DIGEST}&from=${SOURCE}`);
    expect(await countOf(world, 'repositories')).toBe(1);
    const { results } = await world.env.DB.prepare('SELECT type, about FROM events').all();
    expect(results).toEqual([{ type: 'repository.created', about: SOURCE }]);
  });
});

describe('a mount without a source', () => {
  test("depends on the caller's rights to pull, not on the scopes of the token", async () => {
    expect((await mount(`mount=${blob.digest}`)).status).toBe(201);
    expect(await pulled(world, TARGET, blob.digest)).toBe(blob.digest);
    const token = await tokenFor(world, `repository:${TARGET}:pull,push`);
    const other = await pushBlob(world, SOURCE, noise(200, 4));
    expect((await mount(`mount=${other.digest}`, `Bearer ${token}`)).status).toBe(201);
    expect(await pulled(world, TARGET, other.digest)).toBe(other.digest);
  });

  test('is recorded without a source, because readers of the event may not know that repository', async () => {
    await mount(`mount=${blob.digest}`);
    const { results } = await world.env.DB.prepare("SELECT target FROM events WHERE type = 'blob.mounted'").all();
    expect(results).toEqual([{ target: JSON.stringify({ digest: blob.digest }) }]);
  });

  test('of an unknown blob is a 202', async () => {
    expect((await mount(`mount=${NO_DIGEST}`)).status).toBe(202);
  });
});

describe('a mount with a token', () => {
  const header = async (...scopes: string[]) => `Bearer ${await tokenFor(world, ...scopes)}`;

  test('that covers both repositories is a 201', async () => {
    const authorization = await header(`repository:${TARGET}:pull,push`, `repository:${SOURCE}:pull`);
    expect((await mount(`mount=${blob.digest}&from=${SOURCE}`, authorization)).status).toBe(201);
  });

  test('that does not cover the source is a 202 with an upload, even if its subject may pull there', async () => {
    const authorization = await header(`repository:${TARGET}:pull,push`);
    const response = await mount(`mount=${blob.digest}&from=${SOURCE}`, authorization);
    expect(response.status).toBe(202);
    const location = `${response.headers.get('location')}?digest=${blob.digest}`;
    expect((await world.fetch('PUT', location, { authorization, body: blob.bytes })).status).toBe(201);
    expect(await pulled(world, TARGET, blob.digest)).toBe(blob.digest);
  });

  test('that may not push here is a 401, whatever is mounted', async () => {
    for (const authorization of [await header(`repository:${TARGET}:pull`), await header(`repository:${SOURCE}:pull,push`)]) {
      for (const query of [`mount=${blob.digest}&from=${SOURCE}`, `mount=${blob.digest}`]) {
        expect(await refusal(await mount(query, authorization))).toBe('401 UNAUTHORIZED');
      }
    }
    expect(await statusOf(world, 'HEAD', `/v2/${TARGET}/blobs/${blob.digest}`)).toBe(404);
  });
});
