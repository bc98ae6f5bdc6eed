/**
 * Finds the references of manifests in the trash, and which of the referenced content the repository no longer contains. D1
 * parses documents that are stored in rows. A client may have deleted blobs that no manifest outside the trash references; the
 * trash kept their bytes.
 */
import type { Env } from '../../env.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import { MANIFEST_MEDIA_TYPES, type ManifestReference, parseManifest } from '../../oci/manifest.ts';
import { readText } from '../../storage/objects.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Described } from '../manifests/manifests.ts';

type Stores = Pick<Env, 'DB' | 'BLOBS'>;

/** The references in a document that is stored in R2. */
export interface BucketDocument {
  parent: Digest;
  references: Described[];
}

/** The parameters of `TRASHED_REFERENCES`. */
interface ReferenceParameters {
  id: number;
  manifests: readonly Digest[];
  inBucket: readonly BucketDocument[];
}

const DOCUMENTS = 'FROM json_each(:manifests) s CROSS JOIN trashed_manifests d ON d.repository_id = :id AND d.digest = s.value';

/**
 * SQL query: the references of the manifests `:manifests` in the trash of repository `:id`. `:inBucket` contains the references
 * of documents in R2. A list in a document may be `null`; json_each then yields one row that is not an object.
 */
export const TRASHED_REFERENCES = `SELECT d.digest AS parent, d.content ->> '$.config.digest' AS child, 'config' AS list,
      d.content ->> '$.config.mediaType' AS type ${DOCUMENTS} AND d.content ->> '$.config.digest' IS NOT NULL
  UNION SELECT d.digest, r.value ->> 'digest', 'layers', r.value ->> 'mediaType'
    ${DOCUMENTS} CROSS JOIN json_each(d.content, '$.layers') r ON r.type = 'object'
  UNION SELECT d.digest, r.value ->> 'digest', 'manifests', r.value ->> 'mediaType'
    ${DOCUMENTS} CROSS JOIN json_each(d.content, '$.manifests') r ON r.type = 'object'
  UNION SELECT o.value ->> 'parent', r.value ->> 'child', r.value ->> 'list', r.value ->> 'type'
    FROM json_each(:inBucket) o CROSS JOIN json_each(o.value, '$.references') r`;

/** SQL list: the media types of manifests. An index entry with one of them is a manifest; any other entry is a blob. */
const MANIFEST_TYPES = MANIFEST_MEDIA_TYPES.map((type) => `'${type}'`).join();

/**
 * Returns an SQL query: the references in `TRASHED_REFERENCES` whose content the repository does not contain.
 * @param table the table in which manifests are looked up. A manifest counts only if it has the media type that the index
 * states
 */
export const unmetReferences = (
  table: 'manifests' | 'trashed_manifests',
) => `SELECT x.parent, x.child, x.list, x.type FROM (${TRASHED_REFERENCES}) x
  WHERE NOT iif(x.list = 'manifests' AND x.type IN (${MANIFEST_TYPES}),
    EXISTS (SELECT 1 FROM ${table} t WHERE t.repository_id = :id AND t.digest = x.child AND t.media_type = x.type),
    EXISTS (SELECT 1 FROM repository_blobs l JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
      WHERE l.digest = x.child AND l.repository_id = :id))`;

export interface MissingContent {
  /** The blobs to link to the repository again. */
  links: Digest[];
  /** Foreign layers that the registry does not store. They may be absent. */
  foreign: { child: Digest; type: string | null }[];
}

interface UnmetReference {
  parent: Digest;
  child: Digest;
  list: string;
  type: string | null;
}

/**
 * The maximum number of references without content in one restore. A single manifest may have as many references, so each
 * manifest can be restored by itself.
 */
const UNMET_MAX = 4000;
/** The maximum number of documents to read in order to find out which references are required. */
const PARENTS_MAX = 100;
/** The maximum number of digests in the detail of a refusal. */
const NAMED_MAX = 10;

