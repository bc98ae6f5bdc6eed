/**
 * Operations of sign-in by an OpenID Connect provider. A sign-in leads to the account to which the identity is linked. Only a
 * signed-in user can link an identity, so the first sign-in of every user is by an access key.
 */
import { noteLogin } from '../auth/audit-log.ts';
import { ACCESS_HEADER, identityOfAccess } from '../auth/outside/cloudflare-access.ts';
import {
  accountOfIdentity,
  identitiesOf,
  type LinkedIdentity,
  linkIdentity,
  unlinkIdentity,
} from '../auth/outside/identities.ts';
import {
  type BegunSignIn,
  sealConfirmation,
  sealIdentity,
  sealSignIn,
  unsealConfirmation,
  unsealIdentity,
  unsealSignIn,
} from '../auth/outside/pending.ts';
import { beginAtProvider, finishAtProvider, type Identity, type Provider } from '../auth/outside/provider.ts';
import { loadAuthority } from '../auth/rights/lookup.ts';
import { beginSession } from '../auth/sessions.ts';
import type { Minted } from '../auth/tokens.ts';
import { type Env, settings } from '../env.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { actorOf, requireNoSession, requireUnscopedUser } from './access.ts';
import { recordLogin } from './authentication.ts';
import type { Arrival, Call } from './call.ts';
import type { Session } from './sessions.ts';

export type { Identity, LinkedIdentity };
export { ACCESS_HEADER };

/** The path to which the provider sends the browser back. */
export const CALLBACK_PATH = '/sign-in/provider/callback';

/** Returns the name of the provider for display, or `null` if the registry has no provider. */
export function providerName(env: Env): string | null {
  const { oidcIssuer, oidcClientId, oidcName } = settings(env);
  return oidcIssuer === null || oidcClientId === null ? null : (oidcName ?? 'single sign-on');
}

/** @throws address-unknown if the registry has no provider */
function providerOf(env: Env): Provider {
  const { oidcIssuer, oidcClientId } = settings(env);
  if (oidcIssuer === null || oidcClientId === null) throw new Refusal('address-unknown');
  return { issuer: oidcIssuer, clientId: oidcClientId, clientSecret: env.OIDC_CLIENT_SECRET || null };
}

/** The address of the provider to which the browser is sent, and the token that the browser keeps. */
interface Begun {
  url: string;
  pending: Minted;
}

type Beginning = Pick<BegunSignIn, 'purpose' | 'next' | 'account' | 'session'>;

/** Begins a sign-in. @throws address-unknown, issuer-unreachable */
export function beginSignIn(arrival: Arrival, next: string): Promise<Begun> {
  return begin(arrival, { purpose: 'sign-in', next, account: '', session: '' });
}

/** Begins the linking of an identity to the caller's account. @throws unauthenticated, forbidden, issuer-unreachable */
export function beginLinking(call: Call, arrival: Arrival, next: string): Promise<Begun> {
  requireUnscopedUser(call);
  return begin(arrival, { purpose: 'link', next, account: call.authority.subject, session: '' });
}

/**
 * Begins a new sign-in at the provider of a person who is signed in already. It confirms one access key, for this account and
 * this session.
 * @throws unauthenticated, forbidden, address-unknown, issuer-unreachable
 */
export function beginConfirmation(call: Call, arrival: Arrival, next: string): Promise<Begun> {
  requireUnscopedUser(call);
  return begin(arrival, { purpose: 'key', next, account: call.authority.subject, session: sessionOf(call) });
}

async function begin(arrival: Arrival, wanted: Beginning): Promise<Begun> {
  const { env, origin } = arrival;
  const fresh = wanted.purpose === 'key';
  const callback = `${origin}${CALLBACK_PATH}`;
  const { url, pending } = await beginAtProvider(providerOf(env), callback, { fresh }, outsideOf(arrival));
  return { url, pending: await sealSignIn(env, { ...pending, ...wanted }, arrival) };
}

/** @throws forbidden for a caller without a session */
function sessionOf({ authority: { credentialKind, login } }: Call): string {
  if (credentialKind === 'session' && login) return login.id;
  throw new Refusal('forbidden', { message: 'this is for a signed-in browser' });
}

/**
 * Finishes a sign-in.
 * @param query the query string with which the provider sent the browser back
 * @param token the token that the browser kept
 * @returns the identity, and what `beginSignIn` began
 * @throws unauthenticated if the answer does not belong to a sign-in of this browser; issuer-unreachable
 */
export async function identityOf(
  arrival: Arrival,
  query: string,
  token: string | null,
): Promise<{ identity: Identity; begun: BegunSignIn }> {
  const provider = providerOf(arrival.env);
  const begun = token === null ? null : await unsealSignIn(arrival.env, token, arrival);
  if (begun === null) {
    throw new Refusal('unauthenticated', {
      message: 'this sign-in was not begun in this browser, or took too long: begin again',
    });
  }
  const returned = new URL(`${arrival.origin}${CALLBACK_PATH}${query}`);
  return { identity: await finishAtProvider(provider, returned, begun, outsideOf(arrival)), begun };
}

/** Returns true if users can sign in by Cloudflare Access. */
export function hasAccess(env: Env): boolean {
  const { accessIssuer, accessAudience } = settings(env);
  return accessIssuer !== null && accessAudience !== null;
}

/**
 * Returns the identity of a user whom Cloudflare Access has let in.
 * @param token the token that Access added to the request, or `null`
 * @throws address-unknown if the registry does not use Access; unauthenticated; issuer-unreachable
 */
