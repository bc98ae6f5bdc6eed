/**
 * Sends many events to many endpoints, some of which fail for a while. The events pass through the whole program: requests, D1,
 * the queues of the embedded runtime, and real connections. The endpoints themselves count the deliveries.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Registry, startRegistry } from '../../world/registry.ts';
import { type Endpoint, type Manner, startEndpoints } from './endpoints.ts';

export interface Plan {
  events: number;
  endpoints: number;
  /** The endpoints that fail: how, and for how many requests. `null` means until all other endpoints have all events. */
  ill: { manner: Exclude<Manner, 'well'>; patience: number | null }[];
  /** The timeout of the whole run in milliseconds. */
  limit: number;
  /** Called from time to time with the number of deliveries that each endpoint has acknowledged. */
  onProgress?: (acknowledged: number[]) => void;
}

export interface Report {
  /** The milliseconds until all events were recorded, until the healthy endpoints had all of them, and until the others had. */
  recorded: number;
  well: number;
  ill: number;
  /** The number of deliveries that were never acknowledged, and of those that were sent again after they were acknowledged. */
  lost: number;
  repeated: number;
  requests: number;
  /** The number of deliveries in each state, as the API reports them. */
  states: Record<string, number>;
}

const REPOSITORY = 'acme/app';
/** The number of tags in one PUT, which is the limit of the registry. */
const TAGS_PER_PUT = 100;
const PROGRESS_MS = 10_000;

export async function drain(plan: Plan): Promise<Report> {
  const endpoints = await startEndpoints(plan.endpoints);
  const registry = await startRegistry({ env: { INSECURE_WEBHOOKS: 'on' } });
  try {
    plan.ill.forEach(({ manner, patience }, n) => {
      Object.assign(endpoints.all[n] as Endpoint, { manner, patience });
    });
    const webhooks: string[] = [];
    for (let n = 0; n < plan.endpoints; n++) webhooks.push(await subscribe(registry, endpoints.url(n)));
    const started = Date.now();
    const counts = () => endpoints.all.map(({ acknowledged }) => acknowledged.size);
    const timer = setInterval(() => plan.onProgress?.(counts()), PROGRESS_MS);
    await record(registry, plan.events);
    const recorded = Date.now() - started;
    const until = started + plan.limit;
    const [ill, well] = [endpoints.all.slice(0, plan.ill.length), endpoints.all.slice(plan.ill.length)];
    await haveAll(well, plan.events, until);
    for (const endpoint of ill) endpoint.manner = 'well';
    await haveAll(ill, plan.events, until);
    clearInterval(timer);
    const last = (some: Endpoint[]) => Math.max(0, ...some.map(({ lastAt }) => lastAt)) - started;
    return {
      recorded,
      well: last(well),
      ill: last(ill),
      lost: sum(endpoints.all.map(({ acknowledged }) => plan.events - acknowledged.size)),
      repeated: sum(endpoints.all.map(({ repeated }) => repeated.length)),
      requests: sum(endpoints.all.flatMap(({ requests }) => [...requests.values()])),
      states: await statesOf(registry, webhooks),
    };
  } finally {
    await registry.stop();
    await endpoints.stop();
  }
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

async function haveAll(endpoints: Endpoint[], events: number, until: number): Promise<void> {
  while (endpoints.some(({ acknowledged }) => acknowledged.size < events) && Date.now() < until) await sleep(100);
}

async function call(
  registry: Registry,
  method: string,
  path: string,
  body?: string,
  type = 'application/json',
): Promise<Response> {
  const authorization = `Basic ${btoa(`${registry.username}:${registry.password}`)}`;
  const headers = { authorization, ...(body === undefined ? {} : { 'content-type': type }) };
  const response = await fetch(`${registry.url}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response;
}

async function subscribe(registry: Registry, url: string): Promise<string> {
  const body = JSON.stringify({ url, types: ['tag.created'] });
  const response = await call(registry, 'POST', '/api/v1/webhooks', body);
  return ((await response.json()) as { webhook: { id: string } }).webhook.id;
}

/** Records events by pushing tags, a hundred in each request. Each tag is one event. */
async function record(registry: Registry, events: number): Promise<void> {
  const config = '{}';
  const digest = digestOf(config);
  await call(registry, 'POST', `/v2/${REPOSITORY}/blobs/uploads/?digest=${digest}`, config, 'application/octet-stream');
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const descriptor = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: config.length };
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config: descriptor, layers: [] });
  for (let from = 0; from < events; from += TAGS_PER_PUT) {
    const tags = Array.from({ length: Math.min(TAGS_PER_PUT, events - from) }, (_, n) => `tag=t${from + n}`);
    await call(registry, 'PUT', `/v2/${REPOSITORY}/manifests/${digestOf(manifest)}?${tags.join('&')}`, manifest, mediaType);
  }
}

function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

async function statesOf(registry: Registry, webhooks: string[]): Promise<Record<string, number>> {
  const states: Record<string, number> = {};
  for (const webhook of webhooks) {
    for (let last: string | null = ''; last !== null; ) {
      const page = await call(registry, 'GET', `/api/v1/webhooks/${webhook}/deliveries?n=1000${last && `&last=${last}`}`);
      const { items, next } = (await page.json()) as { items: { state: string }[]; next: string | null };
      for (const { state } of items) states[state] = (states[state] ?? 0) + 1;
      last = next;
    }
  }
  return states;
}
