/** Manifests of a repository and the tags that name them: get and put. `manifest-deletion.ts` takes them away. */
import type { Env } from '../env.ts';
import { type Background, type Database, refuseUnless, tryBatchTwice } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import { record } from '../events/outbox.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Manifest } from '../oci/manifest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Reference, Tag } from '../oci/reference.ts';
import { manifestKey } from '../storage/keys.ts';
import { deleteObjects, putVerified, readText } from '../storage/objects.ts';
import { ensureRepository, unknownRepository } from './repositories.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'>;

/** What a put may point at: their list is one bound parameter, of which D1 takes 2 MB. */
const MAX_REFERENCES = 4000;

/** Bytes up to which a document lives in its row: a D1 row ends at 2 MB, and a list should not drag megabytes along. */
const INLINE_MAX_BYTES = 128 * 1024;

export interface ManifestHead {
  digest: Digest;
  mediaType: string;
  size: number;
}

export const HERE = '(SELECT id FROM repositories WHERE name = ?1)';

/** One statement for both kinds of reference. A document whose object is known to be gone (an empty key) is not there. */
function locate(reference: Reference): string {
  const named = reference.tag
    ? 'JOIN tags t ON t.repository_id = r.id AND t.name = ?2 JOIN manifests m ON m.repository_id = r.id AND m.digest = t.digest'
    : 'JOIN manifests m ON m.repository_id = r.id AND m.digest = ?2';
  return `FROM repositories r ${named} AND m.object_key IS NOT '' WHERE r.name = ?1`;
}

interface HeadRow {
  digest: Digest;
  media_type: string;
  size: number;
}

/** @throws MANIFEST_UNKNOWN */
export async function statManifest(env: Database, repository: RepositoryName, reference: Reference): Promise<ManifestHead> {
  const row = await env.DB.prepare(`SELECT m.digest, m.media_type, m.size ${locate(reference)}`)
    .bind(repository, reference.tag ?? reference.digest)
    .first<HeadRow>();
  if (!row) throw unknownManifest(reference);
  return { digest: row.digest, mediaType: row.media_type, size: row.size };
}

/** end-3. @throws MANIFEST_UNKNOWN */
export async function getManifest(
  env: Stores,
  repository: RepositoryName,
  reference: Reference,
): Promise<ManifestHead & { text: string }> {
  const row = await env.DB.prepare(`SELECT m.digest, m.media_type, m.size, m.content, m.object_key ${locate(reference)}`)
    .bind(repository, reference.tag ?? reference.digest)
    .first<HeadRow & { content: string | null; object_key: string | null }>();
  if (!row) throw unknownManifest(reference);
  const text = row.content ?? (await readText(env, row.object_key ?? ''));
  if (text === null) {
    await markMissing(env, repository, row.digest, row.object_key);
    throw unknownManifest(reference);
  }
  return { digest: row.digest, mediaType: row.media_type, size: row.size, text };
}

/** From then on it counts as absent, so that the next push brings it again instead of skipping it. */
async function markMissing(env: Database, repository: RepositoryName, digest: Digest, objectKey: string | null): Promise<void> {
  console.error(`manifest ${digest} of ${repository}: the object ${objectKey} is missing`);
  await env.DB.prepare(`UPDATE manifests SET object_key = '' WHERE repository_id = ${HERE} AND digest = ?2 AND object_key = ?3`)
    .bind(repository, digest, objectKey)
    .run();
}

export function unknownManifest(reference: Reference): RegistryError {
  return new RegistryError('MANIFEST_UNKNOWN', { detail: reference });
}

export interface ManifestPut extends ManifestRights {
  repository: RepositoryName;
  digest: Digest;
  manifest: Manifest;
  /** Bytes. */
  size: number;
  /** Tags that shall name it; none for a manifest that is pushed by digest. */
  tags: Tag[];
  by: Actor;
}

/** What whoever puts it may do, beside bringing content. */
export interface ManifestRights {
  /** Whether it may make the repository, where that is not there yet. */
  mayCreate: boolean;
  /** Of its tags, those that must not be made where they are not there, and must not be moved where they are. */
  notToMake: Tag[];
  notToMove: Tag[];
}

/** What the tags of a put named before: only those that really moved. */
export type MovedTags = { tag: Tag; previous: Digest }[];

