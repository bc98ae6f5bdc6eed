/**
 * The first administrator's password and the secrets of access keys. They are derived from the registry's secret
 * (`src/secrets.ts`).
 */
import type { Env } from '../env.ts';
import { base32, deriveText, hkdf, requireSecret, type Secrets, sameSecret, secretsOf } from '../secrets.ts';

export type Passwords = Secrets & Pick<Env, 'ADMIN_PASSWORD'>;

/** The user name of the first administrator. */
export const ADMINISTRATOR = 'admin';

/** The prefix of all generated secrets, by which secret scanners find them. */
export const SECRET_PREFIX = 'berth_';

/** Returns the administrator's password: the setting `ADMIN_PASSWORD`, or otherwise 160 derived bits as lower-case text. */
export async function administratorPassword(env: Passwords): Promise<string> {
  return env.ADMIN_PASSWORD || `${SECRET_PREFIX}${await deriveText(requireSecret(env), `password ${ADMINISTRATOR}`)}`;
}

/** Returns the fingerprint of the administrator's password. Tokens contain it, so a changed password revokes them. */
export async function passwordMark(env: Passwords): Promise<string> {
  const mark = await deriveText(requireSecret(env), `password-mark ${await administratorPassword(env)}`);
  return mark.slice(0, 16);
}

/**
 * Returns true if `mark` is the fingerprint of the administrator's password under the current or the previous secret of the
 * registry.
 */
export async function isPasswordMark(env: Passwords, mark: string): Promise<boolean> {
  const marks = await Promise.all(secretsOf(env).map((secret) => passwordMark({ ...env, REGISTRY_SECRET: secret })));
  return marks.includes(mark);
}

/** Returns the secret of an access key. It contains the key's id and 160 derived bits. */
export async function accessKeySecret(env: Secrets, id: string): Promise<string> {
  return keySecretFrom(requireSecret(env), id);
}

const KEY_SECRET = /^berth_(BRTH[A-Z2-7]{16})_[a-z2-7]{32}$/;

/** Returns the key id in the secret of an access key, or `null` for any other text. */
export function keyIdIn(text: string): string | null {
  return KEY_SECRET.exec(text)?.[1] ?? null;
}

const KEY_ID = /^BRTH[A-Z2-7]{16}$/;

/**
 * Returns the secrets of an access key under the current and the previous secret of the registry. Returns `null` if `id` does
 * not have the form of a key id.
 */
export async function accessKeySecrets(env: Secrets, id: string): Promise<string[] | null> {
  return KEY_ID.test(id) ? Promise.all(secretsOf(env).map((secret) => keySecretFrom(secret, id))) : null;
}

/**
 * Returns true if `text` is the secret of the key whose id it contains, under the current or the previous secret of the
 * registry.
 */
export async function isAccessKeySecret(env: Secrets, text: string): Promise<boolean> {
  const id = keyIdIn(text);
  if (id === null) return false;
  const expected = await accessKeySecrets(env, id);
  return (await Promise.all((expected ?? []).map((one) => sameSecret(text, one)))).includes(true);
}

/** The result is not kept in memory, because clients choose the id. */
async function keySecretFrom(secret: string, id: string): Promise<string> {
  return `${SECRET_PREFIX}${id}_${base32(await hkdf(secret, `access-key ${id}`))}`;
}

/** Returns the id of an access key in AWS's format: 20 capital letters and digits. 80 bits of it are derived from `seed`. */
export async function keyIdFrom(env: Secrets, seed: string): Promise<string> {
  const bytes = await hkdf(requireSecret(env), `access-key-id ${seed}`);
  return `BRTH${base32(bytes).slice(0, 16).toUpperCase()}`;
}
