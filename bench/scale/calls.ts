/** The type of a measured call, and the calls that only read. The names of repositories and so on are those in `rows.ts`. */
import type { Caller } from './caller.ts';
import { BIG, BIG_REPOSITORY } from './shape.ts';

/** A kind of measured request. `send` prepares a request, which is not measured, and returns the request to measure. */
export interface Case {
  /**
   * The method and the pattern of the route, as in src/http/routes.ts. For a GET route that is called with HEAD, the method is
   * HEAD.
   */
  route: string;
  note?: string;
  /** The number of calls. If absent, the number in the plan. */
  calls?: number;
  send: (caller: Caller, n: number) => Promise<Sent>;
}

export interface Sent {
  path: string;
  body?: object | Buffer;
  headers?: Record<string, string>;
  /** Who sends the request. If absent, the administrator with the password. */
  as?: 'token' | 'member' | 'nobody';
}

type Options = Omit<Sent, 'path' | 'body'> & { body?: Sent['body'] | ((n: number) => object); note?: string; calls?: number };

/** Returns a case. `#` in the path is replaced by the number of the call. */
export function call(route: string, path: string, { body, note, calls, ...sent }: Options = {}): Case {
  const send = async (_: Caller, n: number): Promise<Sent> => ({
    ...sent,
    path: path.replaceAll('#', String(n)),
    ...(body === undefined ? {} : { body: typeof body === 'function' ? body(n) : body }),
  });
  return { route, send, ...(note === undefined ? {} : { note }), ...(calls === undefined ? {} : { calls }) };
}

export const API = '/api/v1';
const ORGANIZATION = `${API}/organizations/:organization`;
const OF_BIG = `${API}/organizations/${BIG}`;
const REPOSITORY = `${API}/repositories/:name{.+}`;
const OF_TAGS = `${API}/repositories/${BIG_REPOSITORY}/-`;

