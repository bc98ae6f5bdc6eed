/**
 * Webhooks and their deliveries. Callers need the right to administer the webhook's scope: a repository, an organization or the
 * registry.
 */
import { countReplays, replaysToday } from '../auth/allowance.ts';
import { getOrganization } from '../auth/people/organizations.ts';
import { administers } from '../auth/rights/lookup.ts';
import { requireOrganization } from '../auth/within.ts';
import { valid } from '../contract/valid.ts';
import { type NewWebhook, newWebhook, secretRotation, type WebhookChange, webhookChange } from '../contract/webhooks.ts';
import type { Batch } from '../events/batch.ts';
import { secondsToMidnight } from '../events/database-failure.ts';
import { type Actor, aboutOf, isAboutRepository } from '../events/event.ts';
import { parseRepositoryName } from '../oci/name.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import { describeRepository } from '../registry/repositories/descriptions.ts';
import { requireRepository } from '../registry/repositories/repositories.ts';
import { nameOf } from '../vocabulary/names.ts';
import { invalidInput, Refusal } from '../vocabulary/refusal.ts';
import { changeSubscription } from '../webhooks/changes.ts';
import { type DeliveryRuntime, sendTest } from '../webhooks/delivery/attempt.ts';
import { type DeliveryKey, deliveryId, deliveryKeyOf } from '../webhooks/delivery/deliveries.ts';
import {
  type DeliverySummary,
  type Replayed,
  listDeliveries as readDeliveries,
  getDelivery as readDelivery,
  replayFailed,
  replayDelivery as replayOne,
  replaySince,
  type Delivery as StoredDelivery,
} from '../webhooks/delivery/history.ts';
import { shownUrl, unseal } from '../webhooks/endpoint/sealing.ts';
import type { Scope } from '../webhooks/filter.ts';
import {
  createSubscription,
  deleteSubscription,
  listSubscriptions,
  rotateSecret,
  type Subscription,
} from '../webhooks/subscriptions.ts';
import { actorFor, actorOf, requireAdministrator, requireLogin, requireOwner, requireRight } from './access.ts';
import { type Activity, activityOf } from './activity.ts';
import type { Call } from './call.ts';
import { factsOf } from './deliveries.ts';

export type { DeliveryRuntime } from '../webhooks/delivery/attempt.ts';
export type { Attempt } from '../webhooks/delivery/deliveries.ts';
export type { Replayed } from '../webhooks/delivery/history.ts';
export { REGISTRY_SCOPE, type Scope } from '../webhooks/filter.ts';
export type { Subscription } from '../webhooks/subscriptions.ts';

export interface Webhook extends Subscription {
  /**
   * The URL without the parts that may be secret. `null` if it cannot be decrypted, because the registry's secret was replaced.
   */
  url: string | null;
  headerNames: string[];
}

export interface CreatedWebhook {
  webhook: Webhook;
  /** The signing secret. Only this response contains it. */
  secret: string;
}

export type Delivery<Attempts = StoredDelivery['attempts']> = Omit<DeliverySummary, 'key' | 'data' | 'attempts'> & {
  id: string;
  event: Activity;
  attempts: Attempts;
};

/** Lists the webhooks of a scope: `registry`, `organization:acme` or `repository:acme/api`. */
export async function listWebhooks(call: Call, scope: Scope, page: PageQuery): Promise<Page<Webhook>> {
  requireScopeRight(call, scope);
  if (scope.startsWith('organization:')) await getOrganization(call.env, nameOf(scope));
  if (scope.startsWith('repository:') && !(await describeRepository(call.env, parseRepositoryName(nameOf(scope))))) {
    throw new Refusal('repository-unknown');
  }
  const { items, more } = await listSubscriptions(call.env, scope, page);
  return { items: await Promise.all(items.map((one) => withEndpoint(call, one))), more };
}

/**
 * Creates a webhook.
 * @param requestOrigin the scheme and host to which the request was sent. A webhook must not call the registry itself
 * @param idempotency the Idempotency-Key of the request, or `null`. A repeated request with the same Idempotency-Key gets the
 * same response
 * @throws request-invalid if the URL, the headers or the filter are not allowed; limit-reached; conflict
 */
