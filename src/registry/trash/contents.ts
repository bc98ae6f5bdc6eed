/**
 * Finds the content that must be restored with a manifest: the manifests in the trash that it lists, the manifests in the trash
 * that refer to it, and the blobs that all of these reference. Also finds which of these blobs the repository has lost.
 * Documents in rows are parsed by the database. Documents in the bucket are read here, and their references are passed to the
 * database. A client may have deleted blobs that nothing in the repository referenced, but the trash has kept their bytes.
 */
import type { Env } from '../../env.ts';
import { prepare } from '../../events/sql.ts';
import { tagsAttachableTo } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import { MANIFEST_MEDIA_TYPES, type ManifestReference, parseManifest } from '../../oci/manifest.ts';
import type { Tag } from '../../oci/reference.ts';
import { readText } from '../../storage/objects.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { type Described, descriptorsIn } from '../manifests/manifests.ts';

type Stores = Pick<Env, 'DB' | 'BLOBS'>;

/**
 * The limits of one restore, which is one batch: the number of manifests, the number of levels around the first manifest, and
 * the number of documents that are read from the bucket.
 */
const MANIFESTS_MAX = 2000;
const LEVELS_MAX = 10;
const IN_BUCKET_MAX = 50;
/**
 * The maximum number of characters of the references in those documents. They are one bound parameter, and D1 accepts 2 MB in
 * it.
 */
const IN_BUCKET_MAX_LENGTH = 1_800_000;

export interface Contents extends MissingContent {
  /** The manifests to restore. Children precede the manifests that list them. */
  manifests: Digest[];
  inBucket: BucketDocument[];
  /** The tags that are attached to the manifests by their name, and were not deleted before their manifests. */
  attached: { tag: Tag; digest: Digest }[];
  /** True if referrers stay in the trash, because they cannot be restored or are too many. */
  withoutReferrers: boolean;
}

/** The contents of a restore that has only tags to restore. */
export const NO_CONTENTS: Contents = {
  manifests: [],
  inBucket: [],
  attached: [],
  links: [],
  foreign: [],
  withoutReferrers: false,
};

interface TrashedDocument {
  digest: Digest;
  /** The key of the document's object. `null` if the document is in its row; empty if the object is known to be missing. */
  objectKey: string | null;
}

/**
 * Finds the contents of a restore. If the referrers cannot be restored, or are too many, they stay in the trash, because the
 * manifest does not need them.
 * @throws content-gone; limit-reached if the content is too much for one request
 */
export async function contentsOf(env: Stores, id: number, root: TrashedDocument): Promise<Contents> {
  try {
    return await gather(env, id, root, true);
  } catch (error) {
    if (!isRefusal(error, 'limit-reached', 'content-gone')) throw error;
    return await gather(env, id, root, false);
  }
}

async function gather(env: Stores, id: number, root: TrashedDocument, withReferrers: boolean): Promise<Contents> {
  const found = new Set<Digest>([root.digest]);
  const inBucket: BucketDocument[] = [];
  let level = [root];
  for (let depth = 0; level.length > 0; depth++) {
    const read = await readFromBucket(env, level, IN_BUCKET_MAX - inBucket.length);
    inBucket.push(...read);
    const next = await nextLevel(env, id, level, read, withReferrers);
    level = next.filter(({ digest }) => !found.has(digest));
    for (const { digest } of level) found.add(digest);
    if (depth === LEVELS_MAX || found.size > MANIFESTS_MAX) throw tooMuch();
  }
  if (JSON.stringify(inBucket).length > IN_BUCKET_MAX_LENGTH) throw tooMuch();
  const manifests = [...found].reverse();
  const attached = withReferrers ? await attachedTags(env, id, manifests) : [];
  return {
    manifests,
    inBucket,
    attached,
    withoutReferrers: !withReferrers,
    ...(await findMissing(env, { id, manifests, inBucket })),
  };
}

/**
 * SQL: the tags in the list `:attachable` that are in the trash and were not deleted before their subject. A tag that was
 * deleted earlier was deleted on its own and is not restored.
 */
const ATTACHED = `FROM json_each(:attachable) n
  CROSS JOIN trash e ON e.repository_id = :id AND e.kind = 'tag' AND e.name = n.value ->> 'tag' AND NOT e.purging
  CROSS JOIN trash s ON s.repository_id = :id AND s.kind = 'manifest' AND s.name = n.value ->> 'subject'
    AND s.deleted_at <= e.deleted_at`;

function attachableTo(subjects: Digest[]): { tag: string; subject: Digest }[] {
  return subjects.flatMap((subject) => tagsAttachableTo(subject).map((tag) => ({ tag, subject })));
}

/** Returns the attached tags whose manifest is restored or exists. */
async function attachedTags(env: Stores, id: number, manifests: Digest[]): Promise<Contents['attached']> {
  const { results } = await prepare(
    env,
    `SELECT DISTINCT e.name AS tag, e.digest ${ATTACHED} WHERE e.digest IN (SELECT value FROM json_each(:manifests))
       OR EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = :id AND m.digest = e.digest)`,
    { id, manifests, attachable: attachableTo(manifests) },
  ).all<{ tag: Tag; digest: Digest }>();
  return results;
}

/**
 * Returns manifests in the trash that are connected with the manifests of a level: those that the level's manifests list, those
 * that refer to them, and those that their attached tags name.
 */
