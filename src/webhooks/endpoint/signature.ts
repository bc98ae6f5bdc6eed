/**
 * Secrets of webhooks, and the signatures of deliveries. The signature has the form of Standard Webhooks. Two more headers are
 * for receivers that do not support this form. A webhook's secret is derived from the registry's secret, so it is never stored.
 */
import { hkdf, requireSecret, type Secrets, secretsOf } from '../../secrets.ts';

/** The fields of a subscription from which its secrets are derived. */
export interface Signer {
  id: string;
  /** The number of the secret. Each rotation of the secret increases it by one. */
  generation: number;
  /** The time until which deliveries are also signed with the previous secret, in seconds since the epoch. */
  previousUntil: number;
}

/** Returns the secret: `whsec_` and 32 bytes in base64 (Standard Webhooks, "Signature scheme"). */
export function secretOf(env: Secrets, { id, generation }: Pick<Signer, 'id' | 'generation'>): Promise<string> {
  return secretFrom(requireSecret(env), id, generation);
}

async function secretFrom(secret: string, id: string, generation: number): Promise<string> {
  const bytes = await hkdf(secret, `webhook ${generation} ${id}`);
  return `whsec_${btoa(String.fromCharCode(...bytes))}`;
}

/** Returns the secrets with which deliveries are signed now, the newest first. @param now seconds since the epoch */
async function secretsNow(env: Secrets, { id, generation, previousUntil }: Signer, now: number): Promise<string[]> {
  const generations = previousUntil > now && generation > 1 ? [generation, generation - 1] : [generation];
  return Promise.all(secretsOf(env).flatMap((secret) => generations.map((one) => secretFrom(secret, id, one))));
}

/**
 * Returns the signature headers of a delivery. `webhook-signature` has one signature for each valid secret. The other two
 * signature headers have one signature with the newest secret. The key of these is the text of the secret, including `whsec_`,
 * because their receivers use the secret as text.
 * @param id the id of the delivery, which is the same in all attempts and contains no dot
 * @param now the time of this attempt, in seconds since the epoch
 */
export async function signatureHeaders(
  env: Secrets,
  signer: Signer,
  { id, body, now }: { id: string; body: string; now: number },
): Promise<Record<string, string>> {
  return signedWith(await secretsNow(env, signer, now), { id, body, now });
}

/** Returns the signature headers for a body. @param secrets the valid secrets as text, the newest first */
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
    // These are the headers of GitHub and of Flux's `generic-hmac` receivers.
    'x-hub-signature-256': plain,
    'x-signature': plain,
  };
}

/** Returns every secret that the receiver may know, so that the secrets can be hidden in the response of an endpoint. */
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
