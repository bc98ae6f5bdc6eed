/** Parsing the headers of a conditional put (RFC 9110, sections 5.6.1, 8.8.3 and 13.1). */
import { describe, expect, test } from 'vitest';
import { parseCondition } from '../../src/oci/condition.ts';
import { Refusal } from '../../src/vocabulary/refusal.ts';
import { LINEAR, slowdown } from '../world/complexity.ts';

const A = `sha256:${'a'.repeat(64)}`;
const B = `sha512:${'b'.repeat(128)}`;

const match = (text: string) => parseCondition(text, undefined)?.match;
const noneMatch = (text: string) => parseCondition(undefined, text)?.noneMatch;

test('without either header there is no condition', () => {
  expect(parseCondition(undefined, undefined)).toBeNull();
});

test('each header is a condition, and both together must hold', () => {
  expect(parseCondition(`"${A}"`, undefined)).toEqual({ match: [A], noneMatch: null });
  expect(parseCondition(undefined, '*')).toEqual({ match: null, noneMatch: '*' });
  expect(parseCondition('*', `"${B}"`)).toEqual({ match: '*', noneMatch: [B] });
});

describe('the value of a header', () => {
  test.each([
    [`"${A}"`, [A]],
    [`  "${A}"\t`, [A]],
    [`"${A}","${B}"`, [A, B]],
    [`"${A}" ,  "${B}"`, [A, B]],
    ['*', '*'],
    [' * ', '*'],
    ['""', ['']],
    ['"a\\b"', ['a\\b']],
    ['"a,b"', ['a,b']],
    ['"*"', ['*']],
    ['"\xe9"', ['\xe9']],
  ])('%j', (text, named) => {
    expect(match(text)).toEqual(named);
    expect(noneMatch(text)).toEqual(named);
  });

  test('may have empty elements, like HTTP lists (5.6.1.2)', () => {
    expect(match(`, "${A}",, "${B}" ,`)).toEqual([A, B]);
  });

  test('with a weak tag never matches strongly, and can match weakly (8.8.3.2)', () => {
    expect(match(`W/"${A}"`)).toEqual([]);
    expect(match(`W/"${A}", "${B}"`)).toEqual([B]);
    expect(noneMatch(`W/"${A}", "${B}"`)).toEqual([A, B]);
  });

  test('has at most 100 elements', () => {
    const list = (count: number) => Array.from({ length: count }, (_, n) => `"${n}"`).join(',');
    expect(match(list(100))).toHaveLength(100);
    expect(() => match(list(101))).toThrow(Refusal);
  });
});

describe('an invalid header is refused, and never means no condition', () => {
  test.each([
    '',
    ' ',
    ',',
    A,
    `"${A}`,
    `${A}"`,
    `'${A}'`,
    `"${A}" "${B}"`,
    `"${A}";"${B}"`,
    `"${A}", ${B}`,
    '*, "a"',
    '"a", *',
    '**',
    'w/"a"',
    'W/',
    'W/ "a"',
    'W/*',
    '"a b"',
    '"a\x7f"',
    '"a\x00"',
    '"\u0416"',
    '"a\n"',
    'null',
  ])('%j', (text) => {
    const bad = { reason: 'parameter-invalid' };
    expect(() => match(text)).toThrow(expect.objectContaining(bad));
    expect(() => noneMatch(text)).toThrow(expect.objectContaining(bad));
  });

  test.each<[string, (size: number) => string]>([
    ['a list', (size) => `${'"a", '.repeat(size)}"`],
    ['blanks in a tag', (size) => `"${' '.repeat(size)}`],
    ['blanks', (size) => `${' '.repeat(size)}x`],
    ['commas', (size) => `${','.repeat(size)}x`],
  ])('in time that grows with its length only: %s', { tags: 'slow' }, (_, text) => {
    const workOf = (size: number) => {
      const header = text(size);
      return () => expect(() => match(header)).toThrow(Refusal);
    };
    expect(slowdown(workOf, 1000, 64_000)).toBeLessThan(LINEAR);
  });
});
