/**
 * Routes of webhooks. Webhooks are created and listed under the registry, an organization or a repository. They are read,
 * changed, tested and deleted by their id. The routes of deliveries are in `webhook-deliveries.ts`.
 */

import * as z from 'zod';
import { INTERNET } from '../../app/call.ts';
import {
  type CreatedWebhook,
  changeWebhook,
  createWebhook,
  type DeliveryRuntime,
  deleteWebhook,
  describeWebhook,
  listWebhooks,
  REGISTRY_SCOPE,
  rotateWebhookSecret,
  type Scope,
  testWebhook,
  type Webhook,
} from '../../app/subscriptions.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import {
  createdWebhookSchema,
  type NewWebhook,
  newRepositoryWebhook,
  newWebhook,
  secretRotation,
  testResult,
  webhookChange,
  webhookSchema,
} from '../../contract/webhooks.ts';
import { withFieldsIn } from '../../vocabulary/refusal.ts';
import { EVERY_TYPE } from '../../vocabulary/webhooks.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn, webhookIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { limitTestDeliveries } from '../limits.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, idempotencyKeyOf, organizationIn, pageQueryOf } from './params.ts';
import { SAMPLE_HOOK } from './samples.ts';

const GROUP = 'Webhooks';

const list = {
  group: GROUP,
  query: z.strictObject(PAGE_QUERY),
  answers: { 200: { description: 'A page of webhooks, by id', schema: pageSchema(webhookSchema) } },
} as const;

const create = {
  group: GROUP,
  description:
    'The webhook gets events from now on: pushes, unless `types` says otherwise. The secret is shown only once; a ' +
    'repeated request with the same `Idempotency-Key` gets the same answer. A scope may have 50 webhooks, and an ' +
    'organization or user 200 including those of all repositories.',
  repeatable: true,
  refusals: {
    'limit-reached': 'The scope has 50 webhooks, or the organization 200 with those of all repositories',
    conflict: 'The `Idempotency-Key` was used for another request, or the webhook was changed since',
  },
  example: { body: { url: SAMPLE_HOOK, types: ['tag.created', 'tag.moved'], description: 'Deploys' } },
  answers: { 201: { description: 'The webhook and its secret', schema: createdWebhookSchema } },
} as const;

