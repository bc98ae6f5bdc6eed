/**
 * Enforces the storage limit of a namespace. A batch that adds content to a namespace with a limit also updates its usage. The
 * batch fails if the content does not fit. So two concurrent pushes cannot both use the same free space. For a namespace
 * without a limit nothing is written. Content that the namespace already stores, in any of its repositories or their trash,
 * takes no space. Unfinished uploads take space, too (`staged.ts`).
 */
import type { Batch, Database, Results } from '../../events/batch.ts';
import { type Actor, organizationAbout } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Particulars } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { holds, reaches } from './counting.ts';
import { explained, fits, type Limit, OverLimit, othersStaged } from './staged.ts';

/**
 * An upload whose received bytes are staged. When the upload becomes a blob, these bytes are not counted in addition to the
 * blob.
 */
export interface Staging {
  id: string;
  bytes: number;
}

/** Content that a batch adds to a namespace. */
interface Addition {
  repository: RepositoryName;
  namespace: string;
  by: Actor;
  blobs: 0 | 1;
  /** An SQL expression for the size of the content in bytes. */
  bytes: string;
  /** The number of bytes for the message of the refusal. `null` if `bytes` can also be evaluated outside the batch. */
  size: number | null;
  /** SQL condition: the namespace already stores the content. */
  isHeld: string;
  parameters: Parameters;
  /** The upload that becomes this content, or `null` if no upload has staged bytes for it. */
  staging: Staging | null;
}

interface CountedBlob {
  repository: RepositoryName;
  digest: Digest;
  /** The size in bytes. `null` if the table `blobs` has a row for the blob, which contains the size. */
  size: number | null;
  by: Actor;
  staging: Staging | null;
}

/**
 * Adds statements to the batch that add a blob to the usage of its namespace. The batch fails with `quota-exceeded` if the blob
 * does not fit. The statements must run after the blob has its row and before it is linked to the repository.
 */
export function countBlob(batch: Batch, env: Database, { repository, digest, ...blob }: CountedBlob): void {
  const namespace = organizationAbout(repository);
  count(batch, env, {
    ...blob,
    repository,
    namespace,
    blobs: 1,
    bytes: 'coalesce((SELECT size FROM blobs WHERE digest = :digest), 0)',
    isHeld: holds(':namespace', ':digest'),
    parameters: { namespace, digest },
  });
}

interface CountedManifest {
  repository: RepositoryName;
  digest: Digest;
  size: number;
}

/**
 * Adds statements to the batch that add a manifest to the usage of its namespace. The batch fails with `quota-exceeded` if the
 * manifest does not fit. The statements must run before the manifest has its row.
 */
export function countManifest(batch: Batch, env: Database, { repository, digest, size }: CountedManifest, by: Actor): void {
  const namespace = organizationAbout(repository);
  count(batch, env, {
    repository,
    namespace,
    by,
    blobs: 0,
    bytes: ':size',
    size,
    isHeld: `EXISTS (SELECT 1 FROM manifests
      WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest)`,
    parameters: { namespace, size, repository, digest },
    staging: null,
  });
}

/**
 * Adds statements to the batch that add content to the usage of its namespace. Repositories without a namespace have no limit.
 */
