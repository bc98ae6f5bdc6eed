import { beforeEach, expect, test } from 'vitest';
import { ecr, expectHidden } from '../../world/aws.ts';
import { counting } from '../../world/counting.ts';
import { contentOf, IMAGE_TYPE, INDEX_TYPE, imageIn, indexOf, pushImage, putManifest, textOf } from '../../world/images.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'alice/app';
const NO_DIGEST = `sha256:${'0'.repeat(64)}`;

let world: World;
let alice: Person;
let bob: Person;
let one: string;
let two: string;
let untagged: string;

/** `one` has the tags a and b, `two` has the tag c, and a third image has no tag. */
const build = builtOnce(async (made) => {
  alice = await inviteUser(made, 'alice');
  bob = await inviteUser(made, 'bob');
  one = (await pushImage(made, REPOSITORY, 'a', 1)).digest;
  await pushImage(made, REPOSITORY, 'b', 1);
  two = (await pushImage(made, REPOSITORY, 'c', 2)).digest;
  untagged = (await pushImage(made, REPOSITORY, null, 3)).digest;
});

beforeEach(async () => {
  world = await build();
});

type Id = { imageDigest?: string; imageTag?: string };
interface Output {
  imageIds: Id[];
  imageDetails: Record<string, unknown>[];
  images: { imageId: Id; imageManifest: string; imageManifestMediaType: string }[];
  failures: { imageId: Id; failureCode: string; failureReason: string }[];
  referrers: Record<string, unknown>[];
  nextToken?: string;
}

const by = ({ keyId, secret }: Person) => ({ id: keyId, secret });
const call = (operation: string, input: object = {}, as = alice, on = world) =>
  ecr<Output>(on, by(as), operation, { repositoryName: REPOSITORY, ...input });

/** All pages of a list, one item a page. */
async function paged(operation: string, name: 'imageIds' | 'imageDetails', input: object = {}) {
  const items: Output[typeof name] = [];
  let nextToken: string | undefined;
  do {
    const { body } = await call(operation, { ...input, maxResults: 1, ...(nextToken ? { nextToken } : {}) });
    items.push(...(body[name] as Id[]));
    nextToken = body.nextToken;
  } while (nextToken !== undefined);
  return items;
}

const byDigest = (a: Id, b: Id) => `${a.imageDigest} ${a.imageTag}`.localeCompare(`${b.imageDigest} ${b.imageTag}`);

test('images are listed once for each tag, page by page, with and without tags', async () => {
  const tagged = [
    { imageDigest: one, imageTag: 'a' },
    { imageDigest: one, imageTag: 'b' },
    { imageDigest: two, imageTag: 'c' },
  ].sort(byDigest);
  const bare = { imageDigest: untagged };
  const filter = (tagStatus: string) => ({ filter: { tagStatus } });
  expect(await paged('ListImages', 'imageIds')).toEqual([...tagged, bare].sort(byDigest));
  expect(await paged('ListImages', 'imageIds', filter('TAGGED'))).toEqual(tagged);
  expect(await paged('ListImages', 'imageIds', filter('UNTAGGED'))).toEqual([bare]);
  expect((await call('ListImages', { filter: { imageStatus: 'ARCHIVED' } })).body).toEqual({ imageIds: [] });
  const whole = await call('ListImages');
  expect(whole.body.imageIds).toHaveLength(4);
  expect(whole.body).not.toHaveProperty('nextToken');
});

