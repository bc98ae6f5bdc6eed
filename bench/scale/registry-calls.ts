/** The calls of the routes that change anything other than content: accounts, rights, repositories, limits and webhooks. */

import type { Caller } from './caller.ts';
import { API, type Case, call } from './calls.ts';
import { BIG, BIG_REPOSITORY } from './shape.ts';

const ORGANIZATION = `${API}/organizations/:organization`;
const OF_BIG = `${API}/organizations/${BIG}`;
const REPOSITORY = `${API}/repositories/:name{.+}`;
const WEBHOOK = `${API}/webhooks/:webhook`;
const STATEMENTS = { statements: [{ actions: ['pull'], repositories: ['big/app-*'] }] };
const RULE = {
  issuer: 'https://token.actions.githubusercontent.com',
  claims: { repository_id: '1234' },
  statements: [{ actions: ['push'], repositories: ['big/app-1'] }],
};

/** Returns a case that prepares something of its own before each call. */
function after(route: string, prepare: (caller: Caller, n: number) => Promise<string>, body?: object, as?: 'member'): Case {
  const send: Case['send'] = async (caller, n) => ({
    path: await prepare(caller, n),
    ...(body && { body }),
    ...(as && { as }),
  });
  return { route, send };
}

/** The number of calls is small, because a user may have only 100 keys and write only some comments a day. */
const FEW = { calls: 12 };

const PEOPLE: Case[] = [
  call(`PUT ${API}/users/:user`, `${API}/users/new-#`),
  call(`PATCH ${API}/users/:user`, `${API}/users/new-#`, { body: { description: 'changed' } }),
  call(`POST ${API}/users/:user/invitation`, `${API}/users/new-#/invitation`),
  call(`DELETE ${API}/users/:user/logins`, `${API}/users/person-#/logins`),
  call(`PUT ${API}/users/:user/policy`, `${API}/users/new-#/policy`, { body: STATEMENTS }),
  {
    route: `POST ${API}/invitations/accept`,
    async send(caller, n) {
      return { path: `${API}/invitations/accept`, body: { token: await caller.invite(`joined-${n}`) }, as: 'nobody' };
    },
  },
  call(`POST ${API}/login-password`, `${API}/login-password`, { as: 'member', body: {} }),
  call(`POST ${API}/keys`, `${API}/keys`, { as: 'member', body: { name: 'bench' }, ...FEW }),
  {
    ...after(`PATCH ${API}/keys/:key`, async (caller) => `${API}/keys/${await caller.key()}`, { name: 'other' }, 'member'),
    ...FEW,
  },
  {
    ...after(`POST ${API}/keys/:key/rotate`, async (caller) => `${API}/keys/${await caller.key()}/rotate`, {}, 'member'),
    ...FEW,
  },
  { ...after(`DELETE ${API}/keys/:key`, async (caller) => `${API}/keys/${await caller.key()}`, undefined, 'member'), ...FEW },
];

const ORGANIZATIONS: Case[] = [
  call(`PUT ${ORGANIZATION}`, `${API}/organizations/made-#`),
  call(`PATCH ${ORGANIZATION}`, `${API}/organizations/made-#`, { body: { description: 'changed' } }),
  call(`DELETE ${ORGANIZATION}`, `${API}/organizations/made-#`),
  call(`PUT ${ORGANIZATION}/members/:user`, `${OF_BIG}/members/new-#`, { body: { role: 'member' } }),
  call(`DELETE ${ORGANIZATION}/members/:user`, `${OF_BIG}/members/new-#`),
  call(`PUT ${ORGANIZATION}/teams/:team`, `${OF_BIG}/teams/made-#`, { body: {} }),
  call(`PUT ${ORGANIZATION}/teams/:team/members/:user`, `${OF_BIG}/teams/made-#/members/tina`, { body: {} }),
  call(`DELETE ${ORGANIZATION}/teams/:team/members/:user`, `${OF_BIG}/teams/made-#/members/tina`),
  call(`PUT ${ORGANIZATION}/teams/:team/policy`, `${OF_BIG}/teams/made-#/policy`, { body: STATEMENTS }),
  call(`DELETE ${ORGANIZATION}/teams/:team`, `${OF_BIG}/teams/made-#`),
  call(`PUT ${ORGANIZATION}/robots/:robot`, `${OF_BIG}/robots/made-#`, { body: {} }),
  call(`POST ${ORGANIZATION}/robots/:robot/keys`, `${OF_BIG}/robots/made-#/keys`, { body: { name: 'bench' } }),
  call(`PUT ${ORGANIZATION}/robots/:robot/policy`, `${OF_BIG}/robots/made-#/policy`, { body: STATEMENTS }),
  call(`DELETE ${ORGANIZATION}/robots/:robot`, `${OF_BIG}/robots/made-#`),
  ...[
    [`${ORGANIZATION}/trust-rules/:rule`, `${OF_BIG}/trust-rules/made-#`] as const,
    [`${API}/trust-rules/:rule`, `${API}/trust-rules/made-#`] as const,
  ].flatMap(([route, path]) => [
    call(`PUT ${route}`, path, { body: RULE }),
    call(`GET ${route}`, path),
    call(`DELETE ${route}`, path),
  ]),
  call(`PUT ${ORGANIZATION}/quota`, `${OF_BIG}/quota`, { body: { maxBytes: 900_000_000_000_000 }, calls: 3 }),
  call(`PUT ${API}/users/:user/quota`, `${API}/users/person-#/quota`, { body: { maxBytes: 900_000_000_000_000 } }),
];

