import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isTag, parseReference, parseReferenceToRead, parseTag } from '../../src/oci/reference.ts';

/** The expression in distribution-spec, "Pulling manifests". */
const SPEC = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const digest = `sha256:${'a'.repeat(64)}`;

describe('a tag', () => {
  test("is what the specification's expression matches", () => {
    const unit = fc.constantFrom('a', 'Z', '0', '_', '.', '-', '/', ':', ' ', '%', 'é', '\n', '\0');
    fc.assert(
      fc.property(
        fc.oneof(fc.stringMatching(SPEC), fc.string({ unit, maxLength: 6 }), fc.string({ unit: 'binary' })),
        (text) => isTag(text) === SPEC.test(text),
      ),
      { numRuns: 10_000 },
    );
  });

  test('has up to 128 characters', () => {
    expect(isTag('t'.repeat(128))).toBe(true);
    expect(isTag('t'.repeat(129))).toBe(false);
    expect(isTag('t'.repeat(1_000_000))).toBe(false);
  });

  test.each([
    'latest',
    'v1.0',
    '_',
    '1',
    'A-b.C_d',
    `sha256-${'a'.repeat(64)}`,
    'sha256-zz.sig',
    'x.sbom',
    '__proto__',
    'toString',
  ])('may be %s', (text) => {
    expect(parseReference(text)).toEqual({ tag: text });
    expect(parseReferenceToRead(text)).toEqual({ tag: text });
  });

  test.each(['', '.x', '-x', 'a b', 'a+b', 'a/b', '..', 'é', 'a\n', 't'.repeat(129)])(
    'that is invalid (%j) cannot be set, and is not found',
    (text) => {
      expect(() => parseReference(text)).toThrow(expect.objectContaining({ reason: 'tag-invalid' }));
      expect(() => parseTag(text)).toThrow(expect.objectContaining({ reason: 'tag-invalid' }));
      expect(() => parseReferenceToRead(text)).toThrow(expect.objectContaining({ reason: 'manifest-unknown' }));
    },
  );
});

describe('a reference with a colon', () => {
  test('is a digest', () => {
    expect(parseReference(digest)).toEqual({ digest });
    expect(parseReferenceToRead(digest)).toEqual({ digest });
  });

  test.each(['sha256:short', 'a:b', ':', 'latest:', `sha256:${'A'.repeat(64)}`, `${digest}a`])(
    'is refused as a digest if it is not one: %s',
    (text) => {
      expect(() => parseReference(text)).toThrow(expect.objectContaining({ reason: 'digest-invalid' }));
      expect(() => parseReferenceToRead(text)).toThrow(expect.objectContaining({ reason: 'digest-invalid' }));
    },
  );

  test('is not a tag, not even if it is a valid digest', () => {
    expect(() => parseTag(digest)).toThrow(expect.objectContaining({ reason: 'tag-invalid' }));
  });
});
