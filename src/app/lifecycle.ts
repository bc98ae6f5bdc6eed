/** Lifecycle policies of repositories: read, save, delete, preview and run them. */
import { lifecyclePreviewCursor } from '../contract/lifecycle.ts';
import type { Digest } from '../oci/digest.ts';
import { jsonOf } from '../oci/json.ts';
import type { RepositoryName } from '../oci/name.ts';
import { type PreviewCursor, planPage } from '../registry/lifecycle/large.ts';
import { type LifecyclePolicy, requireValidPolicy } from '../registry/lifecycle/policy.ts';
import { planLifecycle, runLifecycle as run } from '../registry/lifecycle/run.ts';
import {
  deleteLifecycle as deleteSaved,
  getLifecycle as getSaved,
  type SavedPolicy,
  saveLifecycle,
} from '../registry/lifecycle/saved.ts';
import { bytesFreedBy } from '../registry/lifecycle/snapshot.ts';
import { invalidInput, withFieldsIn } from '../vocabulary/refusal.ts';
import { maySeeActors, requireRight } from './access.ts';
import type { Call } from './call.ts';

export type LifecycleReport = Omit<NonNullable<SavedPolicy['report']>, 'by'> & {
  /** The subject that started the run, or `null` if the caller may not see it. */
  by: string | null;
};

export interface Lifecycle {
  policy: LifecyclePolicy;
  /** The policy as a client of the ECR API sent it; `null` if it was saved in another way. */
  text: string | null;
  /** The report of the last run, or `null` if the policy has not run yet. */
  report: LifecycleReport | null;
  version: number;
}

/** A tag or manifest that a rule deletes. */
export interface LifecycleItem {
  digest: Digest;
  rule: { priority: number; description: string | null };
  reason: string;
}

export interface LifecycleItems {
  tags: (LifecycleItem & { tag: string })[];
  /** Tags of signatures, attestations and SBOMs. Each is deleted together with the image whose digest is in its name. */
  attached: (LifecycleItem & { tag: string })[];
  manifests: LifecycleItem[];
}

export interface LifecyclePreview {
  /**
   * The content that the policy would delete. `waiting` has one entry for each manifest that is kept only because of a lease,
   * with the end of the lease in seconds since the epoch.
   */
  plan: LifecycleItems & { waiting: { leasedUntil: number }[] };
  /**
   * The ETag of the plan, and the number of bytes that running the plan would free. `null` if the preview is one page of a
   * large repository.
   */
  whole: { etag: string; bytes: number } | null;
  /** The cursor of the next page, or `null` if this is the last page. */
  next: string | null;
}

interface LifecycleRun extends LifecycleItems {
  /** The number of tags and manifests of the plan that the run has not deleted. */
  remaining: number;
  /** True if the repository is large and the run has not processed all its pages. */
  unfinished: boolean;
}

/** @throws repository-unknown; not-found if no policy is saved */
export async function getLifecycle(call: Call, repository: RepositoryName): Promise<Lifecycle> {
  requireRight(call, 'pull', repository);
  return readLifecycle(call, repository);
}

async function readLifecycle(call: Call, repository: RepositoryName): Promise<Lifecycle> {
  const saved = await getSaved(call.env, repository);
  const report = saved.report && { ...saved.report, by: maySeeActors(call, repository) ? saved.report.by : null };
  return { ...saved, report };
}

/**
 * Saves a policy.
 * @param ifVersion the version that the policy must have; 0 means that no policy exists, `null` means any version
 * @param text the text that the policy was parsed from, if the client expects it back
 * @throws request-invalid, repository-unknown, version-mismatch
 */
export async function putLifecycle(
  call: Call,
  repository: RepositoryName,
  policy: LifecyclePolicy,
  ifVersion: number | null,
  text: string | null = null,
): Promise<Lifecycle> {
  const by = requireRight(call, 'admin', repository);
  await saveLifecycle(call.env, repository, { policy, text }, { ifVersion, by });
  return readLifecycle(call, repository);
}

/** @throws repository-unknown, version-mismatch; not-found if no policy is saved */
export async function deleteLifecycle(call: Call, repository: RepositoryName, ifVersion: number | null): Promise<void> {
  const by = requireRight(call, 'admin', repository);
  await deleteSaved(call.env, repository, { ifVersion, by });
}

/**
 * Returns the tags and manifests that a policy would delete, and deletes nothing. A large repository is previewed page by page.
 * @param wanted.policy the policy to try; `undefined` means the saved policy
 * @param wanted.after the `next` of the previous page; `undefined` means the first page
 * @throws request-invalid, repository-unknown; not-found if no policy is saved; limit-reached if the repository is too large
 */
export async function previewLifecycle(
  call: Call,
  repository: RepositoryName,
  { policy, after }: { policy?: LifecyclePolicy | undefined; after?: string | undefined },
): Promise<LifecyclePreview> {
  const { plan, whole, next } = await planPreview(call, repository, { policy, after });
  if (!whole) return { plan, whole, next };
  const blobs = await bytesFreedBy(call.env, repository, whole.plan.levels.flat());
  const bytes = whole.plan.manifests.reduce((sum, { size }) => sum + size, blobs);
  return { plan, whole: { etag: whole.etag, bytes }, next };
}

/**
 * As `previewLifecycle`, without the bytes, which take a further query. `whole` is the plan of the whole repository, or null if
 * the repository is too large to plan at once.
 */
export async function planPreview(
  call: Call,
  repository: RepositoryName,
  { policy, after }: { policy?: LifecyclePolicy | undefined; after?: string | undefined },
) {
  requireRight(call, 'admin', repository);
  if (policy) await withFieldsIn('policy', () => requireValidPolicy(policy));
  const { env } = call;
  const whole = after === undefined ? await planLifecycle(env, repository, policy) : null;
  if (whole) return { plan: whole.plan, whole, next: null };
  const tried = policy ?? (await getSaved(env, repository)).policy;
  const { plan, next } = await planPage(env, repository, tried, after === undefined ? null : placeOf(after));
  return { plan, whole: null, next: next && JSON.stringify(next) };
}

/** Parses the cursor of a preview. @throws request-invalid if the text is no such cursor */
function placeOf(cursor: string): PreviewCursor {
  const place = lifecyclePreviewCursor.safeParse(jsonOf(cursor));
  if (place.success) return place.data;
  throw invalidInput({ at: 'after', message: 'must be `next` of the page before' });
}

/**
 * Deletes the tags and manifests that the saved policy selects.
 * @param ifPlan returns true for the ETag of the plan that the caller expects; `null` allows any plan
 * @throws repository-unknown, deletion-disabled; not-found if no policy is saved; version-mismatch if the plan has another
 * ETag; limit-reached if the repository is too large for lifecycle rules, or for `ifPlan`
 */
export async function runLifecycle(
  call: Call,
  repository: RepositoryName,
  ifPlan: ((etag: string) => boolean) | null,
): Promise<LifecycleRun> {
  const by = requireRight(call, 'admin', repository);
  return run(call.env, repository, { by, ifPlan });
}
