/**
 * What manifests in the trash reference, and which of it the repository lacks. The database reads documents in their rows; the
 * references of documents in the bucket are passed to it. A client may have deleted blobs that nothing seemed to need, but the trash
 * has kept their bytes.
 */
import type { Env } from '../../env.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import { MANIFEST_MEDIA_TYPES, type ManifestReference, parseManifest } from '../../oci/manifest.ts';
import { readText } from '../../storage/objects.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Described } from '../manifests/references.ts';

type Stores = Pick<Env, 'DB' | 'BLOBS'>;

/** The references of a document that is stored in the bucket. */
export interface BucketDocument {
  parent: Digest;
  references: Described[];
}

/** Parameters of `TRASHED_REFERENCES`. */
interface ReferenceParameters {
  id: number;
  manifests: readonly Digest[];
  inBucket: readonly BucketDocument[];
}

const DOCUMENTS = 'FROM json_each(:manifests) s CROSS JOIN trashed_manifests d ON d.repository_id = :id AND d.digest = s.value';

/**
 * SQL: the references of the manifests `:manifests` in the trash of repository `:id`, with the documents in the bucket as `:inBucket`. A
 * list in a document may be `null`; then json_each yields one row that is not an object.
 */
export const TRASHED_REFERENCES = `SELECT d.digest AS parent, d.content ->> '$.config.digest' AS child, 'config' AS list,
      d.content ->> '$.config.mediaType' AS type ${DOCUMENTS} AND d.content ->> '$.config.digest' IS NOT NULL
  UNION SELECT d.digest, r.value ->> 'digest', 'layers', r.value ->> 'mediaType'
    ${DOCUMENTS} CROSS JOIN json_each(d.content, '$.layers') r ON r.type = 'object'
  UNION SELECT d.digest, r.value ->> 'digest', 'manifests', r.value ->> 'mediaType'
    ${DOCUMENTS} CROSS JOIN json_each(d.content, '$.manifests') r ON r.type = 'object'
  UNION SELECT o.value ->> 'parent', r.value ->> 'child', r.value ->> 'list', r.value ->> 'type'
    FROM json_each(:inBucket) o CROSS JOIN json_each(o.value, '$.references') r`;

/** An index entry with one of these media types is a manifest; any other entry is a blob. */
const MANIFEST_TYPES = MANIFEST_MEDIA_TYPES.map((type) => `'${type}'`).join();

/**
 * SQL: the references of `TRASHED_REFERENCES` to content that the repository lacks.
 * @param table where manifests are looked up. A manifest counts only if it has the media type that the index gives it.
 */
export const unmetReferences = (
  table: 'manifests' | 'trashed_manifests',
) => `SELECT x.parent, x.child, x.list, x.type FROM (${TRASHED_REFERENCES}) x
  WHERE NOT iif(x.list = 'manifests' AND x.type IN (${MANIFEST_TYPES}),
    EXISTS (SELECT 1 FROM ${table} t WHERE t.repository_id = :id AND t.digest = x.child AND t.media_type = x.type),
    EXISTS (SELECT 1 FROM repository_blobs l JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
      WHERE l.digest = x.child AND l.repository_id = :id))`;

export interface MissingContent {
  /** Blobs that must be linked again. */
  links: Digest[];
  /** Foreign layers, which may be absent. */
  foreign: { child: Digest; type: string | null }[];
}

interface UnmetReference {
  parent: Digest;
  child: Digest;
  list: string;
  type: string | null;
}

/** Documents that are read to learn which references are required. */
const PARENTS_MAX = 100;
/** Digests that a refusal names. */
const NAMED_MAX = 10;

/** @throws content-gone, with the digests of the content that cannot be restored */
export async function findMissing(env: Stores, parameters: ReferenceParameters): Promise<MissingContent> {
  // Equal references are grouped, because the type alone decides what they need. A child that was pushed again with another media type
  // cannot be restored as this one.
  const { results } = await prepare(
    env,
    `SELECT min(parent) AS parent, child, list, type FROM (SELECT * FROM (${unmetReferences('trashed_manifests')}) x
       WHERE NOT (x.list = 'manifests' AND EXISTS (SELECT 1 FROM manifests t
         WHERE t.repository_id = :id AND t.digest = x.child AND t.media_type = x.type))
       UNION SELECT x.parent, x.child, x.list, x.type FROM (${TRASHED_REFERENCES}) x CROSS JOIN manifests t
         ON t.repository_id = :id AND t.digest = x.child AND t.media_type <> x.type AND t.object_key IS NOT ''
         WHERE x.list = 'manifests')
     GROUP BY child, list, type LIMIT 1000`,
    { ...parameters },
  ).all<UnmetReference>();
  if (results.length === 0) return { links: [], foreign: [] };
  const parents = [...new Set(results.map(({ parent }) => parent))];
  if (parents.length > PARENTS_MAX) throw contentGone(results.map(({ child }) => child));
  const known = await referencesOf(env, parameters.id, parents);
  const required = results.flatMap((row) => requiredBy(known.get(row.parent) ?? [], row));
  const links = await storedBlobs(env, required);
  const gone = required.filter(({ digest }) => !links.includes(digest));
  if (gone.length > 0) throw contentGone(gone.map(({ digest }) => digest));
  const foreign = results.filter(({ child }) => !links.includes(child)).map(({ child, type }) => ({ child, type }));
  return { links, foreign };
}

function requiredBy(references: ManifestReference[], { child, type }: UnmetReference): ManifestReference[] {
  return references.filter(({ digest, mediaType, required }) => required && digest === child && mediaType === type);
}

async function referencesOf(env: Stores, id: number, parents: Digest[]): Promise<Map<Digest, ManifestReference[]>> {
  const { results } = await prepare(
    env,
    `SELECT digest, media_type, content, object_key FROM trashed_manifests
     WHERE repository_id = :id AND digest IN (SELECT value FROM json_each(:parents))`,
    { id, parents },
  ).all<{ digest: Digest; media_type: string; content: string | null; object_key: string | null }>();
  const parsed = results.map(async ({ digest, media_type, content, object_key }) => {
    const text = content ?? (await readText(env, object_key ?? ''));
    if (text === null) throw contentGone([digest]);
    return [digest, parseManifest(new TextEncoder().encode(text), media_type).references] as const;
  });
  return new Map(await Promise.all(parsed));
}

/** The referenced blobs whose bytes the registry has. They were in this repository when the manifest was pushed. */
async function storedBlobs(env: Stores, references: ManifestReference[]): Promise<Digest[]> {
  const blobs = references.filter(({ kind }) => kind === 'blob');
  const { results } = await prepare(
    env,
    `SELECT DISTINCT b.digest FROM json_each(:blobs) r JOIN blobs b ON b.digest = r.value ->> 'digest' AND b.size = r.value ->> 'size'
     WHERE b.missing_since IS NULL`,
    { blobs },
  ).all<{ digest: Digest }>();
  return results.map(({ digest }) => digest);
}

export function contentGone(digests: Digest[]): Refusal {
  const detail = [...new Set(digests)].slice(0, NAMED_MAX).map((digest) => ({ digest }));
  return new Refusal('content-gone', { detail });
}
