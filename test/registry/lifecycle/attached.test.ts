/** Signatures and attestations are not images: rules neither expire nor count them, and they are deleted with their image. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
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
const old: Brief = { selection: { ...ANY, ...olderThan(14) } };

/** A number as the 64 hexadecimal digits of a digest. */
const hex = (n: number) => n.toString(16).padStart(64, '0');
const tagOf = (n: number, suffix = '.sig') => `sha256-${hex(n)}${suffix}`;
const at = (n: number) => `@${hex(n)}`;

const plan = (images: Record<string, Image>, ...rules: Brief[]) => planFor(stock(images), policyOf(...rules));
const gone = (images: Record<string, Image>, ...rules: Brief[]) => {
  const { attached, ...rest } = plan(images, ...rules);
  return [...goes({ attached, ...rest }), ...attached.map(({ tag }) => tag)].sort();
};

describe.each(['.sig', '.att', '.sbom', ''])('a tag sha256-<hex>%s', (suffix) => {
  const images = (age: number): Record<string, Image> => ({
    [hex(1)]: { tags: { v1: age }, pushed: age },
    [hex(2)]: { tags: { [tagOf(1, suffix)]: 90 }, pushed: 90 },
  });

  test('stays with its image, however old it is, and is deleted with it, however young', () => {
    expect(gone(images(1), old)).toEqual([]);
    const young = { ...images(90), [hex(2)]: { tags: { [tagOf(1, suffix)]: 0 }, pushed: 0 } };
    expect(gone(young, old)).toEqual([at(1), at(2), tagOf(1, suffix), 'v1'].sort());
  });

  test('is neither selected nor counted: not by age, number, last pull or pattern', () => {
    const many = {
      ...images(3),
      [hex(3)]: { tags: { v2: 2 }, pushed: 2 },
      [hex(4)]: { tags: { [tagOf(3, suffix)]: 1 }, pushed: 1 },
    };
    for (const selection of [
      { ...ANY, ...moreThan(2) },
      { ...tagged('*'), ...moreThan(2) },
      { ...tagged('sha256-*'), ...olderThan(1) },
    ]) {
      expect(gone(many, { selection })).toEqual([]);
    }
    expect(gone(many, { selection: { ...ANY, ...moreThan(1) } })).toEqual([at(1), at(2), tagOf(1, suffix), 'v1'].sort());
    const pulled = { ...images(90), [hex(1)]: { tags: { v1: 90 }, pushed: 90, pulled: 1 } };
    expect(gone(pulled, { selection: { ...ANY, ...unpulledFor(30) } })).toEqual([]);
  });

  test('is not kept by a rule when its image expires', () => {
    for (const selection of [tagged('sha256-*'), { ...ANY, ...olderThan(100) }, { ...UNTAGGED, ...olderThan(100) }]) {
      const keep = { selection, action: KEEP };
      const young = { ...images(120), [hex(2)]: { tags: { [tagOf(1, suffix)]: 0 }, pushed: 0, pulled: 0 } };
      expect(gone(young, old, keep)).toEqual([at(1), at(2), tagOf(1, suffix), 'v1'].sort());
    }
  });

  test('may belong to an image without a tag, to a child of an index, or to a signature', () => {
    const tree = (age: number): Record<string, Image> => ({
      [hex(1)]: { tags: { v1: age }, pushed: age, children: [hex(2)] },
      [hex(2)]: { pushed: 90 },
      [hex(3)]: { tags: { [tagOf(2, suffix)]: 90 }, pushed: 90 },
      [hex(4)]: { tags: { [tagOf(3, suffix)]: 90 }, pushed: 90 },
      [hex(5)]: { pushed: age },
      [hex(6)]: { tags: { [tagOf(5, suffix)]: 90 }, pushed: 90 },
    });
    expect(gone(tree(1), old)).toEqual([]);
    expect(gone(tree(90), old)).toEqual(
      [...[1, 2, 3, 4, 5, 6].map(at), tagOf(2, suffix), tagOf(3, suffix), tagOf(5, suffix), 'v1'].sort(),
    );
  });

  test('is deleted even if it is immutable when its image expires, and its name is not reserved', () => {
    const mutability = { value: 'IMMUTABLE_WITH_EXCLUSION' as const, exclusions: ['v*'] };
    const { attached, manifests } = planFor(stock(images(90)), policyOf(old), mutability);
    expect([attached.map(({ tag }) => tag), manifests.length]).toEqual([[tagOf(1, suffix)], 2]);
    expect(attached[0]?.reason).toBe(`refers to ${digestOf(hex(1))}, which is deleted`);
  });
});