test('images are described with everything that is known about them', async () => {
  const children = [await imageIn(world, REPOSITORY, 1), await imageIn(world, REPOSITORY, 2)];
  const index = await indexOf(children);
  await putManifest(world, REPOSITORY, 'multi', textOf(index), INDEX_TYPE);
  await world.env.DB.prepare(
    `INSERT INTO pulls (repository_id, digest, day, count) SELECT repository_id, digest, 20000, 1 FROM tags WHERE name = 'c'`,
  ).run();
  const described = await call('DescribeImages', {
    imageIds: [{ imageTag: 'a' }, { imageDigest: one, imageTag: 'b' }, { imageDigest: two }],
  });
  const { registryId } = described.body.imageDetails[0] as { registryId: string };
  const image = {
    registryId: expect.stringMatching(/^\d{12}$/),
    repositoryName: REPOSITORY,
    imageSizeInBytes: 110,
    imagePushedAt: expect.any(Number),
    imageManifestMediaType: IMAGE_TYPE,
    artifactMediaType: 'application/vnd.oci.image.config.v1+json',
    imageStatus: 'ACTIVE',
  };
  expect(described.body).toEqual({
    imageDetails: [
      { ...image, imageDigest: one, imageTags: ['a', 'b'] },
      { ...image, imageDigest: two, imageTags: ['c'], lastRecordedPullTime: 20000 * 86400 },
    ],
  });
  const [shown] = (await call('DescribeImages', { imageIds: [{ imageTag: 'multi' }], registryId })).body.imageDetails;
  const { artifactMediaType: _, ...ofIndex } = image;
  expect(shown).toEqual({ ...ofIndex, imageDigest: index.digest, imageTags: ['multi'], imageManifestMediaType: INDEX_TYPE });
  const all = await paged('DescribeImages', 'imageDetails');
  expect(all.map(({ imageDigest }) => imageDigest)).toEqual([one, two, untagged, index.digest].sort());
  expect(all.find(({ imageDigest }) => imageDigest === untagged)).not.toHaveProperty('imageTags');
  const of = async (tagStatus: string) => (await paged('DescribeImages', 'imageDetails', { filter: { tagStatus } })).length;
  expect([await of('TAGGED'), await of('UNTAGGED')]).toEqual([3, 1]);
});

test('an image that does not exist is named as ECR names it', async () => {
  const { registryId } = (await call('DescribeImages')).body.imageDetails[0] as { registryId: string };
  for (const operation of ['DescribeImages', 'DescribeImageScanFindings', 'DescribeImageReplicationStatus']) {
    const id = { imageTag: 'nil' };
    const answer = await call(
      operation,
      operation === 'DescribeImages' ? { imageIds: [{ imageTag: 'a' }, id] } : { imageId: id },
    );
    expect(answer).toMatchObject({
      error: 'ImageNotFound',
      message:
        "The image with imageId {imageDigest:'null', imageTag:'nil'} does not exist within the repository with name " +
        `'alice/app' in the registry with id '${registryId}'`,
    });
  }
});

test('a list of images takes names or a page, and only tokens that a page had', async () => {
  for (const [member, input] of [
    ['nextToken', { imageIds: [{ imageTag: 'a' }], nextToken: 'x' }],
    ['maxResults', { imageIds: [{ imageTag: 'a' }], maxResults: 5 }],
    ['nextToken', { nextToken: '%%%' }],
    ['nextToken', { nextToken: btoa("x' OR 1") }],
    ['imageIds', { imageIds: Array.from({ length: 101 }, () => ({ imageTag: 'a' })) }],
  ] as const) {
    const answer = await call('DescribeImages', input);
    expect([answer.error, answer.message]).toEqual(['InvalidParameter', expect.stringContaining(`'${member}'`)]);
  }
});

test('manifests are read byte for byte, and what cannot be read is a failure', async () => {
  const text = await (await world.fetch('GET', `/v2/${REPOSITORY}/manifests/a`)).text();
  const ids = [
    { imageTag: 'a' },
    { imageDigest: one },
    { imageTag: 'nil' },
    { imageTag: 'a', imageDigest: two },
    {},
    { imageDigest: 'sha256:invalid' },
    { imageTag: '-x' },
    { imageDigest: 'md5:abcd' },
  ];
  const { body } = await call('BatchGetImage', { imageIds: ids });
  expect(body.images).toEqual([
    expect.objectContaining({
      imageId: { imageDigest: one, imageTag: 'a' },
      imageManifest: text,
      imageManifestMediaType: IMAGE_TYPE,
    }),
    expect.objectContaining({ imageId: { imageDigest: one }, imageManifest: text, repositoryName: REPOSITORY }),
  ]);
  expect(body.failures.map(({ imageId, failureCode }) => [imageId, failureCode])).toEqual([
    [ids[2], 'ImageNotFound'],
    [ids[3], 'ImageTagDoesNotMatchDigest'],
    [{}, 'MissingDigestAndTag'],
    [ids[5], 'InvalidImageDigest'],
    [ids[6], 'InvalidImageTag'],
    [ids[7], 'ImageNotFound'],
  ]);
  expect(body.failures[0]?.failureReason).toBe('Requested image not found');
  const pulls = await world.env.DB.prepare('SELECT sum(count) AS pulls FROM pulls WHERE digest = ?1').bind(one).first('pulls');
  expect(pulls).toBe(2);
});

