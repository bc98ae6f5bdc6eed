/**
 * The format of the "ECR Image Action" event of Amazon EventBridge (Amazon ECR User Guide, "Amazon ECR events and
 * EventBridge").
 */
import type { EventType } from '../../vocabulary/event-types.ts';
import { type Format, pushShownFor, SHOWN_AS_PUSH, textField, timestampOf, uuidOf } from './format.ts';

/** A placeholder for the AWS account, which receivers expect to have twelve digits. */
const ACCOUNT = '000000000000';

/** This is no region of AWS, so no receiver builds the address of a real region. R2's only region has the same name. */
const REGION = 'auto';

const ACTIONS: Partial<Record<EventType, 'PUSH' | 'DELETE'>> = {
  'tag.created': 'PUSH',
  'tag.moved': 'PUSH',
  'tag.pushed': 'PUSH',
  'tag.restored': 'PUSH',
  'manifest.pushed': 'PUSH',
  'tag.deleted': 'DELETE',
  'manifest.deleted': 'DELETE',
  // The event contains neither a digest nor a tag, because all images of the repository were deleted.
  'repository.deleted': 'DELETE',
};

export const eventbridge: Format = {
  contentType: 'application/json',
  needsFacts: false,
  speaksOf: (type) => type in ACTIONS,
  onlyIfNamed: SHOWN_AS_PUSH,
  render({ event: happened }) {
    const event = pushShownFor(happened);
    return JSON.stringify({
      version: '0',
      id: uuidOf(event),
      'detail-type': 'ECR Image Action',
      source: 'aws.ecr',
      account: ACCOUNT,
      // Fractions of a second are left out, as AWS does, because some receivers parse the time with a fixed pattern.
      time: timestampOf(event).replace(/\.\d+Z$/, 'Z'),
      region: REGION,
      resources: [],
      detail: {
        result: 'SUCCESS',
        'repository-name': event.about,
        'image-digest': textField(event, 'digest'),
        'action-type': ACTIONS[event.type] ?? 'PUSH',
        'image-tag': textField(event, 'tag'),
      },
    });
  },
};
