/** Lifecycle policies of repositories: saved, previewed and run. */
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
  /** `null` if the caller may not know who ran it. */
  by: string | null;
};

export interface Lifecycle {
  policy: LifecyclePolicy;
  /** The last run; `null`: none yet. */
  report: LifecycleReport | null;
  version: number;
}

/** Something that a rule deletes. */
export interface LifecycleItem {
  digest: Digest;
  rule: { priority: number; description: string | null };
  reason: string;
}

export interface LifecycleItems {
  tags: (LifecycleItem & { tag: string })[];
  /** Tags of signatures and the like, which are deleted with the image that their name refers to. */
  attached: (LifecycleItem & { tag: string })[];
  manifests: LifecycleItem[];
}

export interface LifecyclePreview {
  /** Seconds since the epoch until which each waiting manifest is left alone. */
  plan: LifecycleItems & { waiting: { leasedUntil: number }[] };
  /** Identifies the plan, and what running it frees. `null`: a page of a large repository. */
  whole: { etag: string; bytes: number } | null;
  /** The cursor of the next page; `null`: there is none. */
  next: string | null;
}

interface LifecycleRun extends LifecycleItems {
  /** Tags and manifests of the plan that still exist. */
  remaining: number;
  /** True if a large repository has more pages. */
  unfinished: boolean;
}

/** @throws repository-unknown, not-found if no policy is saved */
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
 * @param ifVersion the version that the policy is expected to have; 0: none is expected; `null`: any
 * @throws request-invalid, repository-unknown, version-mismatch
 */
export async function putLifecycle(
  call: Call,
  repository: RepositoryName,
  policy: LifecyclePolicy,
  ifVersion: number | null,
): Promise<Lifecycle> {
  const by = requireRight(call, 'admin', repository);
  await saveLifecycle(call.env, repository, policy, { ifVersion, by });
  return readLifecycle(call, repository);
}

/** @throws repository-unknown, not-found if no policy is saved, version-mismatch */
export async function deleteLifecycle(call: Call, repository: RepositoryName, ifVersion: number | null): Promise<void> {
  const by = requireRight(call, 'admin', repository);
  await deleteSaved(call.env, repository, { ifVersion, by });
}

/**
 * Lists what a policy would delete, and deletes nothing. A large repository is listed page by page.
 * @param wanted.policy the policy to try; the saved one if left out
 * @param wanted.after the cursor that the page before gave
 * @throws request-invalid, repository-unknown, not-found if no policy is saved, conflict if the repository is too large
 */
export async function previewLifecycle(
  call: Call,
  repository: RepositoryName,
  { policy, after }: { policy?: LifecyclePolicy | undefined; after?: string | undefined },
): Promise<LifecyclePreview> {
  requireRight(call, 'admin', repository);
  if (policy) await withFieldsIn('policy', () => requireValidPolicy(policy));
  const { env } = call;
  const whole = after === undefined ? await planLifecycle(env, repository, policy) : null;
  if (whole) {
    const blobs = await bytesFreedBy(env, repository, whole.plan.levels.flat());
    const bytes = whole.plan.manifests.reduce((sum, { size }) => sum + size, blobs);
    return { plan: whole.plan, whole: { etag: whole.etag, bytes }, next: null };
  }
  const tried = policy ?? (await getSaved(env, repository)).policy;
  const { plan, next } = await planPage(env, repository, tried, after === undefined ? null : placeOf(after));
  return { plan, whole: null, next: next && JSON.stringify(next) };
}

/** @throws request-invalid */
function placeOf(cursor: string): PreviewCursor {
  const place = lifecyclePreviewCursor.safeParse(jsonOf(cursor));
  if (place.success) return place.data;
  throw invalidInput({ at: 'after', message: 'must be `next` of the page before' });
}

/**
 * Deletes what the saved policy selects.
 * @param ifPlan true for the etag of the plan that the caller expects; `null`: any
 * @throws repository-unknown, not-found if no policy is saved, version-mismatch, conflict, deletion-disabled
 */
export async function runLifecycle(
  call: Call,
  repository: RepositoryName,
  ifPlan: ((etag: string) => boolean) | null,
): Promise<LifecycleRun> {
  const by = requireRight(call, 'admin', repository);
  return run(call.env, repository, { by, ifPlan });
}
