/**
 * How a namespace's holdings are counted, in SQL: each blob once, however many of its repositories hold it, their manifests, and
 * what is in the trash, as it is still there. Counting reads every link of the registry: links stand by digest, and an index by
 * repository would cost a row written for each of them.
 */

/** SQL: `acme` of `acme/api`, empty where there is no slash. */
export const namespaceOf = (name: string) => `substr(${name}, 1, max(0, instr(${name}, '/') - 1))`;

/** SQL: the name is one of a repository of the namespace. `0` is what comes after the slash. */
export const isIn = (name: string, namespace: string) => `${name} > ${namespace} || '/' AND ${name} < ${namespace} || '0'`;

/** SQL: the repository with this id is one of the namespace, or one of it that is in the trash. */
export const belongsTo = (id: string, namespace: string) => `(
  EXISTS (SELECT 1 FROM repositories r WHERE r.id = ${id} AND ${isIn('r.name', namespace)})
  OR EXISTS (SELECT 1 FROM trash t WHERE t.repository_id = ${id} AND t.kind = 'repository' AND t.name = ''
    AND ${isIn('t.repository', namespace)}))`;

/** SQL: the namespace holds the blob, in one of its repositories or in their trash. */
export const holds = (namespace: string, digest: string) => `(
  EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = ${digest} AND ${belongsTo('l.repository_id', namespace)})
  OR EXISTS (SELECT 1 FROM trashed_references x WHERE x.child = ${digest} AND ${belongsTo('x.repository_id', namespace)}))`;

/** SQL: the namespace of the repository with this id, be it in the trash; NULL where there is none. */
export const namespaceById = (id: string) => `coalesce((SELECT ${namespaceOf('name')} FROM repositories WHERE id = ${id}),
  (SELECT ${namespaceOf('repository')} FROM trash WHERE repository_id = ${id} AND kind = 'repository' AND name = ''))`;

/** SQL: repositories by id with their namespace, and those in the trash. Of all namespaces, or of ?1. */
export const repositoriesOf = (namespaces: 'all' | '?1') => `SELECT id, ${namespaceOf('name')} AS namespace, 0 AS trashed
    FROM repositories ${namespaces === 'all' ? '' : `WHERE ${isIn('name', '?1')}`}
  UNION ALL SELECT repository_id, ${namespaceOf('repository')}, 1
    FROM trash WHERE kind = 'repository' ${namespaces === 'all' ? '' : `AND ${isIn('repository', '?1')}`}`;

/** SQL, with these repositories as `own`: what each namespace holds. The order of the joins is the one that indexes serve. */
export const COUNTED = `SELECT namespace, sum(size) AS bytes, count(*) AS blobs FROM (
    SELECT own.namespace, l.digest FROM repository_blobs l CROSS JOIN own ON own.id = l.repository_id
    UNION SELECT own.namespace, x.child FROM trashed_references x CROSS JOIN own ON own.id = x.repository_id
  ) CROSS JOIN blobs USING (digest) GROUP BY namespace
  UNION ALL SELECT own.namespace, sum(m.size), 0 FROM own CROSS JOIN manifests m ON m.repository_id = own.id GROUP BY namespace
  UNION ALL SELECT own.namespace, sum(m.size), 0
    FROM own CROSS JOIN trashed_manifests m ON m.repository_id = own.id GROUP BY namespace`;

/** SQL: so many bytes are as much as the namespace's limit warns of. */
export const reaches = (bytes: string) => `((${bytes}) * 100 >= max_bytes * warn_percent)`;

/** Percent of the limit that are warned of, where nothing was ever said. */
export const WARN_PERCENT = 80;
