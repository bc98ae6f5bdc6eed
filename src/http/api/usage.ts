/** What organizations and users store, what they may store, and how often images are pulled. */
import { Hono } from 'hono';
import * as z from 'zod';
import { findUser } from '../../auth/people/accounts.ts';
import { getOrganization } from '../../auth/people/organizations.ts';
import { isUnscopedUser } from '../../auth/policy.ts';
import { requireOrganization } from '../../auth/within.ts';
import { PAGE_DEFAULT, PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { statementsOf } from '../../events/batch.ts';
import { isDigest } from '../../oci/digest.ts';
import { isTag } from '../../oci/reference.ts';
import { statManifest } from '../../registry/manifests/manifests.ts';
import { holdingsOf } from '../../registry/usage/holdings.ts';
import { type Pulls, pullsOf } from '../../registry/usage/pulls.ts';
import { setQuota } from '../../registry/usage/quota.ts';
import { listUsage, type Usage } from '../../registry/usage/usage.ts';
import { parseName } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, actorOf, type RequestContext } from '../context.ts';
import { answer, answerItems, timeOf } from './answers.ts';
import { asks, asksFor, requireRight } from './guard.ts';
import { operation } from './operation.ts';
import { expectedVersion, organizationIn } from './params.ts';

const GROUP = 'Usage';

const bytes = z.int().min(0);
const count = z.int().min(0);
const maxBytes = z.nullable(bytes).describe('What may be stored; null: no limit');
const warnPercent = z.int().min(1).max(100).describe('Of the limit: past it the event `quota.warned` is recorded, once');

const storedSchema = z.strictObject({
  bytes: bytes.describe(
    'Layers and configs, each once however many of its repositories hold it, and manifests; the trash included',
  ),
  blobs: count.describe('Layers and configs'),
  staged: z
    .optional(bytes)
    .describe('What unfinished uploads have received, which counts against the limit too; left out where that is nothing'),
  maxBytes,
  warnPercent,
  percent: z.nullable(z.number()).describe('Of the limit that is used; null: there is none'),
  countedAt: z.iso.datetime(),
});

const usageSchema = storedSchema.extend({
  namespace: z.string().describe('`acme` of `acme/api`: an organization or a user. Empty: repositories without one'),
});

const holdings = {
  repositories: count,
  tags: count.describe(
    'Without those of signatures, attestations, SBOMs and lists of referrers, which belong to an image by their name',
  ),
  manifests: count.describe('All of them: images, what indexes list, signatures and other referrers'),
  trash: z
    .strictObject({ bytes, repositories: count, tags: count, manifests: count })
    .describe('What of the bytes would go with the trash, and what can be restored from it'),
};
const holdingsSchema = storedSchema.extend({ organization: z.string(), ...holdings });
const userHoldingsSchema = storedSchema.extend({ user: z.string(), ...holdings });

const quotaSchema = z.strictObject({ maxBytes, warnPercent });
const quotaBody = z.strictObject({
  maxBytes,
  warnPercent: z.optional(warnPercent).describe('Left out, it stays as it is; 80 at first'),
});

const QUOTA_DESCRIPTION = `What is over the limit stays, and can be pulled: only what is new is refused, with 403 and what is missing,
what of it lies in the trash, and what unfinished uploads hold. Those count as well. What is deleted makes room once the trash has been
emptied and the collector has passed. With null there is no limit.`;

const pullsQuery = z
  .strictObject({
    tag: z.optional(z.string().refine(isTag, 'is no tag')).describe('Of the image that it names now'),
    digest: z.optional(z.string().refine(isDigest, 'is no digest')),
  })
  .refine(({ tag, digest }) => tag === undefined || digest === undefined, 'has one of tag and digest');

const pullsSchema = z.strictObject({
  total: count,
  lastPulledAt: z.nullable(z.iso.date()).describe('The day, in UTC; null: never'),
  lastCheckedAt: z
    .optional(z.iso.date())
    .describe(
      'The last day on which a client asked for the manifest without getting it (HEAD), as nodes with `imagePullPolicy: Always` do. It is no pull; for clean-up it is a use. Absent: never',
    ),
  days: z.array(z.strictObject({ day: z.iso.date(), pulls: count })).describe('Days with pulls, newest first, up to 366'),
});

