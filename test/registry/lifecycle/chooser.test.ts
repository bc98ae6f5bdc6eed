/** The chooser, which decides what a policy deletes: the examples of ECR's documentation, and the differences from ECR. */
import { describe, expect, test } from 'vitest';
import { planText } from '../../../src/registry/lifecycle/chooser.ts';
import {
  ago,
  applied,
  type Brief,
  digestOf,
  goes,
  type Image,
  KEEP,
  moreThan,
  olderThan,
  planFor,
  policyOf,
  stock,
  tagged,
  unpulledFor,
} from './stock.ts';

const ANY = { tagStatus: 'any' } as const;
const UNTAGGED = { tagStatus: 'untagged' } as const;

const taken = (images: Record<string, Image>, ...rules: Brief[]) => goes(planFor(stock(images), policyOf(...rules)));
const rule = (selection: Brief['selection']): Brief => ({ selection });

describe("the examples of ECR's documentation", () => {
  test('images with a tag that begins with prod, older than 14 days', () => {
    const images = {
      old: { tags: ['prod1'], pushed: 15 },
      young: { tags: ['prod2'], pushed: 14 },
      other: { tags: ['dev'], pushed: 90 },
    };
    expect(taken(images, rule({ ...tagged('prod*'), ...olderThan(14) }))).toEqual(['@old', 'prod1']);
    expect(taken(images, rule({ tagStatus: 'tagged', tagPrefixList: ['prod'], ...olderThan(14) }))).toEqual(['@old', 'prod1']);
  });

  test('only one untagged image is kept', () => {
    const images = { a: { pushed: 3 }, b: { pushed: 2 }, c: { pushed: 1 }, d: { tags: ['v1'], pushed: 9 } };
    expect(taken(images, rule({ ...UNTAGGED, ...moreThan(1) }))).toEqual(['@a', '@b']);
  });

  const betas = {
    a: { tags: ['beta-1', 'prod-1'], pushed: 10 },
    b: { tags: ['beta-2', 'prod-2'], pushed: 9 },
    c: { tags: ['beta-3'], pushed: 8 },
  };

  test('multiple rules, A: decided for each tag, so that beta-2 expires and its image stays as prod-2', () => {
    const rules = [rule({ ...tagged('prod*'), ...moreThan(1) }), rule({ ...tagged('beta*'), ...moreThan(1) })];
    expect(taken(betas, ...rules)).toEqual(['@a', 'beta-1', 'beta-2', 'prod-1']);
  });

  test('multiple rules, B: in the other order, the same tags expire', () => {
    const rules = [rule({ ...tagged('beta*'), ...moreThan(1) }), rule({ ...tagged('prod*'), ...moreThan(1) })];
    expect(taken(betas, ...rules)).toEqual(['@a', 'beta-1', 'beta-2', 'prod-1']);
  });

  test('multiple patterns in a rule, A: an image must match them all', () => {
    const images = {
      a: { tags: ['alpha-1'], pushed: 12 },
      b: { tags: ['beta-1'], pushed: 11 },
      c: { tags: ['alpha-2', 'beta-2'], pushed: 10 },
      d: { tags: ['alpha-3'], pushed: 4 },
      e: { tags: ['beta-3'], pushed: 3 },
      f: { tags: ['alpha-4', 'beta-4'], pushed: 2 },
    };
    expect(taken(images, rule({ ...tagged('alpha*', 'beta*'), ...olderThan(5) }))).toEqual(['@c', 'alpha-2', 'beta-2']);
  });

  test('multiple patterns in a rule, B: a further tag stays, and so does its image', () => {
    const images = {
      a: { tags: ['alpha-1', 'beta-1', 'gamma-1'], pushed: 10 },
      b: { tags: ['alpha-2', 'beta-2'], pushed: 9 },
      c: { tags: ['alpha-3', 'beta-3', 'gamma-2'], pushed: 8 },
    };
    const gone = taken(images, rule({ ...tagged('alpha*', 'beta*'), ...moreThan(1) }));
    expect(gone).toEqual(['@b', 'alpha-1', 'alpha-2', 'beta-1', 'beta-2']);
  });

  test('all images, A: the newest one is kept', () => {
    const images = {
      a: { tags: ['alpha-1'], pushed: 4 },
      b: { tags: ['beta-1'], pushed: 3 },
      c: { pushed: 2 },
      d: { tags: ['alpha-2'], pushed: 1 },
    };
    expect(taken(images, rule({ ...ANY, ...moreThan(1) }))).toEqual(['@a', '@b', '@c', 'alpha-1', 'beta-1']);
  });

  test('all images, B: all kinds of rules together', () => {
    const images = {
      a: { tags: ['alpha-1', 'beta-1'], pushed: 4 },
      b: { pushed: 3 },
      c: { tags: ['alpha-2'], pushed: 2 },
      d: { tags: ['git-hash'], pushed: 1.5 },
      e: { pushed: 1 },
    };
    const rules = [
      rule({ ...tagged('alpha*'), ...moreThan(1) }),
      rule({ ...UNTAGGED, ...olderThan(1) }),
      rule({ ...ANY, ...moreThan(1) }),
    ];
    expect(taken(images, ...rules)).toEqual(['@a', '@b', '@d', 'alpha-1', 'beta-1', 'git-hash']);
  });
});

