/** Tags: their history, rolling them back, and which of them cannot be changed. */
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

/** `by` is `null` if the caller may not know who changed the tag. */
export type ShownTagChange = Omit<HistoryPoint, 'by'> & { by: HistoryPoint['by'] | null };

/**
 * The history of a tag, newest first. It outlives the tag.
 * @param before the point behind which the page begins; `null`: the newest
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
 * Makes a tag name a digest again that it has named before. Moving a tag needs the right to retag it, creating it again the
 * right to push it.
 * @param to a point of the tag's history, or a digest
 * @returns the digest
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

/** @param ifVersion the version that the rule is expected to have; `null`: any */
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
