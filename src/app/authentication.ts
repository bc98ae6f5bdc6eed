/**
 * Authentication: who makes a request. A door parses what was sent. This module turns it into a caller, as far as the
 * credential says by itself, and loads what the database knows about the caller.
 */
import type { Authority } from '../auth/authority.ts';
import type { Credential } from '../auth/credential.ts';
import { noteUse } from '../auth/directory.ts';
import { noteFailure } from '../auth/logins.ts';
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

/** A credential as a door has parsed it: an access token, or a password of any kind. `name`: `null` if none came with it. */
export type SentCredential = { token: string } | { name: string | null; password: string };

/** Limits how often passwords that a person may have chosen are compared. The comparison yields `null` for a wrong password. */
type LimitGuesses = <T>(compare: () => Promise<T | null>) => Promise<T | null>;

/**
 * The caller of a request. A caller with an invalid access token is not refused here, but by the route: its challenge names the
 * scope that the route needs.
 * @param sent `null`: nothing was sent
 * @throws unauthenticated for a wrong password, which does not make an anonymous caller; rate-limited
 */
export async function identify(arrival: Arrival, sent: SentCredential | null, limitGuesses: LimitGuesses): Promise<Caller> {
  if (sent === null) return ANONYMOUS;
  if ('token' in sent) return (await verifyAccessToken(arrival.env, sent.token, arrival)) ?? INVALID_TOKEN;
  return { subject: '', credential: await credentialByPassword(arrival, sent, limitGuesses), grants: null };
}

/** @throws unauthenticated, rate-limited */
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

/** @throws unauthenticated */
export async function credentialByRefreshToken(arrival: Arrival, token: string): Promise<Credential> {
  const credential = await verifyRefreshToken(arrival.env, token, arrival);
  if (!credential) throw wrongCredentials();
  return credential;
}

interface Loading {
  /** Repositories whose policies bear on the request. */
  repositories?: readonly string[];
  /** The scope that the request needs, for the challenge. */
  scope?: string;
  /** Reads that join the one call of the database. */
  joined?: JoinedReads | null;
}

/**
 * Loads the caller's rights, in one call of the database.
 * @throws unauthenticated if the credential is not valid any more
 */
export async function loadRights(
  arrival: Arrival,
  credential: Credential | null,
  { repositories = [], scope, joined = null }: Loading = {},
): Promise<Authority> {
  const { env } = arrival;
  const runtime = { ...arrival, insecureIssuers: settings(env).insecureIssuers };
  const authority = await loadAuthority(env, credential, repositories, runtime, joined).catch((error: unknown) => {
    // The token is genuine and no trust rule admits it: its holder may know why.
    if (!isRefusal(error, 'unauthenticated')) throw error;
    throw wrongCredentials(scope, error.message);
  });
  if (!authority) throw wrongCredentials(scope);
  if (authority.unused) arrival.work.waitUntil(noteUse(env, authority.unused));
  return authority;
}

/** Loads the caller's rights, and notes the first use of an outside token. The token service notes it by itself. */
export async function loadCaller(...parameters: Parameters<typeof loadRights>): Promise<Authority> {
  const [{ env, work }] = parameters;
  const authority = await loadRights(...parameters);
  if (authority.unseen) work.waitUntil(noteOutsideLogin(env, authority.unseen));
  return authority;
}

/** Records a login in the audit log, with the client's address. A login is not refused because it cannot be recorded. */
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
 * Refuses a credential that is wrong, has ended, or is for another service.
 * @param scope what the request needs, for the challenge
 */
export function wrongCredentials(scope?: string, message = 'the credentials are wrong or have expired: log in again'): Refusal {
  const challenge = { error: 'invalid_token', ...(scope === undefined ? {} : { scope }) } as const;
  return new Refusal('unauthenticated', { message, challenge });
}

function expired({ origin }: Arrival): Refusal {
  const message = `this login has expired: get a new password with POST ${origin}/api/v1/login-password, and log in again`;
  return wrongCredentials(undefined, message);
}
