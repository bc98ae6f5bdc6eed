/**
 * Sign-ins by a provider that are not finished. The browser keeps the first half in a cookie until the provider sends the
 * browser back. An identity that is to be linked is kept in a form until the person has confirmed it.
 */
import type { Secrets } from '../../secrets.ts';
import type { TokenContext } from '../runtime.ts';
import { type Kind, type Minted, mint, verify } from '../tokens.ts';
import type { Identity, Pending } from './provider.ts';

/** The kind of the token. Its lifetime is the time that a person may take at the provider. */
const SIGN_IN: Kind = { label: 'sign-in', typ: 'berth-sign-in+jwt', lifetime: 10 * 60 };

export interface BegunSignIn extends Pending {
  /** The path of the console to which the sign-in leads. */
  next: string;
  /** The account to which the identity is to be linked; empty for a sign-in. */
  account: string;
}

export async function sealSignIn(
  env: Secrets,
  { account, next, state, nonce, verifier }: BegunSignIn,
  context: TokenContext,
): Promise<Minted> {
  const claims = { next, state, once: nonce, verifier };
  const token = await mint(env, SIGN_IN, { subject: account, claims }, context);
  return { token, expiresAt: Math.floor(context.now / 1000) + SIGN_IN.lifetime };
}

/** @returns `null` if the token is forged or has expired */
export async function unsealSignIn(env: Secrets, token: string, context: TokenContext): Promise<BegunSignIn | null> {
  const claims = await verify(env, SIGN_IN, token, context);
  if (claims === null || claims === 'expired') return null;
  const { sub, next, state, once, verifier } = claims;
  return {
    account: sub ?? '',
    next: String(next),
    state: String(state),
    nonce: String(once),
    verifier: String(verifier),
  };
}

/** The kind of a token that names an identity which its holder may link to one account. */
const IDENTITY: Kind = { label: 'sign-in', typ: 'berth-identity+jwt', lifetime: 10 * 60 };

/** Seals an identity that the provider has confirmed, for the account whose person wants to link it. */
export function sealIdentity(
  env: Secrets,
  { issuer, subject }: Identity,
  account: string,
  context: TokenContext,
): Promise<string> {
  return mint(env, IDENTITY, { subject: account, claims: { at: issuer, who: subject } }, context);
}

/** @returns `null` if the token is forged, has expired, or is for another account */
export async function unsealIdentity(
  env: Secrets,
  token: string,
  account: string,
  context: TokenContext,
): Promise<Identity | null> {
  const claims = await verify(env, IDENTITY, token, context);
  if (claims === null || claims === 'expired' || claims.sub !== account) return null;
  return { issuer: String(claims.at), subject: String(claims.who) };
}
