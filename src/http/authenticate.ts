/** Who makes the request: a Bearer token of ours, or Basic with a password. What they may do is asked in `authorize.ts`. */
import { createMiddleware } from 'hono/factory';
import { authenticate as authenticateAccount } from '../auth/accounts.ts';
import { ANONYMOUS, type Caller } from '../auth/policy.ts';
import { requireSecret } from '../auth/secrets.ts';
import { verifyAccessToken } from '../auth/tokens.ts';
import { RegistryError } from '../oci/errors.ts';
import { type AppEnv, occasionOf, originOf, type RequestContext } from './context.ts';

/** Sets `caller`. Nothing shown is a stranger; something wrong shown is a 401, not a stranger. */
export const authenticate = createMiddleware<AppEnv>(async function authenticate(c, next) {
  c.set('caller', await callerOf(c));
  await next();
});

async function callerOf(c: RequestContext): Promise<Caller> {
  requireSecret(c.env);
  const header = c.req.header('authorization');
  if (header === undefined) return ANONYMOUS;
  const [scheme = '', value = ''] = header.split(' ', 2);
  const caller = await callerByScheme(c, scheme.toLowerCase(), value);
  if (caller) return caller;
  throw unauthorized(c, { error: 'invalid_token', message: 'the credentials are wrong or have expired: log in again' });
}

function callerByScheme(c: RequestContext, scheme: string, value: string): Promise<Caller | null> | null {
  if (scheme === 'bearer') return verifyAccessToken(c.env, value, occasionOf(c));
  if (scheme === 'basic') return callerByPassword(c, value);
  return null;
}

/** RFC 7617: `base64(name:password)`, UTF-8. */
export async function callerByPassword(c: RequestContext, basic: string): Promise<Caller | null> {
  const credentials = parseBasic(basic);
  return credentials && (await authenticateAccount(c.env, credentials.name, credentials.password));
}

/** Longer credentials than any we make are not looked at. */
const BASIC_MAX_LENGTH = 16 * 1024;

function parseBasic(value: string): { name: string; password: string } | null {
  if (value.length > BASIC_MAX_LENGTH) return null;
  try {
    const bytes = Uint8Array.from(atob(value), (char) => char.charCodeAt(0));
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const colon = text.indexOf(':');
    return colon < 0 ? null : { name: text.slice(0, colon), password: text.slice(colon + 1) };
  } catch {
    return null;
  }
}

/** 401 with the challenge that tells a client where to get a token and for what (distribution, "Token Authentication"). */
export function unauthorized(c: RequestContext, about: { scope?: string; error?: string; message?: string }): RegistryError {
  const origin = originOf(c);
  const parts = [`realm="${origin}/token"`, `service="${new URL(origin).host}"`];
  if (about.scope) parts.push(`scope="${about.scope}"`);
  if (about.error) parts.push(`error="${about.error}"`);
  return new RegistryError('UNAUTHORIZED', {
    ...(about.message ? { message: about.message } : {}),
    headers: { 'www-authenticate': `Bearer ${parts.join(',')}` },
  });
}
