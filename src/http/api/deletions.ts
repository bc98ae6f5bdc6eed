/** Deletions of tags and images, one or several at once, with a preview. */

import { type DeletionPreview, deleteChosen, deleteTag, previewDeletion } from '../../app/deletions.ts';
import { deletionRequest } from '../../contract/deletions.ts';
import { isTag, type Tag } from '../../oci/reference.ts';
import { Refusal, withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { chargeReferences } from '../limits.ts';
import { conditionIn } from '../params.ts';
import { answer } from './answers.ts';
import { operation } from './operation.ts';
import { expectedPlan } from './params.ts';

/** The approximate number of D1 rows that deleting a tag or an image writes. */
const ROWS_EACH = 10;

export const deletions = new Hono<AppEnv>({ strict: false })
  .delete('/repositories/:name{.+}/-/tags/:tag', operation({}), async (c) =>
    answer(await deleteTag(callOf(c), repositoryIn(c), tagIn(c), conditionIn(c))),
  )
  .post(
    '/repositories/:name{.+}/-/deletion/preview',
    operation({
      body: deletionRequest,
    }),
    async (c) => {
      const { body } = c.var;
      return answerPreview(await withFieldsIn('body', () => previewDeletion(callOf(c), repositoryIn(c), body)));
    },
  )
  .post(
    '/repositories/:name{.+}/-/deletion',
    operation({
      conditional: true,
      body: deletionRequest,
    }),
    async (c) => {
      const { body } = c.var;
      chargeReferences(c, ROWS_EACH * ((body.tags ?? []).length + (body.images ?? []).length));
      return answer(await withFieldsIn('body', () => deleteChosen(callOf(c), repositoryIn(c), body, expectedPlan(c))));
    },
  );

/** @throws manifest-unknown if the text is no valid tag, because no such tag can exist */
function tagIn(c: RequestContext): Tag {
  const tag = c.req.param('tag') ?? '';
  if (isTag(tag)) return tag;
  throw new Refusal('manifest-unknown', { message: 'there is no tag of this name: it is not a valid tag' });
}

function answerPreview({ etag, ...plan }: DeletionPreview): Response {
  const response = answer(plan);
  response.headers.set('etag', etag);
  return response;
}
