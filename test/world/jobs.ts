/** Helpers for CI jobs: their tokens, the trust rules for these tokens, and the logins with these tokens. */
import { expect, vi } from 'vitest';
import { IMAGE_TYPE, imageIn, refusal } from './images.ts';
import { api, basicOf } from './people.ts';
import { type Issuer, newIssuer } from './token-issuer.ts';
import type { World } from './world.ts';

export interface Jobs {
  issuer: Issuer;
  /** Returns a token that is valid for ten minutes from now, with additional `claims`. */
  token(claims?: Record<string, unknown>): Promise<string>;
  /**
   * Saves a trust rule of an organization (`acme/deploy`) or of the whole registry (`deploy`). By default project 42 may push
   * and pull.
   */
  trust(name: string, rule?: object): Promise<void>;
  forget(name: string): Promise<void>;
}

export function pathOfRule(name: string): string {
  const [first, second] = name.split('/');
  return second === undefined ? `/trust-rules/${first}` : `/organizations/${first}/trust-rules/${second}`;
}

/** Creates an issuer of CI tokens. Afterwards, outgoing requests of the Worker reach only this issuer. */
export async function jobsOf(world: World, { alg = 'ES256' } = {}): Promise<Jobs> {
  const issuer = await newIssuer({ alg });
  vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
  return {
    issuer,
    token(claims = {}) {
      const now = Math.floor(Date.now() / 1000);
      const times = { iat: now, nbf: now, exp: now + 600 };
      return issuer.sign({ sub: 'job', project: '42', ref: 'refs/heads/main', event_name: 'push', ...times, ...claims });
    },
    async trust(name, rule = {}) {
      const namespace = name.includes('/') ? `${name.split('/')[0]}/` : '';
      const statements = [{ actions: [...['pull', 'push', 'retag', 'delete', 'create']], repositories: [`${namespace}*`] }];
      const body = { issuer: issuer.url, claims: { project: '42' }, statements, ...rule };
      const answer = await api(world, 'PUT', pathOfRule(name), { body });
      expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
    },
    async forget(name) {
      expect((await api(world, 'DELETE', pathOfRule(name))).status).toBe(204);
    },
  };
}

export interface Tokens {
  access_token: string;
  refresh_token?: string;
  expires_in: number;
}

/** Requests a token with a password. Clients that store the password do this before each pull and push. */
export function getToken(world: World, password: string, scopes: string[] = [], offline = false): Promise<Response> {
  const query = [...scopes.map((scope) => `scope=${encodeURIComponent(scope)}`), ...(offline ? ['offline_token=true'] : [])];
  return world.fetch('GET', `/token?${query.join('&')}`, { authorization: basicOf('ci', password) });
}

/** Returns the refresh token that docker stores after `docker login`. */
export async function dockerLogin(world: World, password: string): Promise<string> {
  const response = await getToken(world, password, [], true);
  expect(response.status, await response.clone().text()).toBe(200);
  return ((await response.json()) as Tokens).refresh_token ?? '';
}

/** Requests a token with a refresh token, as docker does. @param rotate also requests a new refresh token */
export function refresh(world: World, token: string, scope: string, rotate = false): Promise<Response> {
  const form = { grant_type: 'refresh_token', refresh_token: token, scope, ...(rotate ? { access_type: 'offline' } : {}) };
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return world.fetch('POST', '/token', { authorization: null, headers, body: new URLSearchParams(form).toString() });
}

export async function bearerIn(response: Response): Promise<string> {
  expect(response.status, await response.clone().text()).toBe(200);
  return `Bearer ${((await response.json()) as Tokens).access_token}`;
}

export const PUSH = (repository: string) => `repository:${repository}:pull,push,delete`;

/** Pushes an image whose content depends on the tag. @returns `201`, or the status and code of the refusal */
export async function pushAs(world: World, authorization: string, repository: string, tag: string): Promise<string> {
  const image = await imageIn(world, repository, [...tag].reduce((sum, char) => sum * 31 + char.charCodeAt(0), 7) % 10_000);
  const headers = { 'content-type': IMAGE_TYPE };
  const response = await world.fetch('PUT', `/v2/${repository}/manifests/${tag}`, {
    authorization,
    headers,
    body: image.bytes,
  });
  return response.ok ? String(response.status) : refusal(response);
}

export async function lastActor(world: World): Promise<string | null> {
  return world.env.DB.prepare('SELECT actor FROM events ORDER BY id DESC LIMIT 1').first<string>('actor');
}

export async function messageIn(response: Response): Promise<string> {
  return ((await response.json()) as { errors: { message: string }[] }).errors[0]?.message ?? '';
}
