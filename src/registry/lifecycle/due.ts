/** Carries out the lifecycle policies that are due, for the schedule. */
import { settings } from '../../env.ts';
import type { Database } from '../../events/batch.ts';
import { REGISTRY } from '../../events/event.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { noteRefusal, PERIOD, type Stores } from './carry-out.ts';
import { runLifecycle } from './run.ts';

/**
 * Carries out policies that are due, those that wait longest first. A failure does not keep the others from running, and is not tried
 * again before them. For a large repository one page is handled, and the call ends with it.
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

/** A statement that yields a row if a policy is due. */
export function anyLifecycleDue(env: Database): D1PreparedStatement {
  return env.DB.prepare(`SELECT 1 FROM lifecycle_policies WHERE ran_at <= unixepoch() - ${PERIOD} LIMIT 1`);
}

/** Seconds until an attempt is repeated, times the square of the number of failed attempts; at most a day. */
const RETRY_AFTER = 5 * 60;

/**
 * Claims the policy that waits longest. Starting is recorded before, success after the run, because an invocation that uses up its CPU is
 * killed without notice. A repository whose runs are killed waits longer each time, so it does not block the others.
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
