/**
 * Random sequences of all changes of immutable tags that users may make who are not administrators, with lifecycle rules that
 * include immutable tags.
 *
 * @module-tag walk
 */
import { expect, test } from 'vitest';
import { collect, wrong } from '../registry/gc/garbage.ts';
import { purge, restore } from '../registry/trash/trash.ts';
import { type Content, IMAGE_TYPE, pushImage } from '../world/images.ts';
import { type ApiRequest, api, inviteUser } from '../world/people.ts';
import { digestAt } from '../world/reading.ts';
import { inFull } from '../world/sampling.ts';
import { newWorld, type World } from '../world/world.ts';

const REPOSITORY = 'acme/api';
const ROOT = `/repositories/${REPOSITORY}`;
const TAGS = ['t0', 't1', 't2'];
const STEPS = inFull(250, 80);

/** A reproducible random number below `sides`. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 16) % sides;
  };
}

async function must(world: World, method: string, path: string, request?: ApiRequest): Promise<void> {
  const { status, body } = await api(world, method, path, request);
  expect(status, JSON.stringify(body)).toBeLessThan(300);
}

const expiring = { countType: 'sinceImagePushed', countUnit: 'days', countNumber: 1 };
const RULE = {
  rulePriority: 1,
  selection: { tagStatus: 'any', ...expiring },
  action: { type: 'expire', includeImmutable: true },
};

async function age({ env }: World): Promise<void> {
  const changes = [
    'tags SET updated_at = 0',
    'manifests SET leased_until = 0, pushed_at = 0',
    'tag_history SET at = at - 40000000',
  ];
  await env.DB.batch(changes.map((change) => env.DB.prepare(`UPDATE ${change}`)));
}

test.for(inFull([1, 2], [1]))(
  'a tag never names another image, in whatever order it is pushed, deleted, expired, purged, restored, rolled back and forgotten (seed %i)',
  { tags: 'slow', timeout: 60_000 },
  async (seed) => {
    const world = await newWorld();
    const { basic } = await inviteUser(world, 'dev');
    await must(world, 'PUT', ROOT);
    const statements = [{ effect: 'allow', actions: ['pull', 'push', 'retag', 'delete'], principals: ['user:dev'] }];
    await must(world, 'PUT', `${ROOT}/-/policy`, { body: { statements } });
    const images: Content[] = [];
    for (let n = 0; n < 3; n++) images.push(await pushImage(world, REPOSITORY, null, n));
    await must(world, 'PUT', `${ROOT}/-/tag-mutability`, { body: { imageTagMutability: 'IMMUTABLE' } });
    await must(world, 'PUT', `${ROOT}/-/lifecycle`, { body: { rules: [RULE] } });

    const roll = dice(seed);
    const image = () => images[roll(3)] as Content;
    const tag = () => TAGS[roll(3)] as string;
    const either = () => (roll(2) === 0 ? tag() : image().digest);
    const put = (reference: string, { bytes }: Content) => {
      const headers = { 'content-type': IMAGE_TYPE };
      return world.fetch('PUT', `/v2/${REPOSITORY}/manifests/${reference}`, { authorization: basic, headers, body: bytes });
    };
    const deeds: (() => Promise<{ status: number }>)[] = [
      () => put(tag(), image()),
      () => put(tag(), image()),
      () => ((one) => put(`${one.digest}?tag=t0&tag=${tag()}`, one))(image()),
      () => world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${either()}`, { authorization: basic }),
      () => restore(world, REPOSITORY, either(), { as: basic }),
      () => restore(world, REPOSITORY, either(), { as: basic }),
      () => api(world, 'POST', `${ROOT}/-/tags/${tag()}/rollback`, { as: basic, body: { digest: image().digest } }),
      () => api(world, 'POST', `${ROOT}/-/tags/${tag()}/rollback`, { as: basic, body: { point: 1 + roll(6) } }),
      () => age(world).then(() => api(world, 'POST', `${ROOT}/-/lifecycle/run`)),
      () => purge(world, REPOSITORY, either()),
      () => collect(world).then(() => ({ status: 200 })),
    ];
    const named = new Map<string, unknown>();
    const taken = new Map<string, number>();
    for (let step = 0; step < STEPS; step++) {
      const deed = roll(deeds.length);
      const { status } = await (deeds[deed] as (typeof deeds)[0])();
      expect(status, `step ${step}`).toBeLessThan(500);
      if (status < 300) taken.set(`${deed}`, (taken.get(`${deed}`) ?? 0) + 1);
      for (const name of TAGS) {
        const now = await digestAt(world, REPOSITORY, name);
        if (typeof now !== 'string') continue;
        expect(now, `${name}, step ${step}`).toBe(named.get(name) ?? now);
        named.set(name, now);
      }
    }
    expect(named.size).toBe(TAGS.length);
    expect(taken.get('0')).toBeGreaterThan(0);
    expect(taken.get('4')).toBeGreaterThan(0);
    expect(await wrong(world)).toEqual([]);
  },
);