export const READS: Case[] = [
  call('GET /token', `/token?service=bench&scope=repository:${BIG_REPOSITORY}:pull,push`),
  call('GET /token', `/token?service=bench&scope=repository:bench/app:pull,push`, { as: 'member', note: 'member of 20 teams' }),
  call('GET /v2', '/v2/', { as: 'token' }),
  call('GET /v2/_catalog', '/v2/_catalog?n=100', { as: 'token' }),
  call('GET /v2/:name{.+}/tags/list', `/v2/${BIG_REPOSITORY}/tags/list?n=100`, { as: 'token' }),
  call('GET /v2/:name{.+}/tags/list', `/v2/${BIG_REPOSITORY}/tags/list?n=100&last=v000500`, {
    as: 'token',
    note: 'a later page',
  }),
  call('GET /join', '/join', { as: 'nobody' }),
  call('GET /api', '/api', { as: 'nobody' }),
  call('GET /api/openapi.json', '/api/openapi.json', { as: 'nobody' }),
  call('GET /api/event.schema.json', '/api/event.schema.json', { as: 'nobody' }),

  call(`GET ${API}/me`, `${API}/me`, { as: 'member' }),
  call(`GET ${API}/me/invitations`, `${API}/me/invitations`, { as: 'member' }),
  call(`GET ${API}/explain`, `${API}/explain?principal=user:tina&action=pull&repository=bench/app`),
  call(`GET ${API}/users`, `${API}/users`),
  call(`GET ${API}/users`, `${API}/users?search=son-29`, { note: 'search' }),
  call(`GET ${API}/users/:user`, `${API}/users/person-#`),
  call(`GET ${API}/users/:user/policy`, `${API}/users/tina/policy`),
  call(`GET ${API}/organizations`, `${API}/organizations`),
  call(`GET ${API}/organizations`, `${API}/organizations`, { as: 'member', note: 'member' }),
  call(`GET ${ORGANIZATION}`, OF_BIG),
  call(`GET ${ORGANIZATION}/members`, `${OF_BIG}/members`),
  call(`GET ${ORGANIZATION}/invitations`, `${OF_BIG}/invitations`),
  call(`GET ${ORGANIZATION}/teams`, `${OF_BIG}/teams`),
  call(`GET ${ORGANIZATION}/teams/:team`, `${OF_BIG}/teams/team-0001`),
  call(`GET ${ORGANIZATION}/teams/:team/members`, `${OF_BIG}/teams/team-0001/members`),
  call(`GET ${ORGANIZATION}/teams/:team/policy`, `${OF_BIG}/teams/team-0001/policy`),
  call(`GET ${ORGANIZATION}/robots`, `${OF_BIG}/robots`),
  call(`GET ${ORGANIZATION}/robots/:robot`, `${OF_BIG}/robots/ci-1`),
  call(`GET ${ORGANIZATION}/robots/:robot/keys`, `${OF_BIG}/robots/ci-1/keys`),
  call(`GET ${ORGANIZATION}/robots/:robot/policy`, `${OF_BIG}/robots/ci-1/policy`),
  call(`GET ${ORGANIZATION}/usage`, `${OF_BIG}/usage`),
  call(`GET ${ORGANIZATION}/webhooks`, `${OF_BIG}/webhooks`),
  call(`GET ${ORGANIZATION}/trust-rules`, `${OF_BIG}/trust-rules`),
  call(`GET ${API}/trust-rules`, `${API}/trust-rules`),
  call(`GET ${API}/keys`, `${API}/keys`, { as: 'member' }),
  call(`GET ${API}/keys`, `${API}/keys?owner=user:person-1`, { note: 'of another user' }),
  call(`GET ${API}/keys/:key`, `${API}/keys/BRTH0000000000000001`),

  call(`GET ${API}/repositories`, `${API}/repositories`),
  call(`GET ${API}/repositories`, `${API}/repositories?namespace=${BIG}`, { note: 'of an organization' }),
  call(`GET ${API}/repositories`, `${API}/repositories?namespace=${BIG}`, { as: 'member', note: 'of an organization, member' }),
  call(`GET ${API}/repositories`, `${API}/repositories`, { as: 'nobody', note: 'anonymous' }),
  call(`GET ${API}/repositories`, `${API}/repositories?search=app-00`, { note: 'search, many found' }),
  call(`GET ${API}/repositories`, `${API}/repositories?search=nothing`, { note: 'search, nothing found' }),
  call(`GET ${REPOSITORY}`, `${API}/repositories/${BIG_REPOSITORY}`),
  call(`GET ${REPOSITORY}/-/policy`, `${OF_TAGS}/policy`),
  call(`GET ${REPOSITORY}/-/tags`, `${OF_TAGS}/tags`),
  call(`GET ${REPOSITORY}/-/tags`, `${OF_TAGS}/tags?sort=name`, { note: 'by name' }),
  call(`GET ${REPOSITORY}/-/tags`, `${OF_TAGS}/tags?filter=v0009*`, { note: 'filter' }),
  call(`GET ${REPOSITORY}/-/images`, `${OF_TAGS}/images`),
  call(`GET ${REPOSITORY}/-/images`, `${OF_TAGS}/images?n=10`, { note: 'page of 10' }),
  call(`GET ${REPOSITORY}/-/tags/:tag/history`, `${OF_TAGS}/tags/v000007/history`),
  call(`GET ${REPOSITORY}/-/tag-mutability`, `${OF_TAGS}/tag-mutability`),
  call(`GET ${REPOSITORY}/-/pulls`, `${OF_TAGS}/pulls`),
  call(`GET ${REPOSITORY}/-/trash`, `${OF_TAGS}/trash`),
  call(`GET ${REPOSITORY}/-/webhooks`, `${OF_TAGS}/webhooks`),
  call(`GET ${API}/trash`, `${API}/trash`),
  call(`GET ${API}/events`, `${API}/events`),
  call(`GET ${API}/events`, `${API}/events?repository=${BIG_REPOSITORY}`, { note: 'of a repository' }),
  call(`GET ${API}/events`, `${API}/events?organization=${BIG}`, { note: 'of an organization' }),
  call(`GET ${API}/events`, `${API}/events?repository=${BIG_REPOSITORY}&type=quota.saved`, { note: 'of a type that is rare' }),
  call(`GET ${API}/events`, `${API}/events?type=quota.saved`, { note: 'of a rare type, all' }),
  call(`GET ${API}/events`, `${API}/events?actor=user:tina`, { note: 'of an actor' }),
  call(`GET ${API}/usage`, `${API}/usage`),
  call(`GET ${API}/users/:user/usage`, `${API}/users/person-1/usage`),
  call(`GET ${API}/gc`, `${API}/gc`),
  call(`GET ${API}/budget`, `${API}/budget`),
  call(`GET ${API}/fsck`, `${API}/fsck`, { calls: 3 }),
  call(`GET ${API}/webhooks`, `${API}/webhooks`),
];
