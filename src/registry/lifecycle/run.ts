/** Carrying lifecycle policies out: what is deleted is what the preview lists, as both ask the same chooser. */
import type { Database } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { digestOf } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { WHOLE_MAX } from '../../vocabulary/lifecycle.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { requireDeletion } from '../manifests/deletion.ts';
import { type Candidates, loadCandidates } from './candidates.ts';
import { ChangedMeanwhile, deleteSlices, finish, leftoverOf, SLICES_PER_RUN, type Stores, wordsOf } from './carry-out.ts';
import { choose, type DoomedAttached, type DoomedManifest, type DoomedTag, type Plan, textOf } from './chooser.ts';
import { runPage } from './large.ts';
import type { LifecyclePolicy } from './policy.ts';
import { LEFT_MAX } from './report.ts';
import { noPolicy } from './saved.ts';
import { slicesOf } from './slices.ts';

export interface Planned {
  plan: Plan;
  /** The same for the same list. */
  etag: string;
}

/** `null` for a repository that is too large to be looked at at once. @throws repository-unknown, not-found */
export async function planLifecycle(
  env: Database,
  repository: RepositoryName,
  tried?: LifecyclePolicy,
): Promise<Planned | null> {
  const candidates = await loadCandidates(env, repository);
  if (candidates.isLarge) return null;
  const plan = planOf(candidates, tried ?? candidates.policy);
  return { plan, etag: await etagOf(plan) };
}

function planOf(candidates: Candidates, policy: LifecyclePolicy | null): Plan {
  if (policy === null) throw noPolicy();
  return choose(policy, candidates);
}

export async function etagOf(plan: Plan): Promise<string> {
  return `"${await digestOf('sha256', new TextEncoder().encode(textOf(plan)))}"`;
}

export interface Deleted {
  tags: DoomedTag[];
  attached: DoomedAttached[];
  manifests: DoomedManifest[];
  /** Tags and manifests of the plan that are there still. */
  remaining: number;
  /** The repository is gone through page by page, and this was not the last one. */
  unfinished: boolean;
}

/**
 * What has changed since it was looked at stays.
 * @param options.ifPlan the plan it has to be, as the preview named it, and to stay until it is carried out; `null`: any. Of one
 * that takes several slices, each is carried out as it was planned or ends the run.
 * @throws repository-unknown, not-found, conflict, version-mismatch, parameter-invalid
 */
export async function runLifecycle(
  env: Stores,
  repository: RepositoryName,
  { by, ifPlan }: { by: Actor; ifPlan: ((etag: string) => boolean) | null },
): Promise<Deleted> {
  requireDeletion(env);
  const found = await loadCandidates(env, repository);
  if (found.isLarge) {
    if (ifPlan) throw tooLargeForCondition();
    return runPage(env, repository, found, by);
  }
  const plan = planOf(found, found.policy);
  if (ifPlan && !ifPlan(await etagOf(plan))) {
    throw new Refusal('version-mismatch', {
      message: 'the rules would take something else by now: preview them again',
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
  // It is as if nobody had asked: the day of the schedule's next run stays.
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
    failed: failure && wordsOf(failure),
    left: [...plan.left, ...still.map(leftoverOf)].slice(0, LEFT_MAX),
  };
  await finish(env, repository, { by, report, dueAgain: unfinished });
  if (failure) throw failure;
  return { ...deleted, remaining, unfinished: false };
}

function tooLargeForCondition(): Refusal {
  return new Refusal('limit-reached', {
    message: `this repository has more than ${WHOLE_MAX} tags or manifests, and is gone through page by page: a run of it cannot depend on a preview. Nothing was deleted`,
  });
}
