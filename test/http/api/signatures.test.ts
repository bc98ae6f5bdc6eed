/** Signatures and attestations, which a tag attaches to an image. They are deleted and restored with it, and not counted. */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import { counting } from '../../world/counting.ts';
import { type Content, INDEX_TYPE, imageIn, indexOf, pushImage, putManifest, textOf } from '../../world/images.ts';
import { eventsDuring, makeOrganization } from '../../world/organizations.ts';
import { api, refused } from '../../world/people.ts';
import { tagsOf } from '../../world/reading.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const APP = 'acme/app';
let world: World;
let image: Content;
let other: Content;
let signature: Content;
let attestation: Content;

const tagOf = ({ digest }: Content, suffix = '.sig') => `${digest.replace(':', '-')}${suffix}`;
const signed = (subject: Content, seed: number, suffix?: string, repository = APP) =>
  pushImage(world, repository, tagOf(subject, suffix), seed);

/** Creates an image, its signature, its attestation, and a signature of the attestation. */
const build = builtOnce(async (made) => {
  world = made;
  await makeOrganization(world, 'acme');
  image = await pushImage(world, APP, 'v1', 1);
  other = await pushImage(world, APP, 'v2', 2);
  signature = await signed(image, 11);
  attestation = await signed(image, 12, '.att');
  await signed(attestation, 13);
});

beforeEach(async () => {
  world = await build();
});

const attachedTags = () => [tagOf(image), tagOf(image, '.att'), tagOf(attestation)];
const remove = (reference: string) => world.fetch('DELETE', `/v2/${APP}/manifests/${reference}`);
const restore = (what: string) => api(world, 'POST', `/repositories/${APP}/-/trash/${what}/restore`);

async function present(): Promise<string[]> {
  const { results } = await world.env.DB.prepare(
    `SELECT name FROM tags UNION ALL SELECT digest FROM manifests ORDER BY 1`,
  ).all<{ name: string }>();
  return results.map(({ name }) => name);
}

const unchangedOthers = () => ['v2', other.digest].sort();

interface Planned {
  tags: number;
  attached?: number;
  manifests: number;
  items: { tag: string | null; digest: string; reason: string }[];
  truncated: boolean;
  remaining: number;
}

async function saveRule(selection: object): Promise<void> {
  const policy = { rules: [{ rulePriority: 1, selection, action: { type: 'expire' } }] };
  expect((await api(world, 'PUT', `/repositories/${APP}/-/lifecycle`, { body: policy })).status).toBe(200);
}

const OLD = { tagStatus: 'any', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 14 };
const age = (tag: string) =>
  world.env.DB.prepare('UPDATE tags SET updated_at = updated_at - 20 * 86400 WHERE name GLOB ?1').bind(tag).run();
const preview = () => api<Planned>(world, 'POST', `/repositories/${APP}/-/lifecycle/preview`);
const run = (headers = {}) => api<Planned>(world, 'POST', `/repositories/${APP}/-/lifecycle/run`, { headers });

describe('a lifecycle rule', () => {
  test('keeps them as long as their image stays, however old they are', async () => {
    await saveRule(OLD);
    await age('sha256-*');
    expect((await preview()).body).toMatchObject({ tags: 0, manifests: 0, items: [] });
    await saveRule({ tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 2 });
    expect((await preview()).body.items).toEqual([]);
  });

  test('deletes them with their image, as the preview says, and records why', async () => {
    await saveRule(OLD);
    await age('v1');
    const planned = await preview();
    expect(planned.body).toMatchObject({ tags: 1, attached: 3, manifests: 4, truncated: false });
    expect(planned.body.items.flatMap(({ tag }) => tag ?? []).sort()).toEqual(['v1', ...attachedTags()].sort());
    expect(planned.body.items.find(({ tag }) => tag === tagOf(image))?.reason).toBe(
      `refers to ${image.digest}, which is deleted`,
    );
    const done = await run({ 'if-match': planned.headers.get('etag') });
    expect(done.body).toMatchObject({ tags: 1, attached: 3, manifests: 4, remaining: 0 });
    expect(done.body.items).toEqual(planned.body.items);
    expect(await present()).toEqual(unchangedOthers());
    expect(await violations(world.env)).toEqual([]);
  });

  test('deletes nothing of a preview if one of them was signed again meanwhile', async () => {
    await saveRule(OLD);
    await age('v1');
    const etag = (await preview()).headers.get('etag');
    await signed(image, 14);
    const before = await present();
    expect(refused(await run({ 'if-match': etag }))).toBe('412 PRECONDITION_FAILED');
    expect(await present()).toEqual(before);
  });
});

