/** What the reference says about the routes in `../tags.ts`. */

import { historyPoint, rolledBack } from '../../../contract/answers/tags.ts';
import { pageSchema } from '../../../contract/pages.ts';
import { tagMutability } from '../../../contract/tags.ts';
import type { Reference } from './described.ts';

const GROUP = 'Tags';

export const tags: Reference = {
  'GET /repositories/:name{.+}/-/tags/:tag/history': {
    group: GROUP,
    summary: 'Read the history of a tag',
    description: 'The newest change comes first. Changes are kept for `HISTORY_DAYS`, even if the tag is deleted.',
    answers: { 200: { description: 'A page of changes', schema: pageSchema(historyPoint) } },
  },
  'POST /repositories/:name{.+}/-/tags/:tag/rollback': {
    group: GROUP,
    summary: 'Roll a tag back',
    description:
      'Moves the tag back to an image that it named before. The image is given by a point of the history or by its ' +
      'digest. To move a tag that exists, you need the right `retag`. With `If-Match: "sha256:…"`, the tag is moved ' +
      'only if it names that digest now.',
    example: { body: { point: 1 } },
    refusals: {
      'tag-immutable': 'The tag is immutable',
      'parameter-invalid': '`If-Match` or `If-None-Match` cannot be read',
      'version-mismatch': '`If-Match` or `If-None-Match` does not hold: the tag names another digest',
      conflict: 'The image is in the trash or does not exist any more, or the tag was deleted at this point',
      overtaken: 'Other requests kept changing the tag',
    },
    answers: { 200: { description: 'The digest that the tag names now', schema: rolledBack } },
  },
  'GET /repositories/:name{.+}/-/tag-mutability': {
    group: GROUP,
    summary: 'Read which tags are immutable',
    answers: { 200: { description: 'The setting and its ETag', schema: tagMutability } },
  },
  'PUT /repositories/:name{.+}/-/tag-mutability': {
    group: GROUP,
    summary: 'Set which tags are immutable',
    description:
      'An immutable tag can be neither moved nor deleted. Lifecycle rules leave it alone, too, unless a rule has ' +
      '`includeImmutable`. `latest` is no exception, nor are the tags of signatures, which cosign moves to add a ' +
      'signature: exclude `sha256-*` for that. An image with an immutable tag is not deleted. The setting applies to ' +
      'existing tags as well.',
    example: {
      body: {
        imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
        imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'latest' }],
      },
    },
    answers: { 200: { description: 'The setting as saved, and its new ETag', schema: tagMutability } },
  },
};
