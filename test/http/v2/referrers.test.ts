/** Referrers: the list of a subject whatever is pushed first, and the filter for artifact types. */
import { beforeAll, describe, expect, test } from 'vitest';
import {
  CONFIG_TYPE,
  type Content,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  indexOf,
  pushImage,
  putManifest,
  refusal,
  textOf,
} from '../../world/images.ts';
import { digestAt } from '../../world/reading.ts';
import { newWorld, type World } from '../../world/world.ts';

interface Referrers {
  schemaVersion: number;
  mediaType: string;
  manifests: { mediaType: string; digest: string; size: number; artifactType?: string; annotations?: Record<string, string> }[];
}

let world: World;

beforeAll(async () => {
  world = await newWorld();
});

const nowhere = `sha256:${'b'.repeat(64)}`;
const of = (subject: Content, more: Record<string, unknown> = {}) => ({ subject: descriptorOf(subject, IMAGE_TYPE), ...more });
const ask = (repository: string, digest: string, query = '') =>
  world.fetch('GET', `/v2/${repository}/referrers/${digest}${query}`);

async function list(repository: string, digest: string, query = ''): Promise<Referrers['manifests']> {
  const response = await ask(repository, digest, query);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe(INDEX_TYPE);
  const { schemaVersion, mediaType, manifests } = (await response.json()) as Referrers;
  expect([schemaVersion, mediaType]).toEqual([2, INDEX_TYPE]);
  return manifests;
}

const digests = async (...asked: Parameters<typeof list>) => (await list(...asked)).map(({ digest }) => digest);

describe('the list', () => {
  test('has a manifest at once, before its subject exists, after it was pushed, and after it was deleted', async () => {
    const subject = await imageIn(world, 'acme/late', 1);
    const signature = await imageIn(world, 'acme/late', 2, of(subject));
    const response = await putManifest(world, 'acme/late', signature.digest, textOf(signature));
    expect([response.status, response.headers.get('oci-subject')]).toEqual([201, subject.digest]);
    expect(await digestAt(world, 'acme/late', subject.digest)).toBe(404);
    expect(await digests('acme/late', subject.digest)).toEqual([signature.digest]);
    await putManifest(world, 'acme/late', 'v1', textOf(subject));
    expect(await digests('acme/late', subject.digest)).toEqual([signature.digest]);
    await world.fetch('DELETE', `/v2/acme/late/manifests/${subject.digest}`);
    expect(await digests('acme/late', subject.digest)).toEqual([signature.digest]);
    await world.fetch('DELETE', `/v2/acme/late/manifests/${signature.digest}`);
    expect(await digests('acme/late', subject.digest)).toEqual([]);
  });

  test('has type, size, digest, artifact type and annotations of each', async () => {
    const subject = await pushImage(world, 'acme/all', 'v1', 1);
    const annotations = { 'org.example': 'a "b" \\ é \u{1f600}', ['__proto__']: 'c', constructor: 'd' };
    const typed = await pushImage(
      world,
      'acme/all',
      null,
      2,
      of(subject, { artifactType: 'application/vnd.example', annotations }),
    );
    const bare = await pushImage(world, 'acme/all', null, 3, of(subject));
    const index = await indexOf([], of(subject, { annotations: {} }));
    const typedIndex = await indexOf([], of(subject, { artifactType: 'application/vnd.example.index' }));
    for (const one of [index, typedIndex]) await putManifest(world, 'acme/all', one.digest, textOf(one), INDEX_TYPE);
    const described = (content: Content, mediaType: string, more: Record<string, unknown>) => ({
      mediaType,
      digest: content.digest,
      size: content.bytes.length,
      ...more,
    });
    expect(await list('acme/all', subject.digest)).toEqual([
      described(index, INDEX_TYPE, { annotations: {} }),
      described(typed, IMAGE_TYPE, { artifactType: 'application/vnd.example', annotations }),
      described(typedIndex, INDEX_TYPE, { artifactType: 'application/vnd.example.index' }),
      described(bare, IMAGE_TYPE, { artifactType: CONFIG_TYPE }),
    ]);
  });

  test('has annotations as the registry read them at the push, however their key was escaped and wherever they are stored', async () => {
    const subject = await pushImage(world, 'acme/escaped', 'v1', 1);
    for (const [seed, padding] of [
      [2, ''],
      [3, ' '.repeat(200_000)],
    ] as const) {
      const image = await imageIn(world, 'acme/escaped', seed, of(subject, { annotations: { key: 'value' } }));
      const text = padding + textOf(image).replace('"annotations"', '"\\u0061nnotations"').replace('"key"', '"\\u006bey"');
      expect((await putManifest(world, 'acme/escaped', `v${seed}`, text)).status).toBe(201);
    }
    const annotations = (await list('acme/escaped', subject.digest)).map((one) => one.annotations);
    expect(annotations).toEqual([{ key: 'value' }, { key: 'value' }]);
  });

  test('is empty without referrers, for an unknown digest, and for an unknown repository: never a 404', async () => {
    const subject = await pushImage(world, 'acme/alone', 'v1', 1);
    expect(await list('acme/alone', subject.digest)).toEqual([]);
    expect(await list('acme/alone', nowhere)).toEqual([]);
    expect(await list('acme/nowhere', nowhere)).toEqual([]);
    expect(await list('acme/alone', `sha512:${'b'.repeat(128)}`)).toEqual([]);
  });

  test('belongs to one repository: the same subject elsewhere has its own', async () => {
    const subject = await pushImage(world, 'acme/one', 'v1', 1);
    await pushImage(world, 'acme/one2', 'v1', 1);
    const signature = await pushImage(world, 'acme/one', null, 2, of(subject));
    expect(await digests('acme/one', subject.digest)).toEqual([signature.digest]);
    expect(await digests('acme/one2', subject.digest)).toEqual([]);
  });

  test("has a referrer of a referrer in the latter's list only", async () => {
    const subject = await pushImage(world, 'acme/chain', 'v1', 1);
    const sbom = await pushImage(world, 'acme/chain', null, 2, of(subject));
    const signature = await pushImage(world, 'acme/chain', null, 3, of(sbom));
    expect(await digests('acme/chain', subject.digest)).toEqual([sbom.digest]);
    expect(await digests('acme/chain', sbom.digest)).toEqual([signature.digest]);
  });

  test.each(['sha256:short', 'latest', `sha256:${'B'.repeat(64)}`, `md5:${'b'.repeat(32)}`])(
    'of %s is a 400 DIGEST_INVALID',
    async (text) => {
      expect(await refusal(await ask('acme/alone', text))).toBe('400 DIGEST_INVALID');
    },
  );

  test('has no row for a refused manifest', async () => {
    const image = await imageIn(world, 'acme/bad', 1, { subject: { mediaType: IMAGE_TYPE, digest: nowhere, size: -1 } });
    expect(await refusal(await putManifest(world, 'acme/bad', 'v1', textOf(image)))).toBe('400 MANIFEST_INVALID');
    expect(await list('acme/bad', nowhere)).toEqual([]);
  });

  test('works with HEAD like GET', async () => {
    const head = await world.fetch('HEAD', `/v2/acme/alone/referrers/${nowhere}`);
    expect([head.status, head.headers.get('content-type'), await head.text()]).toEqual([200, INDEX_TYPE, '']);
  });
});