/** References of ?2 that are not linked in the repository, or are not what the descriptor says. Blobs as manifests. */
const UNMET = `SELECT value ->> 'digest' AS digest,
    coalesce(b.size, m.size) IS NOT NULL AS present,
    coalesce(b.size, m.size) <> value ->> 'size' OR m.media_type <> value ->> 'mediaType' AS differs
  FROM json_each(?2)
  LEFT JOIN repository_blobs l ON value ->> 'kind' = 'blob' AND l.digest = value ->> 'digest' AND l.repository_id = ${HERE}
  LEFT JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
  LEFT JOIN manifests m ON value ->> 'kind' = 'manifest' AND m.digest = value ->> 'digest' AND m.repository_id = ${HERE}
  WHERE (b.digest IS NULL AND m.digest IS NULL AND value ->> 'required')
     OR coalesce(b.size, m.size) <> value ->> 'size' OR m.media_type <> value ->> 'mediaType'`;

const OTHER_TYPE = `SELECT media_type FROM manifests WHERE repository_id = ${HERE} AND digest = ?2 AND media_type <> ?3`;

/** Tags of ?2 that exist and name something else than ?3. */
const MOVING = `SELECT name, digest FROM tags WHERE repository_id = ${HERE} AND name IN (SELECT value FROM json_each(?2)) AND digest <> ?3`;

/** Tags of ?2 that do not exist. */
const MAKING = `SELECT value AS name FROM json_each(?2)
  WHERE NOT EXISTS (SELECT 1 FROM tags WHERE repository_id = ${HERE} AND name = value)`;

/**
 * end-7. References, manifest, tags and events in one batch (invariants 2, 3 and 6). Putting again what is there changes
 * nothing and records nothing.
 * @throws MANIFEST_BLOB_UNKNOWN, MANIFEST_INVALID, DENIED, NAME_UNKNOWN
 */
export async function putManifest(env: Stores, put: ManifestPut, work: Background): Promise<MovedTags> {
  const { repository, digest, manifest, size } = put;
  if (manifest.references.length > MAX_REFERENCES) {
    throw new RegistryError('MANIFEST_INVALID', { message: `a manifest may reference up to ${MAX_REFERENCES} digests` });
  }
  const objectKey = size > INLINE_MAX_BYTES ? manifestKey(digest) : null;
  if (objectKey) await putVerified(env, objectKey, manifest.text, digest);
  const results = await tryBatchTwice(env, putStatements(env, put, objectKey));
  if (objectKey) work.waitUntil(discardUnused(env, repository, digest, objectKey));
  if (!results) throw await refusalOf(env, put);
  const moved = results[0]?.results as { name: Tag; digest: Digest }[];
  return moved.map((row) => ({ tag: row.name, previous: row.digest }));
}

/** The list as one parameter; a media type only where it is compared, so that the longest list keeps within D1's 2 MB. */
function listed({ references }: Manifest): string {
  return JSON.stringify(references.map((one) => (one.kind === 'blob' ? { ...one, mediaType: undefined } : one)));
}

/** The first of them answers which tags are about to move. */
function putStatements(env: Database, put: ManifestPut, objectKey: string | null): D1PreparedStatement[] {
  const { repository, digest, manifest } = put;
  const references = listed(manifest);
  const tags = JSON.stringify(put.tags);
  return [
    env.DB.prepare(MOVING).bind(repository, tags, digest),
    refuseUnless(env, `NOT EXISTS (${UNMET})`, repository, references),
    refuseUnless(env, `NOT EXISTS (${OTHER_TYPE})`, repository, digest, manifest.mediaType),
    ...guardTags(env, put),
    ...ensureRepository(env, repository, put),
    recordPut(env, put),
    insertManifest(env, put, objectKey),
    env.DB.prepare(
      `INSERT INTO manifest_references (repository_id, child, parent)
       SELECT ${HERE}, value ->> 'digest', ?3 FROM json_each(?2) WHERE TRUE ON CONFLICT DO NOTHING`,
    ).bind(repository, references, digest),
    env.DB.prepare(
      `INSERT INTO tags (repository_id, name, digest, updated_at)
       SELECT ${HERE}, value, ?3, unixepoch() FROM json_each(?2) WHERE TRUE
       ON CONFLICT DO UPDATE SET digest = ?3, updated_at = unixepoch() WHERE digest <> ?3`,
    ).bind(repository, tags, digest),
  ];
}

/** Most callers may do both with every tag: then there is nothing to guard. */
function guardTags(env: Database, { repository, digest, notToMake, notToMove }: ManifestPut): D1PreparedStatement[] {
  const make = refuseUnless(env, `NOT EXISTS (${MAKING})`, repository, JSON.stringify(notToMake));
  const move = refuseUnless(env, `NOT EXISTS (${MOVING})`, repository, JSON.stringify(notToMove), digest);
  return [...(notToMake.length > 0 ? [make] : []), ...(notToMove.length > 0 ? [move] : [])];
}

