/** The Worker's entry points. No logic: requests go to `http/`, messages to `queue.ts`, the schedule to `cron.ts`. */
import { runScheduled } from './cron.ts';
import type { Env } from './env.ts';
import { app } from './http/app.ts';
import { consume } from './queue.ts';

export default {
  fetch: app.fetch,
  queue: (batch, env, context) => consume(batch, env, context),
  scheduled: (controller, env) => runScheduled(env, controller.scheduledTime),
} satisfies ExportedHandler<Env>;
