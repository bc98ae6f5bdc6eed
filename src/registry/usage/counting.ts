/**
 * SQL that counts the bytes that a namespace stores. It counts each blob once, even if several repositories of the namespace
 * contain it; the manifests; and the content of the trash, whose bytes still exist. Counting reads every link between a
 * repository and a blob in the registry, because links are keyed by digest. An index by repository would cost one more written
 * row for each link.
 *
 * A batch that removes or restores content updates the stored usage in two steps. The first step subtracts the size of all
 * content that the batch may change. The last step adds the size of the part that the namespace still stores. So no batch needs
 * to know which of its deletions free bytes. For a namespace without a limit, neither step writes anything.
 */
import type { Batch } from '../../events/batch.ts';
import { organizationAbout } from '../../events/event.ts';
import type { Parameters } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';

/**
 * Returns an SQL expression: the namespace of a repository's name, for example `acme` for `acme/api`. It is empty for a name
 * without a slash.
 */
export const namespaceSql = (name: string) => `substr(${name}, 1, max(0, instr(${name}, '/') - 1))`;

/** Returns an SQL condition: the repository with this name is in the namespace. `0` is the character after the slash. */
const isIn = (name: string, namespace: string) => `${name} > ${namespace} || '/' AND ${name} < ${namespace} || '0'`;

/** Returns an SQL condition: the repository with this id is in the namespace, or was before it was moved to the trash. */
const belongsTo = (id: string, namespace: string) => `(
  EXISTS (SELECT 1 FROM repositories r WHERE r.id = ${id} AND ${isIn('r.name', namespace)})
  OR EXISTS (SELECT 1 FROM trash t WHERE t.repository_id = ${id} AND t.kind = 'repository' AND t.name = ''
    AND ${isIn('t.repository', namespace)}))`;

/** Returns an SQL condition: a repository of the namespace, or its trash, contains the blob. */
export const holds = (namespace: string, digest: string) => `(
  EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = ${digest} AND ${belongsTo('l.repository_id', namespace)})
  OR EXISTS (SELECT 1 FROM trashed_references x WHERE x.child = ${digest} AND ${belongsTo('x.repository_id', namespace)}))`;

/**
 * Returns an SQL expression: the namespace of the repository with this id, which may be in the trash. NULL if there is no such
 * repository.
 */
export const namespaceById = (id: string) => `coalesce((SELECT ${namespaceSql('name')} FROM repositories WHERE id = ${id}),
  (SELECT ${namespaceSql('repository')} FROM trash WHERE repository_id = ${id} AND kind = 'repository' AND name = ''))`;

/**
 * Returns an SQL condition on a repository's name. With the scope `namespace`, it restricts a query to the namespace
 * `:namespace`.
 */
export const within = (scope: 'all' | 'namespace', name: string) => (scope === 'all' ? 'TRUE' : isIn(name, ':namespace'));

/**
 * Returns an SQL query: the id and namespace of each repository, and whether it is in the trash. Either of all namespaces or of
 * `:namespace`.
 */
export const repositoriesOf = (scope: 'all' | 'namespace') => `SELECT id, ${namespaceSql('name')} AS namespace, 0 AS trashed
    FROM repositories WHERE ${within(scope, 'name')}
  UNION ALL SELECT repository_id, ${namespaceSql('repository')}, 1
    FROM trash WHERE kind = 'repository' AND ${within(scope, 'repository')}`;

/**
 * SQL query: the number of bytes and of blobs that each namespace stores. It needs a table `own` with the repositories. The
 * joins are in the order for which indexes exist.
 */
export const COUNTED = `SELECT namespace, sum(size) AS bytes, count(*) AS blobs FROM (
    SELECT own.namespace, l.digest FROM repository_blobs l CROSS JOIN own ON own.id = l.repository_id
    UNION SELECT own.namespace, x.child FROM trashed_references x CROSS JOIN own ON own.id = x.repository_id
  ) CROSS JOIN blobs USING (digest) GROUP BY namespace
  UNION ALL SELECT own.namespace, sum(m.size), 0 FROM own CROSS JOIN manifests m ON m.repository_id = own.id GROUP BY namespace
  UNION ALL SELECT own.namespace, sum(m.size), 0
    FROM own CROSS JOIN trashed_manifests m ON m.repository_id = own.id GROUP BY namespace`;

/** Returns an SQL condition on a row of `usage`: this number of bytes reaches the warning threshold of the limit. */
export const reaches = (bytes: string) => `((${bytes}) * 100 >= max_bytes * warn_percent)`;

