/** The statements that move manifests into the trash, for a batch that decides which: what they point at moves along. */
import type { Database } from '../../events/batch.ts';
import { record } from '../../events/outbox.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { HERE } from '../repositories/repositories.ts';
import type { Deletion } from '../tags/changes.ts';
import { balanceManifests } from '../usage/balance.ts';

export interface Dropped {
  digest: Digest;
  /** Of what its document points at, the digests. */
  references: string[];
}

/** Bytes of a list of references: a bound parameter of D1 may have 2 MB. */
const LIST_MAX_BYTES = 1_000_000;

export interface Drop {
  /** They tell which tags named them, and so come before the statements that delete those. */
  entries: D1PreparedStatement[];
  rest: D1PreparedStatement[];
  /** Which of `rest` answers the `digest` of each that went. */
  answering: number;
}

/** @param condition SQL that each of them (`m`) has to meet until it goes; ?1 is the repository */
export function dropManifests(
  env: Database,
  repository: RepositoryName,
  manifests: Dropped[],
  { by, reason }: Deletion,
  condition: string,
): Drop {
  const digests = manifests.map(({ digest }) => digest);
  const list = JSON.stringify(digests);
  const chosen = (columns: string) => `SELECT ${columns} FROM json_each(?3) CROSS JOIN manifests m
    ON m.repository_id = ${HERE} AND m.digest = value WHERE ${condition}`;
  // With those of an earlier deletion of it that was not restored.
  const names = `SELECT json_group_array(name) FROM (
    SELECT t.name FROM tags t INDEXED BY tags_by_digest WHERE t.repository_id = ${HERE} AND t.digest = m.digest
    UNION SELECT o.value FROM trash e, json_each(e.tags) o
      WHERE e.repository_id = ${HERE} AND e.kind = 'manifest' AND e.name = m.digest)`;
  const counter = balanceManifests(env, { sql: HERE, parameter: repository }, digests);
  const entries = [
    counter.before,
    env.DB.prepare(
      `INSERT OR REPLACE INTO trash (repository_id, kind, name, repository, tags, reason, actor, key_id, deleted_at)
       ${chosen(`${HERE}, 'manifest', m.digest, ?1, (${names}), ?4, ?2, ?5, unixepoch()`)}`,
    ).bind(repository, by.subject, list, reason, by.key ?? null),
  ];
  const moving = [
    record(env, {
      about: repository,
      by,
      select: chosen(`'manifest.deleted' AS type,
        json_patch(json_object('digest', m.digest, 'mediaType', m.media_type), json_object('reason', ?4)) AS target`),
      parameters: [list, reason],
    }),
    // One that lies in the trash already makes room for this one.
    env.DB.prepare(
      `INSERT OR IGNORE INTO tombstones (object_key, made_at)
       SELECT x.object_key, unixepoch() FROM (${chosen('m.digest, m.object_key')}) c
       CROSS JOIN trashed_manifests x ON x.repository_id = ${HERE} AND x.digest = c.digest
       WHERE x.object_key > '' AND x.object_key IS NOT c.object_key`,
    ).bind(repository, null, list),
    env.DB.prepare(
      `INSERT OR REPLACE INTO trashed_manifests (repository_id, digest, media_type, artifact_type, subject, size, pushed_at, attempt, object_key, content)
       ${chosen('m.repository_id, m.digest, m.media_type, m.artifact_type, m.subject, m.size, m.pushed_at, m.attempt, m.object_key, m.content')}`,
    ).bind(repository, null, list),
  ];
  const { keep, forget } = moveReferences(env, repository, manifests, { list, chosen: chosen('m.digest') });
  const gone = env.DB.prepare(
    `DELETE FROM manifests WHERE repository_id = ${HERE} AND digest IN (${chosen('m.digest')}) RETURNING digest`,
  ).bind(repository, null, list);
  return { entries, rest: [...moving, ...keep, gone, ...forget, counter.after], answering: moving.length + keep.length };
}

/**
 * `keep` is for those that are about to go, and `forget` for those that went: once it is forgotten what they pointed at, that
 * would meet the condition too, if it was chosen as well.
 * @param which.chosen a SELECT of their digests; ?1 is the repository, ?3 `list`
 */
function moveReferences(
  env: Database,
  repository: RepositoryName,
  manifests: Dropped[],
  { list, chosen }: { list: string; chosen: string },
): { keep: D1PreparedStatement[]; forget: D1PreparedStatement[] } {
  const pairs = `json_each(?2) d CROSS JOIN json_each(d.value ->> 'references') r`;
  const lists = listsOf(manifests);
  const keep = lists.map((references) =>
    env.DB.prepare(
      `INSERT OR IGNORE INTO trashed_references (child, repository_id, parent)
       SELECT x.child, x.repository_id, x.parent FROM ${pairs} CROSS JOIN manifest_references x
         ON x.repository_id = ${HERE} AND x.child = r.value AND x.parent = d.value ->> 'digest'
       WHERE d.value ->> 'digest' IN (${chosen})`,
    ).bind(repository, references, list),
  );
  const forget = lists.map((references) =>
    env.DB.prepare(
      `DELETE FROM manifest_references WHERE repository_id = ${HERE} AND (child, parent) IN (
         SELECT r.value, d.value ->> 'digest' FROM ${pairs}
         WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = ${HERE} AND m.digest = d.value ->> 'digest'))`,
    ).bind(repository, references),
  );
  return { keep, forget };
}

/** As JSON, each as long as a parameter may well be. */
function listsOf(manifests: Dropped[]): string[] {
  const lists: string[][] = [];
  let bytes = LIST_MAX_BYTES;
  for (const manifest of manifests) {
    const text = JSON.stringify(manifest);
    if (bytes + text.length > LIST_MAX_BYTES) {
      lists.push([]);
      bytes = 0;
    }
    lists.at(-1)?.push(text);
    bytes += text.length + 1;
  }
  return lists.map((texts) => `[${texts.join()}]`);
}
