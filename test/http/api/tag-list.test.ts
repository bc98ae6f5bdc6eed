/** The list of tags through the management API: its fields, filters, orders and pages. */
import { beforeEach, describe, expect, test } from 'vitest';
import { attachedTo } from '../../../src/oci/attachment.ts';
import { type Counts, counting } from '../../world/counting.ts';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  LAYER_TYPE,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  textOf,
} from '../../world/images.ts';
import { everyItem, makeOrganization, makeTeam } from '../../world/organizations.ts';
import { api, inviteUser, type Person, refused } from '../../world/people.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const PATH = `/repositories/${REPOSITORY}/-/tags`;

interface Tag {
  tag: string;
  digest: string;
  pushedAt: string;
  changedAt: string | null;
  changedBy: { subject: string; key: string | null } | null;
  immutable: boolean;
  sameAs: string[];
  image: {
    kind: string;
    size: number | null;
    platforms: { os: string | null; architecture: string | null; digest: string; size: number | null }[] | null;
    attestations: number;
    lastPulledOn: string | null;
    referrers: number;
  } | null;
}

interface Page {
  items: Tag[];
  next: string | null;
}

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

async function list(query = '', as?: string | null, at = world): Promise<Page> {
  const { status, body } = await api<Page>(at, 'GET', `${PATH}${query}`, as === undefined ? {} : { as });
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

const names = async (query = '') => (await list(query)).items.map(({ tag }) => tag);

/** Reads all pages of a list, one after the other. */
async function walk(query: string): Promise<{ names: string[]; pages: number }> {
  const found: string[] = [];
  let pages = 0;
  for (let last: string | null = ''; last !== null; pages++) {
    const page: Page = await list(`?${query}${last === '' ? '' : `&last=${encodeURIComponent(last)}`}`);
    found.push(...page.items.map(({ tag }) => tag));
    last = page.next;
  }
  return { names: found, pages };
}

/** Pushes an index of two platforms with an attestation each, as BuildKit does. */
async function pushIndex(tag: string): Promise<{ index: Content; platforms: Content[] }> {
  const platforms = [await pushImage(world, REPOSITORY, null, 11), await pushImage(world, REPOSITORY, null, 12)];
  const attestations = [await pushImage(world, REPOSITORY, null, 13), await pushImage(world, REPOSITORY, null, 14)];
  const manifests = [
    ...platforms.map((image, n) =>
      descriptorOf(image, IMAGE_TYPE, { platform: { os: 'linux', architecture: ['amd64', 'arm64'][n] } }),
    ),
    ...attestations.map((image, n) =>
      descriptorOf(image, IMAGE_TYPE, {
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: {
          'vnd.docker.reference.type': 'attestation-manifest',
          'vnd.docker.reference.digest': platforms[n]?.digest,
        },
      }),
    ),
  ];
  const index = await contentOf(JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests }));
  expect((await putManifest(world, REPOSITORY, tag, textOf(index), INDEX_TYPE)).status).toBe(201);
  return { index, platforms };
}

