/** Repositories: make, describe, find, change and delete them. */
import { Hono } from 'hono';
import type * as z from 'zod';
import {
  changeRepository,
  deleteRepository,
  getRepository,
  type ListedRepository,
  listRepositories,
  putRepository,
  type Repository,
} from '../../app/repositories.ts';
import { pageSchema } from '../../contract/pages.ts';
import {
  repositoryChange,
  repositoryDeletion,
  repositoryQuery,
  repository as repositorySchema,
  repositorySummary,
} from '../../contract/repositories.ts';
import { loadCallerAuthority } from '../authenticate.ts';
import { type AppEnv, callOf } from '../context.ts';
import { answer, answerItems, answerNothing, timeOf } from './answers.ts';
import { asksFor } from './guard.ts';
import { operation } from './operation.ts';
import { expectedVersion, pageQueryOf } from './params.ts';

const GROUP = 'Repositories';

export const repositories = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories',
    operation({
      group: GROUP,
      summary: 'The repositories that you may pull',
      description:
        'Without credentials: those that are public. A page may be short or empty before the end, which is where `next` is null.',
      query: repositoryQuery,
      answers: { 200: { description: 'A page of them, by name', schema: pageSchema(repositorySummary) } },
    }),
    async (c) => {
      c.set('authority', await loadCallerAuthority(c, c.var.caller.credential, []));
      const { items, next } = await listRepositories(callOf(c), pageQueryOf(c.var.query), c.var.query);
      return answerItems(items.map(shownSummary), next, ({ name }) => name);
    },
  )
  .get(
    '/repositories/:name{.+}',
    asksFor('pull'),
    operation({
      group: GROUP,
      summary: 'A repository',
      answers: { 200: { description: 'What is said of it, and its ETag', schema: repositorySchema } },
    }),
    async (c) => answerRepository(await getRepository(callOf(c), c.var.repository)),
  )
  .put(
    '/repositories/:name{.+}',
    asksFor('create'),
    operation({
      group: GROUP,
      summary: 'Make a repository, or set what is said of one',
      description:
        'Private unless said otherwise. Whoever may create but not administer it makes it private and without a description. Of one that is there, which takes the right to administer it, what is left out stays.',
      conditional: true,
      body: repositoryChange,
      answers: {
        200: { description: 'It was there, and is as described now', schema: repositorySchema },
        201: { description: 'Made', schema: repositorySchema },
      },
    }),
    async (c) => {
      const { repository, isNew } = await putRepository(callOf(c), c.var.repository, c.var.body, expectedVersion(c));
      return answerRepository(repository, isNew ? 201 : 200);
    },
  )
  .patch(
    '/repositories/:name{.+}',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: 'Change what is said of a repository, or who sees it',
      conditional: true,
      body: repositoryChange,
      answers: { 200: { description: 'As it is now, and its new ETag', schema: repositorySchema } },
    }),
    async (c) => answerRepository(await changeRepository(callOf(c), c.var.repository, c.var.body, expectedVersion(c))),
  )
  .delete(
    '/repositories/:name{.+}',
    asksFor('admin'),
    operation({
      group: GROUP,
      summary: 'Delete a repository',
      description:
        'Refused while it has images, unless `force=true`, and while some of its tags are immutable. It goes into the trash, from which it can be restored for a while with all it had (`GET /trash`), but for its webhooks: they end for good, and this is the last they hear.',
      conditional: true,
      query: repositoryDeletion,
      answers: { 204: { description: 'Deleted' } },
    }),
    async (c) => {
      const removal = { force: c.var.query.force === 'true', ifVersion: expectedVersion(c) };
      await deleteRepository(callOf(c), c.var.repository, removal);
      return answerNothing();
    },
  );

function answerRepository(repository: Repository, status = 200): Response {
  return answer({ ...shownSummary(repository), overview: repository.overview }, { status, version: repository.version });
}

function shownSummary({ name, visibility, description, createdAt }: ListedRepository): z.output<typeof repositorySummary> {
  return { name, visibility, description, createdAt: timeOf(createdAt) };
}
