/** Routes of the usage and the quotas of organizations and users, and of the number of pulls of images. */

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
import { pageSchema } from '../../contract/pages.ts';
import {
  namespaceUsage,
  organizationUsage,
  pulls,
  pullsQuery,
  quota,
  quotaChange,
  totalUsage,
  usageQuery,
  userUsage,
} from '../../contract/usage.ts';
import { parseName } from '../../vocabulary/names.ts';
import { withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerItems, dateOf, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, organizationIn } from './params.ts';

const GROUP = 'Usage';

const QUOTA_DESCRIPTION = `Content beyond a new limit stays and can be pulled. New content is refused with 403. The message says
how many bytes are missing, and how many are in the trash and in unfinished uploads, which count as well. Deleted content
frees space when the trash has been emptied and garbage collection has run. \`null\`: no limit.`;

export const usage = new Hono<AppEnv>({ strict: false })
  .get(
    '/usage',
    operation({
      group: GROUP,
      summary: 'List what all organizations and users store',
      description:
        'Each push is included at once. `countedAt` says since when deletions may be missing. The size of each repository is ' +
        'in the list of repositories.',
      query: usageQuery,
      answers: {
        200: {
          description: 'A page, by name, and the total',
          schema: pageSchema(namespaceUsage).extend({ total: totalUsage }),
        },
      },
    }),
    async (c) => {
      const { n: limit, last: after = null } = c.var.query;
      const { items, more, total } = await listUsage(callOf(c), { after, limit });
      const shown = items.map(shownUsage);
      const next = more ? usageCursor(items.at(-1) as Usage) : null;
      return answerItems(shown, next, usageCursor, { total });
    },
  )
  .get(
    '/organizations/:organization/usage',
    operation({
      group: GROUP,
      summary: 'Read what an organization stores',
      description:
        'Counted now, and exactly, in a registry of up to 5,000 layers. In a larger one it is what pushes have added up, and ' +
        '`countedAt` says since when deletions may be missing. For owners. The ETag is that of the limit.',
      answers: { 200: { description: 'Usage and limit', schema: organizationUsage } },
    }),
    async (c) => {
      const organization = organizationIn(c);
      return answerHoldings({ organization }, await getOrganizationUsage(callOf(c), organization));
    },
  )
  .get(
    '/users/:user/usage',
    operation({
      group: GROUP,
      summary: 'Read what a user stores',
      description:
        "Counts the repositories under the user's own name, as for an organization. For the user and for administrators. " +
        'The ETag is that of the limit.',
      answers: { 200: { description: 'Usage and limit', schema: userUsage } },
      refusals: { forbidden: 'The key is narrowed' },
    }),
    async (c) => {
      const user = userIn(c);
      return answerHoldings({ user }, await getUserUsage(callOf(c), user));
    },
  )
  .put(
    '/users/:user/quota',
    operation({
      group: GROUP,
      summary: 'Set what a user may store',
      description: `The limit of the repositories under the user's own name. ${QUOTA_DESCRIPTION}`,
      conditional: true,
      body: quotaChange,
      example: { body: { maxBytes: 5_000_000_000, warnPercent: 80 } },
      answers: { 200: { description: 'The limit as saved, and its new ETag', schema: quota } },
    }),
    async (c) => {
      const put = () => putUserQuota(callOf(c), userIn(c), c.var.body, expectedVersion(c));
      return answerQuota(await withFieldsIn('body', put));
    },
  )
  .put(
    '/organizations/:organization/quota',
    operation({
      group: GROUP,
      summary: 'Set what an organization may store',
      description: QUOTA_DESCRIPTION,
      conditional: true,
      body: quotaChange,
      example: { body: { maxBytes: 5_000_000_000, warnPercent: 80 } },
      answers: { 200: { description: 'The limit as saved, and its new ETag', schema: quota } },
    }),
    async (c) => {
      const put = () => putOrganizationQuota(callOf(c), organizationIn(c), c.var.body, expectedVersion(c));
      return answerQuota(await withFieldsIn('body', put));
    },
  )
  .get(
    '/repositories/:name{.+}/-/pulls',
    operation({
      group: GROUP,
      summary: 'Count pulls of an image or a repository',
      description: `Without a tag or digest it counts all images of the repository, for which you need the right to push.

The numbers are estimates: up to 16 pulls of an image a day are counted exactly, further ones are sampled, so that most
pulls need not write. The standard error is below 18 % for a day of one image, and smaller for sums. Days without pulls are
exact.

A pull is a GET of a manifest. Pulling an image for several platforms counts once for the index and once for the image in
it. A check (HEAD) is not a pull; the last day of one is given in \`lastCheckedAt\`.`,
      query: pullsQuery,
      refusals: {
        'manifest-unknown': 'The repository has no such tag or image',
        forbidden: 'You may pull, but not push: name a tag or digest',
      },
      answers: { 200: { description: 'The pulls', schema: pulls } },
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

/** @param at seconds since the epoch; 0: never */
function countedTime(at: number): string | null {
  return at === 0 ? null : timeOf(at);
}

/** The used part of the quota in percent, with one decimal. A quota of 0 is always used up. `null` if there is no quota. */
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
