/** Putting a manifest: its references, the document, its tags and their history, and what is recorded of it, in one batch. */
import { type Env, settings, type Vars } from '../../env.ts';
import {
  type Background,
  type Database,
  isLost,
  persistently,
  refuseUnless,
  statementsOf,
  tryBatch,
} from '../../events/batch.ts';
import { record } from '../../events/outbox.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { manifestKey } from '../../storage/keys.ts';
import { deleteObjects, putVerified } from '../../storage/objects.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { ensureRepository, HERE } from '../repositories/repositories.ts';
import { changeTags, lastPoint } from '../tags/changes.ts';
import { guardsOf, type ManifestPut, MOVING } from '../tags/guards.ts';
import { type Judgement, underRule } from '../tags/mutability.ts';
import { countManifest } from '../usage/limit.ts';
import { listed, OTHER_TYPE, refusalOf, UNMET } from './put-refusals.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** What a put may point at: their list is one bound parameter, of which D1 takes 2 MB. */
const MAX_REFERENCES = 4000;

/** Bytes up to which a document lives in its row: a D1 row ends at 2 MB, and a list should not drag megabytes along. */
const INLINE_MAX_BYTES = 128 * 1024;

/** What the tags of a put named before: only those that really moved. */
export type MovedTags = { tag: Tag; previous: Digest }[];

/**
 * end-7. References, manifest, tags, history and events in one batch (invariants 2, 3 and 6). Putting again what is there
 * changes nothing, but it is a push: the manifest and its tags become younger, and each tag has an event.
 * @throws references-unknown, manifest-invalid, forbidden, condition-failed, tag-immutable, quota-exceeded, repository-unknown
 */
export async function putManifest(env: Stores, put: ManifestPut, work: Background): Promise<MovedTags> {
  const { repository, digest, manifest, size } = put;
  if (manifest.references.length > MAX_REFERENCES) {
    throw new Refusal('manifest-invalid', { message: `a manifest may reference up to ${MAX_REFERENCES} digests` });
  }
  const objectKey = size > INLINE_MAX_BYTES ? manifestKey(digest) : null;
  if (objectKey) await putVerified(env, objectKey, manifest.text, digest);
  const attempt = { id: crypto.randomUUID(), objectKey };
  try {
    return await persistently(
      () => underRule(env, repository, (judgement) => putOnce(env, put, attempt, judgement)),
      () => refusalOf(env, put),
    );
  } finally {
    if (objectKey) work.waitUntil(discardUnused(env, repository, digest, objectKey));
  }
}

/** A put, of which it can be told later whether it was carried out. */
interface Attempt {
  id: string;
  /** Of a document of its own. */
  objectKey: string | null;
}

/**
 * Where the answer of the batch was lost, it is tried again unless it was carried out: another change may have come in between,
 * and must not be undone. `null`: refused.
 */
async function putOnce(env: Stores, put: ManifestPut, attempt: Attempt, judgement: Judgement): Promise<MovedTags | null> {
  const [moving, ...statements] = putStatements(env, put, attempt, judgement);
  try {
    return movedBy(await tryBatch(env, [moving, ...statements]));
  } catch (error) {
    if (!isLost(error)) throw error;
    const carriedOut = await doneBy(env, put, attempt);
    if (carriedOut) return carriedOut;
    // It may be carried out just now: then this one is refused.
    const { repository, tags, digest } = put;
    const guard = refuseUnless(env, `NOT EXISTS (${DONE})`, repository, JSON.stringify(tags), digest, attempt.id);
    return movedBy(await tryBatch(env, [moving, guard, ...statements])) ?? doneBy(env, put, attempt);
  }
}

function movedBy(results: D1Result[] | null): MovedTags | null {
  const moved = results?.[0]?.results as { name: Tag; digest: Digest }[] | undefined;
  return moved ? moved.map((row) => ({ tag: row.name, previous: row.digest })) : null;
}

/** Points of a tag's history that are looked at: others may have changed it since. */
const POINTS = 100;

/** What attempt ?4 has written: tags of ?2 that it changed, and the manifest ?3, which may have been deleted since. */
const DONE = `SELECT h.tag, h.previous FROM json_each(?2) d CROSS JOIN tag_history h
    ON h.repository_id = ${HERE} AND h.tag = d.value AND h.attempt = ?4 AND h.point > ${lastPoint('d.value')} - ${POINTS}
  UNION ALL SELECT NULL, NULL WHERE
    EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${HERE} AND digest = ?3 AND attempt = ?4)
    OR EXISTS (SELECT 1 FROM trashed_manifests WHERE repository_id = ${HERE} AND digest = ?3 AND attempt = ?4)`;