describe('deleting', () => {
  test('an image by its digest deletes them too, at any depth, each with its event', async () => {
    const events = await eventsDuring(world, async () => expect((await remove(image.digest)).status).toBe(202));
    expect(await present()).toEqual(unchangedOthers());
    const deleted = events.filter(({ type }) => type === 'tag.deleted').map(({ target }) => target.tag);
    expect(deleted.sort()).toEqual(['v1', ...attachedTags()].sort());
    expect(events.filter(({ type }) => type === 'manifest.deleted')).toHaveLength(4);
    expect(await violations(world.env)).toEqual([]);
  });

  test('a tag keeps them, because the image stays', async () => {
    expect((await remove('v1')).status).toBe(202);
    expect(await tagsOf(world, APP)).toEqual(['v2', ...attachedTags()].sort());
  });

  test('a signature keeps its image; a signature with another tag, or listed by an index, stays without the attaching tag', async () => {
    expect((await remove(tagOf(image))).status).toBe(202);
    expect(await tagsOf(world, APP)).toEqual(['v1', 'v2', tagOf(image, '.att'), tagOf(attestation)].sort());
    expect((await putManifest(world, APP, 'audit', textOf(attestation))).status).toBe(201);
    expect((await remove(image.digest)).status).toBe(202);
    expect(await tagsOf(world, APP)).toEqual(['audit', 'v2', tagOf(attestation)].sort());
    expect(await violations(world.env)).toEqual([]);
  });

  test('an index keeps what is attached to the images it lists', async () => {
    const index = await indexOf([image]);
    expect((await putManifest(world, APP, 'multi', textOf(index), INDEX_TYPE)).status).toBe(201);
    await signed(index, 21);
    expect((await remove(index.digest)).status).toBe(202);
    expect(await tagsOf(world, APP)).toEqual(['v1', 'v2', ...attachedTags()].sort());
  });

  test('does not affect tags of another repository', async () => {
    await pushImage(world, 'acme/copy', 'v1', 1);
    await remove(image.digest);
    await signed(image, 31);
    expect((await world.fetch('DELETE', `/v2/acme/copy/manifests/${image.digest}`)).status).toBe(202);
    expect(await tagsOf(world, APP)).toEqual(['v2', tagOf(image)].sort());
  });

  test('an image deletes its signature under an immutable tag; the signature alone cannot be deleted', async () => {
    const body = {
      imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
      imageTagMutabilityExclusionFilters: [{ filter: 'v*' }],
    };
    expect((await api(world, 'PUT', `/repositories/${APP}/-/tag-mutability`, { body })).status).toBe(200);
    expect((await remove(tagOf(image))).status).toBe(403);
    expect((await remove(image.digest)).status).toBe(202);
    expect(await present()).toEqual(unchangedOthers());
  });

  test('costs one statement more if nothing is attached', async () => {
    const plain = await counted(() => worldOf(counter.env).fetch('DELETE', `/v2/${APP}/manifests/${other.digest}`));
    expect(plain.d1).toBeLessThanOrEqual(5);
  });

  let counter: ReturnType<typeof counting>;
  async function counted(work: () => Promise<Response>) {
    counter = counting(world.env);
    expect((await work()).status).toBe(202);
    return counter.counts;
  }
});

