/**
 * The session cookie of the console. Only the pages of the console read it: `/v2`, `/token` and `/api` never do, and the pages
 * never read an Authorization header.
 */
import { createMiddleware } from 'hono/factory';
import { continueSession, type Session, sessionCredential } from '../../app/sessions.ts';
import { arrivalOf } from '../authenticate.ts';
import { type AppEnv, originOf, type RequestContext } from '../context.ts';

/** The prefix makes browsers accept the cookie over https only, and for this host only (RFC 6265bis, 4.1.3.2). */
const SECURE_NAME = '__Host-berth';
/** The name on a laptop without https, where a browser may refuse the prefix. */
const LOOPBACK_NAME = 'berth';

const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])$/;

/**
 * True if this address may have sessions: by https, or on the loopback interface of this machine. Another host name that leads
 * to a laptop may belong to a stranger's page (DNS rebinding), so it gets neither a session nor a form to sign in.
 */
export function mayHaveSession(c: RequestContext): boolean {
  const { protocol, hostname, host } = new URL(originOf(c));
  // Over https a browser sends the cookie to this host only. A proxy may have changed the host of the request.
  return protocol === 'https:' || (LOOPBACK.test(hostname) && new URL(c.req.url).host === host);
}

function cookieName(c: RequestContext): string {
  return originOf(c).startsWith('https:') ? SECURE_NAME : LOOPBACK_NAME;
}

/** The name of the cookie of a sign-in that has begun at a provider. */
function pendingName(c: RequestContext): string {
  return `${cookieName(c)}-sign-in`;
}

/** The token of a sign-in that has begun in this browser. */
export function pendingToken(c: RequestContext): string | null {
  return cookieValue(c, pendingName(c));
}

/** The value of a cookie. `null` if there is none, or more than one: it is unclear then who set which. */
function cookieValue(c: RequestContext, name: string): string | null {
  const sent = (c.req.header('cookie') ?? '').split(';').map((pair) => pair.trim());
  const values = sent.filter((pair) => pair.startsWith(`${name}=`)).map((pair) => pair.slice(name.length + 1));
  return values.length === 1 ? (values[0] ?? null) : null;
}

/** Sets `caller` from the session cookie, and sends a new cookie if the session is to be renewed. */
export const authenticatePage = createMiddleware<AppEnv>(async function authenticatePage(c, next) {
  const token = mayHaveSession(c) ? cookieValue(c, cookieName(c)) : null;
  const arrival = arrivalOf(c);
  const credential = token === null ? null : await sessionCredential(arrival, token);
  c.set('caller', { subject: '', credential, grants: null });
  await next();
  // Only a session whose rights were just read is renewed: it may have ended, or the request may have ended it.
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

/** Adds a header that deletes the cookie of a sign-in, so that it finishes at most once. */
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
