/**
 * Who makes the request, as far as what they show says by itself: an access token, or a password of any kind. Whether it
 * still counts, and what they may do, is asked in `authorize.ts`.
 */
import { createMiddleware } from 'hono/factory';
import { auditAddress } from '../app/audit-address.ts';
import type { Authority } from '../auth/authority.ts';
import type { Credential } from '../auth/credential.ts';
import { noteUse } from '../auth/directory.ts';
import { noteFailure } from '../auth/login-log.ts';
import { noteOutsideLogin } from '../auth/outside/logins.ts';
import { credentialOfAdministrator, credentialOfPassword } from '../auth/passwords.ts';
import { ANONYMOUS, type Caller, INVALID_TOKEN } from '../auth/policy.ts';
import { loadAuthority } from '../auth/rights/lookup.ts';
import { verifyAccessToken } from '../auth/tokens.ts';
import { report } from '../telemetry.ts';
import { isRefusal, type Refusal } from '../vocabulary/refusal.ts';
import { recordedNetworkOf } from './address.ts';
import { type AppEnv, afterwards, hostOf, originOf, type RequestContext, runtimeOf } from './context.ts';
import { DoorRefusal } from './errors.ts';
import { guess } from './limits.ts';

/** For /v2: sets `caller`. Nothing shown is a stranger; something wrong shown is a 401, not a stranger. Of a token, the route says
 * that, as its challenge names the scope that the route needs. */
export const authenticate = createMiddleware<AppEnv>(async function authenticate(c, next) {
  const header = c.req.header('authorization');
  c.set('caller', header === undefined ? ANONYMOUS : await callerOf(c, header));
  await next();
});

/** For /api: the same passwords, and an access key or a login password as bearer. Access tokens are for /v2 alone. */
export const authenticateApi = createMiddleware<AppEnv>(async function authenticateApi(c, next) {
  const header = c.req.header('authorization');
  c.set('caller', header === undefined ? ANONYMOUS : await callerOfApi(c, header));
  await next();
});

async function callerOf(c: RequestContext, header: string): Promise<Caller> {
  const [scheme, value] = partsOf(header);
  if (scheme === 'basic') return callerByCredential(await credentialOfBasic(c, value));
  if (scheme !== 'bearer') throw wrongCredentials(c);
  return (await verifyAccessToken(c.env, value, runtimeOf(c))) ?? INVALID_TOKEN;
}

async function callerOfApi(c: RequestContext, header: string): Promise<Caller> {
  const [scheme, value] = partsOf(header);
  if (scheme === 'basic') return callerByCredential(await credentialOfBasic(c, value));
  if (scheme === 'bearer') return callerByCredential(await credentialOf(c, null, value));
  throw wrongCredentials(c);
}

function callerByCredential(credential: Credential): Caller {
  return { subject: '', credential, grants: null };
}

/** What stands between and around does not matter. More than one value is none: nobody can tell which is meant. */
export function partsOf(header: string): [scheme: string, value: string] {
  const [scheme = '', value = '', ...more] = header.trim().split(/[ \t]+/);
  return [scheme.toLowerCase(), more.length > 0 ? '' : value];
}

/** RFC 7617: `base64(name:password)`, UTF-8. @throws unauthenticated, rate-limited */
export async function credentialOfBasic(c: RequestContext, basic: string): Promise<Credential> {
  const credentials = parseBasic(basic);
  if (!credentials) throw wrongCredentials(c);
  return credentialOf(c, credentials.name, credentials.password);
}

/** @throws unauthenticated, rate-limited */
export async function credentialOf(c: RequestContext, name: string | null, password: string): Promise<Credential> {
  const found = await credentialOfPassword(c.env, name, password, runtimeOf(c));
  if (found === 'expired') throw expired(c);
  const failed = () => logged(c, (where) => noteFailure(c.env, name, where, Date.now()));
  const guessed = () =>
    guess(c, () => credentialOfAdministrator(c.env, name, password)).catch(async (error: unknown) => {
      await failed();
      throw error;
    });
  const credential = found === 'guess' ? await guessed() : found;
  if (credential !== null) return credential;
  await failed();
  throw wrongCredentials(c);
}

