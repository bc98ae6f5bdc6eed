/**
 * What each route asks of its caller: one table, and `may`, the only thing that gives a handler its repository. A handler
 * without it does not compile; a route without a row in `routes.ts`, or with another requirement than its row, fails the tests.
 *
 * A pull with an access token is judged by the token. Everything else asks the database once, so that a right that was taken
 * away is gone at once.
 */
import { createMiddleware } from 'hono/factory';
import type { Authority } from '../auth/authority.ts';
import { ANONYMOUS, actingAs, allows, INVALID_TOKEN, isGranted } from '../auth/policy.ts';
import { type Action, scopeFor } from '../auth/scope.ts';
import { isRepositoryName, parseRepositoryName, type RepositoryName } from '../oci/name.ts';
import { isTag } from '../oci/reference.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { loadCallerAuthority, unauthorized, wrongCredentials } from './authenticate.ts';
import type { AppEnv, RequestContext } from './context.ts';
import { limitExpensiveReads, limitWrites } from './limits.ts';

type Guarded = AppEnv & { Variables: { repository: RepositoryName } };

/** For routes of a repository under /v2: checks that the caller may do `action` there, and hands over its name. */
export function may(action: Exclude<Action, 'catalog'>) {
  const guard = createMiddleware<Guarded>(async function may(c, next) {
    const repository = parseRepositoryName(c.req.param('name') ?? '');
    const { caller } = c.var;
    if (caller === ANONYMOUS || !isGranted(caller, action, repository)) throw refusal(c, action, repository);
    // HEAD reads, as GET does.
    const reads = c.req.method === 'GET' || c.req.method === 'HEAD';
    if (caller.grants === null || !reads) await judge(c, action, repository);
    if (!reads) await limitWrites(c);
    else if (isList(c)) await limitExpensiveReads(c);
    c.set('repository', repository);
    await next();
  });
  return Object.assign(guard, { requirement: action });
}

/** Of tags, or of referrers: they read a row for each item. */
function isList(c: RequestContext): boolean {
  return c.req.path.endsWith('/tags/list') || (c.req.path.includes('/referrers/') && c.req.param('reference') === undefined);
}

/** By the rights as they stand now. */
async function judge(
  c: RequestContext & { set: Setter },
  action: Exclude<Action, 'catalog'>,
  repository: RepositoryName,
): Promise<void> {
  const needed = neededScope(c, action, repository);
  const authority = await loadCallerAuthority(c, c.var.caller.credential, [repository, ...sourceOf(c)], needed);
  c.set('authority', { ...authority, subject: actingAs(authority, action, repository, tagNamed(c)) });
  if (!allows(authority, action, repository, tagDeleted(c))) throw refusal(c, action, repository);
}

/** The tag that a put or a deletion names, for the record of who did it. */
function tagNamed(c: RequestContext): string | null {
  const reference = c.req.param('reference') ?? '';
  return isTag(reference) ? reference : (c.req.query('tag') ?? null);
}

type Setter = (key: 'authority', value: Authority) => void;

/** Of a deletion by tag, that tag: it may be all that the caller may delete. Of a put, the handler asks for each of its tags. */
function tagDeleted(c: RequestContext): string | null {
  const reference = c.req.method === 'DELETE' ? (c.req.param('reference') ?? '') : '';
  return isTag(reference) ? reference : null;
}

/** A mount needs its source as well (end-11). */
function sourceOf(c: RequestContext): RepositoryName[] {
  const from = c.req.query('from') ?? '';
  return c.req.query('mount') !== undefined && isRepositoryName(from) ? [from] : [];
}

/** For routes of the registry as a whole under /v2. */
export function mayOverall(requirement: 'catalog' | 'login') {
  const guard = createMiddleware<AppEnv>(async function mayOverall(c, next) {
    const { caller } = c.var;
    if (caller === INVALID_TOKEN && requirement === 'login') throw wrongCredentials(c);
    if (caller === ANONYMOUS) throw requirement === 'login' ? unauthorized(c, {}) : refusal(c, requirement, '');
    if (requirement === 'catalog' && !isGranted(caller, 'catalog', null)) throw refusal(c, requirement, '');
    if (requirement === 'catalog' || caller.grants === null)
      c.set('authority', await loadCallerAuthority(c, caller.credential, []));
    if (requirement === 'catalog') await limitExpensiveReads(c, 5000);
    await next();
  });
  return Object.assign(guard, { requirement });
}

/**
 * The same for a repository that is private and one that is not there; a client that sees 401 may ask for more. Whoever may
 * pull knows of the repository, and is told what is missing.
 */
function refusal(c: RequestContext, action: Action, repository: string): Refusal {
  const { caller, authority } = c.var;
  const scope = neededScope(c, action, repository);
  if (caller === ANONYMOUS) return unauthorized(c, { scope });
  if (caller === INVALID_TOKEN) return wrongCredentials(c, scope);
  const visible =
    action !== 'pull' && action !== 'catalog' && (authority ? allows(authority, 'pull', repository) : knows(c, repository));
  const missing = visible ? { message: `you may pull ${repository}, but the right to ${action} is missing` } : {};
  if (caller.grants !== null && !isGranted(caller, action, repository || null)) return insufficientScope(c, scope, missing);
  return new Refusal('forbidden', missing);
}

function knows(c: RequestContext, repository: string): boolean {
  return c.var.caller.grants !== null && isGranted(c.var.caller, 'pull', repository);
}

/** What a client has to ask for; a mount needs its source as well (end-11). */
function neededScope(c: RequestContext, action: Action, repository: string): string {
  return [scopeFor(action, repository), ...sourceOf(c).map((from) => scopeFor('pull', from))].join(' ');
}

/** 401 for somebody whose token is right and does not reach far enough (RFC 6750, 3.1). */
function insufficientScope(c: RequestContext, scope: string, about: { message?: string } = {}): Refusal {
  return unauthorized(c, { scope, error: 'insufficient_scope', ...about });
}
