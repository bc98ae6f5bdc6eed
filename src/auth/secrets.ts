/**
 * Every key and password the registry uses, derived from its one secret by HKDF-SHA256 (RFC 5869) under a label of its
 * own. D1 stores no credential, and one kind of token can never pass for another: they do not share a key.
 */
import type { Env } from '../env.ts';

export type Secrets = Pick<Env, 'REGISTRY_SECRET' | 'REGISTRY_SECRET_PREVIOUS'>;

export type Passwords = Secrets & Pick<Env, 'ADMIN_PASSWORD'>;

/** What a key is for. Part of every key: changing a label ends all that was made with it. */
export type KeyLabel = 'access-token' | 'refresh-token' | 'login-password' | 'invitation' | 'upload-location';

/** 256 bits as text need at least this many characters of any alphabet that people use. */
const SECRET_MIN_LENGTH = 32;
const KEY_BYTES = 32;

const derived = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

/** @throws Error where the deployment has no secret worth the name: it then serves nothing */
export function requireSecret(env: Secrets): string {
  const secret = env.REGISTRY_SECRET ?? '';
  if (secret.length >= SECRET_MIN_LENGTH) return secret;
  throw new Error(
    `REGISTRY_SECRET is ${secret ? 'too short' : 'not set'}: it must have ${SECRET_MIN_LENGTH} characters or more`,
  );
}

/** The key to sign with. */
export function signingKey(env: Secrets, label: KeyLabel): Promise<Uint8Array<ArrayBuffer>> {
  return derive(requireSecret(env), label);
}

/** The keys to verify with: the current one, and while the secret is being replaced the one before. */
export function verificationKeys(env: Secrets, label: KeyLabel): Promise<Uint8Array<ArrayBuffer>[]> {
  return Promise.all(secretsOf(env).map((secret) => derive(secret, label)));
}

function secretsOf(env: Secrets): string[] {
  return [requireSecret(env), ...(env.REGISTRY_SECRET_PREVIOUS ? [env.REGISTRY_SECRET_PREVIOUS] : [])];
}

/** The user name of the account that is there from the beginning. */
export const ADMINISTRATOR = 'admin';

/** Its password, if none is set: 160 bits in lower case, with a prefix by which secret scanners know it. */
export async function administratorPassword(env: Passwords): Promise<string> {
  return env.ADMIN_PASSWORD || `berth_${base32(await derive(requireSecret(env), `password ${ADMINISTRATOR}`))}`;
}

/** By which tokens made with that password know it: another password ends them. */
export async function passwordMark(env: Passwords): Promise<string> {
  const mark = await derive(requireSecret(env), `password-mark ${await administratorPassword(env)}`);
  return base32(mark).slice(0, 16);
}

/** Whether it is the mark of the password, be it under the secret before. */
export async function isPasswordMark(env: Passwords, mark: string): Promise<boolean> {
  const marks = await Promise.all(secretsOf(env).map((secret) => passwordMark({ ...env, REGISTRY_SECRET: secret })));
  return marks.includes(mark);
}

/** The secret of an access key: it names the key, so that it says by itself whose it is. 160 bits beside that. */
export async function accessKeySecret(env: Secrets, id: string): Promise<string> {
  return keySecretFrom(requireSecret(env), id);
}

const KEY_SECRET = /^berth_(BRTH[A-Z2-7]{16})_[a-z2-7]{32}$/;

/** The id in the secret of an access key, `null` for text of another shape. */
export function keyIdIn(text: string): string | null {
  return KEY_SECRET.exec(text)?.[1] ?? null;
}

/** Whether `text` is the secret of the key it names, under this registry's secret or the one before. */
export async function isAccessKeySecret(env: Secrets, text: string): Promise<boolean> {
  const id = keyIdIn(text);
  if (id === null) return false;
  const expected = await Promise.all(secretsOf(env).map((secret) => keySecretFrom(secret, id)));
  return (await Promise.all(expected.map((one) => sameSecret(text, one)))).includes(true);
}

/** Not kept in memory, as whoever asks chooses the id. */
async function keySecretFrom(secret: string, id: string): Promise<string> {
  return `berth_${id}_${base32(await hkdf(secret, `access-key ${id}`))}`;
}

/** The id of an access key, of the shape of AWS's: 20 capital letters and digits, 80 bits of them from `seed`. */
export async function keyIdFrom(env: Secrets, seed: string): Promise<string> {
  const bytes = await hkdf(requireSecret(env), `access-key-id ${seed}`);
  return `BRTH${base32(bytes).slice(0, 16).toUpperCase()}`;
}

function base32(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte & 31]).join('');
}

/** Compares in constant time, whatever the lengths: the hashes are compared, byte by byte to the end. */
export async function sameSecret(given: string, expected: string): Promise<boolean> {
  const [one, other] = await Promise.all([sha256(given), sha256(expected)]);
  return one.reduce((difference, byte, at) => difference | (byte ^ (other[at] ?? 0)), 0) === 0;
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
}

function derive(secret: string, label: string): Promise<Uint8Array<ArrayBuffer>> {
  const id = `${secret}\0${label}`;
  const known = derived.get(id) ?? hkdf(secret, label);
  derived.set(id, known);
  return known;
}

async function hkdf(secret: string, label: string): Promise<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  const material = await crypto.subtle.importKey('raw', encoder.encode(secret), 'HKDF', false, ['deriveBits']);
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: encoder.encode('berth'), info: encoder.encode(label) };
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, material, KEY_BYTES * 8));
}
