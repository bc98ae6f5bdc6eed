/**
 * Makes one attempt of a delivery: a signed POST with limits on time and size. Only the beginning of the response is read, for
 * display. Secrets in it are hidden, because an endpoint may repeat the request in its response.
 *
 * A test delivery shows whether an endpoint works. It has no recorded event, is sent once, and is not stored.
 */
import { settings, type Vars } from '../../env.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { deadlineIn, type Network, request } from '../../outbound/request.ts';
import type { Secrets } from '../../secrets.ts';
import { report } from '../../telemetry.ts';
import { LOOP_HEADER } from '../../vocabulary/webhooks.ts';
import { credentialsOf, unseal } from '../endpoint/sealing.ts';
import { allSecrets, signatureHeaders } from '../endpoint/signature.ts';
import { FORMATS } from '../formats/all.ts';
import type { RepositoryFacts } from '../formats/format.ts';
import { refusalOfUrl } from '../rules.ts';
import type { Subscription } from '../subscriptions.ts';
import { deliveryId, type EventData, type LoadedDelivery, type Result } from './deliveries.ts';
import { delayAfter, retryAfterOf } from './schedule.ts';

/** The clock, randomness and the network. The Worker's entry points pass them as arguments. */
export interface DeliveryRuntime extends Network {
  /** Returns the time in milliseconds since the epoch. */
  now: () => number;
  /** Returns a random number from 0 to 1. */
  random: () => number;
}

export type DeliverySettings = Secrets & Vars;

/** The maximum number of milliseconds for connecting and for reading the beginning of the response. */
export const TIMEOUT_MS = 10_000;
const NO_ANSWER = `no answer: the connection failed, or there was no answer within ${TIMEOUT_MS / 1000} seconds`;
/** The maximum number of bytes of a response that are read. */
const READ_MAX_BYTES = 4096;
/** The maximum number of characters of a response that are stored. */
const KEPT_MAX = 1000;

/** The outcome of a POST request to an endpoint. */
interface Answer {
  status: number | null;
  error: string | null;
  response: string;
  latencyMs: number;
  /** The number of seconds in `Retry-After` of the response, or 0. */
  retryAfter: number;
  /** True if nothing was sent and another attempt would not help. This does not count as a failure of the endpoint. */
  final: boolean;
}

/** Returns true for a status from 200 to 299. A redirect is a failure (Standard Webhooks, "Delivery"). */
function isSuccess(status: number | null): boolean {
  return status !== null && status >= 200 && status < 300;
}

/** Sends a delivery once. Never throws; an error is returned as an outcome. */
export async function attempt(env: DeliverySettings, loaded: LoadedDelivery, runtime: DeliveryRuntime): Promise<Result> {
  const at = Math.floor(runtime.now() / 1000);
  const { subscription, key } = loaded;
  const id = deliveryId(key);
  const answer = subscription.disabled
    ? refused(`the webhook is disabled (${subscription.disabled})`)
    : await post(env, subscription, { id, read: () => dataOf(loaded) }, runtime).catch(failed);
  const { status, error, response, latencyMs, retryAfter, final } = answer;
  const delivered = isSuccess(status);
  const gone = status === 410;
  const age = at - (loaded.firstTriedAt ?? at);
  const delay = delivered || gone || final ? null : delayAfter(loaded.tries + 1, { retryAfter, age, chance: runtime.random() });
  const next = delay === null ? null : at + delay;
  return { loaded, attempt: { at, status, error, latencyMs, response, next }, delivered, gone, asked: !final };
}

function refused(error: string): Answer {
  return { status: null, error, response: '', latencyMs: 0, retryAfter: 0, final: true };
}

/**
 * Parses the stored data of the event. @throws Error if they cannot be parsed, or refer to an event that is no longer stored
 */
function dataOf({ eventData }: LoadedDelivery): EventData {
  const data = JSON.parse(eventData) as EventData;
  if (data.reference) throw new Error('its event is no longer stored');
  return data;
}

/** Returns an outcome for an unexpected error, so that a bug that affects one delivery does not block the others. */
function failed(error: unknown): Answer {
  report('deliveries.attempt-failed', { error });
  return refused('an internal error: nothing was sent');
}

