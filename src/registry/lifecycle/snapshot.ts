/**
 * Reads the content of a repository for the lifecycle rules in one transaction, and computes how many bytes a deletion would
 * free.
 */
import { type Database, type Handle, newBatch, type Results } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { WHOLE_MAX } from '../../vocabulary/lifecycle.ts';
import type { Mutability } from '../../vocabulary/mutability.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { MUTABILITY_RULE, mutabilityOf } from '../tags/mutability.ts';
import type { Inventory, StoredManifest, StoredTag } from './inventory.ts';
import type { LifecyclePolicy } from './policy.ts';
import { type Report, reportOf } from './saved.ts';

/** The maximum number of tags and manifests of a repository for which lifecycle rules can run. */
export const CANDIDATES_MAX = 50_000;

export interface Snapshot {
  /** The saved policy, or `null` if the repository has none. */
  policy: LifecyclePolicy | null;
  /** The version of the policy. */
  version: number;
  /** The report of the last run, or `null` if there was no run. */
  report: Report | null;
  /** The state of an unfinished run that goes page by page, as JSON, or `null` if there is none. */
  pass: string | null;
  /** The number of attempts of the scheduled job since a run last made progress. */
  attempts: number;
  /** True if the repository must be processed page by page. Then `inventory` is empty. */
  isLarge: boolean;
  inventory: Inventory;
  mutability: Mutability;
  /**
   * The source text of the rule in `mutability`. The batch that deletes content fails if the repository has another rule by
   * then.
   */
  mutabilityRule: string;
  /** The time when the content was read, by the clock of D1, in seconds since the epoch. */
  now: number;
}

interface Head {
  now: number;
  mutability_rule: string;
  policy: string | null;
  version: number | null;
  report: string | null;
  pass: string | null;
  attempts: number | null;
  large: number;
}

/** The number of failed attempts after which even a small repository is processed page by page. */
const FAILED_ATTEMPTS_MAX = 3;

const isTooLong = (table: string) =>
  `EXISTS (SELECT 1 FROM ${table} WHERE repository_id = ${REPOSITORY_ID} LIMIT 1 OFFSET ${WHOLE_MAX})`;
/** SQL condition: the repository must be processed page by page. */
const IS_LARGE = `(${isTooLong('tags')} OR ${isTooLong('manifests')}
  OR EXISTS (SELECT 1 FROM lifecycle_policies WHERE repository_id = ${REPOSITORY_ID} AND (pass IS NOT NULL
    OR attempts > ${FAILED_ATTEMPTS_MAX})))`;

const head = (
  isLarge: string,
) => `SELECT unixepoch() AS now, ${MUTABILITY_RULE} AS mutability_rule, p.policy, p.version, p.report, p.pass, p.attempts,
    ${isLarge} AS large
  FROM repositories r LEFT JOIN lifecycle_policies p ON p.repository_id = r.id WHERE r.name = :repository`;
const TAG = 'name AS tag, digest, updated_at AS updatedAt';
const MANIFEST = `m.digest, m.subject, m.size, m.pushed_at AS pushedAt, m.leased_until AS leasedUntil,
  (SELECT max(p.day) FROM pulls p WHERE p.repository_id = m.repository_id AND p.digest = m.digest) AS pulledOn,
  (SELECT k.day FROM manifest_checks k WHERE k.repository_id = m.repository_id AND k.digest = m.digest) AS checkedOn`;

/**
 * Reads the whole content of a repository. Returns an empty inventory if the repository must be processed page by page.
 * @throws repository-unknown
 */
export async function loadSnapshot(env: Database, repository: RepositoryName): Promise<Snapshot> {
  const isSmall = `NOT (SELECT ${IS_LARGE})`;
  const batch = newBatch(env);
  const handles = {
    heads: batch.query<Head>(head(IS_LARGE), { repository }),
    tags: batch.query<StoredTag>(`SELECT ${TAG} FROM tags WHERE repository_id = ${REPOSITORY_ID} AND ${isSmall}`, {
      repository,
    }),
    manifests: batch.query<StoredManifest>(
      `SELECT ${MANIFEST} FROM manifests m WHERE m.repository_id = ${REPOSITORY_ID} AND ${isSmall}`,
      { repository },
    ),
    references: batch.query<Reference>(
      `SELECT x.parent, x.child FROM manifests m
       CROSS JOIN manifest_references x ON x.repository_id = m.repository_id AND x.child = m.digest
       WHERE m.repository_id = ${REPOSITORY_ID} AND ${isSmall}`,
      { repository },
    ),
  };
  return snapshotOf(await batch.commit(), handles);
}

