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
import type { trashEntry, trashedRepository } from '../../contract/answers/trash.ts';
import { trashQuery } from '../../contract/trash.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { isTag, type Tag } from '../../oci/reference.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { answer, answerItems, answerPage, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { pageQueryOf } from './params.ts';

export const trash = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/trash',
    operation({
      query: trashQuery,
    }),
    async (c) => answerPage(await listTrash(callOf(c), repositoryIn(c), pageQueryOf(c.var.query)), shownEntry, trashCursor),
  )
  .post('/repositories/:name{.+}/-/trash/tags/:tag/restore', operation({}), async (c) =>
    answer(await restoreTag(callOf(c), repositoryIn(c), tagIn(c))),
  )
  .post('/repositories/:name{.+}/-/trash/manifests/:digest/restore', operation({}), async (c) =>
    answer(await restoreManifest(callOf(c), repositoryIn(c), digestIn(c))),
  )
  .delete('/repositories/:name{.+}/-/trash/tags/:tag', operation({}), async (c) => {
    const tag = tagIn(c);
    await purgeTag(callOf(c), repositoryIn(c), tag);
    return answerPurged(tag);
  })
  .delete('/repositories/:name{.+}/-/trash/manifests/:digest', operation({}), async (c) => {
    const digest = digestIn(c);
    await purgeManifest(callOf(c), repositoryIn(c), digest);
    return answerPurged(digest);
  })
  .get(
    '/trash',
    operation({
      query: trashQuery,
    }),
    async (c) => {
      const { items, next } = await listDeletedRepositories(callOf(c), pageQueryOf(c.var.query));
      return answerItems(items.map(shownRepository), next, ({ name, entry }) =>
        deletedRepositoryCursor({ name, entry: Number(entry) }),
      );
    },
  )
  .post('/trash/:entry/restore', operation({}), async (c) =>
    answer(await restoreRepository(callOf(c), c.req.param('entry') ?? '')),
  )
  .delete('/trash/:entry', operation({}), async (c) =>
    answerPurged((await purgeRepository(callOf(c), c.req.param('entry') ?? '')).name),
  );

/**
 * Returns the tag in the path. @throws manifest-unknown if the text is not a valid tag, because such a tag cannot be in the
 * trash
 */
function tagIn(c: RequestContext): Tag {
  const tag = c.req.param('tag') ?? '';
  if (!isTag(tag)) throw notInTrash();
  return tag;
}

/** Returns the digest in the path. @throws manifest-unknown if the text is not a valid digest */
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