export async function identityByAccess(arrival: Arrival, token: string | null): Promise<Identity> {
  const { accessIssuer, accessAudience } = settings(arrival.env);
  if (accessIssuer === null || accessAudience === null) throw new Refusal('address-unknown');
  if (token === null) {
    throw new Refusal('unauthenticated', {
      message: 'this request did not come through Cloudflare Access: nothing was changed',
    });
  }
  return identityOfAccess({ issuer: accessIssuer, audience: accessAudience }, token, outsideOf(arrival));
}

/**
 * Starts a session for the account to which an identity is linked. @throws forbidden if the identity is linked to no account
 */
export async function signInAs(arrival: Arrival, identity: Identity): Promise<Session> {
  const { env, now } = arrival;
  const account = await accountOfIdentity(env, identity);
  const credentialOrigin = { epoch: account?.epoch ?? 0 };
  const until = Math.floor(now / 1000);
  const runtime = { ...arrival, insecureIssuers: settings(env).insecureIssuers };
  const authority =
    account && (await loadAuthority(env, { kind: 'token', subject: account.subject, credentialOrigin, until }, [], runtime));
  if (!authority) {
    throw new Refusal('forbidden', {
      message: 'this identity belongs to no account here. Sign in with an access key, and link the identity under Account',
    });
  }
  const session = await beginSession(env, { ...authority, credentialOrigin, until: null }, arrival);
  await recordLogin(arrival, (where) => noteLogin(env, authority, where, now));
  return session;
}

/**
 * Returns a token with which the caller can link an identity after a confirmation. Without the confirmation, an attacker could
 * make a signed-in browser link the attacker's identity, and then sign in to the victim's account with it.
 * @throws unauthenticated, forbidden
 */
export function offerIdentity(call: Call, identity: Identity, account: string): Promise<string> {
  requireUnscopedUser(call);
  if (account !== call.authority.subject) {
    throw new Refusal('forbidden', { message: 'somebody else began this: nothing was linked' });
  }
  return sealIdentity(call.env, identity, account, call);
}

/**
 * Returns a token with which the caller can make one access key, since the caller has just signed in at the provider.
 * @param begun what was begun before the sign-in
 * @throws unauthenticated; forbidden for another account, another session, or an identity that is not linked to the account
 */
export async function confirmByProvider(call: Call, identity: Identity, begun: BegunSignIn): Promise<string> {
  requireUnscopedUser(call);
  // The state is new for each sign-in: an answer of the provider that is sent twice confirms the same one key.
  const { account, session, state: once } = begun;
  if (begun.purpose !== 'key' || begun.notBefore === null) throw new Refusal('forbidden');
  const confirmation = { identity, account, session, once };
  await requireConfirmation(call, confirmation);
  return sealConfirmation(call.env, confirmation, call);
}

/**
 * Requires a sign-in at the provider that confirms one access key of the caller.
 * @returns a name for the key, so that a second request with the same confirmation makes no second key
 * @throws unauthenticated, forbidden
 */
export async function requireProviderConfirmation(call: Call, token: string): Promise<string> {
  requireUnscopedUser(call);
  const confirmation = await unsealConfirmation(call.env, token, call);
  if (confirmation === null) {
    throw new Refusal('forbidden', { message: 'this took too long: sign in at the provider again. No key was made' });
  }
  await requireConfirmation(call, confirmation);
  return `provider:${confirmation.once}`;
}

async function requireConfirmation(
  call: Call,
  { identity, account, session }: { identity: Identity; account: string; session: string },
): Promise<void> {
  if (account !== call.authority.subject || session !== sessionOf(call)) {
    throw new Refusal('forbidden', { message: 'another session began this: begin again. No key was made' });
  }
  const owner = await accountOfIdentity(call.env, identity);
  if (owner?.subject === account) return;
  throw new Refusal('forbidden', {
    message: 'you have signed in as somebody who is not linked to your account here: no key was made',
  });
}

/** The identity in a token of `offerIdentity` for the caller; `null` if the token has expired or is for somebody else. */
export async function offeredIdentity(call: Call, token: string): Promise<Identity | null> {
  requireUnscopedUser(call);
  return unsealIdentity(call.env, token, call.authority.subject, call);
}

/**
 * Links an identity to the caller's account. Whoever signs in as the identity can use the account from then on, so a signed-in
 * browser alone is not enough.
 * @throws unauthenticated, forbidden, name-taken, limit-reached
 */
export async function linkOwnIdentity(call: Call, token: string): Promise<void> {
  requireUnscopedUser(call);
  requireNoSession(call);
  const { subject } = call.authority;
  const identity = await offeredIdentity(call, token);
  if (identity === null) {
    throw new Refusal('request-invalid', { message: 'this took too long, or somebody else began it: nothing was linked' });
  }
  await linkIdentity(call.env, subject, identity, actorOf(call));
}

/** Returns whether the caller can confirm a new key by a sign-in at the provider, instead of by an access key. */
export async function canConfirmByProvider(call: Call): Promise<boolean> {
  requireUnscopedUser(call);
  const { oidcIssuer } = settings(call.env);
  if (providerName(call.env) === null || call.authority.credentialKind !== 'session') return false;
  return (await listOwnIdentities(call)).some(({ issuer }) => issuer === oidcIssuer);
}

/** @throws unauthenticated, forbidden, not-found */
export async function unlinkOwnIdentity(call: Call, identity: Identity): Promise<void> {
  requireUnscopedUser(call);
  await unlinkIdentity(call.env, call.authority.subject, identity, actorOf(call));
}

/** Lists the identities that are linked to the caller's account. @throws unauthenticated, forbidden */
export async function listOwnIdentities(call: Call): Promise<LinkedIdentity[]> {
  requireUnscopedUser(call);
  return identitiesOf(call.env, call.authority.subject);
}

function outsideOf({ env, now, fetch }: Arrival) {
  return { now, fetch, insecureIssuers: settings(env).insecureIssuers };
}
