/** Pushing what exists already changes nothing, but it is a push: the tag and its image become younger, and it is an event. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Content, IMAGE_TYPE, INDEX_TYPE, imageIn, indexOf, pushImage, putManifest, textOf } from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { eventsDuring } from '../../world/organizations.ts';
import { api, inviteUser } from '../../world/people.ts';
import { digestAt } from '../../world/reading.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
/** The age of tags and images before the push, in seconds. */
const AGE = 30 * 24 * 60 * 60;

let world: World;
let image: Content;

beforeEach(async () => {
  world = await newWorld();
  image = await pushImage(world, REPOSITORY, 'v1');
  await world.env.DB.batch([
    world.env.DB.prepare('UPDATE tags SET updated_at = updated_at - ?1').bind(AGE),
    world.env.DB.prepare('UPDATE manifests SET pushed_at = pushed_at - ?1').bind(AGE),
  ]);
});

const put = (reference: string, content = image, on = world, authorization?: string) =>
  on.fetch('PUT', `/v2/${REPOSITORY}/manifests/${reference}`, {
    headers: { 'content-type': IMAGE_TYPE },
    body: content.bytes,
    ...(authorization ? { authorization } : {}),
  });

async function pushed(reference: string, on = world): Promise<void> {
  expect((await put(reference, image, on)).status).toBe(201);
}

/** The number of days since each tag and the image were pushed. */
async function ages(): Promise<Record<string, number>> {
  const { results } = await world.env.DB.prepare(
    `SELECT name, (unixepoch() - updated_at) / 86400 AS days FROM tags
     UNION ALL SELECT 'image', (unixepoch() - pushed_at) / 86400 FROM manifests WHERE digest = ?1`,
  )
    .bind(image.digest)
    .all<{ name: string; days: number }>();
  return Object.fromEntries(results.map(({ name, days }) => [name, days]));
}

const points = () => world.env.DB.prepare('SELECT count(*) AS n FROM tag_history').first('n');

/** The event of a push of `tag` that changed nothing. */
const again = (tag: string) => ({
  type: 'tag.pushed',
  target: { tag, digest: image.digest, mediaType: IMAGE_TYPE, size: image.bytes.byteLength, changed: false, cause: 'push' },
  actor: 'user:admin',
});

describe('the same image under its tag', () => {
  test.each(['v1', () => `${image.digest}?tag=v1`, 'v1?tag=v1'])('is young again, and an event: %s', async (reference) => {
    expect(await ages()).toEqual({ v1: 30, image: 30 });
    const events = await eventsDuring(world, () => pushed(typeof reference === 'string' ? reference : reference()));
    expect(events).toMatchObject([again('v1')]);
    expect(await ages()).toEqual({ v1: 0, image: 0 });
    expect(await points()).toBe(1);
  });

  test('is an event each time', async () => {
    const events = await eventsDuring(world, async () => {
      await pushed('v1');
      await pushed('v1');
    });
    expect(events).toMatchObject([again('v1'), again('v1')]);
  });

  test('together with tags that the same put creates or moves: each has its own event', async () => {
    await pushImage(world, REPOSITORY, 'v3', 3);
    const events = await eventsDuring(world, () => pushed('v1?tag=v2&tag=v3'));
    expect(events.map(({ type, target }) => `${type} ${target.tag} ${target.changed}`)).toEqual([
      'tag.pushed v1 false',
      'tag.created v2 undefined',
      'tag.moved v3 undefined',
    ]);
    expect(await ages()).toEqual({ v1: 0, v2: 0, v3: 0, image: 0 });
  });

  test('keeps the age of other tags of the image', async () => {
    await pushed('other');
    await pushed('v1');
    await world.env.DB.prepare("UPDATE tags SET updated_at = updated_at - ?1 WHERE name = 'other'").bind(AGE).run();
    await pushed('v1');
    expect(await ages()).toEqual({ v1: 0, other: 30, image: 0 });
  });

  test('by its digest only makes the image younger and no tag, and is no event', async () => {
    expect(await eventsDuring(world, () => pushed(image.digest))).toEqual([]);
    expect(await ages()).toEqual({ v1: 30, image: 0 });
  });

  test('an index pushed again with its children makes all of it younger', async () => {
    const index = await indexOf([image]);
    for (let n = 0; n < 2; n++) {
      await world.env.DB.prepare('UPDATE manifests SET pushed_at = pushed_at - ?1').bind(AGE).run();
      await pushed(image.digest);
      expect((await putManifest(world, REPOSITORY, 'multi', textOf(index), INDEX_TYPE)).status).toBe(201);
    }
    const oldest = await world.env.DB.prepare('SELECT min(pushed_at) >= unixepoch() - 60 AS young FROM manifests').first(
      'young',
    );
    expect(oldest).toBe(1);
  });

  test('is a push of an immutable tag too: it is allowed, refreshes it and moves nothing', async () => {
    await api(world, 'PUT', `/repositories/${REPOSITORY}/-/tag-mutability`, { body: { imageTagMutability: 'IMMUTABLE' } });
    expect(await eventsDuring(world, () => pushed('v1'))).toMatchObject([again('v1')]);
    expect(await ages()).toEqual({ v1: 0, image: 0 });
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(image.digest);
  });

  test('with a condition that fails is refused and refreshes nothing', async () => {
    const response = await world.fetch('PUT', `/v2/${REPOSITORY}/manifests/v1`, {
      headers: { 'content-type': IMAGE_TYPE, 'if-none-match': '*' },
      body: image.bytes,
    });
    expect(response.status).toBe(412);
    expect(await ages()).toEqual({ v1: 30, image: 30 });
  });
});

