/**
 * Converts a password into a credential without a D1 call. A password can be an access key, a login password, the
 * administrator's password, or an outside token.
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
 * Converts a password into a credential.
 * @param name the user name, or `null` if the password was sent without one, as a bearer token of the management API is
 * @returns `expired` for a login password that has expired. `guess` for a text that may be an administrator's password that a
 * person chose; the caller then limits how often it calls `credentialOfAdministrator`. `null` for a wrong password in the form
 * of a generated or signed secret, which nobody can guess
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

/** Returns true if the text looks like a JWT and has a readable header. */
function isToken(text: string): boolean {
  try {
    return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text) && decodeProtectedHeader(text) !== null;
  } catch {
    return false;
  }
}

/**
 * Compares a password with the administrator's. @returns `null` if the name or the password is wrong; both cases take the same
 * time
 */
export async function credentialOfAdministrator(
  env: Passwords,
  name: string | null,
  password: string,
): Promise<Credential | null> {
  const right = await sameSecret(password, await administratorPassword(env));
  if (!right || (name ?? ADMINISTRATOR).toLowerCase() !== ADMINISTRATOR) return null;
  return { kind: 'password', mark: await passwordMark(env) };
}

/**
 * Converts a JWT into a credential. A login password is verified here. An outside token is verified later, when the trust rules
 * for its issuer are known.
 */
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
