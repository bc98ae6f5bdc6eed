/** A repository as the chooser looks at it, read in one transaction; and how many bytes come back of what it chose. */
import type { Database } from '../../events/batch.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { WHOLE_MAX } from '../../vocabulary/lifecycle.ts';
import type { Mutability } from '../../vocabulary/mutability.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { HERE } from '../repositories/repositories.ts';
import { mutabilityOf, RULE } from '../tags/mutability.ts';
import type { Inventory, StoredManifest, StoredTag } from './inventory.ts';
import type { LifecyclePolicy } from './policy.ts';
import { type Report, reportOf } from './report.ts';

/** Tags and manifests of a repository that rules look through. */
export const CANDIDATES_MAX = 50_000;

export interface Candidates {
  /** `null`: none is saved. */
  policy: LifecyclePolicy | null;
  /** Of the policy. */
  version: number;
  /** Of the last run. */
  report: Report | null;
  /** What a run that goes through pages has come to (JSON); `null` where none is under way. */
  pass: string | null;
  /** How often the schedule has begun with it since it came on. */
  attempts: number;
  /** To be gone through page by page: then nothing of it is in the inventory. */
  isLarge: boolean;
  inventory: Inventory;
  mutability: Mutability;
  /** The text that `mutability` is of, for the batch that deletes. */
  mutabilityRule: string;
  /** Seconds since the epoch, on the database's clock. */
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

/** After so many attempts in vain a repository is gone through page by page, however small it is. */
const VAIN = 3;

const beyond = (table: string) => `EXISTS (SELECT 1 FROM ${table} WHERE repository_id = ${HERE} LIMIT 1 OFFSET ${WHOLE_MAX})`;
const LARGE = `(${beyond('tags')} OR ${beyond('manifests')}
  OR EXISTS (SELECT 1 FROM lifecycle_policies WHERE repository_id = ${HERE} AND (pass IS NOT NULL OR attempts > ${VAIN})))`;

const HEAD = (
  large: string,
) => `SELECT unixepoch() AS now, ${RULE} AS mutability_rule, p.policy, p.version, p.report, p.pass, p.attempts,
    ${large} AS large
  FROM repositories r LEFT JOIN lifecycle_policies p ON p.repository_id = r.id WHERE r.name = ?1`;
const TAG = 'name AS tag, digest, updated_at AS updatedAt';
const MANIFEST = `m.digest, m.subject, m.size, m.pushed_at AS pushedAt, m.leased_until AS leasedUntil,
  (SELECT max(p.day) FROM pulls p WHERE p.repository_id = m.repository_id AND p.digest = m.digest) AS pulledOn,
  (SELECT k.day FROM manifest_checks k WHERE k.repository_id = m.repository_id AND k.digest = m.digest) AS checkedOn`;

/** All that there is, unless that is too much to be looked at at once. @throws repository-unknown */
export async function loadCandidates(env: Database, repository: RepositoryName): Promise<Candidates> {
  const small = `NOT (SELECT ${LARGE})`;
  return candidatesOf(
    await env.DB.batch(
      [
        HEAD(LARGE),
        `SELECT ${TAG} FROM tags WHERE repository_id = ${HERE} AND ${small}`,
        `SELECT ${MANIFEST} FROM manifests m WHERE m.repository_id = ${HERE} AND ${small}`,
        `SELECT x.parent, x.child FROM manifests m
         CROSS JOIN manifest_references x ON x.repository_id = m.repository_id AND x.child = m.digest
         WHERE m.repository_id = ${HERE} AND ${small}`,
      ].map((sql) => env.DB.prepare(sql).bind(repository)),
    ),
  );
}

/** Of some manifests and their tags. @throws repository-unknown */
export async function candidatesAmong(env: Database, repository: RepositoryName, digests: Digest[]): Promise<Candidates> {
  const list = JSON.stringify(digests);
  const among = (table: string, column: string) =>
    `FROM json_each(?2) d CROSS JOIN ${table} ON repository_id = ${HERE} AND ${column} = d.value`;
  return candidatesOf(
    await env.DB.batch([
      env.DB.prepare(HEAD('1')).bind(repository),
      ...[
        `SELECT ${TAG} ${among('tags INDEXED BY tags_by_digest', 'digest')} ORDER BY name`,
        `SELECT ${MANIFEST} ${among('manifests m', 'm.digest')}`,
        `SELECT x.parent, x.child ${among('manifest_references x', 'x.child')}`,
      ].map((sql) => env.DB.prepare(sql).bind(repository, list)),
    ]),
  );
}

function candidatesOf([heads, tags, manifests, references]: D1Result[]): Candidates {
  const head = heads?.results[0] as Head | undefined;
  if (!head) throw new Refusal('repository-unknown');
  const report = head.report === null ? null : reportOf(head.report);
  return {
    policy: head.policy === null ? null : (JSON.parse(head.policy) as LifecyclePolicy),
    version: head.version ?? 0,
    report,
    pass: head.pass,
    attempts: head.attempts ?? 0,
    isLarge: head.large === 1,
    inventory: {
      tags: (tags?.results ?? []) as StoredTag[],
      manifests: (manifests?.results ?? []) as StoredManifest[],
      references: (references?.results ?? []) as Inventory['references'],
      left: report?.left ?? [],
    },
    mutability: mutabilityOf(head.mutability_rule),
    mutabilityRule: head.mutability_rule,
    now: head.now,
  };
}

/** @throws conflict where there is more than rules can look through */
export async function refuseTooMany(env: Database, repository: RepositoryName): Promise<void> {
  const counted = (table: string) =>
    `(SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE repository_id = ${HERE} LIMIT ${CANDIDATES_MAX} + 1))`;
  const count = await env.DB.prepare(`SELECT ${counted('tags')} + ${counted('manifests')} AS count`)
    .bind(repository)
    .first<number>('count');
  if ((count ?? 0) <= CANDIDATES_MAX) return;
  throw new Refusal('limit-reached', {
    message: `lifecycle rules look through up to ${CANDIDATES_MAX} tags and manifests of a repository, and this one has more`,
  });
}

/**
 * Bytes of the blobs that go once these manifests have gone from here and from the trash: no other manifest of the repository
 * names them, and no other repository has them. Goes through the repository's references once, in the order of their index.
 */
export async function bytesOnlyOf(env: Database, repository: RepositoryName, manifests: Digest[]): Promise<number> {
  if (manifests.length === 0) return 0;
  const [first = '[]', second = '[]', third = '[]', fourth = '[]'] = lists(manifests);
  const row = await env.DB.prepare(
    `WITH doomed (digest) AS (SELECT value FROM json_each(?2) UNION ALL SELECT value FROM json_each(?3)
       UNION ALL SELECT value FROM json_each(?4) UNION ALL SELECT value FROM json_each(?5))
     SELECT coalesce(sum(b.size), 0) AS bytes
     FROM (SELECT child FROM manifest_references WHERE repository_id = ${HERE}
       GROUP BY child HAVING min(parent IN (SELECT digest FROM doomed)) = 1) x
     CROSS JOIN blobs b ON b.digest = x.child AND b.missing_since IS NULL
     WHERE NOT EXISTS (SELECT 1 FROM repository_blobs l CROSS JOIN repositories r ON r.id = l.repository_id
       WHERE l.digest = x.child AND r.name <> ?1)`,
  )
    .bind(repository, first, second, third, fourth)
    .first<{ bytes: number }>();
  return row?.bytes ?? 0;
}

/** A bound parameter may have 2 MB: as many digests as there can be need four, be they of the longer kind. */
function lists(manifests: Digest[]): string[] {
  const quarter = Math.ceil(manifests.length / 4);
  return [0, 1, 2, 3].map((n) => JSON.stringify(manifests.slice(n * quarter, (n + 1) * quarter)));
}
