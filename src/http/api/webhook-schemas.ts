/** What requests and answers about webhooks have in common, whatever they listen to. */
import * as z from 'zod';
import { description } from '../../contract/fields.ts';
import { isRepositoryPattern, isTagPattern } from '../../oci/pattern.ts';
import { EVENT_TYPES, type EventType } from '../../vocabulary/event-types.ts';
import { EVERY_TYPE, FORMAT_NAMES } from '../../vocabulary/webhooks.ts';
import { shownUrl, unseal } from '../../webhooks/endpoint/sealing.ts';
import type { Subscription } from '../../webhooks/subscriptions.ts';
import type { RequestContext } from '../context.ts';
import { answer, timeOf } from './answers.ts';

const PATTERNS_MAX = 50;

/** A test is sent to whom it is about, and to no other. */
const TYPES = EVENT_TYPES.filter((type) => type !== 'webhook.test') as [EventType, ...EventType[]];

const url = z
  .string()
  .describe('`https://` and the name of a host of the public internet. It may hold a secret: it is kept encrypted.');

const headers = z
  .record(z.string(), z.string())
  .describe('Sent with each delivery: `Authorization`, for one. Kept encrypted, and shown to nobody again.');

const format = z.enum(FORMAT_NAMES);

const types = z
  .nullable(
    z
      .array(z.enum([EVERY_TYPE, ...TYPES]))
      .min(1)
      .max(TYPES.length + 1),
  )
  .describe(
    'The types of events that are delivered. `["*"]`: all that the format can express. Left out or `null`: pushes (a tag was created or moved, and in the formats of other registries `tag.pushed`, a push that changes nothing). Tags of signatures, attestations, SBOMs and lists of referrers are heard with `["*"]` or a filter of tags that matches them',
  );

const repositories = z
  .nullable(z.array(z.string().refine(isRepositoryPattern, 'is no repository name or pattern')).min(1).max(PATTERNS_MAX))
  .describe('Only events about repositories of these names, in which `*` stands for any run of characters. `null`: all events');

const tags = z
  .nullable(z.array(z.string().refine(isTagPattern, 'is no tag or pattern')).min(1).max(PATTERNS_MAX))
  .describe('Only events that name one of these tags, in which `*` stands for any run of characters. `null`: all events');

export const webhookBody = z.strictObject({
  url,
  headers: z.optional(headers),
  format: format.default('native'),
  types: z.optional(types),
  repositories: z.optional(repositories),
  tags: z.optional(tags),
  description,
});

/** A repository's own is about that repository. */
export const repositoryWebhookBody = webhookBody.omit({ repositories: true });

export const webhookChangeBody = z.strictObject({
  url: z.optional(url),
  headers: z.optional(headers),
  format: z.optional(format),
  types: z.optional(types),
  repositories: z.optional(repositories),
  tags: z.optional(tags),
  description,
  enabled: z.optional(z.boolean()).describe('`true` also has an endpoint that failed be asked again at once'),
});

const webhookSchema = z.strictObject({
  id: z.string(),
  scope: z.string().describe('What it listens to: `registry`, `organization:…` or `repository:…`'),
  url: z
    .nullable(z.string())
    .describe(
      'Without what may be a secret. `null`: it cannot be read since the secret of the registry was replaced; give it again',
    ),
  headerNames: z.array(z.string()),
  format,
  types: z.array(z.string()).describe('`["*"]`: all that the format can express'),
  repositories: z.nullable(z.array(z.string())),
  tags: z.nullable(z.array(z.string())),
  description: z.string(),
  enabled: z.boolean(),
  disabled: z
    .nullable(z.string())
    .describe(
      'Why it is told nothing: `by …`; `gone`, as its endpoint answered 410; `owner-lost-access`, as whoever made it, or last gave it its URL or enabled it, may not administer any more what it listens to. With `enabled: true` whoever may takes it over',
    ),
  failures: z.int().describe('In a row'),
  pausedUntil: z.nullable(z.iso.datetime()).describe('As its endpoint failed too often, it is left in peace until then'),
  previousSecretUntil: z.nullable(z.iso.datetime()).describe('Until then the secret before the last one signs as well'),
  createdAt: z.iso.datetime(),
  createdBy: z.string(),
});

export const shownWebhookSchema = webhookSchema;

export const madeWebhookSchema = z.strictObject({
  webhook: webhookSchema,
  secret: z.string().describe('Shown this once: what deliveries are signed with, as Standard Webhooks writes it'),
});

export async function shownWebhook(c: RequestContext, webhook: Subscription): Promise<z.output<typeof webhookSchema>> {
  const { id, scope, filter, description: said, disabled, failures, createdBy } = webhook;
  const endpoint = await unseal(c.env, id, webhook.endpoint);
  return {
    id,
    scope,
    url: endpoint && shownUrl(endpoint, webhook.format === 'slack'),
    headerNames: Object.keys(endpoint?.headers ?? {}),
    format: webhook.format,
    ...filter,
    types: filter.types ?? [EVERY_TYPE],
    description: said,
    enabled: disabled === null,
    disabled,
    failures,
    pausedUntil: timeIfAhead(webhook.openUntil),
    previousSecretUntil: timeIfAhead(webhook.previousUntil),
    createdAt: timeOf(webhook.createdAt),
    createdBy,
  };
}

function timeIfAhead(seconds: number): string | null {
  return seconds * 1000 > Date.now() ? timeOf(seconds) : null;
}

export async function answerWebhook(c: RequestContext, webhook: Subscription): Promise<Response> {
  return answer(await shownWebhook(c, webhook), { version: webhook.version });
}

/** With the secret: the only answers that have one. */
export async function answerMadeWebhook(
  c: RequestContext,
  { subscription, secret }: { subscription: Subscription; secret: string },
  status: 200 | 201,
): Promise<Response> {
  return answer({ webhook: await shownWebhook(c, subscription), secret }, { status, version: subscription.version });
}
