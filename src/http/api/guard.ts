/**
 * What a route of the management API asks of its caller, by the rights as they stand now. To whoever may not know of a thing,
 * it is not there: an organization or a repository of somebody else is a 404, as one that does not exist.
 */
import { createMiddleware } from 'hono/factory';
import type { Authority } from '../../auth/authority.ts';
import { allows, isWhole } from '../../auth/policy.ts';
import type { RepositoryAction } from '../../auth/statement.ts';
import { RegistryError } from '../../oci/errors.ts';
import { parseRepositoryName, type RepositoryName } from '../../oci/name.ts';
import { authorityOf, unauthorized } from '../authenticate.ts';
import type { AppEnv, RequestContext } from '../context.ts';

type Judged = AppEnv & { Variables: { authority: Authority } };

/** For routes that are about people, or about the caller; see `Requirement` for what each means. */
export function asks(requirement: 'login' | 'account' | 'administrator' | 'owner' | 'member') {
  const guard = createMiddleware<Judged>(async function asks(c, next) {
    const authority = await authorityOf(c, c.var.caller.proof, []);
    if (authority.subject === '') throw unauthorized(c, {});
    if (requirement !== 'login' && requirement !== 'member') requireWhole(authority);
    if (requirement === 'administrator' && !authority.administrator) throw onlyFor('an administrator');
    if (requirement === 'owner' || requirement === 'member') requireRole(c, authority, requirement);
    c.set('authority', authority);
    await next();
  });
  return Object.assign(guard, { requirement });
}

/** People, their policies and keys are changed by whole credentials only: what is narrowed must not make what is not. */
export function requireWhole(authority: Authority): void {
  if (isWhole(authority)) return;
  throw new RegistryError('DENIED', {
    message: "this needs a user's access key that is not narrowed: not a login, a robot's key or a CI token",
  });
}

function requireRole(c: RequestContext, authority: Authority, role: 'owner' | 'member'): void {
  const organization = (c.req.param('organization') ?? '').toLowerCase();
  if (authority.administrator || authority.owns.includes(organization)) return;
  if (!authority.belongsTo.includes(organization)) throw new RegistryError('NOT_FOUND');
  if (role === 'owner') throw onlyFor(`an owner of ${organization}`);
}

function onlyFor(whom: string): RegistryError {
  return new RegistryError('DENIED', { message: `this is for ${whom}` });
}

/** For routes of a repository: hands over its name. */
export function asksFor(action: RepositoryAction) {
  const guard = createMiddleware<AppEnv & { Variables: { authority: Authority; repository: RepositoryName } }>(
    async function asksFor(c, next) {
      const repository = parseRepositoryName(c.req.param('name') ?? '');
      const authority = await authorityOf(c, c.var.caller.proof, [repository]);
      requireRight(c, authority, action, repository);
      c.set('authority', authority);
      c.set('repository', repository);
      await next();
    },
  );
  return Object.assign(guard, { requirement: action });
}

/** @throws UNAUTHORIZED to a stranger, NOT_FOUND to somebody who may not even pull, DENIED to others */
export function requireRight(c: RequestContext, authority: Authority, action: RepositoryAction, repository: string): void {
  if (allows(authority, action, repository)) return;
  if (authority.subject === '') throw unauthorized(c, {});
  if (allows(authority, 'pull', repository)) {
    throw new RegistryError('DENIED', { message: `you may pull ${repository}, but the right to ${action} is missing` });
  }
  throw new RegistryError('NOT_FOUND');
}
