/**
 * Turns a password into a credential, as far as that is possible without the database: access keys, login passwords, the
 * administrator's password, and tokens of outside issuers.
 */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { sameSecret } from '../secrets.ts';
import type { Credential } from './credential.ts';
import type { TokenContext } from './runtime.ts';
import {
  ADMINISTRATOR,
  administratorPassword,
  isAccessKeySecret,
  keyIdIn,
  type Passwords,
  passwordMark,
  SECRET_PREFIX,
} from './secrets.ts';
import { LOGIN_PASSWORD_TYPE, verifyLoginPassword } from './tokens.ts';

/**
 * @param name `null`: the password came without a user name, as a bearer token of the API does
 * @returns `expired`: a login password that has expired. `guess`: it may be the administrator's password, if a person chose
 *   that; the caller limits how often `credentialOfAdministrator` compares it. `null`: wrong, and not a guess, because a
 *   generated (160 bits) or signed secret cannot be guessed
 */
export async function credentialOfPassword(
  env: Passwords,
  name: string | null,
  password: string,
  context: TokenContext,
): Promise<Credential | 'expired' | 'guess' | null> {
  const key = keyIdIn(password);
  if (key !== null && (await isAccessKeySecret(env, password))) return { kind: 'key', key, name };
  const token = isToken(password) ? await credentialOfToken(env, password, context) : null;
  if (token !== null) return token;
  if (!looksGenerated(password) || looksGenerated(env.ADMIN_PASSWORD ?? '')) return 'guess';
  return credentialOfAdministrator(env, name, password);
}

function looksGenerated(text: string): boolean {
  return text.startsWith(SECRET_PREFIX) || isToken(text);
}

/** True if the text looks like a JWT and has a readable header. */
function isToken(text: string): boolean {
  try {
    return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text) && decodeProtectedHeader(text) !== null;
  } catch {
    return false;
  }
}

/** `null` for a wrong name or password; both take the same time. */
export async function credentialOfAdministrator(
  env: Passwords,
  name: string | null,
  password: string,
): Promise<Credential | null> {
  const right = await sameSecret(password, await administratorPassword(env));
  if (!right || (name ?? ADMINISTRATOR).toLowerCase() !== ADMINISTRATOR) return null;
  return { kind: 'password', mark: await passwordMark(env) };
}

/** A login password, or a token to be verified against the trust rules of its issuer. */
async function credentialOfToken(env: Passwords, token: string, context: TokenContext): Promise<Credential | 'expired' | null> {
  try {
    const { typ } = decodeProtectedHeader(token);
    if (typ === LOGIN_PASSWORD_TYPE) return await verifyLoginPassword(env, token, context);
    const { iss } = decodeJwt(token);
    return typeof iss === 'string' && iss !== '' ? { kind: 'outside', token, issuer: iss } : null;
  } catch {
    return null;
  }
}
