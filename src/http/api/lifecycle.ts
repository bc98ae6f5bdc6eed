/** Routes that save, preview and run the lifecycle policy of a repository. */

import type * as z from 'zod';
import {
  deleteLifecycle,
  getLifecycle,
  type Lifecycle,
  type LifecycleItem,
  type LifecycleItems,
  type LifecyclePreview,
  type LifecycleReport,
  previewLifecycle,
  putLifecycle,
  runLifecycle,
} from '../../app/lifecycle.ts';
import type { lifecycleItem, lifecycleReport } from '../../contract/answers/lifecycle.ts';
import { lifecyclePolicy, lifecyclePreview } from '../../contract/lifecycle.ts';
import { settings } from '../../env.ts';
import { withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, timeOf, withinAnswer } from './answers.ts';
import { operation } from './operation.ts';
import { expectedPlan, expectedVersion } from './params.ts';

export const lifecycle = new Hono<AppEnv>({ strict: false })
  .get('/repositories/:name{.+}/-/lifecycle', operation({}), async (c) =>
    answerLifecycle(await getLifecycle(callOf(c), repositoryIn(c))),
  )
  .put(
    '/repositories/:name{.+}/-/lifecycle',
    operation({
      conditional: true,
      body: lifecyclePolicy,
    }),
    async (c) => {
      const repository = repositoryIn(c);
      const { body } = c.var;
      return answerLifecycle(await withFieldsIn('body', () => putLifecycle(callOf(c), repository, body, expectedVersion(c))));
    },
  )
  .delete(
    '/repositories/:name{.+}/-/lifecycle',
    operation({
      conditional: true,
    }),
    async (c) => {
      await deleteLifecycle(callOf(c), repositoryIn(c), expectedVersion(c));
      return answerNothing();
    },
  )
  .post(
    '/repositories/:name{.+}/-/lifecycle/preview',
    operation({
      body: lifecyclePreview,
    }),
    async (c) => {
      const repository = repositoryIn(c);
      const { body } = c.var;
      return answerPreview(c, await withFieldsIn('body', () => previewLifecycle(callOf(c), repository, body)));
    },
  )
  .post(
    '/repositories/:name{.+}/-/lifecycle/run',
    operation({
      conditional: true,
    }),
    async (c) => {
      const { remaining, unfinished, ...deleted } = await runLifecycle(callOf(c), repositoryIn(c), expectedPlan(c));
      return answer({ ...shownItems(deleted), remaining, ...(unfinished ? { unfinished } : {}) });
    },
  );

function answerLifecycle({ policy, report, version }: Lifecycle): Response {
  const lastReport = report && shownReport(report);
  return answer({ policy, lastRanAt: lastReport?.at ?? null, lastReport }, { version });
}

function shownReport({ at, by, tags, manifests, remaining, failed }: LifecycleReport): z.output<typeof lifecycleReport> {
  return { at: timeOf(at), by, tags, manifests, remaining, failed };
}

function answerPreview(c: RequestContext, { plan, whole, next }: LifecyclePreview): Response {
  const body = {
    ...shownItems(plan),
    ...(whole && { bytes: whole.bytes }),
    ...shownWaiting(plan, settings(c.env).leaseSeconds),
  };
  const response = answer(next === null ? body : { ...body, next });
  if (whole) response.headers.set('etag', whole.etag);
  return response;
}

/**
 * Returns the number of manifests that are not in the list because leases protect them, and the time at which the last of these
 * leases ends.
 */
function shownWaiting({ waiting }: LifecyclePreview['plan'], leaseSeconds: number) {
  if (waiting.length === 0) return { waiting: 0 };
  const until = timeOf(waiting.reduce((latest, { leasedUntil }) => Math.max(latest, leasedUntil), 0));
  const what = waiting.length === 1 ? '1 more manifest is' : `${waiting.length} more manifests are`;
  const hours = Math.round((leaseSeconds / 3600) * 10) / 10;
  const why = `a manifest that was pushed without a tag, or that a client was told exists, is kept for ${hours} hours`;
  return { waiting: waiting.length, waitingUntil: until, note: `${what} left alone until ${until}: ${why}` };
}

const ITEMS_MAX = 1000;

function shownItems({ tags, attached, manifests }: LifecycleItems) {
  const named = [...tags.slice(0, ITEMS_MAX), ...attached.slice(0, Math.max(0, ITEMS_MAX - tags.length))];
  const items = withinAnswer([
    ...named.map((item) => shownItem(item, item.tag)),
    ...manifests.slice(0, Math.max(0, ITEMS_MAX - named.length)).map((item) => shownItem(item, null)),
  ]);
  return {
    tags: tags.length,
    ...(attached.length > 0 ? { attached: attached.length } : {}),
    manifests: manifests.length,
    items,
    truncated: items.length < tags.length + attached.length + manifests.length,
  };
}

function shownItem({ digest, rule, reason }: LifecycleItem, tag: string | null): z.output<typeof lifecycleItem> {
  return { tag, digest, rule, reason };
}
