/** Concurrent requests about manifests. In every order, all answers are right, and no change is half done. */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import {
  CONFIG_TYPE,
  type Content,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  INDEX_TYPE,
  imageIn,
  indexOf,
  LAYER_TYPE,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  refusal,
  textOf,
} from '../../world/images.ts';
import { everyOrder, type Request } from '../../world/interleaving.ts';
import { digestAt, eventsOf, tagsOf } from '../../world/reading.ts';
import { newWorld, type World } from '../../world/world.ts';

const WRITERS = 16;
const ROUNDS = 30;

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const outcome = async (response: Response) => (response.status < 300 ? `${response.status}` : refusal(response));
const remove = (at: World, path: string) => at.fetch('DELETE', `/v2/acme/api/${path}`);

/** Sends both requests at almost the same time. The first request and the distance in time differ from round to round. */
async function race(round: number, one: Request, two: Request): Promise<[string, string]> {
  const late = async (request: Request) => {
    await scheduler.wait((round >> 1) % 8);
    return outcome(await request(world));
  };
  const now = async (request: Request) => outcome(await request(world));
  return Promise.all(round % 2 ? [now(one), late(two)] : [late(one), now(two)]);
}

async function images(count: number): Promise<Content[]> {
  const made: Content[] = [];
  for (let seed = 0; seed < count; seed++) made.push(await imageIn(world, 'acme/api', seed));
  return made;
}

test('of 16 concurrent puts of one tag all succeed, one is last, and each event names the replaced digest', {
  tags: 'slow',
}, async () => {
  const all = await images(WRITERS);
  const responses = await Promise.all(all.map((image) => putManifest(world, 'acme/api', 'v1', textOf(image))));
  expect(responses.map(({ status }) => status)).toEqual(Array(WRITERS).fill(201));

  const [made, ...events] = await eventsOf(world, 'acme/api');
  expect(made).toEqual({ type: 'repository.created', target: {} });
  expect(events.map(({ type }) => type)).toEqual(['tag.created', ...Array(WRITERS - 1).fill('tag.moved')]);
  for (const [n, { target }] of events.entries()) expect(target.previous).toBe(events[n - 1]?.target.digest);
  expect(new Set(events.map(({ target }) => target.digest)).size).toBe(WRITERS);

  const final = await world.fetch('GET', '/v2/acme/api/manifests/v1');
  const { digest } = await contentOf(new Uint8Array(await final.arrayBuffer()));
  expect(final.headers.get('docker-content-digest')).toBe(digest);
  expect(events.at(-1)?.target.digest).toBe(digest);

  for (const [n, response] of responses.entries()) {
    const previous = events.find(({ target }) => target.digest === all[n]?.digest)?.target.previous;
    const warning = previous === undefined ? null : `299 - "tag v1 has moved: it named ${previous}"`;
    expect(response.headers.get('warning')).toBe(warning);
    expect(await digestAt(world, 'acme/api', all[n]?.digest ?? '')).toBe(all[n]?.digest);
  }
  expect(await violations(world.env)).toEqual([]);
});

test('of 16 concurrent pushes of one image all succeed, one creates or moves the tag, and the others change nothing', {
  tags: 'slow',
}, async () => {
  const [image] = (await images(1)) as [Content];
  const large = await imageIn(world, 'acme/api', 1, { annotations: { text: 'x'.repeat(200_000) } });
  for (const content of [image, large]) {
    const pushes = Array.from({ length: WRITERS }, () => putManifest(world, 'acme/api', 'same', textOf(content)));
    expect((await Promise.all(pushes)).map(({ status }) => status)).toEqual(Array(WRITERS).fill(201));
    expect(await digestAt(world, 'acme/api', 'same')).toBe(content.digest);
  }
  const types = (await eventsOf(world, 'acme/api')).map(({ type }) => type);
  expect(types.filter((type) => type !== 'tag.pushed')).toEqual(['repository.created', 'tag.created', 'tag.moved']);
  expect(types.filter((type) => type === 'tag.pushed')).toHaveLength(2 * (WRITERS - 1));
  expect((await world.env.BLOBS.list({ prefix: 'manifests/' })).objects).toHaveLength(1);
  expect(await violations(world.env)).toEqual([]);
});

/** Two requests that must not both succeed, and what must hold after them. */
interface Contest {
  put: Request;
  remove: Request;
  /** Checks the state: if the tag names the new manifest, everything that the manifest references must exist. */
  check: (put: string) => Promise<void>;
}

async function imageAgainstItsLayer(n: number): Promise<Contest> {
  const config = descriptorOf(await pushBlob(world, 'acme/api', '{}'), CONFIG_TYPE);
  const layer = await pushBlob(world, 'acme/api', noise(100, n));
  const image = { schemaVersion: 2, config, layers: [descriptorOf(layer, LAYER_TYPE)] };
  return {
    put: (at) => putManifest(at, 'acme/api', `v${n}`, image),
    remove: (at) => remove(at, `blobs/${layer.digest}`),
    check: async (put) => {
      const { status } = await world.fetch('HEAD', `/v2/acme/api/blobs/${layer.digest}`);
      expect(status).toBe(put === '201' ? 200 : 404);
    },
  };
}

