/**
 * SQL that counts what a namespace stores: each blob once, however many of its repositories hold it; their manifests; and what
 * is in the trash, as its bytes still exist. Counting reads every link of the registry: links are keyed by digest, and an index
 * by repository would cost one more row written for each.
 *
 * A batch that removes content or brings it back first subtracts what it is about to touch from the counter of the namespace,
 * and at its end adds what is still held of it. So no batch needs to know which of its deletions free bytes. For a namespace
 * without a limit neither step writes anything.
 */
import type { Batch } from '../../events/batch.ts';
import { organizationAbout } from '../../events/event.ts';
import type { Parameters } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';

/** SQL: `acme` of `acme/api`; empty for a name without a slash. */
export const namespaceSql = (name: string) => `substr(${name}, 1, max(0, instr(${name}, '/') - 1))`;

/** SQL condition: the repository of this name is in the namespace. `0` is the character after the slash. */
const isIn = (name: string, namespace: string) => `${name} > ${namespace} || '/' AND ${name} < ${namespace} || '0'`;

/** SQL condition: the repository with this id is in the namespace, or was before it came into the trash. */
const belongsTo = (id: string, namespace: string) => `(
  EXISTS (SELECT 1 FROM repositories r WHERE r.id = ${id} AND ${isIn('r.name', namespace)})
  OR EXISTS (SELECT 1 FROM trash t WHERE t.repository_id = ${id} AND t.kind = 'repository' AND t.name = ''
    AND ${isIn('t.repository', namespace)}))`;

/** SQL condition: a repository of the namespace, or its trash, holds the blob. */
export const holds = (namespace: string, digest: string) => `(
  EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = ${digest} AND ${belongsTo('l.repository_id', namespace)})
  OR EXISTS (SELECT 1 FROM trashed_references x WHERE x.child = ${digest} AND ${belongsTo('x.repository_id', namespace)}))`;

/** SQL: the namespace of the repository with this id, even if that is in the trash; NULL if there is none. */
export const namespaceById = (id: string) => `coalesce((SELECT ${namespaceSql('name')} FROM repositories WHERE id = ${id}),
  (SELECT ${namespaceSql('repository')} FROM trash WHERE repository_id = ${id} AND kind = 'repository' AND name = ''))`;

/** SQL: a condition on a repository's name that restricts a query to `:namespace`. */
export const within = (scope: 'all' | 'namespace', name: string) => (scope === 'all' ? 'TRUE' : isIn(name, ':namespace'));

/** SQL: the ids of repositories, with namespace, and whether they are in the trash. Of all namespaces, or of `:namespace`. */
export const repositoriesOf = (scope: 'all' | 'namespace') => `SELECT id, ${namespaceSql('name')} AS namespace, 0 AS trashed
    FROM repositories WHERE ${within(scope, 'name')}
  UNION ALL SELECT repository_id, ${namespaceSql('repository')}, 1
    FROM trash WHERE kind = 'repository' AND ${within(scope, 'repository')}`;

/**
 * SQL: what each namespace holds; needs the repositories as `own`. The order of the joins is the one that the indexes serve.
 */
export const COUNTED = `SELECT namespace, sum(size) AS bytes, count(*) AS blobs FROM (
    SELECT own.namespace, l.digest FROM repository_blobs l CROSS JOIN own ON own.id = l.repository_id
    UNION SELECT own.namespace, x.child FROM trashed_references x CROSS JOIN own ON own.id = x.repository_id
  ) CROSS JOIN blobs USING (digest) GROUP BY namespace
  UNION ALL SELECT own.namespace, sum(m.size), 0 FROM own CROSS JOIN manifests m ON m.repository_id = own.id GROUP BY namespace
  UNION ALL SELECT own.namespace, sum(m.size), 0
    FROM own CROSS JOIN trashed_manifests m ON m.repository_id = own.id GROUP BY namespace`;

/** SQL condition on a row of `usage`: so many bytes reach the threshold at which the namespace is warned. */
export const reaches = (bytes: string) => `((${bytes}) * 100 >= max_bytes * warn_percent)`;

/** The default threshold of a warning, in percent of the limit. */
export const WARN_PERCENT = 80;

/** Adds the closing step. Call it once, after the steps that change the content. */
export type Closing = () => void;

interface Touched {
  /** SQL condition: the rows of `usage` that are concerned. */
  where: string;
  /** SQL on a row of `usage`: the bytes and the number of blobs that it holds of what is touched. */
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

/** For manifests of one repository and of its trash. @param repository.id SQL: its id, in terms of `parameters` */
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

/** For blobs that repositories hold. @param keys pairs of a digest and the id of a repository; further elements are ignored */
export function rebalanceBlobs(batch: Batch, keys: readonly (readonly (string | number)[])[]): Closing {
  const holders = 'SELECT DISTINCT value ->> 1 AS holder FROM json_each(:keys)';
  return rebalance(batch, {
    where: `namespace IN (SELECT ${namespaceById('k.holder')} FROM (${holders}) k)`,
    ...heldOf('SELECT DISTINCT value ->> 0 AS digest FROM json_each(:keys)'),
    parameters: { keys },
  });
}

/** For one blob of a repository. */
export function rebalanceBlob(batch: Batch, repository: RepositoryName, digest: Digest): Closing {
  return rebalance(batch, {
    where: 'namespace = :namespace',
    ...heldOf('SELECT :digest AS digest'),
    parameters: { namespace: organizationAbout(repository), digest },
  });
}

/** @param digests a SELECT of digests */
function heldOf(digests: string): Pick<Touched, 'bytes' | 'blobs'> {
  const sum = (what: string) => `coalesce((SELECT ${what} FROM (${digests}) d
    CROSS JOIN blobs b ON b.digest = d.digest WHERE ${holds('usage.namespace', 'd.digest')}), 0)`;
  return { bytes: sum('sum(b.size)'), blobs: sum('count(*)') };
}

/**
 * Adds a step that counts a namespace with a limit anew, for changes whose blobs no index finds. Reads every link of the
 * registry.
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
