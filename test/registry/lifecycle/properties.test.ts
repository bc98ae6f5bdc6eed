/**
 * Properties of every plan, checked on random repositories and policies.
 *
 * @module-tag walk
 */
import fc from 'fast-check';
import Range from 'semver/classes/range.js';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { LEVELS_MAX, slicesOf } from '../../../src/registry/lifecycle/carry-out.ts';
import type { ExpiryPlan } from '../../../src/registry/lifecycle/chooser.ts';
import type { Inventory } from '../../../src/registry/lifecycle/inventory.ts';
import { type LifecyclePolicy, policyErrors } from '../../../src/registry/lifecycle/policy.ts';
import { isImmutable } from '../../../src/registry/tags/mutability.ts';
import { SLICE_MANIFESTS_MAX, SLICE_TAGS_MAX } from '../../../src/vocabulary/lifecycle.ts';
import { LINEAR, slowdown } from '../../world/complexity.ts';
import { inFull } from '../../world/sampling.ts';
import {
  applied,
  type Brief,
  DAY,
  digestOf,
  type Image,
  KEEP,
  moreThan,
  NOW,
  planFor,
  policyOf,
  stock,
  tagged,
  unpulledFor,
} from './stock.ts';

/** The number of tags of the repository for which operations are counted. */
const TAGS_COUNTED = 500;
/** The number of searches in each tag that do not depend on the policy. */
const OTHER_SEARCHES = 10;

/** Counts string searches, range checks, and the comparators of these ranges. */
function workOf(run: () => void): { searches: number; ranges: number; comparators: number } {
  const work = { searches: 0, ranges: 0, comparators: 0 };
  const texts = String.prototype as unknown as Record<string, (this: string, ...given: unknown[]) => unknown>;
  const [indexOf, test] = [texts.indexOf as (this: string, ...given: unknown[]) => unknown, Range.prototype.test];
  texts.indexOf = function (...given) {
    work.searches++;
    return indexOf.apply(this, given);
  };
  Range.prototype.test = function (version) {
    work.ranges++;
    work.comparators += this.set.flat().length;
    return test.call(this, version);
  };
  try {
    run();
  } finally {
    texts.indexOf = indexOf;
    Range.prototype.test = test;
  }
  return work;
}

const TAGS = ['v1.0.0', 'v1.1.0', '1.2.0', 'v2.0.0', 'main', 'main-2', 'pr-1', 'pr-2', 'x'];
const PATTERNS = ['*', 'v*', 'v1*', 'main*', 'pr-*', '*1*', 'x', '*-*'];

/** Random repositories. A manifest references only earlier manifests, because it contains their digests. */
const repositories = fc
  .array(
    fc.record({
      tags: fc.dictionary(fc.constantFrom(...TAGS), fc.integer({ min: 0, max: 40 }), { maxKeys: 3 }),
      pushed: fc.integer({ min: 0, max: 40 }),
      pulled: fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined }),
      checked: fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined, freq: 1 }),
      leased: fc.option(fc.integer({ min: -1, max: 1 }), { nil: undefined, freq: 4 }),
      children: fc.uniqueArray(fc.nat(20), { maxLength: 4 }),
      subject: fc.option(fc.nat(25), { nil: undefined }),
    }),
    { maxLength: 14 },
  )
  .map((drawn) => {
    const seen = new Set<string>();
    const images: Record<string, Image> = {};
    drawn.forEach(({ tags, pushed, pulled, checked, leased, children, subject }, n) => {
      const own = Object.entries(tags).filter(([tag]) => !seen.has(tag));
      for (const [tag] of own) seen.add(tag);
      images[`m${n}`] = {
        tags: Object.fromEntries(own),
        pushed,
        children: children.filter((child) => child < n).map((child) => `m${child}`),
        ...(pulled === undefined ? {} : { pulled }),
        ...(checked === undefined ? {} : { checked }),
        ...(leased === undefined ? {} : { leased: leased || 1 }),
        ...(subject === undefined || subject === n ? {} : { subject: `m${subject}` }),
      };
    });
    return stock(images);
  });

function withoutSubjects(inventory: Inventory): Inventory {
  return { ...inventory, manifests: inventory.manifests.map((manifest) => ({ ...manifest, subject: null })) };
}

