/** What a tag has named, since when and by whom; and having it name one of these again. */
import { type Database, persistently, refuseUnless, tryBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { HERE } from '../repositories/repositories.ts';
import { changeTags } from './changes.ts';
import { CONTESTED, failingCondition, guardsOf, type TagPut } from './guards.ts';
import { immutable, judgementOf, RULE, underRule } from './mutability.ts';

export interface HistoryPoint {
  /** 1, 2, 3 and so on for each tag. */
  point: number;
  /** Seconds since the epoch. */
  at: number;
  /** What it named from then on; `null`: it was deleted. */
  digest: Digest | null;
  previous: Digest | null;
  by: Actor;
  /** Whether the manifest is there, so that the tag can be brought back to it. */
  present: boolean;
}

interface Row {
  point: number;
  at: number;
  digest: Digest | null;
  previous: Digest | null;
  actor: string;
  key_id: string | null;
  present: number;
}

/**
 * The newest first. One statement also tells a tag that never was from an unknown repository.
 * @param before the point to go on before; `null` for the newest
 * @throws repository-unknown
 */
export async function listHistory(
  env: Database,
  repository: RepositoryName,
  tag: Tag,
  before: number | null,
  limit: number,
): Promise<{ items: HistoryPoint[]; more: boolean }> {
  const { results } = await env.DB.prepare(
    `SELECT h.point, h.at, h.digest, h.previous, h.actor, h.key_id,
       EXISTS (SELECT 1 FROM manifests m
         WHERE m.repository_id = r.id AND m.digest = h.digest AND m.object_key IS NOT '') AS present
     FROM repositories r LEFT JOIN tag_history h ON h.repository_id = r.id AND h.tag = ?2 AND h.point < ?3
     WHERE r.name = ?1 ORDER BY h.point DESC LIMIT ?4`,
  )
    .bind(repository, tag, before ?? Number.MAX_SAFE_INTEGER, limit + 1)
    .all<Row | { point: null }>();
  if (results.length === 0) throw new Refusal('repository-unknown');
  const rows = results.filter((row) => row.point !== null);
  const items = rows.slice(0, limit).map(({ actor, key_id, present, ...row }) => ({
    ...row,
    by: { subject: actor, ...(key_id === null ? {} : { key: key_id }) },
    present: present === 1,
  }));
  return { items, more: rows.length > limit };
}

/** @throws not-found, or conflict for the point at which it was deleted */
export async function digestAt(env: Database, repository: RepositoryName, tag: Tag, point: number): Promise<Digest> {
  const row = await env.DB.prepare(`SELECT digest FROM tag_history WHERE repository_id = ${HERE} AND tag = ?2 AND point = ?3`)
    .bind(repository, tag, point)
    .first<{ digest: Digest | null }>();
  if (!row) throw new Refusal('not-found', { message: `the history of ${tag} has no point ${point}` });
  if (row.digest === null) throw new Refusal('conflict', { message: `at point ${point} the tag was deleted` });
  return row.digest;
}

interface Manifest {
  media_type: string;
  size: number;
}

/**
 * Has a tag name a manifest of its repository that it has named before. That it names it already is no error.
 * @throws not-found where it never named it; conflict where the manifest is gone; forbidden, version-mismatch
 */
export async function rollBack(env: Database, put: TagPut, tag: Tag, by: Actor): Promise<void> {
  await persistently(
    () => rollBackOnce(env, put, tag, by),
    () => refusalOf(env, put, tag),
  );
}

/** `null`: refused. */
async function rollBackOnce(env: Database, put: TagPut, tag: Tag, by: Actor): Promise<D1Result[] | null> {
  const { repository, digest } = put;
  const named = await env.DB.prepare(
    `SELECT 1 FROM tag_history WHERE repository_id = ${HERE} AND tag = ?2 AND digest = ?3 LIMIT 1`,
  )
    .bind(repository, tag, digest)
    .first();
  if (!named) throw new Refusal('not-found', { message: `the tag ${tag} has not named ${digest}` });
  const manifest = `SELECT media_type, size FROM manifests
    WHERE repository_id = ${HERE} AND digest = ?2 AND object_key IS NOT ''`;
  const found = await env.DB.prepare(manifest).bind(repository, digest).first<Manifest>();
  if (!found) throw await gone(env, put);
  return underRule(env, repository, (judgement) =>
    tryBatch(env, [
      refuseUnless(env, `EXISTS (${manifest})`, repository, digest),
      ...guardsOf(env, put, judgement),
      ...changeTags(env, { repository, digest, mediaType: found.media_type, size: found.size, tags: [tag], by }),
    ]),
  );
}

async function gone(env: Database, { repository, digest }: TagPut): Promise<Refusal> {
  const trashed = await env.DB.prepare(`SELECT 1 FROM trash WHERE repository_id = ${HERE} AND kind = 'manifest' AND name = ?2`)
    .bind(repository, digest)
    .first();
  const message = trashed ? `${digest} is in the trash: restore it first` : `${digest} is not there any more`;
  return new Refusal('conflict', { message, detail: { digest, inTrash: trashed !== null } });
}

async function refusalOf(env: Database, put: TagPut, tag: Tag): Promise<Refusal | null> {
  const { repository, digest, notToMake, notToMove } = put;
  const failing = await failingCondition(env, put);
  if (failing) return new Refusal('version-mismatch', { detail: { tag, digest: failing.now || null } });
  const state = await env.DB.prepare(
    `SELECT ${RULE} AS rule, (SELECT digest FROM tags WHERE repository_id = ${HERE} AND name = ?2) AS now`,
  )
    .bind(repository, tag)
    .first<{ rule: string; now: string | null }>();
  const contested = await env.DB.prepare(CONTESTED)
    .bind(repository, JSON.stringify([tag]), digest)
    .all<{ name: string; digest: string }>();
  if (contested.results.length > 0 && judgementOf(state?.rule ?? '').free([tag]).length === 0)
    return immutable(contested.results);
  const missing = state?.now === null ? (notToMake.length > 0 ? 'push' : null) : notToMove.length > 0 ? 'retag' : null;
  return missing ? new Refusal('forbidden', { message: `the right to ${missing} ${tag} is missing` }) : null;
}