test('an image of a media type that the request does not accept is a failure', async () => {
  const accepted = (type: string) => call('BatchGetImage', { imageIds: [{ imageTag: 'a' }], acceptedMediaTypes: [type] });
  expect((await accepted(IMAGE_TYPE)).body.images).toHaveLength(1);
  expect((await accepted(INDEX_TYPE)).body).toMatchObject({ images: [], failures: [{ failureCode: 'ImageNotFound' }] });
});

test('an image that a pusher finds by its digest is kept from expiry', async () => {
  const leases = () => world.env.DB.prepare('SELECT leased_until AS at FROM manifests WHERE digest = ?1').bind(one).first('at');
  expect(await leases()).toBe(0);
  await call('BatchGetImage', { imageIds: [{ imageDigest: one }] });
  expect(await leases()).toBeGreaterThan(Date.now() / 1000);
});

test('an image is put once, and then it exists already', async () => {
  const image = textOf(await imageIn(world, REPOSITORY, 9));
  const { digest } = await contentOf(image);
  const put = (input: object = {}) => call('PutImage', { imageManifest: image, imageTag: 'v9', ...input });
  const { registryId } = (await call('DescribeImages')).body.imageDetails[0] as { registryId: string };
  expect((await put()).body).toEqual({
    image: {
      ...{ registryId, repositoryName: REPOSITORY, imageManifest: image, imageManifestMediaType: IMAGE_TYPE },
      imageId: { imageDigest: digest, imageTag: 'v9' },
    },
  });
  expect(await (await world.fetch('GET', `/v2/${REPOSITORY}/manifests/v9`)).text()).toBe(image);
  expect(await put()).toMatchObject({
    error: 'ImageAlreadyExists',
    message: `Image with digest '${digest}' and tag 'v9' already exists in the repository with name 'alice/app' in registry with id '${registryId}'`,
  });
  expect((await put({ imageTag: undefined })).error).toBe('ImageAlreadyExists');
  expect((await put({ imageTag: 'other', imageDigest: digest })).status).toBe(200);
  expect((await put({ imageTag: 'more', imageDigest: two })).error).toBe('ImageDigestDoesNotMatch');
});

test('an image whose parts are missing is not put, and neither is one over an immutable tag', async () => {
  const image = JSON.parse(textOf(await imageIn(world, REPOSITORY, 9))) as Record<string, unknown>;
  const put = (document: unknown, input: object = {}) =>
    call('PutImage', { imageManifest: typeof document === 'string' ? document : JSON.stringify(document), ...input });
  const lost = { ...image, layers: [{ mediaType: 'a/b', digest: NO_DIGEST, size: 1 }] };
  expect(await put(lost)).toMatchObject({ error: 'LayersNotFound', message: expect.stringContaining(`'[${NO_DIGEST}]'`) });
  const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [{ mediaType: IMAGE_TYPE, digest: NO_DIGEST, size: 1 }] };
  expect((await put(index)).error).toBe('ReferencedImagesNotFound');
  expect(await put({ ...image, mediaType: undefined })).toMatchObject({
    error: 'InvalidParameter',
    message: 'image manifest mediatype not provided in manifest or parameter',
  });
  expect((await put('{')).error).toBe('InvalidParameter');
  await api(world, 'PUT', `/repositories/${REPOSITORY}/-/tag-mutability`, { body: { imageTagMutability: 'IMMUTABLE' } });
  expect((await put(image, { imageTag: 'a' })).error).toBe('ImageTagAlreadyExists');
});

test('a tag is removed, and the last one takes the image with it', async () => {
  expect((await call('BatchDeleteImage', { imageIds: [{ imageTag: 'a' }] })).body).toEqual({
    imageIds: [{ imageDigest: one, imageTag: 'a' }],
    failures: [],
  });
  expect((await call('DescribeImages', { imageIds: [{ imageDigest: one }] })).body.imageDetails[0]?.imageTags).toEqual(['b']);
  expect((await call('BatchDeleteImage', { imageIds: [{ imageTag: 'b', imageDigest: one }] })).body.imageIds).toHaveLength(1);
  expect((await call('DescribeImages', { imageIds: [{ imageDigest: one }] })).error).toBe('ImageNotFound');
});

