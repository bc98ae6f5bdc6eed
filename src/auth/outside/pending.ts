/**
 * Sign-ins by a provider that are not finished. The browser keeps the first half in a cookie until the provider sends the
 * browser back. An identity that is to be linked, or that confirms a new access key, is kept in a form until the form is sent.
 */
import type { Secrets } from '../../secrets.ts';
import type { TokenContext } from '../runtime.ts';
import { type Kind, type Minted, mint, verify } from '../tokens.ts';
import type { Identity, Pending } from './provider.ts';

/** The kind of the token in the cookie. Its lifetime is the time that a user may spend at the provider. */
const SIGN_IN: Kind = { label: 'sign-in', typ: 'berth-sign-in+jwt', lifetime: 10 * 60 };

/** What a sign-in at the provider is for. */
const PURPOSES = ['sign-in', 'link', 'key'] as const;
export type Purpose = (typeof PURPOSES)[number];

export interface BegunSignIn extends Pending {
  /** `link` links the identity to the account. `key` confirms that the person may make an access key. */
  purpose: Purpose;
  /** The path of the web console that is opened after the sign-in. */
  next: string;
  /** The account that began it; empty for a sign-in. */
  account: string;
  /** The id of the session that began it, for `key`; empty otherwise. */
  session: string;
}

export async function sealSignIn(
  env: Secrets,
  { account, nonce, ...begun }: BegunSignIn,
  context: TokenContext,
): Promise<Minted> {
  const token = await mint(env, SIGN_IN, { subject: account, claims: { ...begun, once: nonce } }, context);
  return { token, expiresAt: Math.floor(context.now / 1000) + SIGN_IN.lifetime };
}

/** @returns `null` if the token is forged or has expired */
export async function unsealSignIn(env: Secrets, token: string, context: TokenContext): Promise<BegunSignIn | null> {
  const claims = await verify(env, SIGN_IN, token, context);
  if (claims === null || claims === 'expired') return null;
  const { sub, next, state, once, verifier, session, notBefore } = claims;
  const purpose = PURPOSES.find((one) => one === claims.purpose);
  if (purpose === undefined) return null;
  return {
    purpose,
    account: sub ?? '',
    session: String(session),
    notBefore: notBefore === null ? null : Number(notBefore),
    next: String(next),
    state: String(state),
    nonce: String(once),
    verifier: String(verifier),
  };
}

/** The kind of the token that contains an identity to link. The token is valid for one account only. */
const IDENTITY: Kind = { label: 'sign-in', typ: 'berth-identity+jwt', lifetime: 10 * 60 };

/** Returns a token that contains an identity which the provider has confirmed, for the account that wants to link it. */
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

/** The kind of a token with which a person who has just signed in at the provider makes one access key. */
const CONFIRMATION: Kind = { label: 'sign-in', typ: 'berth-confirmation+jwt', lifetime: 10 * 60 };

/** A person's sign-in at the provider that confirms one access key. */
export interface Confirmation {
  identity: Identity;
  account: string;
  /** The id of the session that began the sign-in. */
  session: string;
  /** Names the sign-in at the provider, so that it confirms one key only. */
  once: string;
}

export function sealConfirmation(
  env: Secrets,
  { identity: { issuer, subject }, account, session, once }: Confirmation,
  context: TokenContext,
): Promise<string> {
  const claims = { at: issuer, who: subject, session, once };
  return mint(env, CONFIRMATION, { subject: account, claims }, context);
}

/** @returns `null` if the token is forged or has expired */
export async function unsealConfirmation(env: Secrets, token: string, context: TokenContext): Promise<Confirmation | null> {
  const claims = await verify(env, CONFIRMATION, token, context);
  if (claims === null || claims === 'expired') return null;
  const { sub, at, who, session, once } = claims;
  const identity = { issuer: String(at), subject: String(who) };
  return { identity, account: sub ?? '', session: String(session), once: String(once) };
}