describe('a kept tag', () => {
  test('keeps only itself: of one image, the old tag expires and the young one stays', () => {
    const images = { a: { tags: { old: 20, young: 1 }, pushed: 20 } };
    expect(taken(images, rule({ ...ANY, ...olderThan(14) }))).toEqual(['old']);
  });

  test('is as old as its last move, not as the image', () => {
    expect(taken({ a: { tags: { v1: 1 }, pushed: 100 } }, rule({ ...ANY, ...olderThan(14) }))).toEqual([]);
  });
});

describe('the order of rules', () => {
  const images = { a: { tags: ['v1'], pushed: 9 }, b: { tags: ['v2'], pushed: 8 }, c: { tags: ['x'], pushed: 7 } };

  test('images that the first matching rule keeps are safe from later rules', () => {
    const rules = [rule({ ...tagged('v*'), ...moreThan(9999) }), rule({ ...ANY, ...olderThan(1) })];
    expect(taken(images, ...rules)).toEqual(['@c', 'x']);
  });

  test('is that of priorities, not of the document', () => {
    const rules = [
      { rulePriority: 9, selection: { ...ANY, ...olderThan(1) } },
      { rulePriority: 2, selection: { ...tagged('v*'), ...moreThan(9999) } },
    ];
    expect(taken(images, ...rules)).toEqual(['@c', 'x']);
  });

  test('images that a rule expires are counted by later rules', () => {
    const rules = [rule({ ...tagged('x'), ...olderThan(1) }), rule({ ...ANY, ...moreThan(2) })];
    expect(taken(images, ...rules)).toEqual(['@a', '@c', 'v1', 'x']);
  });

  test('an expired tag names the rule', () => {
    const rules = [
      rule({ ...tagged('v1'), ...olderThan(1) }),
      { description: 'all', selection: { ...ANY, ...olderThan(7.5) } },
    ];
    const { tags } = planFor(stock(images), policyOf(...rules));
    expect(tags.map(({ tag, rule: by }) => [tag, by])).toEqual([
      ['v1', { priority: 1, description: null }],
      ['v2', { priority: 2, description: 'all' }],
    ]);
  });
});

describe('counting images', () => {
  test('two tags of one image count once, and the image is as young as the younger', () => {
    const [b, c] = [
      { tags: ['v3'], pushed: 2 },
      { tags: ['v4'], pushed: 3 },
    ];
    for (const tags of [
      { v1: 9, v2: 1 },
      { v1: 1, v2: 9 },
    ]) {
      expect(taken({ a: { tags, pushed: 9 }, b, c }, rule({ ...tagged('v*'), ...moreThan(2) }))).toEqual(['@c', 'v4']);
    }
  });

  test('of two of the same age, the digest decides', () => {
    const images = { b: { tags: ['v2'], pushed: 1 }, a: { tags: ['v1'], pushed: 1 } };
    expect(taken(images, rule({ ...ANY, ...moreThan(1) }))).toEqual(['@b', 'v2']);
  });
});