test('an image is deleted by its digest with all its tags, in one batch with others', async () => {
  const ids = [
    { imageDigest: one },
    { imageTag: 'c' },
    { imageDigest: untagged },
    { imageTag: 'nil' },
    { imageTag: 'a', imageDigest: two },
    {},
  ];
  const { body } = await call('BatchDeleteImage', { imageIds: ids });
  expect([...body.imageIds].sort(byDigest)).toEqual(
    [
      { imageDigest: one, imageTag: 'a' },
      { imageDigest: one, imageTag: 'b' },
      { imageDigest: two, imageTag: 'c' },
      { imageDigest: untagged },
    ].sort(byDigest),
  );
  expect(body.failures.map(({ failureCode }) => failureCode).sort()).toEqual([
    'ImageNotFound',
    'ImageTagDoesNotMatchDigest',
    'MissingDigestAndTag',
  ]);
  expect((await call('ListImages')).body.imageIds).toEqual([]);
});

test('an image that an index lists is deleted only together with the index', async () => {
  const index = await indexOf([await imageIn(world, REPOSITORY, 2)]);
  await putManifest(world, REPOSITORY, 'multi', textOf(index), INDEX_TYPE);
  const remove = async (...imageIds: Id[]) => (await call('BatchDeleteImage', { imageIds })).body;
  expect(await remove({ imageDigest: two }, { imageTag: 'a' })).toMatchObject({
    imageIds: [{ imageTag: 'a' }],
    failures: [
      {
        imageId: { imageDigest: two },
        failureCode: 'ImageReferencedByManifestList',
        failureReason: `Requested image referenced by manifest list: ${index.digest}`,
      },
    ],
  });
  expect(await remove({ imageDigest: two }, { imageTag: 'multi' })).toMatchObject({ failures: [] });
});

test('immutable tags are not deleted by any name', async () => {
  await api(world, 'PUT', `/repositories/${REPOSITORY}/-/tag-mutability`, {
    body: {
      imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
      imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'b' }],
    },
  });
  const { body } = await call('BatchDeleteImage', { imageIds: [{ imageTag: 'a' }, { imageDigest: one }, { imageTag: 'b' }] });
  expect(body.imageIds).toEqual([{ imageDigest: one, imageTag: 'b' }]);
  expect(body.failures).toMatchObject([
    { imageId: { imageTag: 'a' }, failureCode: 'ImageInaccessible', failureReason: expect.stringContaining('a is immutable') },
    { imageId: { imageDigest: one }, failureCode: 'ImageInaccessible' },
  ]);
});

test('referrers are listed by page and by type', async () => {
  const attach = (artifactType: string, seed: number) =>
    pushImage(world, REPOSITORY, null, seed, {
      artifactType,
      subject: { mediaType: IMAGE_TYPE, digest: one, size: 1 },
      annotations: { of: artifactType },
    });
  const sizes = { mediaType: IMAGE_TYPE, size: expect.any(Number), artifactStatus: 'ACTIVE' };
  const [sbom, signature] = [await attach('a/sbom', 11), await attach('a/sig', 12)];
  const list = async (input: object = {}) =>
    (await call('ListImageReferrers', { subjectId: { imageDigest: one }, ...input })).body;
  const first = await list({ maxResults: 1 });
  expect(first.referrers).toEqual([{ ...sizes, digest: sbom.digest, artifactType: 'a/sbom', annotations: { of: 'a/sbom' } }]);
  const { nextToken } = first;
  expect((await list({ maxResults: 1, nextToken })).referrers).toMatchObject([{ digest: signature.digest }]);
  expect((await list({ filter: { artifactTypes: ['a/sig'] } })).referrers).toHaveLength(1);
  expect((await list({ filter: { artifactTypes: ['a/sig', 'a/sbom', 'x/y'] } })).referrers).toHaveLength(2);
  expect((await list({ filter: { artifactStatus: 'ARCHIVED' } })).referrers).toEqual([]);
});

