/** The validation of policies: the rules of ECR, and those of Berth. */
import { describe, expect, test } from 'vitest';
import { lifecyclePolicy } from '../../../src/contract/lifecycle.ts';
import { parseRange, policyErrors, versionOf } from '../../../src/registry/lifecycle/policy.ts';
import { type Brief, KEEP, moreThan, olderThan, policyOf, tagged, unpulledFor } from './stock.ts';

const complaints = (...rules: Brief[]) => policyErrors(policyOf(...rules)).map(({ message }) => message);
const expiring = (selection: object) => complaints({ selection: selection as Brief['selection'] });
const keeping = (selection: object) => complaints({ selection: selection as Brief['selection'], action: KEEP });

/** The errors of a document: those of the schema, or if there are none, those of the validation before it is saved. */
function said(document: unknown): string[] {
  const result = lifecyclePolicy.safeParse(document);
  if (result.success) return policyErrors(result.data).map(({ at, message }) => `${at}: ${message}`);
  return result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

const sent = (selection: object, action: object = { type: 'expire' }, more: object = {}) =>
  said({ rules: [{ rulePriority: 1, selection, action, ...more }] });

const UNTAGGED = { tagStatus: 'untagged' } as const;
const ANY = { tagStatus: 'any' } as const;
const PREFIX = { tagStatus: 'tagged', tagPrefixList: ['v'] } as const;

describe('a policy may contain', () => {
  test.each([
    { ...tagged('v*', '*a*b*c*'), ...olderThan(14) },
    { ...PREFIX, ...moreThan(10) },
    { ...UNTAGGED, ...unpulledFor(1) },
    { ...ANY, ...moreThan(1) },
  ])('a rule that expires: %j', (selection) => {
    expect(expiring(selection)).toEqual([]);
    expect(sent(selection)).toEqual([]);
    expect(keeping(selection)).toEqual([]);
  });

  test.each([
    tagged('v*'),
    PREFIX,
    UNTAGGED,
    ANY,
    { tagStatus: 'tagged', tagSemverRange: '^1.2 || >=2' },
    { ...tagged('v*'), tagSemverRange: '1.x', countNumber: 3 },
  ])('a rule that keeps: %j', (selection) => {
    expect(keeping(selection)).toEqual([]);
    expect(sent(selection, KEEP)).toEqual([]);
  });

  test('a rule that expires immutable tags', () => {
    expect(sent({ ...ANY, ...moreThan(1) }, { type: 'expire', includeImmutable: true })).toEqual([]);
  });
});

describe('the requirement on tags', () => {
  const ONE_LIST = ['rule 1: "tagged" needs either tagPatternList or tagPrefixList'];

  test('"tagged" has exactly one list', () => {
    expect(expiring({ tagStatus: 'tagged', ...olderThan(1) })).toEqual(ONE_LIST);
    expect(expiring({ ...tagged('v*'), tagPrefixList: ['v'], ...olderThan(1) })).toEqual(ONE_LIST);
    expect(keeping({ tagStatus: 'tagged' })).toEqual(ONE_LIST);
    expect(expiring({ ...tagged(), ...olderThan(1) })).toEqual(['rule 1: a list of tags is empty']);
  });

  test('"untagged" and "any" have none', () => {
    for (const tagStatus of ['untagged', 'any']) {
      const none = [`rule 1: tagPatternList, tagPrefixList and tagSemverRange are for "tagged", not for "${tagStatus}"`];
      expect(expiring({ ...tagged('v*'), tagStatus, ...olderThan(1) })).toEqual(none);
      expect(expiring({ ...PREFIX, tagStatus, ...olderThan(1) })).toEqual(none);
      expect(keeping({ tagStatus, tagSemverRange: '1.x' })).toEqual(none);
    }
  });

  test('a pattern has up to four "*", and otherwise characters of tags', () => {
    expect(expiring({ ...tagged('*a*b*c*'), ...olderThan(1) })).toEqual([]);
    expect(expiring({ ...tagged('*a*b*c*d*'), ...olderThan(1) })).toEqual(['rule 1: "*a*b*c*d*" has more than 4 "*"']);
    for (const text of ['', 'a b', 'a/b', '-a', 'a?', 'x'.repeat(129)]) {
      expect(expiring({ ...tagged(text), ...olderThan(1) })).toEqual([`rule 1: "${text}" is not a valid tag pattern`]);
    }
    expect(expiring({ tagStatus: 'tagged', tagPrefixList: ['v*'], ...olderThan(1) })).toEqual([
      'rule 1: "v*" cannot be the beginning of a tag',
    ]);
  });

  test('a version range is valid, short enough, and only in rules that keep', () => {
    expect(keeping({ tagStatus: 'tagged', tagSemverRange: 'newest' })).toEqual([
      'rule 1: "newest" is not a valid range of versions',
    ]);
    expect(keeping({ tagStatus: 'tagged', tagSemverRange: '1 || '.repeat(41) })).toHaveLength(1);
    expect(expiring({ ...tagged('v*'), tagSemverRange: '1.x', ...olderThan(1) })).toEqual([
      'rule 1: tagSemverRange goes without countType',
      'rule 1: tagSemverRange is for rules that keep',
    ]);
  });
});

describe('the count', () => {
  test('is required in a rule that expires', () => {
    expect(expiring(tagged('v*'))).toEqual(['rule 1: a rule that expires needs countType']);
    expect(expiring({ ...ANY, countType: 'imageCountMoreThan' })).toEqual(['rule 1: imageCountMoreThan needs countNumber']);
  });

  test('is in days for ages only', () => {
    for (const countType of ['sinceImagePushed', 'sinceImagePulled']) {
      expect(expiring({ ...ANY, countType, countNumber: 1 })).toEqual([`rule 1: ${countType} needs countUnit "days"`]);
    }
    expect(expiring({ ...ANY, ...moreThan(1), countUnit: 'days' })).toEqual(['rule 1: imageCountMoreThan has no countUnit']);
  });

  test('is absent in a rule that keeps by pattern', () => {
    expect(keeping({ ...ANY, countNumber: 1 })).toEqual(['rule 1: countNumber goes with countType or tagSemverRange']);
    expect(keeping({ ...ANY, countUnit: 'days' })).toEqual(['rule 1: countUnit goes with countType']);
  });

  test('is a positive integer', () => {
    for (const countNumber of [0, -1, 1.5, '1']) expect(sent({ ...ANY, ...moreThan(1), countNumber })).toHaveLength(1);
  });
});

describe('several rules', () => {
  const any = { selection: { ...ANY, ...moreThan(1) } };
  const untagged = { selection: { ...UNTAGGED, ...moreThan(1) } };
  const some = { selection: { ...tagged('v*'), ...moreThan(1) } };

  test('have distinct priorities', () => {
    expect(complaints({ ...some, rulePriority: 7 }, { ...some, rulePriority: 7 })).toEqual([
      'rule 7: another rule has this rulePriority',
    ]);
  });

  test('that expire include at most one about untagged images and one about any, which comes last', () => {
    expect(complaints(some, untagged, any)).toEqual([]);
    expect(complaints(untagged, untagged)).toEqual(['rule 2: only one rule that expires may be about "untagged"']);
    expect(complaints(any, any)).toEqual([
      'rule 1: the rule about "any" must have the highest rulePriority of the rules that expire',
      'rule 2: only one rule that expires may be about "any"',
    ]);
    expect(complaints({ ...any, rulePriority: 1 }, { ...some, rulePriority: 2 })).toHaveLength(1);
    expect(complaints({ ...any, rulePriority: 2 }, { ...some, rulePriority: 1 })).toEqual([]);
  });

  test('that keep may be anywhere', () => {
    const keep = { ...any, action: KEEP };
    expect(complaints(keep, some, { ...untagged, action: KEEP }, untagged, keep, any, keep)).toEqual([]);
  });

  test('have up to 100 patterns and prefixes together, and the error is at the first one above', () => {
    const names = (n: number) => Array.from({ length: n }, (_, at) => `v${at}`);
    const patterns = (n: number) => ({ selection: { ...tagged(...names(n)), ...moreThan(1) } });
    const prefixes = (n: number) => ({ selection: { ...PREFIX, tagPrefixList: names(n) }, action: KEEP });
    const over = 'all rules together may have up to 100 patterns and prefixes';
    expect(complaints(patterns(50), prefixes(30), patterns(20), untagged)).toEqual([]);
    expect(complaints(patterns(50), prefixes(30), patterns(21), patterns(1))).toEqual([`rule 3: ${over}`]);
    expect(complaints(patterns(101))).toEqual([`rule 1: ${over}`]);
  });

  test('have up to 5 version ranges together', () => {
    const range = { selection: { tagStatus: 'tagged', tagSemverRange: '>=1' } as const, action: KEEP };
    expect(complaints(range, range, some, range, range, range)).toEqual([]);
    expect(complaints(range, range, some, range, range, range, range, range)).toEqual([
      'rule 7: all rules together may have up to 5 of tagSemverRange',
    ]);
  });

  test('are 1 to 50', () => {
    const rules = (n: number) => policyOf(...Array.from({ length: n }, () => some));
    expect(said(rules(50))).toEqual([]);
    expect(said(rules(51))).toHaveLength(1);
    expect(said({ rules: [] })).toHaveLength(1);
  });
});

describe('an error message explains', () => {
  const selection = { ...ANY, ...moreThan(1) };
  const UNSUPPORTED = 'storage classes are not supported';

  test('storage classes', () => {
    expect(sent({ ...selection, storageClass: 'standard' })).toEqual([`rules.0.selection: ${UNSUPPORTED}`]);
    expect(sent(selection, { type: 'transition', targetStorageClass: 'archive' })).toContain(
      `rules.0.action.type: ${UNSUPPORTED}`,
    );
    expect(sent({ ...selection, countType: 'sinceImageTransitioned' })).toEqual([
      `rules.0.selection.countType: ${UNSUPPORTED}`,
    ]);
  });

  test('unknown fields', () => {
    for (const wrong of [
      { ...selection, tagStatus: 'all' },
      { ...selection, tagPattern: 'v*' },
      { ...selection, countType: 'x' },
    ]) {
      expect(sent(wrong)).toHaveLength(1);
      expect(sent(wrong)[0]).not.toContain(UNSUPPORTED);
    }
    expect(sent(selection, { type: 'delete' })).toHaveLength(1);
    expect(sent(selection, { type: 'expire', force: true })).toHaveLength(1);
    expect(sent(selection, KEEP, { priority: 1 })).toHaveLength(1);
    expect(said({ rules: [], version: 1 }).length).toBeGreaterThan(0);
  });

  test('fields of the other kind of rule', () => {
    expect(sent(selection, { type: 'keep', includeImmutable: true })).toEqual([
      'rules.0: rule 1: includeImmutable is for rules that expire',
    ]);
  });
});

test.each([
  ['v1.2.3', '1.2.3'],
  ['1.2.3', '1.2.3'],
  ['1.2.3-rc.1', undefined],
  ['1.2', undefined],
  ['v01.2.3', undefined],
  ['latest', undefined],
  ['release-1.2.3', undefined],
  ['9'.repeat(100), undefined],
])('as a version of ">=1", the tag %s is %s', (tag, version) => {
  const found = versionOf(tag);
  expect(found && parseRange('>=1')?.test(found) ? found.version : undefined).toBe(version);
});
