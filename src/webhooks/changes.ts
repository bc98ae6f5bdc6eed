/** Changes a webhook. In the code, a webhook is called a subscription. */
import type { Vars } from '../env.ts';
import { type Database, newBatch, withRetries } from '../events/batch.ts';
import { type Actor, aboutOf } from '../events/event.ts';
import { booleanIn, changesIn, recordEvent } from '../events/outbox.ts';
import type { Secrets } from '../secrets.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { FormatName } from '../vocabulary/webhooks.ts';
import { type Endpoint, seal, unseal } from './endpoint/sealing.ts';
import { checkEndpoint, filterOf, type WantedFilter } from './rules.ts';
import {
  getSubscription,
  requireWebhookVersion,
  type Subscription,
  type SubscriptionRow,
  selectSubscription,
  subscriptionOf,
} from './subscriptions.ts';

type Stores = Database & Secrets & Vars;

interface SubscriptionChange extends WantedFilter {
  description?: string | undefined;
  url?: string | undefined;
  headers?: Record<string, string> | undefined;
  format?: FormatName | undefined;
  /** True to enable the webhook. This also resets its count of failures, so that the next delivery is sent at once. */
  enabled?: boolean | undefined;
  /** The scheme and host of the registry as clients see them. */
  origin: string;
  /** The scheme and host to which the request was sent, if they differ from `origin`. */
  requestOrigin?: string | undefined;
}

/**
 * The fields whose old and new values the event of a change contains. The URL and the headers may contain secrets, so of them
 * the event only says that they were replaced.
 */
const CHANGES = changesIn([
  ['description', 'description', `coalesce(:said ->> 'description', description)`],
  ['filter', 'json(filter)', `coalesce(json(:said -> 'filter'), json(filter))`],
  ['format', 'format', `coalesce(:said ->> 'format', format)`],
  ['enabled', booleanIn('disabled IS NULL'), booleanIn(`coalesce(:said ->> 'enabled', disabled IS NULL)`)],
  ['endpoint', 'NULL', `:said ->> 'endpoint'`],
]);

/** The maximum number of attempts of a change. Of several concurrent changes, one succeeds in each round. */
const TRIES_MAX = 20;

/**
 * Changes a webhook. If all fields have the given values already, nothing is written.
 * @param ifVersion the version that the webhook must have, or `null` for any version
 * @throws request-invalid if the endpoint or the filter is not allowed; conflict if the stored endpoint cannot be decrypted;
 * not-found, version-mismatch
 */
export async function changeSubscription(
  env: Stores,
  subscription: Subscription,
  wanted: SubscriptionChange,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<Subscription> {
  if (ifVersion !== null && ifVersion !== subscription.version) throw new Refusal('version-mismatch');
  let current: Subscription | null = subscription;
  // The new row depends on the stored values of the fields that the request leaves out. So if another request changed the
  // webhook in between, the row is read again and the change is computed again.
  return withRetries(async () => {
    const before = current ?? (await getSubscription(env, subscription.id));
    current = null;
    return change(env, before, wanted, { by, overtaken: ifVersion === null ? 'overtaken' : 'version-mismatch' });
  }, TRIES_MAX);
}

async function change(
  env: Stores,
  before: Subscription,
  wanted: SubscriptionChange,
  { by, overtaken }: { by: Actor; overtaken: 'overtaken' | 'version-mismatch' },
): Promise<Subscription> {
  const { id, scope, version } = before;
  const { description = null, format = null, enabled = null, origin, requestOrigin = origin } = wanted;
  const filter = filterOf(wanted, before.filter, { scope, format: format ?? before.format });
  const endpoint = wanted.url === undefined && wanted.headers === undefined ? null : await mergedEndpoint(env, before, wanted);
  if (endpoint !== null) checkEndpoint(env, endpoint, [origin, requestOrigin]);
  if (!differs(before, { description, filter, format, enabled, endpoint })) return before;
  const sealed = endpoint && (await seal(env, id, endpoint));
  const batch = newBatch(env);
  requireWebhookVersion(batch, id, null);
  batch.require(overtaken, 'EXISTS (SELECT 1 FROM subscriptions WHERE id = :id AND version = :version)', { id, version });
  recordEvent(batch, {
    about: aboutOf(scope),
    by,
    select: `SELECT 'webhook.changed' AS type, json_object('id', :id, 'scope', :scope, 'enabled', json(:enabled)) AS target,
      ${CHANGES} AS changes FROM subscriptions WHERE id = :id`,
    parameters: {
      ...{ id, scope, enabled: JSON.stringify(enabled) },
      said: JSON.stringify({
        ...{ description: wanted.description, filter, format: wanted.format, enabled: wanted.enabled },
        endpoint: endpoint === null ? undefined : 'replaced',
      }),
    },
    hasChanges: true,
  });
  batch.run(
    `UPDATE subscriptions SET description = coalesce(:description, description), endpoint = coalesce(:endpoint, endpoint),
       filter = :filter, format = coalesce(:format, format), origin = :origin, version = version + 1,
       disabled = CASE :enabled WHEN 1 THEN NULL WHEN 0 THEN 'by ' || :actor ELSE disabled END,
       failures = iif(:enabled = 1 OR :endpoint IS NOT NULL, 0, failures),
       open_until = iif(:enabled = 1 OR :endpoint IS NOT NULL, 0, open_until),
       responsible = iif(:enabled = 1 OR :endpoint IS NOT NULL, :actor, responsible)
     WHERE id = :id`,
    { id, description, endpoint: sealed, filter: JSON.stringify(filter), format, origin, enabled, actor: by.subject },
  );
  const changed = selectSubscription(batch, id);
  return subscriptionOf((await batch.commit()).first(changed) as SubscriptionRow);
}

/**
 * Returns the new endpoint (URL and headers). If the URL gets another scheme, host or port, the stored headers are removed,
 * because they may contain a credential for the previous host.
 * @throws conflict if the stored URL is needed and cannot be decrypted
 */
async function mergedEndpoint(env: Secrets, { id, endpoint }: Subscription, wanted: SubscriptionChange): Promise<Endpoint> {
  const before = await unseal(env, id, endpoint);
  const url = wanted.url ?? before?.url;
  if (url === undefined) {
    throw new Refusal('conflict', {
      message: "the stored URL cannot be read since the registry's secret was replaced: send the URL again, with its headers",
    });
  }
  const staysAtHost = before !== null && URL.parse(before.url)?.origin === URL.parse(url)?.origin;
  return { url, headers: wanted.headers ?? (staysAtHost ? before.headers : {}) };
}

interface Decided {
  description: string | null;
  filter: Subscription['filter'];
  format: FormatName | null;
  enabled: boolean | null;
  endpoint: Endpoint | null;
}

/**
 * Returns true if the change must be written. An endpoint is always written, because the stored one may be encrypted with the
 * previous secret of the registry.
 */
function differs(before: Subscription, { description, endpoint, filter, format, enabled }: Decided): boolean {
  const isEnabled = before.disabled === null;
  return (
    endpoint !== null ||
    (enabled ?? isEnabled) !== isEnabled ||
    (enabled === true && before.failures > 0) ||
    (description ?? before.description) !== before.description ||
    (format ?? before.format) !== before.format ||
    JSON.stringify(filter) !== JSON.stringify(before.filter)
  );
}