describe('a caller without the right to the tag', () => {
  const allow = (actions: string[], tags: string[]) =>
    api(world, 'PUT', '/users/dev/policy', {
      body: {
        statements: [
          { actions: ['pull'], repositories: ['acme/*'] },
          { actions, repositories: ['acme/*'], tags },
        ],
      },
    });

  test.each([
    [['push'], ['pr-*'], 30, []],
    [['push'], ['v*'], 0, ['tag.pushed']],
    [['push', 'retag'], ['v*'], 0, ['tag.pushed']],
  ])('%s on %s', async (actions, tags, age, types) => {
    const dev = await inviteUser(world, 'dev');
    await allow(actions, tags);
    const events = await eventsDuring(world, async () => expect((await put('v1', image, world, dev.basic)).status).toBe(201));
    expect(events.map(({ type }) => type)).toEqual(types);
    expect((await ages()).v1).toBe(age);
  });
});

describe('a put whose answer the database lost', () => {
  /** A world whose database loses the answer of the first batch, and runs `meanwhile` before the registry notices the loss. */
  function losing(meanwhile: () => Promise<unknown> = async () => {}): World {
    let batches = 0;
    const DB = intercepted(world.env.DB, async (name, effect) => {
      const result = await effect();
      if (name !== 'DB.batch' || ++batches > 1) return result;
      await meanwhile();
      throw new Error('D1_ERROR: Network connection lost.');
    });
    return worldOf({ ...world.env, DB });
  }

  test('is one event', async () => {
    expect(await eventsDuring(world, () => pushed('v1', losing()))).toMatchObject([again('v1')]);
    expect(await eventsDuring(world, () => pushed('v1?tag=v1', losing()))).toMatchObject([again('v1')]);
    const mixed = await eventsDuring(world, () => pushed('v1?tag=v2', losing()));
    expect(mixed.map(({ type }) => type)).toEqual(['tag.pushed', 'tag.created']);
  });

  test('does not move the tag back that another client moved meanwhile', async () => {
    const two = await imageIn(world, REPOSITORY, 2);
    await pushed(
      'v1',
      losing(() => put('v1', two)),
    );
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(two.digest);
  });

  test('does not restore a tag or manifest that was deleted meanwhile', async () => {
    await pushed(
      'v1',
      losing(() => world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${image.digest}`)),
    );
    expect((await world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/v1`)).status).toBe(404);
  });
});

describe('lifecycle rules', () => {
  const preview = async (selection: object) => {
    const policy = { rules: [{ rulePriority: 1, selection, action: { type: 'expire' } }] };
    const { body } = await api<{ items: { tag: string }[] }>(world, 'POST', `/repositories/${REPOSITORY}/-/lifecycle/preview`, {
      body: { policy },
    });
    return body.items.map(({ tag }) => tag).filter((tag) => tag !== null);
  };

  test('keep a reproducible build that is pushed every day', async () => {
    const all = { tagStatus: 'tagged', tagPatternList: ['*'] };
    const old = { ...all, countType: 'sinceImagePushed', countUnit: 'days', countNumber: 14 };
    const newest = { ...all, countType: 'imageCountMoreThan', countNumber: 1 };
    await pushImage(world, REPOSITORY, 'v2', 2);
    await world.env.DB.prepare("UPDATE tags SET updated_at = updated_at - 86400 WHERE name = 'v2'").run();
    expect([await preview(old), await preview(newest)]).toEqual([['v1'], ['v1']]);
    await pushed('v1');
    expect([await preview(old), await preview(newest)]).toEqual([[], ['v2']]);
  });
});
