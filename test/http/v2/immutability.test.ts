/**
 * Immutable tags: the rule holds for every way to change a tag, and for concurrent requests.
 *
 * @module-tag walk
 */

import { beforeEach, describe, expect, test } from 'vitest';
import type { RepositoryName } from '../../../src/oci/name.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import { deleteExpired } from '../../../src/registry/manifests/deletion.ts';
import { getMutability } from '../../../src/registry/tags/mutability.ts';
import { violations } from '../../world/checker.ts';
import { faulty } from '../../world/faults.ts';
import { type Content, IMAGE_TYPE, imageIn, pushImage, putManifest, refusal, textOf } from '../../world/images.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { eventsDuring, tally } from '../../world/organizations.ts';
import { api, refused } from '../../world/people.ts';
import { digestAt, tagsOf } from '../../world/reading.ts';
import { inFull } from '../../world/sampling.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const WRITERS = 16;

const RULE =
  "ask the repository's owner or an administrator to change the rule (PUT /api/v1/repositories/acme/api/-/tag-mutability)";

let world: World;
let one: Content;
let two: Content;

const build = builtOnce(async (made) => {
  world = made;
  one = await imageIn(world, REPOSITORY, 1);
  two = await imageIn(world, REPOSITORY, 2);
});

beforeEach(async () => {
  world = await build();
});

type Value = 'MUTABLE' | 'IMMUTABLE' | 'IMMUTABLE_WITH_EXCLUSION' | 'MUTABLE_WITH_EXCLUSION';

function say(at: World, imageTagMutability: Value, ...filters: string[]) {
  const imageTagMutabilityExclusionFilters = filters.map((filter) => ({ filterType: 'WILDCARD', filter }));
  const body = { imageTagMutability, ...(filters.length > 0 ? { imageTagMutabilityExclusionFilters } : {}) };
  return api(at, 'PUT', `/repositories/${REPOSITORY}/-/tag-mutability`, { body });
}

async function rule(value: Value, ...filters: string[]): Promise<void> {
  expect((await say(world, value, ...filters)).status).toBe(200);
}

