/**
 * Content digests in the form `algorithm:hex` (image-spec descriptor.md, "Digests"). The branded type `Digest` proves that a
 * text was checked, so only the code that reads requests has to parse digests.
 */
import { Refusal } from '../vocabulary/refusal.ts';

export type DigestAlgorithm = 'sha256' | 'sha512';
export type Digest = string & { readonly __brand: 'Digest' };

/**
 * The grammar of the registered algorithms with their numbers of hex digits (image-spec descriptor.md, "Registered
 * algorithms").
 */
const GRAMMAR = /^sha256:[0-9a-f]{64}$|^sha512:[0-9a-f]{128}$/;

export function isDigest(text: string): text is Digest {
  return GRAMMAR.test(text);
}

/** @throws digest-invalid if the text is not a valid digest */
export function parseDigest(text: string | undefined | null): Digest {
  if (text && isDigest(text)) return text;
  throw new Refusal('digest-invalid', { message: 'a digest must be sha256: and 64 hex digits, or sha512: and 128' });
}

/** @throws digest-invalid for an algorithm that is not supported */
export function parseAlgorithm(text: string): DigestAlgorithm {
  if (text === 'sha256' || text === 'sha512') return text;
  throw new Refusal('digest-invalid', { message: 'digest-algorithm must be sha256 or sha512' });
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512';
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** Returns the algorithm's name in the Web Crypto API. */
export function webCryptoName(algorithm: DigestAlgorithm): 'SHA-256' | 'SHA-512' {
  return algorithm === 'sha256' ? 'SHA-256' : 'SHA-512';
}

export function digestFromHash(algorithm: DigestAlgorithm, hash: ArrayBuffer): Digest {
  const hex = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${algorithm}:${hex}` as Digest;
}

export async function digestOf(algorithm: DigestAlgorithm, bytes: Uint8Array): Promise<Digest> {
  return digestFromHash(algorithm, await crypto.subtle.digest(webCryptoName(algorithm), bytes));
}
