/**
 * How many deliveries the webhooks of one organization or user may cause in a day (UTC), so that none uses up the queues and rows of
 * all. What is beyond it is not delivered, an event says so, and a replay on another day brings it. The registry's own webhooks are
 * an administrator's matter.
 */
import { settings, type Vars } from '../env.ts';
import type { Database } from '../events/batch.ts';
import { aboutOf, organizationAbout, REGISTRY, type RecordedEvent } from '../events/event.ts';
import { record } from '../events/outbox.ts';
import type { Scope } from './filter.ts';

/** `acme` of `organization:acme` and `repository:acme/api`; empty for what belongs to the registry itself. */
export function ownerOf(scope: Scope): string {
  return organizationAbout(aboutOf(scope));
}

interface Pair {
  event: RecordedEvent;
  listener: { id: string; scope: Scope };
}

const TODAY = 'unixepoch() / 86400';
const DAY = 24 * 60 * 60;

/** Those of the pairs that are still within their owner's day, and the statements that count them and tell of the others. */
export async function withinDay<P extends Pair>(
  env: Database & Vars,
  pairs: P[],
): Promise<{ allowed: P[]; statements: D1PreparedStatement[] }> {
  const { ownerDeliveries: max } = settings(env);
  const owners = [...new Set(pairs.map(({ listener }) => ownerOf(listener.scope)))].filter((owner) => owner !== '');
  if (max === 0 || owners.length === 0) return { allowed: pairs, statements: [] };
  const { results } = await env.DB.prepare(
    `SELECT owner, count FROM delivery_days WHERE day = ${TODAY} AND owner IN (SELECT value FROM json_each(?1))`,
  )
    .bind(JSON.stringify(owners))
    .all<{ owner: string; count: number }>();
  const used = new Map(results.map(({ owner, count }) => [owner, count]));
  const added = new Map<string, number>();
  const beyond = new Map<string, P>();
  const allowed = pairs.filter((pair) => {
    const owner = ownerOf(pair.listener.scope);
    const sum = added.get(owner) ?? 0;
    if (owner === '' || (used.get(owner) ?? 0) + sum < max) {
      added.set(owner, sum + 1);
      return true;
    }
    if (!beyond.has(owner)) beyond.set(owner, pair);
    return false;
  });
  added.delete('');
  return { allowed, statements: [...counted(env, added), ...[...beyond].map(([owner, pair]) => told(env, owner, pair, max))] };
}

function counted(env: Database, added: Map<string, number>): D1PreparedStatement[] {
  if (added.size === 0) return [];
  return [
    env.DB.prepare(
      `INSERT INTO delivery_days (owner, day, count) SELECT key, ${TODAY}, value FROM json_each(?1) WHERE TRUE
       ON CONFLICT DO UPDATE SET count = count + excluded.count`,
    ).bind(JSON.stringify(Object.fromEntries(added))),
  ];
}

function told(env: Database, owner: string, { event, listener }: Pair, max: number): D1PreparedStatement {
  return record(env, {
    about: event.about,
    by: REGISTRY,
    select: `SELECT 'webhook.throttled' AS type, json_object('id', ?3, 'owner', ?4, 'maxDeliveries', ?5) AS target`,
    parameters: [listener.id, owner, max],
    onceIn: DAY,
  });
}

/** Forgets the counts of days that are over. */
export async function expireOwnerDays(env: Pick<Database, 'DB'>): Promise<void> {
  await env.DB.prepare(`DELETE FROM delivery_days WHERE day < ${TODAY} - 1`).run();
}
