/** The invariants of the house, checked on the stores themselves, whatever happened before. Complaints, so that all show. */
import type { Env } from '../../src/env.ts';
import { algorithmOf, type Digest, digestOf } from '../../src/oci/digest.ts';

export async function violations(env: Env): Promise<string[]> {
  const found = await Promise.all([
    blobsHaveBytes(env),
    manifestsHaveBytes(env),
    referencesAreLinked(env),
    tagsNameManifests(env),
    changesHaveEvents(env),
    uploadsHaveBytes(env),
    linksHaveLeases(env),
  ]);
  return found.flat();
}

/** Invariant 1. */
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

async function manifestsHaveBytes(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare('SELECT digest, content, object_key FROM manifests').all<{
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

/** Invariant 2, and no reference of a manifest that is gone. */
async function referencesAreLinked(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `SELECT child, parent FROM manifest_references x
     WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.parent)
        OR NOT EXISTS (SELECT 1 FROM repository_blobs l JOIN blobs b USING (digest) WHERE l.repository_id = x.repository_id AND l.digest = x.child
           UNION SELECT 1 FROM manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.child)`,
  ).all<{ child: string; parent: string }>();
  const unlinked = results.map(({ child, parent }) => `the reference of ${parent} to ${child} dangles`);
  const counted = await env.DB.prepare(
    `SELECT m.digest FROM manifests m, json_each(m.content, '$.layers') AS layer
     WHERE NOT EXISTS (SELECT 1 FROM manifest_references x WHERE x.repository_id = m.repository_id AND x.parent = m.digest AND x.child = layer.value ->> 'digest')`,
  ).all<{ digest: string }>();
  return [...unlinked, ...counted.results.map(({ digest }) => `a layer of ${digest} is not referenced`)];
}

/** Invariant 3. */
async function tagsNameManifests(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare(
    'SELECT name FROM tags t WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = t.repository_id AND m.digest = t.digest)',
  ).all<{ name: string }>();
  return results.map(({ name }) => `tag ${name} names nothing`);
}

/** Invariant 6: what the events tell of repositories and tags, played from the first to the last, is what they are. */
async function changesHaveEvents(env: Env): Promise<string[]> {
  const events = await env.DB.prepare('SELECT type, about, sequence, target FROM events ORDER BY id').all<{
    type: string;
    about: string;
    sequence: number;
    target: string;
  }>();
  const told = new Map<string, string>();
  const numbers = new Map<string, number>();
  const complaints: string[] = [];
  for (const { type, about, sequence, target } of events.results) {
    const { tag, digest } = JSON.parse(target) as { tag?: string; digest: string };
    if (type === 'repository.created') told.set(about, '');
    else if (type === 'repository.deleted') forget(told, about);
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

/** A repository that is deleted goes with its tags. */
function forget(told: Map<string, string>, repository: string): void {
  for (const name of [...told.keys()]) if (name === repository || name.startsWith(`${repository}:`)) told.delete(name);
}

/** Invariant 5: an open upload has every byte it says it has received. */
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

/** Invariant 8, as long as no test lets a day pass: whoever was told that a blob is here may rely on it for a while. */
async function linksHaveLeases(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare('SELECT digest FROM repository_blobs WHERE leased_until <= unixepoch()').all<{
    digest: string;
  }>();
  return results.map(({ digest }) => `blob ${digest} has no lease`);
}
