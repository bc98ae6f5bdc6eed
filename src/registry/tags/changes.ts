/** Making, moving and deleting tags: the one place where a tag, its event and its history are written, in one batch. */
import type { Database } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { HERE } from '../repositories/repositories.ts';

/** SQL: how often tag `name` of repository ?1 has changed so far. */
export const lastPoint = (name: string) =>
  `coalesce((SELECT point FROM tag_history WHERE repository_id = ${HERE} AND tag = ${name} ORDER BY point DESC LIMIT 1), 0)`;

export interface TagChange {
  repository: RepositoryName;
  digest: Digest;
  mediaType: string;
  /** Bytes of the manifest. */
  size: number;
  tags: Tag[];
  by: Actor;
  /** The put that changes them, if it has to find out later whether it did. */
  attempt?: string;
  /** Tags whose time is refreshed, with an event, where they name the manifest already: a push of what is there is a push. */
  pushedAgain?: Tag[];
}

/**
 * The statements that have `tags` name the manifest, for a batch that makes sure of the manifest: events, history, tags. A tag
 * that names it already is written only if it is in `pushedAgain`; it gets no point in the history, as nothing changed.
 */
export function changeTags(
  env: Database,
  { repository, digest, mediaType, size, tags, by, attempt, pushedAgain = [] }: TagChange,
): D1PreparedStatement[] {
  const names = JSON.stringify(tags);
  const again = JSON.stringify(pushedAgain);
  const changing = (list: string) =>
    `FROM json_each(${list}) n LEFT JOIN tags t ON t.repository_id = ${HERE} AND t.name = n.value
     WHERE t.digest IS NOT ?3`;
  const target = `'tag', n.value, 'digest', ?3, 'mediaType', ?5, 'size', ?6`;
  return [
    record(env, {
      about: repository,
      by,
      select: `SELECT CASE WHEN t.digest IS NULL THEN 'tag.created' WHEN t.digest = ?3 THEN 'tag.pushed' ELSE 'tag.moved' END AS type,
          CASE WHEN t.digest IS NULL THEN json_object(${target})
            WHEN t.digest = ?3 THEN json_object(${target}, 'changed', json('false'))
            ELSE json_object(${target}, 'previous', t.digest) END AS target
        ${changing('?4')} OR n.value IN (SELECT value FROM json_each(?7))`,
      parameters: [digest, names, mediaType, size, again],
    }),
    env.DB.prepare(
      `INSERT INTO tag_history (repository_id, tag, point, at, digest, previous, actor, key_id, attempt)
       SELECT ${HERE}, n.value, ${lastPoint('n.value')} + 1, unixepoch(), ?3, t.digest, ?4, ?5, ?6 ${changing('?2')}`,
    ).bind(repository, names, digest, by.subject, by.key ?? null, attempt ?? null),
    env.DB.prepare(
      `INSERT INTO tags (repository_id, name, digest, updated_at)
       SELECT ${HERE}, value, ?3, unixepoch() FROM json_each(?2) WHERE TRUE
       ON CONFLICT DO UPDATE SET digest = ?3, updated_at = unixepoch()
       WHERE digest <> ?3 OR name IN (SELECT value FROM json_each(?4))`,
    ).bind(repository, names, digest, again),
  ];
}

/** The statements that make tags, each of a manifest that is there. A tag that is there by now stays as it is. */
export function bringTags(
  env: Database,
  repository: RepositoryName,
  tags: { tag: Tag; digest: Digest }[],
  by: Actor,
): D1PreparedStatement[] {
  const list = JSON.stringify(tags);
  const coming = (parameter: string) => `FROM json_each(${parameter}) n
    CROSS JOIN manifests m ON m.repository_id = ${HERE} AND m.digest = n.value ->> 'digest' AND m.object_key IS NOT ''
    LEFT JOIN tags t ON t.repository_id = ${HERE} AND t.name = n.value ->> 'tag' WHERE t.name IS NULL`;
  const name = `n.value ->> 'tag'`;
  return [
    record(env, {
      about: repository,
      by,
      select: `SELECT 'tag.created' AS type,
          json_object('tag', ${name}, 'digest', m.digest, 'mediaType', m.media_type, 'size', m.size) AS target ${coming('?3')}`,
      parameters: [list],
    }),
    env.DB.prepare(
      `INSERT INTO tag_history (repository_id, tag, point, at, digest, actor, key_id)
       SELECT ${HERE}, ${name}, ${lastPoint(name)} + 1, unixepoch(), m.digest, ?3, ?4 ${coming('?2')}`,
    ).bind(repository, list, by.subject, by.key ?? null),
    env.DB.prepare(
      `INSERT INTO tags (repository_id, name, digest, updated_at) SELECT ${HERE}, ${name}, m.digest, unixepoch() ${coming('?2')}`,
    ).bind(repository, list),
  ];
}