describe('the last pull', () => {
  const images = {
    pulled: { tags: ['a'], pushed: 100, pulled: 10 },
    stale: { tags: ['b'], pushed: 100, pulled: 40 },
    never: { tags: ['c'], pushed: 100 },
    fresh: { tags: ['d'], pushed: 3 },
    retagged: { tags: { e: 2 }, pushed: 100, pulled: 40 },
  };

  test('an image expires if it was not pulled for long, or never, for as long after its push', () => {
    expect(taken(images, rule({ ...ANY, ...unpulledFor(30) }))).toEqual(['@never', '@stale', 'b', 'c']);
  });

  test('a rule keeps what was pulled, whatever other rules say and whatever its priority', () => {
    const keep = { selection: { ...ANY, ...unpulledFor(30) }, action: KEEP };
    expect(taken(images, rule({ ...ANY, ...olderThan(1) }), keep)).toEqual(['@never', '@stale', 'b', 'c']);
  });

  test('a pull counts until the end of its day', () => {
    const late = { a: { tags: ['a'], pushed: 100, pulled: 30.4 } };
    expect(taken(late, rule({ ...ANY, ...unpulledFor(30) }))).toEqual([]);
  });
});

describe('the last use', () => {
  const old = rule({ ...ANY, ...unpulledFor(30) });
  /** An index of an index of an image, which has a signature and an SBOM. Only the manifest `used` was pulled or checked. */
  const multi = (used: string, use: Image): Record<string, Image> => {
    const images: Record<string, Image> = {
      index: { tags: ['v1', 'latest'], pushed: 100, children: ['nested', 'amd'] },
      nested: { pushed: 100, children: ['arm'] },
      arm: { pushed: 100 },
      amd: { pushed: 100 },
      signature: { tags: ['signed'], pushed: 100, subject: 'index' },
      sbom: { tags: ['listed'], pushed: 100, subject: 'signature' },
    };
    return { ...images, [used]: { ...images[used], ...use } };
  };

  test.each([
    ['index', { pulled: 1 }],
    ['nested', { pulled: 1 }],
    ['arm', { pulled: 1 }],
    ['amd', { pulled: 29 }],
    ['arm', { checked: 1 }],
    ['index', { checked: 29 }],
    ['arm', { pulled: 90, checked: 1 }],
    ['arm', { pulled: 1, checked: 90 }],
  ] as [string, Image][])('of %s is one of the index, its tags and what refers to it: %j', (used, use) => {
    expect(taken(multi(used, use), old)).toEqual([]);
  });

  test('keeps nothing if it is too long ago, wherever it was', () => {
    for (const used of ['index', 'nested', 'arm', 'amd']) {
      const everything = ['@amd', '@arm', '@index', '@nested', '@sbom', '@signature', 'latest', 'listed', 'signed', 'v1'];
      expect(taken(multi(used, { pulled: 40, checked: 40 }), old)).toEqual(everything);
    }
  });

  test('of a child is a use of each index that lists it, and of no other', () => {
    const images = {
      one: { tags: ['v1'], pushed: 100, children: ['shared'] },
      two: { tags: ['v2'], pushed: 100, children: ['shared', 'own'] },
      other: { tags: ['v3'], pushed: 100, children: ['own'] },
      shared: { pushed: 100, pulled: 1 },
      own: { pushed: 100 },
    };
    expect(taken(images, old)).toEqual(['@other', 'v3']);
  });

  test('of an index is not a use of a child with its own tag, and that of a signature not one of its image', () => {
    const images = {
      index: { tags: ['v1'], pushed: 100, pulled: 1, children: ['arm'] },
      arm: { tags: ['v1-arm'], pushed: 100 },
      image: { tags: ['v2'], pushed: 100 },
      signature: { pushed: 100, pulled: 1, subject: 'image' },
    };
    expect(taken(images, old)).toEqual(['@image', '@signature', 'v1-arm', 'v2']);
  });

  test('also counts for rules that keep', () => {
    const keep = { selection: { ...tagged('v*'), ...unpulledFor(30) }, action: KEEP };
    const gone = taken(multi('arm', { pulled: 1 }), rule({ ...ANY, ...olderThan(1) }), keep);
    expect(gone).toEqual(['latest', 'listed', 'signed']);
  });

  test('by a check (HEAD) is called a use in the reason, not a pull', () => {
    const images = { a: { tags: ['a'], pushed: 100, checked: 40.5 }, b: { tags: ['b'], pushed: 100.5 } };
    const { tags } = planFor(stock(images), policyOf(old));
    expect(tags.map(({ reason }) => reason)).toEqual([
      'not pulled for 30 days: last used 2026-09-05',
      'not pulled for 30 days: never pulled, pushed 2026-07-07',
    ]);
  });
});

