/**
 * Attached tags: they belong to a manifest by their name. Signatures, attestations and SBOMs of cosign are stored so, and lists
 * of referrers for registries without the referrers API (distribution-spec, "Referrers Tag Schema"). The name is the digest
 * with a dash, cut after 64 hex digits as that schema says.
 */
import { algorithmOf, type Digest, hexOf } from './digest.ts';
import type { Tag } from './reference.ts';

const SUFFIXES = ['', '.sig', '.att', '.sbom'] as const;
const HEX_MAX = 64;
const ATTACHED = /^(sha256|sha512)-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?$/;

/** The beginning of the digest (see `beginningOf`) that a tag is attached to; `null` for an ordinary tag. */
export function attachedTo(tag: string): string | null {
  const [, algorithm, hex] = ATTACHED.exec(tag) ?? [];
  return algorithm === undefined ? null : `${algorithm}:${hex}`;
}

/** The digest, cut after 64 hex digits. */
export function beginningOf(digest: Digest): string {
  return `${algorithmOf(digest)}:${hexOf(digest).slice(0, HEX_MAX)}`;
}

/** All tags that may be attached to a manifest. */
export function tagsAttachableTo(digest: Digest): Tag[] {
  return SUFFIXES.map((suffix) => `${beginningOf(digest).replace(':', '-')}${suffix}` as Tag);
}
