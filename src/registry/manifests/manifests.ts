/**
 * Reads manifests of a repository and the references in their documents. `put.ts` and `deletion.ts` write manifests. The
 * database has no index from a manifest to its references, because only deletion and restoring need them; they are read from
 * the document.
 */
import { type Env, settings, type Vars } from '../../env.ts';
import { type Database, newBatch } from '../../events/batch.ts';
import { type Found, firstFromNearest, firstFromPrimary } from '../../events/replicas.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Reference } from '../../oci/reference.ts';
import { readText } from '../../storage/objects.ts';
import { report } from '../../telemetry.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { markManifests } from '../faults.ts';
import { type Blob, beginReading, remembersBlobs } from '../known-blobs.ts';
import {
  beginReadingAhead,
  beginReadingManifest,
  forgetManifests,
  knownManifest,
  lastPulledManifest,
} from '../known-manifests.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'>;

interface ManifestHead {
  digest: Digest;
  mediaType: string;
  size: number;
}

/**
 * Returns the SQL that finds a manifest by its tag or digest (`:reference`). An empty R2 key marks a document whose object is
 * missing; such a manifest counts as absent.
 */
function locate(reference: Reference): string {
  const named = reference.tag
    ? 'JOIN tags t ON t.repository_id = r.id AND t.name = :reference JOIN manifests m ON m.repository_id = r.id AND ' +
      'm.digest = t.digest'
    : 'JOIN manifests m ON m.repository_id = r.id AND m.digest = :reference';
  return `FROM repositories r ${named} AND m.object_key IS NOT '' WHERE r.name = :repository`;
}

interface HeadRow {
  digest: Digest;
  media_type: string;
  size: number;
}

/**
 * Reads the row of a manifest. A tag is read from the primary database and never from a replica, because the tag may have been
 * moved.
 */
function firstNamed<Row>(
  env: Database & Vars,
  columns: string,
  { repository, reference, now }: { repository: RepositoryName; reference: Reference; now: number },
  further: Parameters = {},
): Promise<Found<Row>> {
  const read = reference.tag ? firstFromPrimary<Row> : firstFromNearest<Row>;
  const parameters = { repository, reference: reference.tag ?? reference.digest, ...further };
  return read(env, `SELECT ${columns} ${locate(reference)}`, parameters, now);
}

/** Returns the digest, media type and size of a manifest. @throws manifest-unknown */
export async function statManifest(
  env: Database & Vars,
  repository: RepositoryName,
  reference: Reference,
  now: number,
): Promise<ManifestHead> {
  const { row } = await firstNamed<HeadRow>(env, 'm.digest, m.media_type, m.size', { repository, reference, now });
  if (!row) throw unknownManifest(repository, reference);
  return { digest: row.digest, mediaType: row.media_type, size: row.size };
}

/**
 * Returns the digest, media type and size of a manifest to a client that checks, before a push, whether it can skip the push.
 * Takes a lease on the manifest (invariant 8), so that no lifecycle rule deletes it as untagged before a tag or an index names
 * it.
 * @throws manifest-unknown
 */
export async function statManifestForPush(
  env: Database & Vars,
  repository: RepositoryName,
  digest: Digest,
): Promise<ManifestHead> {
  const batch = newBatch(env);
  batch.run(
    `UPDATE manifests SET leased_until = unixepoch() + :lease
     WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest AND leased_until < unixepoch() + :lease / 2`,
    { repository, digest, lease: settings(env).leaseSeconds },
  );
  const found = batch.query<HeadRow>(`SELECT m.digest, m.media_type, m.size ${locate({ digest })}`, {
    repository,
    reference: digest,
  });
  const row = (await batch.commit()).first(found);
  if (!row) throw unknownManifest(repository, { digest });
  return { digest: row.digest, mediaType: row.media_type, size: row.size };
}

/** The maximum number of blobs that a pull of a manifest stores in memory for the pulls of its layers. */
const BLOBS_MAX = 100;

/**
 * SQL expression on manifest `m` in repository `r`: the blobs of the document as a JSON list. The list is empty if the document
 * is in R2.
 */
const BLOBS_OF_MANIFEST = `(SELECT json_group_array(json_object('digest', b.digest, 'size', b.size, 'objectKey', b.object_key))
  FROM (SELECT m.content ->> '$.config.digest' AS digest
    UNION SELECT value ->> 'digest' FROM json_each(m.content, '$.layers') LIMIT ${BLOBS_MAX}) d
  CROSS JOIN repository_blobs l ON l.digest = d.digest AND l.repository_id = r.id
  CROSS JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL)`;

interface ManifestRow extends HeadRow {
  content: string | null;
  object_key: string | null;
  blobs: string | null;
}

/**
 * Reads the row of a manifest, and remembers where its blobs are.
 * @param known a manifest whose document and blobs are remembered. If the row is its row, these are not read again
 */
async function readManifest(
  env: Database & Vars,
  repository: RepositoryName,
  reference: Reference,
  now: number,
  known: Digest | null = null,
): Promise<Found<ManifestRow>> {
  const blobs = remembersBlobs(env) ? `iif(m.digest = :known, NULL, ${BLOBS_OF_MANIFEST})` : 'NULL';
  const remember = beginReading(env, repository);
  const content = 'iif(m.digest = :known, NULL, m.content) AS content';
  const columns = `m.digest, m.media_type, m.size, ${content}, m.object_key, ${blobs} AS blobs`;
  const found = await firstNamed<ManifestRow>(env, columns, { repository, reference, now }, { known });
  if (found.row?.blobs) remember(JSON.parse(found.row.blobs) as Blob[], found.asOf);
  return found;
}