describe('rules that keep', () => {
  const old = rule({ ...ANY, ...olderThan(1) });
  const kept = (images: Record<string, Image>, selection: Brief['selection']) =>
    taken(images, old, { selection, action: KEEP });

  test('by pattern alone', () => {
    expect(kept({ a: { tags: ['main', 'x'], pushed: 9 } }, tagged('main'))).toEqual(['x']);
  });

  test('images that were pushed lately, and the newest images', () => {
    const images = { a: { tags: ['a'], pushed: 4 }, b: { tags: ['b'], pushed: 5 }, c: { tags: ['c'], pushed: 6 } };
    expect(kept(images, { ...ANY, ...olderThan(5) })).toEqual(['@c', 'c']);
    expect(kept(images, { ...ANY, ...moreThan(1) })).toEqual(['@b', '@c', 'b', 'c']);
  });

  const versions = ['v1.1.9', '1.2.0', 'v1.10.0', 'v1.9.0', '2.0.0-rc.1', 'v2.0.0', 'v3.0.0', '1.2', 'latest'];
  const releases = Object.fromEntries(versions.map((tag, n) => [`i${n}`, { tags: [tag], pushed: 9 }]));
  const tagsGone = (names: string[]) => names.filter((name) => !name.startsWith('@'));

  test('versions of a range, as npm understands it', () => {
    const gone = kept(releases, { tagStatus: 'tagged', tagSemverRange: '^1.2 || >=2' });
    expect(tagsGone(gone)).toEqual(['1.2', '2.0.0-rc.1', 'latest', 'v1.1.9']);
  });

  test('the newest of a range, in the order of versions and not of time', () => {
    const gone = kept(releases, { tagStatus: 'tagged', tagSemverRange: '1.x', countNumber: 2 });
    expect(versions.filter((tag) => !gone.includes(tag))).toEqual(['v1.10.0', 'v1.9.0']);
  });

  test('a range and a pattern must both match; two tags of one version count once', () => {
    const images = { a: { tags: ['v1.0.0', '1.0.0'], pushed: 9 }, b: { tags: ['v0.9.0'], pushed: 9 } };
    expect(kept(images, { ...tagged('v*'), tagSemverRange: '*' })).toEqual(['1.0.0']);
    expect(tagsGone(kept(images, { tagStatus: 'tagged', tagSemverRange: '*', countNumber: 1 }))).toEqual(['v0.9.0']);
  });

  test('a child of an index is kept if it is pulled itself, and expires on its own later', () => {
    const images = {
      index: { tags: ['v1'], pushed: 9, children: ['arm', 'amd'] },
      arm: { pushed: 9, pulled: 0 },
      amd: { pushed: 9 },
    };
    expect(kept(images, { ...UNTAGGED, ...unpulledFor(5) })).toEqual(['@amd', '@index', 'v1']);
  });

  test('the newest untagged ones are counted without children of indexes', () => {
    const images = {
      index: { tags: ['v1'], pushed: 0, children: ['arm'] },
      arm: { pushed: 0 },
      a: { pushed: 5 },
      b: { pushed: 6 },
    };
    expect(kept(images, { ...UNTAGGED, ...moreThan(1) })).toEqual(['@b']);
  });
});

