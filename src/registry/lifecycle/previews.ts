/**
 * Previews that clients of the ECR API start with one request and read with others. Only the policy to try is stored. Each read
 * plans again, so it shows the present content.
 */
import { type Database, newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { REPOSITORY_ID, requireRepository } from '../repositories/repositories.ts';
import { type LifecyclePolicy, requireValidPolicy } from './policy.ts';

/** The number of seconds for which a preview can be read. */
const LIFETIME = 24 * 60 * 60;

export interface StartedPreview {
  policy: LifecyclePolicy;
  /** The policy as the client sent it. */
  text: string;
}

/** Starts a preview, and replaces an earlier one. @throws request-invalid, repository-unknown */
export async function startPreview(env: Database, repository: RepositoryName, { policy, text }: StartedPreview): Promise<void> {
  requireValidPolicy(policy);
  const batch = newBatch(env);
  requireRepository(batch, repository);
  batch.run(
    `INSERT INTO lifecycle_previews (repository_id, policy, text, started_at)
     VALUES (${REPOSITORY_ID}, :policy, :text, unixepoch())
     ON CONFLICT DO UPDATE SET policy = :policy, text = :text, started_at = unixepoch()`,
    { repository, policy: JSON.stringify(policy), text },
  );
  await batch.commit();
}

/** Returns the preview that was started; `null` if there is none, or if it has expired. */
export async function readPreview(env: Database, repository: RepositoryName): Promise<StartedPreview | null> {
  const sql = `SELECT policy, text FROM lifecycle_previews
    WHERE repository_id = ${REPOSITORY_ID} AND started_at > unixepoch() - ${LIFETIME}`;
  const row = await prepare(env, sql, { repository }).first<{ policy: string; text: string }>();
  return row && { policy: JSON.parse(row.policy) as LifecyclePolicy, text: row.text };
}

/** Returns the times at which the manifests were pushed, in seconds since 1970-01-01 UTC. */
export async function pushTimes(
  env: Database,
  repository: RepositoryName,
  digests: readonly Digest[],
): Promise<Map<Digest, number>> {
  const sql = `SELECT digest, pushed_at FROM manifests
    WHERE repository_id = ${REPOSITORY_ID} AND digest IN (SELECT value FROM json_each(:digests))`;
  const { results } = await prepare(env, sql, { repository, digests }).all<{ digest: Digest; pushed_at: number }>();
  return new Map(results.map(({ digest, pushed_at }) => [digest, pushed_at]));
}
