/**
 * Rules for webhooks: endpoint, filter, and how many there may be. Any owner of a webhook sets its custom headers, such as
 * `Authorization`, so they must not change where a delivery goes, how its body is read, whom it seems to come from, or what it
 * is signed with.
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
 * Refuses an endpoint to which nothing may be sent. The message names no part of the endpoint that may be secret.
 * @param origins addresses of the registry: a webhook must not call the registry itself
 * @throws request-invalid
 */
export function checkEndpoint(env: Vars, { url, headers }: Endpoint, origins: readonly string[]): void {
  const { insecureWebhooks } = settings(env);
  const ownHosts = origins.map((own) => new URL(own).host);
  const ofUrl = refusalOfAddress(url, { ownHosts, insecure: insecureWebhooks });
  if (ofUrl !== null) requireNoErrors([{ at: 'url', message: ofUrl }]);
  const ofHeaders = refusalOfHeaders(headers);
  if (ofHeaders !== null) requireNoErrors([{ at: 'headers', message: ofHeaders }]);
}

/** The filter in a request. A field that is left out stays as it is; `null` means no restriction. */
export interface WantedFilter {
  /** `null`: the default types of the format. */
  types?: Filter['types'] | undefined;
  repositories?: string[] | null | undefined;
  tags?: string[] | null | undefined;
}

/** The filter of a new webhook for which nothing is said. */
export function newFilter(format: FormatName): Filter {
  return { types: defaultTypes(format), repositories: null, tags: null };
}

/**
 * The filter to store.
 * @throws request-invalid if the webhook could never hear what the filter asks for
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

/** The types in the order of the closed list, so that equal filters are stored alike. Tests are sent on request only. */
function ordered(types: NonNullable<Filter['types']>): NonNullable<Filter['types']> {
  if (types.includes(EVERY_TYPE)) return [EVERY_TYPE];
  return EVENT_TYPES.filter((type: EventType) => type !== 'webhook.test' && types.includes(type));
}

/** Webhooks of one scope: each event is matched with all of them. */
const SUBSCRIPTIONS_MAX = 50;
/** Webhooks of an organization or a user, with those of all repositories. */
const SUBSCRIPTIONS_OF_OWNER_MAX = 200;

const IS_STORED = 'EXISTS (SELECT 1 FROM subscriptions WHERE id = :id AND last_event IS NULL)';
const COUNT_IN_SCOPE = '(SELECT count(*) FROM subscriptions WHERE scope = :scope AND last_event IS NULL)';
const COUNT_OF_OWNER = `((SELECT count(*) FROM subscriptions WHERE scope = 'organization:' || :owner AND last_event IS NULL)
  + (SELECT count(*) FROM subscriptions
      WHERE scope >= 'repository:' || :owner || '/' AND scope < 'repository:' || :owner || '0' AND last_event IS NULL))`;

/** Refuses the batch with `limit-reached` if it would create one webhook too many. One that is stored already needs no room. */
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

/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Visible ASCII, with spaces and tabs between. Receivers disagree on the other characters of RFC 9110, section 5.5. */
const VALUE = /^(?:[!-~](?:[\t -~]*[!-~])?)?$/;

/** Refused names. An entry that ends with a hyphen is a prefix. */
const REFUSED = new Set([
  // Routing and framing: these belong to the connection, not to the message (RFC 9110, section 7.6.1; RFC 9112).
  ...['host', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'proxy-', 'te', 'trailer', 'upgrade'],
  ...['expect', 'http2-settings', 'max-forwards', 'early-data', 'alt-used', 'alt-svc'],
  // The body and how it is negotiated: set by the format.
  ...['content-', 'accept-encoding', 'accept-charset', 'range', 'if-', 'date', 'user-agent'],
  ...['x-http-method', 'x-http-method-override', 'x-method-override', 'x-original-', 'x-rewrite-'],
  // The sender: written by proxies, and trusted by what is behind them.
  ...['via', 'forwarded', 'x-forwarded-', 'x-real-ip', 'x-client-ip', 'x-cluster-client-ip', 'true-client-ip', 'cf-'],
  // Internal headers of the local emulator.
  'mf-',
  // Cloudflare's loop detection, which must see every round (RFC 8586).
  'cdn-loop',
  // Headers of browsers, which fetch forbids to scripts (Fetch, "forbidden request-header"). A cookie is a person's session; no
  // receiver of webhooks asks for one.
  ...['cookie', 'cookie2', 'set-cookie', 'set-cookie2', 'sec-', 'origin', 'referer', 'dnt', 'access-control-'],
  // Headers that the registry sets: Standard Webhooks, CloudEvents, HTTP message signatures (RFC 9421), GitHub's, and its own.
  ...['webhook-', 'ce-', 'signature', 'signature-', 'x-hub-signature', 'x-hub-signature-', 'x-signature', 'x-signature-'],
  ...['berth-', 'x-berth-'],
]);

/** Says what is wrong with the first header that is refused; `null`: nothing. Names no value, which may be secret. */
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

/** An underscore counts as a hyphen, because CGI does not tell them apart (RFC 3875, section 4.1.18). */
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
