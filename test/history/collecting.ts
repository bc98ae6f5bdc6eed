/** Runs slices of the collector, and finds rows that it must not leave behind. */
import type { Env } from '../../src/env.ts';
import { collectSlice } from '../../src/registry/gc/collector.ts';

/** Runs one slice. @returns true if the pass has ended */
export async function collectOne(env: Env): Promise<boolean> {
  return (await collectSlice(env, () => {})).ended;
}

/**
 * The number of passes after which everything unneeded is deleted. A pass can make content unneeded that only the next pass
 * deletes: trash, references of manifests, links, blobs, tombstones.
 */
const PASSES = 3;

export async function collectAll(env: Env): Promise<void> {
  for (let passes = 0; passes < PASSES; ) if (await collectOne(env)) passes++;
}

/** The rows that should have been deleted. Objects without a row are not listed: the scrub deletes them. */
export async function leftOver(env: Env): Promise<string[]> {
  const { results } = await env.DB.prepare(
    `SELECT 'tombstone ' || object_key AS what FROM tombstones UNION ALL SELECT kind || ' ' || name || ' in the trash' FROM trash
     UNION ALL SELECT 'trashed manifest ' || digest FROM trashed_manifests
     UNION ALL SELECT 'trashed reference to ' || child FROM trashed_references
     UNION ALL SELECT 'blob ' || digest FROM blobs WHERE digest NOT IN (SELECT child FROM manifest_references)`,
  ).all<{ what: string }>();
  return results.map(({ what }) => `left ${what}, which nobody needs`);
}