test('what the registry does not do with images is answered truthfully', async () => {
  const about = (operation: string, input: object = {}) => call(operation, { imageId: { imageTag: 'a' }, ...input });
  const id = { imageDigest: one, imageTag: 'a' };
  expect((await about('UpdateImageStorageClass', { targetStorageClass: 'STANDARD' })).body).toMatchObject({
    repositoryName: REPOSITORY,
    imageId: id,
    imageStatus: 'ACTIVE',
  });
  const archive = await about('UpdateImageStorageClass', { targetStorageClass: 'ARCHIVE' });
  expect(archive.error).toBe('ImageStorageClassUpdateNotSupported');
  expect(await about('DescribeImageScanFindings')).toMatchObject({
    error: 'ScanNotFound',
    message: expect.stringContaining(`{imageDigest:'null', imageTag:'a'}`),
  });
  expect((await about('DescribeImageReplicationStatus')).body).toMatchObject({ imageId: id, replicationStatuses: [] });
  expect((await about('DescribeImageSigningStatus')).body).toMatchObject({ imageId: id, signingStatuses: [] });
});

/** An input of each operation on images. */
const INPUTS: Record<string, object> = {
  ListImages: {},
  DescribeImages: {},
  BatchGetImage: { imageIds: [{ imageTag: 'a' }] },
  BatchDeleteImage: { imageIds: [{ imageTag: 'a' }] },
  PutImage: { imageManifest: '{"mediaType":"x"}' },
  ListImageReferrers: { subjectId: { imageDigest: NO_DIGEST } },
  UpdateImageStorageClass: { imageId: { imageTag: 'a' }, targetStorageClass: 'STANDARD' },
  DescribeImageScanFindings: { imageId: { imageTag: 'a' } },
  DescribeImageReplicationStatus: { imageId: { imageTag: 'a' } },
  DescribeImageSigningStatus: { imageId: { imageTag: 'a' } },
};

test('for somebody without the right to pull, every operation says that the repository does not exist', () =>
  expectHidden(world, (operation, input, on) => call(operation, input, bob, on), INPUTS, {
    hidden: REPOSITORY,
    absent: 'alice/nil',
  }));

test('somebody who may only pull changes nothing', async () => {
  await api(world, 'PATCH', `/repositories/${REPOSITORY}`, { body: { visibility: 'public' } });
  expect((await call('DescribeImages', {}, bob)).body.imageDetails).toHaveLength(3);
  for (const operation of ['BatchDeleteImage', 'PutImage', 'UpdateImageStorageClass']) {
    expect((await call(operation, INPUTS[operation], bob)).error, operation).toBe('AccessDenied');
  }
});

test('the rows that a page reads are in proportion to the page', async () => {
  const fill = (sql: string) =>
    world.env.DB.prepare(
      `${sql.replace('SERIES', 'WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000) SELECT')}`,
    ).run();
  const id = `(SELECT id FROM repositories WHERE name = '${REPOSITORY}')`;
  await fill(`INSERT INTO manifests (repository_id, digest, media_type, artifact_type, size, pushed_at, content)
    SERIES ${id}, printf('sha256:%064x', n), '${IMAGE_TYPE}', '', 2, 0, '{}' FROM n`);
  await fill(`INSERT INTO tags (repository_id, name, digest, updated_at)
    SERIES ${id}, 'many' || n, printf('sha256:%064x', 1 + n / 1000), 0 FROM n`);
  const { env, counts } = counting(world.env);
  const calls: number[] = [];
  const rows = async (operation: string, tagStatus: string) => {
    counts.rowsRead = 0;
    counts.d1 = 0;
    const { body } = await call(operation, { maxResults: 10, filter: { tagStatus } }, alice, worldOf(env));
    expect((body.imageIds ?? body.imageDetails).length, operation).toBeGreaterThanOrEqual(4);
    calls.push(counts.d1);
    return counts.rowsRead;
  };
  expect(await rows('ListImages', 'ANY')).toBeLessThan(60);
  expect(await rows('ListImages', 'TAGGED')).toBeLessThan(60);
  expect(await rows('ListImages', 'UNTAGGED')).toBeLessThan(8000);
  expect(await rows('DescribeImages', 'UNTAGGED')).toBeLessThan(8100);
  expect(await rows('DescribeImages', 'TAGGED')).toBeLessThan(4000);
  // The first request also reads the registry's number, and notes the use of the key.
  expect(calls.slice(1)).toEqual([3, 3, 4, 4]);
});
