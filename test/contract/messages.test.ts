/** The messages about wrong fields. */
import { expect, test } from 'vitest';
import { quota } from '../../src/contract/answers/usage.ts';
import { keyRotation, newKey } from '../../src/contract/keys.ts';
import { lifecyclePolicy } from '../../src/contract/lifecycle.ts';
import { nearest } from '../../src/contract/messages.ts';
import { PAGE_QUERY } from '../../src/contract/pages.ts';
import { explainQuery, identityPolicy } from '../../src/contract/policies.ts';
import { repositoryChange } from '../../src/contract/repositories.ts';
import { parse } from '../../src/contract/valid.ts';
import { newWebhook } from '../../src/contract/webhooks.ts';

type Schema = Parameters<typeof parse>[0];

function refusal(schema: Schema, value: unknown, place = 'body'): string {
  try {
    parse(schema, value, place);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was not refused');
}

const WIDE = { maxBytes: null, warnPercent: 101 };
const statement = { actions: ['push'], repositories: ['acme/*'] };
const rule = { rulePriority: 1, selection: { tagStatus: 'any' }, action: { type: 'expire' } };

test.each<[string, Schema, unknown, string]>([
  [
    'the nearest field',
    repositoryChange,
    { visability: 'public' },
    'body: there is no field visability: did you mean visibility?',
  ],
  [
    'the nearest field of an object inside, before what is missing because of it',
    identityPolicy,
    { statements: [{ actions: ['push'], repositores: ['acme/*'] }] },
    'body.statements.0: there is no field repositores: did you mean repositories?',
  ],
  [
    'all fields, where none is near',
    newKey,
    { name: 'x', narrow: true, for: 'ever' },
    'body: there is no field narrow, for. There are: name, statements, days',
  ],
  [
    'all words, and the nearest',
    repositoryChange,
    { visibility: 'pubic' },
    'body.visibility: did you mean public? It must be one of private, public',
  ],
  [
    'words that differ in their case only',
    lifecyclePolicy,
    { rules: [{ ...rule, selection: { tagStatus: 'ANY' } }] },
    'body.rules.0.selection.tagStatus: did you mean any? It must be one of tagged, untagged, any',
  ],
  [
    'both kinds of values that a field may have',
    identityPolicy,
    { statements: [{ ...statement, actions: 5 }] },
    'body.statements.0.actions: must be a list of pull, push, retag, delete, admin, create, ' +
      'or must be one of pull only, push and pull, all actions',
  ],
  [
    'the wrong item of a list, rather than that it is a list',
    identityPolicy,
    { statements: [{ ...statement, actions: ['psh'] }] },
    'body.statements.0.actions.0: did you mean push? It must be one of pull, push, retag, delete, admin, create',
  ],
  ['a missing field', newWebhook, {}, 'body.url: is missing, and must be a string'],
  ['a field of another type', newKey, { name: 5 }, 'body.name: must be a string'],
  ['an empty field', newKey, { name: '' }, 'body.name: must not be empty'],
  ['a field that is too long', newKey, { name: 'x'.repeat(101) }, 'body.name: must have up to 100 characters'],
  [
    'the words of a list, and the list that was probably meant',
    identityPolicy,
    { statements: [{ ...statement, actions: 'push' }] },
    'body.statements.0.actions: did you mean ["push"]? It must be a list of pull, push, retag, delete, admin, create, ' +
      'or must be one of pull only, push and pull, all actions',
  ],
  [
    'the list that a text was probably meant to be',
    identityPolicy,
    { statements: [{ ...statement, repositories: 'acme/*' }] },
    'body.statements.0.repositories: must be a list, such as ["acme/*"]',
  ],
  [
    'the range and the default of a number that is too small',
    keyRotation,
    { overlap: -1 },
    'body.overlap: must be a whole number from 0 to 604800. Without it: 86400',
  ],
  ['the range of a number that is too large', quota, WIDE, 'body.warnPercent: must be a whole number from 1 to 100'],
  [
    'the range of a text in place of a number',
    quota,
    { ...WIDE, warnPercent: '80' },
    'body.warnPercent: must be a whole number from 1 to 100',
  ],
  [
    'the range of a missing number, which may be null',
    quota,
    { warnPercent: 80 },
    'body.maxBytes: is missing, and must be a whole number, at least 0, or null',
  ],
  [
    'the range of a number in a list',
    lifecyclePolicy,
    { rules: [{ ...rule, rulePriority: 0 }] },
    'body.rules.0.rulePriority: must be a whole number, at least 1',
  ],
  ['a number with a fraction', newKey, { name: 'x', days: 1.5 }, 'body.days: must be a whole number'],
])('the message names %s', (_, schema, value, message) => {
  expect(refusal(schema, value)).toBe(message);
});

test('unknown query parameters are called parameters', () => {
  const query = { principl: 'user:alice', action: 'push', repository: 'acme/api' };
  expect(refusal(explainQuery, query, 'query')).toBe('query: there is no parameter principl: did you mean principal?');
});

test('a parameter that is no number has its range and default', () => {
  expect(refusal(explainQuery.extend({ n: PAGE_QUERY.n }), { action: 'push', repository: 'acme/api', n: 'x' }, 'query')).toBe(
    'query.n: must be a whole number from 1 to 1000. Without it: 100',
  );
});

test('many long unknown names are cut', () => {
  const many = Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`${'x'.repeat(1000)}${n}`, 1]));
  expect(refusal(newKey, { name: 'x', ...many }).length).toBeLessThan(500);
});

test.each([
  ['swapped letters', 'psuh', 'push'],
  ['a letter too few', 'delet', 'delete'],
  ['a part', 'mutability', 'imageTagMutability'],
  ['nothing near', 'archive', null],
  ['nothing near a short word', 'xy', null],
])('a name with %s', (_, sent, meant) => {
  expect(nearest(sent, ['pull', 'push', 'delete', 'imageTagMutability', 'n'])).toBe(meant);
});
