/** The Worker's entry points: requests go to `http/`, messages to `queue.ts`, the schedule to `cron.ts`. */
import { handleSchedule } from './cron.ts';
import type { Env } from './env.ts';
import { app } from './http/app.ts';
import { handleMessages } from './queue.ts';

export default { fetch: app.fetch, queue: handleMessages, scheduled: handleSchedule } satisfies ExportedHandler<Env>;
