/**
 * What a namespace may store. Where there is a limit, the batch that brings something counts it and refuses what does not
 * fit, so that no two pushes can share the room of one; where there is none, nothing is written. What the namespace holds
 * already, in whichever of its repositories or in their trash, costs nothing. Unfinished uploads take room too (`staged.ts`).
 */
import { type Database, refuseUnless } from '../../events/batch.ts';
import { type Actor, organizationAbout } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Refusal } from '../../vocabulary/refusal.ts';
import { holds, reaches } from './counting.ts';
import { explained, fits, type Limit, OverLimit } from './room.ts';
import { othersStaged } from './staged.ts';

/** An upload that has staged something: its own bytes leave room for what it becomes. */
export interface Staging {
  id: string;
  bytes: number;
}

/** Something that a batch is about to bring. In SQL: its bytes, and whether it is there already; `first` is the number of its first parameter. */
interface Addition {
  namespace: string;
  blobs: 0 | 1;
  parameters: unknown[];
  /** The upload that becomes it, if it has staged something. */
  staging: Staging | null;
  sql(first: number): { namespace: string; bytes: string; isThere: string };
}

/** For the batch that links a blob, after its row is there and before it is linked. @param staging the upload that becomes it */
export function countBlob(
  env: Database,
  repository: RepositoryName,
  digest: Digest,
  { by, staging }: { by: Actor; staging: Staging | null },
): D1PreparedStatement[] {
  const namespace = organizationAbout(repository);
  return count(env, by, {
    namespace,
    blobs: 1,
    parameters: [namespace, digest],
    staging,
    sql: (first) => ({
      namespace: `?${first}`,
      bytes: `coalesce((SELECT size FROM blobs WHERE digest = ?${first + 1}), 0)`,
      isThere: holds(`?${first}`, `?${first + 1}`),
    }),
  });
}

interface CountedManifest {
  repository: RepositoryName;
  digest: Digest;
  size: number;
}

/** For the batch that puts a manifest, before its row is written. */
export function countManifest(env: Database, manifest: CountedManifest, by: Actor): D1PreparedStatement[] {
  const { repository, digest, size } = manifest;
  const namespace = organizationAbout(repository);
  return count(env, by, {
    namespace,
    blobs: 0,
    parameters: [namespace, size, repository, digest],
    staging: null,
    sql: (first) => ({
      namespace: `?${first}`,
      bytes: `?${first + 1}`,
      isThere: isManifestThere(`?${first + 2}`, `?${first + 3}`),
    }),
  });
}

const isManifestThere = (repository: string, digest: string) => `EXISTS (SELECT 1 FROM manifests
  WHERE repository_id = (SELECT id FROM repositories WHERE name = ${repository}) AND digest = ${digest})`;

/** Refuses the batch where it does not fit, warns once, and adds it. Names without a namespace can have no limit. */
function count(env: Database, by: Actor, { namespace, blobs, parameters, staging, sql }: Addition): D1PreparedStatement[] {
  if (namespace === '') return [];
  const here = sql(1);
  const inEvent = sql(3);
  const staged = othersStaged(`?${parameters.length + 1}`, `?${parameters.length + 2}`);
  return [
    refuseUnless(
      env,
      `NOT EXISTS (SELECT 1 FROM usage WHERE namespace = ${here.namespace} AND max_bytes IS NOT NULL
        AND bytes + ${staged} + ${here.bytes} > max_bytes AND NOT ${here.isThere})`,
      ...parameters,
      staging?.id ?? null,
      staging?.bytes ?? 0,
    ),
    record(env, {
      about: `organization:${namespace}`,
      by,
      select: `SELECT 'quota.warned' AS type, json_object('bytes', bytes + ${inEvent.bytes}, 'maxBytes', max_bytes) AS target
        FROM usage WHERE namespace = ${inEvent.namespace} AND kind = 'organization' AND max_bytes IS NOT NULL AND warned = 0
        AND ${reaches(`bytes + ${inEvent.bytes}`)} AND NOT ${inEvent.isThere}`,
      parameters,
    }),
    env.DB.prepare(
      `UPDATE usage SET bytes = bytes + ${here.bytes}, blobs = blobs + ${blobs},
         warned = max(warned, ${reaches(`bytes + ${here.bytes}`)})
       WHERE namespace = ${here.namespace} AND max_bytes IS NOT NULL AND NOT ${here.isThere}`,
    ).bind(...parameters),
  ];
}

interface LimitRow {
  bytes: number;
  staged: number;
  max_bytes: number;
  kind: Limit['kind'];
}

/** @param row as the database has it; `max_bytes` is `null` where there is no limit */
export function limitOf(
  repository: RepositoryName,
  row: { [name in keyof LimitRow]: LimitRow[name] | null } | null,
): Limit | null {
  if (!row || row.max_bytes === null) return null;
  const { bytes, staged, max_bytes, kind } = row;
  return {
    namespace: organizationAbout(repository),
    kind: kind ?? 'organization',
    bytes: bytes ?? 0,
    staged: staged ?? 0,
    maxBytes: max_bytes,
  };
}

/**
 * `null`: no limit, or none for this blob, as the namespace holds it already.
 * @param digest `null`: whatever it is
 * @param staging the upload that is to become it, `null` where nothing of it is staged
 */
export async function limitFor(
  env: Database,
  repository: RepositoryName,
  digest: Digest | null,
  staging: Staging | null = null,
): Promise<Limit | null> {
  const row = await env.DB.prepare(
    `SELECT bytes, ${othersStaged('?3', '?4')} AS staged, max_bytes, kind
     FROM usage WHERE namespace = ?1 AND max_bytes IS NOT NULL AND NOT ${holds('?1', '?2')}`,
  )
    .bind(organizationAbout(repository), digest, staging?.id ?? null, staging?.bytes ?? 0)
    .first<LimitRow>();
  return limitOf(repository, row);
}

/** After a batch was refused: `null` where it was not for want of room. */
export async function manifestOverLimit(env: Database, manifest: CountedManifest): Promise<Refusal | null> {
  const { repository, digest, size } = manifest;
  const row = await env.DB.prepare(
    `SELECT bytes, staged, max_bytes, kind FROM usage
     WHERE namespace = ?1 AND max_bytes IS NOT NULL AND NOT ${isManifestThere('?2', '?3')}`,
  )
    .bind(organizationAbout(repository), repository, digest)
    .first<LimitRow>();
  const limit = limitOf(repository, row);
  return limit && !fits(limit, size) ? explained(env, new OverLimit(limit, size)) : null;
}

/**
 * For a blob whose batch was refused, or that has no session to ask with. @throws quota-exceeded
 */
export async function requireRoomFor(
  env: Database,
  repository: RepositoryName,
  digest: Digest,
  { size, staging }: { size: number; staging: Staging | null },
): Promise<void> {
  const limit = await limitFor(env, repository, digest, staging);
  if (!fits(limit, size)) throw await explained(env, new OverLimit(limit as Limit, size));
}
