/** Shared by the tests of this folder: lets days pass, and runs the collector and the scrub to their end. */
import { deleteTrashedPolicies } from '../../../src/auth/rights/policies.ts';
import type { Env } from '../../../src/env.ts';
import { type Collected, collectSlice } from '../../../src/registry/gc/collector.ts';
import { type ScrubReport, scrubSlice } from '../../../src/registry/gc/scrub.ts';
import { violations } from '../../world/checker.ts';
import type { World } from '../../world/world.ts';

const DAY = 24 * 60 * 60;

/** Moves stored times this many days into the past. */
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

/** Passes with days between them, until everything is deleted that can be. */
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

/** Violations of the invariants, except leases: here, days pass. */
export async function wrong({ env }: { env: Env }): Promise<string[]> {
  return (await violations(env)).filter((complaint) => !complaint.endsWith('has no lease'));
}

export async function count({ env }: World, table: string, where = 'TRUE'): Promise<number> {
  return (await env.DB.prepare(`SELECT count(*) AS n FROM ${table} WHERE ${where}`).first<number>('n')) ?? Number.NaN;
}

export async function keys({ env }: World, prefix = ''): Promise<string[]> {
  return (await env.BLOBS.list({ prefix })).objects.map(({ key }) => key);
}

/** Status of a HEAD. */
export async function head(world: World, path: string): Promise<number> {
  return (await world.fetch('HEAD', path)).status;
}