describe('a tag counts as ordinary', () => {
  test('if its subject is not here', () => {
    expect(gone({ [hex(2)]: { tags: { [tagOf(1)]: 90 }, pushed: 90 } }, old)).toEqual([at(2), tagOf(1)].sort());
  });

  test('if it names its own subject', () => {
    expect(gone({ [hex(1)]: { tags: { [tagOf(1, '')]: 90, v1: 1 }, pushed: 90 } }, old)).toEqual([tagOf(1, '')]);
  });

  test('if another tag attaches its manifest: that one is deleted with its subject, and this one keeps the manifest', () => {
    const images = { [hex(1)]: { tags: ['v1'], pushed: 90 }, [hex(2)]: { tags: { [tagOf(1)]: 90, audit: 1 }, pushed: 90 } };
    expect(gone(images, old)).toEqual([at(1), tagOf(1), 'v1'].sort());
  });

  test('in a cycle, which could never be deleted otherwise', () => {
    const images = { [hex(1)]: { tags: { [tagOf(2)]: 90 }, pushed: 90 }, [hex(2)]: { tags: { [tagOf(1)]: 90 }, pushed: 90 } };
    expect(gone(images, old)).toEqual([at(1), at(2), tagOf(1), tagOf(2)].sort());
    const parent = { [hex(1)]: { tags: { [tagOf(2)]: 90 }, pushed: 90, children: [hex(2)] }, [hex(2)]: { pushed: 90 } };
    expect(gone(parent, old)).toEqual([at(1), at(2), tagOf(2)].sort());
  });
});

test('a referrer is not kept by a rule when its subject expires', () => {
  const images = { a: { tags: ['v1'], pushed: 90 }, b: { pushed: 1, pulled: 0, subject: 'a' } };
  const keep = { selection: { ...ANY, ...olderThan(14) }, action: KEEP };
  expect(gone(images, old, keep)).toEqual(['@a', '@b', 'v1']);
});

test('in any repository, attached tags are deleted exactly with their subjects, and a manifest that stays keeps what is attached', () => {
  const repositories = fc
    .array(
      fc.record({
        tag: fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined }),
        attachedTo: fc.option(fc.nat(12), { nil: undefined }),
        pushed: fc.integer({ min: 0, max: 40 }),
        children: fc.uniqueArray(fc.nat(12), { maxLength: 3 }),
        subject: fc.option(fc.nat(12), { nil: undefined }),
      }),
      { maxLength: 12 },
    )
    .map((drawn) =>
      stock(
        Object.fromEntries(
          drawn.map(({ tag, attachedTo, pushed, children, subject }, n): [string, Image] => [
            hex(n),
            {
              tags: {
                ...(tag === undefined ? {} : { [`t${n}`]: tag }),
                ...(attachedTo === undefined || drawn.findIndex((one) => one.attachedTo === attachedTo) !== n
                  ? {}
                  : { [tagOf(attachedTo)]: pushed }),
              },
              pushed,
              children: children.filter((child) => child < n).map(hex),
              ...(subject === undefined || subject >= n ? {} : { subject: hex(subject) }),
            },
          ]),
        ),
      ),
    );
  fc.assert(
    fc.property(repositories, fc.integer({ min: 1, max: 30 }), (inventory, days) => {
      const made = planFor(inventory, policyOf({ selection: { ...ANY, ...olderThan(days) } }));
      const doomed = new Set(made.manifests.map(({ digest }) => digest));
      expect(made.attached.filter(({ subject }) => !doomed.has(subject))).toEqual([]);
      expect(new Set([...made.attached, ...made.tags].map(({ tag }) => tag)).size).toBe(
        made.attached.length + made.tags.length,
      );
      const left = applied(inventory, made);
      const there = new Set(left.manifests.map(({ digest }) => digest));
      expect(left.tags.filter(({ digest }) => !there.has(digest))).toEqual([]);
      const second = planFor(left, policyOf({ selection: { ...ANY, ...olderThan(days) } }));
      expect([second.tags, second.attached, second.manifests]).toEqual([[], [], []]);
    }),
    { numRuns: 1500 },
  );
});
