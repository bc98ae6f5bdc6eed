/** Operations on tags: their history, rollbacks, and the rule that says which tags are immutable. */
import type { Condition } from '../oci/condition.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Page } from '../oci/page.ts';
import type { Tag } from '../oci/reference.ts';
import { getMutability, saveMutability } from '../registry/tags/mutability.ts';
import { digestAt, type HistoryPoint, listHistory, rollBack } from '../registry/tags/tags.ts';
import type { Mutability } from '../vocabulary/mutability.ts';
import { deniedTags, maySeeActors, requireRight } from './access.ts';
import type { Call } from './call.ts';

/** A change of a tag. `by` is `null` if the caller may not see who changed the tag. */
export type ShownTagChange = Omit<HistoryPoint, 'by'> & { by: HistoryPoint['by'] | null };

/**
 * Lists the changes of a tag, the newest first. The history is kept after the tag is deleted.
 * @param before the number of the last change of the previous page, or `null` for the first page
 */
export async function listTagHistory(
  call: Call,
  repository: RepositoryName,
  tag: Tag,
  { before, limit }: { before: number | null; limit: number },
): Promise<Page<ShownTagChange>> {
  requireRight(call, 'pull', repository);
  const { items, more } = await listHistory(call.env, repository, tag, before, limit);
  return { items: maySeeActors(call, repository) ? items : items.map((item) => ({ ...item, by: null })), more };
}

/**
 * Rolls a tag back to a digest that it named before. This needs the right to push to the repository. If the tag exists, it also
 * needs the right to move the tag (`retag`). If the tag was deleted, it also needs the right to push the tag.
 * @param to the number of a change in the tag's history, or a digest
 * @returns the digest that the tag names now
 */
export async function rollBackTag(
  call: Call,
  repository: RepositoryName,
  tag: Tag,
  to: { point: number } | { digest: Digest },
  condition: Condition | null,
): Promise<Digest> {
  const by = requireRight(call, 'push', repository, tag);
  const digest = 'digest' in to ? to.digest : await digestAt(call.env, repository, tag, to.point);
  const put = { repository, digest, tags: [tag], condition, ...deniedTags(call, repository, [tag]) };
  await rollBack(call.env, put, tag, by);
  return digest;
}

export interface VersionedMutability {
  mutability: Mutability;
  version: number;
}

export async function getTagMutability(call: Call, repository: RepositoryName): Promise<VersionedMutability> {
  requireRight(call, 'pull', repository);
  return getMutability(call.env, repository);
}

/** @param ifVersion the version that the rule must have, or `null` for any version */
export async function putTagMutability(
  call: Call,
  repository: RepositoryName,
  { value, exclusions }: Mutability,
  ifVersion: number | null,
): Promise<VersionedMutability> {
  const by = requireRight(call, 'admin', repository);
  await saveMutability(call.env, repository, { value, exclusions: [...new Set(exclusions)] }, { ifVersion, by });
  return getMutability(call.env, repository);
}