async function indexAgainstItsChild(n: number): Promise<Contest> {
  const child = await pushImage(world, 'acme/api', null, n);
  const index = await indexOf([child]);
  return {
    put: (at) => putManifest(at, 'acme/api', `v${n}`, textOf(index), INDEX_TYPE),
    remove: (at) => remove(at, `manifests/${child.digest}`),
    check: async (put) => {
      expect(await digestAt(world, 'acme/api', child.digest)).toBe(put === '201' ? child.digest : 404);
    },
  };
}

describe.each([
  ['an image that is put and its layer that is deleted', imageAgainstItsLayer],
  ['an index that is put and its child that is deleted', indexAgainstItsChild],
])('of %s one is refused, and nothing is missing', (_, contest) => {
  const outcomes = ['201, 405 UNSUPPORTED', '400 MANIFEST_BLOB_UNKNOWN, 202'];

  test('when both are sent at once', { tags: 'slow' }, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { put, remove, check } = await contest(round);
      const answers = await race(round, put, remove);
      expect(outcomes).toContain(answers.join(', '));
      await check(answers[0]);
    }
    expect(await violations(world.env)).toEqual([]);
  });

  test('at every point of the other request', { tags: 'slow' }, async () => {
    const seen = new Set<string>();
    for (const outerIsPut of [true, false]) {
      const steps = await everyOrder(world, async (run) => {
        const { put, remove, check } = await contest(run + (outerIsPut ? 0 : 100));
        return {
          outer: outerIsPut ? put : remove,
          inner: outerIsPut ? remove : put,
          check: async (outer, inner) => {
            const answers = [await outcome(outerIsPut ? outer : inner), await outcome(outerIsPut ? inner : outer)];
            seen.add(answers.join(', '));
            await check(answers[0] as string);
          },
        };
      });
      expect(steps).toBeGreaterThan(0);
    }
    expect([...seen].sort()).toEqual(outcomes.sort());
    expect(await violations(world.env)).toEqual([]);
  });
});

test('a tag that is set while its manifest is deleted names it or does not exist: it never dangles', {
  tags: 'slow',
}, async () => {
  const large = { annotations: { text: 'x'.repeat(200_000) } };
  const contest = async (n: number) => {
    const image = await pushImage(world, 'acme/api', null, n, n % 2 ? large : {});
    return {
      image,
      put: (at: World) => putManifest(at, 'acme/api', `v${n}`, textOf(image)),
      remove: (at: World) => remove(at, `manifests/${image.digest}`),
    };
  };
  const leadsSomewhere = async (n: number, digest: string) => {
    const there = await digestAt(world, 'acme/api', `v${n}`);
    expect([digest, 404]).toContain(there);
    expect((await tagsOf(world, 'acme/api')).includes(`v${n}`)).toBe(there === digest);
  };
  for (let round = 0; round < ROUNDS; round++) {
    const { image, put, remove } = await contest(round);
    expect(await race(round, put, remove)).toEqual(['201', '202']);
    await leadsSomewhere(round, image.digest);
  }
  for (const outerIsPut of [true, false]) {
    await everyOrder(world, async (run) => {
      const n = (outerIsPut ? 100 : 200) + run;
      const { image, put, remove } = await contest(n);
      const check = () => leadsSomewhere(n, image.digest);
      return outerIsPut ? { outer: put, inner: remove, check } : { outer: remove, inner: put, check };
    });
  }
  expect(await violations(world.env)).toEqual([]);
});

test('of two deletions of one tag one succeeds and the other is a 404', async () => {
  await pushImage(world, 'acme/api', 'v1', 1);
  const both = [remove(world, 'manifests/v1'), remove(world, 'manifests/v1')];
  const answers = await Promise.all(both.map(async (response) => outcome(await response)));
  expect(answers.sort()).toEqual(['202', '404 MANIFEST_UNKNOWN']);
  const types = (await eventsOf(world, 'acme/api')).map(({ type }) => type);
  expect(types).toEqual(['repository.created', 'tag.created', 'tag.deleted']);
});

test('of two media types pushed at once for the same bytes one stays, and every pull returns that one', async () => {
  const config = descriptorOf(await pushBlob(world, 'acme/api', '{}'), CONFIG_TYPE);
  const text = JSON.stringify({ schemaVersion: 2, config, layers: [] });
  const types = [IMAGE_TYPE, 'application/vnd.docker.distribution.manifest.v2+json'];
  const answers = await Promise.all(types.map(async (type) => outcome(await putManifest(world, 'acme/api', 'v1', text, type))));
  expect([...answers].sort()).toEqual(['201', '400 MANIFEST_INVALID']);
  const served = (await world.fetch('GET', '/v2/acme/api/manifests/v1')).headers.get('content-type');
  expect(served).toBe(types[answers.indexOf('201')]);
});