const counts = (countsImages: boolean) =>
  fc.oneof(
    fc.record({
      countType: fc.constantFrom('sinceImagePushed' as const, 'sinceImagePulled' as const),
      countUnit: fc.constant('days' as const),
      countNumber: fc.integer({ min: 1, max: 30 }),
    }),
    ...(countsImages
      ? [fc.record({ countType: fc.constant('imageCountMoreThan' as const), countNumber: fc.integer({ min: 1, max: 6 }) })]
      : []),
  );

function policies({ countsImages, lists }: { countsImages: boolean; lists: number }): fc.Arbitrary<LifecyclePolicy> {
  const onTags = fc.uniqueArray(fc.constantFrom(...PATTERNS), { minLength: 1, maxLength: lists });
  const expiring = fc.boolean().map((includeImmutable) => ({ type: 'expire' as const, includeImmutable }));
  const rule = (tags: fc.Arbitrary<Brief['selection']>, action: fc.Arbitrary<Brief['action']> = expiring) =>
    fc.record({ tags, count: counts(countsImages), action }).map(({ tags: of, count, action: does }) => {
      return { selection: { ...of, ...count }, action: does } as Brief;
    });
  const tagged = onTags.map((tagPatternList) => ({ tagStatus: 'tagged' as const, tagPatternList }));
  const untagged = fc.constant({ tagStatus: 'untagged' as const });
  const any = fc.constant({ tagStatus: 'any' as const });
  const keep = fc.constant(KEEP);
  return fc
    .record({
      ofTags: fc.array(rule(tagged), { maxLength: 3 }),
      ofUntagged: fc.array(rule(untagged), { maxLength: 1 }),
      keeps: fc.array(fc.oneof(rule(tagged, keep), rule(untagged, keep), rule(any, keep)), { maxLength: 2 }),
      ofAny: fc.array(rule(any), { maxLength: 1 }),
    })
    .map(({ ofTags, ofUntagged, keeps, ofAny }) => policyOf(...ofTags, ...ofUntagged, ...keeps, ...ofAny));
}

const mutabilities = fc.record({
  value: fc.constantFrom('MUTABLE' as const, 'IMMUTABLE_WITH_EXCLUSION' as const, 'MUTABLE_WITH_EXCLUSION' as const),
  exclusions: fc.constant<string[]>(['v1*']),
});

const anything = policies({ countsImages: true, lists: 2 });

function holds(inventory: Inventory, policy: LifecyclePolicy, check: (plan: ExpiryPlan, inventory: Inventory) => void) {
  check(planFor(inventory, policy), inventory);
}

const RUNS = inFull(1500, 150);

/** Checks random repositories and policies. */
function always(check: (plan: ExpiryPlan, inventory: Inventory) => void): void {
  fc.assert(
    fc.property(repositories, anything, (inventory, policy) => holds(inventory, policy, check)),
    { numRuns: RUNS },
  );
}

const gone = ({ manifests }: ExpiryPlan) => new Set(manifests.map(({ digest }) => digest));

