/** Deletes tags and images, one or several in one batch, and previews deletions. */
import { isUnscopedUser } from '../auth/policy.ts';
import { deletionRequest } from '../contract/deletions.ts';
import { valid } from '../contract/valid.ts';
import type { Condition } from '../oci/condition.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';
import { type DeletionPlan, orphansOf, planDeletion } from '../registry/images/deletion-plan.ts';
import { type DeletedContent, requireDeletion } from '../registry/manifests/deletion.ts';
import { deleteManifest, deleteNamed, type NamedContent } from '../registry/manifests/named-deletion.ts';
import { DELETED_MANIFESTS_MAX } from '../vocabulary/images.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { requireDeleteRights, requireRight } from './access.ts';
import { type Call, finishing } from './call.ts';

/**
 * Deletes a tag. The image that it names is kept. @throws manifest-unknown, tag-immutable, condition-failed, deletion-disabled
 */
export async function deleteTag(
  call: Call,
  repository: RepositoryName,
  tag: Tag,
  condition: Condition | null,
): Promise<DeletedContent> {
  const by = requireRight(call, 'delete', repository, tag);
  return finishing(call, deleteManifest(call.env, repository, { tag }, condition, by));
}

/**
 * Deletes a manifest, its tags, and the signatures, attestations and SBOMs that are attached to it by a tag.
 * @throws manifest-unknown, tag-immutable, content-referenced, condition-failed, deletion-disabled
 */
export async function deleteImage(
  call: Call,
  repository: RepositoryName,
  digest: Digest,
  condition: Condition | null,
): Promise<DeletedContent> {
  const by = requireRight(call, 'delete', repository);
  return finishing(call, deleteManifest(call.env, repository, { digest }, condition, by));
}

/** The tags and images that the caller wants to delete. */
interface Chosen {
  tags?: string[] | undefined;
  images?: string[] | undefined;
  /** Whether to delete also the orphans: manifests that nothing references any more after the deletion. */
  orphans?: 'keep' | 'delete' | undefined;
}

export interface DeletionPreview extends Omit<DeletionPlan, 'freedBytes'> {
  /** The manifests that the deletion would keep although nothing references them any more. */
  orphans: Digest[];
  /**
   * The number of bytes that the whole registry would no longer store. `null` if the caller may not know what other
   * repositories contain.
   */
  freedBytes: number | null;
}

/**
 * Returns what a deletion would remove, and deletes nothing. @throws request-invalid, manifest-unknown, deletion-disabled,
 * too-much-work
 */
export async function previewDeletion(call: Call, repository: RepositoryName, sent: Chosen): Promise<DeletionPreview> {
  const { named } = requireChosen(call, repository, sent);
  requireDeletion(call.env);
  const orphans = await orphansOf(call.env, repository, named);
  const whole = sent.orphans === 'delete' ? withOrphans(named, orphans) : named;
  const plan = await planDeletion(call.env, repository, whole);
  const { authority } = call;
  const knowsAll = authority.administrator && isUnscopedUser(authority);
  return { ...plan, orphans: whole === named ? orphans : [], freedBytes: knowsAll ? plan.freedBytes : null };
}

/**
 * Deletes all chosen tags and images, or nothing.
 * @param ifPlan returns true for the ETag of the preview that the caller saw; `null` allows any plan
 * @throws request-invalid, manifest-unknown, tag-immutable, content-referenced, version-mismatch, conflict, deletion-disabled,
 * too-much-work
 */
export async function deleteChosen(
  call: Call,
  repository: RepositoryName,
  sent: Chosen,
  ifPlan: ((etag: string) => boolean) | null,
): Promise<DeletedContent> {
  const { env } = call;
  const { named, by } = requireChosen(call, repository, sent);
  requireDeletion(env);
  const whole = sent.orphans === 'delete' ? withOrphans(named, await orphansOf(env, repository, named)) : named;
  const plan = ifPlan === null ? null : await planDeletion(env, repository, whole);
  if (plan && !ifPlan?.(plan.etag)) {
    throw new Refusal('version-mismatch', { message: 'something else would go than in the preview. Nothing was deleted' });
  }
  return finishing(call, deleteNamed(env, repository, whole, { by, expected: plan?.tags ?? null }));
}

function requireChosen(call: Call, repository: RepositoryName, sent: Chosen) {
  const tags = [...new Set(sent.tags ?? [])] as Tag[];
  const by = requireDeleteRights(call, repository, { tags, images: (sent.images ?? []).length > 0 });
  const { images = [] } = valid(deletionRequest, sent);
  return { by, named: { tags, digests: [...new Set(images)] } };
}

/** Adds orphans to the manifests to delete. @throws too-much-work if there are too many manifests then */
function withOrphans({ tags, digests }: NamedContent, orphans: Digest[]): NamedContent {
  const all = [...digests, ...orphans];
  if (all.length <= DELETED_MANIFESTS_MAX) return { tags, digests: all, orphans };
  throw new Refusal('too-much-work', {
    message: `more than ${DELETED_MANIFESTS_MAX} manifests would go. Nothing was deleted: name fewer tags and images`,
  });
}
