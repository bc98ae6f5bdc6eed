/** Helpers of the tests of garbage collection: they let days pass, and run the collector and the scrub to their end. */
import { deleteTrashedPolicies } from '../../../src/auth/rights/trashed-policies.ts';
import type { Env } from '../../../src/env.ts';
import { type Collected, collectSlice } from '../../../src/registry/gc/collector.ts';
import { type ScrubReport, scrubSlice } from '../../../src/registry/gc/scrub.ts';
import { violations } from '../../world/checker.ts';
import type { World } from '../../world/world.ts';

const DAY = 24 * 60 * 60;

/** Lets days pass: moves all stored times this many days into the past. */
export async function daysPass({ env }: World, days: number): Promise<void> {
  const times = {
    blobs: 'created_at',
    repository_blobs: 'leased_until',
    manifests: 'leased_until',
    tombstones: 'made_at',
    trash: 'deleted_at',
    tag_history: 'at',
  };
  await env.DB.batch(
    Object.entries(times).map(([table, column]) =>
      env.DB.prepare(`UPDATE ${table} SET ${column} = ${column} - ?1`).bind(days * DAY),
    ),
  );
}

export function slice(env: Env): Promise<Collected> {
  return collectSlice(env, (batch, id) => deleteTrashedPolicies(batch, [id]));
}

/** Runs a pass to its end. Returns its report and the number of slices. */
export async function collect({ env }: World): Promise<Collected['report'] & { slices: number }> {
  for (let slices = 1; slices < 500; slices++) {
    const { ended, report } = await slice(env);
    if (ended) return { ...report, slices };
  }
  throw new Error('the pass does not end');
}

/** Runs passes with days between them, until all unneeded content is deleted. */
export async function collectAll(world: World): Promise<void> {
  for (let n = 0; n < 3; n++) {
    await daysPass(world, 10);
    await collect(world);
  }
}

export async function scrub({ env }: World, now = Date.now()): Promise<ScrubReport & { slices: number }> {
  for (let slices = 1; slices < 500; slices++) {
    const { ended, report } = await scrubSlice(env, now);
    if (ended) return { ...report, slices };
  }
  throw new Error('the scrub does not end');
}

/** The violations of invariants, except those about leases, because leases end when days pass. */
export async function wrong({ env }: { env: Env }): Promise<string[]> {
  return (await violations(env)).filter((complaint) => !complaint.endsWith('has no lease'));
}

export async function count({ env }: World, table: string, where = 'TRUE'): Promise<number> {
  return (await env.DB.prepare(`SELECT count(*) AS n FROM ${table} WHERE ${where}`).first<number>('n')) ?? Number.NaN;
}

export async function keys({ env }: World, prefix = ''): Promise<string[]> {
  return (await env.BLOBS.list({ prefix })).objects.map(({ key }) => key);
}

/** Sends a HEAD. @returns the status */
export async function head(world: World, path: string): Promise<number> {
  return (await world.fetch('HEAD', path)).status;
}
