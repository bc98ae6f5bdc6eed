/**
 * After a change of people: webhooks of those who lost the right stop before the answer is sent. That is one statement more, where
 * they have none. After a change of a policy they stop when its event is matched, a second later.
 */
import { createMiddleware } from 'hono/factory';
import { standingIn } from '../app/facts.ts';
import { report } from '../telemetry.ts';
import { type Affected, reviewOf } from '../webhooks/standing.ts';
import type { AppEnv, RequestContext } from './context.ts';

/** A failure is only logged: the events of the change are still to be matched, and that asks again. */
export const reviewWebhooks = createMiddleware<AppEnv>(async function reviewWebhooks(c, next) {
  await next();
  const { method, path } = c.req;
  const affected = method === 'GET' || method === 'HEAD' || !c.res.ok ? null : affectedBy(c, path.toLowerCase());
  if (affected === null) return;
  try {
    await reviewOf(c.env, affected, standingIn(c.env));
  } catch (error) {
    report('webhooks.review-failed', { requestId: c.var.requestId, error });
  }
});

/** Whom a change is about; `null` where it takes no right from anybody. */
function affectedBy(c: RequestContext, path: string): Affected | null {
  const at = path.replace('/api/v1/', '');
  const user = /^(?:users|organizations\/[^/]+\/(?:teams\/[^/]+\/)?members)\/([^/]+)$/.exec(at)?.[1];
  if (user !== undefined) return { people: [`user:${user}`] };
  const [, organization, kind, name] = /^organizations\/([^/]+)\/(robots|trust-rules|teams)\/([^/]+)$/.exec(at) ?? [];
  if (kind === 'teams') return c.req.method === 'DELETE' ? { people: [], organizations: [`repository:${organization}`] } : null;
  if (kind !== undefined) return { people: [`${kind === 'robots' ? 'robot' : 'ci'}:${organization}/${name}`] };
  const rule = /^trust-rules\/([^/]+)$/.exec(at)?.[1];
  if (rule !== undefined) return { people: [`ci:${rule}`] };
  const leaves = c.req.method === 'DELETE' && /^me\/(?!logins)/.test(at);
  return leaves ? { people: [c.var.authority?.subject ?? ''] } : null;
}
