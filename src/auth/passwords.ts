/**
 * What somebody shows to say who they are, checked as far as it can be without the database: passwords of every kind that
 * the registry gives out, and tokens of outside issuers.
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
 * `expired`: a login password of ours that was right once. `guess`: it may be the administrator's password, if a person chose
 * that: `credentialOfAdministrator` compares it, and whoever calls that bounds how often. `null`: wrong, and no guess, as what is
 * generated (160 bits) or signed cannot be guessed.
 * @param name `null` where a password comes alone, as an API's bearer token does
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

/** A JWT, as far as its header says. */
function isToken(text: string): boolean {
  try {
    return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text) && decodeProtectedHeader(text) !== null;
  } catch {
    return false;
  }
}

/** `null` for another name and another password alike; both take the same work. */
export async function credentialOfAdministrator(
  env: Passwords,
  name: string | null,
  password: string,
): Promise<Credential | null> {
  const right = await sameSecret(password, await administratorPassword(env));
  if (!right || (name ?? ADMINISTRATOR).toLowerCase() !== ADMINISTRATOR) return null;
  return { kind: 'password', mark: await passwordMark(env) };
}

/** One of ours, or one to be verified against the trust rules of the issuer it claims. */
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
