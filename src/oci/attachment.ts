/**
 * Tags that attach content to a manifest: their name contains the manifest's digest. cosign stores signatures, attestations and
 * SBOMs under such tags. Clients of registries without the referrers API store the list of referrers there (distribution-spec,
 * "Referrers Tag Schema"). The name is the digest with a dash instead of the colon; that schema cuts the hex digits after 64.
 */
import { algorithmOf, type Digest, hexOf } from './digest.ts';
import type { Tag } from './reference.ts';

/** What follows the digest in the name of such a tag. */
export const SUFFIXES = ['', '.sig', '.att', '.sbom'] as const;
export const HEX_MAX = 64;
const ATTACHED = /^(sha256|sha512)-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?$/;

/** Returns the beginning of the digest (see `beginningOf`) that the tag is attached to; `null` for an ordinary tag. */
export function attachedTo(tag: string): string | null {
  const [, algorithm, hex] = ATTACHED.exec(tag) ?? [];
  return algorithm === undefined ? null : `${algorithm}:${hex}`;
}

/** Returns the digest, cut after 64 hex digits. */
export function beginningOf(digest: Digest): string {
  return `${algorithmOf(digest)}:${hexOf(digest).slice(0, HEX_MAX)}`;
}

/** Returns the names of all tags that can be attached to the manifest. */
export function tagsAttachableTo(digest: Digest): Tag[] {
  return SUFFIXES.map((suffix) => `${beginningOf(digest).replace(':', '-')}${suffix}` as Tag);
}

/** What an artifact is to the image that it is attached to. */
export type AttachmentKind = 'signature' | 'SBOM' | 'attestation' | 'other';

const KINDS: readonly (readonly [RegExp, AttachmentKind])[] = [
  [/spdx|cyclonedx|\bsyft\b|sbom/i, 'SBOM'],
  [/signature|simplesigning|\bsig\b|pgp/i, 'signature'],
  [/in-toto|attestation|provenance|sigstore\.bundle|slsa|\bvex\b/i, 'attestation'],
];

/** Tells the kind of an attachment. @param type its artifact type or media type, or the tag that attaches it */
export function attachmentKind(type: string): AttachmentKind {
  if (type.endsWith('.att')) return 'attestation';
  return KINDS.find(([pattern]) => pattern.test(type))?.[1] ?? 'other';
}
