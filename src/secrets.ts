/**
 * The registry's secret, and the keys that are derived from it by HKDF-SHA256 (RFC 5869). Each purpose has its own label and so
 * its own key: a signature or ciphertext that was made for one purpose is invalid for every other purpose. D1 stores no
 * credential.
 */
import type { Env } from './env.ts';

export type Secrets = Pick<Env, 'REGISTRY_SECRET' | 'REGISTRY_SECRET_PREVIOUS'>;

/** The purpose of a key. Changing a label invalidates everything that was signed or encrypted with its key. */
export type KeyLabel =
  | 'access-token'
  | 'refresh-token'
  | 'login-password'
  | 'session'
  | 'sign-in'
  | 'invitation'
  | 'upload-location'
  | 'layer-upload'
  | 'layer-download'
  | 'subscription-endpoint'
  | 'place-in-list'
  | 'audit-address';

/** The minimum number of characters of the secret. In any usual encoding, 256 bits take at least this many. */
const SECRET_MIN_LENGTH = 32;
const KEY_BYTES = 32;

const derived = new Map<string, Uint8Array<ArrayBuffer>>();

/** Returns the current secret. @throws Error if the secret is missing or too short. The registry then refuses all requests */
export function requireSecret(env: Secrets): string {
  const secret = env.REGISTRY_SECRET ?? '';
  if (secret.length >= SECRET_MIN_LENGTH) return secret;
  throw new Error(
    `REGISTRY_SECRET is ${secret ? 'too short' : 'not set'}: it must have ${SECRET_MIN_LENGTH} characters or more`,
  );
}

/** Returns the key for signing and encryption. */
export function signingKey(env: Secrets, label: KeyLabel): Promise<Uint8Array<ArrayBuffer>> {
  return derive(requireSecret(env), label);
}

/**
 * Returns the keys for verification and decryption: the current key and, while the secret is being rotated, the previous key.
 */
export function verificationKeys(env: Secrets, label: KeyLabel): Promise<Uint8Array<ArrayBuffer>[]> {
  return Promise.all(secretsOf(env).map((secret) => derive(secret, label)));
}

/** Returns the current secret and, while the secret is being rotated, the previous secret. */
export function secretsOf(env: Secrets): string[] {
  return [requireSecret(env), ...(env.REGISTRY_SECRET_PREVIOUS ? [env.REGISTRY_SECRET_PREVIOUS] : [])];
}

/** Derives a key and keeps it in memory. The label must not come from a client, because each label takes memory. */
async function derive(secret: string, label: string): Promise<Uint8Array<ArrayBuffer>> {
  const id = `${secret}\0${label}`;
  const known = derived.get(id) ?? (await hkdf(secret, label));
  derived.set(id, known);
  return known;
}

const derivedTexts = new Map<string, string>();

/** Derives a key as text of 32 base32 characters (160 bits) and keeps it in memory. */
export async function deriveText(secret: string, label: string): Promise<string> {
  const id = `${secret}\0${label}`;
  const known = derivedTexts.get(id) ?? base32(await derive(secret, label));
  derivedTexts.set(id, known);
  return known;
}

export async function hkdf(secret: string, label: string): Promise<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  const material = await crypto.subtle.importKey('raw', encoder.encode(secret), 'HKDF', false, ['deriveBits']);
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: encoder.encode('berth'), info: encoder.encode(label) };
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, material, KEY_BYTES * 8));
}

/** Encodes the low five bits of each byte as a base32 character, so that 32 bytes become 160 bits. */
export function base32(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte & 31]).join('');
}

/**
 * Compares two secrets in constant time. It compares all bytes of their hashes, so the time does not depend on the lengths
 * either.
 */
export async function sameSecret(given: string, expected: string): Promise<boolean> {
  const [one, other] = await Promise.all([sha256(given), sha256(expected)]);
  return one.reduce((difference, byte, at) => difference | (byte ^ (other[at] ?? 0)), 0) === 0;
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
}

const IV_BYTES = 12;

/**
 * Encrypts a text (AES-256-GCM).
 * @param context binds the ciphertext to its use: decryption needs the same context
 * @returns the initialization vector and the ciphertext
 */
export async function encrypt(env: Secrets, label: KeyLabel, context: string, text: string): Promise<Uint8Array> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const key = await imported(await signingKey(env, label));
  const sealed = await crypto.subtle.encrypt(gcm(iv, context), key, new TextEncoder().encode(text));
  return new Uint8Array([...iv, ...new Uint8Array(sealed)]);
}

/**
 * Decrypts a result of `encrypt`. @returns `null` if the context is another one, or if the text was encrypted with a secret
 * that is neither the current nor the previous one
 */
export async function decrypt(
  env: Secrets,
  label: KeyLabel,
  context: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string | null> {
  for (const key of await verificationKeys(env, label)) {
    const opened = await crypto.subtle
      .decrypt(gcm(bytes.slice(0, IV_BYTES), context), await imported(key), bytes.slice(IV_BYTES))
      .catch(() => null);
    if (opened) return new TextDecoder().decode(opened);
  }
  return null;
}

function gcm(iv: Uint8Array<ArrayBuffer>, context: string) {
  return { name: 'AES-GCM', iv, additionalData: new TextEncoder().encode(context) };
}

function imported(key: Uint8Array<ArrayBuffer>) {
  return crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt', 'decrypt']);
}
