/**
 * Secrets of webhooks, and the signatures of deliveries: Standard Webhooks, and two more headers for receivers that know only
 * those. A secret is derived, never stored, and shown once.
 */
import { hkdf, requireSecret, type Secrets, secretsOf } from '../../secrets.ts';

/** The fields of a subscription from which its secrets are derived. */
export interface Signer {
  id: string;
  /** Number of the secret; it grows with each rotation. */
  generation: number;
  /** Seconds since the epoch until which the previous secret signs as well. */
  previousUntil: number;
}

/** `whsec_` and 32 bytes in base64 (Standard Webhooks, "Signature scheme"). */
export function secretOf(env: Secrets, { id, generation }: Pick<Signer, 'id' | 'generation'>): Promise<string> {
  return secretFrom(requireSecret(env), id, generation);
}

async function secretFrom(secret: string, id: string, generation: number): Promise<string> {
  const bytes = await hkdf(secret, `webhook ${generation} ${id}`);
  return `whsec_${btoa(String.fromCharCode(...bytes))}`;
}

/** The secrets that sign now, newest first. @param now in seconds */
async function secretsNow(env: Secrets, { id, generation, previousUntil }: Signer, now: number): Promise<string[]> {
  const generations = previousUntil > now && generation > 1 ? [generation, generation - 1] : [generation];
  return Promise.all(secretsOf(env).flatMap((secret) => generations.map((one) => secretFrom(secret, id, one))));
}

/**
 * The signature headers of a delivery. `webhook-signature` has one signature for each valid secret. The other two have one
 * signature, by the newest secret; their key is the secret as it was shown, `whsec_` included, because their receivers use it
 * as text.
 * @param id of the delivery, the same at each attempt; without a dot
 * @param now in seconds, the time of this attempt
 */
export async function signatureHeaders(
  env: Secrets,
  signer: Signer,
  { id, body, now }: { id: string; body: string; now: number },
): Promise<Record<string, string>> {
  return signedWith(await secretsNow(env, signer, now), { id, body, now });
}

/** @param secrets as they are shown, newest first */
export async function signedWith(
  secrets: readonly string[],
  { id, body, now }: { id: string; body: string; now: number },
): Promise<Record<string, string>> {
  const content = `${id}.${now}.${body}`;
  const signatures = await Promise.all(secrets.map(async (secret) => `v1,${base64(await hmac(keyIn(secret), content))}`));
  const plain = `sha256=${hex(await hmac(utf8(secrets[0] ?? ''), body))}`;
  return {
    'webhook-id': id,
    'webhook-timestamp': String(now),
    'webhook-signature': signatures.join(' '),
    // GitHub's header, and the one of Flux's generic-hmac receivers.
    'x-hub-signature-256': plain,
    'x-signature': plain,
  };
}

/** Every secret that the receiver may know: the answer of an endpoint is searched for them. */
export function allSecrets(env: Secrets, signer: Signer): Promise<string[]> {
  return secretsNow(env, { ...signer, previousUntil: Number.POSITIVE_INFINITY }, 0);
}

function keyIn(secret: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(secret.slice('whsec_'.length)), (character) => character.charCodeAt(0));
}

async function hmac(key: Uint8Array<ArrayBuffer>, content: string): Promise<Uint8Array> {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, utf8(content)));
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new TextEncoder().encode(text));
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
