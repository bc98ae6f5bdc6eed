import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isRepositoryPattern, isTagPattern, matches, matchesOne, patternList } from '../../src/oci/pattern.ts';
import { isTag } from '../../src/oci/reference.ts';

describe('a pattern of repositories', () => {
  test.each(['*', 'acme/*', 'acme/api', 'acme/*-prod', '*/api', 'acme/*/cache/*', 'constructor', 'acme-*', 'a'.repeat(255)])(
    'may be %s',
    (text) => {
      expect(isRepositoryPattern(text)).toBe(true);
    },
  );

  test.each([
    ['nothing', ''],
    ['in upper case', 'Acme/*'],
    ['outside the grammar and without a star', 'acme/'],
    ['beginning with a slash, without a star', '/acme'],
    ['with a tag', 'acme/api:v1'],
    ['with a space', 'acme/ *'],
    ['with another wildcard', 'acme/?'],
    ['with a line break', 'acme/*\n'],
    ['with a NUL', 'acme/*\0'],
    ['with a homoglyph', 'аcme/*'],
    ['too long', `${'a'.repeat(255)}*`],
  ])('is not %s', (_, text) => {
    expect(isRepositoryPattern(text)).toBe(false);
  });

  test('may be every repository name, and matches that one only', () => {
    const component = /^[a-z0-9]{1,3}([._-][a-z0-9]{1,3}){0,2}$/;
    const repositories = fc.array(fc.stringMatching(component), { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
    fc.assert(
      fc.property(
        repositories,
        repositories,
        (one, other) => isRepositoryPattern(one) && matches(one, other) === (one === other),
      ),
    );
  });
});

describe('a pattern of tags', () => {
  test.each(['*', 'v*', 'v1.2.3', '*-rc*', 'Latest', '_x', 'constructor', 'a'.repeat(128)])('may be %s', (text) => {
    expect(isTagPattern(text)).toBe(true);
  });

  test.each([
    ['nothing', ''],
    ['with a slash', 'v/1'],
    ['with a colon', 'sha256:abc'],
    ['with a space', 'v *'],
    ['with a plus', 'v1+2'],
    ['with a line break', 'v*\n'],
    ['too long', 'a'.repeat(129)],
  ])('is not %s', (_, text) => {
    expect(isTagPattern(text)).toBe(false);
  });

  test('may be every tag', () => {
    fc.assert(fc.property(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/), (tag) => isTag(tag) && isTagPattern(tag)));
  });
});

describe('a pattern', () => {
  const unit = fc.constantFrom('a', 'b', '/', '.', '*', '\n');
  const patterns = fc.string({ unit: fc.constantFrom('a', 'a', 'b', '/', '.', '*', '*', '\n'), maxLength: 8 });
  const texts = fc.string({ unit, maxLength: 10 });

  /** A pattern as a regular expression. It is simple, but may take very long (backtracking). */
  function asExpression(pattern: string): RegExp {
    const parts = pattern
      .split('*')
      .map((part) => part.replaceAll(/[^a-z]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`));
    return new RegExp(`^${parts.join('[^]*')}$`);
  }

  test('matches what its expression matches, and nothing else', { tags: 'slow' }, () => {
    fc.assert(
      fc.property(patterns, texts, (pattern, text) => matches(pattern, text) === asExpression(pattern).test(text)),
      { numRuns: 50_000 },
    );
  });

  test('matches anything in the place of its stars', () => {
    fc.assert(
      fc.property(
        fc.array(texts, { minLength: 1, maxLength: 6 }),
        fc.array(texts, { minLength: 6, maxLength: 6 }),
        (parts, stars) => {
          const literal = parts.map((part) => part.replaceAll('*', 'a'));
          const text = literal.map((part, n) => (n === 0 ? part : `${stars[n]}${part}`)).join('');
          return matches(literal.join('*'), text);
        },
      ),
      { numRuns: 10_000 },
    );
  });

  test.each([
    ['acme/*', 'acme/api', true],
    ['acme/*', 'acme/deep/er/api', true],
    ['acme/*', 'acme/', true],
    ['acme/*', 'acme', false],
    ['acme/*', 'acme2/x', false],
    ['acme/*', 'acmex/api', false],
    ['acme/*', 'acme-x/api', false],
    ['acme/*', 'other/acme/api', false],
    ['acme*', 'acme2/x', true],
    ['*/api', 'api', false],
    ['*/api', 'a/b/api', true],
    ['aba*aba', 'aba', false],
    ['aba*aba', 'ababa', false],
    ['aba*aba', 'abaaba', true],
    ['a*b*b', 'ab', false],
    ['*', '', true],
    ['**', 'a', true],
    ['', '', true],
    ['', 'a', false],
    ['a.c', 'abc', false],
    ['[a-z]*', 'abc', false],
    ['a|b', 'a', false],
    ['^*$', 'a', false],
    ['v1.*', 'v1.2', true],
    ['v1.*', 'v102', false],
  ])('%j and %j: %s', (pattern, text, expected) => {
    expect(matches(pattern, text)).toBe(expected);
  });

  test('of the worst kind is matched without backtracking, which would take a lifetime', { tags: 'slow' }, () => {
    const text = 'a'.repeat(255);
    const worst = [
      `${'*a'.repeat(126)}b*`,
      `${'a*'.repeat(127)}b`,
      `*${'a*'.repeat(120)}b*a`,
      `*${'a'.repeat(252)}b*`,
      '*'.repeat(255),
    ];
    for (const pattern of worst) {
      const expected = !pattern.includes('b');
      for (let n = 0; n < 20_000; n++) if (matches(pattern, text) !== expected) expect.unreachable();
    }
  });
});

describe('a list of patterns', () => {
  const unit = fc.constantFrom('a', 'a', 'b', '/', '*', '*');
  const patterns = fc.array(fc.string({ unit, maxLength: 6 }), { maxLength: 12 });
  const texts = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 8 });

  test('matches what one of its patterns matches, and nothing else', { tags: 'slow' }, () => {
    fc.assert(
      fc.property(
        patterns,
        texts,
        (list, text) => patternList(list).matches(text) === list.some((pattern) => matches(pattern, text)),
      ),
      { numRuns: 20_000 },
    );
  });

  test('matches the same whether it is compiled or not', () => {
    fc.assert(
      fc.property(patterns, texts, (list, text) => matchesOne(list, text) === patternList(list).matches(text)),
      { numRuns: 2000 },
    );
  });

  test('is compiled once, however often it is used', () => {
    const list = Array.from({ length: 50 }, (_, n) => `v*${n}`);
    const first = patternList(list);
    for (let n = 0; n < 100; n++) expect(patternList(list)).toBe(first);
  });

  test('counts names and prefixes as look-ups, and every part of the other patterns', () => {
    const lookups = Array.from({ length: 500 }, (_, n) => [`name-${n}`, `${'p'.repeat(n % 3)}-${n}*`]).flat();
    expect(patternList(lookups).comparisons).toBeLessThan(20);
    const others = Array.from({ length: 500 }, (_, n) => `*${n}*a*b`);
    expect(patternList(others).comparisons).toBe(500 * 4);
  });
});
