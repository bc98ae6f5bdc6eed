/** What the reference says about the routes in `../webhook-deliveries.ts`. */

import { deliverySchema, deliveryWithAttemptsSchema, replayResult } from '../../../contract/answers/webhooks.ts';
import { pageSchema } from '../../../contract/pages.ts';
import { SAMPLE_TIME } from '../samples.ts';
import type { Reference } from './described.ts';

const GROUP = 'Webhooks';

export const webhookDeliveries: Reference = {
  'GET /webhooks/:webhook/deliveries': {
    group: GROUP,
    summary: "List a webhook's deliveries",
    example: { query: { state: 'delivered', n: '1' } },
    answers: { 200: { description: 'A page of deliveries, the newest event first', schema: pageSchema(deliverySchema) } },
  },
  'GET /webhooks/:webhook/deliveries/:delivery': {
    group: GROUP,
    summary: 'Read a delivery with its attempts',
    answers: { 200: { description: 'The delivery', schema: deliveryWithAttemptsSchema } },
  },
  'POST /webhooks/:webhook/deliveries/:delivery/replay': {
    group: GROUP,
    summary: 'Send a delivery again',
    description: 'The delivery keeps its id. If it is waiting for its next attempt, it is sent now.',
    refusals: { disabled: 'The webhook is disabled' },
    answers: { 202: { description: 'The delivery waits to be sent', schema: deliveryWithAttemptsSchema } },
  },
  'POST /webhooks/:webhook/replay': {
    group: GROUP,
    summary: 'Send many deliveries again: all that failed, or all since a time',
    description:
      'Replays some hundreds of deliveries for each request. If `next` is not null there are more: send the same ' +
      'body again with `next` as `after`. A delivery that succeeded is replayed at most once in ten minutes.',
    example: { body: { since: SAMPLE_TIME } },
    refusals: { disabled: 'The webhook is disabled' },
    answers: { 202: { description: 'The number of deliveries that now wait to be sent', schema: replayResult } },
  },
};
