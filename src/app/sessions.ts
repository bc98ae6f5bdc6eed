/** Browser sessions: sign in, use a session, sign out. */
import { noteLogin } from '../auth/audit-log.ts';
import type { Authority } from '../auth/authority.ts';
import type { Credential } from '../auth/credential.ts';
import { beginSession, endLogin, renewSession, verifySession } from '../auth/sessions.ts';
import type { Minted } from '../auth/tokens.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { requireLogin } from './access.ts';
import { credentialByPassword, loadRights, recordLogin } from './authentication.ts';
import type { Arrival, Call } from './call.ts';

export type Session = Minted;
type LimitGuesses = Parameters<typeof credentialByPassword>[2];

/**
 * Starts a browser session. An access key or the administrator's password can start one. A login password cannot, because it
 * may not administer anything, and a session may.
 * @throws unauthenticated for a wrong credential; forbidden for a credential that cannot start a session
 */
export async function signIn(
  arrival: Arrival,
  sent: { name: string | null; password: string },
  limitGuesses: LimitGuesses,
): Promise<Session> {
  const authority = await confirm(arrival, sent, limitGuesses);
  const session = await beginSession(arrival.env, authority, arrival);
  await recordLogin(arrival, (where) => noteLogin(arrival.env, authority, where, arrival.now));
  return session;
}

/**
 * Verifies an access key or administrator's password that a user has typed, and returns its rights. Operations that create a
 * credential do not accept a session, so the user types a credential again.
 * @param subject the account to which the credential must belong, or `null` for any account
 * @throws unauthenticated, forbidden
 */
export async function confirm(
  arrival: Arrival,
  sent: { name: string | null; password: string },
  limitGuesses: LimitGuesses,
  subject: string | null = null,
): Promise<Authority> {
  const credential = await credentialByPassword(arrival, sent, limitGuesses);
  const authority = await loadRights(arrival, credential);
  if (subject !== null && authority.subject !== subject) {
    throw new Refusal('forbidden', { message: 'this access key is not yours: nothing was changed' });
  }
  if (!authority.subject.startsWith('user:')) {
    throw new Refusal('forbidden', { message: "the console is for people: sign in with a user's access key" });
  }
  if (authority.credentialKind === 'key' || authority.credentialKind === 'password') return authority;
  throw new Refusal('forbidden', { message: 'a login password is for docker only: sign in with an access key' });
}

/** Returns the credential in a session cookie, or `null` if the cookie is invalid or has expired. */
export function sessionCredential(arrival: Arrival, token: string): Promise<Credential | null> {
  return verifySession(arrival.env, token, arrival);
}

/** Returns a new token for a session that is in the second half of its lifetime, otherwise `null`. */
export function continueSession(arrival: Arrival, credential: Credential | null): Promise<Session | null> {
  return renewSession(arrival.env, credential, arrival);
}

/** Ends the session of the caller. If the caller used another kind of credential, nothing happens. @throws unauthenticated */
export async function signOut(call: Call): Promise<void> {
  requireLogin(call);
  const { login, credentialKind } = call.authority;
  if (credentialKind === 'session' && login) await endLogin(call.env, login.id);
}