export async function createWebhook(
  call: Call,
  scope: Scope,
  sent: NewWebhook,
  { requestOrigin, idempotency }: { requestOrigin: string; idempotency: string | null },
): Promise<CreatedWebhook> {
  const by = requireScopeRight(call, scope);
  const { url, headers = {}, description = '', ...rest } = valid(newWebhook, sent);
  const wanted = { ...rest, scope, description, endpoint: { url, headers }, origin: call.origin, requestOrigin };
  const requireScope = (batch: Batch) => mustExist(batch, scope);
  const { subscription, secret } = await createSubscription(call.env, wanted, { by, idempotency, requireScope });
  return { webhook: await withEndpoint(call, subscription), secret };
}

/** Requires the right to create and list webhooks of a scope. @returns the actor to record */
function requireScopeRight(call: Call, scope: Scope): Actor {
  if (scope.startsWith('repository:')) return requireRight(call, 'admin', parseRepositoryName(nameOf(scope)));
  if (scope.startsWith('organization:')) requireOwner(call, nameOf(scope));
  else requireAdministrator(call);
  return actorOf(call);
}

function mustExist(batch: Batch, scope: Scope): void {
  if (scope.startsWith('repository:')) requireRepository(batch, parseRepositoryName(nameOf(scope)));
  if (scope.startsWith('organization:')) requireOrganization(batch, nameOf(scope));
}

/**
 * Requires the right to administer a webhook, by the rights that were loaded for this request.
 * @returns the actor to record
 * @throws unauthenticated; not-found if the caller may not administer the scope of the webhook
 */
export function requireWebhook(call: Pick<Call, 'authority' | 'address'>, { scope }: Subscription): Actor {
  requireLogin(call);
  const about = aboutOf(scope);
  if (!administers(call.authority, about)) throw new Refusal('not-found');
  return actorFor(call, 'admin', about, null);
}

export async function describeWebhook(call: Call, webhook: Subscription): Promise<Webhook> {
  requireWebhook(call, webhook);
  return withEndpoint(call, webhook);
}

async function withEndpoint({ env }: Call, subscription: Subscription): Promise<Webhook> {
  const endpoint = await unseal(env, subscription.id, subscription.endpoint);
  return {
    ...subscription,
    url: endpoint && shownUrl(endpoint, subscription.format === 'slack'),
    headerNames: Object.keys(endpoint?.headers ?? {}),
  };
}

/**
 * Changes a webhook. If the URL gets another host, the stored headers are removed, because they may contain a credential for
 * the previous host.
 * @throws for the same reasons as `createWebhook`; version-mismatch
 */
export async function changeWebhook(
  call: Call,
  webhook: Subscription,
  change: WebhookChange,
  { requestOrigin, ifVersion }: { requestOrigin: string; ifVersion: number | null },
): Promise<Webhook> {
  const by = requireWebhook(call, webhook);
  const wanted = { ...valid(webhookChange, change), origin: call.origin, requestOrigin };
  return withEndpoint(call, await changeSubscription(call.env, webhook, wanted, { ifVersion, by }));
}

/** Deletes a webhook at once. Pending deliveries are not sent any more. */
export async function deleteWebhook(call: Call, webhook: Subscription, ifVersion: number | null): Promise<void> {
  const by = requireWebhook(call, webhook);
  await deleteSubscription(call.env, webhook, { ifVersion, by });
}

/** @param overlap the number of seconds during which deliveries are also signed with the old secret */
export async function rotateWebhookSecret(
  call: Call,
  webhook: Subscription,
  { overlap, ifVersion }: { overlap: number; ifVersion: number | null },
): Promise<CreatedWebhook> {
  const by = requireWebhook(call, webhook);
  valid(secretRotation, { overlap });
  const { subscription, secret } = await rotateSecret(call.env, webhook, { overlap, ifVersion, by });
  return { webhook: await withEndpoint(call, subscription), secret };
}

/** Sends a test event once, without retries. @returns true if the endpoint answered with a status from 200 to 299 */
export async function testWebhook(call: Call, webhook: Subscription, runtime: DeliveryRuntime): Promise<boolean> {
  const by = requireWebhook(call, webhook);
  const about = aboutOf(webhook.scope);
  const repository = isAboutRepository(about) ? parseRepositoryName(about) : null;
  const facts = repository === null ? null : ((await factsOf(call.env, [repository])).get(repository) ?? null);
  return sendTest(call.env, webhook, { by, facts }, runtime);
}

