/** Previews and runs of lifecycle policies. Both use the same chooser, so a run deletes what the preview lists. */
import type { Database } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { digestOf } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { WHOLE_MAX } from '../../vocabulary/lifecycle.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { requireDeletion } from '../manifests/deletion.ts';
import {
  ChangedMeanwhile,
  type Deleted,
  deferredOf,
  deleteSlices,
  finish,
  messageFor,
  SLICES_PER_RUN,
  type Stores,
} from './carry-out.ts';
import { choose, type ExpiryPlan, textOf } from './chooser.ts';
import { runPage } from './large.ts';
import type { LifecyclePolicy } from './policy.ts';
import { LEFT_MAX } from './report.ts';
import { noPolicy } from './saved.ts';
import { slicesOf } from './slices.ts';
import { loadSnapshot, type Snapshot } from './snapshot.ts';

interface Planned {
  plan: ExpiryPlan;
  /** The same for the same plan. */
  etag: string;
}

/** Plans a preview. Returns `null` if the repository is too large to load at once. @throws repository-unknown, not-found */
export async function planLifecycle(
  env: Database,
  repository: RepositoryName,
  tried?: LifecyclePolicy,
): Promise<Planned | null> {
  const candidates = await loadSnapshot(env, repository);
  if (candidates.isLarge) return null;
  const plan = planOf(candidates, tried ?? candidates.policy);
  return { plan, etag: await etagOf(plan) };
}

function planOf(candidates: Snapshot, policy: LifecyclePolicy | null): ExpiryPlan {
  if (policy === null) throw noPolicy();
  return choose(policy, candidates);
}

async function etagOf(plan: ExpiryPlan): Promise<string> {
  return `"${await digestOf('sha256', new TextEncoder().encode(textOf(plan)))}"`;
}

/**
 * Carries out the policy of a repository. Content that changed since the snapshot stays.
 * @param options.ifPlan true for the ETag of the plan that the caller has seen; `null`: any plan. Then each slice is deleted exactly as
 *   planned, or the run ends.
 * @throws repository-unknown, not-found, limit-reached, version-mismatch, deletion-disabled
 */
export async function runLifecycle(
  env: Stores,
  repository: RepositoryName,
  { by, ifPlan }: { by: Actor; ifPlan: ((etag: string) => boolean) | null },
): Promise<Deleted> {
  requireDeletion(env);
  const found = await loadSnapshot(env, repository);
  if (found.isLarge) {
    if (ifPlan) throw tooLargeForCondition();
    return runPage(env, repository, found, by);
  }
  const plan = planOf(found, found.policy);
  if (ifPlan && !ifPlan(await etagOf(plan))) {
    throw new Refusal('version-mismatch', {
      message: 'the rules would delete something else now: nothing was deleted, preview them again',
    });
  }
  const slices = slicesOf(plan);
  const work = {
    slices: slices.slice(0, SLICES_PER_RUN),
    attached: plan.attached,
    rule: found.mutabilityRule,
    by,
    whole: ifPlan !== null,
  };
  const { tags, manifests, failure } = await deleteSlices(env, repository, work);
  // Nothing was deleted, so the time of the next scheduled run does not change.
  if (failure instanceof ChangedMeanwhile && tags.size + manifests.size === 0) throw failure;
  const deleted = {
    tags: plan.tags.filter(({ tag }) => tags.has(tag)),
    attached: plan.attached.filter(({ tag }) => tags.has(tag)),
    manifests: plan.manifests.filter(({ digest }) => manifests.has(digest)),
  };
  const remaining = plan.tags.length + plan.manifests.length - deleted.tags.length - deleted.manifests.length;
  const unfinished = slices.length > SLICES_PER_RUN;
  const still = unfinished || failure ? plan.manifests.filter(({ digest }) => !manifests.has(digest)) : [];
  const report = {
    at: found.now,
    by: by.subject,
    tags: deleted.tags.length,
    manifests: deleted.manifests.length,
    remaining,
    failed: failure && messageFor(failure),
    left: [...plan.left, ...still.map(deferredOf)].slice(0, LEFT_MAX),
  };
  await finish(env, repository, { by, report, dueAgain: unfinished });
  if (failure) throw failure;
  return { ...deleted, remaining, unfinished: false };
}

function tooLargeForCondition(): Refusal {
  return new Refusal('limit-reached', {
    message: `this repository has more than ${WHOLE_MAX} tags or manifests, so it is handled page by page, and a run cannot depend on a preview: nothing was deleted`,
  });
}
