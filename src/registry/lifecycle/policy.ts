/**
 * Lifecycle policies. Their grammar is that of ECR (Amazon ECR User Guide, "Lifecycle policy properties"), without storage
 * classes and with additional rules that keep images. Version ranges are written as in npm (semver.org).
 */

import Range from 'semver/classes/range.js';
import type SemVer from 'semver/classes/semver.js';
import compare from 'semver/functions/compare.js';
import parse from 'semver/functions/parse.js';
import { isTagPattern } from '../../oci/pattern.ts';
import { isTag } from '../../oci/reference.ts';
import {
  type ACTION_TYPES,
  type COUNT_TYPES,
  RULE_DESCRIPTION_MAX,
  RULE_PATTERNS_MAX,
  RULES_MAX,
  TAG_LIST_MAX,
  type TAG_STATUSES,
  VERSION_RANGE_MAX,
  VERSION_RANGES_MAX,
} from '../../vocabulary/lifecycle.ts';
import { type FieldError, requireNoErrors } from '../../vocabulary/refusal.ts';

export interface Selection {
  tagStatus: (typeof TAG_STATUSES)[number];
  /** Patterns of tag names. Each may contain up to four `*`, which match any text. */
  tagPatternList?: string[] | undefined;
  tagPrefixList?: string[] | undefined;
  /** A range of versions. Allowed only in rules of the type `keep`. */
  tagSemverRange?: string | undefined;
  countType?: (typeof COUNT_TYPES)[number] | undefined;
  countUnit?: 'days' | undefined;
  countNumber?: number | undefined;
}

export interface Rule {
  rulePriority: number;
  description?: string | undefined;
  selection: Selection;
  /** `includeImmutable` is true if the rule may also delete immutable tags. */
  action: { type: (typeof ACTION_TYPES)[number]; includeImmutable?: boolean | undefined };
}

export interface LifecyclePolicy {
  rules: Rule[];
}

/** The maximum number of `*` in a pattern. ECR has the same limit. */
const WILDCARDS_MAX = 4;

/** Checks a policy. @throws request-invalid */
export function requireValidPolicy(policy: LifecyclePolicy): void {
  requireNoErrors(sizeErrors(policy));
  requireNoErrors(policyErrors(policy));
}

/**
 * Checks each field by itself. The caller may have validated the policy with a schema, but this function does not rely on it.
 */
function sizeErrors({ rules }: LifecyclePolicy): FieldError[] {
  if (rules.length === 0 || rules.length > RULES_MAX) return [{ at: 'rules', message: `must have 1 to ${RULES_MAX} rules` }];
  return rules.flatMap(
    ({ rulePriority, description = '', selection: { tagPatternList, tagPrefixList, countNumber = 1 } }, n) => {
      const entries = Math.max(tagPatternList?.length ?? 0, tagPrefixList?.length ?? 0);
      const isWhole = (number: number) => Number.isSafeInteger(number) && number >= 1;
      const found = [
        ...(isWhole(rulePriority) ? [] : ['rulePriority is a whole number from 1']),
        ...(isWhole(countNumber) ? [] : ['countNumber is a whole number from 1']),
        ...(description.length > RULE_DESCRIPTION_MAX ? [`description has up to ${RULE_DESCRIPTION_MAX} characters`] : []),
        ...(/\p{Cc}/u.test(description) ? ['description is one line of text'] : []),
        ...(entries > TAG_LIST_MAX ? [`a list of tags has up to ${TAG_LIST_MAX} entries`] : []),
      ];
      return found.map((message) => ({ at: `rules.${n}`, message }));
    },
  );
}

/** Checks the fields of each rule in combination, and the rules in combination. Each field must be valid by itself already. */
export function policyErrors({ rules }: LifecyclePolicy): FieldError[] {
  return rules.flatMap((rule, n) => {
    const found = [...ofTags(rule), ...ofCount(rule), ...ofAction(rule), ...ofOthers(rule, n, rules), ...ofAll(n, rules)];
    return found.map((message) => ({ at: `rules.${n}`, message: `rule ${rule.rulePriority}: ${message}` }));
  });
}