/** Inserts many tags of one manifest, more than a test could push. A tag with a greater number is newer. */
async function manyTags(count: number, name = "'t' || i"): Promise<Content> {
  const image = await pushImage(world, REPOSITORY, null, 3);
  await world.env.DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
     INSERT INTO tags (repository_id, name, digest, updated_at) SELECT m.repository_id, ${name}, m.digest, 1000 + i / 10
     FROM n, manifests m WHERE m.digest = ?2`,
  )
    .bind(count, image.digest)
    .run();
  return image;
}

async function cost(query: string): Promise<Counts> {
  const { env, counts } = counting(world.env);
  await list(query, undefined, worldOf(env));
  return counts;
}

describe('a tag of an image', () => {
  test('has its size, who pushed it and when, its other names and its last pull', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    await putManifest(world, REPOSITORY, 'latest', textOf(image));
    await world.fetch('GET', `/v2/${REPOSITORY}/manifests/latest`);
    const today = new Date().toISOString().slice(0, 10);
    const { items } = await list('?sort=name');
    expect(items.map(({ tag, sameAs }) => [tag, sameAs])).toEqual([
      ['latest', ['v1']],
      ['v1', ['latest']],
    ]);
    expect(items[1]).toMatchObject({
      digest: image.digest,
      immutable: false,
      changedBy: { subject: 'user:admin' },
      image: {
        mediaType: IMAGE_TYPE,
        kind: 'image',
        artifactType: CONFIG_TYPE,
        manifestSize: image.bytes.byteLength,
        size: 100 + '{"seed":1}'.length,
        attestations: 0,
        lastPulledOn: today,
        referrers: 0,
      },
    });
    expect(items[1]?.pushedAt).toBe(items[1]?.changedAt);
  });

  test('counts each layer once, and foreign layers not at all', async () => {
    const config = await pushBlob(world, REPOSITORY, '{}');
    const layer = descriptorOf(await pushBlob(world, REPOSITORY, noise(70)), LAYER_TYPE);
    const foreign = {
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      digest: `sha256:${'f'.repeat(64)}`,
      size: Number.MAX_SAFE_INTEGER,
    };
    const document = { schemaVersion: 2, config: descriptorOf(config, CONFIG_TYPE), layers: [layer, layer, foreign] };
    expect((await putManifest(world, REPOSITORY, 'v1', document)).status).toBe(201);
    const size = async () => (await list()).items[0]?.image?.size;
    expect(await size()).toBe(72);
    await world.env.DB.prepare('UPDATE manifests SET content_size = NULL').run();
    expect(await size()).toBe(72);
  });

  test('of which signatures exist counts them; a chart is an artifact', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    const subject = descriptorOf(image, IMAGE_TYPE);
    await pushImage(world, REPOSITORY, 'chart', 2, { subject, artifactType: 'application/vnd.cncf.helm.config.v1+json' });
    const { items } = await list('?sort=name');
    expect(items.map(({ image }) => [image?.kind, image?.referrers])).toEqual([
      ['artifact', 0],
      ['image', 1],
    ]);
  });
});

test('a tag of an index has its platforms with a size each, and counts attestations apart', async () => {
  const { index, platforms } = await pushIndex('v1');
  const { items } = await list();
  const size = 100 + '{"seed":11}'.length;
  expect(items).toHaveLength(1);
  expect(items[0]).toMatchObject({
    digest: index.digest,
    image: {
      kind: 'index',
      size: 2 * size,
      attestations: 2,
      platforms: [
        { os: 'linux', architecture: 'amd64', variant: null, digest: platforms[0]?.digest, size },
        { os: 'linux', architecture: 'arm64', variant: null, digest: platforms[1]?.digest, size },
      ],
    },
  });
});

test('an index of many entries, or with a long document, is listed without platforms, and costs no more', async () => {
  const child = await pushImage(world, REPOSITORY, null, 5);
  const entry = (n: number) => descriptorOf(child, IMAGE_TYPE, { platform: { os: `os${n}` } });
  const push = async (tag: string, entries: number, more: object) => {
    const manifests = Array.from({ length: entries }, (_, n) => entry(n));
    const answer = await putManifest(world, REPOSITORY, tag, { schemaVersion: 2, manifests, ...more }, INDEX_TYPE);
    expect(answer.status).toBe(201);
  };
  await push('many', 500, {});
  await push('long', 1, { annotations: { text: 'x'.repeat(200_000) } });
  await push('hostile', 1, { manifests: [{ ...entry(0), platform: { os: 'x'.repeat(100_000), architecture: { a: 1 } } }] });
  const { items } = await list('?sort=name');
  expect(items.map(({ image }) => [image?.size, image?.platforms?.length ?? null])).toEqual([
    [expect.any(Number), 1],
    [null, null],
    [null, null],
  ]);
  expect(items[0]?.image?.platforms?.[0]).toMatchObject({ os: 'x'.repeat(64), architecture: '{"a":1}' });
  expect((await cost('')).rowsRead).toBeLessThanOrEqual(300);
});

describe('the order', () => {
  test('is by time, name or version, over all pages', async () => {
    await manyTags(23);
    const byTime = (await walk('n=100')).names;
    expect(byTime.slice(0, 4)).toEqual(['t23', 't22', 't21', 't20']);
    for (const sort of ['newest', 'oldest', 'name', 'version']) {
      const whole = (await walk(`sort=${sort}&n=100`)).names;
      const { names, pages } = await walk(`sort=${sort}&n=5`);
      expect(names).toEqual(whole);
      expect([new Set(names).size, pages]).toEqual([23, 5]);
    }
    expect(await names('?sort=oldest')).toEqual(byTime.reverse());
    expect((await names('?sort=name')).slice(0, 3)).toEqual(['t1', 't10', 't11']);
  });

  test('by version has the highest first, then the tags that are no versions', async () => {
    const tags = ['latest', '1.9', 'v1.10.0', '1.10.0-rc.2', '1.10.0-rc.10', '1.9-alpine', '2', 'main', '1.9.1', 'sha-12'];
    const image = await imageIn(world, REPOSITORY, 1);
    const query = tags.map((tag) => `tag=${tag}`).join('&');
    expect((await putManifest(world, REPOSITORY, `${image.digest}?${query}`, textOf(image))).status).toBe(201);
    const sorted = ['2', 'v1.10.0', '1.10.0-rc.10', '1.10.0-rc.2', '1.9.1', '1.9', '1.9-alpine', 'latest', 'main', 'sha-12'];
    expect(await names('?sort=version')).toEqual(sorted);
    expect((await walk('sort=version&n=3')).names).toEqual(sorted);
  });

  test('by version is refused above 1,000 tags', async () => {
    await manyTags(1001);
    const { status, body } = await api(world, 'GET', `${PATH}?sort=version`);
    expect([status, JSON.stringify(body)]).toEqual([400, expect.stringContaining('sort by name or time')]);
  });
});

describe('the filter', () => {
  test('finds a part of the name in upper and lower case, and nothing stands for other characters', async () => {
    await manyTags(12, "iif(i % 2, 'Release_' || i, 'dev-' || i)");
    expect(await names('?filter=RELEASE_1&sort=name')).toEqual(['Release_1', 'Release_11']);
    for (const sort of ['newest', 'oldest', 'name', 'version']) {
      for (const none of ['%25', '*', 'e%25', 'Release-', '%00', 'dev%00', "'", '%22', '%F0%9F%9A%80']) {
        expect(await names(`?filter=${none}&sort=${sort}`), none).toEqual([]);
      }
      expect(await names(`?filter=v-&sort=${sort}`)).toHaveLength(6);
    }
    const long = await api(world, 'GET', `${PATH}?filter=${'x'.repeat(10_000)}`);
    expect(refused(long)).toBe('400 INVALID');
  });

  test('looks at 5,000 tags in a request, and the next page goes on behind them', async () => {
    await manyTags(6000, "iif(i IN (100, 5900), 'rare' || i, 't' || i)");
    const first = await list('?filter=rare&sort=oldest');
    expect([first.items.map(({ tag }) => tag), first.next]).toEqual([['rare100'], expect.any(String)]);
    expect((await walk('filter=rare')).names).toEqual(['rare5900', 'rare100']);
    expect((await walk('filter=none')).names).toEqual([]);
  });
});

/** Inserts 5,000 tags. Each names its own index with two platforms and two attestations, and has a history and a pull. */
async function manyIndexes(): Promise<void> {
  const { index } = await pushIndex('v1');
  const digest = `'sha256:' || printf('%064d', i)`;
  const rows = (sql: string) =>
    world.env.DB.prepare(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) ${sql}`)
      .bind(index.digest)
      .run();
  const here = 'FROM n, manifests m WHERE m.digest = ?1';
  await rows(
    `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, size, pushed_at, content, content_size)
     SELECT m.repository_id, ${digest}, m.media_type, '', m.size, 1, m.content, 0 ${here}`,
  );
  await rows(
    `INSERT INTO tags (repository_id, name, digest, updated_at) SELECT m.repository_id, 't' || i, ${digest}, i ${here}`,
  );
  await rows(
    `INSERT INTO tag_history (repository_id, tag, point, at, digest, actor)
     SELECT m.repository_id, 't' || i, 1, i, ${digest}, 'user:admin' ${here}`,
  );
  await rows(`INSERT INTO pulls SELECT m.repository_id, ${digest}, 20000, 1 ${here}`);
}

