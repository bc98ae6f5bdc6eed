/**
 * Immutable tags keep their repository from being deleted: another one of its name would know nothing of them, and deleting and
 * making anew would be a way round immutability.
 */
import type { Database } from '../../events/batch.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { HERE } from '../repositories/repositories.ts';
import { guardImmutable, type Judgement, judgementOf, RULE } from '../tags/mutability.ts';

/** Tags that are there, and names that are reserved for what they named. */
const HELD = `SELECT name FROM tags WHERE repository_id = ${HERE}
  UNION SELECT h.tag FROM tag_history h WHERE h.repository_id = ${HERE} AND h.reserved AND h.point = (
    SELECT max(point) FROM tag_history l WHERE l.repository_id = h.repository_id AND l.tag = h.tag)`;

/** Names in one bound parameter, of which D1 takes 2 MB. */
const CHUNK = 10_000;

/** For the batch that deletes the repository; `judgement` as of `underRule`. */
export async function guardFixedTags(
  env: Database,
  repository: RepositoryName,
  judgement: Judgement,
): Promise<D1PreparedStatement[]> {
  const names = judgement.rule === '' ? [] : await heldTags(env, repository);
  const starts = Array.from({ length: Math.max(1, Math.ceil(names.length / CHUNK)) }, (_, n) => n * CHUNK);
  return starts.map((start) => {
    const chunk = names.slice(start, start + CHUNK);
    const after = names[start - 1] ?? '';
    const until = start + CHUNK < names.length ? (chunk.at(-1) ?? '') : '\u{10FFFF}';
    const held = {
      sql: `SELECT name FROM (${HELD}) WHERE name > ?2 AND name <= ?3`,
      parameters: [after, until] as [string, string],
    };
    return guardImmutable(env, repository, held, judgement, judgement.free(chunk));
  });
}

export async function hasFixedTags(env: Database, repository: RepositoryName): Promise<boolean> {
  const rule = await env.DB.prepare(`SELECT ${RULE} AS rule`).bind(repository).first<string>('rule');
  if (!rule) return false;
  const names = await heldTags(env, repository);
  return judgementOf(rule).free(names).length < names.length;
}

/** In bytewise order. */
async function heldTags(env: Database, repository: RepositoryName): Promise<Tag[]> {
  const { results } = await env.DB.prepare(`SELECT name FROM (${HELD}) ORDER BY name`).bind(repository).all<{ name: Tag }>();
  return results.map(({ name }) => name);
}
