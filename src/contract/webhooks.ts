/** Schemas of webhooks and their deliveries in the management API. */
import * as z from 'zod';
import { isRepositoryPattern, isTagPattern } from '../oci/pattern.ts';
import { EVENT_TYPES, type EventType } from '../vocabulary/event-types.ts';
import { EVERY_TYPE, FORMAT_NAMES } from '../vocabulary/webhooks.ts';

import { description, instant } from './fields.ts';
import { PAGE_QUERY } from './pages.ts';

const PATTERNS_MAX = 50;

/** The default and the maximum number of seconds for which deliveries are also signed with the previous secret. */
const OVERLAP_DEFAULT = 24 * 60 * 60;
const OVERLAP_MAX = 7 * OVERLAP_DEFAULT;

/** The event types that a webhook can select. `webhook.test` is not among them, because only the tested webhook receives it. */
const TYPES = EVENT_TYPES.filter((type) => type !== 'webhook.test') as [EventType, ...EventType[]];

const url = z
  .string()
  .describe('`https://` and a host on the public internet. The URL may contain a secret: it is stored encrypted');

const headers = z
  .record(z.string(), z.string())
  .describe('Sent with each delivery, for example `Authorization`. Stored encrypted and never shown again');

export const format = z.enum(FORMAT_NAMES);

const types = z
  .nullable(
    z
      .array(z.enum([EVERY_TYPE, ...TYPES]))
      .min(1)
      .max(TYPES.length + 1),
  )
  .describe(
    'Event types to deliver. `["*"]`: all that the format can express. `null` or left out: pushes (a tag is created or ' +
      'moved; in the formats of other registries also `tag.pushed`, a push that changes nothing). `tag.restored`, a ' +
      'tag that names again what it named before it was deleted, is not among them',
  );

const repositories = z
  .nullable(
    z
      .array(z.string().refine(isRepositoryPattern, 'must be a repository name or pattern, such as acme/api or acme/*'))
      .min(1)
      .max(PATTERNS_MAX),
  )
  .describe('Only events about repositories with a matching name. `*` matches any characters. `null`: all events');

const tags = z
  .nullable(z.array(z.string().refine(isTagPattern, 'must be a tag or pattern, such as v1 or v*')).min(1).max(PATTERNS_MAX))
  .describe('Only events that name a matching tag. `*` matches any characters. `null`: all events');

export const newWebhook = z.strictObject({
  url,
  headers: z.optional(headers),
  format: format.default('native'),
  types: z.optional(types),
  repositories: z.optional(repositories),
  tags: z.optional(tags),
  description,
});
export type NewWebhook = z.output<typeof newWebhook>;

/** A new webhook of a repository. It has no field `repositories`, because it receives only events about its own repository. */
export const newRepositoryWebhook = newWebhook.omit({ repositories: true });

export const webhookChange = z.strictObject({
  url: z.optional(url),
  headers: z.optional(headers),
  format: z.optional(format),
  types: z.optional(types),
  repositories: z.optional(repositories),
  tags: z.optional(tags),
  description,
  enabled: z.optional(z.boolean()).describe('`true`: enables the webhook, and ends the pause after failures'),
});
export type WebhookChange = z.output<typeof webhookChange>;

export const secretRotation = z.strictObject({
  overlap: z
    .int()
    .min(0)
    .max(OVERLAP_MAX)
    .default(OVERLAP_DEFAULT)
    .describe('Seconds for which deliveries are also signed with the old secret'),
});

export const state = z.enum(['waiting', 'delivered', 'failed']);

export const deliveryQuery = z.strictObject({ ...PAGE_QUERY, state: z.optional(state) });

export const replayRequest = z
  .strictObject({
    failed: z.optional(z.literal(true)).describe('Replays all failed deliveries'),
    since: z.optional(instant).describe('Replays all events from this time on, including those before the webhook was created'),
    until: z.optional(instant).describe('With `since`: only events before this time'),
    after: z.optional(z.int().min(0)).describe('`next` of the answer before'),
  })
  .refine(({ failed, since }) => (failed === undefined) !== (since === undefined), 'must have either failed or since')
  .refine(({ since, until }) => until === undefined || since !== undefined, 'must have since if it has until');
