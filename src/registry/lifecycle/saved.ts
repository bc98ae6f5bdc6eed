/** The policy of a repository: read, saved and taken away as one document. */
import { type Database, refuseUnless, tryBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { changesIn, record } from '../../events/outbox.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { HERE, requireInBatch } from '../repositories/repositories.ts';
import { type LifecyclePolicy, requireValidPolicy } from './policy.ts';
import { type Report, reportOf } from './report.ts';

export interface SavedPolicy {
  policy: LifecyclePolicy;
  report: Report | null;
  version: number;
}

export interface Change {
  /** The version it is expected to have: 0 for nothing, `null` for any. */
  ifVersion: number | null;
  by: Actor;
}

interface Row {
  policy: string | null;
  report: string | null;
  version: number;
}

/** @throws repository-unknown, not-found where none is saved */
export async function getLifecycle(env: Database, repository: RepositoryName): Promise<SavedPolicy> {
  const row = await env.DB.prepare(
    `SELECT p.policy, p.report, p.version FROM repositories r
     LEFT JOIN lifecycle_policies p ON p.repository_id = r.id WHERE r.name = ?1`,
  )
    .bind(repository)
    .first<Row>();
  if (!row) throw new Refusal('repository-unknown');
  if (row.policy === null) throw noPolicy();
  const report = row.report === null ? null : reportOf(row.report);
  return { policy: JSON.parse(row.policy) as LifecyclePolicy, report, version: row.version };
}

export function noPolicy(): Refusal {
  return new Refusal('not-found', { message: 'this repository has no lifecycle policy' });
}

const SAVED = `SELECT policy FROM lifecycle_policies WHERE repository_id = ${HERE}`;

/** Saves a policy. The same policy saved again changes nothing. @throws request-invalid, repository-unknown, version-mismatch */
export async function saveLifecycle(
  env: Database,
  repository: RepositoryName,
  policy: LifecyclePolicy,
  { ifVersion, by }: Change,
): Promise<void> {
  requireValidPolicy(policy);
  const text = JSON.stringify(policy);
  const saved = await tryBatch(env, [
    requireInBatch(env, repository),
    refuseVersion(env, repository, ifVersion),
    record(env, {
      about: repository,
      by,
      select: `SELECT 'lifecycle.saved' AS type, json_object('rules', ?4) AS target,
          ${changesIn([['rules', `json((${SAVED})) -> '$.rules'`, `json(?3) -> '$.rules'`]])} AS changes
        WHERE NOT EXISTS (SELECT 1 FROM lifecycle_policies WHERE repository_id = ${HERE} AND policy = ?3)`,
      parameters: [text, policy.rules.length],
      hasChanges: true,
    }),
    env.DB.prepare(
      `INSERT INTO lifecycle_policies (repository_id, policy) VALUES (${HERE}, ?2)
       ON CONFLICT DO UPDATE SET policy = ?2, version = version + 1 WHERE policy <> ?2`,
    ).bind(repository, text),
  ]);
  if (!saved) throw await refusalOf(env, repository);
}

/** @throws repository-unknown, not-found, version-mismatch */
export async function deleteLifecycle(env: Database, repository: RepositoryName, { ifVersion, by }: Change): Promise<void> {
  const deleted = await tryBatch(env, [
    requireInBatch(env, repository),
    refuseVersion(env, repository, ifVersion),
    record(env, {
      about: repository,
      by,
      select: `SELECT 'lifecycle.deleted' AS type, '{}' AS target
        WHERE EXISTS (SELECT 1 FROM lifecycle_policies WHERE repository_id = ${HERE})`,
      parameters: [],
    }),
    env.DB.prepare(`DELETE FROM lifecycle_policies WHERE repository_id = ${HERE} RETURNING version`).bind(repository),
  ]);
  if (!deleted) throw await refusalOf(env, repository);
  if (!deleted.at(-1)?.results.length) throw noPolicy();
}

function refuseVersion(env: Database, repository: RepositoryName, ifVersion: number | null): D1PreparedStatement {
  const version = `coalesce((SELECT version FROM lifecycle_policies WHERE repository_id = ${HERE}), 0)`;
  return refuseUnless(env, `?2 IS NULL OR ${version} = ?2`, repository, ifVersion);
}

async function refusalOf(env: Database, repository: RepositoryName): Promise<Refusal> {
  const there = await env.DB.prepare('SELECT 1 FROM repositories WHERE name = ?1').bind(repository).first();
  return new Refusal(there ? 'version-mismatch' : 'repository-unknown');
}
