/**
 * Subscriptions, which users call webhooks. A subscription says which events are sent to which URL, and in which payload
 * format. This module creates, lists and deletes subscriptions, and rotates their secrets. The cron job removes old deliveries
 * and ended subscriptions, in slices. A subscription ends when its scope is deleted.
 */
import type { Vars } from '../env.ts';
import { type Batch, type Database, type Handle, newBatch } from '../events/batch.ts';
import { type Actor, aboutOf } from '../events/event.ts';
import { firstEventWithin } from '../events/history.ts';
import { NEWEST, recordEvent } from '../events/outbox.ts';
import { prepare } from '../events/sql.ts';
import { type Page, type PageQuery, pageOf } from '../oci/page.ts';
import { base32, hkdf, requireSecret, type Secrets } from '../secrets.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { FormatName } from '../vocabulary/webhooks.ts';
import { type Endpoint, seal, unseal } from './endpoint/sealing.ts';
import { type Signer, secretOf } from './endpoint/signature.ts';
import type { Filter, Listener, Scope } from './filter.ts';
import { checkEndpoint, filterOf, newFilter, requireRoomForWebhook, type WantedFilter } from './rules.ts';

export interface Subscription extends Listener, Signer {
  description: string;
  /** The URL and headers, encrypted (`endpoint/sealing.ts`). */
  endpoint: string;
  /** The registry's origin at the time when the webhook was created or last changed. */
  origin: string;
  /** The reason why the webhook is disabled, or `null` if it is enabled. */
  disabled: string | null;
  /** The number of failed deliveries in a row. */
  failures: number;
  /** The time until which nothing is sent because of too many failures, in seconds since the epoch. */
  openUntil: number;
  /**
   * The id of the newest event when the webhook was created. The webhook receives only later events, except when old events are
   * sent again.
   */
  firstEvent: number;
  /** The id of the last event that the webhook receives; 0 if the webhook was deleted; `null` if it has not ended. */
  lastEvent: number | null;
  createdAt: number;
  createdBy: string;
  /**
   * The subject that created the webhook, last set its endpoint, or last enabled it. The owner must have the right to
   * administer the scope.
   */
  owner: string;
  version: number;
}

