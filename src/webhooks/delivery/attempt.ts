/**
 * One try of one delivery: a signed POST within fixed bounds. What comes back is read as far as people are shown it; a redirect
 * is followed nowhere, as it could lead anywhere.
 */
import { settings, type Vars } from '../../env.ts';
import type { Secrets } from '../../secrets.ts';
import { report } from '../../telemetry.ts';
import { refusalOfAddress } from '../endpoint/address.ts';
import { redacted } from '../endpoint/redaction.ts';
import { type Endpoint, unseal } from '../endpoint/sealing.ts';
import { allSecrets, signatureHeaders } from '../endpoint/signature.ts';
import { FORMATS } from '../formats/all.ts';
import type { Subscription } from '../subscriptions.ts';
import { deliveryId, type EventData, type Loaded, type Result } from './deliveries.ts';
import { delayAfter, retryAfterOf } from './schedule.ts';

/** What a door gives: the clock in milliseconds, chance from 0 to 1, and the network. */
export interface World {
  now: () => number;
  random: () => number;
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  sleep: (milliseconds: number) => Promise<void>;
}

export type Settings = Secrets & Vars;

/** For the connection, the answer, and the piece of it that is read. */
export const TIMEOUT_MS = 10_000;
const NO_ANSWER = `there was no answer: no connection, or none that answered within ${TIMEOUT_MS / 1000} seconds`;
/** Bytes that are read of an answer, and characters of them that are kept. */
const READ_MAX_BYTES = 4096;
const KEPT_MAX = 1000;
/** Characters from which on a part of a path may be a key. */
const PATH_KEY_MIN = 16;

/** By which a registry knows a delivery of a registry, and does not answer it: no event may lead to itself. */
export const LOOP_HEADER = 'berth-webhook';

/** What a POST has come to. */
export interface Answer {
  status: number | null;
  error: string | null;
  response: string;
  latencyMs: number;
  /** Seconds. */
  retryAfter: number;
  /** Whether there is a point in trying again, and whether the endpoint was asked at all. */
  final: boolean;
}

/** Nothing else is: a redirect is a failure, too (Standard Webhooks, "Delivery"). */
export function isSuccess(status: number | null): boolean {
  return status !== null && status >= 200 && status < 300;
}

/** Never throws: what goes wrong is what it has come to. */
export async function attempt(env: Settings, loaded: Loaded, world: World): Promise<Result> {
  const at = Math.floor(world.now() / 1000);
  const { subscription, key } = loaded;
  const id = deliveryId(key);
  const answer = subscription.disabled
    ? refused(`the webhook is disabled (${subscription.disabled})`)
    : await post(env, subscription, { id, read: () => dataOf(loaded) }, world).catch(failed);
  const { status, error, response, latencyMs, retryAfter, final } = answer;
  const delivered = isSuccess(status);
  const gone = status === 410;
  const age = at - (loaded.firstTriedAt ?? at);
  const delay = delivered || gone || final ? null : delayAfter(loaded.tries + 1, { retryAfter, age, chance: world.random() });
  const next = delay === null ? null : at + delay;
  return { loaded, attempt: { at, status, error, latencyMs, response, next }, delivered, gone, asked: !final };
}

function refused(error: string): Answer {
  return { status: null, error, response: '', latencyMs: 0, retryAfter: 0, final: true };
}

/** @throws Error where the row cannot be read, or refers to an event that is no longer kept */
function dataOf({ eventData }: Loaded): EventData {
  const data = JSON.parse(eventData) as EventData;
  if (data.reference) throw new Error('its event is no longer kept');
  return data;
}

/** A mistake of ours, about this one: it must not hold up the others. */
function failed(error: unknown): Answer {
  report('deliveries.attempt-failed', { error });
  return refused('it could not be made');
}

