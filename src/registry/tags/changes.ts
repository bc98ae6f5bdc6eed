/**
 * Creates, moves and deletes tags. No other file does so, except that the garbage collector deletes the tags of a purged
 * repository. A tag, its history and its event are always written in one batch.
 */
import type { Batch, Handle } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { recordImageEvent } from '../../events/outbox.ts';
import type { Parameters } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import type { Cause } from '../../vocabulary/causes.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { countTags } from '../usage/sums.ts';

/**
 * Returns an SQL expression: the number of the newest row in the history of a tag of `:repository`, or 0 if there is none. The
 * rows of a tag's history are numbered from 1 and called points.
 */
export const lastPoint = (name: string) => `coalesce(
  (SELECT point FROM tag_history WHERE repository_id = ${REPOSITORY_ID} AND tag = ${name} ORDER BY point DESC LIMIT 1), 0)`;

/**
 * SQL expression: the type of the event when a tag `name` that does not exist is made to name `digest`. If a restore or
 * rollback makes the tag name the same digest as before its deletion, the type is `tag.restored`, so that webhooks do not
 * deploy anything. A tag without history counts as having named `digest`.
 */
const typeOfCreation = (name: string, digest: string, cause: Cause) =>
  cause === 'push'
    ? "'tag.created'"
    : `iif(coalesce((SELECT previous FROM tag_history WHERE repository_id = ${REPOSITORY_ID} AND tag = ${name}
        ORDER BY point DESC LIMIT 1), ${digest}) = ${digest}, 'tag.restored', 'tag.created')`;

interface TagChange {
  repository: RepositoryName;
  digest: Digest;
  mediaType: string;
  /** The size of the manifest in bytes. */
  size: number;
  tags: Tag[];
  by: Actor;
  cause: 'push' | 'rollback' | 'restore';
  /** The id of the push. Set if the caller must be able to find out later whether D1 committed the batch. */
  attempt?: string;
  /**
   * The tags that get a new time and an event even if they already name the manifest, because a client pushed the image again.
   */
  pushedAgain?: Tag[];
  /** True if another statement of the batch already updates the number of tags of the repository. */
  areCounted?: boolean;
}

/**
 * Adds statements to the batch that make `tags` name a manifest. They write the tags, the tag history and the events. Another
 * part of the batch must ensure that the manifest exists. A tag that already names the manifest is written only if it is in
 * `pushedAgain`, and its history gets no new row.
 */
export function changeTags(
  batch: Batch,
  { repository, digest, mediaType, size, tags, by, cause, attempt, pushedAgain = [], areCounted = false }: TagChange,
): void {
  const parameters = { repository, digest, tags, pushedAgain };
  const changing = `FROM json_each(:tags) n LEFT JOIN tags t ON t.repository_id = ${REPOSITORY_ID} AND t.name = n.value
     WHERE t.digest IS NOT :digest`;
  const target = `'tag', n.value, 'digest', :digest, 'mediaType', :mediaType, 'size', :size`;
  recordImageEvent(batch, {
    about: repository,
    by,
    cause,
    select: `SELECT CASE WHEN t.digest IS NULL THEN ${typeOfCreation('n.value', ':digest', cause)}
          WHEN t.digest = :digest THEN 'tag.pushed' ELSE 'tag.moved' END AS type,
        CASE WHEN t.digest IS NULL THEN json_object(${target})
          WHEN t.digest = :digest THEN json_object(${target}, 'changed', json('false'))
          ELSE json_object(${target}, 'previous', t.digest) END AS target
      ${changing} OR n.value IN (SELECT value FROM json_each(:pushedAgain))`,
    parameters: { ...parameters, mediaType, size },
  });
  batch.run(
    `INSERT INTO tag_history (repository_id, tag, point, at, digest, previous, actor, key_id, attempt, cause)
     SELECT ${REPOSITORY_ID}, n.value, ${lastPoint('n.value')} + 1, unixepoch(), :digest, t.digest, :actor, :key,
       :attempt, :cause ${changing}`,
    { ...parameters, actor: by.subject, key: by.key ?? null, attempt: attempt ?? null, cause },
  );
  if (!areCounted) countTags(batch, `(SELECT count(*) ${changing} AND t.name IS NULL)`, parameters);
  batch.run(
    `INSERT INTO tags (repository_id, name, digest, updated_at)
     SELECT ${REPOSITORY_ID}, value, :digest, unixepoch() FROM json_each(:tags) WHERE TRUE
     ON CONFLICT DO UPDATE SET digest = :digest, updated_at = unixepoch()
     WHERE digest <> :digest OR name IN (SELECT value FROM json_each(:pushedAgain))`,
    parameters,
  );
}

/** Adds statements to the batch that restore tags of existing manifests. A tag that exists by now is not changed. */
export function restoreTags(batch: Batch, repository: RepositoryName, tags: { tag: Tag; digest: Digest }[], by: Actor): void {
  const cause = 'restore';
  const parameters = { repository, tags };
  const creating = `FROM json_each(:tags) n
    CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = n.value ->> 'digest' AND m.object_key IS NOT ''
    LEFT JOIN tags t ON t.repository_id = ${REPOSITORY_ID} AND t.name = n.value ->> 'tag' WHERE t.name IS NULL`;
  const name = `n.value ->> 'tag'`;
  recordImageEvent(batch, {
    about: repository,
    by,
    cause,
    select: `SELECT ${typeOfCreation(name, 'm.digest', cause)} AS type,
        json_object('tag', ${name}, 'digest', m.digest, 'mediaType', m.media_type, 'size', m.size) AS target ${creating}`,
    parameters,
  });
  batch.run(
    `INSERT INTO tag_history (repository_id, tag, point, at, digest, actor, key_id, cause)
     SELECT ${REPOSITORY_ID}, ${name}, ${lastPoint(name)} + 1, unixepoch(), m.digest, :actor, :key, :cause ${creating}`,
    { ...parameters, actor: by.subject, key: by.key ?? null, cause },
  );
  countTags(batch, `(SELECT count(*) ${creating})`, parameters);
  batch.run(
    `INSERT INTO tags (repository_id, name, digest, updated_at)
     SELECT ${REPOSITORY_ID}, ${name}, m.digest, unixepoch() ${creating}`,
    parameters,
  );
}

