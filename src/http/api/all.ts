/** The routes of the management API, in the order in which they are tried. */

import type { AppEnv } from '../context.ts';
import type { Hono } from '../hono.ts';
import { comments } from './comments.ts';
import { deletions } from './deletions.ts';
import { events } from './events.ts';
import { fileComparisons } from './file-changes.ts';
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

/** `repositories` must be the last: its `:name` matches any path, so all routes below a repository must be tried before. */
export const api: Hono<AppEnv>[] = [
  me,
  users,
  keys,
  organizations,
  teams,
  robots,
  trustRules,
  policies,
  webhooks,
  webhookDeliveries,
  events,
  comments,
  images,
  fileComparisons,
  deletions,
  tags,
  lifecycle,
  trash,
  usage,
  maintenance,
  repositories,
];
