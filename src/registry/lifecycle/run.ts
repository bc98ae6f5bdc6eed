/**
 * Previews and runs lifecycle policies, for users and for the scheduled job. Preview and run compute the plan with the same
 * functions, so a run deletes what the preview lists.
 */

import { settings } from '../../env.ts';
import type { Database } from '../../events/batch.ts';
import { type Actor, REGISTRY } from '../../events/event.ts';
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
  finishRun,
  messageFor,
  noteRefusal,
  PERIOD,
  SLICES_PER_RUN,
  type Stores,
  slicesOf,
} from './carry-out.ts';
import { choose, type ExpiryPlan, planText } from './chooser.ts';
import { runPage } from './large.ts';
import type { LifecyclePolicy } from './policy.ts';
import { LEFT_MAX, noPolicy } from './saved.ts';
import { loadSnapshot, type Snapshot } from './snapshot.ts';

interface Planned {
  plan: ExpiryPlan;
  /** A hash of the plan, which is the same for equal plans. */
  etag: string;
}

/**
 * Returns the plan of a preview, or `null` if the repository is too large to load at once.
 * @throws repository-unknown, not-found
 */
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
  return `"${await digestOf('sha256', new TextEncoder().encode(planText(plan)))}"`;
}

/**
 * Runs the policy of a repository. Content that has changed since it was read is kept.
 * @param options.ifPlan a function that returns true if the ETag of the plan is the one that the caller saw in a preview. Then
 * the run deletes exactly this plan or stops. `null` allows any plan
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
  // Nothing was deleted, so the policy remains due at the same time.
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
  await finishRun(env, repository, { by, report, dueAgain: unfinished });
  if (failure) throw failure;
  return { ...deleted, remaining, unfinished: false };
}

function tooLargeForCondition(): Refusal {
  return new Refusal('limit-reached', {
    message:
      `this repository has more than ${WHOLE_MAX} tags or manifests, so it is handled page by page, and a run ` +
      `cannot depend on a preview: nothing was deleted`,
  });
}

/**
 * Runs up to `limit` due policies. The one that has waited longest runs first. If a run fails, the other policies still run,
 * and the failed one is tried again after them. In a large repository a call processes one page; it goes on to other policies
 * only if this was the last page.
 */
export async function runDueLifecycles(env: Stores, { limit }: { limit: number }): Promise<void> {
  if (!settings(env).deletion) return;
  const failures: unknown[] = [];
  for (let n = 0; n < limit; n++) {
    const repository = await claimDue(env);
    if (repository === null) break;
    try {
      if ((await runLifecycle(env, repository, { by: REGISTRY, ifPlan: null })).unfinished) break;
    } catch (error) {
      failures.push(error);
      if (error instanceof Refusal) await noteRefusal(env, repository, error.message);
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} lifecycle policies failed`);
}

/** Returns a SELECT that yields a row if a policy is due. */
export function anyLifecycleDue(env: Database): D1PreparedStatement {
  return env.DB.prepare(`SELECT 1 FROM lifecycle_policies WHERE ran_at <= unixepoch() - ${PERIOD} LIMIT 1`);
}

/**
 * The minimum number of seconds between a failed attempt and the next one. It is multiplied by the square of the number of
 * failed attempts, up to a day.
 */
const RETRY_AFTER = 5 * 60;

/**
 * Claims the due policy that has waited longest, so that no concurrent job runs it. The attempt is recorded before the run and
 * the success after the run, because the runtime kills an invocation that uses up its CPU time without notice. A repository
 * whose runs are killed waits longer each time, so it does not block the others.
 */
async function claimDue(env: Database): Promise<RepositoryName | null> {
  const row = await env.DB.prepare(
    `UPDATE lifecycle_policies SET tried_at = unixepoch(), attempts = attempts + 1 WHERE repository_id = (
       SELECT p.repository_id FROM lifecycle_policies p INDEXED BY lifecycle_policies_due
       CROSS JOIN repositories r ON r.id = p.repository_id
       WHERE p.ran_at <= unixepoch() - ${PERIOD}
         AND p.tried_at <= unixepoch() - min(${PERIOD}, ${RETRY_AFTER} * max(1, p.attempts * p.attempts))
       ORDER BY p.tried_at, p.ran_at LIMIT 1)
     RETURNING (SELECT name FROM repositories WHERE id = repository_id) AS name`,
  ).first<{ name: RepositoryName }>();
  return row?.name ?? null;
}