/** The default warning threshold, in percent of the limit. */
export const WARN_PERCENT = 80;

/** Adds the last step of a two-step update to the batch. Must be called once, after the statements that change the content. */
export type Closing = () => void;

interface Touched {
  /** An SQL condition that selects the rows of `usage` to update. */
  where: string;
  /**
   * SQL expressions on a row of `usage`: how many bytes, and how many blobs, the namespace stores of the content that the batch
   * may change.
   */
  bytes: string;
  blobs: string;
  parameters: Parameters;
}

function rebalance(batch: Batch, { where, bytes, blobs, parameters }: Touched): Closing {
  const limited = `max_bytes IS NOT NULL AND namespace <> '' AND ${where}`;
  const update = (sign: '-' | '+', rest: string) =>
    batch.run(
      `UPDATE usage SET bytes = bytes ${sign} ${bytes}, blobs = blobs ${sign} ${blobs} ${rest} WHERE ${limited}`,
      parameters,
    );
  update('-', '');
  return () => void update('+', `, warned = iif(${reaches(`bytes + ${bytes}`)}, warned, 0)`);
}

/**
 * Adds the first step of a two-step update to the batch, for manifests of one repository and of its trash.
 * @param repository.id an SQL expression for the id of the repository, which uses `repository.parameters`
 * @returns a function that adds the last step
 */
export function rebalanceManifests(
  batch: Batch,
  repository: { id: string; parameters: Parameters },
  digests: readonly Digest[],
): Closing {
  const sizes = (table: string) => `coalesce((SELECT sum(m.size) FROM (SELECT DISTINCT value FROM json_each(:digests)) d
    CROSS JOIN ${table} m ON m.repository_id = ${repository.id} AND m.digest = d.value), 0)`;
  return rebalance(batch, {
    where: `namespace = ${namespaceById(repository.id)}`,
    bytes: `(${sizes('manifests')} + ${sizes('trashed_manifests')})`,
    blobs: '0',
    parameters: { ...repository.parameters, digests },
  });
}

/**
 * Adds the first step of a two-step update to the batch, for blobs of repositories.
 * @param keys pairs of a digest and the id of a repository. Further elements of a pair are ignored
 * @returns a function that adds the last step
 */
export function rebalanceBlobs(batch: Batch, keys: readonly (readonly (string | number)[])[]): Closing {
  const holders = 'SELECT DISTINCT value ->> 1 AS holder FROM json_each(:keys)';
  return rebalance(batch, {
    where: `namespace IN (SELECT ${namespaceById('k.holder')} FROM (${holders}) k)`,
    ...heldOf('SELECT DISTINCT value ->> 0 AS digest FROM json_each(:keys)'),
    parameters: { keys },
  });
}

/**
 * Adds the first step of a two-step update to the batch, for one blob of a repository.
 * @returns a function that adds the last step
 */
export function rebalanceBlob(batch: Batch, repository: RepositoryName, digest: Digest): Closing {
  return rebalance(batch, {
    where: 'namespace = :namespace',
    ...heldOf('SELECT :digest AS digest'),
    parameters: { namespace: organizationAbout(repository), digest },
  });
}

/**
 * Returns SQL expressions: how many bytes, and how many blobs, of the given digests a namespace stores.
 * @param digests a SELECT of digests
 */
function heldOf(digests: string): Pick<Touched, 'bytes' | 'blobs'> {
  const sum = (what: string) => `coalesce((SELECT ${what} FROM (${digests}) d
    CROSS JOIN blobs b ON b.digest = d.digest WHERE ${holds('usage.namespace', 'd.digest')}), 0)`;
  return { bytes: sum('sum(b.size)'), blobs: sum('count(*)') };
}

/**
 * Adds a statement to the batch that counts all content of a namespace anew if the namespace has a limit. Used for changes
 * whose blobs cannot be found by an index. The statement reads every link between a repository and a blob in the registry.
 */
export function recountLimited(batch: Batch, namespace: string): void {
  batch.run(
    `UPDATE usage SET (bytes, blobs) = (
       WITH own AS MATERIALIZED (${repositoriesOf('namespace')}), counted AS (${COUNTED} UNION ALL SELECT :namespace, 0, 0)
       SELECT sum(bytes), sum(blobs) FROM counted)
     WHERE namespace = :namespace AND namespace <> '' AND max_bytes IS NOT NULL`,
    { namespace },
  );
}
