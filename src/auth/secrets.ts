/**
 * The passwords and keys of people, derived from the registry's one secret (`src/secrets.ts`): the administrator's password, and
 * the secrets of access keys.
 */
import type { Env } from '../env.ts';
import { base32, deriveText, hkdf, requireSecret, type Secrets, sameSecret, secretsOf } from '../secrets.ts';

export type Passwords = Secrets & Pick<Env, 'ADMIN_PASSWORD'>;

/** The user name of the account that is there from the beginning. */
export const ADMINISTRATOR = 'admin';

/** What all that we generate begins with, so that secret scanners know it. */
export const SECRET_PREFIX = 'berth_';

/** Its password, if none is set: 160 bits in lower case. */
export async function administratorPassword(env: Passwords): Promise<string> {
  return env.ADMIN_PASSWORD || `${SECRET_PREFIX}${await deriveText(requireSecret(env), `password ${ADMINISTRATOR}`)}`;
}

/** By which tokens made with that password know it: another password ends them. */
export async function passwordMark(env: Passwords): Promise<string> {
  const mark = await deriveText(requireSecret(env), `password-mark ${await administratorPassword(env)}`);
  return mark.slice(0, 16);
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
  return `${SECRET_PREFIX}${id}_${base32(await hkdf(secret, `access-key ${id}`))}`;
}

/** The id of an access key, of the shape of AWS's: 20 capital letters and digits, 80 bits of them from `seed`. */
export async function keyIdFrom(env: Secrets, seed: string): Promise<string> {
  const bytes = await hkdf(requireSecret(env), `access-key-id ${seed}`);
  return `BRTH${base32(bytes).slice(0, 16).toUpperCase()}`;
}
