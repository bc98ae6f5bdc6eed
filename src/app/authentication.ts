/**
 * Authentication: finds out who makes a request. An HTTP handler parses the credential. This module verifies it, which needs no
 * database for most kinds, and then loads the caller's account and rights from the database.
 */
import { noteFailure } from '../auth/audit-log.ts';
import type { Authority } from '../auth/authority.ts';
import type { Credential } from '../auth/credential.ts';
import { noteUse } from '../auth/directory.ts';
import { noteOutsideLogin } from '../auth/outside/jobs.ts';
import { credentialOfAdministrator, credentialOfPassword } from '../auth/passwords.ts';
import { ANONYMOUS, type Caller, INVALID_TOKEN } from '../auth/policy.ts';
import { loadAuthority } from '../auth/rights/lookup.ts';
import { verifyAccessToken, verifyRefreshToken } from '../auth/tokens.ts';
import { settings } from '../env.ts';
import type { JoinedReads } from '../events/batch.ts';
import { report } from '../telemetry.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import { auditAddress } from './audit-address.ts';
import type { Arrival } from './call.ts';

export type { Caller, Credential };

/**
 * A credential that an HTTP handler has parsed: an access token, or a password of any kind. `name` is the user name that came
 * with the password, or `null` if there was none.
 */
export type SentCredential = { token: string } | { name: string | null; password: string };

/**
 * Runs the comparison of a password that a person may have chosen, and limits how often this happens. The comparison returns
 * `null` if the password is wrong.
 */
type LimitGuesses = <T>(compare: () => Promise<T | null>) => Promise<T | null>;

/**
 * Returns the caller of a request. An invalid access token is refused later, by the check of the route, because the challenge
 * in that refusal must name the scope that the route needs.
 * @param sent the credential, or `null` if the request has none
 * @throws unauthenticated for a wrong password (such a caller is not treated as anonymous); rate-limited
 */
export async function identify(arrival: Arrival, sent: SentCredential | null, limitGuesses: LimitGuesses): Promise<Caller> {
  if (sent === null) return ANONYMOUS;
  if ('token' in sent) return (await verifyAccessToken(arrival.env, sent.token, arrival)) ?? INVALID_TOKEN;
  return { subject: '', credential: await credentialByPassword(arrival, sent, limitGuesses), grants: null };
}

/** Verifies a password of any kind. Records a failed attempt in the audit log. @throws unauthenticated, rate-limited */
export async function credentialByPassword(
  arrival: Arrival,
  { name, password }: { name: string | null; password: string },
  limitGuesses: LimitGuesses,
): Promise<Credential> {
  const { env, now } = arrival;
  const found = await credentialOfPassword(env, name, password, arrival);
  if (found === 'expired') throw expired(arrival);
  const failed = () => recordLogin(arrival, (where) => noteFailure(env, name, where, now));
  const guessed = () =>
    limitGuesses(() => credentialOfAdministrator(env, name, password)).catch(async (error: unknown) => {
      await failed();
      throw error;
    });
  const credential = found === 'guess' ? await guessed() : found;
  if (credential !== null) return credential;
  await failed();
  throw wrongCredentials();
}

/** Verifies a refresh token. @throws unauthenticated if the token is not valid or has expired */
export async function credentialByRefreshToken(arrival: Arrival, token: string): Promise<Credential> {
  const credential = await verifyRefreshToken(arrival.env, token, arrival);
  if (!credential) throw wrongCredentials();
  return credential;
}

interface Loading {
  /** The repositories whose policies are needed to decide on the request. */
  repositories?: readonly string[];
  /** The scope that the request needs. The challenge of a refusal names it. */
  scope?: string;
  /** Further reads that are sent in the same database call. */
  joined?: JoinedReads | null;
}

/**
 * Loads the caller's rights in one database call.
 * @throws unauthenticated if the credential is not valid, or not valid any more
 */
export async function loadRights(
  arrival: Arrival,
  credential: Credential | null,
  { repositories = [], scope, joined = null }: Loading = {},
): Promise<Authority> {
  const { env } = arrival;
  const runtime = { ...arrival, insecureIssuers: settings(env).insecureIssuers };
  const authority = await loadAuthority(env, credential, repositories, runtime, joined).catch((error: unknown) => {
    // The signature of the token is valid, but no trust rule admits the token. The caller may know the cause.
    if (!isRefusal(error, 'unauthenticated')) throw error;
    throw wrongCredentials(scope, error.message);
  });
  if (!authority) throw wrongCredentials(scope);
  if (authority.unused) arrival.work.waitUntil(noteUse(env, authority.unused));
  return authority;
}

/**
 * Loads the caller's rights. If the credential is a token of an outside issuer that is used for the first time, the use is
 * stored. The token service calls `loadRights` and stores the first use itself.
 */
export async function loadCaller(...parameters: Parameters<typeof loadRights>): Promise<Authority> {
  const [{ env, work }] = parameters;
  const authority = await loadRights(...parameters);
  if (authority.unseen) work.waitUntil(noteOutsideLogin(env, authority.unseen));
  return authority;
}

/** Records a login in the audit log, with the client's address. If this fails, the login still succeeds. */
export async function recordLogin(
  { env, network, requestId }: Arrival,
  note: (where: { address: string | null }) => Promise<void>,
): Promise<void> {
  try {
    await note({ address: await auditAddress(env, network) });
  } catch (error) {
    report('login.not-recorded', { requestId, error });
  }
}

/**
 * Returns the refusal of a credential that is wrong, has expired or was revoked, or was issued for another service.
 * @param scope the scope that the request needs. The challenge of the refusal names it
 */
export function wrongCredentials(scope?: string, message = 'the credentials are wrong or have expired: log in again'): Refusal {
  const challenge = { error: 'invalid_token', ...(scope === undefined ? {} : { scope }) } as const;
  return new Refusal('unauthenticated', { message, challenge });
}

function expired({ origin }: Arrival): Refusal {
  const message = `this login has expired: get a new password with POST ${origin}/api/v1/login-password, and log in again`;
  return wrongCredentials(undefined, message);
}
