/**
 * Limits the number of deliveries that the webhooks of one organization or user may make in a day (UTC), so that no owner uses
 * up the queue operations and D1 rows of all. Events beyond the limit are not delivered. Once a day for each owner, an event
 * records that the limit was reached. It adds one to the count, so a count above the limit means that the event was recorded.
 * The missing events can be sent again on another day. Webhooks of the registry itself, which administrators create, have no
 * limit.
 */
import { settings, type Vars } from '../../env.ts';
import type { Batch, Database } from '../../events/batch.ts';
import { REGISTRY, type RecordedEvent } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { ownerOf, type Scope } from '../filter.ts';

interface Pair {
  event: RecordedEvent;
  listener: { id: string; scope: Scope };
}

const TODAY = 'unixepoch() / 86400';

/**
 * Selects the pairs that are within the daily limit of their owners.
 * @returns the allowed pairs; `count` adds statements to a batch that count them and that record which owners have reached the
 * limit
 */
export async function withinDay<P extends Pair>(
  env: Database & Vars,
  pairs: P[],
): Promise<{ allowed: P[]; count: (batch: Batch) => void }> {
  const { ownerDeliveries: max } = settings(env);
  const owners = [...new Set(pairs.map(({ listener }) => ownerOf(listener.scope)))].filter((owner) => owner !== '');
  if (max === 0 || owners.length === 0) return { allowed: pairs, count: () => {} };
  const { results } = await prepare(
    env,
    `SELECT owner, count FROM delivery_days WHERE day = ${TODAY} AND owner IN (SELECT value FROM json_each(:owners))`,
    { owners },
  ).all<{ owner: string; count: number }>();
  const used = new Map(results.map(({ owner, count }) => [owner, count]));
  const added = new Map<string, number>();
  const refused = new Map<string, P>();
  const allowed = pairs.filter((pair) => {
    const owner = ownerOf(pair.listener.scope);
    const sum = added.get(owner) ?? 0;
    if (owner === '' || (used.get(owner) ?? 0) + sum < max) {
      added.set(owner, sum + 1);
      return true;
    }
    // A count above the limit means that the event of the day was recorded before.
    if (!refused.has(owner) && (used.get(owner) ?? 0) <= max) refused.set(owner, pair);
    return false;
  });
  added.delete('');
  for (const owner of refused.keys()) added.set(owner, (added.get(owner) ?? 0) + 1);
  const count = (batch: Batch) => {
    addCounts(batch, added);
    for (const [owner, pair] of refused) recordThrottling(batch, owner, pair, max);
  };
  return { allowed, count };
}

function addCounts(batch: Batch, added: Map<string, number>): void {
  if (added.size === 0) return;
  batch.run(
    `INSERT INTO delivery_days (owner, day, count) SELECT key, ${TODAY}, value FROM json_each(:added) WHERE TRUE
     ON CONFLICT DO UPDATE SET count = count + excluded.count`,
    { added: JSON.stringify(Object.fromEntries(added)) },
  );
}

function recordThrottling(batch: Batch, owner: string, { event, listener }: Pair, max: number): void {
  recordEvent(batch, {
    about: event.about,
    by: REGISTRY,
    select: `SELECT 'webhook.throttled' AS type, json_object('id', :id, 'owner', :owner, 'maxDeliveries', :max) AS target`,
    parameters: { id: listener.id, owner, max },
  });
}

/** Deletes the counts of past days. */
export async function expireOwnerDays(env: Pick<Database, 'DB'>): Promise<void> {
  await env.DB.prepare(`DELETE FROM delivery_days WHERE day < ${TODAY} - 1`).run();
}
