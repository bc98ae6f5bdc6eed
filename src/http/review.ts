/**
 * After a change of people: webhooks of those who lost the right stop before the answer is sent. After a change of a policy they stop
 * when its event is matched, a second later: a policy is saved in two round trips to the database.
 */
import { createMiddleware } from 'hono/factory';
import { standingIn } from '../facts.ts';
import { reviewNewest } from '../webhooks/matching.ts';
import type { AppEnv } from './context.ts';

const CHANGES_PEOPLE = /^\/api\/v1\/(?:users|organizations|trust-rules|me)\/(?!.*\/policy$)/;

/** A failure is only logged: the events of the change are still to be matched, and that asks again. */
export const reviewWebhooks = createMiddleware<AppEnv>(async function reviewWebhooks(c, next) {
  await next();
  const { method, path } = c.req;
  if (method === 'GET' || method === 'HEAD' || !c.res.ok || !CHANGES_PEOPLE.test(path)) return;
  try {
    await reviewNewest(c.env, standingIn(c.env));
  } catch (error) {
    console.error('webhooks are reviewed when the change is matched:', error instanceof Error ? error.message : error);
  }
});
