/** Checks the invariants of the architecture in the database and the bucket. Returns all violations as text. */
import type { Env } from '../../src/env.ts';
import { algorithmOf, type Digest, digestOf } from '../../src/oci/digest.ts';

export async function violations(env: Env): Promise<string[]> {
  const found = await Promise.all([
    blobsHaveBytes(env),
    manifestsHaveBytes(env),
    referencesAreLinked(env),
    tagsNameManifests(env),
    tagsHaveHistory(env),
    trashIsWhole(env),
    changesHaveEvents(env),
    uploadsHaveBytes(env),
    linksHaveLeases(env),
    sumsAreRight(env),
  ]);
  return found.flat();
}

/** Checks that every blob has its bytes (invariant 1). */
async function blobsHaveBytes(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare('SELECT digest, size, object_key FROM blobs WHERE missing_since IS NULL').all<{
    digest: Digest;
    size: number;
    object_key: string;
  }>();
  const verdicts = await Promise.all(
    results.map(async ({ digest, size, object_key }) => {
      const bytes = await (await env.BLOBS.get(object_key))?.arrayBuffer();
      if (!bytes) return `blob ${digest} has no object`;
      return bytes.byteLength !== size || (await digestOf(algorithmOf(digest), new Uint8Array(bytes))) !== digest
        ? `blob ${digest} has other bytes`
        : '';
    }),
  );
  return verdicts.filter(Boolean);
}

/** Checks that every manifest has its bytes. This includes the trash, because its content can be restored. */
async function manifestsHaveBytes(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare(
    'SELECT digest, content, object_key FROM manifests UNION ALL SELECT digest, content, object_key FROM trashed_manifests',
  ).all<{
    digest: Digest;
    content: string | null;
    object_key: string | null;
  }>();
  const verdicts = await Promise.all(
    results.map(async ({ digest, content, object_key }) => {
      const text = content ?? (await (await env.BLOBS.get(object_key ?? ''))?.text());
      if (text === undefined) return `manifest ${digest} has no object`;
      return (await digestOf(algorithmOf(digest), new TextEncoder().encode(text))) !== digest
        ? `manifest ${digest} has other bytes`
        : '';
    }),
  );
  return verdicts.filter(Boolean);
}

/** Checks invariant 2, and that no reference belongs to a manifest that does not exist. */
async function referencesAreLinked(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `SELECT child, parent FROM manifest_references x
     WHERE ${KEPT} AND (NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.parent)
        OR NOT EXISTS (SELECT 1 FROM repository_blobs l JOIN blobs b USING (digest) WHERE l.repository_id = x.repository_id AND l.digest = x.child
           UNION SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.child))`,
  ).all<{ child: string; parent: string }>();
  const unlinked = results.map(({ child, parent }) => `the reference of ${parent} to ${child} dangles`);
  const counted = await env.DB.prepare(
    `SELECT m.digest FROM manifests m, json_each(m.content, '$.layers') AS layer
     WHERE layer.type = 'object' AND NOT EXISTS (
       SELECT 1 FROM manifest_references x WHERE x.repository_id = m.repository_id AND x.parent = m.digest AND x.child = layer.value ->> 'digest')`,
  ).all<{ digest: string }>();
  return [...unlinked, ...counted.results.map(({ digest }) => `a layer of ${digest} is not referenced`)];
}

/** Checks that every tag names a manifest of its repository (invariant 3). */
async function tagsNameManifests(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `SELECT name FROM tags x WHERE ${KEPT}
       AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.digest)`,
  ).all<{ name: string }>();
  return results.map(({ name }) => `tag ${name} names nothing`);
}

/**
 * Checks that the newest row of a tag's history has the digest that the tag names, and that each row continues the row before
 * it. Old rows may have been deleted.
 */
