/** Routes of repositories. */

import type * as z from 'zod';
import { loadCaller } from '../../app/authentication.ts';
import {
  changeRepository,
  deleteRepository,
  getRepository,
  type ListedRepository,
  putRepository,
  type Repository,
} from '../../app/repositories.ts';
import { listRepositories } from '../../app/repository-lists.ts';
import type { repositorySummary } from '../../contract/answers/repositories.ts';
import { repositoryChange, repositoryDeletion, repositoryQuery } from '../../contract/repositories.ts';
import { arrivalOf } from '../authenticate.ts';
import { type AppEnv, callOf, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerItems, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, pageQueryOf } from './params.ts';

export const repositories = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories',
    operation({
      query: repositoryQuery,
    }),
    async (c) => {
      c.set('authority', await loadCaller(arrivalOf(c), c.var.caller.credential));
      const { items, next } = await listRepositories(callOf(c), pageQueryOf(c.var.query), c.var.query);
      return answerItems(items.map(shownSummary), next, ({ name }) => name);
    },
  )
  .get('/repositories/:name{.+}', operation({}), async (c) => answerRepository(await getRepository(callOf(c), repositoryIn(c))))
  .put(
    '/repositories/:name{.+}',
    operation({
      conditional: true,
      body: repositoryChange,
    }),
    async (c) => {
      const { repository, isNew } = await putRepository(callOf(c), repositoryIn(c), c.var.body, expectedVersion(c));
      return answerRepository(repository, isNew ? 201 : 200);
    },
  )
  .patch(
    '/repositories/:name{.+}',
    operation({
      conditional: true,
      body: repositoryChange,
    }),
    async (c) => answerRepository(await changeRepository(callOf(c), repositoryIn(c), c.var.body, expectedVersion(c))),
  )
  .delete(
    '/repositories/:name{.+}',
    operation({
      conditional: true,
      query: repositoryDeletion,
    }),
    async (c) => {
      const removal = { force: c.var.query.force === 'true', ifVersion: expectedVersion(c) };
      const { entry, restorableUntil, ...deleted } = await deleteRepository(callOf(c), repositoryIn(c), removal);
      return answer({ ...deleted, entry: String(entry), restorableUntil: timeOf(restorableUntil) });
    },
  );

function answerRepository(repository: Repository, status = 200): Response {
  return answer({ ...shownSummary(repository), overview: repository.overview }, { status, version: repository.version });
}

function shownSummary(listed: ListedRepository): z.output<typeof repositorySummary> {
  const { name, visibility, description, createdAt, lastPushedAt, stars, bytes, tags, manifests } = listed;
  return {
    name,
    visibility,
    description,
    createdAt: timeOf(createdAt),
    lastPushedAt: lastPushedAt === null ? null : timeOf(lastPushedAt),
    stars,
    bytes,
    tags,
    manifests,
  };
}
