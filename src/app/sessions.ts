/** Operations of signed-in browsers: sign in, use a session, sign out. */
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
 * Begins a session of a browser. An access key and the administrator's password can begin one. A login password cannot, since
 * it may not administer and a session may.
 * @throws unauthenticated for a wrong credential; forbidden for one that cannot begin a session
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
 * Returns the rights of an access key or of the administrator's password that a person has typed. Operations that make a new
 * credential accept no session, so the person types a credential again.
 * @param subject the account that the credential must belong to; `null` for any
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

/** Returns the credential in a session cookie; `null` if the cookie is not valid or has expired. */
export function sessionCredential(arrival: Arrival, token: string): Promise<Credential | null> {
  return verifySession(arrival.env, token, arrival);
}

/** Returns a new token for a session that is in the second half of its time; otherwise `null`. */
export function continueSession(arrival: Arrival, credential: Credential | null): Promise<Session | null> {
  return renewSession(arrival.env, credential, arrival);
}

/** Ends the session of the caller. Does nothing for another credential. @throws unauthenticated */
export async function signOut(call: Call): Promise<void> {
  requireLogin(call);
  const { login, credentialKind } = call.authority;
  if (credentialKind === 'session' && login) await endLogin(call.env, login.id);
}
