/**
 * Authentication: finds out who makes a request. An HTTP handler parses the credential. This module verifies it, for most kinds
 * without a D1 call, and then loads the caller's account and rights from D1.
 */
import { noteFailure } from '../auth/audit-log.ts';
import type { Authority } from '../auth/authority.ts';
import type { Credential } from '../auth/credential.ts';
import { noteUse } from '../auth/directory.ts';
import { noteOutsideLogin } from '../auth/outside/jobs.ts';
import { credentialOfAdministrator, credentialOfPassword } from '../auth/passwords.ts';
import { ANONYMOUS, type Caller, EMPTY_TOKEN, INVALID_TOKEN } from '../auth/policy.ts';
import { loadAuthority } from '../auth/rights/lookup.ts';
import { isRefreshToken, verifyAccessToken, verifyRefreshToken } from '../auth/tokens.ts';
import { settings } from '../env.ts';
import type { JoinedReads } from '../events/batch.ts';
import { report } from '../telemetry.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import { auditAddress } from './audit-address.ts';
import type { Arrival } from './call.ts';

export type { Caller, Credential };

/**
 * A credential that an HTTP handler has parsed: an access token, or a password of any kind. `name` is the user name sent with
 * the password, or `null` if there was none.
 */
export type SentCredential = { token: string } | { name: string | null; password: string };

/**
 * Runs the comparison of a password that a person may have chosen, and limits how often such comparisons fail. The comparison
 * returns `null` if the password is wrong.
 */
type LimitGuesses = <T>(compare: () => Promise<T | null>) => Promise<T | null>;

/**
 * Returns the caller of a request. A caller with an invalid access token is refused later, in the check of the route, because
 * the challenge must contain the scope that the route needs.
 * @param sent the credential, or `null` if the request has none
 * @throws unauthenticated for a wrong password, because a caller with a wrong password must not be treated as anonymous;
 * rate-limited
 */
export async function identify(arrival: Arrival, sent: SentCredential | null, limitGuesses: LimitGuesses): Promise<Caller> {
  if (sent === null) return ANONYMOUS;
  if ('token' in sent && sent.token === '') return EMPTY_TOKEN;
  if ('token' in sent) return (await verifyAccessToken(arrival.env, sent.token, arrival)) ?? INVALID_TOKEN;
  if (sent.password === '') throw emptyCredential();
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
  if (found === 'expired') throw expiredPassword(arrival);
  const failed = () => recordLogin(arrival, (where) => noteFailure(env, name, where, now));
  const guessed = () =>
    limitGuesses(() => credentialOfAdministrator(env, name, password)).catch(async (error: unknown) => {
      await failed();
      throw error;
    });
  const credential = found === 'guess' ? await guessed() : found;
  if (credential !== null) return credential;
  await failed();
  throw wrongCredentials(arrival);
}

/** Verifies a refresh token. @throws unauthenticated if the token is not valid or has expired */
export async function credentialByRefreshToken(arrival: Arrival, token: string): Promise<Credential> {
  const credential = await verifyRefreshToken(arrival.env, token, arrival);
  if (credential === 'expired') throw expiredLogin(arrival);
  if (!credential) throw endedLogin(arrival);
  return credential;
}

/**
 * Refuses a refresh token that is sent as a password without a name. containerd does this after the token service has refused
 * the token, and shows its users only this second answer. So this answer also says why the login ended. Other passwords are not
 * refused here.
 * @throws unauthenticated
 */
export async function refuseRefreshToken(
  arrival: Arrival,
  { name, password }: { name: string; password: string },
): Promise<void> {
  if (name !== '' || !isRefreshToken(password)) return;
  await loadRights(arrival, await credentialByRefreshToken(arrival, password));
  throw wrongCredentials(arrival);
}

interface Loading {
  /** The repositories whose policies are needed for the decision on the request. */
  repositories?: readonly string[];
  /** The token scope that the request needs. The challenge of a refusal contains it. */
  scope?: string;
  /** Further reads that are made in the same D1 call. */
  joined?: JoinedReads | null;
}

/**
 * Loads the caller's rights in one D1 call. @throws unauthenticated if the credential is invalid, has expired or was revoked
 */
export async function loadRights(
  arrival: Arrival,
  credential: Credential | null,
  { repositories = [], scope, joined = null }: Loading = {},
): Promise<Authority> {
  const { env } = arrival;
  const runtime = { ...arrival, insecureIssuers: settings(env).insecureIssuers };
  const authority = await loadAuthority(env, credential, repositories, runtime, joined).catch((error: unknown) => {
    // The signature of the token is valid, but no trust rule admits the token. The holder of such a token may know why.
    if (!isRefusal(error, 'unauthenticated')) throw error;
    throw refused(error.message, scope);
  });
  if (!authority) throw credential?.kind === 'token' ? endedLogin(arrival, scope) : wrongCredentials(arrival, scope);
  if (authority.unused) arrival.work.waitUntil(noteUse(env, authority.unused));
  return authority;
}

/**
 * Loads the caller's rights. Also stores the first use of a token of another issuer. The token service calls `loadRights`
 * instead, because it stores the first use itself.
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
    await note({ address: await auditAddress(env, network()) });
  } catch (error) {
    report('login.not-recorded', { requestId, error });
  }
}

type Client = Pick<Arrival, 'client' | 'service'>;

/** Returns the message to a caller without a credential. */
export function howToLogIn({ service }: Pick<Arrival, 'service'>): { message: string } {
  return { message: `log in first: docker login ${service}` };
}

/**
 * Returns the refusal of a credential that is wrong, has expired, was revoked, or was issued for another service. The message
 * is the same for a wrong name and a wrong password.
 * @param scope the token scope that the request needs. The challenge of the refusal contains it
 */
export function wrongCredentials({ client, service }: Client, scope?: string): Refusal {
  const remedy = client === 'api' ? 'send another one' : `log in again with docker login ${service}`;
  return refused(`wrong user name or password, or the access key or token has expired or was revoked: ${remedy}`, scope);
}

/** Returns the refusal of an invalid access token. The client then gets a new token without asking the user. */
export function invalidToken({ service }: Pick<Arrival, 'service'>, scope?: string): Refusal {
  return refused(`this token is not valid, or has expired: log in again with docker login ${service}`, scope);
}

/** Returns the refusal of an empty credential. Scripts send one if the variable with the key is not set. */
export function emptyCredential(scope?: string): Refusal {
  return refused('the Authorization header holds no key: is the variable KEY empty?', scope);
}

/** Returns the refusal of a token whose login was ended. */
export function endedLogin(client: Client, scope?: string): Refusal {
  return refused(`this login was ended, or its access key has expired or was revoked: ${again(client)}`, scope);
}

function expiredLogin(client: Client): Refusal {
  return refused(`this login has expired: ${again(client)}`);
}

function expiredPassword(arrival: Arrival): Refusal {
  const password = `get a new password with POST ${arrival.origin}/api/v1/login-password`;
  if (arrival.client === 'api') return refused(`this login has expired: ${password}`);
  return refused(`this login has expired: ${password}, and ${again(arrival)}`);
}

/** docker sends an old login even to images for which none is needed. So the message also says how to pull without a login. */
function again({ client, service }: Client): string {
  if (client === 'api') return 'send another one';
  return `log in again with docker login ${service}. A public image needs no login: docker logout ${service}`;
}

function refused(message: string, scope?: string): Refusal {
  const challenge = { error: 'invalid_token', ...(scope === undefined ? {} : { scope }) } as const;
  return new Refusal('unauthenticated', { message, challenge });
}