async function tagsHaveHistory(env: Env): Promise<string[]> {
  const newest = await env.DB.prepare(
    `WITH newest AS (SELECT repository_id, tag, digest, max(point) FROM tag_history GROUP BY repository_id, tag)
     SELECT tag FROM newest x LEFT JOIN tags t ON t.repository_id = x.repository_id AND t.name = x.tag WHERE t.digest IS NOT x.digest AND ${KEPT}
     UNION ALL SELECT name FROM tags x LEFT JOIN newest h ON h.repository_id = x.repository_id AND h.tag = x.name WHERE h.tag IS NULL AND ${KEPT}`,
  ).all<{ tag: string }>();
  const broken = await env.DB.prepare(
    `SELECT tag, point FROM (SELECT *, lag(point) OVER w AS before, lag(digest) OVER w AS named FROM tag_history
       WINDOW w AS (PARTITION BY repository_id, tag ORDER BY point))
     WHERE before <> point - 1 OR before IS NOT NULL AND previous IS NOT named OR point = 1 AND previous IS NOT NULL OR digest IS previous`,
  ).all<{ tag: string; point: number }>();
  return [
    ...newest.results.map(({ tag }) => `the history of ${tag} is not what it names`),
    ...broken.results.map(({ tag, point }) => `point ${point} of ${tag} does not follow from the one before it`),
  ];
}

/**
 * SQL condition: the repository of row `x` exists or is in the trash, and is not being purged. A purge removes rows table by
 * table.
 */
const KEPT = `x.repository_id IN (SELECT id FROM repositories
  UNION ALL SELECT repository_id FROM trash WHERE kind = 'repository' AND NOT purging)`;

/** Checks that entries and manifests in the trash belong together, and that a manifest in the trash has all its references. */
async function trashIsWhole(env: Env): Promise<string[]> {
  const checks = {
    'has no entry in the trash': `SELECT digest AS what FROM trashed_manifests x WHERE ${KEPT} AND NOT EXISTS (
      SELECT 1 FROM trash t WHERE t.repository_id = x.repository_id AND t.kind = 'manifest' AND t.name = x.digest)`,
    'is in the trash without its manifest': `SELECT name AS what FROM trash x WHERE kind = 'manifest' AND ${KEPT} AND NOT EXISTS (
      SELECT 1 FROM trashed_manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.name)`,
    'holds what it points at, and is not in the trash': `SELECT parent AS what FROM trashed_references x
      WHERE ${KEPT} AND NOT EXISTS (SELECT 1 FROM trashed_manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.parent)
        AND NOT EXISTS (SELECT 1 FROM events WHERE type = 'trash.purged' AND target ->> 'name' = x.parent)`,
    'cannot be restored: a layer of it is gone or not held': `SELECT x.digest AS what FROM trashed_manifests x, json_each(x.content, '$.layers') AS layer
      WHERE layer.type = 'object' AND ${KEPT} AND NOT EXISTS (SELECT 1 FROM trashed_references r JOIN blobs b ON b.digest = r.child
        WHERE r.repository_id = x.repository_id AND r.parent = x.digest AND r.child = layer.value ->> 'digest')`,
  };
  const found = await Promise.all(
    Object.entries(checks).map(async ([complaint, sql]) => {
      const { results } = await env.DB.prepare(sql).all<{ what: string }>();
      return results.map(({ what }) => `${what} ${complaint}`);
    }),
  );
  return found.flat();
}

/** Checks that replaying the events about repositories and tags, in order, results in the current state (invariant 6). */
async function changesHaveEvents(env: Env): Promise<string[]> {
  const events = await env.DB.prepare('SELECT type, about, sequence, target FROM events ORDER BY id').all<{
    type: string;
    about: string;
    sequence: number;
    target: string;
  }>();
  const told = new Map<string, string>();
  const deleted = new Map<string, Map<string, string>>();
  const numbers = new Map<string, number>();
  const complaints: string[] = [];
  for (const { type, about, sequence, target } of events.results) {
    const { tag, digest } = JSON.parse(target) as { tag?: string; digest: string };
    if (type === 'repository.created') told.set(about, '');
    else if (type === 'repository.deleted') deleted.set(about, forget(told, about));
    else if (type === 'repository.restored') for (const [name, was] of deleted.get(about) ?? []) told.set(name, was);
    else if (type === 'tag.deleted') told.delete(`${about}:${tag}`);
    else if (tag !== undefined) told.set(`${about}:${tag}`, digest);
    if (sequence !== (numbers.get(about) ?? 0) + 1) complaints.push(`event ${sequence} of ${about} is out of its order`);
    numbers.set(about, sequence);
  }
  const tags = await env.DB.prepare(
    `SELECT name, '' AS digest FROM repositories
     UNION ALL SELECT r.name || ':' || t.name, t.digest FROM tags t JOIN repositories r ON r.id = t.repository_id`,
  ).all<{ name: string; digest: string }>();
  const true_ = new Map(tags.results.map(({ name, digest }) => [name, digest]));
  const names = [...new Set([...told.keys(), ...true_.keys()])].filter((name) => told.get(name) !== true_.get(name));
  return [...complaints, ...names.map((name) => `events and stores differ about ${name}`)];
}

