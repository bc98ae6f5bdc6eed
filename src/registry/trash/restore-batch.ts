/**
 * The statements that bring a manifest or its tags back from the trash. They refuse their batch where anything is not as it was
 * when that was decided.
 */
import { type Env, settings, type Vars } from '../../env.ts';
import { refuseUnless, statementsOf } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { changeTags, createTags } from '../tags/changes.ts';
import { CONTESTED } from '../tags/guards.ts';
import { guardImmutable, type Judgement } from '../tags/mutability.ts';
import { balanceManifests } from '../usage/balance.ts';
import type { Contents } from './contents.ts';
import { REFERENCES, unmet } from './references.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS'> & Vars;

export interface Restore {
  id: number;
  repository: RepositoryName;
  digest: Digest;
  mediaType: string;
  size: number;
  /** Those that shall name it again. */
  tags: Tag[];
  judgement: Judgement;
  contents: Contents;
  by: Actor;
}

export function restoring(env: Stores, restore: Restore): D1PreparedStatement[] {
  const { id, repository, digest, mediaType, tags, judgement, contents } = restore;
  const names = JSON.stringify(tags);
  const contested = { sql: CONTESTED, parameters: [names, digest] as [string, string] };
  const there = 'SELECT 1 FROM tags WHERE repository_id = ?1 AND name IN (SELECT value FROM json_each(?2))';
  const named = 'SELECT 1 FROM manifests WHERE repository_id = ?1 AND digest = ?2 AND media_type = ?3';
  const counter = balanceManifests(env, { sql: '?1', parameter: id }, contents.manifests);
  const hasManifests = contents.manifests.length > 0;
  return [
    refuseUnless(env, 'EXISTS (SELECT 1 FROM repositories WHERE id = ?1 AND name = ?2)', id, repository),
    refuseUnless(env, `NOT EXISTS (${there})`, id, names),
    guardImmutable(env, repository, contested, judgement, judgement.free(tags)),
    ...(hasManifests ? [counter.before, ...bringBack(env, restore)] : []),
    env.DB.prepare(
      `DELETE FROM trash WHERE repository_id = ?1 AND kind = 'tag' AND name IN (SELECT value FROM json_each(?2)) AND digest = ?3`,
    ).bind(id, names, digest),
    refuseUnless(env, `EXISTS (${named})`, id, digest, mediaType),
    ...(tags.length > 0 ? statementsOf(env, (batch) => changeTags(batch, restore)) : []),
    ...(contents.attached.length > 0 ? attach(env, restore) : []),
    ...(hasManifests ? [...clearAway(env, restore), counter.after] : []),
  ];
}

/** Documents, what they point at and the blobs that they need, while all of it is in the trash still (invariant 2). */
function bringBack(env: Stores, { id, repository, contents, by }: Restore): D1PreparedStatement[] {
  const lease = settings(env).leaseSeconds;
  const manifests = JSON.stringify(contents.manifests);
  const outside = JSON.stringify(contents.outside);
  const trashed = (list: string, repositoryId: string) =>
    `FROM json_each(${list}) s CROSS JOIN trashed_manifests t ON t.repository_id = ${repositoryId} AND t.digest = s.value`;
  const entries = `SELECT 1 ${trashed('?2', '?1')} CROSS JOIN trash e
    ON e.repository_id = t.repository_id AND e.kind = 'manifest' AND e.name = t.digest AND NOT e.purging`;
  const foreign = `SELECT 1 FROM json_each(?4) f WHERE f.value ->> 'child' = x.child AND f.value ->> 'type' = x.type`;
  return [
    refuseUnless(env, `(SELECT count(*) FROM (${entries})) = json_array_length(?2)`, id, manifests),
    env.DB.prepare(
      `INSERT INTO repository_blobs (digest, repository_id, leased_until)
       SELECT b.digest, ?1, unixepoch() + ?3 FROM json_each(?2) l JOIN blobs b ON b.digest = l.value WHERE TRUE
       ON CONFLICT DO UPDATE SET leased_until = max(leased_until, excluded.leased_until)`,
    ).bind(id, JSON.stringify(contents.links), lease),
    record(env, {
      about: repository,
      by,
      select: `SELECT 'manifest.restored' AS type, json_object('digest', t.digest, 'mediaType', t.media_type, 'size', t.size) AS target
        ${trashed('?4', '?3')} WHERE NOT EXISTS (
          SELECT 1 FROM manifests m WHERE m.repository_id = ?3 AND m.digest = t.digest AND m.object_key IS NOT '')`,
      parameters: [id, manifests],
    }),
    env.DB.prepare(
      `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, subject, size, pushed_at, leased_until, object_key, content)
       SELECT ?1, t.digest, t.media_type, t.artifact_type, t.subject, t.size, t.pushed_at, unixepoch() + ?3, t.object_key, t.content
       ${trashed('?2', '?1')} WHERE TRUE
       ON CONFLICT DO UPDATE SET object_key = excluded.object_key, content = excluded.content WHERE object_key = ''`,
    ).bind(id, manifests, lease),
    refuseUnless(
      env,
      `NOT EXISTS (${unmet('manifests')} AND NOT EXISTS (${foreign}))`,
      id,
      manifests,
      outside,
      JSON.stringify(contents.foreign),
    ),
    env.DB.prepare(
      `INSERT INTO manifest_references (repository_id, child, parent)
       SELECT DISTINCT ?1, child, parent FROM (${REFERENCES}) WHERE TRUE ON CONFLICT DO NOTHING`,
    ).bind(id, manifests, outside),
    env.DB.prepare(
      `DELETE FROM trashed_references WHERE (child, repository_id, parent) IN (SELECT child, ?1, parent FROM (${REFERENCES}))`,
    ).bind(id, manifests, outside),
  ];
}

