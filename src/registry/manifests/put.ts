/** Stores a pushed manifest. One batch writes its references, its document, its tags with their history, and the events. */
import { type Env, settings, type Vars } from '../../env.ts';
import {
  type Assumption,
  AssumptionFailed,
  type Background,
  type Batch,
  type Handle,
  isLost,
  newBatch,
  type Results,
} from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { recordImageEvent } from '../../events/outbox.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import { contentSizeOf, type Manifest } from '../../oci/manifest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { manifestKey } from '../../storage/keys.ts';
import { deleteObjects, putVerified } from '../../storage/objects.ts';
import { isRefusal, type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import { ensureRepository, REPOSITORY_ID } from '../repositories/repositories.ts';
import { changeTags, lastPoint } from '../tags/changes.ts';
import { MOVING_TAGS, requireCondition, requireTagRights, type TagPut, tagsHeldByOthers } from '../tags/guards.ts';
import { type Judgement, requireMutable, withMutabilityRule } from '../tags/mutability.ts';
import { countManifest } from '../usage/limit.ts';
import { countPut } from '../usage/sums.ts';
import { listOf, requireContent } from './references.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/**
 * The maximum number of references in a manifest. The list of references is one SQL parameter, and D1 accepts parameters of up
 * to 2 MB.
 */
const MAX_REFERENCES = 4000;

/**
 * The maximum number of bytes of a document that is stored in the manifest's row. A longer document is stored in R2. A D1 row
 * has at most 2 MB, and lists should not read megabytes.
 */
const INLINE_MAX_BYTES = 128 * 1024;

interface ManifestPut extends TagPut {
  manifest: Manifest;
  /** The size of the document in bytes. */
  size: number;
  by: Actor;
  /** True if the push may create the repository. */
  mayCreate: boolean;
  /** What the batch must require, because the caller's rights were not read for this request. */
  assumed?: Assumption | null;
}

/** The tags that a push moved, each with the digest that it named before. */
export type MovedTags = { tag: Tag; previous: Digest }[];

/**
 * Endpoint end-7: stores a manifest (invariants 2, 3 and 6). If the manifest exists already, the manifest and its tags get a
 * new time, and each tag gets an event, as for a new manifest.
 * @throws references-unknown, manifest-invalid, forbidden, condition-failed, tag-immutable, quota-exceeded, repository-unknown
 */
export async function putManifest(env: Stores, put: ManifestPut, work: Background): Promise<MovedTags> {
  const { repository, digest, manifest, size } = put;
  if (manifest.references.length > MAX_REFERENCES) {
    throw new Refusal('manifest-invalid', { message: `a manifest may reference up to ${MAX_REFERENCES} digests` });
  }
  const objectKey = size > INLINE_MAX_BYTES ? manifestKey(digest) : null;
  if (objectKey) await putVerified(env, objectKey, manifest.text, digest);
  const attempt: Attempt = { id: crypto.randomUUID(), objectKey };
  const discard = () => {
    if (objectKey && attempt.lost === undefined) work.waitUntil(discardUnused(env, repository, digest, objectKey));
  };
  try {
    const moved = await withMutabilityRule(env, repository, (judgement) => putOnce(env, put, attempt, judgement));
    discard();
    return moved;
  } catch (error) {
    if (isRefusal(error)) discard();
    throw error;
  }
}

/** One execution of a put. Its id is stored, so that a later query can find out whether D1 committed the batch. */
interface Attempt {
  id: string;
  /** The R2 key of a long document, or `null` if the document is stored in the row. */
  objectKey: string | null;
  /**
   * The error of a batch whose answer was lost. D1 may still commit that batch later, so the R2 object is not deleted here. If
   * no row names the object in the end, the scrub job deletes it.
   */
  lost?: unknown;
}

/**
 * Commits the put. If the answer of D1 is lost, a query finds out whether the batch was committed. If it was not, the put is
 * tried once more. The second batch has a precondition that the first one was not committed in between, because the second one
 * could then undo a later change.
 */
async function putOnce(env: Stores, put: ManifestPut, attempt: Attempt, judgement: Judgement): Promise<MovedTags> {
  const first = newBatch(env);
  const moving = addPut(first, env, put, attempt, judgement);
  try {
    return movedIn(await first.commit(), moving);
  } catch (error) {
    if (isRefusal(error) || !isLost(error)) throw error;
    attempt.lost = error;
  }
  const carriedOut = await writtenBy(env, put, attempt);
  if (carriedOut) return carriedOut;
  const second = newBatch(env);
  // D1 may commit the first batch even after the query that did not find it.
  second.require('overtaken', `NOT EXISTS (${WRITTEN})`, writtenParameters(put, attempt));
  const movingNow = addPut(second, env, put, attempt, judgement);
  try {
    return movedIn(await second.commit(), movingNow);
  } catch (error) {
    const written = isRefusal(error, 'overtaken') ? await writtenBy(env, put, attempt) : null;
    if (written) return written;
    // Another put of the caller would not know of the first batch.
    throw error instanceof AssumptionFailed ? attempt.lost : error;
  }
}

interface MovingTag {
  name: Tag;
  digest: Digest;
}

function movedIn(results: Results, moving: Handle<MovingTag>): MovedTags {
  return results.of(moving).map(({ name, digest }) => ({ tag: name, previous: digest }));
}

/**
 * The maximum number of rows of a tag's history in which the attempt is searched, the newest first. Other requests may have
 * changed the tag since.
 */
const POINTS = 100;

/**
 * SQL query: the changes that the put `:attempt` wrote. It yields the tags in `:tags` that the put changed. It also yields a
 * row of NULLs if the put wrote the manifest, even if the manifest is in the trash by now.
 */
const WRITTEN = `SELECT h.tag, h.previous FROM json_each(:tags) d CROSS JOIN tag_history h
    ON h.repository_id = ${REPOSITORY_ID} AND h.tag = d.value AND h.attempt = :attempt
      AND h.point > ${lastPoint('d.value')} - ${POINTS}
  UNION ALL SELECT NULL, NULL WHERE
    EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest AND attempt = :attempt)
    OR EXISTS (SELECT 1 FROM trashed_manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest
      AND attempt = :attempt)`;

function writtenParameters({ repository, tags, digest }: ManifestPut, attempt: Attempt): Parameters {
  return { repository, tags, digest, attempt: attempt.id };
}

/** Returns the tags that the attempt moved, or `null` if D1 did not commit the attempt. */
async function writtenBy(env: Stores, put: ManifestPut, attempt: Attempt): Promise<MovedTags | null> {
  const { results } = await prepare(env, WRITTEN, writtenParameters(put, attempt)).all<{
    tag: Tag | null;
    previous: Digest | null;
  }>();
  if (results.length === 0) return null;
  return results.flatMap(({ tag, previous }) => (tag && previous ? [{ tag, previous }] : []));
}

/** Adds the preconditions and statements of a put to the batch. @returns a handle of the tags that the put moves */
function addPut(batch: Batch, env: Stores, put: ManifestPut, attempt: Attempt, judgement: Judgement): Handle<MovingTag> {
  const { repository, digest, manifest, size, tags, by, notToMake, notToMove } = put;
  const { mediaType } = manifest;
  put.assumed?.addTo(batch);
  const moving = batch.query<MovingTag>(MOVING_TAGS, { repository, tags, digest });
  ensureRepository(batch, repository, put);
  const references = listOf(manifest);
  requireContent(batch, env, put, references);
  requireTagRights(batch, env, put, deniedTags);
  requireCondition(batch, env, put);
  if (tags.length > 0) requireMutable(batch, env, repository, tagsHeldByOthers(tags, digest), { judgement, names: tags });
  if (tags.length === 0) recordUntagged(batch, put);
  countManifest(batch, env, put, by);
  countPut(batch, put, references);
  insertManifest(batch, env, put, attempt);
  batch.run(
    `INSERT INTO manifest_references (repository_id, child, parent)
     SELECT ${REPOSITORY_ID}, value ->> 'digest', :digest FROM json_each(:references) WHERE TRUE ON CONFLICT DO NOTHING`,
    { repository, digest, references },
  );
  // A caller who may neither create nor move a tag must not trigger its webhooks. So the tag gets no new time and no event.
  const pushedAgain = tags.filter((tag) => !notToMake.includes(tag) || !notToMove.includes(tag));
  if (tags.length > 0) {
    changeTags(batch, {
      ...{ repository, digest, mediaType, size, tags, by, cause: 'push', attempt: attempt.id, pushedAgain, areCounted: true },
    });
  }
  return moving;
}

function deniedTags({ moving, tags }: { moving: boolean; tags: unknown[] }): Particulars {
  const message = moving
    ? 'this tag exists, and you do not have the right to move it (retag): push another tag, or ask for that right'
    : 'this tag does not exist, and you do not have the right to create it (push): push a tag that you have the right to';
  return { message, detail: tags };
}

/** Adds a statement to the batch that records the event of a push without a tag, if the manifest is new. */
function recordUntagged(batch: Batch, { repository, digest, manifest, size, by }: ManifestPut): void {
  recordImageEvent(batch, {
    about: repository,
    by,
    cause: 'push',
    select: `SELECT 'manifest.pushed' AS type, json_object('digest', :digest, 'mediaType', :mediaType, 'size', :size) AS target
      WHERE NOT EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest)`,
    parameters: { repository, digest, mediaType: manifest.mediaType, size },
  });
}

/**
 * Adds a statement to the batch that writes the manifest's row. A manifest without a tag gets a lease, which protects it until
 * a tag or an index names it (invariant 8). `pushed_at` is the time of the last push.
 */
function insertManifest(
  batch: Batch,
  env: Vars,
  { repository, digest, manifest, size, tags }: ManifestPut,
  { id, objectKey }: Attempt,
): void {
  const { mediaType, artifactType, subject, text } = manifest;
  batch.run(
    `INSERT INTO manifests
       (repository_id, digest, media_type, artifact_type, subject, size, pushed_at, object_key, content, content_size,
        leased_until, attempt)
     VALUES (${REPOSITORY_ID}, :digest, :mediaType, :artifactType, :subject, :size, unixepoch(), :objectKey, :content,
       :contentSize, iif(:takesLease, unixepoch() + :lease, 0), :attempt)
     ON CONFLICT DO UPDATE SET object_key = iif(object_key = '', excluded.object_key, object_key),
       leased_until = iif(leased_until < excluded.leased_until - :lease / 2, excluded.leased_until, leased_until),
       attempt = excluded.attempt, pushed_at = excluded.pushed_at, content_size = excluded.content_size`,
    {
      ...{ repository, digest, mediaType, artifactType: artifactType ?? '', subject, size, objectKey },
      ...{ content: objectKey ? null : text, contentSize: contentSizeOf(manifest) },
      ...{ takesLease: tags.length === 0, lease: settings(env).leaseSeconds, attempt: id },
    },
  );
}

/** Deletes the new R2 object if no row names it. This happens if the document existed already or the put was refused. */
async function discardUnused(env: Stores, repository: RepositoryName, digest: Digest, objectKey: string): Promise<void> {
  const isIn = (table: string) =>
    `EXISTS (SELECT 1 FROM ${table} WHERE repository_id = r.id AND digest = :digest AND object_key = :objectKey)`;
  const kept = await prepare(
    env,
    `SELECT 1 FROM (SELECT id FROM repositories WHERE name = :repository
       UNION ALL SELECT repository_id FROM trash WHERE kind = 'repository' AND repository = :repository) r
     WHERE ${isIn('manifests')} OR ${isIn('trashed_manifests')} LIMIT 1`,
    { repository, digest, objectKey },
  ).first();
  if (!kept) await deleteObjects(env, [objectKey]);
}
