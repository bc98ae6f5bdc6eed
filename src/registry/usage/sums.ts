/**
 * The stored totals of each repository: the bytes of its manifests and of the blobs that they reference (each blob once), the
 * number of its tags and the number of its manifests. The trash and unfinished pushes do not count. Every batch that changes
 * the content updates the totals, so a list of repositories reads one row per repository. Counting on each read would take some
 * rows for every layer.
 */
import type { Batch, Database } from '../../events/batch.ts';
import { organizationAbout } from '../../events/event.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { type Closing, namespaceById } from './counting.ts';

/**
 * Returns an SQL condition: the repository with this id has a link to the blob, and one of its manifests references the blob.
 */
const uses = (id: string, digest: string) => `(
  EXISTS (SELECT 1 FROM manifest_references x WHERE x.repository_id = ${id} AND x.child = ${digest})
  AND EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = ${digest} AND l.repository_id = ${id}))`;

interface CountedPut {
  repository: RepositoryName;
  digest: Digest;
  /** The number of bytes of the manifest. */
  size: number;
  /** The tags that will name the manifest. */
  tags: readonly string[];
}

const IS_NEW = `NOT EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest)`;

/** SQL: the blobs of `:references` that are linked to the repository and that none of its manifests references yet. */
const ADDED = `FROM (SELECT DISTINCT value ->> 'digest' AS digest FROM json_each(:references)) c
  CROSS JOIN repository_blobs l ON l.digest = c.digest AND l.repository_id = ${REPOSITORY_ID}
  CROSS JOIN blobs b ON b.digest = c.digest
  WHERE NOT EXISTS (SELECT 1 FROM manifest_references x WHERE x.repository_id = ${REPOSITORY_ID} AND x.child = c.digest)`;

/** SQL condition on an added blob: another repository of the namespace, or the trash of one, contains the blob. */
const IS_HELD = `(EXISTS (SELECT 1 FROM repository_blobs o WHERE o.digest = c.digest AND o.repository_id <> l.repository_id
    AND ${namespaceById('o.repository_id')} = :namespace)
  OR EXISTS (SELECT 1 FROM trashed_references o WHERE o.child = c.digest
    AND ${namespaceById('o.repository_id')} = :namespace))`;

/**
 * Adds statements to the batch that update the totals for a put. They must run before the batch writes the manifest. In a
 * namespace with a limit, blobs are added to the usage of the namespace when they are linked (`limit.ts`). In other namespaces
 * they are added here, in one row per image, and the garbage collector corrects the usage after deletions.
 * @param references the references of the manifest, as JSON
 */
export function countPut(batch: Batch, { repository, digest, size, tags }: CountedPut, references: string): void {
  const parameters = { repository, digest, size, tags, references, namespace: organizationAbout(repository) };
  batch.run(
    `INSERT INTO repository_usage (repository_id, bytes, tags, manifests)
     SELECT * FROM (SELECT ${REPOSITORY_ID}, iif(${IS_NEW}, :size + (SELECT coalesce(sum(b.size), 0) ${ADDED}), 0) AS bytes,
       (SELECT count(DISTINCT value) FROM json_each(:tags) n WHERE NOT EXISTS (
         SELECT 1 FROM tags WHERE repository_id = ${REPOSITORY_ID} AND name = n.value)) AS tags, ${IS_NEW} AS manifests)
     WHERE tags > 0 OR manifests > 0
     ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, tags = tags + excluded.tags,
       manifests = manifests + excluded.manifests`,
    parameters,
  );
  batch.run(
    `INSERT INTO usage (namespace, bytes, blobs)
     SELECT :namespace, :size + coalesce(sum(b.size), 0), count(b.size) ${ADDED} AND NOT ${IS_HELD} AND ${IS_NEW}
     HAVING ${IS_NEW} AND NOT EXISTS (SELECT 1 FROM usage WHERE namespace = :namespace AND max_bytes IS NOT NULL)
     ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, blobs = blobs + excluded.blobs`,
    parameters,
  );
}

/**
 * Adds a statement to the batch that updates the number of tags.
 * @param added an SQL expression: the change of the number, negative for deletions
 */
export function countTags(batch: Batch, added: string, parameters: Parameters): void {
  batch.run(
    `UPDATE repository_usage SET tags = max(0, tags + ${added}) WHERE repository_id = ${REPOSITORY_ID} AND ${added} <> 0`,
    parameters,
  );
}

interface Touched {
  /** An SQL expression for the id of the repository, which uses `parameters`. */
  id: string;
  /** A SELECT with a column `child` that yields everything that the manifests reference. It may yield more. */
  children: string;
  parameters: Parameters;
}

/**
 * Updates the totals for a batch that deletes or restores manifests. First subtracts the size of everything that the batch may
 * change. The returned function adds, at the end of the batch, the size of the part that then exists. So no statement needs to
 * know what other manifests reference.
 */
export function rebalanceSums(batch: Batch, { id, children, parameters }: Touched, digests: readonly Digest[]): Closing {
  const held = `coalesce((SELECT sum(b.size) FROM (SELECT DISTINCT child FROM (${children})) c
    CROSS JOIN blobs b ON b.digest = c.child WHERE ${uses(id, 'c.child')}), 0)`;
  const found = `FROM (SELECT DISTINCT value FROM json_each(:touched)) d
    CROSS JOIN manifests m ON m.repository_id = ${id} AND m.digest = d.value`;
  const update = (sign: '-' | '+') =>
    void batch.run(
      `UPDATE repository_usage SET bytes = bytes ${sign} (${held} + coalesce((SELECT sum(m.size) ${found}), 0)),
         manifests = manifests ${sign} (SELECT count(*) ${found}) WHERE repository_id = ${id}`,
      { ...parameters, touched: digests },
    );
  update('-');
  return () => update('+');
}

/** SQL query: the totals of all repositories, counted from their content. */
const COUNTED_ANEW = `SELECT id AS repository_id, sum(bytes) AS bytes, sum(tags) AS tags, sum(manifests) AS manifests FROM (
    SELECT id, 0 AS bytes, 0 AS tags, 0 AS manifests FROM repositories
    UNION ALL SELECT repository_id, 0, count(*), 0 FROM tags GROUP BY repository_id
    UNION ALL SELECT repository_id, sum(size), 0, count(*) FROM manifests GROUP BY repository_id
    UNION ALL SELECT c.repository_id, sum(b.size), 0, 0
      FROM (SELECT DISTINCT repository_id, child FROM manifest_references) c
      CROSS JOIN repository_blobs l ON l.digest = c.child AND l.repository_id = c.repository_id
      CROSS JOIN blobs b ON b.digest = c.child GROUP BY c.repository_id)
  GROUP BY id`;

/**
 * Counts the totals of all repositories and writes the rows that differ, for example because an earlier version of the registry
 * did not update them. The totals of repositories that are being purged may be wrong.
 */
export async function recountSums(env: Database): Promise<void> {
  await prepare(
    env,
    `INSERT INTO repository_usage (repository_id, bytes, tags, manifests)
     SELECT * FROM (${COUNTED_ANEW}) WHERE repository_id IN (SELECT id FROM repositories
       UNION SELECT repository_id FROM trash WHERE kind = 'repository' AND NOT purging)
       AND (bytes > 0 OR tags > 0 OR manifests > 0 OR repository_id IN (SELECT repository_id FROM repository_usage))
     ON CONFLICT DO UPDATE SET bytes = excluded.bytes, tags = excluded.tags, manifests = excluded.manifests
     WHERE (bytes, tags, manifests) <> (excluded.bytes, excluded.tags, excluded.manifests)`,
  ).run();
}