/** Finds the content to link again. @throws content-gone with the digests of content that no longer exists anywhere */
export async function findMissing(env: Stores, parameters: ReferenceParameters): Promise<MissingContent> {
  // Equal references of several parents are grouped, because whether the content is required depends only on the type. If a
  // child was pushed again with another media type, it cannot be restored with this type.
  const { results } = await prepare(
    env,
    `SELECT min(parent) AS parent, child, list, type FROM (SELECT * FROM (${unmetReferences('trashed_manifests')}) x
       WHERE NOT (x.list = 'manifests' AND EXISTS (SELECT 1 FROM manifests t
         WHERE t.repository_id = :id AND t.digest = x.child AND t.media_type = x.type))
       UNION SELECT x.parent, x.child, x.list, x.type FROM (${TRASHED_REFERENCES}) x CROSS JOIN manifests t
         ON t.repository_id = :id AND t.digest = x.child AND t.media_type <> x.type AND t.object_key IS NOT ''
         WHERE x.list = 'manifests')
     GROUP BY child, list, type LIMIT ${UNMET_MAX} + 1`,
    { ...parameters },
  ).all<UnmetReference>();
  if (results.length === 0) return { links: [], foreign: [] };
  if (results.length > UNMET_MAX) throw tooManyUnmet();
  const parents = [...new Set(results.map(({ parent }) => parent))];
  if (parents.length > PARENTS_MAX) throw contentGone(results.map(({ child }) => child));
  const known = await referencesOf(env, parameters.id, parents);
  const required = results.flatMap((row) => requiredBy(known.get(row.parent), row));
  const links = await storedBlobs(env, required);
  const linked = new Set(links);
  const gone = required.filter(({ digest }) => !linked.has(digest));
  if (gone.length > 0) throw contentGone(gone.map(({ digest }) => digest));
  const foreign = results.filter(({ child }) => !linked.has(child)).map(({ child, type }) => ({ child, type }));
  return { links, foreign };
}

function tooManyUnmet(): Refusal {
  const message =
    `the repository has lost more than ${UNMET_MAX} blobs that this would restore: nothing was restored, ` +
    `restore the manifests that it lists first, one by one`;
  return new Refusal('limit-reached', { message });
}

/** References by their digest. */
type References = Map<Digest, ManifestReference[]>;

function requiredBy(references: References | undefined, { child, type }: UnmetReference): ManifestReference[] {
  return references?.get(child)?.filter(({ mediaType, required }) => required && mediaType === type) ?? [];
}

/** Returns the references of trashed manifests, by the digest of the manifest. */
async function referencesOf(env: Stores, id: number, parents: Digest[]): Promise<Map<Digest, References>> {
  const { results } = await prepare(
    env,
    `SELECT digest, media_type, content, object_key FROM trashed_manifests
     WHERE repository_id = :id AND digest IN (SELECT value FROM json_each(:parents))`,
    { id, parents },
  ).all<{ digest: Digest; media_type: string; content: string | null; object_key: string | null }>();
  const parsed = results.map(async ({ digest, media_type, content, object_key }) => {
    const text = content ?? (await readText(env, object_key ?? ''));
    if (text === null) throw contentGone([digest]);
    const { references } = parseManifest(new TextEncoder().encode(text), media_type);
    return [digest, Map.groupBy(references, (reference) => reference.digest)] as const;
  });
  return new Map(await Promise.all(parsed));
}

/** Returns the referenced blobs that the registry stores. The repository contained them when the manifest was pushed. */
async function storedBlobs(env: Stores, references: ManifestReference[]): Promise<Digest[]> {
  const blobs = references.filter(({ kind }) => kind === 'blob');
  const { results } = await prepare(
    env,
    `SELECT DISTINCT b.digest FROM json_each(:blobs) r JOIN blobs b ON b.digest = r.value ->> 'digest'
      AND b.size = r.value ->> 'size'
     WHERE b.missing_since IS NULL`,
    { blobs },
  ).all<{ digest: Digest }>();
  return results.map(({ digest }) => digest);
}

export function contentGone(digests: Digest[]): Refusal {
  const detail = [...new Set(digests)].slice(0, NAMED_MAX).map((digest) => ({ digest }));
  return new Refusal('content-gone', { detail });
}
