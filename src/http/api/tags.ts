/** Routes of tags: the history of a tag, the rollback of a tag, and immutable tags. */

import type * as z from 'zod';
import {
  getTagMutability,
  listTagHistory,
  putTagMutability,
  rollBackTag,
  type ShownTagChange,
  type VersionedMutability,
} from '../../app/tags.ts';
import type { historyPoint } from '../../contract/answers/tags.ts';
import { historyQuery, rollback, tagMutability } from '../../contract/tags.ts';
import { isTag, type Tag } from '../../oci/reference.ts';
import { Refusal, withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { conditionIn } from '../params.ts';
import { answer, answerItems, shownActor, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion } from './params.ts';

export const tags = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/tags/:tag/history',
    operation({
      query: historyQuery,
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
      body: rollback,
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
  .get('/repositories/:name{.+}/-/tag-mutability', operation({}), async (c) =>
    answerMutability(await getTagMutability(callOf(c), repositoryIn(c))),
  )
  .put(
    '/repositories/:name{.+}/-/tag-mutability',
    operation({
      conditional: true,
      body: tagMutability,
    }),
    async (c) => {
      const { imageTagMutability: value, imageTagMutabilityExclusionFilters: filters = [] } = c.var.body;
      const mutability = { value, exclusions: filters.map(({ filter }) => filter) };
      const put = () => putTagMutability(callOf(c), repositoryIn(c), mutability, expectedVersion(c));
      return answerMutability(await withFieldsIn('body', put));
    },
  );

/** Returns the tag in the path. @throws not-found if the text is not a valid tag, because such a tag has no history */
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
