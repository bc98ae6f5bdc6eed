/** What the reference says about the routes in `../trash.ts`. */

import { purged, restored, restoredRepository, trashEntry, trashedRepository } from '../../../contract/answers/trash.ts';
import { pageSchema } from '../../../contract/pages.ts';
import type { Reference } from './described.ts';

const GROUP = 'Trash';

const RESTORED = { 200: { description: 'What was restored', schema: restored } };

const PURGED = {
  202: {
    description: 'It cannot be restored any more. Garbage collection frees its bytes in a later pass',
    schema: purged,
  },
};

export const trash: Reference = {
  'GET /repositories/:name{.+}/-/trash': {
    group: GROUP,
    summary: 'List the deleted tags and manifests of a repository',
    answers: {
      200: { description: 'A page: manifests by digest, then tags by name', schema: pageSchema(trashEntry) },
    },
  },
  'POST /repositories/:name{.+}/-/trash/tags/:tag/restore': {
    group: GROUP,
    summary: 'Restore a tag',
    description:
      'The tag names the same image again. An image that was deleted is restored with it. If a tag of this name ' +
      'exists, nothing is restored: roll that tag back instead.',
    refusals: {
      'manifest-unknown': 'The tag is not in the trash',
      conflict: 'A tag of this name exists',
      'content-gone': 'Content that the image needs was deleted for good',
      'limit-reached': 'The tag lists too many images to restore them at once',
    },
    answers: RESTORED,
  },
  'POST /repositories/:name{.+}/-/trash/manifests/:digest/restore': {
    group: GROUP,
    summary: 'Restore a manifest',
    description:
      'Restores with it: those of its tags that are still free, the manifests that it lists, and its referrers, ' +
      'signatures and attestations, as far as they are in the trash and were deleted with it. Refused if content ' +
      'that it needs is gone for good.',
    refusals: {
      'manifest-unknown': 'The manifest is not in the trash',
      'content-gone': 'Content that it needs was deleted for good',
      'limit-reached': 'It lists too many images to restore them at once',
    },
    answers: RESTORED,
  },
  'DELETE /repositories/:name{.+}/-/trash/tags/:tag': {
    group: GROUP,
    summary: 'Purge a tag from the trash',
    refusals: { 'manifest-unknown': 'The tag is not in the trash', 'deletion-disabled': 'The registry allows no deletions' },
    answers: PURGED,
  },
  'DELETE /repositories/:name{.+}/-/trash/manifests/:digest': {
    group: GROUP,
    summary: 'Purge a manifest from the trash',
    description:
      'Use this for a secret that was pushed by mistake. The manifest cannot be restored any more. Garbage ' +
      'collection deletes the bytes that only this manifest needed, after their grace period.',
    refusals: {
      'manifest-unknown': 'The manifest is not in the trash',
      'deletion-disabled': 'The registry allows no deletions',
    },
    answers: PURGED,
  },
  'GET /trash': {
    group: GROUP,
    summary: 'List deleted repositories that you may restore',
    description: 'A page may be short or empty before the end. The end is where `next` is null.',
    answers: { 200: { description: 'A page, by name', schema: pageSchema(trashedRepository) } },
  },
  'POST /trash/:entry/restore': {
    group: GROUP,
    summary: 'Restore a repository',
    description:
      'Restores its images, tags, descriptions, rules and policy as they were, and its webhooks disabled: their ' +
      'receivers may be gone by now. Their secrets stay the same, and they hear later events only. You need the ' +
      'right to administer the name; the policy of the deleted repository does not count for that. Refused if ' +
      'another repository has the name.',
    refusals: {
      conflict: 'Another repository has the name, or the deleted one is being purged',
      forbidden: 'You may pull a repository of this name, but not administer it',
    },
    answers: { 200: { description: 'The repository is restored', schema: restoredRepository } },
  },
  'DELETE /trash/:entry': {
    group: GROUP,
    summary: 'Purge a deleted repository',
    description: 'It cannot be restored any more. Garbage collection deletes its content in its next passes.',
    refusals: {
      'deletion-disabled': 'The registry allows no deletions',
      forbidden: 'You may pull a repository of this name, but not administer it',
    },
    answers: PURGED,
  },
};
