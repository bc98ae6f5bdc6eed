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
import { pageSchema } from '../../contract/pages.ts';
import {
  repositoryChange,
  repositoryDeletion,
  repositoryQuery,
  repository as repositorySchema,
  repositorySummary,
} from '../../contract/repositories.ts';
import { deletedRepository } from '../../contract/trash.ts';
import { arrivalOf } from '../authenticate.ts';
import { type AppEnv, callOf, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerItems, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { expectedVersion, pageQueryOf } from './params.ts';

const GROUP = 'Repositories';

export const repositories = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories',
    operation({
      group: GROUP,
      summary: 'List the repositories that you may pull',
      description:
        'Without credentials you get the public ones. A page may be short or empty before the end. The end is where ' +
        '`next` is null.',
      query: repositoryQuery,
      refusals: { 'parameter-invalid': '`last` is not a cursor of this list' },
      answers: { 200: { description: 'A page of repositories, by name', schema: pageSchema(repositorySummary) } },
    }),
    async (c) => {
      c.set('authority', await loadCaller(arrivalOf(c), c.var.caller.credential));
      const { items, next } = await listRepositories(callOf(c), pageQueryOf(c.var.query), c.var.query);
      return answerItems(items.map(shownSummary), next, ({ name }) => name);
    },
  )
  .get(
    '/repositories/:name{.+}',
    operation({
      group: GROUP,
      summary: 'Read a repository',
      answers: { 200: { description: 'The repository and its ETag', schema: repositorySchema } },
    }),
    async (c) => answerRepository(await getRepository(callOf(c), repositoryIn(c))),
  )
  .put(
    '/repositories/:name{.+}',
    operation({
      group: GROUP,
      summary: 'Create a repository, or change one',
      description:
        'A new repository is private unless the request says otherwise. If you may create but not administer it, the ' +
        'request may set neither visibility nor description. Changing an existing repository needs the right to ' +
        'administer it; fields that are left out stay unchanged.',
      conditional: true,
      body: repositoryChange,
      example: { body: { description: 'The web shop' } },
      refusals: { 'name-taken': 'The repository exists, and you may not pull it' },
      answers: {
        200: { description: 'The repository existed. It was changed', schema: repositorySchema },
        201: { description: 'The created repository', schema: repositorySchema },
      },
    }),
    async (c) => {
      const { repository, isNew } = await putRepository(callOf(c), repositoryIn(c), c.var.body, expectedVersion(c));
      return answerRepository(repository, isNew ? 201 : 200);
    },
  )
  .patch(
    '/repositories/:name{.+}',
    operation({
      group: GROUP,
      summary: "Change a repository's description, or make it public or private",
      description: 'Fields that are left out stay unchanged.',
      conditional: true,
      body: repositoryChange,
      example: { body: { visibility: 'public', overview: '# The web shop' } },
      refusals: { overtaken: 'Other requests kept changing the policy, in which the visibility is stored' },
      answers: { 200: { description: 'The changed repository and its new ETag', schema: repositorySchema } },
    }),
    async (c) => answerRepository(await changeRepository(callOf(c), repositoryIn(c), c.var.body, expectedVersion(c))),
  )
  .delete(
    '/repositories/:name{.+}',
    operation({
      group: GROUP,
      summary: 'Delete a repository',
      description:
        'Refused while the repository has images, unless `force=true`, and always while it has immutable tags. It goes ' +
        'to the trash (`GET /trash`), from which it can be restored for a while with everything it has. The deletion ' +
        'is the last event that its webhooks are sent; they are restored disabled.',
      conditional: true,
      query: repositoryDeletion,
      example: { query: { force: 'true' } },
      refusals: {
        'not-empty': 'The repository has images, and `force` is not `true`',
        conflict: 'The repository has immutable tags',
        'deletion-disabled': 'The registry allows no deletions',
      },
      answers: { 200: { description: 'What was deleted, and until when it can be restored', schema: deletedRepository } },
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
