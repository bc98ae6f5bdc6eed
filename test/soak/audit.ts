/** Checks the stores when no request runs: each object has a row, each row is needed, and the counted usage is right. */
import type { Miniflare } from 'miniflare';
import { REGISTRY_KEY, UPLOADS_PREFIX } from '../../src/storage/keys.ts';

export interface Audit {
  objects: number;
  bytes: number;
  /** The number of bytes in R2 that no manifest needs. */
  leftOver: number;
  complaints: string[];
}

/** The objects that manifests need, with their sizes: those of referenced blobs and of large documents. */
const NEEDED = `SELECT object_key AS key, size FROM blobs WHERE digest IN (SELECT child FROM manifest_references)
  UNION ALL SELECT object_key, size FROM manifests WHERE object_key IS NOT NULL`;

const REMAINS: Record<string, string> = {
  'a tombstone': 'SELECT object_key AS what FROM tombstones',
  'in the trash': "SELECT kind || ' ' || name AS what FROM trash",
  'a manifest in the trash': 'SELECT digest AS what FROM trashed_manifests',
  'a reference of the trash': 'SELECT child AS what FROM trashed_references',
  'a blob that no manifest needs':
    'SELECT digest AS what FROM blobs WHERE digest NOT IN (SELECT child FROM manifest_references)',
  'a link that no manifest needs': `SELECT digest AS what FROM repository_blobs l WHERE NOT EXISTS (
    SELECT 1 FROM manifest_references r WHERE r.repository_id = l.repository_id AND r.child = l.digest)`,
  'a blob that was taken for missing': "SELECT target AS what FROM events WHERE type = 'blob.missing'",
  'a manifest without a repository':
    'SELECT digest AS what FROM manifests WHERE repository_id NOT IN (SELECT id FROM repositories)',
  'a reference without its manifest': `SELECT child AS what FROM manifest_references r WHERE NOT EXISTS (
    SELECT 1 FROM manifests m WHERE m.repository_id = r.repository_id AND m.digest = r.parent)`,
};

/** Lets all uploads expire, as if a day had passed. @returns true if there are any */
export async function letUploadsExpire(worker: Miniflare): Promise<boolean> {
  const database = await worker.getD1Database('DB', 'berth');
  const { meta } = await database.prepare('UPDATE uploads SET expires_at = unixepoch() - 1').run();
  return meta.changes > 0;
}

/** @param uploads true if unfinished uploads have expired, and must have left nothing */
export async function audit(worker: Miniflare, uploads: boolean): Promise<Audit> {
  const database = await worker.getD1Database('DB', 'berth');
  const complaints: string[] = [];
  for (const [what, sql] of Object.entries(REMAINS)) {
    const { results } = await database.prepare(sql).all<{ what: string }>();
    if (results.length > 0) complaints.push(`${results.length} times ${what}: ${results[0]?.what}`);
  }
  const needed = new Map(
    (await database.prepare(NEEDED).all<{ key: string; size: number }>()).results.map((row) => [row.key, row.size]),
  );
  const stored = new Map(
    [...(await objectsOf(worker))].filter(([key]) => key !== REGISTRY_KEY && (uploads || !key.startsWith(UPLOADS_PREFIX))),
  );
  for (const [key, size] of needed) {
    if (stored.get(key) !== size) complaints.push(`${key} should have ${size} bytes, and has ${stored.get(key) ?? 'none'}`);
  }
  const orphans = [...stored].filter(([key]) => !needed.has(key));
  if (orphans.length > 0) complaints.push(`${orphans.length} objects too many: ${orphans[0]?.[0]}`);
  return {
    objects: stored.size,
    bytes: sumOf(stored.values()),
    leftOver: sumOf(stored.values()) - sumOf(needed.values()),
    complaints,
  };
}

async function objectsOf(worker: Miniflare): Promise<Map<string, number>> {
  const bucket = await worker.getR2Bucket('BLOBS', 'berth');
  const objects = new Map<string, number>();
  let cursor: string | undefined;
  do {
    const page = await bucket.list(cursor === undefined ? {} : { cursor });
    for (const { key, size } of page.objects) objects.set(key, size);
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor !== undefined);
  return objects;
}

function sumOf(sizes: Iterable<number>): number {
  let sum = 0;
  for (const size of sizes) sum += size;
  return sum;
}
