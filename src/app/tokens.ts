/**
 * The token service (distribution, "Token Authentication Specification"). It issues an access token with those of the requested
 * scopes to which the caller has the right. It also issues a refresh token if the client asks for one.
 */
import { noteLogin } from '../auth/audit-log.ts';
import type { Authority } from '../auth/authority.ts';
import { beginLogin, continueLogin } from '../auth/logins.ts';
import { noteOutsideLogin } from '../auth/outside/jobs.ts';
import { grantable } from '../auth/policy.ts';
import { formatGrant, type Grant, MAX_SCOPES, parseScopes, wordsOf } from '../auth/scope.ts';
import { mintAccessToken } from '../auth/tokens.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { endedLogin, recordLogin } from './authentication.ts';
import type { Arrival } from './call.ts';

interface TokenCall extends Arrival {
  /** The rights of the caller. `loadRights` must have loaded the policies of the requested repositories. */
  authority: Authority;
}

interface IssuedToken {
  token: string;
  /** The lifetime of the access token, in seconds. */
  expiresIn: number;
  /** The time when the token was issued, in milliseconds since the epoch. */
  issuedAt: number;
  /** The granted scopes, separated by spaces. */
  scope: string;
  refreshToken: string | null;
}

/**
 * Parses the scopes of a request. Unknown scopes are left out, because the protocol requires that the service grants what it
 * can instead of returning an error.
 * @throws parameter-invalid if the request names more scopes than any client needs
 */
export function requestedScopes(scopes: string[], service: string): Grant[] {
  const words = wordsOf(scopes);
  if (words.length <= MAX_SCOPES) return parseScopes(words, service);
  throw new Refusal('parameter-invalid', { message: `a token has up to ${MAX_SCOPES} scopes` });
}

/** Returns the repositories whose policies are needed for the decision on these scopes. */
export function repositoriesIn(scopes: Grant[]): string[] {
  return scopes.flatMap(({ type, name }) => (type === 'repository' ? [name] : []));
}

/**
 * Issues an access token.
 * @param lasting true if the client asks for a refresh token and is not anonymous
 * @throws unauthenticated if the login of the request's refresh token has ended
 */
export async function issueToken(call: TokenCall, scopes: Grant[], lasting: boolean): Promise<IssuedToken> {
  const { env, authority, now } = call;
  if (!(await continueLogin(env, authority, lasting))) throw endedLogin(call);
  if (startsLogin(authority, lasting)) await recordLogin(call, (where) => noteLogin(env, authority, where, now));
  const grants = grantable(authority, scopes);
  const { token, expiresAt } = await mintAccessToken(env, authority, grants, call);
  // A client without a refresh token sends the CI token again, even after that token has expired. So the first use of the CI
  // token is stored.
  if (authority.unseen && !lasting) await noteOutsideLogin(env, authority.unseen);
  return {
    token,
    expiresIn: Math.max(1, expiresAt - Math.floor(now / 1000)),
    issuedAt: now,
    scope: grants.map(formatGrant).join(' '),
    refreshToken: lasting ? await beginLogin(env, authority, call) : null,
  };
}

/** Returns true if the request starts a new login with a refresh token, and false if it continues a login. */
export function startsLogin({ login }: Authority, lasting: boolean): boolean {
  return lasting && !login;
}
