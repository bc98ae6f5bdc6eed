/**
 * The session cookie of the console. Only the pages of the console read it: `/v2`, `/token` and `/api` never do, and the pages
 * never read an Authorization header.
 */
import { createMiddleware } from 'hono/factory';
import { continueSession, type Session, sessionCredential } from '../../app/sessions.ts';
import { arrivalOf } from '../authenticate.ts';
import { type AppEnv, originOf, type RequestContext } from '../context.ts';

/**
 * The prefix `__Host-` makes browsers accept the cookie only over https, and send it only to this host (RFC 6265bis, 4.1.3.2).
 */
const SECURE_NAME = '__Host-berth';
/** The cookie name on a laptop without https, where a browser may refuse the prefix. */
const LOOPBACK_NAME = 'berth';

const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])$/;

/**
 * Returns true if browser sessions are allowed at this address: over https, or on the loopback interface of this machine.
 * Another host name that leads to a laptop may belong to an attacker's page (DNS rebinding), so it gets neither a session nor a
 * sign-in form.
 */
export function mayHaveSession(c: RequestContext): boolean {
  const { protocol, hostname, host } = new URL(originOf(c));
  // Over https, a browser sends the cookie only to this host. On loopback, the host of the request itself is checked, because a
  // proxy may have changed it.
  return protocol === 'https:' || (LOOPBACK.test(hostname) && new URL(c.req.url).host === host);
}

function cookieName(c: RequestContext): string {
  return originOf(c).startsWith('https:') ? SECURE_NAME : LOOPBACK_NAME;
}

/** Returns the name of the cookie of a sign-in that has begun at a provider. */
function pendingName(c: RequestContext): string {
  return `${cookieName(c)}-sign-in`;
}

/** Returns the token of a sign-in that has begun in this browser, or `null`. */
export function pendingToken(c: RequestContext): string | null {
  return cookieValue(c, pendingName(c));
}

/**
 * Returns the value of a cookie. Returns `null` if there is none, or if there are several, because it is unclear who set which.
 */
function cookieValue(c: RequestContext, name: string): string | null {
  const sent = (c.req.header('cookie') ?? '').split(';').map((pair) => pair.trim());
  const values = sent.filter((pair) => pair.startsWith(`${name}=`)).map((pair) => pair.slice(name.length + 1));
  return values.length === 1 ? (values[0] ?? null) : null;
}

/** Sets the variable `caller` from the session cookie. Sends a new cookie if the session must be renewed. */
export const authenticatePage = createMiddleware<AppEnv>(async function authenticatePage(c, next) {
  const token = mayHaveSession(c) ? cookieValue(c, cookieName(c)) : null;
  const arrival = arrivalOf(c);
  const credential = token === null ? null : await sessionCredential(arrival, token);
  c.set('caller', { subject: '', credential, grants: null });
  await next();
  // A session is renewed only if its rights were just read from D1. Otherwise it may have ended, possibly by this request.
  if (c.var.authority?.credentialKind !== 'session' || c.res.headers.has('set-cookie')) return;
  const renewed = await continueSession(arrival, credential);
  if (renewed) setSession(c, c.res.headers, renewed);
});

/** Adds the cookie of a session to the headers of an answer. */
export function setSession(c: RequestContext, headers: Headers, session: Session): void {
  headers.append('set-cookie', cookie(c, cookieName(c), session.token, lifetimeOf(session)));
}

/** Adds a header that deletes the session cookie. */
export function clearSession(c: RequestContext, headers: Headers): void {
  headers.append('set-cookie', cookie(c, cookieName(c), '', 0));
}

/** Adds the cookie of a sign-in that has begun. */
export function setPending(c: RequestContext, headers: Headers, pending: Session): void {
  headers.append('set-cookie', cookie(c, pendingName(c), pending.token, lifetimeOf(pending)));
}

/** Adds a header that deletes the cookie of a sign-in, so that the sign-in can be finished only once. */
export function clearPending(c: RequestContext, headers: Headers): void {
  headers.append('set-cookie', cookie(c, pendingName(c), '', 0));
}

function lifetimeOf({ expiresAt }: Session): number {
  return Math.max(0, expiresAt - Math.floor(Date.now() / 1000));
}

function cookie(c: RequestContext, name: string, value: string, lifetime: number): string {
  const secure = originOf(c).startsWith('https:') ? '; Secure' : '';
  return `${name}=${value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${lifetime}${secure}`;
}
