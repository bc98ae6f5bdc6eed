/**
 * What each route asks of its caller: one table, and `may`, the only thing that gives a handler its repository. A handler
 * without it does not compile; a route without a row here, or with another action than its row, fails the tests.
 */
import { createMiddleware } from 'hono/factory';
import { ANONYMOUS, mayDo } from '../auth/policy.ts';
import { type Action, scopeFor } from '../auth/scope.ts';
import { RegistryError } from '../oci/errors.ts';
import { isRepositoryName, parseRepositoryName, type RepositoryName } from '../oci/name.ts';
import { unauthorized } from './authenticate.ts';
import type { AppEnv, RequestContext } from './context.ts';

/** `login`: anybody whose credentials are right. `anyone`: no credentials needed. */
export type Requirement = Action | 'login' | 'anyone';
export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** HEAD is asked as GET. */
export const ROUTES: Record<string, Partial<Record<Method, Requirement>>> = {
  '/v2/': { GET: 'login' },
  '/v2/_catalog': { GET: 'catalog' },
  '/v2/:name{.+}/tags/list': { GET: 'pull' },
  '/v2/:name{.+}/manifests/:reference': { GET: 'pull', PUT: 'push', DELETE: 'delete' },
  '/v2/:name{.+}/referrers/:digest': { GET: 'pull' },
  '/v2/:name{.+}/blobs/uploads': { POST: 'push' },
  '/v2/:name{.+}/blobs/uploads/:upload': { GET: 'push', PATCH: 'push', PUT: 'push', DELETE: 'push' },
  '/v2/:name{.+}/blobs/:digest': { GET: 'pull', DELETE: 'delete' },
  '/token': { GET: 'anyone', POST: 'anyone' },
};

/** For routes of a repository: checks that the caller may do `action` there, and hands over its name. */
export function may(action: Action) {
  const guard = createMiddleware<AppEnv & { Variables: { repository: RepositoryName } }>(async (c, next) => {
    const repository = parseRepositoryName(c.req.param('name') ?? '');
    if (!mayDo(c.var.caller, action, repository)) throw refusal(c, action, repository);
    c.set('repository', repository);
    await next();
  });
  return Object.assign(guard, { requirement: action });
}

/** For routes of the registry as a whole. */
export function mayOverall(requirement: 'catalog' | 'login') {
  const guard = createMiddleware<AppEnv>(async (c, next) => {
    const { caller } = c.var;
    const allowed = requirement === 'login' ? caller !== ANONYMOUS : mayDo(caller, requirement, null);
    if (!allowed) throw requirement === 'login' ? unauthorized(c, {}) : refusal(c, requirement, '');
    await next();
  });
  return Object.assign(guard, { requirement });
}

/** The same for a repository that is private and one that is not there; a client that sees 401 may ask for more. */
function refusal(c: RequestContext, action: Action, repository: string): RegistryError {
  const { caller } = c.var;
  const scope = neededScope(c, action, repository);
  if (caller === ANONYMOUS) return unauthorized(c, { scope });
  if (caller.grants !== null) return insufficientScope(c, scope);
  return new RegistryError('DENIED');
}

/** What a client has to ask for; a mount needs its source as well (end-11). */
export function neededScope(c: RequestContext, action: Action, repository: string): string {
  const from = c.req.query('from') ?? '';
  const source = c.req.query('mount') !== undefined && isRepositoryName(from) ? ` ${scopeFor('pull', from)}` : '';
  return `${scopeFor(action, repository)}${source}`;
}

/** 401 for somebody whose token is right and does not reach far enough (RFC 6750, 3.1). */
export function insufficientScope(c: RequestContext, scope: string): RegistryError {
  return unauthorized(c, { scope, error: 'insufficient_scope' });
}
