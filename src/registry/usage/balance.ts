/**
 * Keeps the counters of namespaces with a limit right in batches that remove content or bring it back. Such a batch first subtracts
 * what it is about to touch, and at its end adds what is still held of it. So no batch needs to know which of its deletions free
 * bytes. For a namespace without a limit neither step writes anything.
 */
import type { Batch } from '../../events/batch.ts';
import { organizationAbout } from '../../events/event.ts';
import type { Parameters } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { COUNTED, holds, namespaceById, reaches, repositoriesOf } from './counting.ts';

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

/** Adds a step that counts a namespace with a limit anew, for changes whose blobs no index finds. Reads every link of the registry. */
export function recountLimited(batch: Batch, namespace: string): void {
  batch.run(
    `UPDATE usage SET (bytes, blobs) = (
       WITH own AS MATERIALIZED (${repositoriesOf('namespace')}), counted AS (${COUNTED} UNION ALL SELECT :namespace, 0, 0)
       SELECT sum(bytes), sum(blobs) FROM counted)
     WHERE namespace = :namespace AND namespace <> '' AND max_bytes IS NOT NULL`,
    { namespace },
  );
}
