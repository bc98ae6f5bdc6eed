/**
 * Tags that attach content to a manifest. The name of such a tag contains the digest of the manifest, with a dash instead of
 * the colon and at most 64 hex digits. cosign stores signatures, attestations and SBOMs under such tags. Clients store a
 * manifest's list of referrers under such a tag if a registry has no referrers API (distribution-spec, "Referrers Tag Schema").
 */
import { algorithmOf, type Digest, hexOf } from './digest.ts';
import type { Tag } from './reference.ts';

/** What follows the digest in the name of such a tag. */
export const SUFFIXES = ['', '.sig', '.att', '.sbom'] as const;
export const HEX_MAX = 64;
const ATTACHED = /^(sha256|sha512)-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?$/;

/**
 * Returns the beginning (see `beginningOf`) of the digest of the manifest to which the tag is attached, or `null` for an
 * ordinary tag.
 */
export function attachedTo(tag: string): string | null {
  const [, algorithm, hex] = ATTACHED.exec(tag) ?? [];
  return algorithm === undefined ? null : `${algorithm}:${hex}`;
}

/** Returns the algorithm and the first 64 hex digits of a digest, which a tag name can contain. */
export function beginningOf(digest: Digest): string {
  return `${algorithmOf(digest)}:${hexOf(digest).slice(0, HEX_MAX)}`;
}

/** Returns the names of all tags that can be attached to the manifest. */
export function tagsAttachableTo(digest: Digest): Tag[] {
  return SUFFIXES.map((suffix) => `${beginningOf(digest).replace(':', '-')}${suffix}` as Tag);
}

/** The kind of content that is attached to an image. */
export type AttachmentKind = 'signature' | 'SBOM' | 'attestation' | 'other';

const KINDS: readonly (readonly [RegExp, AttachmentKind])[] = [
  [/spdx|cyclonedx|\bsyft\b|sbom/i, 'SBOM'],
  [/signature|simplesigning|\bsig\b|pgp/i, 'signature'],
  [/in-toto|attestation|provenance|sigstore\.bundle|slsa|\bvex\b/i, 'attestation'],
];

/** Returns the kind of attached content. @param type its artifact type or media type, or the tag that attaches it */
export function attachmentKind(type: string): AttachmentKind {
  if (type.endsWith('.att')) return 'attestation';
  return KINDS.find(([pattern]) => pattern.test(type))?.[1] ?? 'other';
}
