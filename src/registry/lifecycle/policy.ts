/**
 * Lifecycle policies: ECR's grammar (Amazon ECR User Guide, "Lifecycle policy properties") without its storage classes, and
 * beside it rules that keep. What one field cannot say for itself is checked here.
 */
import { isTagPattern } from '../../oci/pattern.ts';
import { isTag } from '../../oci/reference.ts';
import { parseRange } from './versions.ts';

export const TAG_STATUSES = ['tagged', 'untagged', 'any'] as const;
export const COUNT_TYPES = ['imageCountMoreThan', 'sinceImagePushed', 'sinceImagePulled'] as const;
export const ACTION_TYPES = ['expire', 'keep'] as const;

export interface Selection {
  tagStatus: (typeof TAG_STATUSES)[number];
  /** Each with up to four `*`. */
  tagPatternList?: string[] | undefined;
  tagPrefixList?: string[] | undefined;
  /** Of rules that keep. */
  tagSemverRange?: string | undefined;
  countType?: (typeof COUNT_TYPES)[number] | undefined;
  countUnit?: 'days' | undefined;
  countNumber?: number | undefined;
}

export interface Rule {
  rulePriority: number;
  description?: string | undefined;
  selection: Selection;
  /** `includeImmutable`: it may take tags that are immutable. */
  action: { type: (typeof ACTION_TYPES)[number]; includeImmutable?: boolean | undefined };
}

export interface LifecyclePolicy {
  rules: Rule[];
}

/** ECR's limit. */
const WILDCARDS_MAX = 4;

/** Of all rules together, as each is looked for in every tag: with so many, thousands of tags are judged in under a second. */
export const PATTERNS_MAX = 100;
export const RANGES_MAX = 5;

/** What is wrong with a policy whose fields are of the right types, each with the index of its rule. */
export function complaintsAbout({ rules }: LifecyclePolicy): { at: number; message: string }[] {
  return rules.flatMap((rule, at) => {
    const found = [...ofTags(rule), ...ofCount(rule), ...ofAction(rule), ...ofOthers(rule, at, rules), ...ofAll(at, rules)];
    return found.map((message) => ({ at, message: `rule ${rule.rulePriority}: ${message}` }));
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
    ...(tagPatternList ?? []).filter((text) => !isTagPattern(text)).map((text) => `"${text}" is no pattern of tags`),
    ...(tagPatternList ?? []).filter(tooWild).map((text) => `"${text}" has more than ${WILDCARDS_MAX} "*"`),
    ...(tagPrefixList ?? []).filter((text) => !isTag(text)).map((text) => `no tag begins with "${text}"`),
    ...(tagSemverRange !== undefined && !parseRange(tagSemverRange) ? [`"${tagSemverRange}" is no range of versions`] : []),
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

/** A rule that keeps wins over the others wherever it stands: how many there are, and in which order, is for those that expire. */
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
    ...(ordered && overtaken ? ['the rule about "any" has the highest rulePriority of those that expire'] : []),
  ];
}

/** Said of the rule that is the first beyond the limit. */
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
    ...(passes(patterns, PATTERNS_MAX) ? [`all rules together may have up to ${PATTERNS_MAX} patterns and prefixes`] : []),
    ...(passes(ranges, RANGES_MAX) ? [`all rules together may have up to ${RANGES_MAX} of tagSemverRange`] : []),
  ];
}
