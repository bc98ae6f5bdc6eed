/** Tags that attach a manifest to another by their name, and tags that do not. */
import { describe, expect, test } from 'vitest';
import { attachedTo, beginningOf, tagsAttachableTo } from '../../src/oci/attachment.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { isTag } from '../../src/oci/reference.ts';

const HEX = '0123456789abcdef'.repeat(4);
const SHORT = parseDigest(`sha256:${HEX}`);
const LONG = parseDigest(`sha512:${HEX}${'f'.repeat(64)}`);

test.each(['', '.sig', '.att', '.sbom'])('sha256-<hex>%s belongs to its digest', (suffix) => {
  expect(attachedTo(`sha256-${HEX}${suffix}`)).toBe(SHORT);
});

test('sha512 digests are cut to 64 digits, because a tag has no room for more', () => {
  expect(attachedTo(`sha512-${HEX}.sig`)).toBe(beginningOf(LONG));
  expect(beginningOf(LONG)).toBe(`sha512:${HEX}`);
});

test.each([SHORT, LONG])('the tags that may be attached to %s are tags, and belong to it', (digest) => {
  const tags = tagsAttachableTo(digest);
  expect(tags).toHaveLength(4);
  expect(tags.filter((tag) => !isTag(tag) || attachedTo(tag) !== beginningOf(digest))).toEqual([]);
});

describe('an ordinary tag', () => {
  test.each([
    'v1',
    'latest',
    'sha256',
    'sha256-abc.sig',
    `sha256-${HEX.slice(1)}.sig`,
    `sha256-${HEX}0`,
    `sha256-${HEX.toUpperCase()}.sig`,
    `sha256-${HEX}.sig.old`,
    `sha256-${HEX}.imgpkg`,
    `sha256-${HEX}-amd64`,
    `sha384-${HEX}`,
    `x-sha256-${HEX}`,
    HEX,
  ])('%s', (tag) => expect(attachedTo(tag)).toBeNull());
});