describe('never expired', () => {
  const everything = rule({ ...ANY, ...olderThan(1) });

  test('children of an index that stays, and referrers of a subject that stays', () => {
    const images = {
      index: { tags: { v1: 0 }, pushed: 9, children: ['arm'] },
      arm: { pushed: 9 },
      signature: { pushed: 9, subject: 'arm' },
      orphan: { pushed: 9, subject: 'nowhere' },
    };
    expect(taken(images, everything)).toEqual(['@orphan']);
    expect(taken(images, rule({ ...UNTAGGED, ...moreThan(1) }))).toEqual([]);
  });

  test('a manifest whose tag expires, while an index that stays lists it', () => {
    const images = { index: { tags: { v1: 0 }, children: ['arm'] }, arm: { tags: ['old'], pushed: 9 } };
    expect(taken(images, everything)).toEqual(['old']);
  });

  test('an untagged manifest with a lease, until that ends; the plan says so', () => {
    expect(taken({ a: { pushed: 9, leased: 1 } }, everything)).toEqual([]);
    const plan = planFor(stock({ a: { pushed: 9, leased: 1 }, b: { pushed: 0, leased: 1 } }), policyOf(everything));
    expect(plan.waiting).toEqual([{ digest: digestOf('a'), leasedUntil: ago(-1) }]);
    expect(taken({ a: { pushed: 9, leased: -1 } }, everything)).toEqual(['@a']);
  });

  test('immutable tags, unless the rule says so', () => {
    const images = { a: { tags: ['v1', 'dev'], pushed: 9 } };
    const mutability = { value: 'MUTABLE_WITH_EXCLUSION' as const, exclusions: ['v*'] };
    const including = { ...everything, action: { type: 'expire', includeImmutable: true } as const };
    expect(goes(planFor(stock(images), policyOf(everything), mutability))).toEqual(['dev']);
    const plan = planFor(stock(images), policyOf(including), mutability);
    expect(goes(plan)).toEqual(['@a', 'dev', 'v1']);
    expect(plan.tags.map(({ tag, immutable }) => [tag, immutable])).toEqual([
      ['v1', true],
      ['dev', false],
    ]);
  });

  test('an immutable tag is counted, and safe from rules after the first one it matches', () => {
    const images = { a: { tags: ['v1'], pushed: 1 }, b: { tags: ['v2'], pushed: 2 } };
    const mutability = { value: 'MUTABLE_WITH_EXCLUSION' as const, exclusions: ['v1'] };
    const later = { selection: { ...ANY, ...olderThan(0.5) }, action: { type: 'expire', includeImmutable: true } as const };
    const rules = policyOf(rule({ ...tagged('v*'), ...moreThan(1) }), later);
    expect(goes(planFor(stock(images), rules, mutability))).toEqual(['@b', 'v2']);
  });
});

