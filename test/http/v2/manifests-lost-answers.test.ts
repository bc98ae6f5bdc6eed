/**
 * A push whose batch was committed while the answer of the database was lost. It takes effect once and gets the right answer,
 * whatever other requests do before the registry notices the loss.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import { type Content, IMAGE_TYPE, imageIn, putManifest, textOf } from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { digestAt } from '../../world/reading.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

let world: World;
let [one, two]: Content[] = [];

const build = builtOnce(async (made) => {
  world = made;
  one = await imageIn(world, 'acme/api', 1);
  two = await imageIn(world, 'acme/api', 2);
});

beforeEach(async () => {
  world = await build();
});

const put = (on: World, reference: string, image: Content | undefined, headers: Record<string, string> = {}) =>
  on.fetch('PUT', `/v2/acme/api/manifests/${reference}`, {
    headers: { 'content-type': IMAGE_TYPE, ...headers },
    body: image?.bytes ?? null,
  });

/** A world whose database loses the answer of the first batch, and runs `meanwhile` before the registry notices the loss. */
function losing(meanwhile: () => Promise<unknown>): World {
  let batches = 0;
  const DB = intercepted(world.env.DB, async (name, effect) => {
    const result = await effect();
    if (name !== 'DB.batch' || ++batches > 1) return result;
    await meanwhile();
    throw new Error('D1_ERROR: Network connection lost.');
  });
  return worldOf({ ...world.env, DB });
}

const history = async () => {
  const { results } = await world.env.DB.prepare('SELECT point, digest FROM tag_history ORDER BY point').all();
  return results.map(
    ({ point, digest }) => `${point} ${digest === one?.digest ? 'one' : digest === two?.digest ? 'two' : null}`,
  );
};

describe('after somebody else moved the tag', () => {
  test('the put is recognized, and the tag is not moved back', async () => {
    const lost = losing(async () => {
      const seen = await digestAt(world, 'acme/api', 'latest');
      expect(seen).toBe(one?.digest);
      expect((await put(world, 'latest', two, { 'if-match': `"${seen}"` })).status).toBe(201);
    });
    expect((await put(lost, 'latest', one)).status).toBe(201);
    expect(await digestAt(world, 'acme/api', 'latest')).toBe(two?.digest);
    expect(await history()).toEqual(['1 one', '2 two']);
    expect(await violations(world.env)).toEqual([]);
  });

  test('its condition does not hold any more, but did when it was committed', async () => {
    const lost = losing(() => put(world, 'latest', two));
    expect((await put(lost, 'latest', one, { 'if-none-match': '*' })).status).toBe(201);
    expect(await history()).toEqual(['1 one', '2 two']);
  });

  test('the warning names what the tag was moved from', async () => {
    await putManifest(world, 'acme/api', 'latest', textOf(two as Content));
    const lost = losing(() => world.fetch('DELETE', '/v2/acme/api/manifests/latest'));
    const response = await put(lost, 'latest', one);
    expect(response.status).toBe(201);
    expect(response.headers.get('warning')).toContain(two?.digest);
    expect(await history()).toEqual(['1 two', '2 one', '3 null']);
    expect(await violations(world.env)).toEqual([]);
  });
});

describe('a manifest without a tag', () => {
  test('that was deleted meanwhile stays deleted', async () => {
    const lost = losing(() => world.fetch('DELETE', `/v2/acme/api/manifests/${one?.digest}`));
    expect((await put(lost, one?.digest as string, one)).status).toBe(201);
    expect((await world.fetch('HEAD', `/v2/acme/api/manifests/${one?.digest}`)).status).toBe(404);
    expect(await violations(world.env)).toEqual([]);
  });

  test('that was not committed is put by the second try', async () => {
    let batches = 0;
    const DB = intercepted(world.env.DB, async (name, effect) => {
      if (name === 'DB.batch' && ++batches === 1) throw new Error('D1_ERROR: Network connection lost.');
      return effect();
    });
    expect((await put(worldOf({ ...world.env, DB }), one?.digest as string, one)).status).toBe(201);
    expect((await world.fetch('HEAD', `/v2/acme/api/manifests/${one?.digest}`)).status).toBe(200);
  });
});

test('that is committed while the registry checks is not put twice', async () => {
  let batches = 0;
  const DB = intercepted(world.env.DB, async (name, effect) => {
    if (name !== 'DB.batch' || ++batches > 2) return effect();
    if (batches === 1) {
      late = effect;
      throw new Error('D1_ERROR: Network connection lost.');
    }
    await late?.();
    await put(world, 'latest', two);
    return effect();
  });
  let late: (() => Promise<unknown>) | null = null;
  expect((await put(worldOf({ ...world.env, DB }), 'latest', one)).status).toBe(201);
  expect(await history()).toEqual(['1 one', '2 two']);
  expect(await violations(world.env)).toEqual([]);
});
