/** Schemas of the answers that belong to `../webhooks.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { format, state } from '../webhooks.ts';
import { event } from './activity.ts';

export const webhookSchema = z.strictObject({
  id: z.string(),
  scope: z.string().describe('The source of its events: `registry`, `organization:…` or `repository:…`'),
  url: z
    .nullable(z.string())
    .describe(
      'Without parts that may be secret. `null`: unreadable since the secret of the registry was replaced; set the URL again',
    ),
  headerNames: z.array(z.string()).describe('Names of the headers that each delivery has. Their values are never shown'),
  format,
  types: z.array(z.string()).describe('`["*"]`: all that the format can express'),
  repositories: z.nullable(z.array(z.string())),
  tags: z.nullable(z.array(z.string())),
  description: z.string(),
  enabled: z.boolean(),
  disabled: z
    .nullable(z.string())
    .describe(
      'Why nothing is sent. `by …`: somebody disabled it. `gone`: the endpoint answered 410. `restored`: it came back ' +
        'from the trash with its repository. `owner-lost-access`: the ' +
        'user who created it, or who last set its URL or enabled it, may no longer administer its scope; anybody who ' +
        'may can take it over with `enabled: true`',
    ),
  failures: z.int().describe('Failed attempts in a row'),
  pausedUntil: z.nullable(z.iso.datetime()).describe('The endpoint failed too often: nothing is sent before this time'),
  previousSecretUntil: z
    .nullable(z.iso.datetime())
    .describe('Until this time, deliveries are also signed with the previous secret'),
  createdAt: z.iso.datetime(),
  createdBy: z.string().describe('The subject that created the webhook'),
});

export const createdWebhookSchema = z.strictObject({
  webhook: webhookSchema,
  secret: z.string().describe('Shown only once. It signs the deliveries, as Standard Webhooks defines'),
});

export const testResult = z.strictObject({
  delivered: z.boolean().describe('The endpoint answered with a status from 200 to 299'),
});

export const deliverySchema = z.strictObject({
  id: z.string().describe('Sent as the header `webhook-id`, the same in each attempt'),
  event: event.omit({ target: true, actor: true }),
  state,
  attempts: z.int().describe('Number of stored attempts'),
  createdAt: z.iso.datetime(),
  next: z.nullable(z.iso.datetime()).describe('The time of the next attempt of a waiting delivery'),
});

export const attemptSchema = z.strictObject({
  at: z.iso.datetime(),
  status: z.nullable(z.int()).describe('The status of the answer; `null` if there was none'),
  error: z
    .nullable(z.string())
    .describe('Why the attempt failed. If there was no answer, the text does not say why: it is always the same'),
  latencyMs: z.int().describe('Milliseconds until the answer. If there was no answer: always the timeout'),
  response: z.string().describe('The beginning of the answer'),
  next: z.nullable(z.iso.datetime()).describe('The time for which the next attempt was planned'),
});

export const deliveryWithAttemptsSchema = deliverySchema.extend({
  attempts: z.array(attemptSchema).describe('The last attempts, the oldest first'),
});

export const replayResult = z.strictObject({
  count: z.int(),
  next: z.nullable(z.int()).describe('`after` of the next request; `null`: there is no more'),
});