/**
 * @param page its cursor is the id of a delivery
 * @param state the state of the deliveries to list, or `null` for all states
 */
export async function listDeliveries(
  call: Call,
  webhook: Subscription,
  { after, limit }: PageQuery,
  state: StoredDelivery['state'] | null,
): Promise<Page<Delivery<number>>> {
  requireWebhook(call, webhook);
  const before = after === '' ? null : deliveryKeyOf(after);
  if (after !== '' && !before) throw invalidInput({ at: 'last', message: 'must be `next` of the page before' });
  const { items, more } = await readDeliveries(call.env, webhook, { before: before?.event ?? null, limit, state });
  return { items: items.map((one) => ({ ...one, ...named(one) })), more };
}

/** @throws not-found if the webhook has no delivery with this id, or if the caller may not administer the webhook */
export async function getDelivery(call: Call, webhook: Subscription, id: string): Promise<Delivery> {
  requireWebhook(call, webhook);
  return withId(await readDelivery(call.env, deliveryKeyIn(webhook, id)));
}

function withId(delivery: StoredDelivery): Delivery {
  return { ...delivery, ...named(delivery) };
}

function named({ key, data }: Pick<DeliverySummary, 'key' | 'data'>): { id: string; event: Activity } {
  return { id: deliveryId(key), event: activityOf(data.event) };
}

/** Parses the id of a delivery of this webhook. @throws not-found if it is the id of a delivery of another webhook */
export function deliveryKeyIn({ id }: Subscription, delivery: string): DeliveryKey {
  const key = deliveryKeyOf(delivery);
  if (key?.subscription !== id) throw new Refusal('not-found');
  return key;
}

/** Sends a delivery again with the same id. A pending delivery is sent at once. @throws disabled, daily-limit, not-found */
export async function replayDelivery(call: Call, webhook: Subscription, id: string): Promise<Delivery> {
  requireWebhook(call, webhook);
  const key = deliveryKeyIn(webhook, id);
  requireEnabled(webhook);
  return withId(
    await replaying(
      call,
      () => replayOne(call.env, key),
      () => 1,
    ),
  );
}

/** The time span of the events to send again, in seconds since the epoch. */
interface ReplaySpan {
  since: number;
  until: number | null;
}

/**
 * Sends the events of a time span again, or all failed deliveries. One request handles some hundreds of them.
 * @param span the time span, or `null` for all failed deliveries
 * @param after the `next` of the previous request, or 0 to start from the beginning
 * @throws disabled, daily-limit
 */
export async function replayDeliveries(
  call: Call,
  webhook: Subscription,
  span: ReplaySpan | null,
  after: number,
): Promise<Replayed> {
  requireWebhook(call, webhook);
  requireEnabled(webhook);
  const replay = () =>
    span === null
      ? replayFailed(call.env, webhook, after)
      : replaySince(call.env, webhook, { ...span, after }, (names) => factsOf(call.env, names));
  return replaying(call, replay, ({ count }) => count);
}

function requireEnabled({ disabled }: Subscription): void {
  if (disabled === null) return;
  throw new Refusal('disabled', { message: `the webhook is disabled (${disabled}): enable it first. Nothing was sent` });
}

/**
 * The maximum number of deliveries that one account may send again in a day: a third of what the queues of the free plan can
 * carry. Administrators have no limit.
 */
const REPLAYS_PER_DAY = 1000;

/** Sends deliveries again and counts them for the daily limit of the account. @throws daily-limit if the limit is reached */
async function replaying<T>({ env, authority, now }: Call, replay: () => Promise<T>, countOf: (done: T) => number): Promise<T> {
  if (authority.administrator) return replay();
  const { subject } = authority;
  if ((await replaysToday(env, subject)) >= REPLAYS_PER_DAY) {
    throw new Refusal('daily-limit', {
      message:
        `${subject} had ${REPLAYS_PER_DAY} deliveries replayed today, which is the limit of an account. The ` +
        `limit resets at 00:00 UTC. Nothing was sent`,
      retryAfter: secondsToMidnight(now),
    });
  }
  const done = await replay();
  await countReplays(env, subject, countOf(done));
  return done;
}
