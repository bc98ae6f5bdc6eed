/** Routes of the trash, which list, restore and purge deleted tags, manifests and repositories. */

import type * as z from 'zod';
import {
  type DeletedRepository,
  deletedRepositoryCursor,
  listDeletedRepositories,
  listTrash,
  purgeManifest,
  purgeRepository,
  purgeTag,
  restoreManifest,
  restoreRepository,
  restoreTag,
  type TrashEntry,
  trashCursor,
} from '../../app/trash.ts';
import { pageSchema } from '../../contract/pages.ts';
import { purged, restored, restoredRepository, trashEntry, trashedRepository, trashQuery } from '../../contract/trash.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { isTag, type Tag } from '../../oci/reference.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerItems, answerPage, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { pageQueryOf } from './params.ts';

const GROUP = 'Trash';

const RESTORED = { 200: { description: 'What was restored', schema: restored } };
const PURGED = {
  202: {
    description: 'It cannot be restored any more. Garbage collection frees its bytes in a later pass',
    schema: purged,
  },
};

export const trash = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/trash',
    operation({
      group: GROUP,
      summary: 'List the deleted tags and manifests of a repository',
      query: trashQuery,
      answers: {
        200: { description: 'A page: manifests by digest, then tags by name', schema: pageSchema(trashEntry) },
      },
    }),
    async (c) => answerPage(await listTrash(callOf(c), repositoryIn(c), pageQueryOf(c.var.query)), shownEntry, trashCursor),
  )
  .post(
    '/repositories/:name{.+}/-/trash/tags/:tag/restore',
    operation({
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
    }),
    async (c) => answer(await restoreTag(callOf(c), repositoryIn(c), tagIn(c))),
  )
  .post(
    '/repositories/:name{.+}/-/trash/manifests/:digest/restore',
    operation({
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
    }),
    async (c) => answer(await restoreManifest(callOf(c), repositoryIn(c), digestIn(c))),
  )
  .delete(
    '/repositories/:name{.+}/-/trash/tags/:tag',
    operation({
      group: GROUP,
      summary: 'Purge a tag from the trash',
      refusals: { 'manifest-unknown': 'The tag is not in the trash', 'deletion-disabled': 'The registry allows no deletions' },
      answers: PURGED,
    }),
    async (c) => {
      const tag = tagIn(c);
      await purgeTag(callOf(c), repositoryIn(c), tag);
      return answerPurged(tag);
    },
  )
  .delete(
    '/repositories/:name{.+}/-/trash/manifests/:digest',
    operation({
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
    }),
    async (c) => {
      const digest = digestIn(c);
      await purgeManifest(callOf(c), repositoryIn(c), digest);
      return answerPurged(digest);
    },
  )
  .get(
    '/trash',
    operation({
      group: GROUP,
      summary: 'List deleted repositories that you may restore',
      query: trashQuery,
      description: 'A page may be short or empty before the end. The end is where `next` is null.',
      answers: { 200: { description: 'A page, by name', schema: pageSchema(trashedRepository) } },
    }),
    async (c) => {
      const { items, next } = await listDeletedRepositories(callOf(c), pageQueryOf(c.var.query));
      return answerItems(items.map(shownRepository), next, ({ name, entry }) =>
        deletedRepositoryCursor({ name, entry: Number(entry) }),
      );
    },
  )
  .post(
    '/trash/:entry/restore',
    operation({
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
    }),
    async (c) => answer(await restoreRepository(callOf(c), c.req.param('entry') ?? '')),
  )
  .delete(
    '/trash/:entry',
    operation({
      group: GROUP,
      summary: 'Purge a deleted repository',
      description: 'It cannot be restored any more. Garbage collection deletes its content in its next passes.',
      refusals: {
        'deletion-disabled': 'The registry allows no deletions',
        forbidden: 'You may pull a repository of this name, but not administer it',
      },
      answers: PURGED,
    }),
    async (c) => answerPurged((await purgeRepository(callOf(c), c.req.param('entry') ?? '')).name),
  );

/** The tag in the path. @throws manifest-unknown if the text is not a valid tag, because it is then not in the trash */
function tagIn(c: RequestContext): Tag {
  const tag = c.req.param('tag') ?? '';
  if (!isTag(tag)) throw notInTrash();
  return tag;
}

/** The digest in the path. @throws manifest-unknown if the text is not a valid digest */
function digestIn(c: RequestContext): Digest {
  const digest = c.req.param('digest') ?? '';
  if (!isDigest(digest)) throw notInTrash();
  return digest;
}

function notInTrash(): Refusal {
  return new Refusal('manifest-unknown', { message: 'there is nothing of this name in the trash' });
}

function shownEntry({ deletedAt, restorableUntil, ...entry }: TrashEntry): z.output<typeof trashEntry> {
  return { ...entry, deletedAt: timeOf(deletedAt), restorableUntil: timeOf(restorableUntil) };
}

function shownRepository(deleted: DeletedRepository): z.output<typeof trashedRepository> {
  const { entry, name, deletedAt, deletedBy, restorableUntil } = deleted;
  const times = { deletedAt: timeOf(deletedAt), restorableUntil: timeOf(restorableUntil) };
  return { entry: String(entry), name, deletedBy, ...times };
}

function answerPurged(name: string): Response {
  const note = 'it cannot be restored any more; its bytes go with the next pass of the collector';
  return answer({ purged: name, note }, { status: 202 });
}
