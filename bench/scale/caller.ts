/** Sends the requests of this benchmark, and prepares what they need. */
import type { Blob } from '../content.ts';
import { imageOf, MANIFEST_TYPE, newConfig, newLayer } from '../content.ts';
import { memberOfManyTeams } from '../people.ts';
import type { Sent } from './calls.ts';
import type { Scaled } from './registry.ts';
import { BIG, BIG_REPOSITORY } from './shape.ts';

export interface Answered {
  status: number;
  headers: Headers;
  text: string;
  ms: number;
}

const SCOPES = [`repository:${BIG_REPOSITORY}:pull,push,delete`, 'repository:big/app-00001:pull', 'registry:catalog:*'];

export class Caller {
  readonly #registry: Scaled;
  readonly #credentials: Partial<Record<NonNullable<Sent['as']>, string>> = {};

  constructor(registry: Scaled) {
    this.#registry = registry;
  }

  /** Creates a user in 20 teams, and makes the user a member of the large organization. */
  async prepare(): Promise<void> {
    const password = Buffer.from(this.#registry.basic.slice('Basic '.length), 'base64').toString();
    this.#credentials.member = basic(await memberOfManyTeams(this.#registry.url, password));
    await this.ask('PUT', `/api/v1/organizations/${BIG}/members/tina`, { role: 'member' });
    await this.ask('PUT', `/api/v1/organizations/${BIG}/robots/ci-1/policy`, { statements: [] });
  }

  /** Requests a token for docker's requests. It is valid for five minutes. */
  async login(): Promise<void> {
    const scopes = SCOPES.map((scope) => `&scope=${encodeURIComponent(scope)}`).join('');
    const { token } = (await this.ask('GET', `/token?service=bench${scopes}`)) as { token: string };
    this.#credentials.token = `Bearer ${token}`;
  }

  /** Sends a request that prepares another one. @returns the JSON of the answer */
  async ask(method: string, path: string, body?: Sent['body'], as?: Sent['as']): Promise<unknown> {
    const { text } = await this.send(method, { path, ...(body && { body }), ...(as && { as }) });
    return text === '' ? undefined : JSON.parse(text);
  }

  /** @throws Error if the request is refused */
  async send(method: string, { path, body, headers, as }: Sent): Promise<Answered> {
    const authorization = as === undefined ? this.#registry.basic : this.#credentials[as];
    const type = body === undefined ? null : Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json';
    const started = performance.now();
    const response = await fetch(new URL(path, this.#registry.url), {
      method,
      headers: { ...(authorization && { authorization }), ...(type && { 'content-type': type }), ...headers },
      ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
    });
    const text = await response.text();
    const ms = performance.now() - started;
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text.slice(0, 500)}`);
    return { status: response.status, headers: response.headers, text, ms };
  }

  async location(): Promise<string> {
    const { headers } = await this.send('POST', { path: `/v2/${BIG_REPOSITORY}/blobs/uploads/`, as: 'token' });
    return headers.get('location') ?? '';
  }

  async pushBlob(blob: Blob = newLayer()): Promise<Blob> {
    const path = withDigest(await this.location(), blob.digest);
    await this.send('PUT', { path, body: blob.bytes, as: 'token' });
    return blob;
  }

  /** Pushes the config and the layer of an image. @returns its manifest */
  async manifest(): Promise<Blob> {
    const { blobs, manifest } = imageOf([newLayer()], newConfig());
    for (const blob of blobs) await this.pushBlob(blob);
    return manifest;
  }

  async pushImage(tag: string): Promise<Blob> {
    const manifest = await this.manifest();
    await this.send('PUT', manifestPut(tag, manifest));
    return manifest;
  }

  /** Creates a webhook. @returns its id */
  async webhook(scope: string): Promise<string> {
    const body = { url: 'https://hooks.example.com/bench', types: ['quota.saved'] };
    const { webhook } = (await this.ask('POST', `/api/v1${scope}/webhooks`, body)) as { webhook: { id: string } };
    return webhook.id;
  }

  async key(): Promise<string> {
    const { key } = (await this.ask('POST', '/api/v1/keys', { name: 'bench' }, 'member')) as { key: { id: string } };
    return key.id;
  }

  /** Invites a user. @returns the token of the invitation */
  async invite(name: string): Promise<string> {
    const { invitation } = (await this.ask('PUT', `/api/v1/users/${name}`)) as { invitation: { token: string } };
    return invitation.token;
  }
}

export function basic(credentials: string): string {
  return `Basic ${Buffer.from(credentials).toString('base64')}`;
}

export function withDigest(location: string, digest: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
}

export function manifestPut(reference: string, { bytes }: Blob): Sent {
  return {
    path: `/v2/${BIG_REPOSITORY}/manifests/${reference}`,
    body: bytes,
    headers: { 'content-type': MANIFEST_TYPE },
    as: 'token',
  };
}