/** Signatures and their like come back under their tags, unless those name something by now. */
function attach(env: Stores, { id, repository, contents, by }: Restore): D1PreparedStatement[] {
  return [
    ...statementsOf(env, (batch) => createTags(batch, repository, contents.attached, by)),
    env.DB.prepare(
      `DELETE FROM trash WHERE repository_id = ?1 AND kind = 'tag' AND (name, digest) IN (
         SELECT t.name, t.digest FROM json_each(?2) n
         CROSS JOIN tags t ON t.repository_id = ?1 AND t.name = n.value ->> 'tag' AND t.digest = n.value ->> 'digest')`,
    ).bind(id, JSON.stringify(contents.attached)),
  ];
}

/** What nobody needs any more. Tags that did not come back with their manifests stay in the trash, each for itself. */
function clearAway(env: Stores, { id, digest, tags, contents }: Restore): D1PreparedStatement[] {
  const manifests = JSON.stringify(contents.manifests);
  return [
    // Of one that was pushed again meanwhile there are two documents.
    env.DB.prepare(
      `INSERT INTO tombstones (object_key, made_at) SELECT t.object_key, unixepoch()
       FROM json_each(?2) s CROSS JOIN trashed_manifests t ON t.repository_id = ?1 AND t.digest = s.value
       WHERE t.object_key > '' AND NOT EXISTS (
         SELECT 1 FROM manifests m WHERE m.repository_id = ?1 AND m.digest = t.digest AND m.object_key = t.object_key)
       ON CONFLICT DO NOTHING`,
    ).bind(id, manifests),
    env.DB.prepare(
      `INSERT INTO trash (repository_id, kind, name, repository, digest, reason, actor, key_id, deleted_at)
       SELECT ?1, 'tag', n.value, e.repository, e.name, e.reason, e.actor, e.key_id, e.deleted_at
       FROM json_each(?2) s CROSS JOIN trash e ON e.repository_id = ?1 AND e.kind = 'manifest' AND e.name = s.value
       CROSS JOIN json_each(e.tags) n WHERE NOT (e.name = ?3 AND n.value IN (SELECT value FROM json_each(?4)))
       ON CONFLICT DO UPDATE SET digest = excluded.digest, reason = excluded.reason, actor = excluded.actor, key_id = excluded.key_id,
         deleted_at = excluded.deleted_at WHERE deleted_at < excluded.deleted_at`,
    ).bind(id, manifests, digest, JSON.stringify(tags)),
    env.DB.prepare(
      'DELETE FROM trashed_manifests WHERE repository_id = ?1 AND digest IN (SELECT value FROM json_each(?2))',
    ).bind(id, manifests),
    env.DB.prepare(
      `DELETE FROM trash WHERE repository_id = ?1 AND kind = 'manifest' AND name IN (SELECT value FROM json_each(?2))`,
    ).bind(id, manifests),
  ];
}
