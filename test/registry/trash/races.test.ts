/**
 * Restores with concurrent pushes, deletions, purges and restores. In every order, all answers are right.
 *
 * @module-tag slow
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import {
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  indexOf,
  pushImage,
  putManifest,
  textOf,
} from '../../world/images.ts';
import { everyOrder, type Request } from '../../world/interleaving.ts';
import { digestAt } from '../../world/reading.ts';
import { newWorld, type World } from '../../world/world.ts';
import { remove, trashRepository } from './trash.ts';

const LARGE = { annotations: { text: 'x'.repeat(200_000) } };

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const send = (method: string, path: string) => (at: World) => at.fetch(method, `/api/v1${path}`);
const restoreIn = (repository: string, what: string) => send('POST', `/repositories/${repository}/-/trash/${what}/restore`);
const purgeIn = (repository: string, what: string) => send('DELETE', `/repositories/${repository}/-/trash/${what}`);
const push =
  (repository: string, reference: string, content: Content, type?: string): Request =>
  (at) =>
    putManifest(at, repository, reference, textOf(content), type);

interface Contest {
  restore: Request;
  other: Request;
  check: (restored: number, other: number, body: string) => Promise<void>;
}

/** Runs two requests in every order, each order in another repository. @returns the pairs of answers */
async function contested(make: (repository: string) => Promise<Contest>): Promise<string[]> {
  const seen = new Set<string>();
  for (const restoresFirst of [true, false]) {
    const steps = await everyOrder(world, async (run) => {
      const { restore, other, check } = await make(`acme/r${restoresFirst ? 'a' : 'b'}${run}`);
      return {
        outer: restoresFirst ? restore : other,
        inner: restoresFirst ? other : restore,
        check: async (outer, inner) => {
          const [restored, others] = restoresFirst ? [outer, inner] : [inner, outer];
          seen.add(`${restored.status} ${others.status}`);
          await check(restored.status, others.status, await restored.text());
          expect(await violations(world.env), `run ${run}`).toEqual([]);
        },
      };
    });
    expect(steps).toBeGreaterThan(1);
  }
  return [...seen].sort();
}

/** Pushes an image and deletes it, so that it is in the trash. */
async function trashedImage(repository: string, more: Record<string, unknown> = {}): Promise<Content> {
  const image = await pushImage(world, repository, 'v1', 1, more);
  await remove(world, repository, image.digest);
  return image;
}