test('a page of 50 tags out of 5,000 takes one query, and at most 900 rows; with a rare filter at most 10,100', async () => {
  await manyIndexes();
  for (const query of ['?sort=newest', '?sort=oldest', '?sort=name']) {
    const counts = await cost(query);
    expect(counts, query).toMatchObject({ rowsWritten: 0, r2Reads: 0 });
    // One call reads the caller's rights, and the other the tags.
    expect(counts.d1, query).toBeLessThanOrEqual(2);
    expect(counts.rowsRead, query).toBeLessThanOrEqual(900);
  }
  expect((await cost('?filter=t4')).rowsRead).toBeLessThanOrEqual(1000);
  expect((await cost('?filter=none')).rowsRead).toBeLessThanOrEqual(10_100);
});

describe('tags of signatures and attestations', () => {
  const HEX = 'a'.repeat(64);

  test('can be left out, and only they, in each order', async () => {
    const attached = ['', '.sig', '.att', '.sbom'].flatMap((end) => [`sha256-${HEX}${end}`, `sha512-${HEX}${end}`]);
    const ordinary = [
      ...[`sha256-${HEX}.txt`, `sha256-${HEX.slice(1)}g`, `sha256-${HEX.slice(1)}`, `sha256-${HEX}a`, `sha384-${HEX}.sig`],
      ...[`sha256-${HEX.toUpperCase()}.sig`, `x-sha256-${HEX}`, `sha256_${HEX}`, 'sha256-', 'v1'],
    ];
    const tags = [...attached, ...ordinary];
    expect(tags.filter((tag) => attachedTo(tag) !== null)).toEqual(attached);
    await manyTags(tags.length, `json_extract('${JSON.stringify(tags)}', '$[' || (i - 1) || ']')`);
    for (const sort of ['newest', 'oldest', 'name', 'version']) {
      expect((await walk(`sort=${sort}&attached=false&n=4`)).names.toSorted(), sort).toEqual(ordinary.toSorted());
      expect((await walk(`sort=${sort}&n=4`)).names, sort).toHaveLength(tags.length);
    }
  });

  test('left out of 10,000 tags cost two rows each, and little to count', { tags: 'slow' }, async () => {
    await manyIndexes();
    // Each image has a signature, which was pushed after it.
    await world.env.DB.prepare(
      `INSERT INTO tags SELECT t.repository_id, replace(t.digest, ':', '-') || '.sig', v.digest, t.updated_at
       FROM tags t, tags v WHERE t.name <> 'v1' AND v.name = 'v1'`,
    ).run();
    for (const sort of ['newest', 'oldest']) {
      const counts = await cost(`?sort=${sort}&attached=false`);
      expect(counts.d1, sort).toBeLessThanOrEqual(2);
      expect(counts.rowsRead, sort).toBeLessThanOrEqual(900 + 2 * 50 + 20 + 50);
    }
    // By name they stand together. The page that meets them looks at up to 5,000 tags, and says where the next one goes on.
    expect((await cost('?sort=name&attached=false')).rowsRead).toBeLessThanOrEqual(15_100);
    expect((await walk('sort=name&attached=false&filter=v1')).names).toEqual(['v1']);
  });
});

