/** What a tag has named, bringing it back to that, and which tags cannot be changed. */
import { Hono } from 'hono';
import * as z from 'zod';
import { allows } from '../../auth/policy.ts';
import { PAGE_DEFAULT, PAGE_QUERY, pageSchema } from '../../contract/pages.ts';
import { parseCondition } from '../../oci/condition.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { isTag, type Tag } from '../../oci/reference.ts';
import { digestAt, type HistoryPoint, listHistory, rollBack } from '../../registry/tags/history.ts';
import { getMutability, MUTABILITIES, type Mutability, saveMutability } from '../../registry/tags/mutability.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { rightsTo } from '../authorize.ts';
import { type AppEnv, actorOf, type RequestContext } from '../context.ts';
import { answer, answerItems, timeOf } from './answers.ts';
import { asksFor } from './guard.ts';
import { operation } from './operation.ts';
import { expectedVersion } from './params.ts';

const GROUP = 'Tags';

const digest = z.string().refine(isDigest, 'is no digest');

const pointSchema = z.strictObject({
  point: z.int().describe('Counts the changes of this tag'),
  at: z.iso.datetime(),
  digest: z.nullable(z.string()).describe('What it named from then on; null: it was deleted'),
  previous: z.nullable(z.string()).describe('What it named before'),
  present: z.boolean().describe('Whether that image is still there, so that the tag can be brought back to it'),
  actor: z
    .nullable(z.strictObject({ subject: z.string(), key: z.nullable(z.string()) }))
    .describe('Who did it, and with which access key: for those who may push here'),
});

const historyQuery = z.strictObject({
  ...PAGE_QUERY,
  last: z.optional(z.string().regex(/^[1-9]\d{0,14}$/, 'is no point')).describe('Where the page before ended'),
});

const rollbackSchema = z
  .strictObject({
    point: z.optional(z.int().min(1)).describe('Of the history: what the tag named from then on'),
    digest: z.optional(digest).describe('What the tag has named at some time'),
  })
  .refine((sent) => (sent.point === undefined) !== (sent.digest === undefined), 'has one of point and digest');

const rolledBackSchema = z.strictObject({ tag: z.string(), digest: z.string() });

/** ECR's limits (API reference, ImageTagMutabilityExclusionFilter); the filters of both kinds are wildcards. */
const EXCLUSIONS_MAX = 5;
const mutabilitySchema = z
  .strictObject({
    imageTagMutability: z.enum(MUTABILITIES),
    imageTagMutabilityExclusionFilters: z
      .optional(
        z
          .array(
            z.strictObject({
              filterType: z.optional(z.literal('WILDCARD')),
              filter: z.string().regex(/^[0-9A-Za-z._*-]{1,128}$/, 'is no filter: letters, digits, ".", "_", "-" and "*"'),
            }),
          )
          .max(EXCLUSIONS_MAX),
      )
      .describe('Tags for which the opposite holds: 1 to 5, with `*` for any run of characters'),
  })
  .refine(
    ({ imageTagMutability: value, imageTagMutabilityExclusionFilters: filters = [] }) =>
      value.endsWith('_WITH_EXCLUSION') === filters.length > 0,
    'has 1 to 5 exclusion filters with …_WITH_EXCLUSION, and none without',
  );

export const tags = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/tags/:tag/history',
    asksFor('pull'),
    operation({
      group: GROUP,
      summary: 'What a tag has named',
      description: 'The newest first. It goes back `HISTORY_DAYS`, and outlives the tag.',
      query: historyQuery,
      answers: { 200: { description: 'A page of its changes', schema: pageSchema(pointSchema) } },
    }),
    async (c) => {
      const { n = PAGE_DEFAULT, last } = c.var.query;
      const { repository, authority } = c.var;
      const before = last === undefined ? null : Number(last);
      const { items, more } = await listHistory(c.env, repository, tagIn(c), before, n);
      const tellsWho = allows(authority, 'push', repository);
      const shown = items.map((point) => shownPoint(point, tellsWho));
      return answerItems(shown, more ? String(items.at(-1)?.point) : null, ({ point }) => String(point));
    },
  )
  .post(
    '/repositories/:name{.+}/-/tags/:tag/rollback',
    asksFor('push'),
    operation({
      group: GROUP,
      summary: 'Have a tag name again what it named before',
      description:
        'To a point of its history, or to a digest in it. A tag that is there has to be one that you may move (`retag`), one that was deleted one that you may make (`push`). With `If-Match: "sha256:…"` only if it names that now.',
      body: rollbackSchema,
      answers: { 200: { description: 'It names that now', schema: rolledBackSchema } },
    }),
    async (c) => {
      const { repository, body } = c.var;
      const tag = tagIn(c);
      const digest = (body.digest as Digest | undefined) ?? (await digestAt(c.env, repository, tag, body.point as number));
      const condition = parseCondition(c.req.header('if-match'), c.req.header('if-none-match'));
      const put = { repository, digest, tags: [tag], condition, ...rightsTo(c, repository, [tag]) };
      await rollBack(c.env, put, tag, actorOf(c));
      return answer({ tag, digest });
    },
  )
  .get(
    '/repositories/:name{.+}/-/tag-mutability',
    asksFor('pull'),
    operation({
      group: GROUP,
      summary: 'Which tags cannot be changed',
      answers: { 200: { description: 'One of four values as ECR has them, and its ETag', schema: mutabilitySchema } },
    }),
    async (c) => answerMutability(c),
  )
  .put(
    '/repositories/:name{.+}/-/tag-mutability',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: 'Say which tags cannot be changed',
      description:
        'What is immutable is neither moved nor deleted, by whatever way, nor by a rule of clean-up unless that says so; `latest` is no exception, nor are the tags of signatures, which cosign moves to add one: exclude `sha256-*` for that. They still go with their image. It holds for tags that are there already as well.',
      conditional: true,
      body: mutabilitySchema,
      answers: { 200: { description: 'As it is now, and its new ETag', schema: mutabilitySchema } },
    }),
    async (c) => {
      const { repository, body } = c.var;
      const exclusions = (body.imageTagMutabilityExclusionFilters ?? []).map(({ filter }) => filter);
      const mutability: Mutability = { value: body.imageTagMutability, exclusions: [...new Set(exclusions)] };
      await saveMutability(c.env, repository, mutability, { ifVersion: expectedVersion(c), by: actorOf(c) });
      return answerMutability(c);
    },
  );

/** What cannot be a tag has no history. @throws not-found */
function tagIn(c: RequestContext): Tag {
  const tag = c.req.param('tag') ?? '';
  if (!isTag(tag)) throw new Refusal('not-found');
  return tag;
}

function shownPoint({ by, at, ...point }: HistoryPoint, tellsWho: boolean): z.output<typeof pointSchema> {
  return { ...point, at: timeOf(at), actor: tellsWho ? { subject: by.subject, key: by.key ?? null } : null };
}

async function answerMutability(c: RequestContext & { var: { repository: RepositoryName } }): Promise<Response> {
  const { mutability, version } = await getMutability(c.env, c.var.repository);
  const filters = mutability.exclusions.map((filter) => ({ filterType: 'WILDCARD', filter }));
  const body = {
    imageTagMutability: mutability.value,
    ...(filters.length > 0 ? { imageTagMutabilityExclusionFilters: filters } : {}),
  };
  return answer(body, { version });
}
