/**
 * "ECR Image Action", as Amazon EventBridge hands it on (Amazon ECR User Guide, "Amazon ECR events and EventBridge"), for
 * functions that were written for it.
 */
import type { EventType } from '../../vocabulary/event-types.ts';
import { type Format, pushShownFor, textOf, timestampOf, uuidOf } from './format.ts';

/** Nobody's: there is no account here, and receivers check for twelve digits. */
const ACCOUNT = '000000000000';

/** No region of AWS, so that nobody builds the address of a real one of it; R2 has the same name for its only one. */
const REGION = 'auto';

const ACTIONS: Partial<Record<EventType, 'PUSH' | 'DELETE'>> = {
  'tag.created': 'PUSH',
  'tag.moved': 'PUSH',
  'tag.pushed': 'PUSH',
  'manifest.pushed': 'PUSH',
  'tag.deleted': 'DELETE',
  'manifest.deleted': 'DELETE',
  // Names neither a digest nor a tag: all of the repository's images are gone.
  'repository.deleted': 'DELETE',
};

export const eventbridge: Format = {
  contentType: 'application/json',
  needsFacts: false,
  speaksOf: (type) => type in ACTIONS,
  onlyIfNamed: [],
  render({ event: happened }) {
    const event = pushShownFor(happened);
    return JSON.stringify({
      version: '0',
      id: uuidOf(event),
      'detail-type': 'ECR Image Action',
      source: 'aws.ecr',
      account: ACCOUNT,
      // AWS has no fractions, and there are receivers that parse it with a fixed pattern.
      time: timestampOf(event).replace(/\.\d+Z$/, 'Z'),
      region: REGION,
      resources: [],
      detail: {
        result: 'SUCCESS',
        'repository-name': event.about,
        'image-digest': textOf(event, 'digest'),
        'action-type': ACTIONS[event.type] ?? 'PUSH',
        'image-tag': textOf(event, 'tag'),
      },
    });
  },
};
