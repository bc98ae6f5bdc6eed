/**
 * The token service (distribution, "Token Authentication Specification"): an access token with as much of the requested scopes
 * as the caller may have, and for a login that lasts a refresh token.
 */
import type { Authority } from '../auth/authority.ts';
import { beginLogin, continueLogin, noteLogin } from '../auth/logins.ts';
import { noteOutsideLogin } from '../auth/outside/jobs.ts';
import { grantable } from '../auth/policy.ts';
import { formatGrant, type Grant, MAX_SCOPES, parseScopes, wordsOf } from '../auth/scope.ts';
import { mintAccessToken } from '../auth/tokens.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { recordLogin, wrongCredentials } from './authentication.ts';
import type { Arrival } from './call.ts';

interface TokenCall extends Arrival {
  /** The caller, with the policies of the requested repositories (`loadRights`). */
  authority: Authority;
}

interface IssuedToken {
  token: string;
  /** Seconds. */
  expiresIn: number;
  /** Milliseconds since the epoch. */
  issuedAt: number;
  /** The granted scopes. */
  scope: string;
  refreshToken: string | null;
}

/**
 * The scopes of a request. Unknown ones are left out: the protocol answers with the intersection, not with an error.
 * @throws parameter-invalid for more scopes than any client needs
 */
export function requestedScopes(scopes: string[], service: string): Grant[] {
  const words = wordsOf(scopes);
  if (words.length <= MAX_SCOPES) return parseScopes(words, service);
  throw new Refusal('parameter-invalid', { message: `a token has up to ${MAX_SCOPES} scopes` });
}

/** The repositories whose policies matter to these scopes. */
export function repositoriesIn(scopes: Grant[]): string[] {
  return scopes.flatMap(({ type, name }) => (type === 'repository' ? [name] : []));
}

/**
 * @param lasting the client asks for a refresh token, and is not anonymous
 * @throws unauthenticated for a refresh token that was used up
 */
export async function issueToken(call: TokenCall, scopes: Grant[], lasting: boolean): Promise<IssuedToken> {
  const { env, authority, now } = call;
  if (!(await continueLogin(env, authority, lasting))) throw wrongCredentials();
  if (startsLogin(authority, lasting)) await recordLogin(call, (where) => noteLogin(env, authority, where, now));
  const grants = grantable(authority, scopes);
  const { token, expiresAt } = await mintAccessToken(env, authority, grants, call);
  // A client without a refresh token sends the CI token again, even after the token has expired.
  if (authority.unseen && !lasting) await noteOutsideLogin(env, authority.unseen);
  return {
    token,
    expiresIn: Math.max(1, expiresAt - Math.floor(now / 1000)),
    issuedAt: now,
    scope: grants.map(formatGrant).join(' '),
    refreshToken: lasting ? await beginLogin(env, authority, call) : null,
  };
}

/** True if the request starts a login with a refresh token, and does not continue one. */
export function startsLogin({ login }: Authority, lasting: boolean): boolean {
  return lasting && !login;
}