function ofTags({ selection, action }: Rule): string[] {
  const { tagStatus, tagPatternList, tagPrefixList, tagSemverRange } = selection;
  const lists = [tagPatternList, tagPrefixList].filter((list) => list !== undefined);
  if (tagStatus !== 'tagged') {
    return lists.length > 0 || tagSemverRange !== undefined
      ? [`tagPatternList, tagPrefixList and tagSemverRange are for "tagged", not for "${tagStatus}"`]
      : [];
  }
  const listless = action.type === 'keep' && tagSemverRange !== undefined && lists.length === 0;
  return [
    ...(listless || lists.length === 1 ? [] : ['"tagged" needs either tagPatternList or tagPrefixList']),
    ...(lists.some((list) => list.length === 0) ? ['a list of tags is empty'] : []),
    ...(tagPatternList ?? []).filter((text) => !isTagPattern(text)).map((text) => `"${text}" is not a valid tag pattern`),
    ...(tagPatternList ?? []).filter(tooWild).map((text) => `"${text}" has more than ${WILDCARDS_MAX} "*"`),
    ...(tagPrefixList ?? []).filter((text) => !isTag(text)).map((text) => `"${text}" cannot be the beginning of a tag`),
    ...(tagSemverRange !== undefined && !parseRange(tagSemverRange)
      ? [`"${tagSemverRange}" is not a valid range of versions`]
      : []),
  ];
}

function tooWild(text: string): boolean {
  return text.split('*').length - 1 > WILDCARDS_MAX;
}

function ofCount({ selection, action }: Rule): string[] {
  const { countType, countUnit, countNumber, tagSemverRange } = selection;
  if (countType === undefined) {
    if (action.type === 'expire') return ['a rule that expires needs countType'];
    const counted = tagSemverRange !== undefined;
    return [
      ...(countUnit !== undefined ? ['countUnit goes with countType'] : []),
      ...(countNumber !== undefined && !counted ? ['countNumber goes with countType or tagSemverRange'] : []),
    ];
  }
  const timed = countType !== 'imageCountMoreThan';
  return [
    ...(countNumber === undefined ? [`${countType} needs countNumber`] : []),
    ...(timed && countUnit === undefined ? [`${countType} needs countUnit "days"`] : []),
    ...(!timed && countUnit !== undefined ? ['imageCountMoreThan has no countUnit'] : []),
    ...(tagSemverRange !== undefined ? ['tagSemverRange goes without countType'] : []),
  ];
}

function ofAction({ selection, action }: Rule): string[] {
  if (action.type === 'expire') return selection.tagSemverRange === undefined ? [] : ['tagSemverRange is for rules that keep'];
  return action.includeImmutable === undefined ? [] : ['includeImmutable is for rules that expire'];
}

/**
 * Checks a rule against the other rules. Rules of the type `keep` take precedence over rules of the type `expire`, so the
 * restrictions on number and order apply only to `expire` rules.
 */
function ofOthers({ rulePriority, selection, action }: Rule, at: number, rules: Rule[]): string[] {
  const { tagStatus } = selection;
  const before = rules.slice(0, at);
  const repeated = before.some((other) => other.rulePriority === rulePriority);
  const expiring = (among: Rule[]) => among.filter((other) => other.action.type === 'expire');
  const second = tagStatus !== 'tagged' && expiring(before).some((other) => other.selection.tagStatus === tagStatus);
  const overtaken = tagStatus === 'any' && expiring(rules).some((other) => other.rulePriority > rulePriority);
  const ordered = action.type === 'expire';
  return [
    ...(repeated ? ['another rule has this rulePriority'] : []),
    ...(ordered && second ? [`only one rule that expires may be about "${tagStatus}"`] : []),
    ...(ordered && overtaken ? ['the rule about "any" must have the highest rulePriority of the rules that expire'] : []),
  ];
}

/** Checks the limits of the whole policy. The error is reported at the first rule that exceeds a limit. */
function ofAll(at: number, rules: Rule[]): string[] {
  const patterns = ({ selection: { tagPatternList = [], tagPrefixList = [] } }: Rule) =>
    tagPatternList.length + tagPrefixList.length;
  const ranges = ({ selection: { tagSemverRange } }: Rule) => (tagSemverRange === undefined ? 0 : 1);
  const passes = (count: (rule: Rule) => number, max: number) => {
    const before = rules.slice(0, at).reduce((sum, rule) => sum + count(rule), 0);
    const now = before + count(rules[at] as Rule);
    return before <= max && now > max;
  };
  return [
    ...(passes(patterns, RULE_PATTERNS_MAX)
      ? [`all rules together may have up to ${RULE_PATTERNS_MAX} patterns and prefixes`]
      : []),
    ...(passes(ranges, VERSION_RANGES_MAX)
      ? [`all rules together may have up to ${VERSION_RANGES_MAX} of tagSemverRange`]
      : []),
  ];
}

/** Parses a version range. Returns `null` if the text is not a version range. */
export function parseRange(text: string): Range | null {
  if (text.length > VERSION_RANGE_MAX) return null;
  try {
    return new Range(text);
  } catch {
    return null;
  }
}

/**
 * Returns the version that a tag name states, with or without a leading `v`, or `null`. A partial version such as `1.2` does
 * not count.
 */
export function versionOf(tag: string): SemVer | null {
  return parse(tag);
}

/** Compares two versions for a sort in descending order. */
export function descending(a: SemVer, b: SemVer): number {
  return compare(b, a);
}
