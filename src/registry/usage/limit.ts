/**
 * What an organization may store. Where there is a limit, the batch that brings something counts it and refuses what does not
 * fit, so that no two pushes can share the room of one; where there is none, nothing is written. What the namespace holds
 * already, in whichever of its repositories or in their trash, costs nothing.
 */
import { type Database, refuseUnless } from '../../events/batch.ts';
import { type Actor, organizationAbout } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Digest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { belongsTo, reaches } from './counting.ts';

export interface Limit {
  namespace: string;
  /** What it stores. */
  bytes: number;
  maxBytes: number;
}

/** SQL: the namespace holds the blob already. */
export const holds = (namespace: string, digest: string) => `(
  EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = ${digest} AND ${belongsTo('l.repository_id', namespace)})
  OR EXISTS (SELECT 1 FROM trashed_references x WHERE x.child = ${digest} AND ${belongsTo('x.repository_id', namespace)}))`;

/** Something that a batch is about to bring. In SQL: its bytes, and whether it is there already; `first` is the number of its first parameter. */
interface Addition {
  namespace: string;
  blobs: 0 | 1;
  parameters: unknown[];
  sql(first: number): { namespace: string; bytes: string; isThere: string };
}

/** For the batch that links a blob, after its row is there and before it is linked. */
export function countBlob(env: Database, repository: RepositoryName, digest: Digest, by: Actor): D1PreparedStatement[] {
  const namespace = organizationAbout(repository);
  return count(env, by, {
    namespace,
    blobs: 1,
    parameters: [namespace, digest],
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
function count(env: Database, by: Actor, { namespace, blobs, parameters, sql }: Addition): D1PreparedStatement[] {
  if (namespace === '') return [];
  const here = sql(1);
  const inEvent = sql(3);
  return [
    refuseUnless(
      env,
      `NOT EXISTS (SELECT 1 FROM usage WHERE namespace = ${here.namespace} AND max_bytes IS NOT NULL
        AND bytes + ${here.bytes} > max_bytes AND NOT ${here.isThere})`,
      ...parameters,
    ),
    record(env, {
      about: `organization:${namespace}`,
      by,
      select: `SELECT 'quota.warned' AS type, json_object('bytes', bytes + ${inEvent.bytes}, 'maxBytes', max_bytes) AS target
        FROM usage WHERE namespace = ${inEvent.namespace} AND max_bytes IS NOT NULL AND warned = 0
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
  max_bytes: number;
}

/** `null`: no limit, or none for this blob, as the namespace holds it already. @param digest `null`: whatever it is */
export async function limitFor(env: Database, repository: RepositoryName, digest: Digest | null): Promise<Limit | null> {
  const row = await env.DB.prepare(
    `SELECT bytes, max_bytes FROM usage WHERE namespace = ?1 AND max_bytes IS NOT NULL AND NOT ${holds('?1', '?2')}`,
  )
    .bind(organizationAbout(repository), digest)
    .first<LimitRow>();
  return row && limitOf(repository, row.bytes, row.max_bytes);
}

/** After a batch was refused: `null` where it was not for want of room. */
export async function manifestOverLimit(env: Database, manifest: CountedManifest): Promise<RegistryError | null> {
  const { repository, digest, size } = manifest;
  const row = await env.DB.prepare(
    `SELECT bytes, max_bytes FROM usage WHERE namespace = ?1 AND max_bytes IS NOT NULL AND NOT ${isManifestThere('?2', '?3')}`,
  )
    .bind(organizationAbout(repository), repository, digest)
    .first<LimitRow>();
  const limit = row && limitOf(repository, row.bytes, row.max_bytes);
  return limit && !fits(limit, size) ? overLimit(limit, size) : null;
}

/** @param maxBytes as the row has it, `null` where there is no limit */
export function limitOf(repository: RepositoryName, bytes: number | null, maxBytes: number | null): Limit | null {
  return maxBytes === null ? null : { namespace: organizationAbout(repository), bytes: bytes ?? 0, maxBytes };
}

export function fits(limit: Limit | null, size: number): boolean {
  return limit === null || limit.bytes + size <= limit.maxBytes;
}

/** @throws DENIED */
export function requireRoom(limit: Limit | null, size: number): void {
  if (limit !== null && !fits(limit, size)) throw overLimit(limit, size);
}

/** The same, asked anew: for a blob whose batch was refused, or that has no session to ask with. @throws DENIED */
export async function requireRoomFor(env: Database, repository: RepositoryName, digest: Digest, size: number): Promise<void> {
  requireRoom(await limitFor(env, repository, digest), size);
}

/** It tells whoever may push there, and it is about that organization alone. @param adds `null`: more than there is room for */
export function overLimit({ namespace, bytes, maxBytes }: Limit, adds: number | null): RegistryError {
  const added =
    adds === null ? `there is room for ${sizeText(Math.max(0, maxBytes - bytes))}` : `this would add ${sizeText(adds)}`;
  return new RegistryError('DENIED', {
    message: `${namespace} may store ${sizeText(maxBytes)} and stores ${sizeText(bytes)}, ${added}: delete images or ask an administrator for more`,
    detail: { organization: namespace, bytes, maxBytes, ...(adds === null ? {} : { adds }) },
  });
}

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Three digits, which is enough to see what is missing: the detail has all of them. */
function sizeText(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${UNITS[power]}`;
}
