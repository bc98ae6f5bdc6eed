/**
 * Rules for the endpoint, the filter and the number of webhooks. The owner of a webhook chooses custom headers, such as
 * `Authorization`. Custom headers must not change the destination of a delivery, the meaning of its body, its apparent sender,
 * or its signature.
 */
import { settings, type Vars } from '../env.ts';
import type { Batch, Database } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import { refusalOfAddress } from '../outbound/address.ts';
import { EVENT_TYPES, type EventType } from '../vocabulary/event-types.ts';
import { type Particulars, requireNoErrors } from '../vocabulary/refusal.ts';
import { EVERY_TYPE, type FormatName } from '../vocabulary/webhooks.ts';
import type { Endpoint } from './endpoint/sealing.ts';
import { defaultTypes, type Filter, ownerOf, type Scope } from './filter.ts';
import { FORMATS } from './formats/all.ts';

/**
 * @param origins the origins of the registry. A webhook must not call the registry itself
 * @throws request-invalid if the URL or a header is not allowed. The message contains no part of the endpoint that may be
 * secret
 */
export function checkEndpoint(env: Vars, { url, headers }: Endpoint, origins: readonly string[]): void {
  const ofUrl = refusalOfUrl(env, url, origins);
  if (ofUrl !== null) requireNoErrors([{ at: 'url', message: ofUrl }]);
  const ofHeaders = refusalOfHeaders(headers);
  if (ofHeaders !== null) requireNoErrors([{ at: 'headers', message: ofHeaders }]);
}

/**
 * Returns a message that says why the URL of a webhook is not allowed, or `null` if it is allowed. If a setting for development
 * would allow it, the message names the setting. With such a setting only the registry's own port is refused; without it, every
 * port of `127.0.0.1` counts as the registry, and the message must not say so, because another port belongs to another program.
 */
export function refusalOfUrl(env: Vars, url: string, origins: readonly string[]): string | null {
  const { insecureWebhooks: insecure } = settings(env);
  const ownHosts = origins.map((own) => new URL(own).host);
  const refusal = refusalOfAddress(url, { ownHosts, insecure });
  if (refusal === null || insecure || refusalOfAddress(url, { ownHosts, insecure: true }) !== null) return refusal;
  const ofHost = refusalOfAddress(url, { ownHosts: [], insecure: false, anyPort: true });
  if (ofHost === null) return refusal;
  return `${ofHost}. For development, INSECURE_WEBHOOKS=on allows plain http and private addresses`;
}

/** The filter in a request. A field that is left out is not changed. A field that is `null` does not restrict the events. */
export interface WantedFilter {
  /** The event types. Unlike in the other fields, `null` means the default types of the format. */
  types?: Filter['types'] | undefined;
  repositories?: string[] | null | undefined;
  tags?: string[] | null | undefined;
}

/** Returns the filter of a new webhook whose request has no filter. */
export function newFilter(format: FormatName): Filter {
  return { types: defaultTypes(format), repositories: null, tags: null };
}

/**
 * Returns the filter to store.
 * @throws request-invalid if the format cannot express a wanted type, or if a webhook of one repository filters repositories
 */
export function filterOf(
  wanted: WantedFilter,
  before: Filter,
  { scope, format }: { scope: Scope; format: FormatName },
): Filter {
  const types = wanted.types === undefined ? before.types : ordered(wanted.types ?? defaultTypes(format));
  const repositories = wanted.repositories === undefined ? before.repositories : wanted.repositories;
  const tags = wanted.tags === undefined ? before.tags : wanted.tags;
  const mute = types?.filter((type) => type !== EVERY_TYPE && !FORMATS[format].speaksOf(type)) ?? [];
  if (mute.length > 0) {
    requireNoErrors([{ at: 'types', message: `the format "${format}" cannot express ${mute.join(', ')}` }]);
  }
  if (repositories && scope.startsWith('repository:')) {
    requireNoErrors([{ at: 'repositories', message: 'must be left out: this webhook is about one repository' }]);
  }
  return { types, repositories, tags };
}

/**
 * Returns the types in the order of the closed list, so that equal filters are stored as equal texts. Leaves out
 * `webhook.test`, because a test is sent only on request.
 */
function ordered(types: NonNullable<Filter['types']>): NonNullable<Filter['types']> {
  if (types.includes(EVERY_TYPE)) return [EVERY_TYPE];
  return EVENT_TYPES.filter((type: EventType) => type !== 'webhook.test' && types.includes(type));
}

/** The maximum number of webhooks of one scope. Each event is matched with all of them. */
const SUBSCRIPTIONS_MAX = 50;
/** The maximum number of webhooks of an organization or a user, including the webhooks of all their repositories. */
export const SUBSCRIPTIONS_OF_OWNER_MAX = 200;

const IS_STORED = 'EXISTS (SELECT 1 FROM subscriptions WHERE id = :id AND last_event IS NULL)';
const COUNT_IN_SCOPE = '(SELECT count(*) FROM subscriptions WHERE scope = :scope AND last_event IS NULL)';
/** SQL expression: the number of webhooks of `:owner`. */
export const COUNT_OF_OWNER = `(
  (SELECT count(*) FROM subscriptions WHERE scope = 'organization:' || :owner AND last_event IS NULL)
  + (SELECT count(*) FROM subscriptions
      WHERE scope >= 'repository:' || :owner || '/' AND scope < 'repository:' || :owner || '0' AND last_event IS NULL))`;

/**
 * Adds a precondition to the batch: one more webhook stays within the limits. Otherwise the batch fails with `limit-reached`.
 * If a webhook with this id exists already, it holds.
 */
