/**
 * What comes back with a manifest from the trash: what it lists and what refers to it, as far as that lies there too, and the
 * blobs that all of this needs.
 */
import type { Env } from '../../env.ts';
import { tagsAttachableTo } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import { readText } from '../../storage/objects.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { descriptorsIn } from '../manifests/references.ts';
import { findMissing, goneForGood, type Missing } from './blobs.ts';
import type { Outside } from './references.ts';

type Stores = Pick<Env, 'DB' | 'BLOBS'>;

/** Of one restore, which is one batch: manifests, levels around the first one, and documents that are read from the bucket. */
const MANIFESTS_MAX = 2000;
const LEVELS_MAX = 10;
const OUTSIDE_MAX = 50;
/** Characters of what those documents point at: it is one bound parameter, of which D1 takes 2 MB. */
const OUTSIDE_MAX_LENGTH = 1_800_000;

export interface Contents extends Missing {
  /** Children before those that list them. */
  manifests: Digest[];
  outside: Outside[];
  /** Tags that belong to them by their name, and were deleted with them or after. */
  attached: { tag: Tag; digest: Digest }[];
}

/** Where nothing has to come back. */
export const NOTHING: Contents = { manifests: [], outside: [], attached: [], links: [], foreign: [] };

export interface TrashedDocument {
  digest: Digest;
  /** `null` where the document is in its row, empty where its object is known to be gone. */
  objectKey: string | null;
}

/**
 * Referrers stay in the trash where they cannot be had, or are too many: the manifest needs none of them.
 * @throws conflict naming what is gone for good, or where it is too much for one go
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
  const outside: Outside[] = [];
  let level = [root];
  for (let depth = 0; level.length > 0; depth++) {
    const read = await readOutside(env, level, OUTSIDE_MAX - outside.length);
    outside.push(...read);
    const next = await nextLevel(env, id, level, read, withReferrers);
    level = next.filter(({ digest }) => !found.has(digest));
    for (const { digest } of level) found.add(digest);
    if (depth === LEVELS_MAX || found.size > MANIFESTS_MAX) throw tooMuch();
  }
  if (JSON.stringify(outside).length > OUTSIDE_MAX_LENGTH) throw tooMuch();
  const manifests = [...found].reverse();
  const attached = withReferrers ? await attachedTags(env, id, manifests) : [];
  return { manifests, outside, attached, ...(await findMissing(env, id, manifests, outside)) };
}

/** Of a list of `tag` and `subject`, the tags in the trash that were not deleted before their subject: those had gone by themselves. */
const ATTACHED = (list: string) => `FROM json_each(${list}) n
  CROSS JOIN trash e ON e.repository_id = ?1 AND e.kind = 'tag' AND e.name = n.value ->> 'tag' AND NOT e.purging
  CROSS JOIN trash s ON s.repository_id = ?1 AND s.kind = 'manifest' AND s.name = n.value ->> 'subject' AND s.deleted_at <= e.deleted_at`;

function attachable(subjects: Digest[]): string {
  return JSON.stringify(subjects.flatMap((subject) => tagsAttachableTo(subject).map((tag) => ({ tag, subject }))));
}

/** Those whose manifest comes back or is there. */
async function attachedTags(env: Stores, id: number, manifests: Digest[]): Promise<Contents['attached']> {
  const { results } = await env.DB.prepare(
    `SELECT DISTINCT e.name AS tag, e.digest ${ATTACHED('?2')} WHERE e.digest IN (SELECT value FROM json_each(?3))
       OR EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = ?1 AND m.digest = e.digest)`,
  )
    .bind(id, attachable(manifests), JSON.stringify(manifests))
    .all<{ tag: Tag; digest: Digest }>();
  return results;
}

/** Of what the manifests of a level list, of their referrers, and of what tags attach to them, those in the trash. */
async function nextLevel(
  env: Stores,
  id: number,
  level: TrashedDocument[],
  read: Outside[],
  withReferrers: boolean,
): Promise<TrashedDocument[]> {
  const listed = read.flatMap(({ references }) => references.map(({ child }) => child));
  const digests = level.map(({ digest }) => digest);
  const { results } = await env.DB.prepare(
    `WITH wanted(digest) AS (
       SELECT r.value ->> 'digest' FROM json_each(?2) l
       CROSS JOIN trashed_manifests d ON d.repository_id = ?1 AND d.digest = l.value CROSS JOIN json_each(d.content, '$.manifests') r
       UNION SELECT value FROM json_each(?3)
       UNION SELECT digest FROM trashed_manifests
         WHERE ?4 AND repository_id = ?1 AND subject IS NOT NULL AND subject IN (SELECT value FROM json_each(?2))
       UNION SELECT e.digest ${ATTACHED('?5')} WHERE ?4)
     SELECT t.digest, t.object_key AS objectKey FROM wanted w
     CROSS JOIN trashed_manifests t ON t.repository_id = ?1 AND t.digest = w.digest`,
  )
    .bind(id, JSON.stringify(digests), JSON.stringify(listed), withReferrers ? 1 : 0, attachable(digests))
    .all<TrashedDocument>();
  return results;
}

async function readOutside(env: Stores, level: TrashedDocument[], limit: number): Promise<Outside[]> {
  const kept = level.filter(({ objectKey }) => objectKey !== null);
  if (kept.length > limit) throw tooMuch();
  return Promise.all(
    kept.map(async ({ digest, objectKey }) => {
      const text = objectKey ? await readText(env, objectKey) : null;
      if (text === null) throw goneForGood([digest]);
      return { parent: digest, references: descriptorsIn(text) };
    }),
  );
}

function tooMuch(): Refusal {
  const message = `more than ${MANIFESTS_MAX} manifests, or ${OUTSIDE_MAX} large ones, would come back: restore what it lists first`;
  return new Refusal('limit-reached', { message });
}
