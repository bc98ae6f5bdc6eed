/**
 * Keeps the counters of limited namespaces right in the batches that take content away or bring it back. Such a batch begins with a
 * statement that subtracts what it is about to touch, and ends with one that adds what is still held of it. So no batch needs to
 * know which of its deletions free bytes. Without a limit, both statements write nothing.
 */
import type { Database } from '../../events/batch.ts';
import { organizationAbout } from '../../events/event.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { COUNTED, holds, namespaceById, reaches, repositoriesOf } from './counting.ts';

export interface Balance {
  before: D1PreparedStatement;
  after: D1PreparedStatement;
}

interface Touched {
  /** SQL: the rows of `usage` that are concerned. */
  where: string;
  /** SQL of a row of `usage`: the bytes and the blobs that it holds of what is touched. */
  bytes: string;
  blobs: string;
  parameters: unknown[];
}

function balance(env: Database, { where, bytes, blobs, parameters }: Touched): Balance {
  const limited = `max_bytes IS NOT NULL AND namespace <> '' AND ${where}`;
  const update = (sign: '-' | '+', rest: string) =>
    env.DB.prepare(
      `UPDATE usage SET bytes = bytes ${sign} ${bytes}, blobs = blobs ${sign} ${blobs} ${rest} WHERE ${limited}`,
    ).bind(...parameters);
  return {
    before: update('-', ''),
    after: update('+', `, warned = iif(${reaches(`bytes + ${bytes}`)}, warned, 0)`),
  };
}

/** For manifests of one repository, and those of its trash. @param repository its id, as SQL with the parameter ?1 */
export function balanceManifests(
  env: Database,
  repository: { sql: string; parameter: string | number },
  digests: readonly Digest[],
): Balance {
  const { sql, parameter } = repository;
  const sizes = (table: string) => `coalesce((SELECT sum(m.size) FROM (SELECT DISTINCT value FROM json_each(?2)) d
    CROSS JOIN ${table} m ON m.repository_id = ${sql} AND m.digest = d.value), 0)`;
  return balance(env, {
    where: `namespace = ${namespaceById(sql)}`,
    bytes: `(${sizes('manifests')} + ${sizes('trashed_manifests')})`,
    blobs: '0',
    parameters: [parameter, JSON.stringify(digests)],
  });
}

/** For blobs that repositories hold. @param keys a digest and the id of a repository each; what follows is not read */
export function balanceBlobs(env: Database, keys: readonly (readonly (string | number)[])[]): Balance {
  const holders = 'SELECT DISTINCT value ->> 1 AS holder FROM json_each(?1)';
  return balance(env, {
    where: `namespace IN (SELECT ${namespaceById('k.holder')} FROM (${holders}) k)`,
    ...held('SELECT DISTINCT value ->> 0 AS digest FROM json_each(?1)'),
    parameters: [JSON.stringify(keys)],
  });
}

/** For one blob of a repository. */
export function balanceBlob(env: Database, repository: RepositoryName, digest: Digest): Balance {
  return balance(env, {
    where: 'namespace = ?1',
    ...held('SELECT ?2 AS digest'),
    parameters: [organizationAbout(repository), digest],
  });
}

/** @param digests a SELECT of digests */
function held(digests: string): Pick<Touched, 'bytes' | 'blobs'> {
  const sum = (what: string) => `coalesce((SELECT ${what} FROM (${digests}) d
    CROSS JOIN blobs b ON b.digest = d.digest WHERE ${holds('usage.namespace', 'd.digest')}), 0)`;
  return { bytes: sum('sum(b.size)'), blobs: sum('count(*)') };
}

/** Counts a limited namespace anew: for changes whose blobs no index finds. Reads every link of the registry. */
export function recountLimited(env: Database, namespace: string): D1PreparedStatement {
  return env.DB.prepare(
    `UPDATE usage SET (bytes, blobs) = (
       WITH own AS MATERIALIZED (${repositoriesOf('?1')}), counted AS (${COUNTED} UNION ALL SELECT ?1, 0, 0)
       SELECT sum(bytes), sum(blobs) FROM counted)
     WHERE namespace = ?1 AND namespace <> '' AND max_bytes IS NOT NULL`,
  ).bind(namespace);
}
