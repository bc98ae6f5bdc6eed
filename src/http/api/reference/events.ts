/** What the reference says about the routes in `../events.ts`. */

import { loggedEvent } from '../../../contract/answers/activity.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

export const events: Reference = {
  'GET /events': {
    group: 'Audit log',
    summary: 'Search the audit log',
    description:
      'The newest event comes first. Without `repository` and `organization`, administrators see all events, and ' +
      'others see what they did themselves. A page may be short or empty before the end of the list, which is where ' +
      '`next` is null.',
    example: { query: { repository: 'acme/app', type: 'tag.created,tag.moved', n: '1' } },
    refusals: {
      'not-found': 'The repository or organization does not exist, or you may not know of it',
      forbidden: 'You may see only a part of this: name a repository that you may administer, or yourself as `actor`',
    },
    answers: { 200: { description: 'A page of events', schema: pageSchema(loggedEvent) } },
  },
};