/**
 * A SELECT of tags of `:repository`, with the columns `name`, `digest` and `reserved`. If `reserved` is 1, the name may only be
 * used for the same digest after the deletion.
 */
export interface TagSelection {
  sql: string;
  parameters: Parameters;
}

export interface Deletion {
  by: Actor;
  /** The lifecycle rule that causes the deletion, as text for users. `null` if a user requested the deletion. */
  reason: string | null;
}

/** Selects tags by name, except tags that name one of the digests. */
export function tagsNamed(tags: readonly Tag[], except: readonly Digest[]): TagSelection {
  return {
    sql: `SELECT name, digest, 0 AS reserved FROM tags WHERE repository_id = ${REPOSITORY_ID}
      AND name IN (SELECT value FROM json_each(:named)) AND digest NOT IN (SELECT value FROM json_each(:gone))`,
    parameters: { named: tags, gone: except },
  };
}

/** Selects all tags that name one of the manifests. */
export function tagsNaming(digests: readonly Digest[]): TagSelection {
  return {
    sql: `SELECT t.name, t.digest, 0 AS reserved FROM json_each(:gone) d
      CROSS JOIN tags t INDEXED BY tags_by_digest ON t.repository_id = ${REPOSITORY_ID} AND t.digest = d.value`,
    parameters: { gone: digests },
  };
}

/**
 * SQL: the tags in the list `:listed` that still name the listed digest. CROSS JOIN makes SQLite read the list first and look
 * up each tag by its key (sqlite.org/optoverview.html, 8.2).
 */
const LISTED_TAGS = `FROM json_each(:listed)
  CROSS JOIN tags t ON t.repository_id = ${REPOSITORY_ID} AND t.name = value ->> 'tag' AND t.digest = value ->> 'digest'`;

/**
 * Selects the tags of a list that still name the listed digest. `reserved` is true for a tag that was immutable; after the
 * deletion its name may only be used for the same digest.
 */
export function tagsOfList(list: { tag: Tag; digest: Digest; reserved: boolean }[]): TagSelection {
  return { sql: `SELECT t.name, t.digest, value ->> 'reserved' AS reserved ${LISTED_TAGS}`, parameters: { listed: list } };
}

/**
 * Selects the tags of a list that still name the listed digest and whose subject no longer exists. The subject is the manifest
 * whose digest is in the tag's name, as in `sha256-….sig`.
 */
export function tagsWithoutSubject(list: { tag: Tag; digest: Digest; subject: Digest }[]): TagSelection {
  return {
    sql: `SELECT t.name, t.digest, 0 AS reserved ${LISTED_TAGS}
      WHERE NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = ${REPOSITORY_ID} AND s.digest = value ->> 'subject')`,
    parameters: { listed: list },
  };
}

/** Returns the cause of a deletion for its events. */
export function causeOf({ reason }: Pick<Deletion, 'reason'>): Cause {
  return reason === null ? 'deletion' : 'lifecycle';
}

export interface DeletedTag {
  tag: Tag;
  /** The digest that the tag named. */
  digest: Digest;
}

/**
 * Adds statements to the batch that delete tags.
 * @param toTrash true if each tag gets a trash entry, from which it can be restored
 * @returns a handle of the deleted tags
 */
export function deleteTags(
  batch: Batch,
  repository: RepositoryName,
  selected: TagSelection,
  { by, reason }: Deletion,
  { toTrash }: { toTrash: boolean },
): Handle<DeletedTag> {
  const cause = causeOf({ reason });
  const parameters = { ...selected.parameters, repository, reason, actor: by.subject, key: by.key ?? null, cause };
  recordImageEvent(batch, {
    about: repository,
    by,
    cause,
    select: `SELECT 'tag.deleted' AS type,
        json_patch(json_object('tag', name, 'digest', digest), json_object('reason', :reason)) AS target
          FROM (${selected.sql})`,
    parameters,
  });
  batch.run(
    `INSERT INTO tag_history (repository_id, tag, point, at, digest, previous, actor, key_id, reserved, cause)
     SELECT ${REPOSITORY_ID}, name, ${lastPoint('name')} + 1, unixepoch(), NULL, digest, :actor, :key, reserved, :cause
       FROM (${selected.sql})`,
    parameters,
  );
  if (toTrash) {
    batch.run(
      `INSERT OR REPLACE INTO trash (repository_id, kind, name, repository, digest, reason, actor, key_id, deleted_at)
       SELECT ${REPOSITORY_ID}, 'tag', name, :repository, digest, :reason, :actor, :key, unixepoch() FROM (${selected.sql})`,
      parameters,
    );
  }
  countTags(batch, `(SELECT -count(*) FROM (${selected.sql}))`, parameters);
  return batch.query<DeletedTag>(
    `DELETE FROM tags WHERE repository_id = ${REPOSITORY_ID} AND name IN (SELECT name FROM (${selected.sql}))
     RETURNING name AS tag, digest`,
    parameters,
  );
}
