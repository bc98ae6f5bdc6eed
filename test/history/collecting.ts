/** The collector, slice by slice, and what it must not leave behind in the database. */
import type { Env } from '../../src/env.ts';
import { collectSlice } from '../../src/registry/gc/collector.ts';

/** True if the pass ended. */
export async function collectOne(env: Env): Promise<boolean> {
  return (await collectSlice(env, () => {})).ended;
}

/** Each pass makes something unneeded that the next one deletes: trash, manifests' references, links, blobs, tombstones. */
const PASSES = 3;

export async function collectAll(env: Env): Promise<void> {
  for (let passes = 0; passes < PASSES; ) if (await collectOne(env)) passes++;
}

/** Objects without a row are ignored: a stopped Worker leaves some, and the scrub finds them. */
export async function leftOver(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `SELECT 'tombstone ' || object_key AS what FROM tombstones UNION ALL SELECT kind || ' ' || name || ' in the trash' FROM trash
     UNION ALL SELECT 'trashed manifest ' || digest FROM trashed_manifests
     UNION ALL SELECT 'trashed reference to ' || child FROM trashed_references
     UNION ALL SELECT 'blob ' || digest FROM blobs WHERE digest NOT IN (SELECT child FROM manifest_references)`,
  ).all<{ what: string }>();
  return results.map(({ what }) => `left ${what}, which nobody needs`);
}
