/**
 * The lifecycle policy of a repository: read, saved and deleted as one document. The report of its last run is stored with it.
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
  report: Report | null;
  version: number;
}

interface Options {
  /** The version that the policy must have; 0: there must be none; `null`: any. */
  ifVersion: number | null;
  by: Actor;
}

interface Row {
  policy: string | null;
  report: string | null;
  version: number;
}

/** @throws repository-unknown; not-found if no policy is saved */
export async function getLifecycle(env: Database, repository: RepositoryName): Promise<SavedPolicy> {
  const row = await prepare(
    env,
    `SELECT p.policy, p.report, p.version FROM repositories r
     LEFT JOIN lifecycle_policies p ON p.repository_id = r.id WHERE r.name = :repository`,
    { repository },
  ).first<Row>();
  if (!row) throw new Refusal('repository-unknown');
  if (row.policy === null) throw noPolicy();
  const report = row.report === null ? null : reportOf(row.report);
  return { policy: JSON.parse(row.policy) as LifecyclePolicy, report, version: row.version };
}

const NO_POLICY = { message: 'this repository has no lifecycle policy' };

export function noPolicy(): Refusal {
  return new Refusal('not-found', NO_POLICY);
}

const SAVED = `SELECT policy FROM lifecycle_policies WHERE repository_id = ${REPOSITORY_ID}`;

/**
 * Saves a policy. The same policy saved again changes nothing. @throws request-invalid, repository-unknown, version-mismatch
 */
export async function saveLifecycle(
  env: Database,
  repository: RepositoryName,
  policy: LifecyclePolicy,
  { ifVersion, by }: Options,
): Promise<void> {
  requireValidPolicy(policy);
  const parameters = { repository, policy: JSON.stringify(policy) };
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
    `INSERT INTO lifecycle_policies (repository_id, policy) VALUES (${REPOSITORY_ID}, :policy)
     ON CONFLICT DO UPDATE SET policy = :policy, version = version + 1 WHERE policy <> :policy`,
    parameters,
  );
  await batch.commit();
}

/** @throws repository-unknown, not-found, version-mismatch */
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
  /** The time of the snapshot that the run decided on, in seconds since the epoch. */
  at: number;
  /** The subject who ran the rules; `registry`: the schedule. */
  by: string;
  tags: number;
  manifests: number;
  /** Expired tags and manifests that were not deleted; another run deletes them. */
  remaining: number;
  /** Why the run failed; `null`: it did not. */
  failed: string | null;
  left: Deferred[];
}

/** Deferred manifests that a report keeps. Others wait for a rule about untagged images. */
export const LEFT_MAX = 1500;

export function reportOf(text: string): Report {
  return JSON.parse(text) as Report;
}
