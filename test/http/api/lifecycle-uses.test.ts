/** Lifecycle and use: pulls and HEAD requests for any part of an image keep it, and a preview says what it spares. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Content, INDEX_TYPE, imageIn, indexOf, pushImage, putManifest, textOf } from '../../world/images.ts';
import { api } from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const APP = 'acme/app';
const DAY = 24 * 60 * 60;

interface Preview {
  items: { tag: string | null; digest: string }[];
  waiting: number;
  waitingUntil?: string;
  note?: string;
}

let world: World;
let arm: Content;
let amd: Content;
let index: Content;

const build = builtOnce(async (made) => {
  world = made;
  [arm, amd] = [await pushImage(world, APP, null, 1), await pushImage(world, APP, null, 2)];
  index = await indexOf([arm, amd]);
  expect((await putManifest(world, APP, 'v1', textOf(index), INDEX_TYPE)).status).toBe(201);
});

beforeEach(async () => {
  world = await build();
});

async function age(days: number): Promise<void> {
  await world.env.DB.batch([
    world.env.DB.prepare('UPDATE tags SET updated_at = updated_at - ?1').bind(days * DAY),
    world.env.DB.prepare('UPDATE manifests SET pushed_at = pushed_at - ?1, leased_until = leased_until - ?1').bind(days * DAY),
  ]);
}

async function preview(countType: string, countNumber: number, tagStatus = 'any'): Promise<Preview> {
  const countUnit = countType === 'imageCountMoreThan' ? {} : { countUnit: 'days' };
  const selection = { tagStatus, countType, countNumber, ...countUnit };
  const policy = { rules: [{ rulePriority: 1, selection, action: { type: 'expire' } }] };
  const answer = await api<Preview>(world, 'POST', `/repositories/${APP}/-/lifecycle/preview`, { body: { policy } });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body;
}

const taken = async () => (await preview('sinceImagePulled', 30)).items.map(({ tag, digest }) => tag ?? digest).sort();

describe('an image for several platforms that was not pushed for long', () => {
  beforeEach(() => age(100));

  test('expires with all that it lists if nobody uses it', async () => {
    expect(await taken()).toEqual([arm.digest, amd.digest, index.digest, 'v1'].sort());
  });

  test.each([
    ['GET', () => arm.digest],
    ['HEAD', () => arm.digest],
    ['GET', () => index.digest],
    ['HEAD', () => 'v1'],
  ])('stays where one does %s of any of it', async (method, reference) => {
    expect((await world.fetch(method, `/v2/${APP}/manifests/${reference()}`)).status).toBe(200);
    await world.env.DB.prepare('UPDATE manifests SET leased_until = 0').run();
    expect(await taken()).toEqual([]);
  });

  test('expires if the last use was too long ago', async () => {
    for (const method of ['GET', 'HEAD']) await world.fetch(method, `/v2/${APP}/manifests/${arm.digest}`);
    await world.env.DB.batch([
      world.env.DB.prepare('UPDATE pulls SET day = day - 32'),
      world.env.DB.prepare('UPDATE manifest_checks SET day = day - 32'),
      world.env.DB.prepare('UPDATE manifests SET leased_until = 0'),
    ]);
    expect(await taken()).toContain('v1');
  });
});

describe('a preview right after a push', () => {
  test('says how many manifests it leaves alone, and until when', async () => {
    for (const seed of [3, 4, 5]) await pushImage(world, APP, null, seed);
    const { items, waiting, waitingUntil, note } = await preview('imageCountMoreThan', 1, 'untagged');
    expect([items, waiting]).toEqual([[], 2]);
    const seconds = (Date.parse(waitingUntil ?? '') - Date.now()) / 1000;
    expect(seconds).toBeGreaterThan(DAY - 600);
    expect(seconds).toBeLessThan(DAY + 600);
    expect(note).toContain('2 more manifests are left alone until');
    expect(note).toContain('24 hours');
  });

  test('says so for what expires itself and what loses its holder, and nothing if nothing waits', async () => {
    const image = await imageIn(world, APP, 3);
    expect((await putManifest(world, APP, 'v2', textOf(image))).status).toBe(201);
    expect(await preview('sinceImagePushed', 1)).toMatchObject({ items: [], waiting: 0 });
    await world.env.DB.prepare('UPDATE tags SET updated_at = 0').run();
    const short = await preview('sinceImagePushed', 1);
    expect(short.items.map(({ tag }) => tag)).toEqual(expect.arrayContaining(['v1', 'v2']));
    expect(short.waiting).toBe(2);
    await world.env.DB.prepare('UPDATE manifests SET leased_until = 0').run();
    const full = await preview('sinceImagePushed', 1);
    expect(full.waiting).toBe(0);
    expect(full).not.toHaveProperty('note');
  });

  test('states the configured hours', async () => {
    world = worldOf({ ...world.env, LEASE_SECONDS: '5400' });
    for (const seed of [3, 4]) await pushImage(world, APP, null, seed);
    expect((await preview('imageCountMoreThan', 1, 'untagged')).note).toContain('1.5 hours');
  });
});
