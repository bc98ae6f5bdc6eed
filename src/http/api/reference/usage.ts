/** What the reference says about the routes in `../usage.ts`. */

import { namespaceUsage, organizationUsage, pulls, quota, totalUsage, userUsage } from '../../../contract/answers/usage.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Usage';

const QUOTA_DESCRIPTION = `Content beyond a new limit stays and can be pulled. New content is refused with 403. The message says
how many bytes are missing, and how many are in the trash and in unfinished uploads, which count as well. Deleted content
frees space when the trash has been emptied and garbage collection has run. \`null\`: no limit.`;

export const usage: Reference = {
  'GET /usage': {
    group: GROUP,
    summary: 'List what all organizations and users store',
    description:
      'Each push is included at once. `countedAt` says since when deletions may be missing. The size of each repository is ' +
      'in the list of repositories.',
    answers: {
      200: {
        description: 'A page, by name, and the total',
        schema: pageSchema(namespaceUsage).extend({ total: totalUsage }),
      },
    },
  },
  'GET /organizations/:organization/usage': {
    group: GROUP,
    summary: 'Read what an organization stores',
    description:
      'Counted now, and exactly, in a registry of up to 5,000 layers. In a larger one it is what pushes have added up, and ' +
      '`countedAt` says since when deletions may be missing. For owners. The ETag is that of the limit.',
    answers: { 200: { description: 'Usage and limit', schema: organizationUsage } },
  },
  'GET /users/:user/usage': {
    group: GROUP,
    summary: 'Read what a user stores',
    description:
      "Counts the repositories under the user's own name, as for an organization. For the user and for administrators. " +
      'The ETag is that of the limit.',
    answers: { 200: { description: 'Usage and limit', schema: userUsage } },
    refusals: { forbidden: 'The key is narrowed' },
  },
  'PUT /users/:user/quota': {
    group: GROUP,
    summary: 'Set what a user may store',
    description: `The limit of the repositories under the user's own name. ${QUOTA_DESCRIPTION}`,
    example: { body: { maxBytes: 5_000_000_000, warnPercent: 80 } },
    answers: { 200: { description: 'The limit as saved, and its new ETag', schema: quota } },
  },
  'PUT /organizations/:organization/quota': {
    group: GROUP,
    summary: 'Set what an organization may store',
    description: QUOTA_DESCRIPTION,
    example: { body: { maxBytes: 5_000_000_000, warnPercent: 80 } },
    answers: { 200: { description: 'The limit as saved, and its new ETag', schema: quota } },
  },
  'GET /repositories/:name{.+}/-/pulls': {
    group: GROUP,
    summary: 'Count pulls of an image or a repository',
    description: `Without a tag or digest it counts all images of the repository, for which you need the right to push.

The numbers are estimates: up to 16 pulls of an image a day are counted exactly, further ones are sampled, so that most
pulls need not write. The standard error is below 18 % for a day of one image, and smaller for sums. Days without pulls are
exact.

A pull is a GET of a manifest. Pulling an image for several platforms counts once for the index and once for the image in
it. A check (HEAD) is not a pull; the last day of one is given in \`lastCheckedAt\`.`,
    refusals: {
      'manifest-unknown': 'The repository has no such tag or image',
      forbidden: 'You may pull, but not push: name a tag or digest',
    },
    answers: { 200: { description: 'The pulls', schema: pulls } },
  },
};