describe('the filter by artifact type', () => {
  const types = [
    'application/vnd.a+json',
    'application/vnd.a json',
    'application/vnd.a%2Bjson',
    'application/vnd_a+json',
    "a' OR 1=1 --",
    '__proto__',
    '%',
    'a&b',
  ];
  let subject: Content;
  const filter = (type: string, more = '') => `?artifactType=${encodeURIComponent(type)}${more}`;

  beforeAll(async () => {
    subject = await pushImage(world, 'acme/filter', 'v1', 1);
    for (const [n, artifactType] of types.entries()) {
      for (const annotations of [{ n: '1' }, { n: '2' }]) {
        await pushImage(world, 'acme/filter', null, n, of(subject, { artifactType, annotations }));
      }
    }
    await pushImage(world, 'acme/filter', null, 20, of(subject));
    const index = await indexOf([], of(subject));
    await putManifest(world, 'acme/filter', index.digest, textOf(index), INDEX_TYPE);
  });

  test('is taken literally, and the answer says that it was applied', async () => {
    for (const type of types) {
      const response = await ask('acme/filter', subject.digest, filter(type));
      expect(response.headers.get('oci-filters-applied')).toBe('artifactType');
      const { manifests } = (await response.json()) as Referrers;
      expect(manifests.map(({ artifactType }) => artifactType)).toEqual([type, type]);
    }
  });

  test('finds an image without one by the type of its config', async () => {
    expect(await list('acme/filter', subject.digest, filter(CONFIG_TYPE))).toHaveLength(1);
  });

  test('without a match returns an empty list, and says that it was applied', async () => {
    const response = await ask('acme/filter', subject.digest, filter('application/none'));
    expect(response.headers.get('oci-filters-applied')).toBe('artifactType');
    expect(((await response.json()) as Referrers).manifests).toEqual([]);
  });

  test('that is empty or absent is not said to be applied', async () => {
    for (const query of ['', '?artifactType=']) {
      const response = await ask('acme/filter', subject.digest, query);
      expect(response.headers.get('oci-filters-applied')).toBeNull();
      expect(((await response.json()) as Referrers).manifests).toHaveLength(2 * types.length + 2);
    }
  });

  test('is kept in the link to the next page', async () => {
    for (const type of types) {
      const response = await ask('acme/filter', subject.digest, filter(type, '&n=1'));
      const [, next = ''] = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '') ?? [];
      expect(new URL(next, 'https://registry.test').searchParams.get('artifactType')).toBe(type);
      const second = await world.fetch('GET', next);
      expect(second.headers.get('oci-filters-applied')).toBe('artifactType');
      expect(second.headers.get('link')).toBeNull();
      expect(((await second.json()) as Referrers).manifests.map(({ artifactType }) => artifactType)).toEqual([type]);
    }
  });

  test('given twice is a 400 UNSUPPORTED', async () => {
    expect(await refusal(await ask('acme/filter', subject.digest, '?artifactType=a&artifactType=b'))).toBe('400 UNSUPPORTED');
  });
});
