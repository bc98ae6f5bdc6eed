/** Subscriptions: who is told of which events, where, and in which format. Made, listed, changed and ended here. */
import { type Database, refuseUnless, tryBatch, tryBatchTwice } from '../events/batch.ts';
import { type Actor, aboutOf } from '../events/event.ts';
import { booleanIn, changesIn, NEWEST, record } from '../events/outbox.ts';
import { type Page, type PageQuery, pageOf } from '../oci/page.ts';
import { base32, hkdf, requireSecret, type Secrets } from '../secrets.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { FormatName } from '../vocabulary/webhooks.ts';
import { type Endpoint, seal, unseal } from './endpoint/sealing.ts';
import { type Signer, secretOf } from './endpoint/signature.ts';
import type { Filter, Listener, Scope } from './filter.ts';
import { refusalWithoutRoom, requireRoom } from './room.ts';

export interface Subscription extends Listener, Signer {
  description: string;
  /** Sealed (`endpoint/sealing.ts`). */
  endpoint: string;
  /** The registry's address as whoever made it saw it. */
  origin: string;
  /** Why it is told nothing, `null` while it is. */
  disabled: string | null;
  /** Failures in a row, and until when nothing is tried: seconds since the epoch. */
  failures: number;
  openUntil: number;
  /** It hears events after this one, and up to the last one, if there is one. */
  firstEvent: number;
  lastEvent: number | null;
  createdAt: number;
  createdBy: string;
  /** Whose right it needs: whoever made it, or last gave it an endpoint or enabled it. */
  owner: string;
  version: number;
}

export interface Row {
  id: string;
  scope: string;
  description: string;
  endpoint: string;
  filter: string;
  format: FormatName;
  origin: string;
  generation: number;
  previous_until: number;
  disabled: string | null;
  failures: number;
  open_until: number;
  first_event: number;
  last_event: number | null;
  created_at: number;
  created_by: string;
  version: number;
  responsible: string | null;
}

export function subscriptionOf(row: Row): Subscription {
  const { filter, previous_until, open_until, first_event, last_event, created_at, created_by, responsible, ...same } = row;
  return {
    ...same,
    filter: JSON.parse(filter) as Filter,
    previousUntil: previous_until,
    openUntil: open_until,
    firstEvent: first_event,
    lastEvent: last_event,
    createdAt: created_at,
    createdBy: created_by,
    owner: responsible ?? created_by,
  };
}

export interface Wanted {
  scope: Scope;
  description: string;
  endpoint: Endpoint;
  filter: Filter;
  format: FormatName;
  origin: string;
}

/**
 * The same request with the same idempotency key has the same id, and so makes nothing and has the same answer.
 * @param guard statements for the batch that refuse it where what the scope names is not there
 * @throws not-found or repository-unknown where the guard refuses; conflict where the scope has too many, or another request came with
 *   that idempotency key
 */
export async function createSubscription(
  env: Database & Secrets,
  wanted: Wanted,
  { by, idempotency, guard }: { by: Actor; idempotency: string | null; guard: D1PreparedStatement[] },
): Promise<{ subscription: Subscription; secret: string }> {
  const { scope, description, endpoint, filter, format, origin } = wanted;
  const id = await newId(env, idempotency === null ? crypto.randomUUID() : JSON.stringify([scope, by.subject, idempotency]));
  const sealed = await seal(env, id, endpoint);
  const values = [id, scope, description, sealed, JSON.stringify(filter), format, origin, by.subject];
  const made = await tryBatchTwice(env, [
    ...guard,
    ...requireRoom(env, id, scope),
    record(env, {
      about: aboutOf(scope),
      by,
      select: `SELECT 'webhook.created' AS type, json_object('id', ?3, 'scope', ?4, 'format', ?5) AS target
        WHERE NOT EXISTS (SELECT 1 FROM subscriptions WHERE id = ?3)`,
      parameters: [id, scope, format],
    }),
    env.DB.prepare(
      `INSERT INTO subscriptions (id, scope, description, endpoint, filter, format, origin, first_event, created_at, created_by)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ${NEWEST}, unixepoch(), ?8) ON CONFLICT DO NOTHING`,
    ).bind(...values),
    select(env, id),
  ]);
  const row = made?.at(-1)?.results[0] as Row | undefined;
  if (!made) throw await refusalWithoutRoom(env, scope);
  const sent = JSON.stringify([description, filter, format, endpoint]);
  const same =
    row && JSON.stringify([row.description, JSON.parse(row.filter), row.format, await unseal(env, id, row.endpoint)]);
  // A secret is shown once: that of one which was given another since is not the one this request made.
  if (same !== sent || row?.generation !== 1) {
    throw conflict('another request came with this idempotency key, or what it made was changed since');
  }
  return { subscription: subscriptionOf(row), secret: await secretOf(env, subscriptionOf(row)) };
}

