/**
 * The Worker's entry points: requests go to `http/`, messages to `queue.ts`, the schedule to `cron.ts`. Messages and the schedule
 * are refused if the stores belong to another registry; `http/app.ts` refuses requests.
 */
import { runNamed } from './cron.ts';
import type { Env } from './env.ts';
import { app } from './http/app.ts';
import { requireOwnStores } from './ownership.ts';
import { consume } from './queue.ts';
import { observed } from './telemetry.ts';

export default {
  fetch: app.fetch,
  queue: async (batch, env, context) => {
    await requireOwnStores(env);
    const run = (counted: Env) => consume(batch, counted, context);
    await observed(env, 'queue', { queue: batch.queue, messages: batch.messages.length }, { now: Date.now, run });
  },
  scheduled: async (controller, env) => {
    await requireOwnStores(env);
    const run = (counted: Env) => runNamed(counted, controller.cron, controller.scheduledTime);
    await observed(env, 'schedule', { cron: controller.cron }, { now: Date.now, run });
  },
} satisfies ExportedHandler<Env>;