/** Reads the given manifests and their tags. @throws repository-unknown */
export async function snapshotAmong(env: Database, repository: RepositoryName, digests: Digest[]): Promise<Snapshot> {
  const among = (table: string, column: string) =>
    `FROM json_each(:digests) d CROSS JOIN ${table} ON repository_id = ${REPOSITORY_ID} AND ${column} = d.value`;
  const batch = newBatch(env);
  const parameters = { repository, digests };
  const handles = {
    heads: batch.query<Head>(head('1'), { repository }),
    tags: batch.query<StoredTag>(
      `SELECT ${TAG} ${among('tags INDEXED BY tags_by_digest', 'digest')} ORDER BY name`,
      parameters,
    ),
    manifests: batch.query<StoredManifest>(`SELECT ${MANIFEST} ${among('manifests m', 'm.digest')}`, parameters),
    references: batch.query<Reference>(`SELECT x.parent, x.child ${among('manifest_references x', 'x.child')}`, parameters),
  };
  return snapshotOf(await batch.commit(), handles);
}

type Reference = Inventory['references'][number];

interface Handles {
  heads: Handle<Head>;
  tags: Handle<StoredTag>;
  manifests: Handle<StoredManifest>;
  references: Handle<Reference>;
}

function snapshotOf(results: Results, { heads, tags, manifests, references }: Handles): Snapshot {
  const row = results.first(heads);
  if (!row) throw new Refusal('repository-unknown');
  const report = row.report === null ? null : reportOf(row.report);
  return {
    policy: row.policy === null ? null : (JSON.parse(row.policy) as LifecyclePolicy),
    version: row.version ?? 0,
    report,
    pass: row.pass,
    attempts: row.attempts ?? 0,
    isLarge: row.large === 1,
    inventory: {
      tags: results.of(tags),
      manifests: results.of(manifests),
      references: results.of(references),
      left: report?.left ?? [],
    },
    mutability: mutabilityOf(row.mutability_rule),
    mutabilityRule: row.mutability_rule,
    now: row.now,
  };
}

/** @throws limit-reached if the repository has more tags and manifests than lifecycle rules can handle */
export async function requireManageable(env: Database, repository: RepositoryName): Promise<void> {
  const counted = (table: string) =>
    `(SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE repository_id = ${REPOSITORY_ID} LIMIT ${CANDIDATES_MAX} + 1))`;
  const count = await prepare(env, `SELECT ${counted('tags')} + ${counted('manifests')} AS count`, {
    repository,
  }).first<number>('count');
  if ((count ?? 0) <= CANDIDATES_MAX) return;
  throw new Refusal('limit-reached', {
    message:
      `lifecycle rules can handle up to ${CANDIDATES_MAX} tags and manifests of a repository, and this one has ` +
      `more: nothing was deleted`,
  });
}

/**
 * Returns the number of bytes that are freed when these manifests are deleted and purged from the trash. These are the bytes of
 * blobs that no other manifest of the repository references and that no other repository contains. Manifests in the trash do
 * not count, because they are purged earlier. The query reads each reference of the repository once, in the order of the index.
 */
export async function bytesFreedBy(env: Database, repository: RepositoryName, manifests: Digest[]): Promise<number> {
  if (manifests.length === 0) return 0;
  const [first, second, third, fourth] = quarters(manifests);
  const row = await prepare(
    env,
    `WITH expired (digest) AS (SELECT value FROM json_each(:first) UNION ALL SELECT value FROM json_each(:second)
       UNION ALL SELECT value FROM json_each(:third) UNION ALL SELECT value FROM json_each(:fourth))
     SELECT coalesce(sum(b.size), 0) AS bytes
     FROM (SELECT child FROM manifest_references WHERE repository_id = ${REPOSITORY_ID}
       GROUP BY child HAVING min(parent IN (SELECT digest FROM expired)) = 1) x
     CROSS JOIN blobs b ON b.digest = x.child AND b.missing_since IS NULL
     WHERE NOT EXISTS (SELECT 1 FROM repository_blobs l CROSS JOIN repositories r ON r.id = l.repository_id
       WHERE l.digest = x.child AND r.name <> :repository)`,
    { repository, first, second, third, fourth },
  ).first<{ bytes: number }>();
  return row?.bytes ?? 0;
}

/** Splits the digests into four SQL parameters. D1 accepts parameters of up to 2 MB, and sha512 digests are long. */
function quarters(manifests: Digest[]): [Digest[], Digest[], Digest[], Digest[]] {
  const size = Math.ceil(manifests.length / 4);
  const quarter = (n: number) => manifests.slice(n * size, (n + 1) * size);
  return [quarter(0), quarter(1), quarter(2), quarter(3)];
}