/** Which tags are to be deleted: a SELECT of `name`, `digest` and `reserved`; ?1 is the repository, ?3 its parameter. */
export interface TagSelection {
  sql: string;
  parameter: string;
}

export interface Deletion {
  by: Actor;
  /** Which rule it was, for people; `null` where somebody did it. */
  reason: string | null;
}

/** One tag, whatever it names. */
export function tagNamed(tag: Tag): TagSelection {
  return {
    sql: `SELECT name, digest, 0 AS reserved FROM tags WHERE repository_id = ${HERE} AND name = ?3`,
    parameter: tag,
  };
}

/** All tags of a manifest. */
export function tagsNaming(digest: Digest): TagSelection {
  return {
    sql: `SELECT name, digest, 0 AS reserved FROM tags INDEXED BY tags_by_digest WHERE repository_id = ${HERE} AND digest = ?3`,
    parameter: digest,
  };
}

/**
 * Those of a list that still name what they did. `reserved`: kept for what it named, as it was immutable. A CROSS JOIN has SQLite go
 * from the list to the tags, by their key, and not the other way (sqlite.org/optoverview.html, 8.2).
 */
export function tagsOfList(list: { tag: Tag; digest: Digest; reserved: boolean }[]): TagSelection {
  return {
    sql: `SELECT t.name, t.digest, value ->> 'reserved' AS reserved FROM json_each(?3)
      CROSS JOIN tags t ON t.repository_id = ${HERE} AND t.name = value ->> 'tag' AND t.digest = value ->> 'digest'`,
    parameter: JSON.stringify(list),
  };
}

/** Those of a list that still name what they did, and whose subject is gone: tags that belong to it by their name. */
export function tagsWithoutSubject(list: { tag: Tag; digest: Digest; subject: Digest }[]): TagSelection {
  return {
    sql: `SELECT t.name, t.digest, 0 AS reserved FROM json_each(?3)
      CROSS JOIN tags t ON t.repository_id = ${HERE} AND t.name = value ->> 'tag' AND t.digest = value ->> 'digest'
      WHERE NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = ${HERE} AND s.digest = value ->> 'subject')`,
    parameter: JSON.stringify(list),
  };
}

/** The statements that delete tags; the last answers `tag` and `digest` of each. @param toTrash whether each is restored by itself */
export function dropTags(
  env: Database,
  repository: RepositoryName,
  { sql, parameter }: TagSelection,
  { by, reason }: Deletion,
  toTrash: boolean,
): D1PreparedStatement[] {
  const key = by.key ?? null;
  const entries = env.DB.prepare(
    `INSERT OR REPLACE INTO trash (repository_id, kind, name, repository, digest, reason, actor, key_id, deleted_at)
     SELECT ${HERE}, 'tag', name, ?1, digest, ?4, ?2, ?5, unixepoch() FROM (${sql})`,
  ).bind(repository, by.subject, parameter, reason, key);
  return [
    record(env, {
      about: repository,
      by,
      select: `SELECT 'tag.deleted' AS type,
          json_patch(json_object('tag', name, 'digest', digest), json_object('reason', ?4)) AS target FROM (${sql})`,
      parameters: [parameter, reason],
    }),
    env.DB.prepare(
      `INSERT INTO tag_history (repository_id, tag, point, at, digest, previous, actor, key_id, reserved)
       SELECT ${HERE}, name, ${lastPoint('name')} + 1, unixepoch(), NULL, digest, ?2, ?4, reserved FROM (${sql})`,
    ).bind(repository, by.subject, parameter, key),
    ...(toTrash ? [entries] : []),
    env.DB.prepare(
      `DELETE FROM tags WHERE repository_id = ${HERE} AND name IN (SELECT name FROM (${sql}))
       RETURNING name AS tag, digest`,
    ).bind(repository, null, parameter),
  ];
}
