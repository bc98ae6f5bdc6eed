/** Routes of stars and comments. */

import type * as z from 'zod';
import {
  changeComment,
  deleteComment,
  getStars,
  listComments,
  postComment,
  putStar,
  type ShownComment,
} from '../../app/comments.ts';
import type { commentSchema } from '../../contract/answers/comments.ts';
import { commentChange, commentQuery } from '../../contract/comments.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { operation } from './operation.ts';

export const comments = new Hono<AppEnv>({ strict: false })
  .get('/repositories/:name{.+}/-/star', operation({}), async (c) => answer(await getStars(callOf(c), repositoryIn(c))))
  .put('/repositories/:name{.+}/-/star', operation({}), async (c) => answer(await putStar(callOf(c), repositoryIn(c), true)))
  .delete('/repositories/:name{.+}/-/star', operation({}), async (c) =>
    answer(await putStar(callOf(c), repositoryIn(c), false)),
  )
  .get(
    '/repositories/:name{.+}/-/comments',
    operation({
      query: commentQuery,
    }),
    async (c) => {
      const { n, last } = c.var.query;
      const page = await listComments(callOf(c), repositoryIn(c), {
        before: last === undefined ? null : Number(last),
        limit: n,
      });
      return answerPage(page, shownComment, ({ id }) => String(id));
    },
  )
  .post(
    '/repositories/:name{.+}/-/comments',
    operation({
      body: commentChange,
    }),
    async (c) => answer(shownComment(await postComment(callOf(c), repositoryIn(c), c.var.body)), { status: 201 }),
  )
  .patch(
    '/repositories/:name{.+}/-/comments/:comment',
    operation({
      body: commentChange,
    }),
    async (c) => answer(shownComment(await changeComment(callOf(c), repositoryIn(c), commentIn(c), c.var.body))),
  )
  .delete('/repositories/:name{.+}/-/comments/:comment', operation({}), async (c) => {
    await deleteComment(callOf(c), repositoryIn(c), commentIn(c));
    return answerNothing();
  });

/** Returns the number of the comment in the path. @throws not-found if it is no number */
function commentIn(c: RequestContext): number {
  const text = c.req.param('comment') ?? '';
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new Refusal('not-found');
  return Number(text);
}

function shownComment({ id, author, source, createdAt, editedAt }: ShownComment): z.output<typeof commentSchema> {
  return { id, author, text: source, createdAt: timeOf(createdAt), editedAt: editedAt === null ? null : timeOf(editedAt) };
}