/** Renders, signs and sends. Where it must not go nothing is sent. */
export async function post(
  env: Settings,
  subscription: Subscription,
  { id, read }: { id: string; read: () => EventData },
  world: World,
): Promise<Answer> {
  const endpoint = await unseal(env, subscription.id, subscription.endpoint);
  if (!endpoint) return refused('its URL was sealed under a secret of the registry that was replaced: give it again');
  const { insecureWebhooks, publicUrl } = settings(env);
  const origin = publicUrl ?? subscription.origin;
  const ownHosts = [new URL(subscription.origin).host, new URL(origin).host];
  const refusal = refusalOfAddress(endpoint.url, { ownHosts, insecure: insecureWebhooks });
  if (refusal) return refused(refusal);
  const format = FORMATS[subscription.format];
  const body = format.render({ ...read(), origin });
  const signed = await signatureHeaders(env, subscription, { id, body, now: Math.floor(world.now() / 1000) });
  const headers = {
    // By their names in lower case, so that ours take the place of what an owner calls the same.
    ...Object.fromEntries(new Headers(endpoint.headers)),
    'content-type': format.contentType,
    'user-agent': 'Berth-Webhooks/1',
    [LOOP_HEADER]: id,
    ...signed,
  };
  const answer = await send(endpoint.url, { headers, body }, world);
  if (answer.response === '') return answer;
  const hidden = [...(await allSecrets(env, subscription)), ...signaturesIn(signed), ...credentialsOf(endpoint)];
  return { ...answer, response: redacted(answer.response, hidden).slice(0, KEPT_MAX).toWellFormed() };
}

/** Of what is sent with it all that its receiver alone is to know. */
function signaturesIn({ 'webhook-signature': signatures = '', 'x-signature': plain = '' }: Record<string, string>): string[] {
  return [...signatures.split(' '), plain].map((one) => one.replace(/^(?:v1,|sha256=)/, ''));
}

/** What an owner may have given as one. Of a path its long parts: services that take messages have their keys there. */
function credentialsOf({ url, headers }: Endpoint): string[] {
  const { pathname, search, searchParams } = new URL(url);
  const path = pathname.split('/').filter((part) => part.length >= PATH_KEY_MIN);
  const raw = search
    .slice(1)
    .split('&')
    .map((part) => part.slice(part.indexOf('=') + 1));
  return [...Object.values(headers), ...searchParams.values(), ...raw, ...path];
}

async function send(url: string, { headers, body }: { headers: Record<string, string>; body: string }, world: World) {
  const controller = new AbortController();
  const { signal } = controller;
  void world.sleep(TIMEOUT_MS).then(() => controller.abort());
  const from = world.now();
  const common = { retryAfter: 0, final: false };
  try {
    const answer = await world.fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal });
    const response = await beginningOf(answer, signal);
    const { status } = answer;
    const retryAfter = retryAfterOf(answer.headers.get('retry-after'), world.now());
    const error = isSuccess(status) ? null : `it answered with status ${status}`;
    return { ...common, status, error, response, retryAfter, latencyMs: world.now() - from };
  } catch {
    // One message and one time, however it failed: who may name a URL must not learn which hosts and ports are open.
    return { ...common, status: null, error: NO_ANSWER, response: '', latencyMs: TIMEOUT_MS };
  }
}

/** Whatever more there is, is not read. An answer whose body breaks off is an answer all the same. */
async function beginningOf(answer: Response, signal: AbortSignal): Promise<string> {
  if (!answer.body) return '';
  const reader = answer.body.getReader();
  const stop = () => void reader.cancel().catch(() => undefined);
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  try {
    for (let next = await reader.read(); !next.done && size < READ_MAX_BYTES; next = await reader.read()) {
      const chunk: Uint8Array = next.value;
      text += decoder.decode(chunk.subarray(0, READ_MAX_BYTES - size), { stream: true });
      size += chunk.byteLength;
      if (size >= READ_MAX_BYTES) break;
    }
  } catch {
    // What there was of it is kept.
  }
  stop();
  return text;
}