/** Creates and deletes a repository. @returns the id of its trash entry */
async function deleted(caller: Caller, name: string): Promise<string> {
  await caller.ask('PUT', `${API}/repositories/big/${name}`, {});
  await caller.ask('DELETE', `${API}/repositories/big/${name}`);
  const { items } = (await caller.ask('GET', `${API}/trash`)) as { items: { entry: string }[] };
  return items[0]?.entry ?? '';
}

const REPOSITORIES: Case[] = [
  call(`PUT ${REPOSITORY}`, `${API}/repositories/big/made-#`, { body: {} }),
  call(`PATCH ${REPOSITORY}`, `${API}/repositories/big/made-#`, { body: { visibility: 'public' } }),
  call(`DELETE ${REPOSITORY}`, `${API}/repositories/big/made-#`),
  after(`POST ${API}/trash/:entry/restore`, async (caller, n) => `${API}/trash/${await deleted(caller, `back-${n}`)}/restore`),
  after(`DELETE ${API}/trash/:entry`, async (caller, n) => `${API}/trash/${await deleted(caller, `gone-${n}`)}`),
];

async function webhook(caller: Caller): Promise<string> {
  return `${API}/webhooks/${await caller.webhook(`/organizations/${BIG}`)}`;
}

const HOOK = { url: 'https://hooks.example.com/bench', types: ['tag.moved'] };

const OF_TAGS = `${API}/repositories/${BIG_REPOSITORY}/-`;

const COMMENTS: Case[] = [
  ...(['PUT', 'GET', 'DELETE'] as const).map((method) => call(`${method} ${REPOSITORY}/-/star`, `${OF_TAGS}/star`)),
  call(`GET ${REPOSITORY}/-/comments`, `${OF_TAGS}/comments`),
  call(`POST ${REPOSITORY}/-/comments`, `${OF_TAGS}/comments`, { body: { text: 'It **works**.' }, ...FEW }),
  ...(['PATCH', 'DELETE'] as const).map((method) => ({
    ...after(`${method} ${REPOSITORY}/-/comments/:comment`, comment, method === 'PATCH' ? { text: 'Or not.' } : undefined),
    ...FEW,
  })),
];

/** Writes a comment. @returns its path */
async function comment(caller: Caller): Promise<string> {
  const { id } = (await caller.ask('POST', `${OF_TAGS}/comments`, { text: 'It works.' })) as { id: number };
  return `${OF_TAGS}/comments/${id}`;
}

const WEBHOOKS: Case[] = [
  call(`POST ${API}/webhooks`, `${API}/webhooks`, { body: HOOK, calls: 5 }),
  call(`POST ${ORGANIZATION}/webhooks`, `${OF_BIG}/webhooks`, { body: HOOK, calls: 5 }),
  call(`POST ${REPOSITORY}/-/webhooks`, `${API}/repositories/big/app-00001/-/webhooks`, { body: HOOK, calls: 5 }),
  ...(['GET', 'PATCH', 'DELETE'] as const).map((method) => ({
    ...after(`${method} ${WEBHOOK}`, webhook, method === 'PATCH' ? { description: 'changed' } : undefined),
    calls: 5,
  })),
  { ...after(`POST ${WEBHOOK}/rotate`, async (caller) => `${await webhook(caller)}/rotate`, {}), calls: 5 },
  { ...after(`GET ${WEBHOOK}/deliveries`, async (caller) => `${await webhook(caller)}/deliveries`), calls: 5 },
  call(`POST ${API}/gc`, `${API}/gc`),
  call(`POST ${API}/scrub`, `${API}/scrub`),
];

export const CHANGES: Case[] = [...PEOPLE, ...ORGANIZATIONS, ...REPOSITORIES, ...COMMENTS, ...WEBHOOKS];

/** The routes that are not called, and the reason for each. */
export const LEFT_OUT: Record<string, string> = {
  'POST /token': 'is GET /token with a refresh token',
  'GET /layers/:digest': 'is a pull of a blob by the URL of a client of the ECR API',
  [`DELETE ${API}/me/logins`]: 'is DELETE of the logins of a user',
  [`DELETE ${API}/me/invitations/:organization`]: 'one row by its key',
  [`POST ${API}/me/invitations/:organization/accept`]: 'one row by its key',
  [`DELETE ${ORGANIZATION}/invitations/:user`]: 'one row by its key',
  [`POST ${WEBHOOK}/test`]: 'sends a request to the outside',
  [`GET ${WEBHOOK}/deliveries/:delivery`]: 'needs a delivery, for which a request is sent to the outside',
  [`POST ${WEBHOOK}/deliveries/:delivery/replay`]: 'needs a delivery',
  [`POST ${WEBHOOK}/replay`]: 'needs deliveries',
};