function count(batch: Batch, env: Database, addition: Addition): void {
  const { repository, namespace, by, blobs, bytes, size, isHeld, parameters, staging } = addition;
  if (namespace === '') return;
  batch.require(
    'quota-exceeded',
    `NOT EXISTS (SELECT 1 FROM usage WHERE namespace = :namespace AND max_bytes IS NOT NULL
      AND bytes + ${OTHERS_STAGED} + ${bytes} > max_bytes AND NOT ${isHeld})`,
    { ...parameters, ...stagingParameters(staging) },
    () =>
      limitParticulars(env, repository, staging, { sql: size === null ? bytes : ':size', parameters: { ...parameters, size } }),
  );
  recordEvent(batch, {
    about: `organization:${namespace}`,
    by,
    select: `SELECT 'quota.warned' AS type, json_object('bytes', bytes + ${bytes}, 'maxBytes', max_bytes) AS target
      FROM usage WHERE namespace = :namespace AND kind = 'organization' AND max_bytes IS NOT NULL AND warned = 0
      AND ${reaches(`bytes + ${bytes}`)} AND NOT ${isHeld}`,
    parameters,
  });
  batch.run(
    `UPDATE usage SET bytes = bytes + ${bytes}, blobs = blobs + ${blobs}, warned = max(warned, ${reaches(`bytes + ${bytes}`)})
     WHERE namespace = :namespace AND max_bytes IS NOT NULL AND NOT ${isHeld}`,
    parameters,
  );
}

const OTHERS_STAGED = othersStaged(':stagingId', ':stagingBytes');

function stagingParameters(staging: Staging | null): Parameters {
  return { stagingId: staging?.id ?? null, stagingBytes: staging?.bytes ?? 0 };
}

/**
 * Returns the message and detail of a refusal `quota-exceeded`, or `null` if the content would fit by now.
 * @param adds an SQL expression for the number of bytes to add
 */
export async function limitParticulars(
  env: Database,
  repository: RepositoryName,
  staging: Staging | null,
  adds: { sql: string; parameters: Parameters },
): Promise<Particulars | null> {
  const namespace = organizationAbout(repository);
  const row = await prepare(
    env,
    `SELECT bytes, ${OTHERS_STAGED} AS staged, max_bytes, kind, ${adds.sql} AS adds
     FROM usage WHERE namespace = :namespace AND max_bytes IS NOT NULL`,
    { ...adds.parameters, ...stagingParameters(staging), namespace },
  ).first<LimitRow & { adds: number }>();
  const limit = limitIn(namespace, row);
  if (row === null || limit === null || fits(limit, row.adds)) return null;
  const { message, detail } = await explained(env, repository, new OverLimit(limit, row.adds));
  return { message, detail };
}

interface LimitRow {
  bytes: number | null;
  staged: number | null;
  max_bytes: number | null;
  kind: Limit['kind'] | null;
}

function limitIn(namespace: string, row: LimitRow | null): Limit | null {
  if (!row || row.max_bytes === null) return null;
  const { bytes, staged, max_bytes, kind } = row;
  return { namespace, kind: kind ?? 'organization', bytes: bytes ?? 0, staged: staged ?? 0, maxBytes: max_bytes };
}

/** Returns the storage limit in a row of `usage`, or `null` if there is none. */
export function limitOf(repository: RepositoryName, row: LimitRow | null): Limit | null {
  return limitIn(organizationAbout(repository), row);
}

/**
 * Reads the storage limit of a repository's namespace. Returns `null` if there is no limit, or if the namespace already stores
 * the blob.
 * @param digest the digest of the blob, or `null` if it is not known
 */
export async function limitFor(env: Database, repository: RepositoryName, digest: Digest | null): Promise<Limit | null> {
  return limitOf(repository, await prepare(env, LIMIT, limitParameters(repository, digest)).first<LimitRow>());
}

/**
 * Adds the query of `limitFor` to a batch.
 * @returns a function that reads the limit from the results
 */
export function queryLimit(batch: Batch, repository: RepositoryName, digest: Digest): (results: Results) => Limit | null {
  const row = batch.query<LimitRow>(LIMIT, limitParameters(repository, digest));
  return (results) => limitOf(repository, results.first(row));
}

const LIMIT = `SELECT bytes, staged, max_bytes, kind
  FROM usage WHERE namespace = :namespace AND max_bytes IS NOT NULL AND NOT ${holds(':namespace', ':digest')}`;

function limitParameters(repository: RepositoryName, digest: Digest | null): Parameters {
  return { namespace: organizationAbout(repository), digest };
}