async function doneBy(env: Stores, { repository, tags, digest }: ManifestPut, attempt: Attempt): Promise<MovedTags | null> {
  const { results } = await env.DB.prepare(DONE)
    .bind(repository, JSON.stringify(tags), digest, attempt.id)
    .all<{ tag: Tag | null; previous: Digest | null }>();
  if (results.length === 0) return null;
  return results.flatMap(({ tag, previous }) => (tag && previous ? [{ tag, previous }] : []));
}

/** The first of them answers which tags are about to move. */
function putStatements(
  env: Database & Vars,
  put: ManifestPut,
  attempt: Attempt,
  judgement: Judgement,
): [D1PreparedStatement, ...D1PreparedStatement[]] {
  const { repository, digest, manifest, size, tags, by, notToMake, notToMove } = put;
  const { mediaType } = manifest;
  // Whoever has no right to a tag at all does not refresh it, and sets off no deployment of it.
  const pushedAgain = tags.filter((tag) => !notToMake.includes(tag) || !notToMove.includes(tag));
  const change = { repository, digest, mediaType, size, tags, by, attempt: attempt.id, pushedAgain };
  const references = listed(manifest);
  return [
    env.DB.prepare(MOVING).bind(repository, JSON.stringify(tags), digest),
    refuseUnless(env, `NOT EXISTS (${UNMET})`, repository, references),
    refuseUnless(env, `NOT EXISTS (${OTHER_TYPE})`, repository, digest, mediaType),
    ...guardsOf(env, put, judgement),
    ...statementsOf(env, (batch) => ensureRepository(batch, repository, put)),
    ...(tags.length === 0 ? [recordUntagged(env, put)] : []),
    ...countManifest(env, put, by),
    insertManifest(env, put, attempt),
    env.DB.prepare(
      `INSERT INTO manifest_references (repository_id, child, parent)
       SELECT ${HERE}, value ->> 'digest', ?3 FROM json_each(?2) WHERE TRUE ON CONFLICT DO NOTHING`,
    ).bind(repository, references, digest),
    ...(tags.length > 0 ? changeTags(env, change) : []),
  ];
}

/** One that comes without a tag has an event of its own, if it is new. */
function recordUntagged(env: Database, { repository, digest, manifest, size, by }: ManifestPut): D1PreparedStatement {
  return record(env, {
    about: repository,
    by,
    select: `SELECT 'manifest.pushed' AS type, json_object('digest', ?3, 'mediaType', ?4, 'size', ?5) AS target
      WHERE NOT EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${HERE} AND digest = ?3)`,
    parameters: [digest, manifest.mediaType, size],
  });
}

/** A put without a tag takes a lease, until what shall name the manifest has come (invariant 8). `pushed_at` is the last put. */
function insertManifest(
  env: Database & Vars,
  { repository, digest, manifest, size, tags }: ManifestPut,
  { id, objectKey }: Attempt,
) {
  const { mediaType, artifactType, subject, text } = manifest;
  const content = objectKey ? null : text;
  const lease = settings(env).leaseSeconds;
  return env.DB.prepare(
    `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, subject, size, pushed_at, object_key, content, leased_until, attempt)
     VALUES (${HERE}, ?2, ?3, ?4, ?5, ?6, unixepoch(), ?7, ?8, iif(?9, unixepoch() + ?10, 0), ?11)
     ON CONFLICT DO UPDATE SET object_key = iif(object_key = '', excluded.object_key, object_key),
       leased_until = iif(leased_until < excluded.leased_until - ?10 / 2, excluded.leased_until, leased_until), attempt = excluded.attempt, pushed_at = excluded.pushed_at`,
  ).bind(
    repository,
    digest,
    mediaType,
    artifactType ?? '',
    subject,
    size,
    objectKey,
    content,
    tags.length === 0 ? 1 : 0,
    lease,
    id,
  );
}

/** The document was there already, or was refused: then nothing names the new object. It may have been deleted since. */
async function discardUnused(env: Stores, repository: RepositoryName, digest: Digest, objectKey: string): Promise<void> {
  const of = (table: string) =>
    `EXISTS (SELECT 1 FROM ${table} WHERE repository_id = r.id AND digest = ?2 AND object_key = ?3)`;
  const kept = await env.DB.prepare(
    `SELECT 1 FROM (SELECT id FROM repositories WHERE name = ?1
       UNION ALL SELECT repository_id FROM trash WHERE kind = 'repository' AND repository = ?1) r
     WHERE ${of('manifests')} OR ${of('trashed_manifests')} LIMIT 1`,
  )
    .bind(repository, digest, objectKey)
    .first();
  if (!kept) await deleteObjects(env, [objectKey]);
}