async function nextLevel(
  env: Stores,
  id: number,
  level: TrashedDocument[],
  read: BucketDocument[],
  withReferrers: boolean,
): Promise<TrashedDocument[]> {
  const listed = read.flatMap(({ references }) => references.map(({ child }) => child));
  const digests = level.map(({ digest }) => digest);
  const { results } = await prepare(
    env,
    `WITH wanted(digest) AS (
       SELECT r.value ->> 'digest' FROM json_each(:digests) l
       CROSS JOIN trashed_manifests d ON d.repository_id = :id AND d.digest = l.value CROSS
         JOIN json_each(d.content, '$.manifests') r
       UNION SELECT value FROM json_each(:listed)
       UNION SELECT digest FROM trashed_manifests
         WHERE :withReferrers AND repository_id = :id AND subject IS NOT NULL AND subject IN (SELECT value
           FROM json_each(:digests))
       UNION SELECT e.digest ${ATTACHED} WHERE :withReferrers)
     SELECT t.digest, t.object_key AS objectKey FROM wanted w
     CROSS JOIN trashed_manifests t ON t.repository_id = :id AND t.digest = w.digest`,
    { id, digests, listed, withReferrers, attachable: attachableTo(digests) },
  ).all<TrashedDocument>();
  return results;
}

async function readFromBucket(env: Stores, level: TrashedDocument[], limit: number): Promise<BucketDocument[]> {
  const inBucket = level.filter(({ objectKey }) => objectKey !== null);
  if (inBucket.length > limit) throw tooMuch();
  return Promise.all(
    inBucket.map(async ({ digest, objectKey }) => {
      const text = objectKey ? await readText(env, objectKey) : null;
      if (text === null) throw contentGone([digest]);
      return { parent: digest, references: descriptorsIn(text) };
    }),
  );
}

function tooMuch(): Refusal {
  const message =
    `this would restore more than ${MANIFESTS_MAX} manifests, or more than ${IN_BUCKET_MAX} large ones: ` +
    `nothing was restored, restore the manifests that it lists first`;
  return new Refusal('limit-reached', { message });
}

/** The references in a document that is stored in the bucket. */
interface BucketDocument {
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
 * A query of the references of the manifests `:manifests` in the trash of repository `:id`. `:inBucket` has the references of
 * documents in the bucket. A list in a document may be `null`; json_each then yields one row that is not an object.
 */
export const TRASHED_REFERENCES = `SELECT d.digest AS parent, d.content ->> '$.config.digest' AS child, 'config' AS list,
      d.content ->> '$.config.mediaType' AS type ${DOCUMENTS} AND d.content ->> '$.config.digest' IS NOT NULL
  UNION SELECT d.digest, r.value ->> 'digest', 'layers', r.value ->> 'mediaType'
    ${DOCUMENTS} CROSS JOIN json_each(d.content, '$.layers') r ON r.type = 'object'
  UNION SELECT d.digest, r.value ->> 'digest', 'manifests', r.value ->> 'mediaType'
    ${DOCUMENTS} CROSS JOIN json_each(d.content, '$.manifests') r ON r.type = 'object'
  UNION SELECT o.value ->> 'parent', r.value ->> 'child', r.value ->> 'list', r.value ->> 'type'
    FROM json_each(:inBucket) o CROSS JOIN json_each(o.value, '$.references') r`;

/** SQL: the media types of manifests. An index entry with one of them is a manifest; any other entry is a blob. */
const MANIFEST_TYPES = MANIFEST_MEDIA_TYPES.map((type) => `'${type}'`).join();

/**
 * Returns a query of the references in `TRASHED_REFERENCES` whose content the repository does not have.
 * @param table the table in which manifests are looked up. A manifest counts only if it has the media type that the index
 *   states
 */
export const unmetReferences = (
  table: 'manifests' | 'trashed_manifests',
) => `SELECT x.parent, x.child, x.list, x.type FROM (${TRASHED_REFERENCES}) x
  WHERE NOT iif(x.list = 'manifests' AND x.type IN (${MANIFEST_TYPES}),
    EXISTS (SELECT 1 FROM ${table} t WHERE t.repository_id = :id AND t.digest = x.child AND t.media_type = x.type),
    EXISTS (SELECT 1 FROM repository_blobs l JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
      WHERE l.digest = x.child AND l.repository_id = :id))`;

interface MissingContent {
  /** The blobs that must be linked to the repository again. */
  links: Digest[];
  /** Foreign layers that the registry does not have. They may be absent. */
  foreign: { child: Digest; type: string | null }[];
}

interface UnmetReference {
  parent: Digest;
  child: Digest;
  list: string;
  type: string | null;
}

/** The maximum number of documents that are read to learn which references are required. */
const PARENTS_MAX = 100;
/** The maximum number of digests in the detail of a refusal. */
const NAMED_MAX = 10;

/** Finds the content that the repository lacks. @throws content-gone with the digests of the content that cannot be restored */
async function findMissing(env: Stores, parameters: ReferenceParameters): Promise<MissingContent> {
  // Equal references are grouped, because only the type decides whether their content is required. If a child was pushed again
  // with another media type, the child with this type cannot be restored.
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

/** Returns the referenced blobs whose bytes the registry has. The repository held them when the manifest was pushed. */
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