/** Removes a repository and its tags from the replayed state. @returns the removed entries, for a restore */
function forget(told: Map<string, string>, repository: string): Map<string, string> {
  const gone = new Map([...told].filter(([name]) => name === repository || name.startsWith(`${repository}:`)));
  for (const name of gone.keys()) told.delete(name);
  return gone;
}

/** Checks that every open upload has all bytes that its row counts (invariant 5). */
async function uploadsHaveBytes(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare("SELECT id, size, staged FROM uploads WHERE state = 'open'").all<{
    id: string;
    size: number;
    staged: string;
  }>();
  const verdicts = await Promise.all(
    results.map(async ({ id, size, staged }) => {
      const { multipart, pieces } = JSON.parse(staged) as {
        multipart: { size: number } | null;
        pieces: { key: string; size: number }[];
      };
      const heads = await Promise.all(pieces.map(({ key }) => env.BLOBS.head(key)));
      const present = heads.reduce((sum, head) => sum + (head?.size ?? Number.NaN), multipart?.size ?? 0);
      return present === size ? '' : `upload ${id} says ${size} bytes and has ${present}`;
    }),
  );
  return verdicts.filter(Boolean);
}

/** Checks the stored totals of every repository against its content, including repositories in the trash. */
export async function sumsAreRight(env: Env): Promise<string[]> {
  const count = (what: string, from: string) => `coalesce((SELECT ${what} FROM ${from} WHERE x.repository_id = r.id), 0)`;
  const { results } = await env.DB.prepare(
    `SELECT name, coalesce(u.tags, 0) AS tags, coalesce(u.manifests, 0) AS manifests, coalesce(u.bytes, 0) AS bytes,
       ${count('count(*)', 'tags x')} AS trueTags, ${count('count(*)', 'manifests x')} AS trueManifests,
       ${count('sum(size)', 'manifests x')} + coalesce((SELECT sum(b.size) FROM blobs b WHERE b.digest IN (
         SELECT x.child FROM manifest_references x JOIN repository_blobs l ON l.repository_id = x.repository_id AND l.digest = x.child
         WHERE x.repository_id = r.id)), 0) AS trueBytes
     FROM (SELECT id, name FROM repositories
       UNION ALL SELECT repository_id, repository FROM trash WHERE kind = 'repository' AND NOT purging) r
     LEFT JOIN repository_usage u ON u.repository_id = r.id`,
  ).all<Record<'tags' | 'manifests' | 'bytes' | 'trueTags' | 'trueManifests' | 'trueBytes', number> & { name: string }>();
  return results
    .filter((row) => row.tags !== row.trueTags || row.manifests !== row.trueManifests || row.bytes !== row.trueBytes)
    .map((row) => `the sums of a repository are wrong: ${JSON.stringify(row)}`);
}

/** Checks that every blob that no manifest references has a lease (invariant 8). Cannot be used if a test lets a day pass. */
async function linksHaveLeases(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `SELECT digest FROM repository_blobs l WHERE leased_until <= unixepoch()
       AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.repository_id = l.repository_id AND r.child = l.digest)
       AND NOT EXISTS (SELECT 1 FROM trashed_references r WHERE r.repository_id = l.repository_id AND r.child = l.digest)`,
  ).all<{ digest: string }>();
  return results.map(({ digest }) => `blob ${digest} has no lease`);
}