describe('deleted with it', () => {
  const tags = rule({ ...tagged('*'), ...olderThan(1) });

  test('children that nothing else holds, and referrers of all of them, at any depth', () => {
    const images = {
      index: { tags: ['v1'], pushed: 9, children: ['arm', 'shared'] },
      other: { tags: { v2: 0 }, children: ['shared'] },
      arm: {},
      shared: {},
      sbom: { subject: 'arm' },
      signature: { subject: 'sbom' },
      'of-shared': { subject: 'shared' },
    };
    expect(taken(images, tags)).toEqual(['@arm', '@index', '@sbom', '@signature', 'v1']);
  });

  test('the reason is stated in words', () => {
    const images = {
      index: { tags: ['v1'], pushed: 14.5, children: ['arm'] },
      arm: {},
      signature: { subject: 'arm' },
      ...Object.fromEntries(Array.from({ length: 11 }, (_, n) => [`n${n}`, { tags: [`n-${n}`], pushed: n / 20 }])),
    };
    const rules = [rule({ ...tagged('v*'), ...olderThan(14) }), rule({ ...tagged('n-*'), ...moreThan(10) })];
    const plan = planFor(stock(images), policyOf(...rules));
    expect([...plan.tags, ...plan.manifests].map(({ reason }) => reason)).toEqual([
      'older than 14 days: pushed 2026-10-01',
      '11th newest of images that match n-*, 10 are kept',
      'only held by the tag v1',
      'only held by the tag n-10',
      'only held by the index sha256:index',
      'refers to sha256:arm, which is deleted',
    ]);
  });

  test('holders come before what they hold, and an index that lists one twice is visited once', () => {
    const images: Record<string, Image> = { i0: { tags: ['v1'], pushed: 9, children: ['a0', 'b0'] } };
    for (let n = 0; n < 30; n++) {
      images[`a${n}`] = { children: n < 29 ? [`a${n + 1}`, `b${n + 1}`] : [] };
      images[`b${n}`] = { children: n < 29 ? [`a${n + 1}`, `b${n + 1}`] : [] };
    }
    const { levels } = planFor(stock(images), policyOf(tags));
    expect(levels.map((level) => level.length)).toEqual([1, ...Array<number>(30).fill(2)]);
  });

  test('a chain of 20,000 referrers does not overflow the stack', () => {
    const images: Record<string, Image> = { r0: { tags: ['v1'], pushed: 9 } };
    for (let n = 1; n < 20_000; n++) images[`r${n}`] = { subject: `r${n - 1}` };
    expect(planFor(stock(images), policyOf(tags)).manifests).toHaveLength(20_000);
  });

  test('an index that refers to its own child stays with it, because neither can be deleted first', () => {
    const images = { index: { tags: ['v1'], pushed: 9, children: ['arm'], subject: 'arm' }, arm: { pushed: 9 } };
    expect(taken(images, rule({ ...ANY, ...olderThan(1) }))).toEqual(['v1']);
  });
});

describe('a leased manifest whose holder expires', () => {
  const images = { index: { tags: ['v1'], pushed: 9, children: ['arm'] }, arm: { pushed: 9, leased: 1 } };
  const rules = policyOf(rule({ ...tagged('*'), ...olderThan(1) }));

  test('stays, and expires with the first run after its lease, even without a rule about untagged ones', () => {
    const before = stock(images);
    const plan = planFor(before, rules);
    expect(goes(plan)).toEqual(['@index', 'v1']);
    expect(plan.left.map(({ digest, rule: by }) => [digest, by.priority])).toEqual([[digestOf('arm'), 1]]);

    const remaining = applied(before, plan);
    const waiting = planFor(remaining, rules);
    expect(goes(waiting)).toEqual([]);
    expect(waiting.left).toEqual(plan.left);

    const ended = { ...remaining, manifests: remaining.manifests.map((one) => ({ ...one, leasedUntil: ago(0.1) })) };
    const left = plan.left.map((one) => ({ ...one, leasedUntil: ago(0.1) }));
    expect(goes(planFor({ ...ended, left }, rules))).toEqual(['@arm']);
  });

  test('stays for good if somebody uses it again', () => {
    const before = stock(images);
    const remaining = applied(before, planFor(before, rules));
    const renewed = { ...remaining, manifests: remaining.manifests.map((one) => ({ ...one, leasedUntil: ago(0.1) })) };
    expect(goes(planFor(renewed, rules))).toEqual([]);
  });
});

test('a plan has the same text for the same list, and another text for another', () => {
  const rules = policyOf(rule({ ...ANY, ...olderThan(1) }));
  const [a, b] = [
    { tags: ['v1'], pushed: 9 },
    { tags: ['v2'], pushed: 8 },
  ];
  const text = (images: Record<string, Image>) => planText(planFor(stock(images), rules));
  expect(text({ a, b })).toBe(text({ b, a }));
  expect(text({ a, b })).not.toBe(text({ a }));
  expect(text({ a, b })).not.toBe(text({ a: b, b: a }));
});
