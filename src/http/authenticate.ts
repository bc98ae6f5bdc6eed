/** Reads the Authorization header, and writes the challenge (`WWW-Authenticate`) that says which credentials are accepted. */
import type { Context } from 'hono';
import { identify, type SentCredential, wrongCredentials } from '../app/authentication.ts';
import { type Arrival, INTERNET } from '../app/call.ts';
import { REASONS } from '../vocabulary/reasons.ts';
import type { Refusal } from '../vocabulary/refusal.ts';
import { addressOf, recordedNetworkOf } from './address.ts';
import { type AppEnv, baseOf, hostOf, originOf, type RequestContext } from './context.ts';
import { guess } from './limits.ts';

/** Returns the context of a request before its caller is known. */
export function arrivalOf(c: RequestContext): Arrival {
  return {
    ...baseOf(c),
    network: () => recordedNetworkOf(c),
    clientAddress: () => addressOf(c),
    client: c.req.path.startsWith('/api') ? 'api' : 'docker',
    fetch: INTERNET.fetch,
    requestId: c.get('requestId'),
  };
}

/**
 * Sets the variable `caller` for /v2. Accepts a password of any kind with the scheme Basic, and an access token with the scheme
 * Bearer.
 */
export function authenticate(c: Context<AppEnv>): Promise<void> {
  return setCaller(c, (token) => ({ token }));
}

/**
 * Sets the variable `caller` for /api. Accepts a password of any kind with either scheme. An access token is valid for /v2
 * only.
 */
export function authenticateApi(c: Context<AppEnv>): Promise<void> {
  return setCaller(c, (password) => ({ name: null, password }));
}

async function setCaller(c: Context<AppEnv>, bearer: (value: string) => SentCredential): Promise<void> {
  const header = c.req.header('authorization');
  const arrival = arrivalOf(c);
  const sent = header === undefined ? null : sentIn(header, bearer);
  if (sent === 'unreadable') throw wrongCredentials(arrival);
  c.set('caller', await identify(arrival, sent, (compare) => guess(c, compare)));
}

/**
 * Returns the credential in the header, or `unreadable` if the scheme is neither Basic nor Bearer, or the value cannot be
 * parsed.
 */
function sentIn(header: string, bearer: (value: string) => SentCredential): SentCredential | 'unreadable' {
  const [scheme, value] = partsOf(header);
  if (value === null) return 'unreadable';
  if (scheme === 'bearer') return bearer(value);
  return (scheme === 'basic' ? parseBasic(value) : null) ?? 'unreadable';
}

/**
 * Returns the scheme in lower case, and its value. The value is `null` if there are several, because it is unclear which one is
 * meant.
 */
export function partsOf(header: string): [scheme: string, value: string | null] {
  const [scheme = '', value = '', ...more] = header.trim().split(/[ \t]+/);
  return [scheme.toLowerCase(), more.length > 0 ? null : value];
}

/** The maximum number of characters of a Basic value. Real credentials are shorter. */
const BASIC_MAX_LENGTH = 16 * 1024;

/** Parses `base64(name:password)` in UTF-8 (RFC 7617). Returns `null` if the value cannot be parsed. */
export function parseBasic(value: string): { name: string; password: string } | null {
  if (value.length > BASIC_MAX_LENGTH) return null;
  try {
    // Some clients use the URL-safe alphabet of base64.
    const bytes = Uint8Array.from(atob(value.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const colon = text.indexOf(':');
    return colon < 0 ? null : { name: text.slice(0, colon), password: text.slice(colon + 1) };
  } catch {
    return null;
  }
}

/**
 * Returns the headers of a 401 answer (RFC 9110, 15.5.2). Under /v2 the challenge contains the address of the token service and
 * the scope that the request needs (distribution, "Token Authentication Specification"). The token service and the management
 * API ask for the password itself.
 */
export function challengeHeaders(c: RequestContext, refusal: Refusal): Record<string, string> {
  if (refusal.reason !== 'unauthenticated') return {};
  const isContent = c.req.path.startsWith('/v2');
  const scheme = isContent || c.req.path.startsWith('/api') ? 'Bearer' : 'Basic';
  const parameters = isContent ? tokenParameters(c, refusal) : ['realm="berth"'];
  return { 'www-authenticate': `${scheme} ${parameters.join(',')}`, 'cache-control': 'no-store' };
}

/**
 * Matches clients that print the parameter `error` of a challenge, and neither `error_description` nor the body: containerd,
 * and docker with the image store of containerd (containerd, core/remotes/docker/authorizer.go, "server message"). BuildKit is
 * not one of them: it compares the parameter with `insufficient_scope`, and repeats the request if it is anything else.
 */
const PRINTS_ERROR = /\bcontainerd(?:-client)?\//;

function tokenParameters(c: RequestContext, { challenge, message }: Refusal): string[] {
  const { scope, error } = challenge;
  const parameters = [`realm="${originOf(c)}/token"`, `service="${hostOf(c)}"`];
  if (scope) parameters.push(`scope="${scope}"`);
  if (!error) return parameters;
  if (message === REASONS.unauthenticated) return [...parameters, `error="${error}"`];
  // The text must be a quoted string in ASCII without quotes and backslashes (RFC 6750, section 3).
  const text = message.replaceAll(/[^ !#-[\]-~]/g, "'");
  // RFC 6750, section 3.1, defines three codes for `error`. The clients in `PRINTS_ERROR` do not read the code but print it, so
  // they get the message in its place; their users see nothing else of a refusal. Other clients get the code.
  const shown = PRINTS_ERROR.test(c.req.header('user-agent') ?? '') ? text : error;
  // docker with its own image store shows `error_description` when a push is refused.
  return [...parameters, `error="${shown}"`, `error_description="${text}"`];
}
