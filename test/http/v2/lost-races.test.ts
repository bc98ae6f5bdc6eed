/**
 * Two requests, in every order in which they can reach the database. The request that loses is repeated by the registry, or
 * gets an answer about the new state. It never gets a storage error.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import { type Content, INDEX_TYPE, imageIn, indexOf, pushBlob, pushImage, putManifest, textOf } from '../../world/images.ts';
import { everyOrder, type Request } from '../../world/interleaving.ts';
import { builtOnce, newWorld, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const at = (path: string) => `/v2/${REPOSITORY}/${path}`;
const json = { 'content-type': 'application/json' };

function mutability(imageTagMutability: string): Request {
  const body = JSON.stringify({ imageTagMutability });
  return (to) => to.fetch('PUT', `/api/v1/repositories/${REPOSITORY}/-/tag-mutability`, { headers: json, body });
}

function put(image: Content, reference: string, type?: string): Request {
  return (to) => putManifest(to, REPOSITORY, reference, textOf(image), type);
}

const remove =
  (path: string): Request =>
  (to) =>
    to.fetch('DELETE', path);

const must = async (request: Request, status: number) => expect((await request(world)).status).toBe(status);

describe.each(['MUTABLE', 'IMMUTABLE'])('while the rule becomes %s', (rule) => {
  const other = rule === 'MUTABLE' ? 'IMMUTABLE' : 'MUTABLE';

  const changes: Record<string, { outer: (one: Content, two: Content) => Request; done: number; refused: number }> = {
    'a tag is put': { outer: (_, two) => put(two, 'v1'), done: 201, refused: 403 },
    'a tag is deleted': { outer: () => remove(at('manifests/v1')), done: 202, refused: 403 },
    'a manifest is deleted': { outer: (one) => remove(at(`manifests/${one.digest}`)), done: 202, refused: 403 },
    'a tag is rolled back': {
      outer: (one) => (to) =>
        to.fetch('POST', `/api/v1/repositories/${REPOSITORY}/-/tags/v2/rollback`, {
          headers: json,
          body: JSON.stringify({ digest: one.digest }),
        }),
      done: 200,
      refused: 403,
    },
    'the repository is deleted': {
      outer: () => remove(`/api/v1/repositories/${REPOSITORY}?force=true`),
      done: 200,
      refused: 409,
    },
  };

  test.each(Object.entries(changes))(
    '%s or refused, and nothing else',
    { tags: 'slow' },
    async (_, { outer, done, refused }) => {
      const seen = new Set<number>();
      let [one, two]: Content[] = [];
      const start = builtOnce(async (made) => {
        world = made;
        one = await pushImage(world, REPOSITORY, 'v1', 1);
        await must(put(one, 'v2'), 201);
        two = await pushImage(world, REPOSITORY, 'v2', 2);
        await must(mutability(other), 200);
      });
      await everyOrder(world, async () => {
        world = await start();
        return {
          outer: outer(one as Content, two as Content),
          inner: mutability(rule),
          check: async (response) => {
            expect([done, refused]).toContain(response.status);
            seen.add(response.status);
            expect(await violations(world.env)).toEqual([]);
          },
        };
      });
      expect([...seen].sort()).toEqual([done, refused].sort());
    },
  );
});

describe('while an index is deleted', () => {
  const kinds: Record<string, (child: Content) => string> = {
    'its child is deleted': (child) => at(`manifests/${child.digest}`),
  };

  test.each(Object.entries(kinds))('%s, or refused as part of it', async (_, pathOf) => {
    const seen = new Set<number>();
    let child: Content;
    let index: Content;
    const start = builtOnce(async (made) => {
      world = made;
      child = await pushImage(world, REPOSITORY, null, 1);
      index = await indexOf([child]);
      await must(put(index, 'v1', INDEX_TYPE), 201);
    });
    await everyOrder(world, async () => {
      world = await start();
      return {
        outer: remove(pathOf(child)),
        inner: remove(at(`manifests/${index.digest}`)),
        check: async (response, inner) => {
          expect(inner.status).toBe(202);
          expect([202, 405]).toContain(response.status);
          seen.add(response.status);
          expect(await violations(world.env)).toEqual([]);
        },
      };
    });
    expect([...seen].sort()).toEqual([202, 405]);
  });

  test('a blob of the deleted image is deleted, or refused as part of it', async () => {
    const seen = new Set<number>();
    let image: Content;
    const start = builtOnce(async (made) => {
      world = made;
      image = await pushImage(world, REPOSITORY, 'v1', 1);
    });
    await everyOrder(world, async () => {
      world = await start();
      const { layers } = JSON.parse(textOf(image)) as { layers: [{ digest: string }] };
      return {
        outer: remove(at(`blobs/${layers[0].digest}`)),
        inner: remove(at(`manifests/${image.digest}`)),
        check: async (response) => {
          expect([202, 405]).toContain(response.status);
          if (response.status === 405) expect(await response.text()).toContain(image.digest);
          seen.add(response.status);
        },
      };
    });
    expect([...seen].sort()).toEqual([202, 405]);
  });
});

test('a manifest that is put while its last layer arrives is accepted, or refused with what is missing', async () => {
  await everyOrder(world, async () => {
    world = await newWorld();
    const image = await imageIn(world, REPOSITORY, 1);
    const { layers } = JSON.parse(textOf(image)) as { layers: [{ digest: string }] };
    await must(remove(at(`blobs/${layers[0].digest}`)), 202);
    const { noise } = await import('../../world/images.ts');
    return {
      outer: put(image, 'v1'),
      inner: async (to) => {
        await pushBlob(to, REPOSITORY, noise(100, 1));
        return new Response();
      },
      check: async (response) => {
        expect([201, 400]).toContain(response.status);
        if (response.status === 400) expect(await response.text()).toContain('MANIFEST_BLOB_UNKNOWN');
      },
    };
  });
});