describe('restoring a manifest while', () => {
  test.each([
    ['small', {}],
    ['large', LARGE],
  ])('it is pushed again is there with its tag (%s)', async (_, more) => {
    const answers = await contested(async (repository) => {
      const image = await trashedImage(repository, more);
      return {
        restore: restoreIn(repository, `manifests/${image.digest}`),
        other: push(repository, 'v2', image),
        check: async () => {
          for (const name of ['v1', 'v2', image.digest]) expect(await digestAt(world, repository, name)).toBe(image.digest);
        },
      };
    });
    expect(answers).toEqual(['200 201']);
  });

  test('its tag is pushed with another image keeps that image', async () => {
    const answers = await contested(async (repository) => {
      const image = await trashedImage(repository);
      const next = await imageIn(world, repository, 2);
      return {
        restore: restoreIn(repository, `manifests/${image.digest}`),
        other: push(repository, 'v1', next),
        check: async () => {
          expect(await digestAt(world, repository, 'v1')).toBe(next.digest);
          expect(await digestAt(world, repository, image.digest)).toBe(image.digest);
        },
      };
    });
    expect(answers).toEqual(['200 201']);
  });

  test('it is purged restores it, or does not', async () => {
    const answers = await contested(async (repository) => {
      const image = await trashedImage(repository, LARGE);
      return {
        restore: restoreIn(repository, `manifests/${image.digest}`),
        other: purgeIn(repository, `manifests/${image.digest}`),
        check: async (restored) => {
          expect(await digestAt(world, repository, 'v1')).toBe(restored === 200 ? image.digest : 404);
          const pulled = await world.fetch('GET', `/v2/${repository}/manifests/${image.digest}`);
          expect(pulled.status).toBe(restored);
        },
      };
    });
    expect(answers).toEqual(['200 404', '404 202']);
  });

  test('a child is purged restores everything, or nothing', async () => {
    const answers = await contested(async (repository) => {
      const child = await pushImage(world, repository, null);
      const index = await indexOf([child]);
      await push(repository, 'v1', index, INDEX_TYPE)(world);
      await remove(world, repository, index.digest, child.digest);
      return {
        restore: restoreIn(repository, `manifests/${index.digest}`),
        other: purgeIn(repository, `manifests/${child.digest}`),
        check: async (restored) => {
          for (const { digest } of [index, child]) {
            expect(await digestAt(world, repository, digest)).toBe(restored === 200 ? digest : 404);
          }
        },
      };
    });
    expect(answers).toEqual(['200 404', '409 202']);
  });

  test('a referrer is purged reports correctly what was restored', async () => {
    const answers = await contested(async (repository) => {
      const image = await pushImage(world, repository, 'v1');
      const referrer = await pushImage(world, repository, null, 2, { subject: descriptorOf(image, IMAGE_TYPE) });
      await remove(world, repository, image.digest, referrer.digest);
      return {
        restore: restoreIn(repository, `manifests/${image.digest}`),
        other: purgeIn(repository, `manifests/${referrer.digest}`),
        check: async (_, purged, body) => {
          expect(await digestAt(world, repository, referrer.digest)).toBe(purged === 202 ? 404 : referrer.digest);
          expect(body.includes(referrer.digest)).toBe(purged === 404);
        },
      };
    });
    expect(answers).toEqual(['200 202', '200 404']);
  });

  test('its blob is deleted keeps the blob, or restores it', async () => {
    const answers = await contested(async (repository) => {
      const image = await trashedImage(repository);
      const { layers } = JSON.parse(textOf(image)) as { layers: [{ digest: string }] };
      const blob = `/v2/${repository}/blobs/${layers[0].digest}`;
      return {
        restore: restoreIn(repository, `manifests/${image.digest}`),
        other: (at) => at.fetch('DELETE', blob),
        check: async () => expect((await world.fetch('GET', blob)).status).toBe(200),
      };
    });
    expect(answers).toEqual(['200 202', '200 405']);
  });

  test('somebody else restores it restores it once', async () => {
    const answers = await contested(async (repository) => {
      const image = await trashedImage(repository);
      return {
        restore: restoreIn(repository, `manifests/${image.digest}`),
        other: restoreIn(repository, `manifests/${image.digest}`),
        check: async () => expect(await digestAt(world, repository, 'v1')).toBe(image.digest),
      };
    });
    expect(answers).toEqual(['200 404', '404 200']);
  });
});

describe('restoring a tag while', () => {
  const trashedTag = async (repository: string) => {
    const image = await pushImage(world, repository, 'v1', 1);
    await remove(world, repository, 'v1');
    return image;
  };

  test('it is pushed does not move the pushed tag', async () => {
    const answers = await contested(async (repository) => {
      await trashedTag(repository);
      const next = await imageIn(world, repository, 2);
      return {
        restore: restoreIn(repository, 'tags/v1'),
        other: push(repository, 'v1', next),
        check: async () => expect(await digestAt(world, repository, 'v1')).toBe(next.digest),
      };
    });
    expect(answers).toEqual(['200 201', '409 201']);
  });

  test('its manifest is deleted restores the manifest, or is refused', async () => {
    const answers = await contested(async (repository) => {
      const image = await trashedTag(repository);
      return {
        restore: restoreIn(repository, 'tags/v1'),
        other: (at) => at.fetch('DELETE', `/v2/${repository}/manifests/${image.digest}`),
        check: async () => expect([image.digest, 404]).toContain(await digestAt(world, repository, 'v1')),
      };
    });
    expect(answers).toEqual(['200 202']);
  });

  test('it is purged restores it, or does not', async () => {
    const answers = await contested(async (repository) => {
      const image = await trashedTag(repository);
      return {
        restore: restoreIn(repository, 'tags/v1'),
        other: purgeIn(repository, 'tags/v1'),
        check: async (restored) => expect(await digestAt(world, repository, 'v1')).toBe(restored === 200 ? image.digest : 404),
      };
    });
    expect(answers).toEqual(['200 404', '404 202']);
  });

  test('the repository is deleted is part of the deletion, or is refused', async () => {
    const answers = await contested(async (repository) => {
      await trashedTag(repository);
      return {
        restore: restoreIn(repository, 'tags/v1'),
        other: send('DELETE', `/repositories/${repository}?force=true`),
        check: async (restored) => {
          const entry = await world.env.DB.prepare(
            "SELECT repository_id AS id FROM trash WHERE kind = 'repository' AND repository = ?1",
          )
            .bind(repository)
            .first<number>('id');
          expect((await send('POST', `/trash/${entry}/restore`)(world)).status).toBe(200);
          expect(await digestAt(world, repository, 'v1')).toEqual(restored === 200 ? expect.any(String) : 404);
        },
      };
    });
    expect(answers).toEqual(['200 200', '404 200']);
  });
});