function insertManifest(env: Database, { repository, digest, manifest, size }: ManifestPut, objectKey: string | null) {
  const { mediaType, artifactType, subject, text } = manifest;
  const content = objectKey ? null : text;
  return env.DB.prepare(
    `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, subject, size, pushed_at, object_key, content)
     VALUES (${HERE}, ?2, ?3, ?4, ?5, ?6, unixepoch(), ?7, ?8)
     ON CONFLICT DO UPDATE SET object_key = excluded.object_key WHERE object_key = ''`,
  ).bind(repository, digest, mediaType, artifactType ?? '', subject, size, objectKey, content);
}

/** An event a tag that is made or moved; one for the manifest, if it is new and comes without a tag. */
function recordPut(env: Database, { repository, digest, manifest, size, tags, by }: ManifestPut): D1PreparedStatement {
  const target = `'digest', ?3, 'mediaType', ?5, 'size', ?6`;
  return record(env, {
    about: repository,
    by,
    select: `SELECT CASE WHEN t.digest IS NULL THEN 'tag.created' ELSE 'tag.moved' END AS type,
        CASE WHEN t.digest IS NULL THEN json_object('tag', value, ${target})
          ELSE json_object('tag', value, ${target}, 'previous', t.digest) END AS target
      FROM json_each(?4) LEFT JOIN tags t ON t.repository_id = ${HERE} AND t.name = value
      WHERE t.digest IS NULL OR t.digest <> ?3
      UNION ALL
      SELECT 'manifest.pushed', json_object(${target})
      WHERE json_array_length(?4) = 0 AND NOT EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${HERE} AND digest = ?3)`,
    parameters: [digest, JSON.stringify(tags), manifest.mediaType, size],
  });
}

/** Which precondition it was. Where none holds any more, another request came between: the client may simply try again. */
async function refusalOf(env: Database, put: ManifestPut): Promise<RegistryError> {
  const { repository, digest, manifest } = put;
  const [unmet, otherType, taken, absentTags, repositories] = await env.DB.batch([
    env.DB.prepare(UNMET).bind(repository, listed(manifest)),
    env.DB.prepare(OTHER_TYPE).bind(repository, digest, manifest.mediaType),
    env.DB.prepare(MOVING).bind(repository, JSON.stringify(put.notToMove), digest),
    env.DB.prepare(MAKING).bind(repository, JSON.stringify(put.notToMake)),
    env.DB.prepare('SELECT id FROM repositories WHERE name = ?1').bind(repository),
  ]);
  if (!put.mayCreate && repositories?.results.length === 0) return unknownRepository();
  const references = (unmet?.results ?? []) as { digest: string; present: number; differs: number | null }[];
  const absent = references.filter((row) => !row.present).map((row) => row.digest);
  if (absent.length > 0)
    return new RegistryError('MANIFEST_BLOB_UNKNOWN', { detail: absent.map((each) => ({ digest: each })) });
  if (references.length > 0) {
    const message = 'a descriptor states another size or media type than its content has';
    return new RegistryError('MANIFEST_INVALID', { message, detail: references.map((row) => ({ digest: row.digest })) });
  }
  if (otherType?.results.length) {
    return new RegistryError('MANIFEST_INVALID', { message: 'this content was pushed before with another media type' });
  }
  if (taken?.results.length) {
    const message = 'this tag exists, and the right to move it (retag) is missing';
    return new RegistryError('DENIED', { message, detail: taken.results });
  }
  if (absentTags?.results.length) {
    const message = 'this tag does not exist, and the right to make it (push) is missing';
    return new RegistryError('DENIED', { message, detail: absentTags.results });
  }
  return new RegistryError('UNAVAILABLE', { message: 'the repository changed meanwhile, try again' });
}

/** The document was there already, or was refused: then nothing names the new object. */
async function discardUnused(env: Stores, repository: RepositoryName, digest: Digest, objectKey: string): Promise<void> {
  const kept = await env.DB.prepare(`SELECT object_key FROM manifests WHERE repository_id = ${HERE} AND digest = ?2`)
    .bind(repository, digest)
    .first<{ object_key: string | null }>();
  if (kept?.object_key !== objectKey) await deleteObjects(env, [objectKey]);
}