export const webhooks = new Hono<AppEnv>({ strict: false })
  .get(
    '/webhooks',
    operation({ ...list, summary: 'List the webhooks of the registry', description: 'They get all events.' }),
    async (c) => answerList(c, REGISTRY_SCOPE),
  )
  .post('/webhooks', operation({ ...create, summary: 'Create a webhook of the registry', body: newWebhook }), async (c) =>
    answerNew(c, REGISTRY_SCOPE, c.var.body),
  )
  .get(
    '/organizations/:organization/webhooks',
    operation({
      ...list,
      summary: 'List the webhooks of an organization',
      description: 'They get the events of the organization and of its repositories.',
    }),
    async (c) => answerList(c, `organization:${organizationIn(c)}`),
  )
  .post(
    '/organizations/:organization/webhooks',
    operation({ ...create, summary: 'Create a webhook of an organization', body: newWebhook }),
    async (c) => answerNew(c, `organization:${organizationIn(c)}`, c.var.body),
  )
  .get('/repositories/:name{.+}/-/webhooks', operation({ ...list, summary: 'List the webhooks of a repository' }), async (c) =>
    answerList(c, `repository:${repositoryIn(c)}`),
  )
  .post(
    '/repositories/:name{.+}/-/webhooks',
    operation({ ...create, summary: 'Create a webhook of a repository', body: newRepositoryWebhook }),
    async (c) => answerNew(c, `repository:${repositoryIn(c)}`, c.var.body),
  )
  .get(
    '/webhooks/:webhook',
    operation({
      group: GROUP,
      summary: 'Read a webhook',
      answers: { 200: { description: 'The webhook and its ETag', schema: webhookSchema } },
    }),
    async (c) => answerWebhook(await describeWebhook(callOf(c), webhookIn(c))),
  )
  .patch(
    '/webhooks/:webhook',
    operation({
      group: GROUP,
      summary: 'Change a webhook',
      description:
        'Fields that are left out stay unchanged, with one exception: a URL with another scheme, host or port removes ' +
        'the headers, because they may contain a credential for the old host. Send them again with the URL.',
      body: webhookChange,
      example: { body: { types: ['*'], enabled: true } },
      conditional: true,
      refusals: { conflict: 'The stored URL cannot be read since the secret of the registry was replaced: send it again' },
      answers: { 200: { description: 'The changed webhook and its new ETag', schema: webhookSchema } },
    }),
    async (c) => {
      const conditions = { requestOrigin: requestOriginOf(c), ifVersion: expectedVersion(c) };
      const change = () => changeWebhook(callOf(c), webhookIn(c), c.var.body, conditions);
      return answerWebhook(await withFieldsIn('body', change));
    },
  )
  .delete(
    '/webhooks/:webhook',
    operation({
      group: GROUP,
      summary: 'Delete a webhook',
      description: 'Takes effect at once: waiting deliveries are not sent.',
      conditional: true,
      answers: { 204: { description: 'The webhook was deleted' } },
    }),
    async (c) => {
      await deleteWebhook(callOf(c), webhookIn(c), expectedVersion(c));
      return answerNothing();
    },
  )
  .post(
    '/webhooks/:webhook/rotate',
    operation({
      group: GROUP,
      summary: "Replace a webhook's secret",
      description:
        'For `overlap` seconds, deliveries are signed with both the new and the old secret. Earlier secrets no longer ' +
        'sign. Without `If-Match`, a repeated request replaces the secret again.',
      body: secretRotation,
      example: { body: { overlap: 3600 } },
      conditional: true,
      answers: { 200: { description: 'The webhook and its new secret', schema: createdWebhookSchema } },
    }),
    async (c) => {
      const rotation = { overlap: c.var.body.overlap, ifVersion: expectedVersion(c) };
      return answerCreated(await rotateWebhookSecret(callOf(c), webhookIn(c), rotation), 200);
    },
  )
  .post(
    '/webhooks/:webhook/test',
    operation({
      group: GROUP,
      summary: 'Send a test event to a webhook',
      description: 'The event is sent once. If it fails, the answer comes ten seconds after the request and does not say why.',
      answers: {
        200: { description: 'Whether the endpoint answered with a status from 200 to 299', schema: testResult },
      },
    }),
    async (c) => {
      await limitTestDeliveries(c, webhookIn(c).id);
      return answer({ delivered: await testWebhook(callOf(c), webhookIn(c), runtime) });
    },
  );

async function answerList(c: RequestContext & { var: { query: z.output<typeof list.query> } }, scope: Scope) {
  const page = await listWebhooks(callOf(c), scope, pageQueryOf(c.var.query));
  return answerPage(page, shownWebhook, ({ id }) => id);
}

async function answerNew(c: RequestContext, scope: Scope, body: NewWebhook): Promise<Response> {
  const options = { requestOrigin: requestOriginOf(c), idempotency: idempotencyKeyOf(c) };
  return answerCreated(await withFieldsIn('body', () => createWebhook(callOf(c), scope, body, options)), 201);
}

/** The origin that the request was sent to. It may differ from `PUBLIC_URL`. */
function requestOriginOf(c: RequestContext): string {
  return new URL(c.req.url).origin;
}

function answerWebhook(webhook: Webhook): Response {
  return answer(shownWebhook(webhook), { version: webhook.version });
}

/** Answers with a webhook and its new secret. No other answer contains the secret of the webhook. */
function answerCreated({ webhook, secret }: CreatedWebhook, status: 200 | 201): Response {
  return answer({ webhook: shownWebhook(webhook), secret }, { status, version: webhook.version });
}

function shownWebhook(webhook: Webhook): z.output<typeof webhookSchema> {
  const { id, scope, url, headerNames, format, filter, description, disabled, failures, createdBy } = webhook;
  return {
    id,
    scope,
    url,
    headerNames,
    format,
    ...filter,
    types: filter.types ?? [EVERY_TYPE],
    description,
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

const runtime: DeliveryRuntime = {
  now: () => Date.now(),
  random: () => Math.random(),
  ...INTERNET,
};
