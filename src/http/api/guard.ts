/**
 * What a route of the management API requires of its caller. A guard loads the caller's rights as the database has them now, and
 * refuses early; the operation requires the same again.
 */
import { createMiddleware } from 'hono/factory';
import {
  requireAdministrator,
  requireLogin,
  requireMember,
  requireOwner,
  requireOwnerOrSelf,
  requireRight,
  requireUnscopedUser,
} from '../../app/access.ts';
import type { Call } from '../../app/call.ts';
import { requireWebhook } from '../../app/subscriptions.ts';
import type { Authority } from '../../auth/authority.ts';
import { aboutOf, isAboutRepository } from '../../events/event.ts';
import { parseRepositoryName, type RepositoryName } from '../../oci/name.ts';
import type { RepositoryAction } from '../../vocabulary/actions.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { findSubscription, type Subscription } from '../../webhooks/subscriptions.ts';
import { loadCallerAuthority } from '../authenticate.ts';
import { type AppEnv, callOf } from '../context.ts';

type Judged = AppEnv & { Variables: { authority: Authority } };

type PersonalRequirement = 'login' | 'account' | 'administrator' | 'owner' | 'owner or self' | 'member';

/** What each requirement checks, with the names in the path of the request. */
const CHECKS: Record<PersonalRequirement, (call: Call, organization: string, user: string) => void> = {
  login: requireLogin,
  account: requireUnscopedUser,
  administrator: requireAdministrator,
  owner: requireOwner,
  'owner or self': requireOwnerOrSelf,
  member: requireMember,
};

/** For routes that are about people, or about the caller. `Requirement` says what each requirement means. */
export function asks(requirement: PersonalRequirement) {
  const guard = createMiddleware<Judged>(async function asks(c, next) {
    c.set('authority', await loadCallerAuthority(c, c.var.caller.credential, []));
    const [organization = '', user = ''] = [c.req.param('organization'), c.req.param('user')];
    CHECKS[requirement](callOf(c), organization.toLowerCase(), user.toLowerCase());
    await next();
  });
  return Object.assign(guard, { requirement });
}

/** For routes of a repository: sets its name. */
export function asksFor(action: RepositoryAction) {
  const guard = createMiddleware<AppEnv & { Variables: { authority: Authority; repository: RepositoryName } }>(
    async function asksFor(c, next) {
      const repository = parseRepositoryName(c.req.param('name') ?? '');
      const authority = await loadCallerAuthority(c, c.var.caller.credential, [repository]);
      c.set('authority', authority);
      const { subject } = requireRight(callOf(c), action, repository, c.req.param('tag') ?? null);
      c.set('authority', { ...authority, subject });
      c.set('repository', repository);
      await next();
    },
  );
  return Object.assign(guard, { requirement: action });
}

/** For routes of a webhook: sets it for callers who may administer what it listens to. For all others it does not exist. */
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
      requireLogin({ authority });
      if (webhook === null) throw new Refusal('not-found');
      c.set('authority', authority);
      const { subject } = requireWebhook(callOf(c), webhook);
      c.set('authority', { ...authority, subject });
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
    requireLogin({ authority });
    c.set('authority', authority);
    await next();
  });
  return Object.assign(guard, { requirement: 'trash' as const });
}
