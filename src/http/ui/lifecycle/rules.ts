/** Converts lifecycle rules to words, to the fields of the form for simple rules, and to JSON. */
import type * as z from 'zod';
import { lifecyclePolicy } from '../../../contract/lifecycle.ts';
import { parse } from '../../../contract/valid.ts';
import { parseStrictJson } from '../../../oci/json.ts';
import { invalidInput } from '../../../vocabulary/refusal.ts';
import type { Form } from '../forms.ts';
import { countText } from '../parts/text.tsx';
import { wordsIn } from '../rights.tsx';

export type Policy = z.output<typeof lifecyclePolicy>;
export type Rule = Policy['rules'][number];

/** Returns a rule as a sentence, for example `Delete untagged images that were pushed more than 7 days ago`. */
export function ruleText({ selection, action }: Rule): string {
  const { tagStatus, tagPatternList, tagPrefixList, tagSemverRange } = selection;
  const conditions = [
    tagPatternList ? `matching ${tagPatternList.join(' and ')}` : '',
    tagPrefixList ? `that begin with ${tagPrefixList.join(' or ')}` : '',
    tagSemverRange ? `that are versions in ${tagSemverRange}` : '',
  ].filter(Boolean);
  const things = { untagged: 'untagged images', any: 'all tags and untagged images', tagged: 'tags' }[tagStatus];
  const what = [things, ...conditions].join(' ');
  const immutable = action.includeImmutable ? ', immutable tags too' : '';
  const sentence = action.type === 'keep' ? `Keep ${keptText(what, selection)}` : `Delete ${expiredText(what, selection)}`;
  return `${sentence}${immutable}`;
}

function expiredText(what: string, { countType, countNumber = 0 }: Rule['selection']): string {
  if (countType === 'imageCountMoreThan') return `${what}, except the newest ${countNumber}`;
  const days = countText(countNumber, 'day');
  return countType === 'sinceImagePulled'
    ? `${what} that nobody pulled for ${days}`
    : `${what} that were pushed more than ${days} ago`;
}

function keptText(what: string, { countType, countNumber, tagSemverRange }: Rule['selection']): string {
  if (countNumber === undefined) return what;
  if (tagSemverRange !== undefined) return `${what}, the highest ${countNumber}`;
  if (countType === 'imageCountMoreThan') return `the newest ${countNumber} of ${what}`;
  const days = countText(countNumber, 'day');
  return countType === 'sinceImagePulled'
    ? `${what} that somebody pulled within ${days}`
    : `${what} that were pushed within ${days}`;
}

/** The fields of the form for simple rules. An empty field means that there is no such rule. */
export interface Usual {
  untaggedDays: string;
  newest: string;
  patterns: string;
  patternDays: string;
  keep: string;
}

const NO_RULES: Usual = { untaggedDays: '', newest: '', patterns: '', patternDays: '', keep: '' };

/** Returns the rules that the form for simple rules describes. @throws request-invalid if there is none */
function rulesOf(fields: Usual): Policy {
  const patterns = wordsIn(fields.patterns);
  const keep = wordsIn(fields.keep);
  const days = (count: string) => ({ countType: 'sinceImagePushed', countUnit: 'days', countNumber: numberIn(count) }) as const;
  const each = (list: string[], rest: Partial<Rule['selection']>, type: Rule['action']['type']) =>
    list.map((pattern) => ({
      selection: { tagStatus: 'tagged' as const, tagPatternList: [pattern], ...rest },
      action: { type },
    }));
  const expire = { type: 'expire' } as const;
  const rules = [
    ...each(keep, {}, 'keep'),
    ...each(patterns, days(fields.patternDays), 'expire'),
    ...(fields.untaggedDays === ''
      ? []
      : [{ selection: { tagStatus: 'untagged' as const, ...days(fields.untaggedDays) }, action: expire }]),
    ...(fields.newest === ''
      ? []
      : each(['*'], { countType: 'imageCountMoreThan', countNumber: numberIn(fields.newest) }, 'expire')),
  ];
  if (rules.length === 0) {
    throw invalidInput({ at: 'untaggedDays', message: 'fill in at least one rule, or delete the rules: nothing was changed' });
  }
  return { rules: rules.map((rule, n) => ({ rulePriority: n + 1, ...rule })) };
}

function numberIn(text: string): number {
  return /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
}

/** Returns the fields that describe these rules, or `null` if the form cannot express them. */
export function usualOf(policy: Policy | null): Usual | null {
  if (policy === null) return NO_RULES;
  const fields = { ...NO_RULES };
  for (const rule of policy.rules) Object.assign(fields, fieldsOf(rule, fields));
  const isSame = JSON.stringify(essence(rulesOrNull(fields))) === JSON.stringify(essence(policy));
  return isSame ? fields : null;
}

function rulesOrNull(fields: Usual): Policy | null {
  try {
    return rulesOf(fields);
  } catch {
    return null;
  }
}

/** Returns the parts of the rules that matter for a comparison. Priorities matter only by their order. */
function essence(policy: Policy | null): unknown {
  return policy?.rules.map(({ selection, action, description = '' }) => [
    description,
    action.type,
    action.includeImmutable ?? false,
    ...(['tagStatus', 'tagPatternList', 'tagPrefixList', 'tagSemverRange', 'countType', 'countNumber'] as const).map(
      (field) => selection[field] ?? null,
    ),
  ]);
}

function fieldsOf({ selection, action }: Rule, before: Usual): Partial<Usual> {
  const { tagStatus, tagPatternList: [pattern = ''] = [], countType, countNumber = '' } = selection;
  if (action.type === 'keep') return { keep: `${before.keep} ${pattern}`.trim() };
  if (tagStatus === 'untagged') return { untaggedDays: String(countNumber) };
  if (countType === 'imageCountMoreThan') return { newest: String(countNumber) };
  return { patterns: `${before.patterns} ${pattern}`.trim(), patternDays: String(countNumber) };
}

/** Returns the rules in a form: those of the fields, or those of the JSON editor. @throws request-invalid */
export function policyIn(form: Form): Policy {
  if (form.has('json')) return policyOfJson(form.raw('json'));
  const field = (name: keyof Usual) => form.text(name);
  const fields = {
    untaggedDays: field('untaggedDays'),
    newest: field('newest'),
    patterns: field('patterns'),
    patternDays: field('patternDays'),
    keep: field('keep'),
  };
  for (const name of ['untaggedDays', 'newest', 'patternDays'] as const) {
    const isWanted = fields[name] !== '' || (name === 'patternDays' && fields.patterns !== '');
    if (isWanted && !(numberIn(fields[name]) >= 1)) throw invalidInput({ at: name, message: 'must be a whole number from 1' });
  }
  return parse(lifecyclePolicy, rulesOf(fields));
}

function policyOfJson(text: string): Policy {
  let value: unknown;
  try {
    value = parseStrictJson(new TextEncoder().encode(text)).value;
  } catch (error) {
    throw invalidInput({ at: 'json', message: `is not valid JSON: ${(error as Error).message}. Nothing was changed` });
  }
  return parse(lifecyclePolicy, value);
}
