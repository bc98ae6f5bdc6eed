/** Routes that list and replay the deliveries of a webhook. */

import type * as z from 'zod';
import {
  type Attempt,
  type Delivery,
  getDelivery,
  listDeliveries,
  replayDeliveries,
  replayDelivery,
} from '../../app/subscriptions.ts';
import { pageSchema } from '../../contract/pages.ts';
import {
  type attemptSchema,
  deliveryQuery,
  deliverySchema,
  deliveryWithAttemptsSchema,
  replayRequest,
  replayResult,
} from '../../contract/webhooks.ts';
import { withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, webhookIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { limitReplays } from '../limits.ts';
import { answer, answerPage, timeOf } from './answers.ts';
import { shownEvent } from './events.ts';
import { operation } from './operation.ts';
import { pageQueryOf, secondsOf } from './params.ts';
import { SAMPLE_TIME } from './samples.ts';

const GROUP = 'Webhooks';

export const webhookDeliveries = new Hono<AppEnv>({ strict: false })
  .get(
    '/webhooks/:webhook/deliveries',
    operation({
      group: GROUP,
      summary: "List a webhook's deliveries",
      query: deliveryQuery,
      example: { query: { state: 'delivered', n: '1' } },
      answers: { 200: { description: 'A page of deliveries, the newest event first', schema: pageSchema(deliverySchema) } },
    }),
    async (c) => {
      const { state = null } = c.var.query;
      const list = () => listDeliveries(callOf(c), webhookIn(c), pageQueryOf(c.var.query), state);
      return answerPage(await withFieldsIn('query', list), shownDelivery, ({ id }) => id);
    },
  )
  .get(
    '/webhooks/:webhook/deliveries/:delivery',
    operation({
      group: GROUP,
      summary: 'Read a delivery with its attempts',
      answers: { 200: { description: 'The delivery', schema: deliveryWithAttemptsSchema } },
    }),
    async (c) => answer(shownWithAttempts(await getDelivery(callOf(c), webhookIn(c), c.req.param('delivery')))),
  )
  .post(
    '/webhooks/:webhook/deliveries/:delivery/replay',
    operation({
      group: GROUP,
      summary: 'Send a delivery again',
      description: 'The delivery keeps its id. If it is waiting for its next attempt, it is sent now.',
      refusals: { disabled: 'The webhook is disabled' },
      answers: { 202: { description: 'The delivery waits to be sent', schema: deliveryWithAttemptsSchema } },
    }),
    async (c) => {
      await limitReplays(c);
      const delivery = await replayDelivery(callOf(c), webhookIn(c), c.req.param('delivery'));
      return answer(shownWithAttempts(delivery), { status: 202 });
    },
  )
  .post(
    '/webhooks/:webhook/replay',
    operation({
      group: GROUP,
      summary: 'Send many deliveries again: all that failed, or all since a time',
      description:
        'Replays some hundreds of deliveries for each request. If `next` is not null there are more: send the same ' +
        'body again with `next` as `after`. A delivery that succeeded is replayed at most once in ten minutes.',
      body: replayRequest,
      example: { body: { since: SAMPLE_TIME } },
      refusals: { disabled: 'The webhook is disabled' },
      answers: { 202: { description: 'The number of deliveries that now wait to be sent', schema: replayResult } },
    }),
    async (c) => {
      const { since, until, after = 0 } = c.var.body;
      const span =
        since === undefined ? null : { since: secondsOf(since), until: until === undefined ? null : secondsOf(until) };
      await limitReplays(c);
      return answer(await replayDeliveries(callOf(c), webhookIn(c), span, after), { status: 202 });
    },
  );

function shownDelivery({ id, event, state, attempts, createdAt, dueAt }: Delivery<number>): z.output<typeof deliverySchema> {
  const { target: _, actor: __, ...shown } = shownEvent(event);
  return {
    id,
    event: shown,
    state,
    attempts,
    createdAt: timeOf(createdAt),
    next: state === 'waiting' ? timeOf(dueAt) : null,
  };
}

function shownWithAttempts({ attempts, ...delivery }: Delivery): z.output<typeof deliveryWithAttemptsSchema> {
  return { ...shownDelivery({ ...delivery, attempts: attempts.length }), attempts: attempts.map(shownAttempt) };
}

function shownAttempt({ at, next, ...attempt }: Attempt): z.output<typeof attemptSchema> {
  return { ...attempt, at: timeOf(at), next: next === null ? null : timeOf(next) };
}
