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
import { commentChange, commentQuery, commentSchema, starsSchema } from '../../contract/comments.ts';
import { pageSchema } from '../../contract/pages.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerNothing, answerPage, timeOf } from './answers.ts';
import { operation } from './operation.ts';

const GROUP = 'Stars and comments';
const NOT_A_PERSON = 'The credential is not a personal access key, or is narrowed';
const STARRED = { 200: { description: 'The stars of the repository', schema: starsSchema } };

export const comments = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/star',
    operation({ group: GROUP, summary: 'Read how many people have starred a repository', answers: STARRED }),
    async (c) => answer(await getStars(callOf(c), repositoryIn(c))),
  )
  .put(
    '/repositories/:name{.+}/-/star',
    operation({ group: GROUP, summary: 'Star a repository', refusals: { forbidden: NOT_A_PERSON }, answers: STARRED }),
    async (c) => answer(await putStar(callOf(c), repositoryIn(c), true)),
  )
  .delete(
    '/repositories/:name{.+}/-/star',
    operation({ group: GROUP, summary: 'Take a star back', refusals: { forbidden: NOT_A_PERSON }, answers: STARRED }),
    async (c) => answer(await putStar(callOf(c), repositoryIn(c), false)),
  )
  .get(
    '/repositories/:name{.+}/-/comments',
    operation({
      group: GROUP,
      summary: 'List the comments on a repository',
      description: 'There are none if the registry has the setting `COMMENTS=off`.',
      query: commentQuery,
      answers: { 200: { description: 'A page of comments, newest first', schema: pageSchema(commentSchema) } },
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
      group: GROUP,
      summary: 'Comment on a repository',
      description: 'Everybody who may pull and has an account may comment.',
      body: commentChange,
      example: { body: { text: 'Works on **arm64** as well.' } },
      refusals: {
        forbidden: NOT_A_PERSON,
        'limit-reached': 'The repository has 1,000 comments, or 100 of yours',
        disabled: 'The registry has the setting `COMMENTS=off`',
      },
      answers: { 201: { description: 'The comment', schema: commentSchema } },
    }),
    async (c) => answer(shownComment(await postComment(callOf(c), repositoryIn(c), c.var.body)), { status: 201 }),
  )
  .patch(
    '/repositories/:name{.+}/-/comments/:comment',
    operation({
      group: GROUP,
      summary: 'Change a comment of yours',
      body: commentChange,
      example: { body: { text: 'Works on **arm64** and **riscv64**.' } },
      refusals: { forbidden: NOT_A_PERSON, disabled: 'The registry has the setting `COMMENTS=off`' },
      answers: { 200: { description: 'The changed comment', schema: commentSchema } },
    }),
    async (c) => answer(shownComment(await changeComment(callOf(c), repositoryIn(c), commentIn(c), c.var.body))),
  )
  .delete(
    '/repositories/:name{.+}/-/comments/:comment',
    operation({
      group: GROUP,
      summary: 'Delete a comment',
      description: 'You may delete your own, and if you may administer the repository, any.',
      refusals: { forbidden: NOT_A_PERSON },
      answers: { 204: { description: 'It was deleted' } },
    }),
    async (c) => {
      await deleteComment(callOf(c), repositoryIn(c), commentIn(c));
      return answerNothing();
    },
  );

/** The number of the comment in the path. @throws not-found */
function commentIn(c: RequestContext): number {
  const text = c.req.param('comment') ?? '';
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new Refusal('not-found');
  return Number(text);
}

function shownComment({ id, author, source, createdAt, editedAt }: ShownComment): z.output<typeof commentSchema> {
  return { id, author, text: source, createdAt: timeOf(createdAt), editedAt: editedAt === null ? null : timeOf(editedAt) };
}