test('a second signature under an immutable tag is refused with a hint what to exclude', async () => {
  const save = (filters: object) =>
    api(world, 'PUT', `/repositories/${APP}/-/tag-mutability`, {
      body: { imageTagMutability: 'IMMUTABLE', ...filters },
    });
  await save({});
  const second = await imageIn(world, APP, 14);
  const refusedSecond = await putManifest(world, APP, tagOf(image), textOf(second));
  expect(refusedSecond.status).toBe(403);
  expect(await refusedSecond.text()).toContain('exclude sha256-*');
  // Pushing the same signature again changes nothing, and a first signature creates a tag.
  expect((await putManifest(world, APP, tagOf(image), textOf(signature))).status).toBe(201);
  await signed(other, 16);
  await save({
    imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
    imageTagMutabilityExclusionFilters: [{ filter: 'sha256-*' }],
  });
  expect((await putManifest(world, APP, tagOf(image), textOf(second))).status).toBe(201);
});

describe('restoring', () => {
  const everything = () => present();

  test.each([
    ['a manifest that was deleted', async () => void (await remove(image.digest)), () => `manifests/${image.digest}`],
    [
      'a tag that a rule took',
      async () => {
        await saveRule(OLD);
        await age('v1');
        await run();
      },
      () => 'tags/v1',
    ],
  ])('%s brings all that was attached back, under its tags', async (_, take, what) => {
    const before = await everything();
    await take();
    expect(await present()).toEqual(unchangedOthers());
    expect((await restore(what())).status).toBe(200);
    expect(await everything()).toEqual(before);
    expect(await violations(world.env)).toEqual([]);
    const { body } = await api<{ items: unknown[] }>(world, 'GET', `/repositories/${APP}/-/trash`);
    expect(body.items).toEqual([]);
  });

  test('leaves signatures in the trash that were deleted on their own before', async () => {
    await remove(tagOf(image));
    await world.env.DB.prepare('UPDATE trash SET deleted_at = deleted_at - 60').run();
    await remove(image.digest);
    expect((await restore(`manifests/${image.digest}`)).status).toBe(200);
    expect(await tagsOf(world, APP)).toEqual(['v1', 'v2', tagOf(image, '.att'), tagOf(attestation)].sort());
  });

  test('keeps a tag that was created again meanwhile', async () => {
    await remove(image.digest);
    await pushImage(world, APP, null, 1);
    const anew = await signed(image, 15);
    expect((await restore(`manifests/${image.digest}`)).status).toBe(200);
    const now = await world.fetch('HEAD', `/v2/${APP}/manifests/${tagOf(image)}`);
    expect(now.headers.get('docker-content-digest')).toBe(anew.digest);
    expect(await violations(world.env)).toEqual([]);
  });

  test('a whole repository restores them as they were', async () => {
    const before = await everything();
    await world.fetch('DELETE', `/api/v1/repositories/${APP}?force=true`);
    const { body } = await api<{ items: { entry: number }[] }>(world, 'GET', '/trash');
    expect((await api(world, 'POST', `/trash/${body.items[0]?.entry}/restore`)).status).toBe(200);
    expect(await everything()).toEqual(before);
  });
});

describe('usage and lists', () => {
  const usage = async () =>
    (await api<{ tags: number; manifests: number; trash: { tags: number } }>(world, 'GET', '/organizations/acme/usage')).body;

  test('count the tags of images only; the tag list of the specification has all, because clients find signatures there', async () => {
    expect(await usage()).toMatchObject({ tags: 2, manifests: 5, trash: { tags: 0 } });
    expect(await tagsOf(world, APP)).toEqual(['v1', 'v2', ...attachedTags()].sort());
    await remove(image.digest);
    expect(await usage()).toMatchObject({ tags: 1, manifests: 1, trash: { tags: 0 } });
  });

  test('count a tag as usual if its subject is not here or is itself', async () => {
    const absent = await imageIn(world, APP, 40);
    await signed(absent, 41);
    expect((await putManifest(world, APP, tagOf(other, ''), textOf(other))).status).toBe(201);
    expect(await usage()).toMatchObject({ tags: 4 });
    expect(signature.digest).not.toBe(absent.digest);
  });
});
