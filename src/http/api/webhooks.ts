/**
 * Webhooks: made and listed where they listen, in the registry, an organization or a repository; shown, changed, tested and
 * deleted by their id. What became of their deliveries is in `webhook-deliveries.ts`.
 */

import { Hono } from 'hono';
import * as z from 'zod';
import { getOrganization } from '../../auth/people/organizations.ts';
import { requireOrganization } from '../../auth/within.ts';
import { PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import type { Batch } from '../../events/batch.ts';
import { aboutOf, isAboutRepository } from '../../events/event.ts';
import { factsOf } from '../../facts.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { describeRepository } from '../../registry/repositories/descriptions.ts';
import { requireRepository } from '../../registry/repositories/repositories.ts';
import { Refusal, withFieldsIn } from '../../vocabulary/refusal.ts';
import { changeSubscription } from '../../webhooks/changes.ts';
import type { DeliveryRuntime } from '../../webhooks/delivery/attempt.ts';
import { sendTest } from '../../webhooks/delivery/test-delivery.ts';
import { REGISTRY, type Scope } from '../../webhooks/filter.ts';
import {
  createSubscription,
  deleteSubscription,
  listSubscriptions,
  rotateSecret,
  type Subscription,
} from '../../webhooks/subscriptions.ts';
import { type AppEnv, actorOf, originOf, type RequestContext } from '../context.ts';
import { limitTestDeliveries } from '../limits.ts';
import { answer, answerNothing, answerPage } from './answers.ts';
import { asks, asksAboutWebhook, asksFor } from './guard.ts';
import { operation } from './operation.ts';
import { expectedVersion, idempotencyKeyOf, organizationIn, pageQueryOf } from './params.ts';
import {
  answerMadeWebhook,
  answerWebhook,
  madeWebhookSchema,
  repositoryWebhookBody,
  shownWebhook,
  shownWebhookSchema,
  webhookBody,
  webhookChangeBody,
} from './webhook-schemas.ts';

const GROUP = 'Webhooks';

/** Seconds that the secret before goes on signing. */
const OVERLAP_DEFAULT = 24 * 60 * 60;
const OVERLAP_MAX = 7 * OVERLAP_DEFAULT;

const list = {
  group: GROUP,
  query: z.strictObject(PAGE_QUERY),
  answers: { 200: { description: 'A page of them, by id', schema: pageSchema(shownWebhookSchema) } },
} as const;

const make = {
  group: GROUP,
  description:
    'It hears what happens from now on: pushes, unless `types` says otherwise. The secret is shown once; a repeated request with the same `Idempotency-Key` has the same answer. There may be 50 in one place, and 200 of an organization or a user with all repositories.',
  repeatable: true,
  answers: { 201: { description: 'The webhook and its secret', schema: madeWebhookSchema } },
} as const;

const rotateBody = z.strictObject({
  overlap: z
    .int()
    .min(0)
    .max(OVERLAP_MAX)
    .default(OVERLAP_DEFAULT)
    .describe('Seconds for which deliveries are signed with the old secret, too'),
});

export const webhooks = new Hono<AppEnv>({ strict: false })
  .get(
    '/webhooks',
    asks('administrator'),
    operation({ ...list, summary: 'The webhooks of the registry', description: 'They hear of everything there is.' }),
    async (c) => answerList(c, REGISTRY),
  )
  .post(
    '/webhooks',
    asks('administrator'),
    operation({ ...make, summary: 'Make a webhook of the registry', body: webhookBody }),
    async (c) => answerNew(c, REGISTRY, c.var.body, () => {}),
  )
  .get(
    '/organizations/:organization/webhooks',
    asks('owner'),
    operation({
      ...list,
      summary: 'The webhooks of an organization',
      description: 'They hear of the organization, and of its repositories.',
    }),
    async (c) => {
      const { name } = await getOrganization(c.env, organizationIn(c));
      return answerList(c, `organization:${name}`);
    },
  )
  .post(
    '/organizations/:organization/webhooks',
    asks('owner'),
    operation({ ...make, summary: 'Make a webhook of an organization', body: webhookBody }),
    async (c) => {
      const organization = organizationIn(c);
      return answerNew(c, `organization:${organization}`, c.var.body, (batch) => requireOrganization(batch, organization));
    },
  )
  .get(
    '/repositories/:name{.+}/-/webhooks',
    asksFor('admin'),
    operation({ ...list, summary: 'The webhooks of a repository' }),
    async (c) => {
      const { repository } = c.var;
      if (!(await describeRepository(c.env, repository))) throw new Refusal('repository-unknown');
      return answerList(c, `repository:${repository}`);
    },
  )
  .post(
    '/repositories/:name{.+}/-/webhooks',
    asksFor('admin'),
    operation({ ...make, summary: 'Make a webhook of a repository', body: repositoryWebhookBody }),
    async (c) => {
      const { repository } = c.var;
      return answerNew(c, `repository:${repository}`, c.var.body, (batch) => requireRepository(batch, repository));
    },
  )
  .get(
    '/webhooks/:webhook',
    asksAboutWebhook(),
    operation({
      group: GROUP,
      summary: 'A webhook',
      answers: { 200: { description: 'The webhook, and its ETag', schema: shownWebhookSchema } },
    }),
    async (c) => answerWebhook(c, c.var.webhook),
  )
  .patch(
    '/webhooks/:webhook',
    asksAboutWebhook(),
    operation({
      group: GROUP,
      summary: 'Change a webhook',
      description:
        'What is left out stays as it is, with one exception: a URL with another scheme, host or port ends the headers, which may hold a credential for the old one. Give them again beside it.',
      body: webhookChangeBody,
      conditional: true,
      answers: { 200: { description: 'The webhook as it is now, and its ETag', schema: shownWebhookSchema } },
    }),
    async (c) => {
      const { origin: requestOrigin } = new URL(c.req.url);
      const wanted = { ...c.var.body, origin: originOf(c), requestOrigin };
      const options = { ifVersion: expectedVersion(c), by: actorOf(c) };
      const webhook = await withFieldsIn('body', () => changeSubscription(c.env, c.var.webhook, wanted, options));
      return answerWebhook(c, webhook);
    },
  )
  .delete(
    '/webhooks/:webhook',
    asksAboutWebhook(),
    operation({
      group: GROUP,
      summary: 'Delete a webhook',
      description: 'At once: what waits to be delivered is not sent any more.',
      conditional: true,
      answers: { 204: { description: 'Deleted' } },
    }),
    async (c) => {
      await deleteSubscription(c.env, c.var.webhook, { ifVersion: expectedVersion(c), by: actorOf(c) });
      return answerNothing();
    },
  )
  .post(
    '/webhooks/:webhook/rotate',
    asksAboutWebhook(),
    operation({
      group: GROUP,
      summary: "Replace a webhook's secret",
      description:
        'Deliveries are signed with the old one as well for a while, and with none before that: sent again, it replaces what it gave. With `If-Match` it does so once.',
      body: rotateBody,
      conditional: true,
      answers: { 200: { description: 'The webhook and its new secret', schema: madeWebhookSchema } },
    }),
    async (c) => {
      const rotation = { overlap: c.var.body.overlap, ifVersion: expectedVersion(c), by: actorOf(c) };
      return answerMadeWebhook(c, await rotateSecret(c.env, c.var.webhook, rotation), 200);
    },
  )
  .post(
    '/webhooks/:webhook/test',
    asksAboutWebhook(),
    operation({
      group: GROUP,
      summary: 'Send a webhook a test',
      description: 'Once, of an event that did not happen. That it failed is said after ten seconds, however it failed.',
      answers: {
        200: {
          description: 'Whether the endpoint answered with a status from 200 to 299',
          schema: z.strictObject({ delivered: z.boolean() }),
        },
      },
    }),
    async (c) => {
      const { webhook } = c.var;
      await limitTestDeliveries(c, webhook.id);
      const delivered = await sendTest(c.env, webhook, { by: actorOf(c), facts: await factsFor(c, webhook) }, runtime);
      return answer({ delivered });
    },
  );

async function answerList(c: RequestContext & { var: { query: z.output<typeof list.query> } }, scope: Scope) {
  const { items, more } = await listSubscriptions(c.env, scope, pageQueryOf(c.var.query));
  const shown = await Promise.all(items.map((webhook) => shownWebhook(c, webhook)));
  return answerPage(
    { items: shown, more },
    (webhook) => webhook,
    ({ id }) => id,
  );
}

/** @param requireScope adds the precondition that what the webhook listens to exists @throws what `createSubscription` refuses */
async function answerNew(
  c: RequestContext,
  scope: Scope,
  sent: z.output<typeof webhookBody>,
  requireScope: (batch: Batch) => void,
): Promise<Response> {
  const { url, headers = {}, description = '', ...rest } = sent;
  const { origin: requestOrigin } = new URL(c.req.url);
  const wanted = { ...rest, scope, description, endpoint: { url, headers }, origin: originOf(c), requestOrigin };
  const creation = { by: actorOf(c), idempotency: idempotencyKeyOf(c), requireScope };
  return answerMadeWebhook(c, await withFieldsIn('body', () => createSubscription(c.env, wanted, creation)), 201);
}

async function factsFor(c: RequestContext, { scope }: Subscription) {
  const about = aboutOf(scope);
  if (!isAboutRepository(about)) return null;
  return (await factsOf(c.env, [about as RepositoryName])).get(about) ?? null;
}

const runtime: DeliveryRuntime = {
  now: () => Date.now(),
  random: () => Math.random(),
  fetch: (url, init) => fetch(url, init),
  sleep: (milliseconds) => scheduler.wait(milliseconds),
};