export interface SubscriptionRow {
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

export function subscriptionOf(row: SubscriptionRow): Subscription {
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

export interface NewSubscription extends WantedFilter {
  scope: Scope;
  description: string;
  endpoint: Endpoint;
  format: FormatName;
  /** The scheme and host of the registry as clients see them. */
  origin: string;
  /** The scheme and host to which the request was sent, if they differ from `origin`. */
  requestOrigin?: string | undefined;
}

interface Creation {
  by: Actor;
  /** The `Idempotency-Key` of the request, or `null` if it has none. */
  idempotency: string | null;
  /** Adds a precondition to the batch: the repository or organization of the scope exists. */
  requireScope: (batch: Batch) => void;
}

/**
 * Creates a webhook. Its id is derived from the Idempotency-Key, so a repeated request with the same key creates nothing and
 * gets the same response.
 * @throws request-invalid if the endpoint or the filter is not allowed; limit-reached; for the reasons of `requireScope`;
 * conflict if the Idempotency-Key was used for another request, or the webhook was changed since
 */
export async function createSubscription(
  env: Database & Secrets & Vars,
  wanted: NewSubscription,
  { by, idempotency, requireScope }: Creation,
): Promise<{ subscription: Subscription; secret: string }> {
  const { scope, description, endpoint, format, origin, requestOrigin = origin } = wanted;
  checkEndpoint(env, endpoint, [origin, requestOrigin]);
  const filter = filterOf(wanted, newFilter(format), { scope, format });
  const id = await newId(env, idempotency === null ? crypto.randomUUID() : JSON.stringify([scope, by.subject, idempotency]));
  const batch = newBatch(env);
  requireRoomForWebhook(batch, env, id, scope);
  requireScope(batch);
  recordEvent(batch, {
    about: aboutOf(scope),
    by,
    select: `SELECT 'webhook.created' AS type, json_object('id', :id, 'scope', :scope, 'format', :format) AS target
      WHERE NOT EXISTS (SELECT 1 FROM subscriptions WHERE id = :id)`,
    parameters: { id, scope, format },
  });
  batch.run(
    `INSERT INTO subscriptions (id, scope, description, endpoint, filter, format, origin, first_event, created_at, created_by)
     VALUES (:id, :scope, :description, :endpoint, :filter, :format, :origin, ${NEWEST}, unixepoch(), :creator)
     ON CONFLICT DO NOTHING`,
    {
      ...{ id, scope, description, format, origin, creator: by.subject },
      ...{ endpoint: await seal(env, id, endpoint), filter: JSON.stringify(filter) },
    },
  );
  const stored = selectSubscription(batch, id);
  const row = (await batch.commit({ repeatable: true })).first(stored);
  const sent = JSON.stringify([description, filter, format, endpoint]);
  const same =
    row && JSON.stringify([row.description, JSON.parse(row.filter), row.format, await unseal(env, id, row.endpoint)]);
  // After a rotation, the present secret is not the one that this request created, so it must not be shown again.
  if (same !== sent || row?.generation !== 1) {
    const message =
      'this Idempotency-Key was used for another request, or the webhook was changed since. Nothing was created: send ' +
      'a new one';
    throw new Refusal('conflict', { message });
  }
  return { subscription: subscriptionOf(row), secret: await secretOf(env, subscriptionOf(row)) };
}

async function newId(env: Secrets, seed: string): Promise<string> {
  return `wh_${base32(await hkdf(requireSecret(env), `subscription-id ${seed}`)).slice(0, 20)}`;
}

const SUBSCRIPTION = 'SELECT * FROM subscriptions WHERE id = :id AND last_event IS NULL';

export function selectSubscription(batch: Batch, id: string): Handle<SubscriptionRow> {
  return batch.query<SubscriptionRow>(SUBSCRIPTION, { id });
}

export async function findSubscription(env: Database, id: string): Promise<Subscription | null> {
  const row = await prepare(env, SUBSCRIPTION, { id }).first<SubscriptionRow>();
  return row && subscriptionOf(row);
}

/** @throws not-found if the webhook does not exist or has ended */
export async function getSubscription(env: Database, id: string): Promise<Subscription> {
  const found = await findSubscription(env, id);
  if (!found) throw new Refusal('not-found');
  return found;
}

/** Lists the webhooks of a scope, by id. */
export async function listSubscriptions(env: Database, scope: Scope, { after, limit }: PageQuery): Promise<Page<Subscription>> {
  const { results } = await prepare(
    env,
    `SELECT * FROM subscriptions WHERE scope = :scope AND id > :after AND last_event IS NULL ORDER BY id LIMIT :rows`,
    { scope, after, rows: limit + 1 },
  ).all<SubscriptionRow>();
  return pageOf(results.map(subscriptionOf), limit);
}

/**
 * Adds preconditions to the batch: the webhook exists and has this version. Otherwise the batch fails with `not-found` or
 * `version-mismatch`.
 * @param ifVersion the version that the webhook must have, or `null` for any version
 */
export function requireWebhookVersion(batch: Batch, id: string, ifVersion: number | null): void {
  batch.require('not-found', `EXISTS (${SUBSCRIPTION})`, { id });
  if (ifVersion === null) return;
  batch.require('version-mismatch', `EXISTS (${SUBSCRIPTION} AND version = :ifVersion)`, { id, ifVersion });
}

/**
 * Replaces the secret. For `overlap` seconds, deliveries are also signed with the previous secret. @throws not-found,
 * version-mismatch
 */
export async function rotateSecret(
  env: Database & Secrets,
  { id, scope }: Subscription,
  { overlap, ifVersion, by }: { overlap: number; ifVersion: number | null; by: Actor },
): Promise<{ subscription: Subscription; secret: string }> {
  const batch = newBatch(env);
  requireWebhookVersion(batch, id, ifVersion);
  recordChange(batch, 'webhook.rotated', { id, scope }, by);
  batch.run(
    `UPDATE subscriptions SET generation = generation + 1, previous_until = unixepoch() + :overlap, version = version + 1
     WHERE id = :id`,
    { id, overlap },
  );
  const changed = selectSubscription(batch, id);
  const subscription = subscriptionOf((await batch.commit()).first(changed) as SubscriptionRow);
  return { subscription, secret: await secretOf(env, subscription) };
}

function recordChange(
  batch: Batch,
  type: 'webhook.rotated' | 'webhook.deleted',
  { id, scope }: Pick<Subscription, 'id' | 'scope'>,
  by: Actor,
): void {
  recordEvent(batch, {
    about: aboutOf(scope),
    by,
    select: `SELECT '${type}' AS type, json_object('id', :id, 'scope', :scope) AS target`,
    parameters: { id, scope },
  });
}

/**
 * Deletes a webhook. Pending deliveries are not sent any more. The cron job removes the rows later. @throws not-found,
 * version-mismatch
 */
export async function deleteSubscription(
  env: Database,
  { id, scope }: Subscription,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<void> {
  const batch = newBatch(env);
  requireWebhookVersion(batch, id, ifVersion);
  recordChange(batch, 'webhook.deleted', { id, scope }, by);
  batch.run("UPDATE subscriptions SET last_event = 0, disabled = 'deleted' WHERE id = :id", { id });
  await batch.commit();
}

/**
 * Adds a statement to the batch that deletes a repository or organization. It ends the webhooks of that scope. The batch must
 * record the event of the deletion before: it is the last event that these webhooks receive. A new repository or organization
 * with the same name does not have these webhooks.
 */
export function endSubscriptions(batch: Batch, scope: Scope): void {
  batch.run(`UPDATE subscriptions SET last_event = ${NEWEST} WHERE scope = :scope AND last_event IS NULL`, { scope });
}

/**
 * Deletes up to `limit` deliveries that ended more than `days` ago. A delivery is never older than its event, so only
 * deliveries of older events are read.
 */
export async function expireDeliveries(env: Database, days: number, limit: number): Promise<void> {
  const seconds = days * 24 * 60 * 60;
  await prepare(
    env,
    `DELETE FROM deliveries WHERE (subscription, event) IN (
       SELECT d.subscription, d.event FROM subscriptions s CROSS JOIN deliveries d ON d.subscription = s.id
       WHERE d.event < :before AND d.state <> 'waiting' AND d.due_at < unixepoch() - :seconds LIMIT :limit)`,
    { before: await firstEventWithin(env, seconds), seconds, limit },
  ).run();
}

/**
 * Removes ended subscriptions, and up to `limit` of their deliveries. A deleted webhook is removed with all its deliveries. A
 * webhook whose scope was deleted is removed once its last event is matched and its last delivery is done.
 * @param cursor the id of the newest matched event
 */
export async function removeEnded(env: Database, cursor: number, limit: number): Promise<void> {
  const isEnded = 's.last_event <= :cursor';
  const batch = newBatch(env);
  batch.run(
    `DELETE FROM deliveries WHERE (subscription, event) IN (
       SELECT d.subscription, d.event FROM subscriptions s CROSS JOIN deliveries d ON d.subscription = s.id
       WHERE ${isEnded} AND (s.last_event = 0 OR d.state <> 'waiting') LIMIT :limit)`,
    { cursor, limit },
  );
  batch.run(
    `DELETE FROM subscriptions AS s WHERE ${isEnded} AND NOT EXISTS (SELECT 1 FROM deliveries WHERE subscription = s.id)`,
    { cursor },
  );
  await batch.commit();
}