describe('restoring a repository while', () => {
  const trashed = async (repository: string) => {
    const image = await pushImage(world, repository, 'v1');
    return { image, entry: await trashRepository(world, repository) };
  };

  test('one of its name is created, by a call or by a push, is refused or prevents that', async () => {
    const answers = await contested(async (repository) => {
      const { image, entry } = await trashed(repository);
      return {
        restore: send('POST', `/trash/${entry}/restore`),
        other: (at) => at.fetch('PUT', `/api/v1/repositories/${repository}`, { headers: { 'if-none-match': '*' }, body: '' }),
        check: async (restored) => expect(await digestAt(world, repository, 'v1')).toBe(restored === 200 ? image.digest : 404),
      };
    });
    expect(answers).toEqual(['200 412', '409 201']);
    const blob = await contentOf('content');
    const pushes = await contested(async (repository) => {
      const { image, entry } = await trashed(`${repository}/pushed`);
      return {
        restore: send('POST', `/trash/${entry}/restore`),
        other: (at) => at.fetch('POST', `/v2/${repository}/pushed/blobs/uploads/?digest=${blob.digest}`, { body: blob.bytes }),
        check: async (restored) => {
          expect(await digestAt(world, `${repository}/pushed`, 'v1')).toBe(restored === 200 ? image.digest : 404);
          expect((await world.fetch('HEAD', `/v2/${repository}/pushed/blobs/${blob.digest}`)).status).toBe(200);
        },
      };
    });
    expect(pushes).toEqual(['200 201', '409 201']);
  });

  test('it is purged restores everything, or nothing', async () => {
    const answers = await contested(async (repository) => {
      const { image, entry } = await trashed(repository);
      return {
        restore: send('POST', `/trash/${entry}/restore`),
        other: send('DELETE', `/trash/${entry}`),
        check: async (restored) => expect(await digestAt(world, repository, 'v1')).toBe(restored === 200 ? image.digest : 404),
      };
    });
    expect(answers).toEqual(['200 404', '409 202']);
  });

  test('somebody else restores it restores it once', async () => {
    const answers = await contested(async (repository) => {
      const { image, entry } = await trashed(repository);
      const restore = send('POST', `/trash/${entry}/restore`);
      return { restore, other: restore, check: async () => expect(await digestAt(world, repository, 'v1')).toBe(image.digest) };
    });
    expect(answers).toEqual(['200 404', '404 200']);
  });
});

describe('deleting a repository while', () => {
  const setRule = (repository: string, value: string) =>
    world.env.DB.prepare(
      'INSERT OR REPLACE INTO tag_mutability (repository_id, rule) SELECT id, ?2 FROM repositories WHERE name = ?1',
    )
      .bind(repository, JSON.stringify({ value, exclusions: ['x*'] }))
      .run();

  test('an immutable tag is pushed does not delete that tag', async () => {
    const answers = await contested(async (repository) => {
      await pushImage(world, repository, 'x1');
      const image = await imageIn(world, repository, 2);
      await setRule(repository, 'IMMUTABLE_WITH_EXCLUSION');
      return {
        restore: send('DELETE', `/repositories/${repository}?force=true`),
        other: push(repository, 'v1', image),
        check: async (deleted, pushed) => {
          // A push after the deletion creates the repository again. The blobs of the image are then missing, so it is refused.
          expect([deleted, pushed]).toEqual(deleted === 200 ? [200, 400] : [409, 201]);
          expect(await digestAt(world, repository, 'v1')).toBe(deleted === 200 ? 404 : image.digest);
        },
      };
    });
    expect(answers).toEqual(['200 400', '409 201']);
  });

  test('its tags become immutable is refused', async () => {
    const answers = await contested(async (repository) => {
      const image = await pushImage(world, repository, 'v1');
      return {
        restore: send('DELETE', `/repositories/${repository}?force=true`),
        other: (at) =>
          at.fetch('PUT', `/api/v1/repositories/${repository}/-/tag-mutability`, {
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ imageTagMutability: 'IMMUTABLE' }),
          }),
        check: async (deleted) => expect(await digestAt(world, repository, 'v1')).toBe(deleted === 200 ? 404 : image.digest),
      };
    });
    expect(answers).toEqual(['200 404', '409 200']);
  });
});
