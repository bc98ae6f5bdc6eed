/**
 * Blobs that manifests in the trash need and their repository has no link to: a client took it away, as nothing seemed to need
 * it. The trash has kept the bytes.
 */
import type { Env } from '../../env.ts';
import type { Digest } from '../../oci/digest.ts';
import { type ManifestReference, parseManifest } from '../../oci/manifest.ts';
import { readText } from '../../storage/objects.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type Outside, REFERENCES, unmet } from './references.ts';

type Stores = Pick<Env, 'DB' | 'BLOBS'>;

export interface Missing {
  /** Blobs to be linked again. */
  links: Digest[];
  /** Foreign layers that are not here and need not be. */
  foreign: { child: Digest; type: string | null }[];
}

interface Unmet {
  parent: Digest;
  child: Digest;
  list: string;
  type: string | null;
}

/** Documents that are read to learn what is missing; more is not worth the while. */
const PARENTS_MAX = 100;
/** Digests that a refusal names. */
const NAMED_MAX = 10;

/** @throws conflict naming what is gone for good */
export async function findMissing(env: Stores, id: number, manifests: Digest[], outside: Outside[]): Promise<Missing> {
  // What a reference leads to depends on its type alone, so one of those that are alike is looked at. A child that was pushed again
  // as another type cannot be had as this one.
  const { results } = await env.DB.prepare(
    `SELECT min(parent) AS parent, child, list, type FROM (SELECT * FROM (${unmet('trashed_manifests')}) x
       WHERE NOT (x.list = 'manifests' AND EXISTS (SELECT 1 FROM manifests t
         WHERE t.repository_id = ?1 AND t.digest = x.child AND t.media_type = x.type))
       UNION SELECT x.parent, x.child, x.list, x.type FROM (${REFERENCES}) x CROSS JOIN manifests t
         ON t.repository_id = ?1 AND t.digest = x.child AND t.media_type <> x.type AND t.object_key IS NOT ''
         WHERE x.list = 'manifests')
     GROUP BY child, list, type LIMIT 1000`,
  )
    .bind(id, JSON.stringify(manifests), JSON.stringify(outside))
    .all<Unmet>();
  if (results.length === 0) return { links: [], foreign: [] };
  const parents = [...new Set(results.map(({ parent }) => parent))];
  if (parents.length > PARENTS_MAX) throw goneForGood(results.map(({ child }) => child));
  const known = await referencesOf(env, id, parents);
  const required = results.flatMap((row) => requiredBy(known.get(row.parent) ?? [], row));
  const links = await kept(env, required);
  const gone = required.filter(({ digest }) => !links.includes(digest));
  if (gone.length > 0) throw goneForGood(gone.map(({ digest }) => digest));
  const foreign = results.filter(({ child }) => !links.includes(child)).map(({ child, type }) => ({ child, type }));
  return { links, foreign };
}

function requiredBy(references: ManifestReference[], { child, type }: Unmet): ManifestReference[] {
  return references.filter(({ digest, mediaType, required }) => required && digest === child && mediaType === type);
}

async function referencesOf(env: Stores, id: number, parents: Digest[]): Promise<Map<Digest, ManifestReference[]>> {
  const { results } = await env.DB.prepare(
    `SELECT digest, media_type, content, object_key FROM trashed_manifests
     WHERE repository_id = ?1 AND digest IN (SELECT value FROM json_each(?2))`,
  )
    .bind(id, JSON.stringify(parents))
    .all<{ digest: Digest; media_type: string; content: string | null; object_key: string | null }>();
  const parsed = results.map(async ({ digest, media_type, content, object_key }) => {
    const text = content ?? (await readText(env, object_key ?? ''));
    if (text === null) throw goneForGood([digest]);
    return [digest, parseManifest(new TextEncoder().encode(text), media_type).references] as const;
  });
  return new Map(await Promise.all(parsed));
}

/** Of blobs, those whose bytes the registry has: they were in this repository when the manifest was pushed. */
async function kept(env: Stores, references: ManifestReference[]): Promise<Digest[]> {
  const blobs = references.filter(({ kind }) => kind === 'blob');
  const { results } = await env.DB.prepare(
    `SELECT DISTINCT b.digest FROM json_each(?1) r JOIN blobs b ON b.digest = r.value ->> 'digest' AND b.size = r.value ->> 'size'
     WHERE b.missing_since IS NULL`,
  )
    .bind(JSON.stringify(blobs))
    .all<{ digest: Digest }>();
  return results.map(({ digest }) => digest);
}

export function goneForGood(digests: Digest[]): Refusal {
  const detail = [...new Set(digests)].slice(0, NAMED_MAX).map((digest) => ({ digest }));
  return new Refusal('content-gone', { detail });
}
