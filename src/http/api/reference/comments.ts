/** What the reference says about the routes in `../comments.ts`. */

import { commentSchema, starsSchema } from '../../../contract/answers/comments.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Stars and comments';

const NOT_A_PERSON = 'The credential is not a personal access key, or is narrowed';

const STARRED = { 200: { description: 'The stars of the repository', schema: starsSchema } };

export const comments: Reference = {
  'GET /repositories/:name{.+}/-/star': {
    group: GROUP,
    summary: 'Read how many people have starred a repository',
    answers: STARRED,
  },
  'PUT /repositories/:name{.+}/-/star': {
    group: GROUP,
    summary: 'Star a repository',
    refusals: { forbidden: NOT_A_PERSON },
    answers: STARRED,
  },
  'DELETE /repositories/:name{.+}/-/star': {
    group: GROUP,
    summary: 'Take a star back',
    refusals: { forbidden: NOT_A_PERSON },
    answers: STARRED,
  },
  'GET /repositories/:name{.+}/-/comments': {
    group: GROUP,
    summary: 'List the comments on a repository',
    description: 'There are none if the registry has the setting `COMMENTS=off`.',
    answers: { 200: { description: 'A page of comments, newest first', schema: pageSchema(commentSchema) } },
  },
  'POST /repositories/:name{.+}/-/comments': {
    group: GROUP,
    summary: 'Comment on a repository',
    description: 'Everybody who may pull and has an account may comment.',
    example: { body: { text: 'Works on **arm64** as well.' } },
    refusals: {
      forbidden: NOT_A_PERSON,
      'limit-reached': 'The repository has 1,000 comments, or 100 of yours',
      disabled: 'The registry has the setting `COMMENTS=off`',
    },
    answers: { 201: { description: 'The comment', schema: commentSchema } },
  },
  'PATCH /repositories/:name{.+}/-/comments/:comment': {
    group: GROUP,
    summary: 'Change a comment of yours',
    example: { body: { text: 'Works on **arm64** and **riscv64**.' } },
    refusals: { forbidden: NOT_A_PERSON, disabled: 'The registry has the setting `COMMENTS=off`' },
    answers: { 200: { description: 'The changed comment', schema: commentSchema } },
  },
  'DELETE /repositories/:name{.+}/-/comments/:comment': {
    group: GROUP,
    summary: 'Delete a comment',
    description: 'You may delete your own, and if you may administer the repository, any.',
    refusals: { forbidden: NOT_A_PERSON },
    answers: { 204: { description: 'It was deleted' } },
  },
};
