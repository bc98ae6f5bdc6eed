/** Routes of tags: the history of a tag, the rollback of a tag, and the setting for immutable tags. */

import type * as z from 'zod';
import {
  getTagMutability,
  listTagHistory,
  putTagMutability,
  rollBackTag,
  type ShownTagChange,
  type VersionedMutability,
} from '../../app/tags.ts';
import { pageSchema } from '../../contract/pages.ts';
import { historyPoint, historyQuery, rollback, rolledBack, tagMutability } from '../../contract/tags.ts';
import { isTag, type Tag } from '../../oci/reference.ts';
import { Refusal, withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { conditionIn } from '../params.ts';
import { answer, answerItems, shownActor, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion } from './params.ts';

const GROUP = 'Tags';

export const tags = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/tags/:tag/history',
    operation({
      group: GROUP,
      summary: 'Read the history of a tag',
      description: 'The newest change comes first. Changes are kept for `HISTORY_DAYS`, even if the tag is deleted.',
      query: historyQuery,
      answers: { 200: { description: 'A page of changes', schema: pageSchema(historyPoint) } },
    }),
    async (c) => {
      const { n: limit, last } = c.var.query;
      const before = last === undefined ? null : Number(last);
      const { items, more } = await listTagHistory(callOf(c), repositoryIn(c), tagIn(c), { before, limit });
      return answerItems(items.map(shownChange), more ? String(items.at(-1)?.point) : null, ({ point }) => String(point));
    },
  )
  .post(
    '/repositories/:name{.+}/-/tags/:tag/rollback',
    operation({
      group: GROUP,
      summary: 'Roll a tag back',
      description:
        'Moves the tag back to an image that it named before. The image is given by a point of the history or by its ' +
        'digest. To move a tag that exists, you need the right `retag`. With `If-Match: "sha256:…"`, the tag is moved ' +
        'only if it names that digest now.',
      body: rollback,
      example: { body: { point: 1 } },
      refusals: {
        'tag-immutable': 'The tag is immutable',
        'parameter-invalid': '`If-Match` or `If-None-Match` cannot be read',
        'version-mismatch': '`If-Match` or `If-None-Match` does not hold: the tag names another digest',
        conflict: 'The image is in the trash or does not exist any more, or the tag was deleted at this point',
        overtaken: 'Other requests kept changing the tag',
      },
      answers: { 200: { description: 'The digest that the tag names now', schema: rolledBack } },
    }),
    async (c) => {
      const repository = repositoryIn(c);
      const { body } = c.var;
      const tag = tagIn(c);
      const to = body.digest === undefined ? { point: body.point as number } : { digest: body.digest };
      const condition = conditionIn(c);
      const digest = await rollBackTag(callOf(c), repository, tag, to, condition);
      return answer({ tag, digest });
    },
  )
  .get(
    '/repositories/:name{.+}/-/tag-mutability',
    operation({
      group: GROUP,
      summary: 'Read which tags are immutable',
      answers: { 200: { description: 'The setting and its ETag', schema: tagMutability } },
    }),
    async (c) => answerMutability(await getTagMutability(callOf(c), repositoryIn(c))),
  )
  .put(
    '/repositories/:name{.+}/-/tag-mutability',
    operation({
      group: GROUP,
      summary: 'Set which tags are immutable',
      description:
        'An immutable tag can be neither moved nor deleted. Lifecycle rules leave it alone, too, unless a rule has ' +
        '`includeImmutable`. `latest` is no exception, nor are the tags of signatures, which cosign moves to add a ' +
        'signature: exclude `sha256-*` for that. An image with an immutable tag is not deleted. The setting applies to ' +
        'existing tags as well.',
      conditional: true,
      body: tagMutability,
      example: {
        body: {
          imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
          imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'latest' }],
        },
      },
      answers: { 200: { description: 'The setting as saved, and its new ETag', schema: tagMutability } },
    }),
    async (c) => {
      const { imageTagMutability: value, imageTagMutabilityExclusionFilters: filters = [] } = c.var.body;
      const mutability = { value, exclusions: filters.map(({ filter }) => filter) };
      const put = () => putTagMutability(callOf(c), repositoryIn(c), mutability, expectedVersion(c));
      return answerMutability(await withFieldsIn('body', put));
    },
  );

/** The tag in the path. @throws not-found if the text is not a valid tag, because it then has no history */
function tagIn(c: RequestContext): Tag {
  const tag = c.req.param('tag') ?? '';
  if (!isTag(tag)) throw new Refusal('not-found');
  return tag;
}

function shownChange({ by, at, ...point }: ShownTagChange): z.output<typeof historyPoint> {
  return { ...point, at: timeOf(at), actor: by && shownActor(by) };
}

function answerMutability({ mutability: { value, exclusions }, version }: VersionedMutability): Response {
  const filters = exclusions.map((filter) => ({ filterType: 'WILDCARD', filter }));
  const excluding = filters.length > 0 ? { imageTagMutabilityExclusionFilters: filters } : {};
  return answer({ imageTagMutability: value, ...excluding }, { version });
}
