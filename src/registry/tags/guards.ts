/** What a put of a manifest must meet beside its references: rights to its tags, their immutability, the client's conditions. */
import { type Database, refuseUnless } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import type { Condition } from '../../oci/condition.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { HERE } from '../repositories/repositories.ts';
import { guardImmutable, type Judgement } from './mutability.ts';

/** Of tags that are about to name a manifest: which may be made where they are not there, and moved where they are. */
export interface TagRights {
  notToMake: Tag[];
  notToMove: Tag[];
}

/** What a condition is about: tags, or where there are none, the manifest. */
export interface Conditional {
  repository: RepositoryName;
  digest: Digest;
  tags: Tag[];
  condition: Condition | null;
}

export interface TagPut extends TagRights, Conditional {}

export interface ManifestPut extends TagPut {
  manifest: Manifest;
  /** Bytes. */
  size: number;
  by: Actor;
  /** Whether whoever puts it may make the repository, where that is not there yet. */
  mayCreate: boolean;
}

/** Tags of ?2 that exist and name something else than ?3. */
export const MOVING = `SELECT name, digest FROM tags WHERE repository_id = ${HERE} AND name IN (SELECT value FROM json_each(?2)) AND digest <> ?3`;

/** Tags of ?2 that do not exist. */
export const MAKING = `SELECT value AS name FROM json_each(?2)
  WHERE NOT EXISTS (SELECT 1 FROM tags WHERE repository_id = ${HERE} AND name = value)`;

/** Tags of ?2 that name something else than ?3, or did when they were deleted and reserved for it: what immutability forbids. */
export const CONTESTED = `SELECT value AS name, coalesce(t.digest, h.previous) AS digest FROM json_each(?2)
  LEFT JOIN tags t ON t.repository_id = ${HERE} AND t.name = value
  LEFT JOIN tag_history h ON t.name IS NULL AND h.repository_id = ${HERE} AND h.tag = value AND h.reserved
    AND h.point = (SELECT max(point) FROM tag_history l WHERE l.repository_id = ${HERE} AND l.tag = value)
  WHERE coalesce(t.digest, h.previous) <> ?3`;

/** What each tag of ?2 names, '' where it is not there; for a put without tags, whether the manifest ?3 is there, with its document. */
const NOW = `SELECT value AS name, coalesce(t.digest, '') AS now FROM json_each(?2)
    LEFT JOIN tags t ON t.repository_id = ${HERE} AND t.name = value
  UNION ALL SELECT '', coalesce((SELECT digest FROM manifests WHERE repository_id = ${HERE} AND digest = ?3 AND object_key IS NOT ''), '')
    WHERE json_array_length(?2) = 0`;

/** A right to all tags, as most callers have, is nothing to guard. */
export function guardsOf(env: Database, put: TagPut, judgement: Judgement): D1PreparedStatement[] {
  const { repository, digest, tags, notToMake, notToMove } = put;
  const make = refuseUnless(env, `NOT EXISTS (${MAKING})`, repository, JSON.stringify(notToMake));
  const move = refuseUnless(env, `NOT EXISTS (${MOVING})`, repository, JSON.stringify(notToMove), digest);
  const contested = { sql: CONTESTED, parameters: [JSON.stringify(tags), digest] as [string, string] };
  return [
    ...(notToMake.length > 0 ? [make] : []),
    ...(notToMove.length > 0 ? [move] : []),
    ...(tags.length > 0 ? [guardImmutable(env, repository, contested, judgement, judgement.free(tags))] : []),
    ...guardConditions(env, put),
  ];
}

export function guardConditions(env: Database, on: Conditional): D1PreparedStatement[] {
  return on.condition ? conditionsOf(on.condition).map((unmet) => guardCondition(env, on, unmet)) : [];
}

interface Unmet {
  /** Of a row of NOW: whether it does not meet the condition; ?4 is `named`. */
  sql: string;
  named: string[];
}

function conditionsOf({ match, noneMatch }: Condition): Unmet[] {
  const listed = 'IN (SELECT value FROM json_each(?4))';
  return [
    ...(match === '*' ? [{ sql: "now = ''", named: [] }] : match ? [{ sql: `now NOT ${listed}`, named: match }] : []),
    ...(noneMatch === '*' ? [{ sql: "now <> ''", named: [] }] : noneMatch ? [{ sql: `now ${listed}`, named: noneMatch }] : []),
  ];
}

function guardCondition(env: Database, on: Conditional, { sql, named }: Unmet): D1PreparedStatement {
  const { repository, digest, tags } = on;
  return refuseUnless(
    env,
    `NOT EXISTS (SELECT 1 FROM (${NOW}) WHERE ?4 IS NOT NULL AND ${sql})`,
    repository,
    JSON.stringify(tags),
    digest,
    JSON.stringify(named),
  );
}

/** Which tag fails the condition, and what it names; for the answer. */
export async function failingCondition(env: Database, on: Conditional): Promise<{ name: string; now: string } | null> {
  const { match, noneMatch } = on.condition ?? { match: null, noneMatch: null };
  const meets = (now: string) =>
    (match === null || (match === '*' ? now !== '' : match.includes(now))) &&
    (noneMatch === null || (noneMatch === '*' ? now === '' : !noneMatch.includes(now)));
  const { results } = await env.DB.prepare(NOW)
    .bind(on.repository, JSON.stringify(on.tags), on.digest)
    .all<{ name: string; now: string }>();
  return results.find(({ now }) => !meets(now)) ?? null;
}
