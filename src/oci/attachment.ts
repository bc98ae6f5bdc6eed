/**
 * Tags that belong to a manifest, and say so by their name: signatures, attestations and SBOMs of cosign, and the tag under which
 * clients list referrers for registries without the referrers API (distribution-spec, "Referrers Tag Schema"). The name is the
 * digest with a dash, cut after 64 digits as that schema says.
 */
import { algorithmOf, type Digest, hexOf } from './digest.ts';
import type { Tag } from './reference.ts';

const SUFFIXES = ['', '.sig', '.att', '.sbom'] as const;
const HEX_MAX = 64;
const ATTACHED = /^(sha256|sha512)-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?$/;

/** The beginning of the digest that a tag belongs to by its name, as `beginningOf` has it; `null` for an ordinary tag. */
export function attachedTo(tag: string): string | null {
  const [, algorithm, hex] = ATTACHED.exec(tag) ?? [];
  return algorithm === undefined ? null : `${algorithm}:${hex}`;
}

export function beginningOf(digest: Digest): string {
  return `${algorithmOf(digest)}:${hexOf(digest).slice(0, HEX_MAX)}`;
}

/** All tags that may be attached to a manifest. */
export function tagsAttachableTo(digest: Digest): Tag[] {
  return SUFFIXES.map((suffix) => `${beginningOf(digest).replace(':', '-')}${suffix}` as Tag);
}