/** Longer credentials than any that are in use are not looked at. */
const BASIC_MAX_LENGTH = 16 * 1024;

export function parseBasic(value: string): { name: string; password: string } | null {
  if (value.length > BASIC_MAX_LENGTH) return null;
  try {
    // Some clients use the alphabet that is for URLs.
    const bytes = Uint8Array.from(atob(value.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const colon = text.indexOf(':');
    return colon < 0 ? null : { name: text.slice(0, colon), password: text.slice(colon + 1) };
  } catch {
    return null;
  }
}

/**
 * Everything about the caller, with the policies of these repositories. One statement.
 * @param scope what the request needs, for the challenge
 * @throws unauthenticated where what they showed does not count any more
 */
export async function loadCallerAuthority(
  c: RequestContext,
  credential: Credential | null,
  repositories: readonly string[],
  scope?: string,
): Promise<Authority> {
  const authority = await loadAuthority(c.env, credential, repositories, runtimeOf(c)).catch((error: unknown) => {
    // Genuine, and of no use here: no reason to keep why from whoever holds it.
    if (!isRefusal(error, 'unauthenticated')) throw error;
    throw wrongCredentials(c, scope, error.message);
  });
  if (!authority) throw wrongCredentials(c, scope);
  if (authority.unused) afterwards(c).waitUntil(noteUse(c.env, authority.unused));
  // The token service does so itself, where it gives nothing that goes on in the token's place.
  if (authority.unseen && !c.req.path.startsWith('/token')) {
    afterwards(c).waitUntil(noteOutsideLogin(c.env, authority.unseen));
  }
  return authority;
}

/** For what is wrong, and for what was right once: it may have ended, or be for another place. */
export function wrongCredentials(c: RequestContext, scope?: string, why?: string): Refusal {
  const message = why ?? 'the credentials are wrong or have expired: log in again';
  return unauthorized(c, { ...(scope === undefined ? {} : { scope }), error: 'invalid_token', message });
}

/** A login is not refused because it could not be recorded. */
export async function logged(c: RequestContext, note: (where: { address: string | null }) => Promise<void>): Promise<void> {
  try {
    await note({ address: await auditAddress(c.env, recordedNetworkOf(c)) });
  } catch (error) {
    report('login.not-recorded', { requestId: c.var.requestId, error });
  }
}

function expired(c: RequestContext): Refusal {
  const message = `this login has expired: get a new password with POST ${originOf(c)}/api/v1/login-password, and docker login again`;
  return unauthorized(c, { error: 'invalid_token', message });
}

/** Adds the challenge to a refusal of an operation: each 401 has one (RFC 9110, 15.5.2). */
export function withChallenge(c: RequestContext, refusal: Refusal): Refusal {
  const isBare = refusal.reason === 'unauthenticated' && !(refusal instanceof DoorRefusal);
  return isBare ? unauthorized(c, { message: refusal.message }) : refusal;
}

/** 401 with the challenge that tells a client where to get a token and for what (distribution, "Token Authentication"). */
export function unauthorized(c: RequestContext, about: { scope?: string; error?: string; message?: string }): Refusal {
  const origin = originOf(c);
  const parts = [`realm="${origin}/token"`, `service="${hostOf(c)}"`];
  if (about.scope) parts.push(`scope="${about.scope}"`);
  if (about.error) parts.push(`error="${about.error}"`);
  // What docker shows of a push that is refused (RFC 6750, section 3): a quoted string of ASCII.
  if (about.error && about.message) parts.push(`error_description="${about.message.replaceAll(/[^ !#-[\]-~]/g, "'")}"`);
  // The token service and the API have no token to be had elsewhere: they take the password itself.
  const challenge = c.req.path.startsWith('/v2')
    ? `Bearer ${parts.join(',')}`
    : `${c.req.path.startsWith('/api') ? 'Bearer' : 'Basic'} realm="berth"`;
  return new DoorRefusal('unauthenticated', {
    ...(about.message ? { message: about.message } : {}),
    headers: { 'www-authenticate': challenge, 'cache-control': 'no-store' },
  });
}
