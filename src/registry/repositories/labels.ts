/**
 * Stores the labels of repositories (AWS calls them tags of a resource) and the flag `scanOnPush`. Clients of the ECR API set
 * both and read them again. The registry itself does not scan images.
 */
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID, requireRepository } from './repositories.ts';

/** The maximum number of labels of a repository. ECR has the same limit. */
const LABELS_MAX = 50;

export type Labels = Record<string, string>;

/** SQL expression: the labels of `:repository`, as a JSON object. */
const LABELS = `(SELECT json_group_object(key, value) FROM repository_labels WHERE repository_id = ${REPOSITORY_ID})`;

/** @throws repository-unknown */
export async function readLabels(env: Database, repository: RepositoryName): Promise<Labels> {
  const sql = `SELECT ${LABELS} AS labels FROM repositories WHERE name = :repository`;
  const text = await prepare(env, sql, { repository }).first<string>('labels');
  if (text === null) throw new Refusal('repository-unknown');
  return JSON.parse(text) as Labels;
}

/**
 * Changes labels. A label with the value `null` is removed, and labels that are not named stay.
 * @throws repository-unknown; limit-reached if the repository would have more than 50 labels
 */
export async function changeLabels(
  env: Database,
  repository: RepositoryName,
  change: Record<string, string | null>,
  by: Actor,
): Promise<void> {
  const batch = newBatch(env);
  requireRepository(batch, repository);
  writeLabels(batch, repository, change);
  recordChange(batch, repository, { labels: change }, by);
  await batch.commit();
}

/**
 * Adds statements to the batch that change labels. The batch fails with `limit-reached` if the repository would have too many.
 */
export function writeLabels(batch: Batch, repository: RepositoryName, change: Record<string, string | null>): void {
  const parameters = { repository, change: JSON.stringify(change) };
  batch.run(
    `DELETE FROM repository_labels WHERE repository_id = ${REPOSITORY_ID}
       AND key IN (SELECT key FROM json_each(:change) WHERE type = 'null')`,
    parameters,
  );
  batch.run(
    `INSERT INTO repository_labels (repository_id, key, value)
     SELECT ${REPOSITORY_ID}, key, value FROM json_each(:change) WHERE type = 'text'
     ON CONFLICT DO UPDATE SET value = excluded.value`,
    parameters,
  );
  const count = `(SELECT count(*) FROM repository_labels WHERE repository_id = ${REPOSITORY_ID})`;
  const message = `a repository has up to ${LABELS_MAX} labels: nothing was changed`;
  batch.require('limit-reached', `${count} <= ${LABELS_MAX}`, { repository }, { message });
}

/** Saves whether clients want pushed images to be scanned. @throws repository-unknown */
export async function saveScanOnPush(env: Database, repository: RepositoryName, scanOnPush: boolean, by: Actor): Promise<void> {
  const batch = newBatch(env);
  requireRepository(batch, repository);
  writeScanOnPush(batch, repository, scanOnPush);
  recordChange(batch, repository, { scanOnPush }, by);
  await batch.commit();
}

/** Adds a statement to the batch that saves the flag `scanOnPush`. */
export function writeScanOnPush(batch: Batch, repository: RepositoryName, scanOnPush: boolean): void {
  batch.run(
    `INSERT INTO repository_pages (repository_id, scan_on_push) VALUES (${REPOSITORY_ID}, :flag)
     ON CONFLICT DO UPDATE SET scan_on_push = :flag`,
    { repository, flag: scanOnPush ? 1 : 0 },
  );
}

/** Adds an event with the new values to the batch, even if they are the same as before. */
function recordChange(batch: Batch, repository: RepositoryName, changed: object, by: Actor): void {
  const changes = Object.fromEntries(Object.entries(changed).map(([name, to]) => [name, { to }]));
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'repository.changed' AS type, json_object('changes', json(:changes)) AS target`,
    parameters: { changes: JSON.stringify(changes) },
  });
}

/** A repository as the ECR API describes it. */
export interface StoredSettings {
  name: RepositoryName;
  /** The time of creation, in seconds since the epoch. */
  createdAt: number;
  /** The stored rule about immutable tags (`tags/mutability.ts`). */
  rule: string;
  scanOnPush: boolean;
}

/** Returns the repositories in `names` that exist, in bytewise order of their names. */
export async function readSettings(env: Database, names: readonly RepositoryName[]): Promise<StoredSettings[]> {
  const { results } = await prepare(
    env,
    `SELECT r.name, r.created_at AS createdAt, coalesce(m.rule, '') AS rule, coalesce(p.scan_on_push, 0) AS scanOnPush
     FROM repositories r LEFT JOIN tag_mutability m ON m.repository_id = r.id
       LEFT JOIN repository_pages p ON p.repository_id = r.id
     WHERE r.name IN (SELECT value FROM json_each(:names)) ORDER BY r.name`,
    { names },
  ).all<{ name: RepositoryName; createdAt: number; rule: string; scanOnPush: number }>();
  return results.map((one) => ({ ...one, scanOnPush: one.scanOnPush === 1 }));
}
