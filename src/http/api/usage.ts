/** Routes of the storage usage and the quotas of organizations and users, and of the number of pulls of images. */

import type * as z from 'zod';
import {
  getOrganizationUsage,
  getPulls,
  getUserUsage,
  type Holdings,
  listUsage,
  type Pulls,
  putOrganizationQuota,
  putUserQuota,
  type Quota,
  type Usage,
  usageCursor,
} from '../../app/usage.ts';
import type { namespaceUsage, pulls } from '../../contract/answers/usage.ts';
import { pullsQuery, quotaChange, usageQuery } from '../../contract/usage.ts';
import { parseName } from '../../vocabulary/names.ts';
import { withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerItems, dateOf, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, organizationIn } from './params.ts';

export const usage = new Hono<AppEnv>({ strict: false })
  .get(
    '/usage',
    operation({
      query: usageQuery,
    }),
    async (c) => {
      const { n: limit, last: after = null } = c.var.query;
      const { items, more, total } = await listUsage(callOf(c), { after, limit });
      const shown = items.map(shownUsage);
      const next = more ? usageCursor(items.at(-1) as Usage) : null;
      return answerItems(shown, next, usageCursor, { total });
    },
  )
  .get('/organizations/:organization/usage', operation({}), async (c) => {
    const organization = organizationIn(c);
    return answerHoldings({ organization }, await getOrganizationUsage(callOf(c), organization));
  })
  .get('/users/:user/usage', operation({}), async (c) => {
    const user = userIn(c);
    return answerHoldings({ user }, await getUserUsage(callOf(c), user));
  })
  .put(
    '/users/:user/quota',
    operation({
      conditional: true,
      body: quotaChange,
    }),
    async (c) => {
      const put = () => putUserQuota(callOf(c), userIn(c), c.var.body, expectedVersion(c));
      return answerQuota(await withFieldsIn('body', put));
    },
  )
  .put(
    '/organizations/:organization/quota',
    operation({
      conditional: true,
      body: quotaChange,
    }),
    async (c) => {
      const put = () => putOrganizationQuota(callOf(c), organizationIn(c), c.var.body, expectedVersion(c));
      return answerQuota(await withFieldsIn('body', put));
    },
  )
  .get(
    '/repositories/:name{.+}/-/pulls',
    operation({
      query: pullsQuery,
    }),
    async (c) => {
      const { tag, digest } = c.var.query;
      const image = { tag, digest };
      return answer(shownPulls(await getPulls(callOf(c), repositoryIn(c), image)));
    },
  );

/** @throws request-invalid */
function userIn(c: RequestContext): string {
  return parseName(c.req.param('user') ?? '');
}

function answerHoldings(whose: { organization: string } | { user: string }, holdings: Holdings): Response {
  const { version, countedAt, staged, ...rest } = holdings;
  const percent = percentOf(holdings);
  return answer(
    { ...whose, ...rest, ...(staged > 0 ? { staged } : {}), percent, countedAt: countedTime(countedAt) },
    { version },
  );
}

function answerQuota({ version, ...body }: Quota): Response {
  return answer(body, { version });
}

function shownUsage(usageOf: Usage): z.output<typeof namespaceUsage> {
  const { countedAt, staged, ...rest } = usageOf;
  return { ...rest, ...(staged > 0 ? { staged } : {}), percent: percentOf(usageOf), countedAt: countedTime(countedAt) };
}

/** Returns the time of the count, or `null` if there was none. @param at in seconds since the epoch; 0 if there was none */
function countedTime(at: number): string | null {
  return at === 0 ? null : timeOf(at);
}

/**
 * Returns the used part of the quota in percent, with one decimal, or `null` if there is no quota. A quota of 0 is always used
 * up.
 */
function percentOf({ bytes, staged, maxBytes }: { bytes: number; staged: number; maxBytes: number | null }): number | null {
  if (maxBytes === null) return null;
  return maxBytes === 0 ? 100 : Math.round(((bytes + staged) / maxBytes) * 1000) / 10;
}

function shownPulls({ total, checkedOn, days }: Pulls): z.output<typeof pulls> {
  const [newest] = days;
  return {
    total,
    lastPulledAt: newest ? dateOf(newest.day) : null,
    ...(checkedOn === null ? {} : { lastCheckedAt: dateOf(checkedOn) }),
    days: days.map(({ day, pulls: times }) => ({ day: dateOf(day), pulls: times })),
  };
}
