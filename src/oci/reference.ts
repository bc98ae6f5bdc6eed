/** References to a manifest. A reference is a tag or a digest (distribution-spec, "Pulling manifests"). */

import { Refusal } from '../vocabulary/refusal.ts';
import { type Digest, parseDigest } from './digest.ts';

export type Tag = string & { readonly __brand: 'Tag' };
export type Reference = { tag: Tag; digest?: never } | { digest: Digest; tag?: never };

const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

export function isTag(text: string): text is Tag {
  return TAG.test(text);
}

/** Parses a reference. A text with a colon is a digest; any other text is a tag. @throws digest-invalid, tag-invalid */
export function parseReference(text: string): Reference {
  if (text.includes(':')) return { digest: parseDigest(text) };
  return { tag: parseTag(text) };
}

/**
 * Parses the reference in a pull. A text that is no valid tag is refused like an unknown tag, because no such tag can exist.
 * @throws digest-invalid, manifest-unknown
 */
export function parseReferenceToRead(text: string): Reference {
  if (text.includes(':')) return { digest: parseDigest(text) };
  if (isTag(text)) return { tag: text };
  throw new Refusal('manifest-unknown', { message: 'there is no tag of this name: it is not a valid tag' });
}

/** @throws tag-invalid if the text is not a valid tag */
export function parseTag(text: string): Tag {
  if (isTag(text)) return text;
  throw new Refusal('tag-invalid', {
    message: 'a tag has up to 128 letters, digits, "_", "." and "-", and begins with a letter, a digit or "_"',
  });
}
