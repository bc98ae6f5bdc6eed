/** Names, tags and digests in paths: valid ones reach their content, invalid ones are refused, and similar ones do not mix. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { isRepositoryName } from '../../../src/oci/name.ts';
import {
  contentOf,
  IMAGE_TYPE,
  indexOf,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  refusal,
  textOf,
} from '../../world/images.ts';
import { digestAt, eventsOf, tagsOf } from '../../world/reading.ts';
import { tokenFor } from '../../world/tokens.ts';
import { newWorld, type World } from '../../world/world.ts';

let world: World;

beforeAll(async () => {
  world = await newWorld();
});

const digest = `sha256:${'a'.repeat(64)}`;

/** Every method and path that contains the name of a repository. */
function addresses(name: string): [method: string, path: string][] {
  return [
    ['GET', `/v2/${name}/tags/list`],
    ['GET', `/v2/${name}/manifests/v1`],
    ['HEAD', `/v2/${name}/manifests/${digest}`],
    ['PUT', `/v2/${name}/manifests/v1`],
    ['DELETE', `/v2/${name}/manifests/v1`],
    ['GET', `/v2/${name}/referrers/${digest}`],
    ['GET', `/v2/${name}/blobs/${digest}`],
    ['DELETE', `/v2/${name}/blobs/${digest}`],
    ['POST', `/v2/${name}/blobs/uploads/`],
    ['GET', `/v2/${name}/blobs/uploads/x`],
    ['PATCH', `/v2/${name}/blobs/uploads/x`],
    ['PUT', `/v2/${name}/blobs/uploads/x?digest=${digest}`],
    ['DELETE', `/v2/${name}/blobs/uploads/x`],
  ];
}

const rows = async () =>
  (await world.env.DB.prepare('SELECT name FROM repositories ORDER BY name').all<{ name: string }>()).results.map(
    (row) => row.name,
  );