async function newId(env: Secrets, seed: string): Promise<string> {
  return `wh_${base32(await hkdf(requireSecret(env), `subscription-id ${seed}`)).slice(0, 20)}`;
}

function select(env: Database, id: string): D1PreparedStatement {
  return env.DB.prepare('SELECT * FROM subscriptions WHERE id = ?1 AND last_event IS NULL').bind(id);
}

export async function findSubscription(env: Database, id: string): Promise<Subscription | null> {
  const row = await select(env, id).first<Row>();
  return row && subscriptionOf(row);
}

/** @throws not-found */
export async function getSubscription(env: Database, id: string): Promise<Subscription> {
  const found = await findSubscription(env, id);
  if (!found) throw new Refusal('not-found');
  return found;
}

/** By id. */
export async function listSubscriptions(env: Database, scope: Scope, { after, limit }: PageQuery): Promise<Page<Subscription>> {
  const { results } = await env.DB.prepare(
    'SELECT * FROM subscriptions WHERE scope = ?1 AND id > ?2 AND last_event IS NULL ORDER BY id LIMIT ?3',
  )
    .bind(scope, after, limit + 1)
    .all<Row>();
  return pageOf(results.map(subscriptionOf), limit);
}

/** What is left out stays. `enabled: true` forgets failures, too. */
export interface Change {
  description?: string | undefined;
  endpoint?: Endpoint | undefined;
  filter?: Filter | undefined;
  format?: FormatName | undefined;
  enabled?: boolean | undefined;
  origin: string;
}

/** What the event of a change names. Of an endpoint, which may hold secrets, only that it was given. */
const CHANGES = changesIn([
  ['description', 'description', `coalesce(?6 ->> 'description', description)`],
  ['filter', 'json(filter)', `coalesce(json(?6 -> 'filter'), json(filter))`],
  ['format', 'format', `coalesce(?6 ->> 'format', format)`],
  ['enabled', booleanIn('disabled IS NULL'), booleanIn(`coalesce(?6 ->> 'enabled', disabled IS NULL)`)],
  ['endpoint', 'NULL', `?6 ->> 'endpoint'`],
]);

function changesText({ description, filter, format, enabled, endpoint }: Change): string {
  return JSON.stringify({ description, filter, format, enabled, endpoint: endpoint && 'replaced' });
}