describe('whoever may pull sees the list', () => {
  let pusher: Person;
  let reader: Person;
  let stranger: Person;

  beforeEach(async () => {
    [pusher, reader, stranger] = [
      await inviteUser(world, 'pusher'),
      await inviteUser(world, 'reader'),
      await inviteUser(world, 'someone'),
    ];
    await makeOrganization(world, 'acme', { members: [pusher, reader] });
    const allow = (...actions: string[]) => [{ effect: 'allow', actions, repositories: ['acme/*'] }];
    await makeTeam(world, 'acme', 'pushers', [pusher], allow('pull', 'push'));
    await makeTeam(world, 'acme', 'readers', [reader], allow('pull'));
    await pushImage(world, REPOSITORY, 'v1');
  });

  test('and who pushes there also learns who pushed', async () => {
    const [forPusher, forReader] = [await list('', pusher.basic), await list('', reader.basic)];
    expect(forPusher.items[0]?.changedBy).toMatchObject({ subject: 'user:admin' });
    expect(forReader.items[0]).toEqual({ ...forPusher.items[0], changedBy: null });
  });

  test('of a public repository without an account, and not who pushed', async () => {
    await api(world, 'PATCH', `/repositories/${REPOSITORY}`, { body: { visibility: 'public' } });
    const { items } = await list('', null);
    expect(items).toMatchObject([{ tag: 'v1', changedBy: null }]);
  });

  test('and nobody else: an absent repository and one that they may not pull answer alike', async () => {
    for (const as of [stranger.basic, null]) {
      const [there, absent] = [
        await api(world, 'GET', PATH, { as }),
        await api(world, 'GET', '/repositories/acme/none/-/tags', { as }),
      ];
      expect(there.body).toEqual(absent.body);
      expect(refused(there)).toBe(as === null ? '401 UNAUTHORIZED' : '404 NOT_FOUND');
    }
    expect(refused(await api(world, 'GET', '/repositories/acme/none/-/tags', { as: reader.basic }))).toBe('404 NAME_UNKNOWN');
  });

  test('a cursor is only a place: one of another repository shows nothing of that one', async () => {
    await pushImage(world, 'acme/other', 'zz');
    for (const last of ['0:zz', '999999999999999:zz', '0:a']) await list(`?last=${last}&sort=name`);
    for (const last of ['x', 'zz', '1:', '-1:a', '1:a b', '9999999999999999:a', '~sealed']) {
      expect(refused(await api(world, 'GET', `${PATH}?last=${encodeURIComponent(last)}`)), last).toBe('400 INVALID');
    }
    expect(refused(await api(world, 'GET', `${PATH}?n=101`))).toBe('400 INVALID');
  });
});

test('the rule about immutable tags is applied to each', async () => {
  await pushImage(world, REPOSITORY, 'v1');
  await pushImage(world, REPOSITORY, 'latest');
  const body = {
    imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
    imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'latest' }],
  };
  expect((await api(world, 'PUT', `/repositories/${REPOSITORY}/-/tag-mutability`, { body })).status).toBe(200);
  const { items } = await list('?sort=name');
  expect(items.map(({ tag, immutable }) => [tag, immutable])).toEqual([
    ['latest', false],
    ['v1', true],
  ]);
});

test('an empty repository has an empty list', async () => {
  await api(world, 'PUT', `/repositories/${REPOSITORY}`);
  for (const sort of ['newest', 'oldest', 'name', 'version'])
    expect(await list(`?sort=${sort}&filter=x`)).toEqual({ items: [], next: null });
  expect(await everyItem(world, PATH)).toEqual([]);
});
