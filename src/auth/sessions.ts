/**
 * Browser sessions. A session is a JWT in a cookie, and a row of `logins`. The row is read together with the caller's rights.
 * So signing out, revoking the access key, and disabling the user end a session at once. Using a session prolongs it, but never
 * beyond its end. A session allows no more than the credential with which the user signed in.
 */
import type { Database } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import type { Secrets } from '../secrets.ts';
import type { Authority } from './authority.ts';
import type { Credential, SessionTimes } from './credential.ts';
import { openLogin } from './logins.ts';
import type { TokenContext } from './runtime.ts';
import type { Passwords } from './secrets.ts';
import { credentialOf, isOfPassword, type Kind, type Minted, mint, REFRESH_TOKEN_LIFETIME, verify } from './tokens.ts';

/** The kind of session tokens. The lifetime is the time without a request after which a session ends. */
const SESSION: Kind = { label: 'session', typ: 'berth-session+jwt', lifetime: 12 * 60 * 60 };

type SessionCredential = Extract<Credential, { kind: 'token' }> &
  Required<Pick<Extract<Credential, { kind: 'token' }>, 'login'>>;

/** Starts a session for a caller who has just sent a credential. */
export async function beginSession(env: Database & Secrets, authority: Authority, context: TokenContext): Promise<Minted> {
  const id = crypto.randomUUID();
  await openLogin(env, id, authority.subject);
  const since = Math.floor(context.now / 1000);
  const end = Math.min(since + REFRESH_TOKEN_LIFETIME, authority.until ?? Number.POSITIVE_INFINITY);
  return mintSession(env, authority, { id, session: { since, end } }, context);
}

/** Returns a token with a later expiry if half of the session's lifetime without a request has passed, otherwise `null`. */
export async function renewSession(env: Secrets, credential: Credential | null, context: TokenContext): Promise<Minted | null> {
  if (!isSession(credential)) return null;
  const { session, login, until } = credential;
  const rest = until - context.now / 1000;
  if (rest > SESSION.lifetime / 2 || until >= session.end) return null;
  return mintSession(env, credential, { id: login.id, session }, context);
}

function isSession(credential: Credential | null): credential is SessionCredential & { session: SessionTimes } {
  return credential?.kind === 'token' && credential.session !== undefined && credential.login !== undefined;
}

async function mintSession(
  env: Secrets,
  { subject, credentialOrigin }: Pick<Authority, 'subject' | 'credentialOrigin'>,
  { id, session }: { id: string; session: SessionTimes },
  context: TokenContext,
): Promise<Minted> {
  const claims = { via: credentialOrigin, login: id, since: session.since, end: session.end };
  const token = await mint(env, SESSION, { subject, claims, until: session.end }, context);
  return { token, expiresAt: Math.min(Math.floor(context.now / 1000) + SESSION.lifetime, session.end) };
}

/**
 * Verifies a session token. @returns `null` if it is invalid or has expired. Whether the session was ended is decided later
 * from D1
 */
export async function verifySession(env: Passwords, token: string, context: TokenContext): Promise<Credential | null> {
  const claims = await verify(env, SESSION, token, context);
  if (claims === null || claims === 'expired' || !(await isOfPassword(env, claims))) return null;
  const session = { since: Number(claims.since), end: Number(claims.end) };
  return { ...credentialOf(claims), login: { id: String(claims.login), generation: 0 }, session };
}

/** Ends a session or another login. @param id the id of the login */
export async function endLogin(env: Database, id: string): Promise<void> {
  await prepare(env, 'UPDATE logins SET ended = 1 WHERE id = :id', { id }).run();
}
