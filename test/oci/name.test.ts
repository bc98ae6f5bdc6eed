import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isRepositoryName, NAME_MAX_LENGTH, parseRepositoryName } from '../../src/oci/name.ts';
import { LINEAR, slowdown } from '../world/complexity.ts';

/** The expression in distribution-spec, "Pulling manifests". */
const SPEC = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;

describe('a repository name', () => {
  test("is what the specification's expression matches, up to 255 characters", { tags: 'slow' }, () => {
    const matching = fc.stringMatching(SPEC);
    fc.assert(
      fc.property(matching, (text) => isRepositoryName(text) === text.length <= NAME_MAX_LENGTH),
      { numRuns: 10_000 },
    );
  });

  test("is nothing else: random letters and separators agree with the specification's expression", () => {
    const unit = fc.constantFrom('a', 'z', '0', '9', '.', '_', '-', '/', 'A', ' ', '%', 'é', '\n', '\0');
    const likely = fc.string({ unit: fc.constantFrom('a', '0', '.', '_', '-', '/'), maxLength: 12 });
    fc.assert(
      fc.property(fc.oneof(likely, fc.string({ unit, maxLength: 12 })), (text) => isRepositoryName(text) === SPEC.test(text)),
      { numRuns: 20_000 },
    );
  });

  test.each(['a', '0', 'a__b', 'a--b', 'a-----b', 'a.b/c', 'a/b/c/d/e/f', 'library/ubuntu', 'constructor', 'a_b.c-d__e'])(
    'may be %s',
    (text) => {
      expect(parseRepositoryName(text)).toBe(text);
    },
  );

  test.each([
    ['empty', ''],
    ['in upper case', 'Exp/A'],
    ['with three underscores', 'a___b'],
    ['beginning with a separator', '-a'],
    ['ending with a separator', 'a-'],
    ['with two points', 'a..b'],
    ['with two kinds of separator together', 'a.-b'],
    ['with a component that begins with a separator', 'a/_b'],
    ['with an empty component', 'a//b'],
    ['beginning with a slash', '/a'],
    ['ending with a slash', 'a/'],
    ['a way upwards', 'a/../b'],
    ['with a port', 'host:5000/a'],
    ['with a homoglyph', 'аcme'],
    ['with a letter that lower-cases into the grammar', 'K'],
    ['ending with a line break', 'a\n'],
    ['with a right-to-left override', 'a\u202eb'],
    ['with a NUL', 'a\0b'],
    ['with a prototype key', '__proto__'],
  ])('is not %s', (_, text) => {
    expect(() => parseRepositoryName(text)).toThrow(expect.objectContaining({ reason: 'repository-name-invalid' }));
  });

  test('has up to 255 characters', () => {
    expect(isRepositoryName('a'.repeat(255))).toBe(true);
    expect(isRepositoryName('a'.repeat(256))).toBe(false);
    expect(isRepositoryName(`${'a/'.repeat(127)}a`)).toBe(true);
    expect(isRepositoryName(`${'a/'.repeat(128)}a`)).toBe(false);
  });

  test('is checked in linear time, whatever it consists of', { tags: 'slow' }, () => {
    expect(isRepositoryName('a-'.repeat(150_000))).toBe(false);
    for (const unit of ['a-', 'a_', 'a--', 'a/', '-', 'a']) {
      const work = (size: number) => {
        const text = `${unit.repeat(size / unit.length)}!`;
        return () => void isRepositoryName(text);
      };
      expect(slowdown(work, 12, 192)).toBeLessThan(LINEAR);
    }
  });
});
