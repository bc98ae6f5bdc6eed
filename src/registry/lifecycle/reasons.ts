/** Texts that tell users why a lifecycle rule selects an image for deletion. */
import type { Digest } from '../../oci/digest.ts';
import type { Rule, Selection } from './policy.ts';

/** The priority and description of a rule at the time when the rule selected the content. */
export interface RuleName {
  priority: number;
  description: string | null;
}

export interface Verdict {
  rule: RuleName;
  reason: string;
}

export function ruleNameOf({ rulePriority, description }: Rule): RuleName {
  return { priority: rulePriority, description: description ?? null };
}

export function tooOld(days: number, pushedAt: number): string {
  return `older than ${daysOf(days)}: pushed ${dayOf(pushedAt)}`;
}

export function unused(days: number, { used, pulled }: { used: number; pulled: boolean }): string {
  return `not pulled for ${daysOf(days)}: ${pulled ? 'last used' : 'never pulled, pushed'} ${dayOf(used)}`;
}

/** Returns a function that returns the reason for an image of a given rank. Rank 1 is the newest image. */
export function tooMany({ countNumber = 0, ...selection }: Selection): (nth: number) => string {
  const images = imagesOf(selection);
  return (nth) => `${ordinal(nth)} newest of ${images}, ${countNumber} ${countNumber === 1 ? 'is' : 'are'} kept`;
}

/**
 * Returns the reason for an image that is older than a threshold. Its rank is unknown, because only a page of the repository
 * was read.
 */
export function notAmongNewest({ countNumber = 0, ...selection }: Selection): string {
  return `not among the ${countNumber} newest of ${imagesOf(selection)}`;
}

export function losesTags(tags: string[]): string {
  const [first, ...others] = tags;
  if (others.length === 0) return `only held by the tag ${first}`;
  return others.length < 3
    ? `only held by the tags ${listed(tags)}`
    : `only held by the tag ${first} and ${others.length} more`;
}

export function losesHolder(holder: Digest, isSubject: boolean): string {
  return isSubject ? `refers to ${holder}, which is deleted` : `only held by the index ${holder}`;
}

export const WAS_DEFERRED = 'what held it was deleted before; it was kept then, because a client had been told that it exists';

/** Returns the reason that the event of a deletion contains: the rules that selected the content. */
export function ofRules(rules: RuleName[]): string {
  const [first] = rules;
  if (rules.length === 1 && first)
    return `lifecycle rule ${first.priority}${first.description ? `: ${first.description}` : ''}`;
  return `lifecycle rules ${listed(rules.map(({ priority }) => String(priority)))}`;
}

function imagesOf({ tagStatus, tagPatternList, tagPrefixList }: Selection): string {
  if (tagStatus === 'untagged') return 'the untagged images';
  if (tagPatternList) return `images that match ${firstOf(tagPatternList)}`;
  return tagPrefixList ? `images with tags that begin with ${firstOf(tagPrefixList)}` : 'all images';
}

/** Shortens a list of texts, because the reason is repeated for each image. */
function firstOf(texts: string[]): string {
  return texts.length <= 4 ? listed(texts) : listed([...texts.slice(0, 3), `${texts.length - 3} more`]);
}

/** Joins the texts, for example to `a, b and c`. */
function listed(texts: string[]): string {
  return texts.length < 2 ? texts.join('') : `${texts.slice(0, -1).join(', ')} and ${texts.at(-1)}`;
}

function daysOf(days: number): string {
  return days === 1 ? '1 day' : `${days} days`;
}

function dayOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

function ordinal(n: number): string {
  const ends = ['th', 'st', 'nd', 'rd'];
  const teen = n % 100 >= 11 && n % 100 <= 13;
  return `${n}${teen ? 'th' : (ends[n % 10] ?? 'th')}`;
}