/** Renders, signs and sends a delivery. Nothing is sent to an address that is not allowed. */
async function post(
  env: DeliverySettings,
  subscription: Subscription,
  { id, read }: { id: string; read: () => EventData },
  runtime: DeliveryRuntime,
): Promise<Answer> {
  const endpoint = await unseal(env, subscription.id, subscription.endpoint);
  if (!endpoint) return refused("the stored URL cannot be read since the registry's secret was replaced: send the URL again");
  const origin = settings(env).publicUrl ?? subscription.origin;
  const refusal = refusalOfUrl(env, endpoint.url, [subscription.origin, origin]);
  if (refusal) return refused(refusal);
  const format = FORMATS[subscription.format];
  const body = format.render({ ...read(), origin });
  const signed = await signatureHeaders(env, subscription, { id, body, now: Math.floor(runtime.now() / 1000) });
  const headers = {
    // The constructor `Headers` lowers the names, so that the headers below replace custom headers with the same name.
    ...Object.fromEntries(new Headers(endpoint.headers)),
    'content-type': format.contentType,
    'user-agent': 'Berth-Webhooks/1',
    [LOOP_HEADER]: id,
    ...signed,
  };
  const answer = await send(endpoint.url, { headers, body }, runtime);
  if (answer.response === '') return answer;
  const hidden = [...(await allSecrets(env, subscription)), ...signaturesIn(signed), ...credentialsOf(endpoint)];
  return { ...answer, response: redacted(answer.response, hidden).slice(0, KEPT_MAX).toWellFormed() };
}

/** Returns the signatures in the headers of the request. */
function signaturesIn({ 'webhook-signature': signatures = '', 'x-signature': plain = '' }: Record<string, string>): string[] {
  return [...signatures.split(' '), plain].map((one) => one.replace(/^(?:v1,|sha256=)/, ''));
}

async function send(
  url: string,
  { headers, body }: { headers: Record<string, string>; body: string },
  runtime: DeliveryRuntime,
) {
  const done = new AbortController();
  const limits = { deadline: deadlineIn(TIMEOUT_MS, runtime.sleep, done.signal), maxBytes: READ_MAX_BYTES };
  const from = runtime.now();
  const common = { retryAfter: 0, final: false };
  try {
    const answer = await request(runtime.fetch, url, { method: 'POST', headers, body }, limits);
    const response = await answer.beginning();
    const { status } = answer;
    const retryAfter = retryAfterOf(answer.headers.get('retry-after'), runtime.now());
    const error = isSuccess(status) ? null : `the endpoint answered with status ${status}`;
    return { ...common, status, error, response, retryAfter, latencyMs: runtime.now() - from };
  } catch {
    // Every failure has the same message and duration. Otherwise a webhook could be used to scan hosts and ports.
    return { ...common, status: null, error: NO_ANSWER, response: '', latencyMs: TIMEOUT_MS };
  } finally {
    done.abort();
  }
}

/**
 * Sends a test event. Returns true if the endpoint answered with a status from 200 to 299. The response of the endpoint is not
 * returned, and every failure takes as long as the longest attempt. Otherwise callers could scan hosts and ports with this
 * function.
 */
export async function sendTest(
  env: DeliverySettings,
  subscription: Subscription,
  { by, facts }: { by: Actor; facts: RepositoryFacts | null },
  runtime: DeliveryRuntime,
): Promise<boolean> {
  const now = runtime.now();
  const event = {
    // Each test has a new id, because receivers ignore an event with an id that they have seen.
    id: now,
    at: Math.floor(now / 1000),
    type: 'webhook.test' as const,
    about: aboutOf(subscription.scope),
    sequence: 0,
    target: {},
    by,
  };
  const longest = runtime.sleep(LONGEST_MS);
  const id = `${subscription.id}_test-${crypto.randomUUID()}`;
  const { status } = await post(env, subscription, { id, read: () => ({ event, facts }) }, runtime);
  const delivered = isSuccess(status);
  if (!delivered) await longest;
  return delivered;
}

/** The duration of a failed test, in milliseconds: a little longer than the time limit of an attempt. */
const LONGEST_MS = 10_500;

/** The minimum number of characters of a secret that is hidden. A shorter text would occur everywhere. */
const SECRET_MIN = 4;

/**
 * Replaces secrets in a text by `***`.
 * @param secrets the values to hide. The words of each value are hidden too, and a signing secret also without its prefix
 */
export function redacted(text: string, secrets: readonly string[]): string {
  const words = secrets.flatMap((value) => [value, value.replace(/^whsec_/, ''), ...value.split(/\s+/)]);
  const known = words.flatMap(spellings);
  const hidden = [...new Set(known)].filter((value) => value.length >= SECRET_MIN).sort((a, b) => b.length - a.length);
  return hidden.reduce((all, value) => all.replaceAll(value, '***'), withoutBeginning(text, hidden));
}

/** Returns the forms in which a value may occur: unchanged, in a URL, in JSON (some encoders escape slashes), and in HTML. */
function spellings(value: string): string[] {
  const json = JSON.stringify(value).slice(1, -1);
  const html = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
  return [value, encodeURIComponent(value), json, json.replaceAll('/', '\\/'), html];
}

/** Removes the beginning of a secret from the end of the text, because the text may have been cut in the middle of a secret. */
function withoutBeginning(text: string, hidden: readonly string[]): string {
  const cut = hidden.map((value) => {
    for (let length = Math.min(value.length - 1, text.length); length >= SECRET_MIN; length--) {
      if (text.endsWith(value.slice(0, length))) return length;
    }
    return 0;
  });
  return text.slice(0, text.length - Math.max(0, ...cut));
}
