/** The Worker's entry points. `http/` handles requests, `queue.ts` handles messages, and `cron.ts` handles schedules. */
import { handleSchedule } from './cron.ts';
import type { Env } from './env.ts';
import { app } from './http/app.ts';
import { handleMessages } from './queue.ts';

export default { fetch: app.fetch, queue: handleMessages, scheduled: handleSchedule } satisfies ExportedHandler<Env>;
