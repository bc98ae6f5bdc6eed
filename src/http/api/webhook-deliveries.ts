/** Routes that list the deliveries of a webhook and send them again. */

import type * as z from 'zod';
import {
  type Attempt,
  type Delivery,
  getDelivery,
  listDeliveries,
  replayDeliveries,
  replayDelivery,
} from '../../app/subscriptions.ts';
import type { attemptSchema, deliverySchema, deliveryWithAttemptsSchema } from '../../contract/answers/webhooks.ts';
import { deliveryQuery, replayRequest } from '../../contract/webhooks.ts';
import { withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, webhookIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { limitReplays } from '../limits.ts';
import { answer, answerPage, timeOf } from './answers.ts';
import { shownEvent } from './events.ts';
import { operation } from './operation.ts';
import { pageQueryOf, secondsOf } from './params.ts';

export const webhookDeliveries = new Hono<AppEnv>({ strict: false })
  .get(
    '/webhooks/:webhook/deliveries',
    operation({
      query: deliveryQuery,
    }),
    async (c) => {
      const { state = null } = c.var.query;
      const list = () => listDeliveries(callOf(c), webhookIn(c), pageQueryOf(c.var.query), state);
      return answerPage(await withFieldsIn('query', list), shownDelivery, ({ id }) => id);
    },
  )
  .get('/webhooks/:webhook/deliveries/:delivery', operation({}), async (c) =>
    answer(shownWithAttempts(await getDelivery(callOf(c), webhookIn(c), c.req.param('delivery')))),
  )
  .post('/webhooks/:webhook/deliveries/:delivery/replay', operation({}), async (c) => {
    await limitReplays(c);
    const delivery = await replayDelivery(callOf(c), webhookIn(c), c.req.param('delivery'));
    return answer(shownWithAttempts(delivery), { status: 202 });
  })
  .post(
    '/webhooks/:webhook/replay',
    operation({
      body: replayRequest,
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
