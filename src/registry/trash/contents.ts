/**
 * Finds the content to restore together with a manifest from the trash: the manifests in the trash that it lists, the manifests
 * in the trash whose subject it is, and the blobs that all of these reference (`references.ts`). Documents in R2 are read here,
 * and their references are passed to SQL as a parameter.
 */
import type { Env } from '../../env.ts';
import { prepare } from '../../events/sql.ts';
import { tagsAttachableTo } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import { readText } from '../../storage/objects.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { descriptorsIn } from '../manifests/manifests.ts';
import { type BucketDocument, contentGone, findMissing, type MissingContent } from './references.ts';

type Stores = Pick<Env, 'DB' | 'BLOBS'>;

/**
 * The limits of one restore, which is one batch: the number of manifests, the number of levels of manifests around the first
 * one, and the number of documents that are read from R2.
 */
const MANIFESTS_MAX = 2000;
const LEVELS_MAX = 10;
const IN_BUCKET_MAX = 50;
/**
 * The maximum number of characters of the references in the documents from R2. They are one SQL parameter, and D1 accepts
 * parameters of up to 2 MB.
 */
const IN_BUCKET_MAX_LENGTH = 1_800_000;

export interface Contents extends MissingContent {
  /** The manifests to restore. A manifest comes before the manifests that list it. */
  manifests: Digest[];
  inBucket: BucketDocument[];
  /**
   * The tags that are attached to the manifests by their name and that were deleted with them. A tag that was deleted earlier
   * is not restored.
   */
  attached: { tag: Tag; digest: Digest }[];
  /** True if referrers stay in the trash, because they cannot be restored or are too many. */
  withoutReferrers: boolean;
}

/** The contents of a restore that restores only tags. */
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
  /** The R2 key of the document. `null` if the document is in its row. Empty if the R2 object is known to be missing. */
  objectKey: string | null;
}

/**
 * Finds the contents of a restore. Referrers stay in the trash if they cannot be restored or are too many, because the manifest
 * does not need them.
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
 * SQL: the tags in the list `:attachable` that are in the trash and were not deleted before their subject. A user deleted an
 * earlier one on its own, so it is not restored with its subject.
 */
const ATTACHED = `FROM json_each(:attachable) n
  CROSS JOIN trash e ON e.repository_id = :id AND e.kind = 'tag' AND e.name = n.value ->> 'tag' AND NOT e.purging
  CROSS JOIN trash s ON s.repository_id = :id AND s.kind = 'manifest' AND s.name = n.value ->> 'subject'
    AND s.deleted_at <= e.deleted_at`;

function attachableTo(subjects: Digest[]): { tag: string; subject: Digest }[] {
  return subjects.flatMap((subject) => tagsAttachableTo(subject).map((tag) => ({ tag, subject })));
}

/** Returns the attached tags to restore: those whose manifest exists or is restored too. */
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
 * Returns the manifests in the trash that are connected with the manifests of a level: those that the level's manifests list,
 * those whose subject is in the level, and those that tags attached to the level name.
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
