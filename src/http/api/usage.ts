/** What organizations store, what they may store, and how often images are pulled. */
import { Hono } from 'hono';
import * as z from 'zod';
import { getOrganization } from '../../auth/people/organizations.ts';
import { requireOrganization } from '../../auth/within.ts';
import { isDigest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/errors.ts';
import { isTag } from '../../oci/reference.ts';
import { statManifest } from '../../registry/manifests/manifests.ts';
import { holdingsOf } from '../../registry/usage/holdings.ts';
import { type Pulls, pullsOf } from '../../registry/usage/pulls.ts';
import { setQuota } from '../../registry/usage/quota.ts';
import { listUsage, type Usage } from '../../registry/usage/usage.ts';
import { type AppEnv, actorOf } from '../context.ts';
import { asks, asksFor, requireRight } from './guard.ts';
import { answer, answerItems, expectedVersion, operation, PAGE_DEFAULT, PAGE_QUERY, pageSchema } from './operation.ts';
import { organizationIn, timeOf } from './parts.ts';

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
  maxBytes,
  warnPercent,
  percent: z.nullable(z.number()).describe('Of the limit that is used; null: there is none'),
  countedAt: z.iso.datetime(),
});

const usageSchema = storedSchema.extend({
  namespace: z.string().describe('`acme` of `acme/api`: an organization or a user. Empty: repositories without one'),
});

const holdingsSchema = storedSchema.extend({
  organization: z.string(),
  repositories: count,
  tags: count.describe(
    'Without those of signatures, attestations, SBOMs and lists of referrers, which belong to an image by their name',
  ),
  manifests: count.describe('All of them: images, what indexes list, signatures and other referrers'),
  trash: z
    .strictObject({ bytes, repositories: count, tags: count, manifests: count })
    .describe('What of the bytes would go with the trash, and what can be restored from it'),
});

const quotaSchema = z.strictObject({ maxBytes, warnPercent });
const quotaBody = z.strictObject({
  maxBytes,
  warnPercent: z.optional(warnPercent).describe('Left out, it stays as it is; 80 at first'),
});

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
      const { countedAt, version, ...holdings } = await holdingsOf(c.env, organization);
      const body = { organization, ...holdings, percent: percentOf(holdings), countedAt: timeOf(countedAt) };
      return answer(body, { version });
    },
  )
  .put(
    '/organizations/:organization/quota',
    asks('administrator'),
    operation({
      group: GROUP,
      summary: 'Limit what an organization may store',
      description:
        'What is over the limit stays, and can be pulled: only what is new is refused, with 403 and what is missing. What is deleted makes room once the trash has been emptied and the collector has passed. With null there is no limit.',
      conditional: true,
      body: quotaBody,
      answers: { 200: { description: 'As it is now, and its new ETag', schema: quotaSchema } },
    }),
    async (c) => {
      const organization = organizationIn(c);
      const { maxBytes: limit, warnPercent: percent = null } = c.var.body;
      const guard = [requireOrganization(c.env, organization)];
      const change = { ifVersion: expectedVersion(c), by: actorOf(c), guard };
      const quota = await setQuota(c.env, organization, { maxBytes: limit, warnPercent: percent }, change);
      if (!quota) {
        await getOrganization(c.env, organization);
        throw new RegistryError('PRECONDITION_FAILED');
      }
      const { version, ...body } = quota;
      return answer(body, { version });
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

function shown({ countedAt, ...stored }: Usage): z.output<typeof usageSchema> {
  return { ...stored, percent: percentOf(stored), countedAt: timeOf(countedAt) };
}

/** With one decimal. Of nothing, everything is used. */
function percentOf({ bytes: used, maxBytes: limit }: { bytes: number; maxBytes: number | null }): number | null {
  if (limit === null) return null;
  return limit === 0 ? 100 : Math.round((used / limit) * 1000) / 10;
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