export function requireRoomForWebhook(batch: Batch, env: Database, id: string, scope: Scope): void {
  const owner = ownerOf(scope);
  const says = async (): Promise<Particulars> => {
    const inScope = await prepare(env, `SELECT ${COUNT_IN_SCOPE} AS count`, { scope }).first<number>('count');
    if ((inScope ?? 0) >= SUBSCRIPTIONS_MAX)
      return {
        message: `there are ${SUBSCRIPTIONS_MAX} webhooks here, the most there can be. Nothing was created: delete one first`,
      };
    const whose = `${owner} has ${SUBSCRIPTIONS_OF_OWNER_MAX} webhooks with those of its repositories, the most there can be`;
    return { message: `${whose}. Nothing was created: one webhook of the organization is enough for all its repositories` };
  };
  batch.require('limit-reached', `${IS_STORED} OR ${COUNT_IN_SCOPE} < ${SUBSCRIPTIONS_MAX}`, { id, scope }, says);
  if (owner === '') return;
  batch.require('limit-reached', `${IS_STORED} OR ${COUNT_OF_OWNER} < ${SUBSCRIPTIONS_OF_OWNER_MAX}`, { id, owner });
}

const MAX_HEADERS = 20;
const NAME_MAX_LENGTH = 100;
const VALUE_MAX_LENGTH = 2000;

/** The grammar of a header name: a token (RFC 9110, section 5.6.2). */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/**
 * The grammar of a header value: visible ASCII, with spaces and tabs in between. RFC 9110, section 5.5, allows more characters,
 * but receivers handle those differently.
 */
const VALUE = /^(?:[!-~](?:[\t -~]*[!-~])?)?$/;

/** A webhook may not set headers with these names. An entry that ends with a hyphen is a prefix. */
const REFUSED = new Set([
  // Headers for routing and framing. They belong to the connection, not to the message (RFC 9110, section 7.6.1; RFC 9112).
  ...['host', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'proxy-', 'te', 'trailer', 'upgrade'],
  ...['expect', 'http2-settings', 'max-forwards', 'early-data', 'alt-used', 'alt-svc'],
  // Headers that describe or negotiate the content, or override the method. The payload format of the webhook determines these.
  ...['content-', 'accept-encoding', 'accept-charset', 'range', 'if-', 'date', 'user-agent'],
  ...['x-http-method', 'x-http-method-override', 'x-method-override', 'x-original-', 'x-rewrite-'],
  // Headers that name the sender. Proxies set them, and the servers behind a proxy trust them.
  ...['via', 'forwarded', 'x-forwarded-', 'x-real-ip', 'x-client-ip', 'x-cluster-client-ip', 'true-client-ip', 'cf-'],
  // Headers that Miniflare, the local emulator, uses internally.
  'mf-',
  // The header of Cloudflare's loop detection, which must count every round of a loop (RFC 8586).
  'cdn-loop',
  // Headers that only browsers set: `fetch` forbids them to scripts (Fetch, "forbidden request-header"). A cookie identifies
  // the session of a person, and no receiver of webhooks needs one.
  ...['cookie', 'cookie2', 'set-cookie', 'set-cookie2', 'sec-', 'origin', 'referer', 'dnt', 'access-control-'],
  // Headers of signatures and events: Standard Webhooks, CloudEvents, HTTP message signatures (RFC 9421), GitHub, Flux, Berth.
  ...['webhook-', 'ce-', 'signature', 'signature-', 'x-hub-signature', 'x-hub-signature-', 'x-signature', 'x-signature-'],
  ...['berth-', 'x-berth-'],
]);

/**
 * Returns a message about the first header that is not allowed, or `null` if all are allowed. The message contains no header
 * value, because values may be secret.
 */
export function refusalOfHeaders(headers: Record<string, string>): string | null {
  const entries = Object.entries(headers);
  if (entries.length > MAX_HEADERS) return `there may be up to ${MAX_HEADERS} headers`;
  const seen = new Set<string>();
  for (const [name, value] of entries) {
    const refusal = refusalOfName(name) ?? refusalOfValue(name, value);
    if (refusal) return refusal;
    if (seen.has(name.toLowerCase())) return `the header "${name}" is given more than once`;
    seen.add(name.toLowerCase());
  }
  return null;
}

function refusalOfName(name: string): string | null {
  if (name.length > NAME_MAX_LENGTH) return `the name of a header has up to ${NAME_MAX_LENGTH} characters`;
  if (!TOKEN.test(name)) return "the name of a header has letters, digits and any of !#$%&'*+-.^_`|~ only, and at least one";
  return isRefused(name) ? `the header "${name}" is not for a webhook's owner to set` : null;
}

/**
 * Returns true if the header is not allowed. An underscore counts as a hyphen, because CGI does not distinguish them (RFC 3875,
 * section 4.1.18).
 */
function isRefused(given: string): boolean {
  const name = given.toLowerCase().replaceAll('_', '-');
  const beginnings = Array.from(name.matchAll(/-/g), ({ index }) => name.slice(0, index + 1));
  return [name, ...beginnings].some((beginning) => REFUSED.has(beginning));
}

function refusalOfValue(name: string, value: string): string | null {
  if (value.length > VALUE_MAX_LENGTH) return `the value of "${name}" has more than ${VALUE_MAX_LENGTH} characters`;
  if (VALUE.test(value)) return null;
  return `the value of "${name}" has characters beyond visible ASCII, or a space at an end`;
}