const put = (reference: string, image: Content, at = world) => putManifest(at, REPOSITORY, reference, textOf(image));
const remove = (reference: string, at = world) => at.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${reference}`);
const rollBack = (tag: string, body: object, at = world) =>
  api(at, 'POST', `/repositories/${REPOSITORY}/-/tags/${tag}/rollback`, { body });

async function must(response: Promise<Response>, status = 201): Promise<void> {
  expect((await response).status).toBe(status);
}

async function contents(): Promise<unknown> {
  const tables = 'repositories manifests manifest_references tags tag_history tag_mutability trash tombstones events'.split(
    ' ',
  );
  const results = await world.env.DB.batch(tables.map((table) => world.env.DB.prepare(`SELECT * FROM ${table}`)));
  return [results.map((result) => result.results), (await world.env.BLOBS.list()).objects.map(({ key }) => key)];
}

async function refusedUntouched(request: () => Promise<Response>): Promise<string> {
  const before = await contents();
  const code = await refusal(await request());
  expect(await contents()).toEqual(before);
  return code;
}

describe.each<[Value, string[], fixed: string[], free: string[]]>([
  ['MUTABLE', [], [], ['v1', 'latest']],
  ['IMMUTABLE', [], ['v1', 'latest', '_', 'V1.0-rc_1'], []],
  ['IMMUTABLE_WITH_EXCLUSION', ['dev-*', 'latest'], ['v1', 'dev', 'Dev-1', 'latest2', 'xdev-1'], ['dev-', 'dev-1', 'latest']],
  [
    'MUTABLE_WITH_EXCLUSION',
    ['v*', '*-final', 'a*b*c', 'exact'],
    ['v', 'v1', 'x-final', 'abc', 'aXbYc', 'exact'],
    ['V1', 'final', 'acb', 'exact1', 'latest'],
  ],
  ['MUTABLE_WITH_EXCLUSION', ['*'], ['v1', 'latest'], []],
  ['IMMUTABLE_WITH_EXCLUSION', ['*'], [], ['v1', 'latest']],
  ['IMMUTABLE_WITH_EXCLUSION', ['*.*', '_x'], ['v1', '_y'], ['1.0', '1.', '_x']],
  ['MUTABLE_WITH_EXCLUSION', ['**a**'], ['a', 'bab'], ['b']],
])('%s %j', (value, filters, fixed, free) => {
  test('decides which tags can be moved and deleted', { tags: 'slow' }, async () => {
    await rule(value, ...filters);
    for (const tag of [...fixed, ...free]) await must(put(tag, one));
    for (const tag of fixed) {
      expect(await refusedUntouched(() => put(tag, two)), tag).toBe('403 DENIED');
      expect(await refusedUntouched(() => remove(tag)), tag).toBe('403 DENIED');
      expect(await digestAt(world, REPOSITORY, tag)).toBe(one.digest);
    }
    for (const tag of free) {
      await must(put(tag, two));
      await must(remove(tag), 202);
    }
    expect(await violations(world.env)).toEqual([]);
  });
});

describe('an immutable tag cannot be changed', () => {
  test('by tag, with ?tag=, or by digest with tags among mutable ones: the whole put is refused', async () => {
    await rule('IMMUTABLE_WITH_EXCLUSION', 'dev-*');
    await must(put('v1', one));
    await must(put('dev-1', one));
    for (const reference of [
      'v1',
      `${two.digest}?tag=v1`,
      'dev-1?tag=v1',
      'v1?tag=dev-1',
      'v1?tag=v2',
      `${two.digest}?tag=dev-1&tag=v2&tag=v1`,
    ]) {
      expect(await refusedUntouched(() => put(reference, two)), reference).toBe('403 DENIED');
    }
    const { errors } = (await (await put('v1?tag=dev-1', two)).json()) as { errors: { message: string; detail: unknown }[] };
    expect(errors[0]).toMatchObject({
      message: `the tag v1 is immutable, and stays at ${one.digest}. Nothing was changed: push another tag, or ${RULE}`,
      detail: [{ name: 'v1', digest: one.digest }],
    });
    await must(put(`${two.digest}?tag=dev-1&tag=v2`, two));
    expect(await tagsOf(world, REPOSITORY)).toEqual(['dev-1', 'v1', 'v2']);
  });

  test('and a refused deletion or rollback says what to do instead', async () => {
    await must(put('v1', one));
    await must(put('v1', two));
    await rule('IMMUTABLE');
    expect(await (await remove('v1')).text()).toContain(`Nothing was deleted: keep the tag, or ${RULE}`);
    const { body } = await rollBack('v1', { digest: one.digest });
    expect(JSON.stringify(body)).toContain(`Nothing was changed: push the image under another tag, or ${RULE}`);
    const whole = await api(world, 'DELETE', `/repositories/${REPOSITORY}?force=true`);
    expect(JSON.stringify(whole.body)).toContain(`Nothing was deleted: ${RULE}`);
  });

  test('and the answer names the number of immutable tags, and ten of them', async () => {
    await rule('IMMUTABLE');
    const query = Array.from({ length: 40 }, (_, n) => `tag=t${n}`).join('&');
    await must(put(`${one.digest}?${query}`, one));
    const { errors } = (await (await put(`${two.digest}?${query}`, two)).json()) as {
      errors: { message: string; detail: [] }[];
    };
    expect(errors[0]?.message).toContain('40 tags are immutable, t0 among them. Nothing was changed: push another tag');
    expect(errors[0]?.detail).toHaveLength(10);
  });

  test('and a refused put of a large manifest leaves no object', async () => {
    const large = await imageIn(world, REPOSITORY, 3, { annotations: { text: 'x'.repeat(200_000) } });
    await rule('IMMUTABLE');
    await must(put('v1', one));
    expect(await refusedUntouched(() => put('v1', large))).toBe('403 DENIED');
  });

  test('by deleting its digest: the manifest stays as long as one of its tags is immutable', async () => {
    await rule('MUTABLE_WITH_EXCLUSION', 'v*');
    await must(put(`${one.digest}?tag=dev&tag=v1`, one));
    expect(await refusedUntouched(() => remove(one.digest))).toBe('403 DENIED');
    await must(put('dev', two));
    await must(remove(two.digest), 202);
    expect(await tagsOf(world, REPOSITORY)).toEqual(['v1']);
  });

  test('by a rollback, to a point or to a digest', async () => {
    for (const image of [one, two]) await must(put('v1', image));
    await rule('IMMUTABLE');
    const before = await contents();
    expect(refused(await rollBack('v1', { point: 1 }))).toBe('403 DENIED');
    expect(refused(await rollBack('v1', { digest: one.digest }))).toBe('403 DENIED');
    expect((await rollBack('v1', { digest: two.digest })).status).toBe(200);
    expect(await contents()).toEqual(before);
  });

  test('by deleting its repository, with or without force, or by recreating it', async () => {
    await must(put('v1', one));
    await rule('IMMUTABLE');
    const before = await contents();
    for (const query of ['', '?force=true']) {
      expect(refused(await api(world, 'DELETE', `/repositories/${REPOSITORY}${query}`))).toBe('409 CONFLICT');
    }
    expect(await contents()).toEqual(before);
    await rule('MUTABLE');
    expect((await api(world, 'DELETE', `/repositories/${REPOSITORY}?force=true`)).status).toBe(200);
  });

  test('by a condition that holds', async () => {
    await rule('IMMUTABLE');
    await must(put('v1', one));
    const headers = { 'content-type': IMAGE_TYPE, 'if-match': `"${one.digest}"` };
    const conditional = () => world.fetch('PUT', `/v2/${REPOSITORY}/manifests/v1`, { headers, body: textOf(two) });
    expect(await refusedUntouched(conditional)).toBe('403 DENIED');
  });

  test('by a rule that was saved after the tag', async () => {
    await must(put('v1', one));
    await must(put('v1', two));
    await rule('IMMUTABLE');
    expect(await refusedUntouched(() => put('v1', one))).toBe('403 DENIED');
    expect(await refusedUntouched(() => remove('v1'))).toBe('403 DENIED');
    expect(await refusedUntouched(() => remove(two.digest))).toBe('403 DENIED');
    await must(remove(one.digest), 202);
    await rule('MUTABLE');
    await must(remove('v1'), 202);
  });
});

describe('it is allowed', () => {
  test('to push the same image again under an immutable tag, in every way, which is recorded and moves nothing', async () => {
    await rule('IMMUTABLE');
    await must(put('v1', one));
    for (const reference of ['v1', `${one.digest}?tag=v1`, 'v1?tag=v1']) {
      const events = await eventsDuring(world, () => must(put(reference, one)));
      expect(events).toMatchObject([{ type: 'tag.pushed', target: { tag: 'v1', digest: one.digest, changed: false } }]);
    }
  });

  test('to create tags, to push manifests without a tag, and to delete manifests that no tag names', async () => {
    await rule('IMMUTABLE');
    await must(put(one.digest, one));
    await must(put(`v1?tag=v2`, one));
    await must(put(two.digest, two));
    await must(remove(two.digest), 202);
    expect(await refusal(await remove('absent'))).toBe('404 MANIFEST_UNKNOWN');
    expect(await refusal(await remove(two.digest))).toBe('404 MANIFEST_UNKNOWN');
  });

  test('to use the same tag in another repository', async () => {
    await rule('IMMUTABLE');
    for (const seed of [1, 2]) await pushImage(world, 'acme/other', 'v1', seed);
    await must(world.fetch('DELETE', '/v2/acme/other/manifests/v1'), 202);
  });
});

describe('of 16 clients that create one tag with different images', () => {
  test.each<[Value, string[]]>([
    ['IMMUTABLE', []],
    ['IMMUTABLE_WITH_EXCLUSION', ['dev-*']],
    ['MUTABLE_WITH_EXCLUSION', ['v*']],
  ])('one does, and fifteen are refused: %s %j', { tags: 'slow' }, async (value, filters) => {
    await rule(value, ...filters);
    const images: Content[] = [];
    for (let n = 0; n < WRITERS; n++) images.push(await imageIn(world, REPOSITORY, 10 + n));
    const answers = await Promise.all(images.map((image) => put('v1', image)));
    expect(tally(answers.map(({ status }) => status))).toEqual({ 201: 1, 403: WRITERS - 1 });
    for (const answer of answers) if (answer.status !== 201) expect(await refusal(answer)).toBe('403 DENIED');
    const winner = images[answers.findIndex(({ status }) => status === 201)];
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(winner?.digest);
    const history = await world.env.DB.prepare('SELECT point, digest FROM tag_history').all();
    expect(history.results).toEqual([{ point: 1, digest: winner?.digest }]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('all succeed if the tag is excluded', { tags: 'slow' }, async () => {
    await rule('IMMUTABLE_WITH_EXCLUSION', 'v*');
    const images: Content[] = [];
    for (let n = 0; n < WRITERS; n++) images.push(await imageIn(world, REPOSITORY, 10 + n));
    const answers = await Promise.all(images.map((image) => put('v1', image)));
    expect(tally(answers.map(({ status }) => status))).toEqual({ 201: WRITERS });
    expect(await violations(world.env)).toEqual([]);
  });
});

describe('a rule changed during', () => {
  /**
   * Changes the rule during a change of v1. Expects that the change is refused, or that it was done while the rule allowed it.
   * @param allowedBy the rule that allows the change
   */
  async function inTheMiddle(
    begin: { value: Value; filters: string[]; end: [Value, ...string[]] },
    change: (at: World, image: Content) => Promise<Response>,
    doneWith: number,
    allowedBy: 'before' | 'after',
  ): Promise<string[]> {
    const outcomes: string[] = [];
    await everyOrder(
      world,
      async (run) => {
        await rule('MUTABLE');
        const [was, next] = [await imageIn(world, REPOSITORY, 200 + run), await imageIn(world, REPOSITORY, 300 + run)];
        await must(put('v1', was));
        await rule(begin.value, ...begin.filters);
        let done = 'before';
        return {
          outer: (at) => change(at, next),
          inner: async (at) => {
            if ((await digestAt(at, REPOSITORY, 'v1')) === was.digest) done = 'after';
            const { status } = await say(at, ...begin.end);
            return new Response(null, { status });
          },
          check: async (outer, inner) => {
            expect(inner.status).toBe(200);
            const now = await digestAt(world, REPOSITORY, 'v1');
            outcomes.push(`${outer.status} ${now === was.digest ? 'stays' : 'changed'}`);
            expect([`${doneWith} changed`, '403 stays', '503 stays']).toContain(outcomes.at(-1));
            if (now !== was.digest) expect(done).toBe(allowedBy);
          },
        };
      },
      inFull(1, 3),
    );
    expect(await violations(world.env)).toEqual([]);
    return outcomes;
  }

  const toFixed = { value: 'MUTABLE', filters: [], end: ['IMMUTABLE'] } as const;
  const excludedToFixed = {
    value: 'IMMUTABLE_WITH_EXCLUSION',
    filters: ['v*'],
    end: ['IMMUTABLE_WITH_EXCLUSION', 'dev'],
  } as const;
  const fixedToExcluded = { value: 'IMMUTABLE', filters: [], end: ['IMMUTABLE_WITH_EXCLUSION', 'v*'] } as const;
  const fixedToFree = { value: 'IMMUTABLE', filters: [], end: ['MUTABLE'] } as const;
  const cases = { toFixed, excludedToFixed, fixedToExcluded, fixedToFree };

  describe.each(Object.entries(cases))('%s', (name, begin) => {
    const strict = name === 'toFixed' || name === 'excludedToFixed';
    test.each<[string, number, (at: World, image: Content) => Promise<Response>]>([
      ['a push', 201, (at, image) => put('v1', image, at)],
      ['a push with further tags', 201, (at, image) => put(`${image.digest}?tag=v2&tag=v1`, image, at)],
      ['the deletion of the tag', 202, (at) => remove('v1', at)],
      [
        'the deletion of the manifest',
        202,
        async (at) => {
          const digest = (await world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/v1`)).headers.get('docker-content-digest');
          return remove(digest ?? '', at);
        },
      ],
    ])('%s', { tags: 'slow' }, async (_, doneWith, change) => {
      const outcomes = await inTheMiddle(begin as never, change, doneWith, strict ? 'before' : 'after');
      // The new rule decides if it is saved before the change begins, and the old rule if it is saved after the change.
      expect(outcomes[0]).toBe(strict ? '403 stays' : `${doneWith} changed`);
      expect(outcomes.at(-1)).toBe(strict ? `${doneWith} changed` : '403 stays');
    });
  });

  test('a rollback', async () => {
    await everyOrder(world, async (run) => {
      const [was, next] = [await imageIn(world, REPOSITORY, 200 + run), await imageIn(world, REPOSITORY, 300 + run)];
      await rule('MUTABLE');
      for (const image of [was, next]) await must(put(`r${run}`, image));
      let done: string | number | null = null;
      return {
        outer: async (at) => new Response(null, { status: (await rollBack(`r${run}`, { digest: was.digest }, at)).status }),
        inner: async (at) => {
          done = await digestAt(at, REPOSITORY, `r${run}`);
          return new Response(null, { status: (await say(at, 'IMMUTABLE')).status });
        },
        check: async (outer) => {
          const now = await digestAt(world, REPOSITORY, `r${run}`);
          expect([`200 ${was.digest}`, `403 ${next.digest}`]).toContain(`${outer.status} ${now}`);
          expect(done).toBe(now);
        },
      };
    });
    expect(await violations(world.env)).toEqual([]);
  });
});

