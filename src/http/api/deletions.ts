/** Deletions of tags and images, one or several at once, with a preview. */

import { type DeletionPreview, deleteChosen, deleteTag, previewDeletion } from '../../app/deletions.ts';
import { deletionPreview, deletionRequest } from '../../contract/deletions.ts';
import { isTag, type Tag } from '../../oci/reference.ts';
import { DELETED_IMAGES_MAX, DELETED_TAGS_MAX } from '../../vocabulary/images.ts';
import { Refusal, withFieldsIn } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { chargeReferences } from '../limits.ts';
import { conditionIn } from '../params.ts';
import { answer } from './answers.ts';
import { DELETED, DISABLED, HEADER, IMMUTABLE, TRASH, UNKNOWN, UNMET } from './deletion-answers.ts';
import { operation } from './operation.ts';
import { expectedPlan } from './params.ts';

const LISTED = 'An index that stays lists the image';

/** The request of the examples. */
const EXAMPLE = { tags: ['pr-2'], orphans: 'delete' };

/** Refusals of a deletion of several, and of its preview. */
const OF_SEVERAL = {
  'manifest-unknown': UNKNOWN,
  'deletion-disabled': DISABLED,
  'too-much-work': 'Too many images would go, or they consist of too many parts',
} as const;

/** Rows that the deletion of a tag or an image writes. */
const ROWS_EACH = 10;

export const deletions = new Hono<AppEnv>({ strict: false })
  .delete(
    '/repositories/:name{.+}/-/tags/:tag',
    operation({
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
    }),
    async (c) => answer(await deleteTag(callOf(c), repositoryIn(c), tagIn(c), conditionIn(c))),
  )
  .post(
    '/repositories/:name{.+}/-/deletion/preview',
    operation({
      group: 'Images',
      summary: 'Preview what a deletion of tags and images would take',
      description: 'Deletes nothing. Needs the same right as the deletion.',
      body: deletionRequest,
      example: { body: EXAMPLE },
      refusals: OF_SEVERAL,
      answers: { 200: { description: 'What would go. The ETag identifies it', schema: deletionPreview } },
    }),
    async (c) => {
      const { body } = c.var;
      return answerPreview(await withFieldsIn('body', () => previewDeletion(callOf(c), repositoryIn(c), body)));
    },
  )
  .post(
    '/repositories/:name{.+}/-/deletion',
    operation({
      group: 'Images',
      summary: 'Delete several tags and images at once',
      description:
        `Deletes everything that is named, or nothing: up to ${DELETED_TAGS_MAX} tags and ${DELETED_IMAGES_MAX} images. ` +
        `${TRASH} ` +
        'Needs the right to delete all tags: a right to some tags deletes them one by one. ' +
        'With `If-Match` and the ETag of a preview it is refused if something else would go by now.',
      conditional: true,
      body: deletionRequest,
      example: { body: EXAMPLE },
      refusals: {
        ...OF_SEVERAL,
        'content-referenced': LISTED,
        'tag-immutable': IMMUTABLE,
        conflict: 'Something came to hold an image that was to go with the others',
      },
      answers: DELETED,
    }),
    async (c) => {
      const { body } = c.var;
      chargeReferences(c, ROWS_EACH * ((body.tags ?? []).length + (body.images ?? []).length));
      return answer(await withFieldsIn('body', () => deleteChosen(callOf(c), repositoryIn(c), body, expectedPlan(c))));
    },
  );

/** A text that cannot be a tag names nothing. @throws manifest-unknown */
function tagIn(c: RequestContext): Tag {
  const tag = c.req.param('tag') ?? '';
  if (isTag(tag)) return tag;
  throw new Refusal('manifest-unknown', { message: 'there is no tag of this name: it is not a valid tag' });
}

function answerPreview({ etag, ...plan }: DeletionPreview): Response {
  const response = answer(plan);
  response.headers.set('etag', etag);
  return response;
}
