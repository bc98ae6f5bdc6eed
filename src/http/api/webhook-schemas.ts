/** What requests and answers about webhooks have in common, whatever they listen to. */
import * as z from 'zod';
import { description } from '../../contract/fields.ts';
import { settings } from '../../env.ts';
import { isRepositoryPattern, isTagPattern } from '../../oci/pattern.ts';
import { EVENT_TYPES, type EventType } from '../../vocabulary/event-types.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { EVERY_TYPE, FORMAT_NAMES, type FormatName } from '../../vocabulary/webhooks.ts';
import { refusalOfAddress } from '../../webhooks/endpoint/address.ts';
import { refusalOfHeaders } from '../../webhooks/endpoint/custom-headers.ts';
import { type Endpoint, shownUrl, unseal } from '../../webhooks/endpoint/sealing.ts';
import { defaultTypes, type Filter, type Scope } from '../../webhooks/filter.ts';
import { FORMATS } from '../../webhooks/formats/all.ts';
import type { Change, Subscription } from '../../webhooks/subscriptions.ts';
import { originOf, type RequestContext } from '../context.ts';
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

/** @throws request-invalid, with words that name no secret */
export function endpointIn(c: RequestContext, endpoint: Endpoint): Endpoint {
  const ownHosts = [originOf(c), c.req.url].map((own) => new URL(own).host);
  const ofUrl = refusalOfAddress(endpoint.url, { ownHosts, insecure: settings(c.env).insecureWebhooks });
  if (ofUrl !== null) throw invalid(`body.url: ${ofUrl}`);
  const ofHeaders = refusalOfHeaders(endpoint.headers);
  if (ofHeaders !== null) throw invalid(`body.headers: ${ofHeaders}`);
  return endpoint;
}

interface SentFilter {
  types?: Filter['types'] | undefined;
  repositories?: string[] | null | undefined;
  tags?: string[] | null | undefined;
}

/**
 * As it is kept; what is left out is as in `before`.
 * @throws request-invalid for one by which the webhook could hear less than it says
 */
export function filterIn(
  sent: SentFilter,
  before: Filter,
  { scope, format: name }: { scope: Scope; format: FormatName },
): Filter {
  const types = sent.types === undefined ? before.types : orderedTypes(sent.types ?? defaultTypes(name));
  const filter = {
    types,
    repositories: sent.repositories === undefined ? before.repositories : sent.repositories,
    tags: sent.tags === undefined ? before.tags : sent.tags,
  };
  const mute = types?.filter((type) => type !== EVERY_TYPE && !FORMATS[name].speaksOf(type)) ?? [];
  if (mute.length > 0) throw invalid(`body.types: the format "${name}" has no words for ${mute.join(', ')}`);
  if (filter.repositories && scope.startsWith('repository:')) {
    throw invalid('body.repositories: this webhook is about one repository');
  }
  return filter;
}

/** In one order, whatever they came in. */
function orderedTypes(sent: NonNullable<Filter['types']>): NonNullable<Filter['types']> {
  return sent.includes(EVERY_TYPE) ? [EVERY_TYPE] : TYPES.filter((type) => sent.includes(type));
}

/** The filter of a new webhook for which nothing is said. */
export function newFilter(format: FormatName): Filter {
  return { types: defaultTypes(format), repositories: null, tags: null };
}

/** What the request makes of the webhook. @throws request-invalid, conflict */
export async function changeIn(
  c: RequestContext,
  webhook: Subscription,
  sent: z.output<typeof webhookChangeBody>,
): Promise<Change> {
  const filter = filterIn(sent, webhook.filter, { scope: webhook.scope, format: sent.format ?? webhook.format });
  const moved = sent.url !== undefined || sent.headers !== undefined;
  const endpoint = moved ? endpointIn(c, await mergedEndpoint(c, webhook, sent)) : undefined;
  return { description: sent.description, endpoint, filter, format: sent.format, enabled: sent.enabled, origin: originOf(c) };
}

/** Headers may be credentials: what was given for one host is not sent to another, by whoever may change the URL. */
async function mergedEndpoint(
  c: RequestContext,
  webhook: Subscription,
  sent: { url?: string | undefined; headers?: Record<string, string> | undefined },
): Promise<Endpoint> {
  const known = await unseal(c.env, webhook.id, webhook.endpoint);
  const to = sent.url ?? known?.url;
  if (to === undefined) {
    throw new Refusal('conflict', {
      message: 'the URL cannot be read since the secret of the registry was replaced: give it again, with its headers',
    });
  }
  const stays = known !== null && URL.parse(known.url)?.origin === URL.parse(to)?.origin;
  return { url: to, headers: sent.headers ?? (stays ? known.headers : {}) };
}

function invalid(message: string): Refusal {
  return new Refusal('request-invalid', { message });
}
