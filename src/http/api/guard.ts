/**
 * What a route of the management API asks of its caller, by the rights as they stand now. To whoever may not know of a thing,
 * it is not there: an organization, a repository or a webhook of somebody else is a 404, as one that does not exist.
 */
import { createMiddleware } from 'hono/factory';
import type { Authority } from '../../auth/authority.ts';
import { actingAs, allows, isUnscopedUser } from '../../auth/policy.ts';
import { administers } from '../../auth/rights/administering.ts';
import { aboutOf, isAboutRepository } from '../../events/event.ts';
import { parseRepositoryName, type RepositoryName } from '../../oci/name.ts';
import type { RepositoryAction } from '../../vocabulary/actions.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { findSubscription, type Subscription } from '../../webhooks/subscriptions.ts';
import { loadCallerAuthority, unauthorized } from '../authenticate.ts';
import type { AppEnv, RequestContext } from '../context.ts';

type Judged = AppEnv & { Variables: { authority: Authority } };

/** For routes that are about people, or about the caller; see `Requirement` for what each means. */
export function asks(requirement: 'login' | 'account' | 'administrator' | 'owner' | 'owner or self' | 'member') {
  const guard = createMiddleware<Judged>(async function asks(c, next) {
    const authority = await loadCallerAuthority(c, c.var.caller.credential, []);
    if (authority.subject === '') throw unauthorized(c, {});
    if (requirement !== 'login' && requirement !== 'member') requireWhole(authority);
    if (requirement === 'administrator' && !authority.administrator) throw onlyFor('an administrator');
    const organization = (c.req.param('organization') ?? '').toLowerCase();
    if (requirement === 'member') requireNotNarrowed(authority);
    if (requirement === 'owner' || requirement === 'member') requireRole(authority, organization, requirement);
    const self = authority.subject === `user:${(c.req.param('user') ?? '').toLowerCase()}`;
    if (requirement === 'owner or self' && !(self && authority.belongsTo.includes(organization))) {
      requireRole(authority, organization, 'owner');
    }
    c.set('authority', authority);
    await next();
  });
  return Object.assign(guard, { requirement });
}

/** People, their policies and keys are changed by whole credentials only: what is narrowed must not make what is not. */
export function requireWhole(authority: Authority): void {
  if (isUnscopedUser(authority)) return;
  throw new Refusal('forbidden', {
    message: "this needs a user's access key that is not narrowed: not a login, a robot's key or a CI token",
  });
}

/**
 * For what is about people, or ends what others of the same owner hold. The answer is the same whatever there is.
 * @throws forbidden for a credential that reaches less far than its owner
 */
export function requireNotNarrowed({ bounds }: Authority): void {
  if (bounds.length === 0) return;
  throw new Refusal('forbidden', {
    message: 'a narrowed key reaches itself and the repositories that it is for: this needs one that is not narrowed',
  });
}

/** For requests that name an organization elsewhere than in the path. @throws forbidden, not-found */
export function requireOwner(authority: Authority, organization: string): void {
  requireWhole(authority);
  requireRole(authority, organization, 'owner');
}

function requireRole(authority: Authority, organization: string, role: 'owner' | 'member'): void {
  if (authority.administrator || authority.owns.includes(organization)) return;
  if (!authority.belongsTo.includes(organization)) throw new Refusal('not-found');
  if (role === 'owner') throw onlyFor(`an owner of ${organization}`);
}

function onlyFor(whom: string): Refusal {
  return new Refusal('forbidden', { message: `this is for ${whom}` });
}

/** For routes of a repository: hands over its name. Of a tag in the path, it may be all that the caller may delete. */
export function asksFor(action: RepositoryAction) {
  const guard = createMiddleware<AppEnv & { Variables: { authority: Authority; repository: RepositoryName } }>(
    async function asksFor(c, next) {
      const repository = parseRepositoryName(c.req.param('name') ?? '');
      const authority = await loadCallerAuthority(c, c.var.caller.credential, [repository]);
      const tag = c.req.param('tag') ?? null;
      requireRight(c, authority, action, repository, action === 'delete' ? tag : null);
      c.set('authority', { ...authority, subject: actingAs(authority, action, repository, tag) });
      c.set('repository', repository);
      await next();
    },
  );
  return Object.assign(guard, { requirement: action });
}

/** @throws unauthenticated to a stranger, not-found to somebody who may not even pull, forbidden to others */
export function requireRight(
  c: RequestContext,
  authority: Authority,
  action: RepositoryAction,
  repository: string,
  tag: string | null = null,
): void {
  if (allows(authority, action, repository, tag)) return;
  if (authority.subject === '') throw unauthorized(c, {});
  if (allows(authority, 'pull', repository)) {
    throw new Refusal('forbidden', { message: `you may pull ${repository}, but the right to ${action} is missing` });
  }
  throw new Refusal('not-found');
}

/** For routes of a webhook: hands it over to whoever may administer what it listens to. To all others it is not there. */
export function asksAboutWebhook() {
  const guard = createMiddleware<AppEnv & { Variables: { authority: Authority; webhook: Subscription } }>(
    async function asksAboutWebhook(c, next) {
      const webhook = await findSubscription(c.env, c.req.param('webhook') ?? '');
      const about = webhook && aboutOf(webhook.scope);
      const authority = await loadCallerAuthority(
        c,
        c.var.caller.credential,
        about !== null && isAboutRepository(about) ? [about] : [],
      );
      if (authority.subject === '') throw unauthorized(c, {});
      if (webhook === null || about === null || !administers(authority, about)) throw new Refusal('not-found');
      c.set('authority', { ...authority, subject: actingAs(authority, 'admin', about, null) });
      c.set('webhook', webhook);
      await next();
    },
  );
  return Object.assign(guard, { requirement: 'webhook' as const });
}

/** For routes of a deleted repository: the operation finds it, and refuses those who may not administer its name. */
export function asksAboutTrash() {
  const guard = createMiddleware<Judged>(async function asksAboutTrash(c, next) {
    const authority = await loadCallerAuthority(c, c.var.caller.credential, []);
    if (authority.subject === '') throw unauthorized(c, {});
    c.set('authority', authority);
    await next();
  });
  return Object.assign(guard, { requirement: 'trash' as const });
}
