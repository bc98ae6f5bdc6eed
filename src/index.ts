/** The Worker's entry points. No logic: requests go to `http/`, the schedule to `cron.ts`. */
import { runScheduled } from './cron.ts';
import type { Env } from './env.ts';
import { app } from './http/app.ts';

export default {
  fetch: app.fetch,
  scheduled: (controller, env) => runScheduled(env, controller.scheduledTime),
} satisfies ExportedHandler<Env>;