describe('a name reserved because a lifecycle rule deleted an immutable tag', () => {
  const RULE_OF_CLEAN_UP = { by: { subject: 'registry' }, reason: 'rule 1' };

  async function takeAway(tag: string, image: Content, reserved: boolean): Promise<void> {
    const { rule: text } = await getMutability(world.env, REPOSITORY as RepositoryName);
    const doomed = { rule: text, tags: [{ tag: tag as Tag, digest: image.digest, reserved }], levels: [] };
    const gone = await deleteExpired(world.env, REPOSITORY as RepositoryName, doomed, RULE_OF_CLEAN_UP);
    expect(gone).toEqual({ tags: [{ tag, digest: image.digest }], manifests: [] });
    expect(await digestAt(world, REPOSITORY, tag)).toBe(404);
  }

  test('can be used again for the same image, by push or rollback, and for no other', async () => {
    await rule('IMMUTABLE');
    await must(put('v1', one));
    await takeAway('v1', one, true);
    for (const reference of ['v1', `${two.digest}?tag=v1`, `${two.digest}?tag=v1&tag=v2`]) {
      expect(await refusedUntouched(() => put(reference, two)), reference).toBe('403 DENIED');
    }
    await must(put('v1', one));
    await takeAway('v1', one, true);
    expect((await rollBack('v1', { point: 1 })).status).toBe(200);
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(one.digest);
    expect(await refusedUntouched(() => put('v1', two))).toBe('403 DENIED');
    expect(await violations(world.env)).toEqual([]);
  });

  test('is not given to an older image by a rollback', async () => {
    for (const image of [one, two]) await must(put('v1', image));
    await rule('IMMUTABLE');
    await takeAway('v1', two, true);
    expect(refused(await rollBack('v1', { point: 1 }))).toBe('403 DENIED');
    expect((await rollBack('v1', { point: 2 })).status).toBe(200);
  });

  test('is free once the rule does not apply to it any more', async () => {
    await rule('IMMUTABLE');
    await must(put('v1', one));
    await takeAway('v1', one, true);
    await rule('IMMUTABLE_WITH_EXCLUSION', 'v*');
    await must(put('v1', two));
    await rule('IMMUTABLE');
    expect(await refusedUntouched(() => put('v1', one))).toBe('403 DENIED');
  });

  test('is not reserved if the tag was mutable then', async () => {
    await must(put('v1', one));
    await takeAway('v1', one, false);
    await rule('IMMUTABLE');
    await must(put('v1', two));
  });

  test('prevents deleting and recreating its repository', async () => {
    await rule('IMMUTABLE');
    await must(put('v1', one));
    await takeAway('v1', one, true);
    expect(refused(await api(world, 'DELETE', `/repositories/${REPOSITORY}?force=true`))).toBe('409 CONFLICT');
  });

  test('accepts, of 16 concurrent pushes, only that of the same image', { tags: 'slow' }, async () => {
    await rule('IMMUTABLE');
    await must(put('v1', one));
    await takeAway('v1', one, true);
    const images = [one];
    for (let n = 1; n < WRITERS; n++) images.push(await imageIn(world, REPOSITORY, 10 + n));
    const answers = await Promise.all(images.map((image) => put('v1', image)));
    expect(answers.map(({ status }) => status)).toEqual([201, ...Array(WRITERS - 1).fill(403)]);
  });
});

