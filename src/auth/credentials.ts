/**
 * What somebody shows to say who they are, checked as far as it can be without the database: passwords of every kind that
 * the registry gives out, and tokens of outside issuers.
 */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { sameSecret } from '../secrets.ts';
import type { Occasion } from './occasion.ts';
import type { Proof } from './proof.ts';
import { ADMINISTRATOR, administratorPassword, isAccessKeySecret, keyIdIn, type Passwords, passwordMark } from './secrets.ts';
import { LOGIN_PASSWORD_TYPE, verifyLoginPassword } from './tokens.ts';

/**
 * `null` for an unknown name and a wrong password alike; both take the same work. `expired`: a login password of ours that
 * was right once.
 * @param name `null` where a password comes alone, as an API's bearer token does
 */
export async function proofOfPassword(
  env: Passwords,
  name: string | null,
  password: string,
  occasion: Occasion,
): Promise<Proof | 'expired' | null> {
  const right = await sameSecret(password, await administratorPassword(env));
  if (right && (name ?? ADMINISTRATOR).toLowerCase() === ADMINISTRATOR)
    return { kind: 'password', mark: await passwordMark(env) };
  const key = keyIdIn(password);
  if (key !== null) return (await isAccessKeySecret(env, password)) ? { kind: 'key', key, name } : null;
  return isJwt(password) ? proofOfToken(env, password, occasion) : null;
}

function isJwt(text: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text);
}

/** One of ours, or one to be verified against the trust rules of the issuer it claims. */
async function proofOfToken(env: Passwords, token: string, occasion: Occasion): Promise<Proof | 'expired' | null> {
  try {
    const { typ } = decodeProtectedHeader(token);
    if (typ === LOGIN_PASSWORD_TYPE) return await verifyLoginPassword(env, token, occasion);
    const { iss } = decodeJwt(token);
    return typeof iss === 'string' && iss !== '' ? { kind: 'outside', token, issuer: iss } : null;
  } catch {
    return null;
  }
}
