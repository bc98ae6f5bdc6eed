import fc from 'fast-check';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { algorithmOf, type Digest, digestOf, hexOf, isDigest, parseAlgorithm, parseDigest } from '../../src/oci/digest.ts';

const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));

describe('a digest', () => {
  test('of sha256 or sha512 is valid, and is split into its algorithm and hex', () => {
    const some = fc.oneof(fc.tuple(fc.constant('sha256'), hex(64)), fc.tuple(fc.constant('sha512'), hex(128)));
    fc.assert(
      fc.property(some, ([algorithm, digits]) => {
        const digest = parseDigest(`${algorithm}:${digits}`);
        expect([algorithmOf(digest), hexOf(digest)]).toEqual([algorithm, digits]);
      }),
    );
  });

  const a = 'a'.repeat(64);
  test.each([
    ['empty', ''],
    ['an algorithm alone', 'sha256:'],
    ['hex alone', a],
    ['too short', `sha256:${a.slice(1)}`],
    ['too long', `sha256:${a}a`],
    ['sha512 as long as sha256', `sha512:${a}`],
    ['sha256 as long as sha512', `sha256:${a}${a}`],
    ['in upper case', `sha256:${'A'.repeat(64)}`],
    ['of an algorithm in upper case', `SHA256:${a}`],
    ['not hex', `sha256:${'g'.repeat(64)}`],
    ['of an algorithm we do not have', `md5:${'a'.repeat(32)}`],
    ['of a registered algorithm we do not have', `blake3:${a}`],
    ['of a combined algorithm', `sha256+b64:${a}`],
    ['followed by a line break', `sha256:${a}\n`],
    ['after a space', ` sha256:${a}`],
    ['two of them', `sha256:${a},sha256:${a}`],
    ['of digits of another script', `sha256:${'٣'.repeat(64)}`],
    ['named as a property of every object', `__proto__:${a}`],
  ])('is refused when it is %s', (_, text) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ reason: 'digest-invalid' }));
  });

  test('that is missing is refused like an invalid one', () => {
    expect(() => parseDigest(undefined)).toThrow(expect.objectContaining({ reason: 'digest-invalid' }));
    expect(() => parseDigest(null)).toThrow(expect.objectContaining({ reason: 'digest-invalid' }));
  });

  test('is computed correctly', async () => {
    const bytes = new TextEncoder().encode('hello world');
    expect(await digestOf('sha256', bytes)).toBe('sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9');
    expect(await digestOf('sha256', new Uint8Array())).toBe(
      'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
    expect(await digestOf('sha512', bytes)).toBe(
      'sha512:309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f989dd35bc5ff499670da34255b45b0cfd830e81f605dcf7dc5542e93ae9cd76f',
    );
  });
});

test('text is a digest only after it was checked', () => {
  expectTypeOf<string>().not.toExtend<Digest>();
  expectTypeOf<`sha256:${string}`>().not.toExtend<Digest>();
  expectTypeOf(parseDigest).returns.toEqualTypeOf<Digest>();
  expectTypeOf(isDigest).guards.toEqualTypeOf<Digest>();
});

test('only sha256 and sha512 are algorithms', () => {
  expect(parseAlgorithm('sha512')).toBe('sha512');
  for (const text of ['', 'md5', 'SHA256', 'sha-256', '__proto__', 'constructor', 'toString']) {
    expect(() => parseAlgorithm(text)).toThrow(expect.objectContaining({ reason: 'digest-invalid' }));
  }
});
