/** Tags and images as people look at them: listed, and one in full. */
import { tagListQuery } from '../contract/images.ts';
import { valid } from '../contract/valid.ts';
import type { RepositoryName } from '../oci/name.ts';
import { type ListedTag, listTagDetails as listStored, type TagPlace } from '../registry/images/tag-list.ts';
import { IMAGES_DEFAULT, type TagOrder } from '../vocabulary/images.ts';
import { maySeeActors, requireRight } from './access.ts';
import type { Call } from './call.ts';

/** `change.by` is `null` if the caller may not know who changed the tag. */
export type TagDetails = Omit<ListedTag, 'change'> & {
  change: { at: number; by: NonNullable<ListedTag['change']>['by'] | null } | null;
};

/** @throws repository-unknown, request-invalid, too-much-work if there are too many tags to sort by version */
export async function listTagDetails(
  call: Call,
  repository: RepositoryName,
  query: { filter?: string | undefined; sort?: TagOrder | undefined; last?: string | undefined; n?: number | undefined },
): Promise<{ items: TagDetails[]; next: string | null }> {
  requireRight(call, 'pull', repository);
  const { filter = '', sort = 'newest', last, n: limit = IMAGES_DEFAULT } = valid(tagListQuery, query);
  const { items, next } = await listStored(call.env, repository, {
    ...{ filter, sort, limit },
    after: last === undefined ? null : placeOf(last),
  });
  const named = maySeeActors(call, repository);
  return {
    items: items.map((item) => ({ ...item, change: item.change && { ...item.change, by: named ? item.change.by : null } })),
    next: next && tagCursor(next),
  };
}

/** The cursor behind an item of `listTagDetails`. */
export function tagCursor({ pushedAt, tag }: TagPlace): string {
  return `${pushedAt}:${tag}`;
}

function placeOf(cursor: string): TagPlace {
  const [pushedAt = '', tag = ''] = cursor.split(':');
  return { pushedAt: Number(pushedAt), tag };
}
