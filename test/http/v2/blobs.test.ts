/** Blobs by digest: GET, HEAD and DELETE. Ranges: `ranges.test.ts`. */
import { beforeEach, describe, expect, test } from 'vitest';
import { contentOf, noise, pushBlob, pushImage, refusal } from '../../world/images.ts';
import { tokenFor } from '../../world/tokens.ts';
import { countOf, keysOf, postWhole, pulled, shortened, sized, statusOf } from '../../world/uploads.ts';
import { newWorld, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const NO_DIGEST = `sha256:${'0'.repeat(64)}`;

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const pathOf = (digest: string, repository = REPOSITORY) => `/v2/${repository}/blobs/${digest}`;

describe('GET and HEAD', () => {
  test('return 200 with digest, length and type; HEAD without the bytes', async () => {
    const { bytes, digest } = await pushBlob(world, REPOSITORY, noise(5000));
    const [got, head] = await Promise.all(['GET', 'HEAD'].map((method) => world.fetch(method, pathOf(digest))));
    expect(got?.status).toBe(200);
    expect(Object.fromEntries(got?.headers ?? [])).toMatchObject({
      'docker-content-digest': digest,
      'content-length': '5000',
      'content-type': 'application/octet-stream',
      'accept-ranges': 'bytes',
      etag: `"${digest}"`,
    });
    expect(Object.fromEntries(head?.headers ?? [])).toEqual(Object.fromEntries(got?.headers ?? []));
    expect(head?.status).toBe(200);
    expect(head?.body).toBeNull();
    expect(new Uint8Array((await got?.arrayBuffer()) ?? new ArrayBuffer())).toEqual(bytes);
  });

  test('return content that no browser runs and no proxy may change', async () => {
    const { digest } = await pushBlob(world, REPOSITORY, '<script>alert(1)</script>');
    const { headers } = await world.fetch('GET', pathOf(digest), { headers: { accept: 'text/html' } });
    expect(headers.get('content-type')).toBe('application/octet-stream');
    expect(headers.get('content-disposition')).toBe('attachment');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toBe("sandbox; default-src 'none'");
    expect(headers.get('cache-control')).toContain('private');
    expect(headers.get('cache-control')).toContain('no-transform');
    expect(headers.get('content-encoding')).toBeNull();
  });

  test.each(['GET', 'HEAD'])(
    '%s of an unknown blob is a 404, in an existing repository and in an unknown one',
    async (method) => {
      await pushBlob(world, REPOSITORY, 'something');
      for (const repository of [REPOSITORY, 'acme/nothing']) {
        const response = await world.fetch(method, pathOf(NO_DIGEST, repository));
        expect(response.status).toBe(404);
        if (method === 'GET') expect(await refusal(response)).toBe('404 BLOB_UNKNOWN');
        else expect(response.body).toBeNull();
      }
    },
  );

  test.each(
    ['garbage', 'sha256:abc', `sha256:${'A'.repeat(64)}`, `sha384:${'0'.repeat(96)}`, 'sha256:', 'x'.repeat(5000)].map(
      shortened,
    ),
  )('of something that is no digest ($shown) are DIGEST_INVALID', async ({ value: digest }) => {
    expect(await refusal(await world.fetch('GET', pathOf(digest)))).toBe('400 DIGEST_INVALID');
    expect(await statusOf(world, 'HEAD', pathOf(digest))).toBe(400);
  });

  test('find a blob only by the algorithm it was pushed with', async () => {
    const { bytes } = await pushBlob(world, REPOSITORY, noise(100));
    const { digest } = await contentOf(bytes, 'sha512');
    expect(await statusOf(world, 'HEAD', pathOf(digest))).toBe(404);
  });

  test('do not return a blob of another repository, even if the store has its bytes', async () => {
    const { digest } = await pushBlob(world, 'acme/private', noise(100));
    await pushBlob(world, REPOSITORY, noise(100, 2));
    expect(await statusOf(world, 'GET', pathOf(digest))).toBe(404);
    expect(await refusal(await world.fetch('DELETE', pathOf(digest)))).toBe('404 BLOB_UNKNOWN');
    expect(await pulled(world, 'acme/private', digest)).toBe(digest);
  });

  test('distinguish repositories whose names begin alike', async () => {
    const { digest } = await pushBlob(world, 'foo', noise(100));
    for (const repository of ['fo', 'foo2', 'foo-bar', 'foo/blobs', 'foo/blobs2']) {
      expect(await statusOf(world, 'HEAD', pathOf(digest, repository))).toBe(404);
    }
    await pushBlob(world, 'foo/blobs2', noise(100));
    expect(await statusOf(world, 'DELETE', pathOf(digest, 'foo'))).toBe(202);
    expect(await pulled(world, 'foo/blobs2', digest)).toBe(digest);
  });

  test('HEAD takes a lease for a caller who may push, and only reads for one who may only pull', async () => {
    const { digest } = await pushBlob(world, REPOSITORY, noise(100));
    const lease = () => world.env.DB.prepare('SELECT leased_until AS until FROM repository_blobs').first<number>('until');
    await world.env.DB.prepare('UPDATE repository_blobs SET leased_until = 5').run();
    const token = await tokenFor(world, `repository:${REPOSITORY}:pull`);
    expect((await world.fetch('HEAD', pathOf(digest), { authorization: `Bearer ${token}` })).status).toBe(200);
    expect((await world.fetch('GET', pathOf(digest))).status).toBe(200);
    expect(await lease()).toBe(5);
    expect((await world.fetch('HEAD', pathOf(digest))).status).toBe(200);
    expect(await lease()).toBeGreaterThan(Date.now() / 1000 + 60 * 60);
  });
});

describe('a blob whose object is gone', () => {
  test('is a 404 from the first failed pull on, so that the next push repairs it', async () => {
    const { bytes, digest } = await pushBlob(world, REPOSITORY, noise(100));
    await world.env.BLOBS.delete(await keysOf(world));
    expect(await refusal(await world.fetch('GET', pathOf(digest)))).toBe('404 BLOB_UNKNOWN');
    expect(await statusOf(world, 'HEAD', pathOf(digest))).toBe(404);
    expect((await postWhole(world, REPOSITORY, digest, sized(bytes))).status).toBe(201);
    expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    expect(await statusOf(world, 'HEAD', pathOf(digest))).toBe(200);
  });

  test('is a 404 for a range too, never an empty 206', async () => {
    const { digest } = await pushBlob(world, REPOSITORY, noise(100));
    await world.env.BLOBS.delete(await keysOf(world));
    const response = await world.fetch('GET', pathOf(digest), { headers: { range: 'bytes=10-19' } });
    expect(await refusal(response)).toBe('404 BLOB_UNKNOWN');
  });
});

describe('DELETE', () => {
  test('returns 202; afterwards the blob is unknown here, and a second DELETE is a 404', async () => {
    const { digest } = await pushBlob(world, REPOSITORY, noise(100));
    const response = await world.fetch('DELETE', pathOf(digest));
    expect(response.status).toBe(202);
    expect(await response.text()).toBe('');
    expect(await statusOf(world, 'GET', pathOf(digest))).toBe(404);
    expect(await statusOf(world, 'HEAD', pathOf(digest))).toBe(404);
    expect(await refusal(await world.fetch('DELETE', pathOf(digest)))).toBe('404 BLOB_UNKNOWN');
  });

  test('removes it from one repository; others that have it can still pull it', async () => {
    const { digest } = await pushBlob(world, REPOSITORY, noise(100));
    await pushBlob(world, 'acme/other', noise(100));
    expect(await statusOf(world, 'DELETE', pathOf(digest))).toBe(202);
    expect(await pulled(world, 'acme/other', digest)).toBe(digest);
    expect(await statusOf(world, 'GET', pathOf(digest))).toBe(404);
    expect(await countOf(world, 'repository_blobs')).toBe(1);
  });

  test('of a blob that was deleted before allows pushing it again', async () => {
    const { bytes, digest } = await pushBlob(world, REPOSITORY, noise(100));
    await world.fetch('DELETE', pathOf(digest));
    await pushBlob(world, REPOSITORY, bytes);
    expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
  });

  test('of a blob that a manifest references is UNSUPPORTED (405) and changes nothing until the manifest is deleted', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    const { config, layers } = JSON.parse(new TextDecoder().decode(image.bytes)) as {
      config: { digest: string };
      layers: { digest: string }[];
    };
    const digests = [config.digest, ...layers.map(({ digest }) => digest)];
    for (const digest of digests) {
      const response = await world.fetch('DELETE', pathOf(digest));
      expect(response.headers.get('allow')).toBe('GET, HEAD');
      expect(await refusal(response)).toBe('405 UNSUPPORTED');
      expect(await pulled(world, REPOSITORY, digest)).toBe(digest);
    }
    await world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${image.digest}`);
    for (const digest of digests) expect(await statusOf(world, 'DELETE', pathOf(digest))).toBe(202);
  });

  test('is not prevented by a manifest of another repository', async () => {
    const image = await pushImage(world, 'acme/other', 'v1');
    const { layers } = JSON.parse(new TextDecoder().decode(image.bytes)) as { layers: { digest: string }[] };
    const digest = layers[0]?.digest ?? '';
    await world.fetch('POST', `/v2/${REPOSITORY}/blobs/uploads/?mount=${digest}&from=acme/other`);
    expect(await statusOf(world, 'DELETE', pathOf(digest))).toBe(202);
    expect(await pulled(world, 'acme/other', digest)).toBe(digest);
  });

  test('records one event, and none if it is refused', async () => {
    const { digest } = await pushBlob(world, REPOSITORY, noise(100));
    await world.fetch('DELETE', pathOf(digest));
    await world.fetch('DELETE', pathOf(digest));
    const { results } = await world.env.DB.prepare("SELECT about, target FROM events WHERE type = 'blob.deleted'").all();
    expect(results).toEqual([{ about: REPOSITORY, target: JSON.stringify({ digest }) }]);
  });

  test.each(['garbage', 'latest'])('of %s is DIGEST_INVALID', async (digest) => {
    expect(await refusal(await world.fetch('DELETE', pathOf(digest)))).toBe('400 DIGEST_INVALID');
  });
});
