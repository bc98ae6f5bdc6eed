/** Reads the Authorization header, and says in a challenge which credentials are wanted. */
import { createMiddleware } from 'hono/factory';
import { identify, type SentCredential, wrongCredentials } from '../app/authentication.ts';
import { type Arrival, INTERNET } from '../app/call.ts';
import { REASONS } from '../vocabulary/reasons.ts';
import type { Refusal } from '../vocabulary/refusal.ts';
import { recordedNetworkOf } from './address.ts';
import { type AppEnv, baseOf, hostOf, originOf, type RequestContext } from './context.ts';
import { guess } from './limits.ts';

/** The request before its caller is known. */
export function arrivalOf(c: RequestContext): Arrival {
  return { ...baseOf(c), network: recordedNetworkOf(c), fetch: INTERNET.fetch, requestId: c.var.requestId };
}

/** For /v2: a password of any kind as Basic, or an access token. Sets `caller`. */
export const authenticate = createMiddleware<AppEnv>(async function authenticate(c, next) {
  await setCaller(c, (token) => ({ token }));
  await next();
});

/**
 * For /api: accepts the same passwords, and an access key or a login password as bearer token. Access tokens are for /v2 only.
 */
export const authenticateApi = createMiddleware<AppEnv>(async function authenticateApi(c, next) {
  await setCaller(c, (password) => ({ name: null, password }));
  await next();
});

type Setter = { set: (key: 'caller', value: AppEnv['Variables']['caller']) => void };

async function setCaller(c: RequestContext & Setter, bearer: (value: string) => SentCredential): Promise<void> {
  const header = c.req.header('authorization');
  const sent = header === undefined ? null : sentIn(header, bearer);
  c.set('caller', await identify(arrivalOf(c), sent, (compare) => guess(c, compare)));
}

/** @throws unauthenticated for another scheme, or a value that cannot be read */
function sentIn(header: string, bearer: (value: string) => SentCredential): SentCredential {
  const [scheme, value] = partsOf(header);
  if (scheme === 'bearer') return bearer(value);
  const sent = scheme === 'basic' ? parseBasic(value) : null;
  if (sent === null) throw wrongCredentials();
  return sent;
}

/** The scheme and its value. With several values the value is empty, because it is unclear which one is meant. */
export function partsOf(header: string): [scheme: string, value: string] {
  const [scheme = '', value = '', ...more] = header.trim().split(/[ \t]+/);
  return [scheme.toLowerCase(), more.length > 0 ? '' : value];
}

/** Longer than any credential that is in use. */
const BASIC_MAX_LENGTH = 16 * 1024;

/** RFC 7617: `base64(name:password)`, UTF-8. */
export function parseBasic(value: string): { name: string; password: string } | null {
  if (value.length > BASIC_MAX_LENGTH) return null;
  try {
    // Some clients use the base64 alphabet for URLs.
    const bytes = Uint8Array.from(atob(value.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const colon = text.indexOf(':');
    return colon < 0 ? null : { name: text.slice(0, colon), password: text.slice(colon + 1) };
  } catch {
    return null;
  }
}

/**
 * Headers of a 401 (RFC 9110, 15.5.2). Under /v2 the challenge says where to get a token and for what (distribution, "Token
 * Authentication Specification"); the token service and the management API take the password itself.
 */
export function challengeHeaders(c: RequestContext, refusal: Refusal): Record<string, string> {
  if (refusal.reason !== 'unauthenticated') return {};
  const isContent = c.req.path.startsWith('/v2');
  const scheme = isContent || c.req.path.startsWith('/api') ? 'Bearer' : 'Basic';
  const parameters = isContent ? tokenParameters(c, refusal) : ['realm="berth"'];
  return { 'www-authenticate': `${scheme} ${parameters.join(',')}`, 'cache-control': 'no-store' };
}

function tokenParameters(c: RequestContext, { challenge, message }: Refusal): string[] {
  const { scope, error } = challenge;
  const parameters = [`realm="${originOf(c)}/token"`, `service="${hostOf(c)}"`];
  if (scope) parameters.push(`scope="${scope}"`);
  if (error) parameters.push(`error="${error}"`);
  // docker shows this text when a push is refused. It is a quoted string of ASCII (RFC 6750, section 3).
  const isSaid = error !== undefined && message !== REASONS.unauthenticated;
  if (isSaid) parameters.push(`error_description="${message.replaceAll(/[^ !#-[\]-~]/g, "'")}"`);
  return parameters;
}