describe('in every plan', () => {
  test('the generated policies are valid', () => {
    fc.assert(fc.property(anything, (policy) => void expect(policyErrors(policy)).toEqual([])));
  });

  test('what stays has no dangling reference: no tag without its manifest, no index without its children, no referrer without its subject', () => {
    always((plan, inventory) => {
      const { tags, manifests, references } = applied(inventory, plan);
      const there = new Set(manifests.map(({ digest }) => digest));
      expect(tags.filter(({ digest }) => !there.has(digest))).toEqual([]);
      expect(references.filter(({ child }) => !there.has(child))).toEqual([]);
      const doomed = gone(plan);
      const referrers = inventory.manifests.filter(
        ({ digest, subject }) => doomed.has(digest) && subject && there.has(subject),
      );
      expect(referrers).toEqual([]);
    });
  });

  test('a rule about the last pull expires no tag while any part of its image was used since', () => {
    fc.assert(
      fc.property(repositories, fc.integer({ min: 1, max: 30 }), (inventory, days) => {
        const rules = policyOf({ selection: { tagStatus: 'any', ...unpulledFor(days) } });
        const own = new Map(inventory.manifests.map((manifest) => [manifest.digest, manifest]));
        const used = (digest: Digest): boolean => {
          const { pulledOn = null, checkedOn = null } = own.get(digest) ?? {};
          const day = Math.max(pulledOn ?? -1, checkedOn ?? -1);
          return (
            (day + 1) * DAY - 1 >= NOW - days * DAY ||
            inventory.references.some(({ parent, child }) => parent === digest && used(child))
          );
        };
        for (const { digest } of planFor(inventory, rules).tags) expect(used(digest)).toBe(false);
      }),
      { numRuns: inFull(500, 100) },
    );
  });

  test('a manifest expires only if it has no lease and all of its tags expire', () => {
    always((plan, inventory) => {
      const doomed = gone(plan);
      const doomedTags = new Set<string>(plan.tags.map(({ tag }) => tag));
      expect(inventory.manifests.filter(({ digest, leasedUntil }) => doomed.has(digest) && leasedUntil > NOW)).toEqual([]);
      expect(inventory.tags.filter(({ tag, digest }) => doomed.has(digest) && !doomedTags.has(tag))).toEqual([]);
    });
  });

  test('a manifest whose last tag expires stays only if another manifest or a lease holds it', () => {
    always((plan, inventory) => {
      const doomed = gone(plan);
      const left = new Set(plan.left.map(({ digest }) => digest));
      const tagged = new Set(applied(inventory, plan).tags.map(({ digest }) => digest));
      const stays = plan.tags.filter(({ digest }) => !tagged.has(digest) && !doomed.has(digest) && !left.has(digest));
      const unheld = stays.filter(({ digest }) => (plan.graph.holders.get(digest) ?? []).every((holder) => doomed.has(holder)));
      expect(unheld).toEqual([]);
    });
  });

  test('each manifest expires once, and after all its holders', () => {
    always(({ levels, graph, manifests }) => {
      const level = new Map(levels.flatMap((digests, n) => digests.map((digest): [Digest, number] => [digest, n])));
      expect(level.size).toBe(levels.flat().length);
      expect([...level.keys()]).toEqual(manifests.map(({ digest }) => digest));
      for (const [digest, n] of level) {
        for (const holder of graph.holders.get(digest) ?? []) expect(level.get(holder)).toBeLessThan(n);
      }
    });
  });

  test('an immutable tag expires only by a rule that includes immutable tags', () => {
    fc.assert(
      fc.property(repositories, anything, mutabilities, (inventory, policy, mutability) => {
        for (const { tag, rule } of planFor(inventory, policy, mutability).tags) {
          const taking = policy.rules.find(({ rulePriority }) => rulePriority === rule.priority);
          expect(!isImmutable(mutability, tag) || taking?.action.includeImmutable).toBe(true);
        }
      }),
    );
  });

  test('rules that keep expire nothing, and more of them expire fewer tags', () => {
    fc.assert(
      fc.property(repositories, anything, (inventory, policy) => {
        const without = { rules: policy.rules.filter(({ action }) => action.type !== 'keep') };
        const all = new Set<string>(planFor(inventory, without).tags.map(({ tag }) => tag));
        expect(planFor(inventory, policy).tags.filter(({ tag }) => !all.has(tag))).toEqual([]);
        expect(planFor(inventory, { rules: policy.rules.filter(({ action }) => action.type === 'keep') }).tags).toEqual([]);
      }),
    );
  });

  test('the items that a rule expires do not depend on later rules', () => {
    fc.assert(
      fc.property(repositories, anything, (inventory, policy) => {
        const last = policy.rules.at(-1)?.rulePriority;
        const fewer = planFor(inventory, {
          rules: policy.rules
            .filter(({ action }) => action.type === 'keep')
            .concat(policy.rules.filter(({ action, rulePriority }) => action.type === 'expire' && rulePriority !== last)),
        });
        const tags = planFor(inventory, policy).tags.filter(({ rule }) => rule.priority !== last);
        expect(tags).toEqual(fewer.tags);
      }),
    );
  });

  test('a second run finds nothing, unless images are counted', () => {
    fc.assert(
      // A referrer was kept because its subject was used. Once the subject is gone, the referrer expires in the next run.
      fc.property(repositories.map(withoutSubjects), policies({ countsImages: false, lists: 1 }), (inventory, policy) => {
        const second = planFor(applied(inventory, planFor(inventory, policy)), policy);
        expect([second.tags, second.manifests]).toEqual([[], []]);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('slices', () => {
  test('contain the whole plan, each item once, with dependent items together', () => {
    always((plan) => {
      const slices = slicesOf(plan);
      expect(slices.flatMap(({ tags }) => tags.map(({ tag }) => tag)).sort()).toEqual(plan.tags.map(({ tag }) => tag).sort());
      expect(slices.flatMap(({ levels }) => levels.flat()).sort()).toEqual(plan.levels.flat().sort());
      const sliceOf = new Map(slices.flatMap(({ levels }, n) => levels.flat().map((digest): [Digest, number] => [digest, n])));
      for (const [digest, n] of sliceOf) {
        for (const holder of plan.graph.holders.get(digest) ?? []) expect(sliceOf.get(holder)).toBe(n);
      }
      slices.forEach(({ tags }, n) => {
        for (const { digest } of tags) expect(sliceOf.get(digest) ?? n).toBe(n);
      });
    });
  });

  test('list an index before the manifests that it lists', () => {
    always((plan) => {
      const order = slicesOf(plan).flatMap(({ levels }) => levels);
      const at = new Map(order.flatMap((digests, n) => digests.map((digest): [Digest, number] => [digest, n])));
      for (const [digest, n] of at) {
        for (const holder of plan.graph.holders.get(digest) ?? []) expect(at.get(holder)).toBeLessThan(n);
      }
    });
  });

  test('state which rules expire their items', () => {
    always((plan) => {
      for (const { tags, reason } of slicesOf(plan)) {
        for (const { rule } of tags) expect(reason).toMatch(new RegExp(`\\b${rule.priority}\\b`));
      }
    });
  });

  const all = policyOf({ selection: { tagStatus: 'any', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 1 } });

  test('are few if each item is small', () => {
    const images = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`m${n}`, { tags: [`t${n}`], pushed: 9 }]));
    const slices = slicesOf(planFor(stock(images), all));
    expect(slices.map(({ levels }) => levels.flat().length)).toEqual([200, 200, 200, 200, 200]);
  });

  test('are cut only if one item is too large, tags first', () => {
    const children = Array.from({ length: 450 }, (_, n) => `c${n}`);
    const chain = Array.from({ length: 25 }, (_, n) => [`r${n}`, { subject: n === 0 ? 'index' : `r${n - 1}` }]);
    const images = {
      index: { tags: ['v1'], pushed: 9, children },
      ...Object.fromEntries(children.map((name) => [name, {}])),
      ...Object.fromEntries(chain),
    };
    const plan = planFor(stock(images), all);
    const slices = slicesOf(plan);
    expect(slices.map(({ tags }) => tags.length)).toEqual([1, ...Array<number>(slices.length - 1).fill(0)]);
    expect(slices.flatMap(({ levels }) => levels.flat())).toHaveLength(plan.manifests.length);
    for (const { levels } of slices) {
      expect(levels.length).toBeLessThanOrEqual(LEVELS_MAX);
      expect(levels.flat().length).toBeLessThanOrEqual(SLICE_MANIFESTS_MAX);
    }
  });

  test('of an image with too many tags have only tags, until the last ones with the image', () => {
    const tags = Object.fromEntries(Array.from({ length: 2500 }, (_, n) => [`t${n}`, 9]));
    const slices = slicesOf(planFor(stock({ a: { tags, pushed: 9 }, b: { tags: ['x'], pushed: 9 } }), all));
    const sizes = slices.map((slice) => `${slice.tags.length} ${slice.levels.flat().length}`);
    expect(sizes).toEqual(['500 0', '1000 0', '1000 1', '1 1']);
    expect(new Set(slices.flatMap((slice) => slice.tags.map(({ tag }) => tag))).size).toBe(2501);
  });

  test('limit the number of tags as well', () => {
    const tags = Object.fromEntries(Array.from({ length: 2500 }, (_, n) => [`t${n}`, 9]));
    const slices = slicesOf(planFor(stock({ a: { tags: { ...tags, young: 0 } } }), all));
    expect(slices.map((slice) => slice.tags.length)).toEqual([SLICE_TAGS_MAX, SLICE_TAGS_MAX, 500]);
  });
});

describe('running time', () => {
  const nasty = ['*a*a*a*b', 'a*a*a*a*', '*a*a*a*c', '*aa*aa*ab*'];
  const rules = policyOf(
    ...Array.from({ length: 5 }, () => ({
      selection: {
        tagStatus: 'tagged' as const,
        tagPatternList: nasty,
        countType: 'imageCountMoreThan' as const,
        countNumber: 5,
      },
    })),
    { selection: { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 5 } },
  );

  test('grows with the tags, whatever the patterns are', { tags: 'slow' }, () => {
    const work = (size: number) => {
      const inventory = stock(
        Object.fromEntries(
          Array.from({ length: size }, (_, n) => [`m${n}`, { tags: [`${'a'.repeat(110)}${n}`], pushed: n % 30 }]),
        ),
      );
      return () => void planFor(inventory, rules);
    };
    expect(slowdown(work, 100, 10_000)).toBeLessThan(LINEAR);
  });

  test('of the longest policies takes for each tag no more searches than patterns have parts, and one check of each range', {
    tags: 'slow',
  }, () => {
    const a = (n: number) => 'a'.repeat(n);
    const pieces = (piece: (n: number) => string) => {
      let text = '';
      for (let n = 10; text.length + piece(n).length <= 200; n++) text += piece(n);
      return text.replace(/[| ]+$/, '');
    };
    const patterns: ((n: number) => string)[] = [
      (n) => `*a*a*a*${a(n)}`,
      (n) => `*a*a*a*${a(n)}b`,
      (n) => `*aa*${a(20 + n)}b*`,
      (n) => `*${a(30)}b${a(20 + n)}*`,
      (n) => `*${a(n)}aab*`,
      () => '*aaaaab*',
    ];
    const ranges = [(n: number) => `<${n}||`, (n: number) => `<${n} `, (n: number) => `~${n}||`];
    const names = [
      (n: number) => `${n}-${a(110)}`,
      (n: number) => `9999.9.${n}`,
      (n: number) => `0.0.0-${'a.'.repeat(50)}${n}`,
    ];
    const days = { countType: 'sinceImagePushed', countUnit: 'days', countNumber: 1 } as const;
    for (const pattern of patterns) {
      for (const name of names) {
        const inventory = stock(
          Object.fromEntries(Array.from({ length: TAGS_COUNTED }, (_, n) => [`m${n}`, { tags: [name(n)], pushed: n % 30 }])),
        );
        for (const range of ranges) {
          const policy = policyOf(
            ...Array.from({ length: 45 }, (_, rule) => ({
              selection: { ...tagged(...[1, 2].map((n) => pattern(rule + n))), ...(rule % 2 ? days : moreThan(5)) },
            })),
            ...Array.from({ length: 5 }, () => ({
              selection: { ...tagged('*', '*.*'), tagSemverRange: pieces(range), countNumber: 1 },
              action: KEEP,
            })),
          );
          expect(policyErrors(policy)).toEqual([]);
          const work = workOf(() => planFor(inventory, policy));
          const what = `${pattern(1)} ${name(1)} ${pieces(range)}`;
          // Each of the five ranges and each literal part of a pattern is checked once for each tag.
          const parts = policy.rules.flatMap(({ selection: { tagPatternList = [] } }) =>
            tagPatternList.flatMap((text) => text.split('*')),
          );
          expect(work.searches, what).toBeLessThanOrEqual(TAGS_COUNTED * (parts.length + OTHER_SEARCHES));
          expect(work.ranges, what).toBeLessThanOrEqual(TAGS_COUNTED * 5);
          expect(work.comparators, what).toBeLessThanOrEqual(work.ranges * pieces(range).length);
        }
      }
    }
  });

  test('visits each of 600 manifests once, if each lists all before it', () => {
    const names = Array.from({ length: 600 }, (_, n) => `m${n}`);
    const images = Object.fromEntries(names.map((name, n) => [name, { pushed: 9, children: names.slice(0, n) }]));
    const policy = policyOf({
      selection: { tagStatus: 'untagged', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 1 },
    });
    const plan = planFor(stock(images), policy);
    expect(plan.manifests).toHaveLength(600);
    expect(plan.levels[0]).toEqual([digestOf('m599')]);
  });
});
