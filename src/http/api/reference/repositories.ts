/** What the reference says about the routes in `../repositories.ts`. */

import { repository as repositorySchema, repositorySummary } from '../../../contract/answers/repositories.ts';
import { deletedRepository } from '../../../contract/answers/trash.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Repositories';

export const repositories: Reference = {
  'GET /repositories': {
    group: GROUP,
    summary: 'List the repositories that you may pull',
    description:
      'Without credentials you get the public ones. A page may be short or empty before the end. The end is where ' +
      '`next` is null.',
    refusals: { 'parameter-invalid': '`last` is not a cursor of this list' },
    answers: { 200: { description: 'A page of repositories, by name', schema: pageSchema(repositorySummary) } },
  },
  'GET /repositories/:name{.+}': {
    group: GROUP,
    summary: 'Read a repository',
    answers: { 200: { description: 'The repository and its ETag', schema: repositorySchema } },
  },
  'PUT /repositories/:name{.+}': {
    group: GROUP,
    summary: 'Create a repository, or change one',
    description:
      'A new repository is private unless the request says otherwise. If you may create but not administer it, the ' +
      'request may set neither visibility nor description. Changing an existing repository needs the right to ' +
      'administer it; fields that are left out stay unchanged.',
    example: { body: { description: 'The web shop' } },
    refusals: { 'name-taken': 'The repository exists, and you may not pull it' },
    answers: {
      200: { description: 'The repository existed. It was changed', schema: repositorySchema },
      201: { description: 'The created repository', schema: repositorySchema },
    },
  },
  'PATCH /repositories/:name{.+}': {
    group: GROUP,
    summary: "Change a repository's description, or make it public or private",
    description: 'Fields that are left out stay unchanged.',
    example: { body: { visibility: 'public', overview: '# The web shop' } },
    refusals: { overtaken: 'Other requests kept changing the policy, in which the visibility is stored' },
    answers: { 200: { description: 'The changed repository and its new ETag', schema: repositorySchema } },
  },
  'DELETE /repositories/:name{.+}': {
    group: GROUP,
    summary: 'Delete a repository',
    description:
      'Refused while the repository has images, unless `force=true`, and always while it has immutable tags. It goes ' +
      'to the trash (`GET /trash`), from which it can be restored for a while with everything it has. The deletion ' +
      'is the last event that its webhooks are sent; they are restored disabled.',
    example: { query: { force: 'true' } },
    refusals: {
      'not-empty': 'The repository has images, and `force` is not `true`',
      conflict: 'The repository has immutable tags',
      'deletion-disabled': 'The registry allows no deletions',
    },
    answers: { 200: { description: 'What was deleted, and until when it can be restored', schema: deletedRepository } },
  },
};
