/** What the reference says about the routes in `../deletions.ts`. */

import { deletionPreview } from '../../../contract/answers/deletions.ts';
import { DELETED_IMAGES_MAX, DELETED_TAGS_MAX } from '../../../vocabulary/images.ts';
import { DELETED, DISABLED, HEADER, IMMUTABLE, TRASH, UNKNOWN, UNMET } from './deletion-answers.ts';
import type { Reference } from './described.ts';

const LISTED = 'An index that stays lists the image';

/** The request of the examples. */
const EXAMPLE = { tags: ['pr-2'], orphans: 'delete' };

/** Refusals of a deletion of several, and of its preview. */
const OF_SEVERAL = {
  'manifest-unknown': UNKNOWN,
  'deletion-disabled': DISABLED,
  'too-much-work': 'Too many images would go, or they consist of too many parts',
} as const;

export const deletions: Reference = {
  'DELETE /repositories/:name{.+}/-/tags/:tag': {
    group: 'Tags',
    summary: 'Delete a tag',
    description:
      `The image that it names stays. ${TRASH} With \`If-Match: "sha256:…"\` the tag is only deleted if it names that ` +
      'digest now.',
    refusals: {
      'manifest-unknown': UNKNOWN,
      'tag-immutable': IMMUTABLE,
      'condition-failed': UNMET,
      'parameter-invalid': HEADER,
      'deletion-disabled': DISABLED,
    },
    answers: DELETED,
  },
  'POST /repositories/:name{.+}/-/deletion/preview': {
    group: 'Images',
    summary: 'Preview what a deletion of tags and images would take',
    description: 'Deletes nothing. Needs the same right as the deletion.',
    example: { body: EXAMPLE },
    refusals: OF_SEVERAL,
    answers: { 200: { description: 'What would go. The ETag identifies it', schema: deletionPreview } },
  },
  'POST /repositories/:name{.+}/-/deletion': {
    group: 'Images',
    summary: 'Delete several tags and images at once',
    description:
      `Deletes everything that is named, or nothing: up to ${DELETED_TAGS_MAX} tags and ${DELETED_IMAGES_MAX} images. ` +
      `${TRASH} ` +
      'Needs the right to delete all tags: a right to some tags deletes them one by one. ' +
      'With `If-Match` and the ETag of a preview it is refused if something else would go by now.',
    example: { body: EXAMPLE },
    refusals: {
      ...OF_SEVERAL,
      'content-referenced': LISTED,
      'tag-immutable': IMMUTABLE,
      conflict: 'Something came to hold an image that was to go with the others',
    },
    answers: DELETED,
  },
};
