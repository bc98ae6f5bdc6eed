/**
 * Reads, saves and deletes the lifecycle policy of a repository, as one document. The report of the last run is stored with it.
 */
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { changesIn, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID, requireRepository } from '../repositories/repositories.ts';
import type { Deferred } from './inventory.ts';
import { type LifecyclePolicy, requireValidPolicy } from './policy.ts';

export interface SavedPolicy {
  policy: LifecyclePolicy;
  /** The policy as a client of the ECR API sent it; `null` if it was saved in another way. */
  text: string | null;
  report: Report | null;
  version: number;
}

interface Options {
  /** The version that the saved policy must have. 0 means that no policy may be saved. `null` allows any version. */
  ifVersion: number | null;
  by: Actor;
}

interface Row {
  policy: string | null;
  text: string | null;
  report: string | null;
  version: number;
}

/** Returns the policy of a repository. @throws repository-unknown; not-found if no policy is saved */
export async function getLifecycle(env: Database, repository: RepositoryName): Promise<SavedPolicy> {
  const row = await prepare(
    env,
    `SELECT p.policy, p.text, p.report, p.version FROM repositories r
     LEFT JOIN lifecycle_policies p ON p.repository_id = r.id WHERE r.name = :repository`,
    { repository },
  ).first<Row>();
  if (!row) throw new Refusal('repository-unknown');
  if (row.policy === null) throw noPolicy();
  const report = row.report === null ? null : reportOf(row.report);
  return { policy: JSON.parse(row.policy) as LifecyclePolicy, text: row.text, report, version: row.version };
}

const NO_POLICY = { message: 'this repository has no lifecycle policy: save one first' };

export function noPolicy(): Refusal {
  return new Refusal('not-found', NO_POLICY);
}

const SAVED = `SELECT policy FROM lifecycle_policies WHERE repository_id = ${REPOSITORY_ID}`;

/**
 * Saves a policy. If the same policy is saved already, nothing is changed and no event is recorded.
 * @throws request-invalid, repository-unknown, version-mismatch
 */
export async function saveLifecycle(
  env: Database,
  repository: RepositoryName,
  { policy, text }: Pick<SavedPolicy, 'policy' | 'text'>,
  { ifVersion, by }: Options,
): Promise<void> {
  requireValidPolicy(policy);
  const parameters = { repository, policy: JSON.stringify(policy), text };
  const batch = newBatch(env);
  requireRepository(batch, repository);
  requireVersion(batch, repository, ifVersion);
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'lifecycle.saved' AS type, json_object('rules', :rules) AS target,
        ${changesIn([['rules', `json((${SAVED})) -> '$.rules'`, `json(:policy) -> '$.rules'`]])} AS changes
      WHERE NOT EXISTS (${SAVED} AND policy = :policy)`,
    parameters: { ...parameters, rules: policy.rules.length },
    hasChanges: true,
  });
  batch.run(
    `INSERT INTO lifecycle_policies (repository_id, policy, text) VALUES (${REPOSITORY_ID}, :policy, :text)
     ON CONFLICT DO UPDATE SET policy = :policy, text = :text, version = version + iif(policy <> :policy, 1, 0)
       WHERE policy <> :policy OR (:text IS NOT NULL AND text IS NOT :text)`,
    parameters,
  );
  await batch.commit();
}

/** Deletes the policy of a repository. @throws repository-unknown, not-found, version-mismatch */
export async function deleteLifecycle(env: Database, repository: RepositoryName, { ifVersion, by }: Options): Promise<void> {
  const batch = newBatch(env);
  requireRepository(batch, repository);
  requireVersion(batch, repository, ifVersion);
  batch.require('not-found', `EXISTS (${SAVED})`, { repository }, NO_POLICY);
  recordEvent(batch, { about: repository, by, select: `SELECT 'lifecycle.deleted' AS type, '{}' AS target` });
  batch.run(`DELETE FROM lifecycle_policies WHERE repository_id = ${REPOSITORY_ID}`, { repository });
  await batch.commit();
}

function requireVersion(batch: Batch, repository: RepositoryName, ifVersion: number | null): void {
  if (ifVersion === null) return;
  const version = `coalesce((SELECT version FROM lifecycle_policies WHERE repository_id = ${REPOSITORY_ID}), 0)`;
  batch.require('version-mismatch', `${version} = :ifVersion`, { repository, ifVersion });
}

export interface Report {
  /** The time when the content was read on which the run was based, in seconds since the epoch. */
  at: number;
  /** The subject who started the run, for example `user:alice`, or `registry` for a scheduled run. */
  by: string;
  tags: number;
  manifests: number;
  /** The number of tags and manifests that were selected but not deleted. Another run deletes them. */
  remaining: number;
  /** The reason why the run failed, or `null` if it succeeded. */
  failed: string | null;
  left: Deferred[];
}

/**
 * The maximum number of deferred manifests in a report. Others are deleted only when a rule for untagged images selects them.
 */
export const LEFT_MAX = 1500;

export function reportOf(text: string): Report {
  return JSON.parse(text) as Report;
}