export const usage = new Hono<AppEnv>({ strict: false })
  .get(
    '/usage',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'What all organizations and users store',
      description:
        'As it was last counted, which the collector does at the end of each of its passes. Where there is a limit, pushes since are in it.',
      query: z.strictObject(PAGE_QUERY),
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(usageSchema) } },
    }),
    async (c) => {
      const { n = PAGE_DEFAULT, last } = c.var.query;
      const { items, more } = await listUsage(c.env, last ?? null, n);
      const next = items.at(-1)?.namespace;
      // The empty name is the first there is; what follows it begins after this, as does what follows nothing.
      return answerItems(
        items.map(shown),
        more && next !== undefined ? next || '-' : null,
        ({ namespace }) => namespace || '-',
      );
    },
  )
  .get(
    '/organizations/:organization/usage',
    asks('owner'),
    operation({
      group: GROUP,
      summary: 'What an organization stores',
      description:
        'Counted now, and exactly. For owners, as that reads every link between a repository and a layer that the registry has, of all organizations: some rows for each image. The ETag is that of the limit.',
      answers: { 200: { description: 'What it stores, of what it may', schema: holdingsSchema } },
    }),
    async (c) => {
      const organization = organizationIn(c);
      await getOrganization(c.env, organization);
      const { version, ...stored } = await storedIn(c, organization);
      return answer({ organization, ...stored }, { version });
    },
  )
  .get(
    '/users/:user/usage',
    asks('login'),
    operation({
      group: GROUP,
      summary: 'What a user stores',
      description:
        'In the repositories under their own name, counted now. For the user and for administrators. The ETag is that of the limit.',
      answers: { 200: { description: 'What they store, of what they may', schema: userHoldingsSchema } },
    }),
    async (c) => {
      const { authority } = c.var;
      const { name, subject } = await userIn(c);
      if (authority.subject !== subject && !(authority.administrator && isUnscopedUser(authority)))
        throw new Refusal('not-found');
      const { version, ...stored } = await storedIn(c, name);
      return answer({ user: name, ...stored }, { version });
    },
  )
  .put(
    '/users/:user/quota',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Limit what a user may store',
      description: `In the repositories under their own name. ${QUOTA_DESCRIPTION}`,
      conditional: true,
      body: quotaBody,
      answers: { 200: { description: 'As it is now, and its new ETag', schema: quotaSchema } },
    }),
    async (c) => {
      // A user is never deleted, so there is nothing to guard.
      const { name } = await userIn(c);
      return limitNamespace(c, { namespace: name, kind: 'user' }, []);
    },
  )
  .put(
    '/organizations/:organization/quota',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Limit what an organization may store',
      description: QUOTA_DESCRIPTION,
      conditional: true,
      body: quotaBody,
      answers: { 200: { description: 'As it is now, and its new ETag', schema: quotaSchema } },
    }),
    async (c) => {
      const organization = organizationIn(c);
      await getOrganization(c.env, organization);
      return limitNamespace(
        c,
        { namespace: organization, kind: 'organization' },
        statementsOf(c.env, (batch) => requireOrganization(batch, organization)),
      );
    },
  )
  .get(
    '/repositories/:name{.+}/-/pulls',
    asksFor('pull'),
    operation({
      group: GROUP,
      summary: 'How often an image is pulled, or all of a repository',
      description:
        'Of all its images at once: for whoever may push there. An estimate: of each image, up to 16 pulls a day are counted one by one, and what is more is sampled, so that pulls need not write. The standard error is below 18 % of a day of an image, and less of more of them; that of a day on which it was pulled at all is none. A pull is a GET of a manifest: one of an image for several platforms is one of the index, and one of what the index names. Asking (HEAD) is no pull: its last day stands beside.',
      query: pullsQuery,
      answers: { 200: { description: 'Its pulls', schema: pullsSchema } },
    }),
    async (c) => {
      const { repository, authority, query } = c.var;
      // Of all its images at once it is dear to count.
      if (query.tag === undefined && query.digest === undefined) requireRight(c, authority, 'push', repository);
      const named = query.tag === undefined ? query.digest : (await statManifest(c.env, repository, { tag: query.tag })).digest;
      return answer(shownPulls(await pullsOf(c.env, repository, named ?? null)));
    },
  );

/** @throws not-found */
async function userIn(c: RequestContext) {
  const user = await findUser(c.env, `user:${parseName(c.req.param('user') ?? '')}`);
  if (!user) throw new Refusal('not-found');
  return user;
}

async function storedIn(c: RequestContext, namespace: string) {
  const { countedAt, staged, ...stored } = await holdingsOf(c.env, namespace);
  return {
    ...stored,
    ...(staged > 0 ? { staged } : {}),
    percent: percentOf({ ...stored, staged }),
    countedAt: timeOf(countedAt),
  };
}

type Limiting = RequestContext & { var: { body: z.output<typeof quotaBody> } };

/** @param guard for the batch: that whom it is about is there. @throws version-mismatch */
async function limitNamespace(c: Limiting, of: Parameters<typeof setQuota>[1], guard: D1PreparedStatement[]) {
  const { maxBytes: limit, warnPercent: percent = null } = c.var.body;
  const change = { ifVersion: expectedVersion(c), by: actorOf(c), guard };
  const quota = await setQuota(c.env, of, { maxBytes: limit, warnPercent: percent }, change);
  if (!quota) throw new Refusal('version-mismatch');
  const { version, ...body } = quota;
  return answer(body, { version });
}

function shown({ countedAt, staged, ...stored }: Usage): z.output<typeof usageSchema> {
  const percent = percentOf({ ...stored, staged });
  return { ...stored, ...(staged > 0 ? { staged } : {}), percent, countedAt: timeOf(countedAt) };
}

/** With one decimal. Of nothing, everything is used. */
function percentOf(of: { bytes: number; staged: number; maxBytes: number | null }): number | null {
  const { bytes: stored, staged, maxBytes: limit } = of;
  if (limit === null) return null;
  return limit === 0 ? 100 : Math.round(((stored + staged) / limit) * 1000) / 10;
}

const SECONDS_PER_DAY = 24 * 60 * 60;

function dayOf(day: number): string {
  return timeOf(day * SECONDS_PER_DAY).slice(0, 'YYYY-MM-DD'.length);
}

function shownPulls({ total, checkedOn, days }: Pulls): z.output<typeof pullsSchema> {
  const [newest] = days;
  return {
    total,
    lastPulledAt: newest ? dayOf(newest.day) : null,
    ...(checkedOn === null ? {} : { lastCheckedAt: dayOf(checkedOn) }),
    days: days.map(({ day, pulls }) => ({ day: dayOf(day), pulls })),
  };
}