/**
 * Returns the digest, media type and size of a manifest to a client that will probably pull the manifest by its digest next.
 * Reads the whole manifest into the memory of this isolate, so that the pulls of the manifest and of its blobs take no D1 call.
 * @throws manifest-unknown
 */
export async function statManifestForPull(
  env: Database & Vars,
  repository: RepositoryName,
  reference: Reference,
  now: number,
): Promise<ManifestHead> {
  const remember = beginReadingAhead(env, repository);
  if (!remember) return statManifest(env, repository, reference, now);
  const { row, asOf } = await readManifest(env, repository, reference, now);
  if (!row) throw unknownManifest(repository, reference);
  const head = { digest: row.digest, mediaType: row.media_type, size: row.size };
  if (row.content !== null) remember({ ...head, text: row.content }, asOf);
  return head;
}

/** Endpoint end-3: returns a manifest with its document. @throws manifest-unknown */
export async function getManifest(
  env: Stores & Vars,
  repository: RepositoryName,
  reference: Reference,
  now: number,
): Promise<ManifestHead & { text: string }> {
  const known = reference.digest ? knownManifest(env, repository, reference.digest, now) : null;
  if (known) return known;
  const tag = reference.tag ?? null;
  const last = tag === null ? null : lastPulledManifest(env, repository, tag, now);
  const remember = beginReadingManifest(env, repository, tag);
  const { row, asOf, fromReplica } = await readManifest(env, repository, reference, now, last?.digest ?? null);
  if (!row) throw await unknownToPull(env, repository, reference);
  const head = { digest: row.digest, mediaType: row.media_type, size: row.size };
  if (last?.digest === row.digest) return { ...head, text: last.text };
  const text = row.content ?? (await readText(env, row.object_key ?? ''));
  if (text === null) {
    if (fromReplica) {
      // The manifest may have been deleted and pushed again with another R2 key. So the primary database is queried.
      forgetManifests(env);
      return getManifest(env, repository, reference, now);
    }
    await markMissing(env, repository, row.digest, row.object_key);
    throw unknownManifest(repository, reference);
  }
  if (tag !== null && row.content !== null) remember({ ...head, text }, asOf);
  return { ...head, text };
}

/** Marks a manifest whose R2 object is missing. It counts as absent then, so clients upload it again at the next push. */
async function markMissing(env: Database, repository: RepositoryName, digest: Digest, objectKey: string | null): Promise<void> {
  report('manifest.object-missing', { digest, repository, object: objectKey });
  if (!objectKey) return;
  const batch = newBatch(env);
  markManifests(batch, [{ key: objectKey, digest, reason: 'missing' }]);
  await batch.commit();
}

/**
 * Returns the refusal `manifest-unknown`. Its message says if even the repository does not exist. The caller must have the
 * right to pull.
 */
async function unknownToPull(env: Database, repository: RepositoryName, reference: Reference): Promise<Refusal> {
  if (await prepare(env, 'SELECT 1 FROM repositories WHERE name = :repository', { repository }).first()) {
    return unknownManifest(repository, reference);
  }
  const message = `there is no repository ${repository}: check the name`;
  return new Refusal('manifest-unknown', { message, detail: reference });
}

export function unknownManifest(repository: RepositoryName, reference: Reference): Refusal {
  const what = reference.tag === undefined ? `image ${reference.digest}` : `tag ${reference.tag}`;
  return new Refusal('manifest-unknown', { message: `there is no ${what} in ${repository}`, detail: reference });
}

interface Descriptor {
  digest: Digest;
  mediaType?: string;
}

interface Document {
  config?: Descriptor | null;
  layers?: Descriptor[] | null;
  manifests?: Descriptor[] | null;
}

/** A descriptor in a manifest's document, and the field of the document that contains it. */
export interface Described {
  child: Digest;
  list: 'config' | 'layers' | 'manifests';
  type: string | null;
}

/**
 * Returns the descriptors in a manifest's document.
 * @param text a document that was validated when it was pushed
 */
export function descriptorsIn(text: string): Described[] {
  const { config, layers, manifests } = JSON.parse(text) as Document;
  const of = (list: Described['list'], descriptors: Descriptor[]) =>
    descriptors.map(({ digest, mediaType }) => ({ child: digest, list, type: mediaType ?? null }));
  return [...of('config', config ? [config] : []), ...of('layers', layers ?? []), ...of('manifests', manifests ?? [])];
}

/**
 * The columns of a manifest's row from which its references can be found. `inline` is a JSON list of the referenced digests;
 * `NULL` if the document is in R2.
 */
export interface DocumentRow {
  digest: Digest;
  inline: string | null;
  object_key: string | null;
}

/**
 * SQL column `inline`: the digests that the document in `content` references. D1 parses the document, so that the document
 * itself is not sent to the Worker.
 */
export const INLINE_REFERENCES = `(SELECT json_group_array(DISTINCT d) FROM (
    SELECT content ->> '$.config.digest' AS d
    UNION ALL SELECT value ->> 'digest' FROM json_each(content, '$.layers')
    UNION ALL SELECT value ->> 'digest' FROM json_each(content, '$.manifests')) WHERE d IS NOT NULL) AS inline`;

/** Returns the digests that a document references, or `null` if the R2 object of the document is missing. */
export async function referencesOf(env: Pick<Env, 'BLOBS'>, { inline, object_key }: DocumentRow): Promise<Digest[] | null> {
  if (object_key === null) return inline === null ? null : (JSON.parse(inline) as Digest[]);
  const text = object_key === '' ? null : await readText(env, object_key);
  return text === null ? null : [...new Set(descriptorsIn(text).map(({ child }) => child))];
}
