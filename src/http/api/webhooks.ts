/**
 * Routes of webhooks. Webhooks are created and listed below the registry, an organization or a repository. They are read,
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
import type { webhookSchema } from '../../contract/answers/webhooks.ts';
import { PAGE_QUERY } from '../../contract/pages.ts';
import { type NewWebhook, newRepositoryWebhook, newWebhook, secretRotation, webhookChange } from '../../contract/webhooks.ts';
import { withFieldsIn } from '../../vocabulary/refusal.ts';
import { EVERY_TYPE } from '../../vocabulary/webhooks.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn, webhookIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { limitTestDeliveries } from '../limits.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, idempotencyKeyOf, organizationIn, pageQueryOf } from './params.ts';

const LISTED = z.strictObject(PAGE_QUERY);

export const webhooks = new Hono<AppEnv>({ strict: false })
  .get('/webhooks', operation({ query: LISTED }), async (c) => answerList(c, REGISTRY_SCOPE))
  .post('/webhooks', operation({ repeatable: true, body: newWebhook }), async (c) => answerNew(c, REGISTRY_SCOPE, c.var.body))
  .get('/organizations/:organization/webhooks', operation({ query: LISTED }), async (c) =>
    answerList(c, `organization:${organizationIn(c)}`),
  )
  .post('/organizations/:organization/webhooks', operation({ repeatable: true, body: newWebhook }), async (c) =>
    answerNew(c, `organization:${organizationIn(c)}`, c.var.body),
  )
  .get('/repositories/:name{.+}/-/webhooks', operation({ query: LISTED }), async (c) =>
    answerList(c, `repository:${repositoryIn(c)}`),
  )
  .post('/repositories/:name{.+}/-/webhooks', operation({ repeatable: true, body: newRepositoryWebhook }), async (c) =>
    answerNew(c, `repository:${repositoryIn(c)}`, c.var.body),
  )
  .get('/webhooks/:webhook', operation({}), async (c) => answerWebhook(await describeWebhook(callOf(c), webhookIn(c))))
  .patch(
    '/webhooks/:webhook',
    operation({
      body: webhookChange,
      conditional: true,
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
      conditional: true,
    }),
    async (c) => {
      await deleteWebhook(callOf(c), webhookIn(c), expectedVersion(c));
      return answerNothing();
    },
  )
  .post(
    '/webhooks/:webhook/rotate',
    operation({
      body: secretRotation,
      conditional: true,
    }),
    async (c) => {
      const rotation = { overlap: c.var.body.overlap, ifVersion: expectedVersion(c) };
      return answerCreated(await rotateWebhookSecret(callOf(c), webhookIn(c), rotation), 200);
    },
  )
  .post('/webhooks/:webhook/test', operation({}), async (c) => {
    await limitTestDeliveries(c, webhookIn(c).id);
    return answer({ delivered: await testWebhook(callOf(c), webhookIn(c), runtime) });
  });

async function answerList(c: RequestContext & { var: { query: z.output<typeof LISTED> } }, scope: Scope) {
  const page = await listWebhooks(callOf(c), scope, pageQueryOf(c.var.query));
  return answerPage(page, shownWebhook, ({ id }) => id);
}

async function answerNew(c: RequestContext, scope: Scope, body: NewWebhook): Promise<Response> {
  const options = { requestOrigin: requestOriginOf(c), idempotency: idempotencyKeyOf(c) };
  return answerCreated(await withFieldsIn('body', () => createWebhook(callOf(c), scope, body, options)), 201);
}

/** Returns the origin to which the request was sent. It may differ from `PUBLIC_URL`. */
function requestOriginOf(c: RequestContext): string {
  return new URL(c.req.url).origin;
}

function answerWebhook(webhook: Webhook): Response {
  return answer(shownWebhook(webhook), { version: webhook.version });
}

/** Answers with a webhook and its new secret. Only this answer contains the secret. */
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