describe('the cost of the rule', () => {
  async function callsOf(request: (at: World) => Promise<Response>, status: number): Promise<string[]> {
    const { env, calls } = faulty(world.env);
    expect((await request(worldOf(env))).status).toBe(status);
    return calls;
  }

  test('is nothing unless an existing tag moves; for an excluded one, the rule and a second batch', async () => {
    await rule('IMMUTABLE_WITH_EXCLUSION', 'dev-*');
    const made = await callsOf((at) => put('dev-1', one, at), 201);
    expect(await callsOf((at) => put('dev-1', two, at), 201)).toEqual([...made, 'DB.first', 'DB.batch']);
    expect(await callsOf((at) => put('dev-1', two, at), 201)).toEqual(made);
    expect(await callsOf((at) => put('v1', two, at), 201)).toEqual(made);
    expect(await callsOf((at) => remove('dev-1', at), 202)).toEqual([...made, 'DB.first', 'DB.batch']);
    await rule('MUTABLE');
    for (const image of [one, two]) expect(await callsOf((at) => put('v1', image, at), 201)).toEqual(made);
  });

  test('is at most seven round trips if the put is refused', async () => {
    await rule('IMMUTABLE');
    await must(put('v1', one));
    expect((await callsOf((at) => put('v1', two, at), 403)).length).toBeLessThanOrEqual(7);
  });
});
