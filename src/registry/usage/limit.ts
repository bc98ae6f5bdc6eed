/**
 * The limit of a namespace. The batch that brings content to a namespace with a limit counts it, and is refused if it does not
 * fit, so that two concurrent pushes cannot both use the same free space. For a namespace without a limit nothing is written.
 * Content that the namespace holds already, in any of its repositories or their trash, costs nothing. Unfinished uploads take
 * space too (`staged.ts`).
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

/** An upload that has staged bytes. Its own bytes do not take space from the blob that it becomes. */
export interface Staging {
  id: string;
  bytes: number;
}

/** Content that a batch brings to a namespace. */
interface Addition {
  namespace: string;
  by: Actor;
  blobs: 0 | 1;
  /** SQL: its bytes. */
  bytes: string;
  /** Its bytes, for the refusal; `null`: SQL knows them outside of the batch too. */
  size: number | null;
  /** SQL condition: the namespace holds it already. */
  isHeld: string;
  parameters: Parameters;
  /** The upload that becomes it; `null` if none has staged bytes. */
  staging: Staging | null;
}

interface CountedBlob {
  repository: RepositoryName;
  digest: Digest;
  /** `null`: the blob has a row already. */
  size: number | null;
  by: Actor;
  staging: Staging | null;
}

/** Counts a blob, or refuses the batch with `quota-exceeded`. The blob has its row at this point, but no link yet. */
export function countBlob(batch: Batch, env: Database, { repository, digest, ...blob }: CountedBlob): void {
  const namespace = organizationAbout(repository);
  count(batch, env, {
    ...blob,
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

/** Counts a manifest, or refuses the batch with `quota-exceeded`. The manifest has no row yet at this point. */
export function countManifest(batch: Batch, env: Database, { repository, digest, size }: CountedManifest, by: Actor): void {
  const namespace = organizationAbout(repository);
  count(batch, env, {
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

/** A name without a namespace has no limit. */
function count(batch: Batch, env: Database, addition: Addition): void {
  const { namespace, by, blobs, bytes, size, isHeld, parameters, staging } = addition;
  if (namespace === '') return;
  batch.require(
    'quota-exceeded',
    `NOT EXISTS (SELECT 1 FROM usage WHERE namespace = :namespace AND max_bytes IS NOT NULL
      AND bytes + ${OTHERS_STAGED} + ${bytes} > max_bytes AND NOT ${isHeld})`,
    { ...parameters, ...stagingParameters(staging) },
    () =>
      limitParticulars(env, namespace, staging, { sql: size === null ? bytes : ':size', parameters: { ...parameters, size } }),
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
 * The particulars of a refusal for the limit; `null` if the content would fit by now.
 * @param adds SQL: the bytes that do not fit
 */
export async function limitParticulars(
  env: Database,
  namespace: string,
  staging: Staging | null,
  adds: { sql: string; parameters: Parameters },
): Promise<Particulars | null> {
  const row = await prepare(
    env,
    `SELECT bytes, ${OTHERS_STAGED} AS staged, max_bytes, kind, ${adds.sql} AS adds
     FROM usage WHERE namespace = :namespace AND max_bytes IS NOT NULL`,
    { ...adds.parameters, ...stagingParameters(staging), namespace },
  ).first<LimitRow & { adds: number }>();
  const limit = limitIn(namespace, row);
  if (row === null || limit === null || fits(limit, row.adds)) return null;
  const { message, detail } = await explained(env, new OverLimit(limit, row.adds));
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

/** @param row as the database has it; `max_bytes` is `null` if there is no limit */
export function limitOf(repository: RepositoryName, row: LimitRow | null): Limit | null {
  return limitIn(organizationAbout(repository), row);
}

/**
 * The limit of a repository's namespace; `null` if there is none, or if the namespace holds the blob already.
 * @param digest `null`: any blob
 */
export async function limitFor(env: Database, repository: RepositoryName, digest: Digest | null): Promise<Limit | null> {
  return limitOf(repository, await prepare(env, LIMIT, limitParameters(repository, digest)).first<LimitRow>());
}

/** The same as a part of a batch. @returns reads it from the results */
export function queryLimit(batch: Batch, repository: RepositoryName, digest: Digest): (results: Results) => Limit | null {
  const row = batch.query<LimitRow>(LIMIT, limitParameters(repository, digest));
  return (results) => limitOf(repository, results.first(row));
}

const LIMIT = `SELECT bytes, staged, max_bytes, kind
  FROM usage WHERE namespace = :namespace AND max_bytes IS NOT NULL AND NOT ${holds(':namespace', ':digest')}`;

function limitParameters(repository: RepositoryName, digest: Digest | null): Parameters {
  return { namespace: organizationAbout(repository), digest };
}
