/** After a change of people and rights: webhooks of those who lost the right stop before the answer is sent. */
import { createMiddleware } from 'hono/factory';
import { standingIn } from '../facts.ts';
import { reviewNewest } from '../webhooks/matching.ts';
import type { AppEnv } from './context.ts';

const CHANGES_RIGHTS = /^\/api\/v1\/(?:users|organizations|trust-rules|me)\/|\/-\/policy$/;

/** A failure is only logged: the events of the change are still to be matched, and that asks again. */
export const reviewWebhooks = createMiddleware<AppEnv>(async function reviewWebhooks(c, next) {
  await next();
  const { method, path } = c.req;
  if (method === 'GET' || method === 'HEAD' || !c.res.ok || !CHANGES_RIGHTS.test(path)) return;
  try {
    await reviewNewest(c.env, standingIn(c.env));
  } catch (error) {
    console.error('webhooks are reviewed when the change is matched:', error instanceof Error ? error.message : error);
  }
});
