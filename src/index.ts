/**
 * The Worker's entry points. No logic: requests go to `http/`, messages to `queue.ts`, the schedule to `cron.ts`. The last two do
 * nothing with a database of another registry; `http/app.ts` tells clients so.
 */
import { runNamed } from './cron.ts';
import type { Env } from './env.ts';
import { app } from './http/app.ts';
import { requireOwnStores } from './ownership.ts';
import { consume } from './queue.ts';

export default {
  fetch: app.fetch,
  queue: async (batch, env, context) => {
    await requireOwnStores(env);
    await consume(batch, env, context);
  },
  scheduled: async (controller, env) => {
    await requireOwnStores(env);
    await runNamed(env, controller.cron, controller.scheduledTime);
  },
} satisfies ExportedHandler<Env>;
