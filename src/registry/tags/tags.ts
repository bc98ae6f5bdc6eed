/**
 * Lists the tags of a repository and the history of a tag. Rolls a tag back to a digest that it named before. `changes.ts`
 * writes tags.
 */
import { type Database, newBatch } from '../../events/batch.ts';
import { type Actor, actorIn } from '../../events/event.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import type { Tag } from '../../oci/reference.ts';
import type { Cause } from '../../vocabulary/causes.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { changeTags } from './changes.ts';
import { requireCondition, requireTagRights, type TagPut, tagsHeldByOthers } from './guards.ts';
import { type Judgement, requireMutable, withMutabilityRule } from './mutability.ts';

/**
 * Endpoint end-8: lists tags. The LEFT JOIN yields one row for a repository without tags, and none for an unknown repository.
 * @throws repository-unknown
 */
export async function listTags(env: Database, repository: RepositoryName, { after, limit }: PageQuery): Promise<Page<string>> {
  const { results } = await prepare(
    env,
    `SELECT t.name FROM repositories r
     LEFT JOIN tags t ON t.repository_id = r.id AND t.name > :after
     WHERE r.name = :repository ORDER BY t.name LIMIT :rows`,
    { repository, after, rows: limit + 1 },
  ).all<{ name: string | null }>();
  if (results.length === 0) throw new Refusal('repository-unknown');
  return pageOf(
    results.map((row) => row.name).filter((name) => name !== null),
    limit,
  );
}

export interface HistoryPoint {
  /** The number of this row in the tag's history. The rows of each tag are numbered from 1 and called points. */
  point: number;
  /** The time of the change, in seconds since the epoch. */
  at: number;
  /** The digest that the tag names after this change, or `null` if the change deleted the tag. */
  digest: Digest | null;
  previous: Digest | null;
  by: Actor;
  /** `null` for changes that an earlier version of the registry recorded without a cause. */
  cause: Cause | null;
  /** True if the manifest still exists, so that the tag can be rolled back to it. */
  present: boolean;
}

interface Row {
  point: number;
  at: number;
  digest: Digest | null;
  previous: Digest | null;
  actor: string;
  key_id: string | null;
  cause: Cause | null;
  present: number;
}

/**
 * Lists the history of a tag, the newest change first. The LEFT JOIN yields one row for a tag without history and none for an
 * unknown repository.
 * @param before the number of the last change of the previous page, or `null` for the first page
 * @throws repository-unknown
 */
export async function listHistory(
  env: Database,
  repository: RepositoryName,
  tag: Tag,
  before: number | null,
  limit: number,
): Promise<{ items: HistoryPoint[]; more: boolean }> {
  const { results } = await prepare(
    env,
    `SELECT h.point, h.at, h.digest, h.previous, h.actor, h.key_id, h.cause,
       EXISTS (SELECT 1 FROM manifests m
         WHERE m.repository_id = r.id AND m.digest = h.digest AND m.object_key IS NOT '') AS present
     FROM repositories r LEFT JOIN tag_history h ON h.repository_id = r.id AND h.tag = :tag AND h.point < :before
     WHERE r.name = :repository ORDER BY h.point DESC LIMIT :rows`,
    { repository, tag, before: before ?? Number.MAX_SAFE_INTEGER, rows: limit + 1 },
  ).all<Row | { point: null }>();
  if (results.length === 0) throw new Refusal('repository-unknown');
  const rows = results.filter((row) => row.point !== null);
  const items = rows.slice(0, limit).map(({ actor, key_id, present, ...row }) => ({
    ...row,
    by: actorIn(actor, key_id),
    present: present === 1,
  }));
  return { items, more: rows.length > limit };
}

/**
 * Returns the digest that a tag named after change number `point`. @throws not-found; conflict if that change deleted the tag
 */
export async function digestAt(env: Database, repository: RepositoryName, tag: Tag, point: number): Promise<Digest> {
  const row = await prepare(
    env,
    `SELECT digest FROM tag_history WHERE repository_id = ${REPOSITORY_ID} AND tag = :tag AND point = :point`,
    { repository, tag, point },
  ).first<{ digest: Digest | null }>();
  if (!row) throw new Refusal('not-found', { message: `the history of ${tag} has no point ${point}` });
  if (row.digest === null)
    throw new Refusal('conflict', { message: `at point ${point} the tag was deleted: choose another point` });
  return row.digest;
}

/**
 * Makes a tag name a manifest that it named before. If the tag already names the manifest, nothing is changed.
 * @throws not-found if the tag never named the manifest; conflict if the manifest no longer exists; forbidden,
 * version-mismatch, tag-immutable
 */
export async function rollBack(env: Database, put: TagPut, tag: Tag, by: Actor): Promise<void> {
  await withMutabilityRule(env, put.repository, (judgement) => rollBackOnce(env, put, { tag, by, judgement }));
}

const ROLLED_BACK = { instead: 'Nothing was changed: push the image under another tag' };

async function rollBackOnce(
  env: Database,
  put: TagPut,
  { tag, by, judgement }: { tag: Tag; by: Actor; judgement: Judgement },
): Promise<void> {
  const { repository, digest } = put;
  const { mediaType, size } = await findTarget(env, put, tag);
  const batch = newBatch(env);
  batch.require(
    'overtaken',
    `EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest AND object_key IS NOT '')`,
    { repository, digest },
  );
  requireCondition(batch, env, put, 'version-mismatch');
  requireMutable(batch, env, repository, tagsHeldByOthers([tag], digest), { judgement, names: [tag] }, ROLLED_BACK);
  requireTagRights(batch, env, put, ({ moving }) => missingRight(tag, moving ? 'retag' : 'push'));
  changeTags(batch, { repository, digest, mediaType, size, tags: [tag], by, cause: 'rollback' });
  await batch.commit();
}

function missingRight(tag: Tag, right: 'push' | 'retag'): Particulars {
  return { message: `you do not have the right to ${right === 'push' ? 'create' : 'move'} the tag ${tag} (${right})` };
}

/**
 * Returns the manifest to which the tag is rolled back.
 * @throws not-found if the tag never named the manifest; conflict if the manifest no longer exists
 */
async function findTarget(
  env: Database,
  { repository, digest }: TagPut,
  tag: Tag,
): Promise<{ mediaType: string; size: number }> {
  const found = await prepare(
    env,
    `SELECT m.media_type AS mediaType, m.size,
       EXISTS (SELECT 1 FROM tag_history WHERE repository_id = ${REPOSITORY_ID} AND tag = :tag AND digest = :digest)
         AS wasNamed,
       EXISTS (SELECT 1 FROM trash WHERE repository_id = ${REPOSITORY_ID} AND kind = 'manifest' AND name = :digest) AS inTrash
     FROM (SELECT 1) LEFT JOIN manifests m
       ON m.repository_id = ${REPOSITORY_ID} AND m.digest = :digest AND m.object_key IS NOT ''`,
    { repository, tag, digest },
  ).first<{ mediaType: string | null; size: number; wasNamed: number; inTrash: number }>();
  if (!found?.wasNamed) throw new Refusal('not-found', { message: `the tag ${tag} has not named ${digest}` });
  const { mediaType, size, inTrash } = found;
  if (mediaType !== null) return { mediaType, size };
  const message = inTrash ? `${digest} is in the trash: restore it first` : `${digest} does not exist any more`;
  throw new Refusal('conflict', { message, detail: { digest, inTrash: inTrash === 1 } });
}