describe('a name outside the grammar', () => {
  test.each([
    ['upper case', 'Exp/A'],
    ['three underscores', 'a___b'],
    ['a separator in front', '-a'],
    ['a separator behind', 'a-'],
    ['two points', 'a..b'],
    ['a component that begins with a separator', 'a/_b'],
    ['an empty component', 'a//b'],
    ['nothing', ''],
    ['a space', 'a%20b'],
    ['a slash that is encoded', 'pub%2Fpriv'],
    ['a way upwards that is encoded', 'pub%2F..%2Fpriv'],
    ['a slash that is encoded twice', 'pub%252Fpriv'],
    ['a way upwards that is encoded twice', 'pub/%252e%252e/priv'],
    ['a NUL', 'a%00b'],
    ['bytes that are no UTF-8', 'a%ff'],
    ['an escape that is none', 'a%ZZ'],
    ['a homoglyph', 'аcme/api'],
    ['a right-to-left override', 'a\u202eb'],
    ['256 characters', 'a'.repeat(256)],
    ['20,000 characters', 'a-'.repeat(10_000)],
  ])('(%s) is a 400 at every address, and nothing comes of it', async (_, name) => {
    for (const [method, path] of addresses(name)) {
      const response = await world.fetch(method, path);
      const answer = method === 'HEAD' ? `${response.status} NAME_INVALID` : await refusal(response);
      expect(`${method} ${path} ${answer}`).toBe(`${method} ${path} 400 NAME_INVALID`);
    }
    expect((await rows()).filter((row) => !isRepositoryName(row))).toEqual([]);
  });

  test('is never a 5xx, whatever it is made of', async () => {
    const unit = fc.constantFrom('a', '0', '.', '_', '-', '/', 'A', '%', '%2f', '%00', '\\', ';', '~', 'é', "'");
    await fc.assert(
      fc.asyncProperty(fc.string({ unit, minLength: 1, maxLength: 10 }), async (name) => {
        const { status } = await world.fetch('GET', `/v2/${name}/tags/list`);
        expect([400, 404]).toContain(status);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a name within the grammar', () => {
  test.each([
    'a',
    'a__b',
    'a-----b',
    'a.b/c',
    'constructor',
    'manifests',
    'tags/list',
    'blobs/uploads',
    'a/manifests/b',
    'a/blobs/uploads',
    'a/tags/list',
    'referrers/x',
    'v2',
    '_catalog'.slice(1),
    `${'a/'.repeat(120)}a`,
    'a'.repeat(255),
  ])('is pushed to, pulled from and listed: %.40s', async (name) => {
    const image = await pushImage(world, name, 'v1');
    expect(await digestAt(world, name, 'v1')).toBe(image.digest);
    expect(await digestAt(world, name, image.digest)).toBe(image.digest);
    expect(await tagsOf(world, name)).toEqual(['v1']);
    expect((await world.fetch('GET', `/v2/${name}/referrers/${image.digest}`)).status).toBe(200);
    expect(await rows()).toContain(name);
  });
});

test('a change of a repository does not affect repositories whose names begin with the same characters', async () => {
  const names = ['foo', 'foo2', 'foo-bar', 'foo/bar', 'foo/manifests2', 'fo'];
  for (const name of names) await pushImage(world, name, 'v1', 40);
  const { digest } = await pushImage(world, 'foo', 'v2', 40);
  expect(await tagsOf(world, 'foo')).toEqual(['v1', 'v2']);
  expect((await world.fetch('DELETE', `/v2/foo/manifests/${digest}`)).status).toBe(202);
  expect(await tagsOf(world, 'foo')).toEqual([]);
  expect(await digestAt(world, 'foo', digest)).toBe(404);
  for (const name of names.slice(1)) {
    expect(await tagsOf(world, name)).toEqual(['v1']);
    expect(await digestAt(world, name, digest)).toBe(digest);
    expect((await eventsOf(world, name)).map(({ type }) => type)).toEqual(['repository.created', 'tag.created']);
  }
  const authorization = `Bearer ${await tokenFor(world, 'repository:foo:pull')}`;
  for (const name of names.slice(1)) {
    expect((await world.fetch('GET', `/v2/${name}/manifests/v1`, { authorization })).status).toBe(401);
  }
});

test('keys of every object are parameters like any other that nobody knows', async () => {
  await pushImage(world, 'query', 'v1', 42);
  for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const response = await world.fetch('GET', `/v2/query/tags/list?${key}=1&${key}=2&n=1`);
    expect([response.status, await response.json()]).toEqual([200, { name: 'query', tags: ['v1'] }]);
  }
});

test('an encoded slash leads nobody from the repository of a token to another', async () => {
  await pushImage(world, 'pub/priv', 'v1', 41);
  const authorization = `Bearer ${await tokenFor(world, 'repository:pub:pull')}`;
  for (const name of ['pub%2Fpriv', 'pub%2F..%2Fpriv', 'pub%252Fpriv', 'pub/%2e%2e/pub/priv']) {
    const response = await world.fetch('GET', `/v2/${name}/manifests/v1`, { authorization });
    expect([400, 401]).toContain(response.status);
  }
});

describe('a tag', () => {
  test('of 128 characters, or that looks like a digest or a signature, or is a key of every object, is a tag like any other', async () => {
    const tags = [
      't'.repeat(128),
      `sha256-${'a'.repeat(64)}`,
      'sha256-zz.sig',
      'x.sbom',
      '__proto__',
      'constructor',
      'toString',
      '_',
      'latest',
    ];
    const image = await pushImage(world, 'tags/odd', 'v1', 50);
    for (const tag of tags) {
      expect((await putManifest(world, 'tags/odd', tag, textOf(image))).status).toBe(201);
      expect(await digestAt(world, 'tags/odd', tag)).toBe(image.digest);
    }
    expect(await tagsOf(world, 'tags/odd')).toEqual([...tags, 'v1'].sort());
    for (const tag of tags) expect((await world.fetch('DELETE', `/v2/tags/odd/manifests/${tag}`)).status).toBe(202);
    expect(await tagsOf(world, 'tags/odd')).toEqual(['v1']);
  });

  test.each([
    ['t'.repeat(129), '400 MANIFEST_INVALID', '404 MANIFEST_UNKNOWN'],
    ['t'.repeat(20_000), '400 MANIFEST_INVALID', '404 MANIFEST_UNKNOWN'],
    ['.x', '400 MANIFEST_INVALID', '404 MANIFEST_UNKNOWN'],
    ['-x', '400 MANIFEST_INVALID', '404 MANIFEST_UNKNOWN'],
    ['a+b', '400 MANIFEST_INVALID', '404 MANIFEST_UNKNOWN'],
    ["a'b", '400 MANIFEST_INVALID', '404 MANIFEST_UNKNOWN'],
    ['a:b', '400 DIGEST_INVALID', '400 DIGEST_INVALID'],
    ['sha256:short', '400 DIGEST_INVALID', '400 DIGEST_INVALID'],
    [`sha256:${'A'.repeat(64)}`, '400 DIGEST_INVALID', '400 DIGEST_INVALID'],
    [`md5:${'a'.repeat(32)}`, '400 DIGEST_INVALID', '400 DIGEST_INVALID'],
    ['a%20b', '400 NAME_INVALID', '400 NAME_INVALID'],
    ['a%2fb', '400 NAME_INVALID', '400 NAME_INVALID'],
    ['a%00b', '400 NAME_INVALID', '400 NAME_INVALID'],
    ['%ff', '400 NAME_INVALID', '400 NAME_INVALID'],
    ['é', '400 NAME_INVALID', '400 NAME_INVALID'],
    ['%2e%2e', '404 UNSUPPORTED', '404 UNSUPPORTED'],
    ['%252e%252e', '400 NAME_INVALID', '400 NAME_INVALID'],
  ])('outside the grammar (%.24s) is not stored: %s; nor is there anything to read or delete: %s', async (tag, put, read) => {
    const image = await pushImage(world, 'tags/none', null, 51);
    expect(await refusal(await putManifest(world, 'tags/none', tag, textOf(image)))).toBe(put);
    expect(await refusal(await world.fetch('GET', `/v2/tags/none/manifests/${tag}`))).toBe(read);
    expect(await refusal(await world.fetch('DELETE', `/v2/tags/none/manifests/${tag}`))).toBe(read);
    expect(await tagsOf(world, 'tags/none')).toEqual([]);
  });
});

describe('sha512', () => {
  test('addresses a manifest as well as sha256 does, and is echoed', async () => {
    const { bytes } = await pushImage(world, 'sha/512', 'v1', 60);
    const image = await contentOf(bytes, 'sha512');
    const response = await putManifest(world, 'sha/512', `${image.digest}?tag=long`, textOf(image));
    expect(response.status).toBe(201);
    expect(response.headers.get('docker-content-digest')).toBe(image.digest);
    expect(response.headers.get('location')).toBe(`/v2/sha/512/manifests/${image.digest}`);
    expect(await digestAt(world, 'sha/512', image.digest)).toBe(image.digest);
    expect(await digestAt(world, 'sha/512', 'long')).toBe(image.digest);
    expect(await digestAt(world, 'sha/512', 'v1')).toBe((await contentOf(bytes)).digest);
  });

  test('names layers, children and subjects', async () => {
    const layer = await contentOf(noise(300, 61), 'sha512');
    const upload = await world.fetch('POST', `/v2/sha/512/blobs/uploads/?digest=${layer.digest}`, { body: layer.bytes });
    expect(upload.status).toBe(201);
    const config = {
      mediaType: 'application/vnd.oci.empty.v1+json',
      digest: (await pushBlob(world, 'sha/512', '{}')).digest,
      size: 2,
    };
    const layers = [{ mediaType: 'application/x', digest: layer.digest, size: 300 }];
    const image = await contentOf(JSON.stringify({ schemaVersion: 2, config, layers }), 'sha512');
    expect((await putManifest(world, 'sha/512', image.digest, textOf(image))).status).toBe(201);
    const index = await indexOf([image], {
      subject: { mediaType: IMAGE_TYPE, digest: image.digest, size: image.bytes.length },
    });
    const response = await putManifest(world, 'sha/512', 'index', textOf(index), 'application/vnd.oci.image.index.v1+json');
    expect(response.status).toBe(201);
    expect(response.headers.get('oci-subject')).toBe(image.digest);
    const referrers = (await (await world.fetch('GET', `/v2/sha/512/referrers/${image.digest}`)).json()) as {
      manifests: { digest: string }[];
    };
    expect(referrers.manifests.map((one) => one.digest)).toEqual([index.digest]);
  });

  test('addresses a blob for a pull, a part of one and a mount', async () => {
    const blob = await contentOf(noise(300, 63), 'sha512');
    const path = `/v2/sha/512/blobs/${blob.digest}`;
    await world.fetch('POST', `/v2/sha/512/blobs/uploads/?digest=${blob.digest}`, { body: blob.bytes });
    const response = await world.fetch('GET', path);
    expect(response.headers.get('docker-content-digest')).toBe(blob.digest);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(blob.bytes);
    const part = await world.fetch('GET', path, { headers: { range: 'bytes=100-199' } });
    expect(new Uint8Array(await part.arrayBuffer())).toEqual(blob.bytes.slice(100, 200));
    const mount = await world.fetch('POST', `/v2/sha/else/blobs/uploads/?mount=${blob.digest}&from=sha/512`);
    expect([mount.status, mount.headers.get('location')]).toEqual([201, `/v2/sha/else/blobs/${blob.digest}`]);
    expect((await world.fetch('HEAD', `/v2/sha/else/blobs/${blob.digest}`)).headers.get('content-length')).toBe('300');
  });

  test('of other bytes is refused like sha256 of other bytes', async () => {
    const image = await pushImage(world, 'sha/512', 'v1', 62);
    const other = (await contentOf('other', 'sha512')).digest;
    expect(await refusal(await putManifest(world, 'sha/512', other, textOf(image)))).toBe('400 DIGEST_INVALID');
    expect(await digestAt(world, 'sha/512', other)).toBe(404);
  });
});
