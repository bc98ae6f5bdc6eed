/** What the reference says about the routes in `../webhooks.ts`. */

import { createdWebhookSchema, testResult, webhookSchema } from '../../../contract/answers/webhooks.ts';
import { pageSchema } from '../../../contract/pages.ts';
import { SAMPLE_HOOK } from '../samples.ts';
import type { Reference } from './described.ts';

const GROUP = 'Webhooks';

const list = {
  group: GROUP,
  answers: { 200: { description: 'A page of webhooks, by id', schema: pageSchema(webhookSchema) } },
};

const create = {
  group: GROUP,
  description:
    'The webhook gets events from now on: pushes, unless `types` says otherwise. The secret is shown only once; a ' +
    'repeated request with the same `Idempotency-Key` gets the same answer. A scope may have 50 webhooks, and an ' +
    'organization or user 200 including those of all repositories.',
  refusals: {
    'limit-reached': 'The scope has 50 webhooks, or the organization 200 with those of all repositories',
    conflict: 'The `Idempotency-Key` was used for another request, or the webhook was changed since',
  },
  example: { body: { url: SAMPLE_HOOK, types: ['tag.created', 'tag.moved'], description: 'Deploys' } },
  answers: { 201: { description: 'The webhook and its secret', schema: createdWebhookSchema } },
};

export const webhooks: Reference = {
  'GET /webhooks': { ...list, summary: 'List the webhooks of the registry', description: 'They get all events.' },
  'POST /webhooks': { ...create, summary: 'Create a webhook of the registry' },
  'GET /organizations/:organization/webhooks': {
    ...list,
    summary: 'List the webhooks of an organization',
    description: 'They get the events of the organization and of its repositories.',
  },
  'POST /organizations/:organization/webhooks': { ...create, summary: 'Create a webhook of an organization' },
  'GET /repositories/:name{.+}/-/webhooks': { ...list, summary: 'List the webhooks of a repository' },
  'POST /repositories/:name{.+}/-/webhooks': { ...create, summary: 'Create a webhook of a repository' },
  'GET /webhooks/:webhook': {
    group: GROUP,
    summary: 'Read a webhook',
    answers: { 200: { description: 'The webhook and its ETag', schema: webhookSchema } },
  },
  'PATCH /webhooks/:webhook': {
    group: GROUP,
    summary: 'Change a webhook',
    description:
      'Fields that are left out stay unchanged, with one exception: a URL with another scheme, host or port removes ' +
      'the headers, because they may contain a credential for the old host. Send them again with the URL.',
    example: { body: { types: ['*'], enabled: true } },
    refusals: { conflict: 'The stored URL cannot be read since the secret of the registry was replaced: send it again' },
    answers: { 200: { description: 'The changed webhook and its new ETag', schema: webhookSchema } },
  },
  'DELETE /webhooks/:webhook': {
    group: GROUP,
    summary: 'Delete a webhook',
    description: 'Takes effect at once: waiting deliveries are not sent.',
    answers: { 204: { description: 'The webhook was deleted' } },
  },
  'POST /webhooks/:webhook/rotate': {
    group: GROUP,
    summary: "Replace a webhook's secret",
    description:
      'For `overlap` seconds, deliveries are signed with both the new and the old secret. Earlier secrets no longer ' +
      'sign. Without `If-Match`, a repeated request replaces the secret again.',
    example: { body: { overlap: 3600 } },
    answers: { 200: { description: 'The webhook and its new secret', schema: createdWebhookSchema } },
  },
  'POST /webhooks/:webhook/test': {
    group: GROUP,
    summary: 'Send a test event to a webhook',
    description: 'The event is sent once. If it fails, the answer comes ten seconds after the request and does not say why.',
    answers: {
      200: { description: 'Whether the endpoint answered with a status from 200 to 299', schema: testResult },
    },
  },
};
