/** What became of a webhook's deliveries, attempt by attempt, and having them delivered again. */
import { Hono } from 'hono';
import * as z from 'zod';
import { activityOf } from '../../app/activity.ts';
import { event } from '../../contract/activity.ts';
import { instant } from '../../contract/fields.ts';
import { PAGE_DEFAULT, PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { factsOf } from '../../facts.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type Attempt, type DeliveryKey, deliveryId, deliveryKeyOf } from '../../webhooks/delivery/deliveries.ts';
import {
  type Delivery,
  type DeliverySummary,
  getDelivery,
  listDeliveries,
  replayDelivery,
  replayFailed,
  replaySince,
} from '../../webhooks/delivery/history.ts';
import type { Subscription } from '../../webhooks/subscriptions.ts';
import type { AppEnv, RequestContext } from '../context.ts';
import { accountOf, limitReplays } from '../limits.ts';
import { replaying } from '../spending.ts';
import { answer, answerPage, timeOf } from './answers.ts';
import { shownEvent } from './events.ts';
import { asksAboutWebhook } from './guard.ts';
import { operation } from './operation.ts';
import { secondsOf } from './params.ts';

const GROUP = 'Webhooks';

const state = z.enum(['waiting', 'delivered', 'failed']);

const listQuery = z.strictObject({ ...PAGE_QUERY, state: z.optional(state) });

const deliverySchema = z.strictObject({
  id: z.string().describe('Its receiver has it as `webhook-id`, the same at each attempt'),
  event: event.omit({ target: true, actor: true }),
  state,
  attempts: z.int().describe('How many of them are kept'),
  createdAt: z.iso.datetime(),
  next: z.nullable(z.iso.datetime()).describe('When it is tried next, if it waits'),
});

const attemptSchema = z.strictObject({
  at: z.iso.datetime(),
  status: z.nullable(z.int()).describe('Of the answer, if there was one'),
  error: z.nullable(z.string()).describe('Why it is no success. That there was no answer is said alike, whatever the cause'),
  latencyMs: z.int().describe('Until the answer; of an attempt without one always the longest that is waited'),
  response: z.string().describe('The beginning of the answer'),
  next: z.nullable(z.iso.datetime()).describe('When it was to be tried again'),
});

const deliveryWithAttemptsSchema = deliverySchema.extend({
  attempts: z.array(attemptSchema).describe('The last ones, the oldest first'),
});

const replayBody = z
  .strictObject({
    failed: z.optional(z.literal(true)).describe('All that failed'),
    since: z.optional(instant).describe('All that happened at this time or later, also before there was the webhook'),
    until: z.optional(instant).describe('With `since`: only what happened before this time'),
    after: z.optional(z.int().min(0)).describe('`next` of the answer before'),
  })
  .refine(({ failed, since }) => (failed === undefined) !== (since === undefined), 'has one of failed and since')
  .refine(({ since, until }) => until === undefined || since !== undefined, 'has until without since');

export const webhookDeliveries = new Hono<AppEnv>({ strict: false })
  .get(
    '/webhooks/:webhook/deliveries',
    asksAboutWebhook(),
    operation({
      group: GROUP,
      summary: "A webhook's deliveries",
      query: listQuery,
      answers: { 200: { description: 'A page of them, the newest event first', schema: pageSchema(deliverySchema) } },
    }),
    async (c) => {
      const { n = PAGE_DEFAULT, last, state: wanted = null } = c.var.query;
      const before = last === undefined ? null : eventIn(last);
      const page = await listDeliveries(c.env, c.var.webhook, { before, limit: n, state: wanted });
      return answerPage(page, shown, ({ id }) => id);
    },
  )
  .get(
    '/webhooks/:webhook/deliveries/:delivery',
    asksAboutWebhook(),
    operation({
      group: GROUP,
      summary: "A webhook's delivery, with its attempts",
      answers: { 200: { description: 'The delivery', schema: deliveryWithAttemptsSchema } },
    }),
    async (c) => answer(shownWithAttempts(await getDelivery(c.env, keyIn(c, c.var.webhook)))),
  )
  .post(
    '/webhooks/:webhook/deliveries/:delivery/replay',
    asksAboutWebhook(),
    operation({
      group: GROUP,
      summary: 'Deliver an event again',
      description: 'Whatever became of it, under the same id. One that waits is tried now.',
      answers: { 202: { description: 'It waits to be delivered', schema: deliveryWithAttemptsSchema } },
    }),
    async (c) => {
      const key = keyIn(c, c.var.webhook);
      requireEnabled(c.var.webhook);
      await limitReplays(c);
      const replayed = await replaying(
        c,
        accountOf(c),
        () => replayDelivery(c.env, key),
        () => 1,
      );
      return answer(shownWithAttempts(replayed), { status: 202 });
    },
  )
  .post(
    '/webhooks/:webhook/replay',
    asksAboutWebhook(),
    operation({
      group: GROUP,
      summary: 'Deliver events again: all that failed, or all since a time',
      description:
        'Some hundreds at a time, and what was delivered not twice within ten minutes: where `next` is not null there is more, to be asked for with it as `after`, and the rest of the body as before.',
      body: replayBody,
      answers: {
        202: {
          description: 'How many wait to be delivered now',
          schema: z.strictObject({ count: z.int(), next: z.nullable(z.int()).describe('`after` of the next request') }),
        },
      },
    }),
    async (c) => {
      const { since, until, after = 0 } = c.var.body;
      requireEnabled(c.var.webhook);
      await limitReplays(c);
      const { webhook } = c.var;
      const replay = () => {
        if (since === undefined) return replayFailed(c.env, webhook, after);
        const span = { since: secondsOf(since), until: until === undefined ? null : secondsOf(until), after };
        return replaySince(c.env, webhook, span, (names) => factsOf(c.env, names));
      };
      return answer(await replaying(c, accountOf(c), replay, ({ count }) => count), { status: 202 });
    },
  );

/** @throws request-invalid */
function eventIn(delivery: string): number {
  const key = deliveryKeyOf(delivery);
  if (!key) throw new Refusal('request-invalid', { message: 'query.last: is no id of a delivery' });
  return key.event;
}

/** The delivery of the path. @throws not-found for one of another webhook */
function keyIn(c: RequestContext, { id }: Subscription): DeliveryKey {
  const key = deliveryKeyOf(c.req.param('delivery') ?? '');
  if (key?.subscription !== id) throw new Refusal('not-found');
  return key;
}

/** @throws conflict */
function requireEnabled({ disabled }: Subscription): void {
  if (disabled === null) return;
  throw new Refusal('disabled', { message: `the webhook is disabled (${disabled}): enable it first` });
}

function shown({ key, data, state: now, attempts, createdAt, dueAt }: DeliverySummary): z.output<typeof deliverySchema> {
  const { target: _, actor: __, ...event } = shownEvent(activityOf(data.event));
  return {
    id: deliveryId(key),
    event,
    state: now,
    attempts,
    createdAt: timeOf(createdAt),
    next: now === 'waiting' ? timeOf(dueAt) : null,
  };
}

function shownWithAttempts(delivery: Delivery): z.output<typeof deliveryWithAttemptsSchema> {
  const { attempts } = delivery;
  return { ...shown({ ...delivery, attempts: attempts.length }), attempts: attempts.map(shownAttempt) };
}

function shownAttempt({ at, next, ...attempt }: Attempt): z.output<typeof attemptSchema> {
  return { ...attempt, at: timeOf(at), next: next === null ? null : timeOf(next) };
}
