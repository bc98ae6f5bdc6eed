/** All operations of the management API with their descriptions. */
import { api } from '../all.ts';
import { operationOf } from '../operation.ts';
import { comments } from './comments.ts';
import { deletions } from './deletions.ts';
import type { Described, Reference } from './described.ts';
import { events } from './events.ts';
import { images } from './images.ts';
import { keys } from './keys.ts';
import { lifecycle } from './lifecycle.ts';
import { maintenance } from './maintenance.ts';
import { me } from './me.ts';
import { organizations } from './organizations.ts';
import { policies } from './policies.ts';
import { repositories } from './repositories.ts';
import { robots } from './robots.ts';
import { tags } from './tags.ts';
import { teams } from './teams.ts';
import { trash } from './trash.ts';
import { trustRules } from './trust-rules.ts';
import { usage } from './usage.ts';
import { users } from './users.ts';
import { webhookDeliveries } from './webhook-deliveries.ts';
import { webhooks } from './webhooks.ts';

const REFERENCE: Reference = {
  ...me,
  ...users,
  ...keys,
  ...organizations,
  ...teams,
  ...robots,
  ...trustRules,
  ...policies,
  ...webhooks,
  ...webhookDeliveries,
  ...events,
  ...comments,
  ...images,
  ...deletions,
  ...tags,
  ...lifecycle,
  ...trash,
  ...usage,
  ...maintenance,
  ...repositories,
};

export interface DescribedRoute {
  method: string;
  /** The pattern of the path after `/api/v1`. */
  path: string;
  operation: Described;
}

const operations = api
  .flatMap(({ routes }) => routes)
  .flatMap(({ method, path, handler }) => {
    const operation = operationOf(handler);
    return operation ? [{ method, path, operation }] : [];
  });

/** The names of operations without a description, and of descriptions without an operation. */
export function unmatched(): string[] {
  const names = operations.map(({ method, path }) => `${method} ${path}`);
  const described = Object.keys(REFERENCE);
  return [...names.filter((name) => !(name in REFERENCE)), ...described.filter((name) => !names.includes(name))];
}

/** The operations in the order in which their routes are tried. */
export const describedRoutes: readonly DescribedRoute[] = operations.flatMap(({ method, path, operation }) => {
  const description = REFERENCE[`${method} ${path}`];
  return description ? [{ method, path, operation: { ...operation, ...description } }] : [];
});

/** The description of an operation. @param path the pattern of its path after `/api/v1` */
export function describedOperation(method: string, path: string): Described | undefined {
  return describedRoutes.find((route) => route.method === method && route.path === path)?.operation;
}