/** Where all is so already, nothing happens. @throws not-found, version-mismatch */
export async function changeSubscription(
  env: Database & Secrets,
  subscription: Subscription,
  change: Change,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<Subscription> {
  const { id, scope, version } = subscription;
  if (!differs(subscription, change) && (ifVersion ?? version) === version) return subscription;
  const { description = null, endpoint, filter, format = null, enabled = null, origin } = change;
  const sealed = endpoint ? await seal(env, id, endpoint) : null;
  const changed = await tryBatch(env, [
    refuseUnless(env, VERSION, id, ifVersion),
    record(env, {
      about: aboutOf(scope),
      by,
      select: `SELECT 'webhook.changed' AS type, json_object('id', ?3, 'scope', ?4, 'enabled', json(?5)) AS target,
        ${CHANGES} AS changes FROM subscriptions WHERE id = ?3`,
      parameters: [id, scope, JSON.stringify(enabled), changesText(change)],
      hasChanges: true,
    }),
    env.DB.prepare(
      `UPDATE subscriptions SET description = coalesce(?2, description), endpoint = coalesce(?3, endpoint),
         filter = coalesce(?4, filter), format = coalesce(?5, format), origin = ?6, version = version + 1,
         disabled = CASE ?7 WHEN 1 THEN NULL WHEN 0 THEN 'by ' || ?8 ELSE disabled END,
         failures = iif(?7 = 1 OR ?3 IS NOT NULL, 0, failures), open_until = iif(?7 = 1 OR ?3 IS NOT NULL, 0, open_until),
         responsible = iif(?7 = 1 OR ?3 IS NOT NULL, ?8, responsible)
       WHERE id = ?1`,
    ).bind(id, description, sealed, filter ? JSON.stringify(filter) : null, format, origin, enabledFlag(enabled), by.subject),
    select(env, id),
  ]);
  return ofResult(env, id, changed);
}

/** An endpoint is always sealed anew: it may be sealed under the secret before. */
function differs(now: Subscription, { description, endpoint, filter, format, enabled }: Change): boolean {
  const isEnabled = now.disabled === null;
  return (
    endpoint !== undefined ||
    (enabled ?? isEnabled) !== isEnabled ||
    (enabled === true && now.failures > 0) ||
    (description ?? now.description) !== now.description ||
    (format ?? now.format) !== now.format ||
    JSON.stringify(filter ?? now.filter) !== JSON.stringify(now.filter)
  );
}

function enabledFlag(enabled: boolean | null): number | null {
  return enabled === null ? null : Number(enabled);
}

/** Subscription ?1 is there, in version ?2 if that is not NULL. */
const VERSION = 'EXISTS (SELECT 1 FROM subscriptions WHERE id = ?1 AND last_event IS NULL AND version = coalesce(?2, version))';

/**
 * Another secret. The one before signs beside it for `overlap` seconds.
 * @throws not-found, version-mismatch
 */
export async function rotateSecret(
  env: Database & Secrets,
  { id, scope }: Subscription,
  { overlap, ifVersion, by }: { overlap: number; ifVersion: number | null; by: Actor },
): Promise<{ subscription: Subscription; secret: string }> {
  const rotated = await tryBatch(env, [
    refuseUnless(env, VERSION, id, ifVersion),
    recordOf(env, 'webhook.rotated', { id, scope }, by),
    env.DB.prepare(
      `UPDATE subscriptions SET generation = generation + 1, previous_until = unixepoch() + ?2, version = version + 1
       WHERE id = ?1`,
    ).bind(id, overlap),
    select(env, id),
  ]);
  const subscription = await ofResult(env, id, rotated);
  return { subscription, secret: await secretOf(env, subscription) };
}

function recordOf(
  env: Database,
  type: 'webhook.rotated' | 'webhook.deleted',
  { id, scope }: Pick<Subscription, 'id' | 'scope'>,
  by: Actor,
): D1PreparedStatement {
  const select = `SELECT '${type}' AS type, json_object('id', ?3, 'scope', ?4) AS target`;
  return record(env, { about: aboutOf(scope), by, select, parameters: [id, scope] });
}

async function ofResult(env: Database, id: string, results: D1Result[] | null): Promise<Subscription> {
  const row = results?.at(-1)?.results[0] as Row | undefined;
  if (row) return subscriptionOf(row);
  await getSubscription(env, id);
  throw new Refusal('version-mismatch');
}

/** At once: what waits is not sent any more. Its rows are removed by the cron. @throws not-found, version-mismatch */
export async function deleteSubscription(
  env: Database,
  { id, scope }: Subscription,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<void> {
  const deleted = await tryBatch(env, [
    refuseUnless(env, VERSION, id, ifVersion),
    recordOf(env, 'webhook.deleted', { id, scope }, by),
    env.DB.prepare("UPDATE subscriptions SET last_event = 0, disabled = 'deleted' WHERE id = ?1").bind(id),
  ]);
  if (!deleted) await ofResult(env, id, null);
}

/**
 * For the batch that deletes what `scope` names, after its event is recorded: that is the last they hear. Whoever takes the
 * name next does not find them.
 */
export function endSubscriptions(env: Pick<Database, 'DB'>, scope: Scope): D1PreparedStatement {
  return env.DB.prepare(`UPDATE subscriptions SET last_event = ${NEWEST} WHERE scope = ?1 AND last_event IS NULL`).bind(scope);
}

function conflict(message: string): Refusal {
  return new Refusal('conflict', { message });
}
