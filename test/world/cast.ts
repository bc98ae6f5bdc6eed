/**
 * Creates one caller of each kind through the management API, with rights to the repositories of one organization. `rightsOf`
 * lists these rights, so that tests can compute the expected answer to each request.
 */
import { expect, vi } from 'vitest';
import { pushImage } from './images.ts';
import { makeOrganization, makeRobot, makeTeam } from './organizations.ts';
import { api, inviteUser, type Person, personOf } from './people.ts';
import { type Issuer, newIssuer } from './token-issuer.ts';
import type { World } from './world.ts';

export const IDENTITIES = [
  'anonymous',
  'outsider',
  'puller',
  'pusher',
  'repository admin',
  'organization owner',
  'administrator',
  'robot',
  'narrowed key',
  'CI token',
  'expired key',
  'revoked key',
] as const;
export type Identity = (typeof IDENTITIES)[number];

export const REPOSITORIES = { public: 'acme/public', private: 'acme/private', absent: 'acme/absent' } as const;
export type Kind = keyof typeof REPOSITORIES;

const EVERYTHING = ['pull', 'push', 'delete', 'admin', 'create'];

/** Returns the rights of a caller in a repository. A caller whose credential has expired or was revoked has none. */
export function rightsOf(identity: Identity, kind: Kind): string[] {
  const publicPull = kind === 'public' ? ['pull'] : [];
  switch (identity) {
    case 'anonymous':
    case 'outsider':
      return publicPull;
    case 'puller':
    case 'narrowed key':
      return ['pull'];
    case 'pusher':
    case 'robot':
    case 'CI token':
      return ['pull', 'push'];
    case 'repository admin':
      return kind === 'absent' ? [] : EVERYTHING;
    case 'organization owner':
    case 'administrator':
      return EVERYTHING;
    default:
      return [];
  }
}

export const ENDED: readonly Identity[] = ['expired key', 'revoked key'];

export interface Cast {
  /** The Authorization header of each caller, with the scheme Basic. `null` for the anonymous caller. */
  basic: Record<Identity, string | null>;
  digest: string;
  issuer: Issuer;
  /** The id of a second key of the pusher. */
  spareKey: string;
}

/** Creates all callers, and two repositories with an image each. Afterwards, outgoing requests reach only the issuer. */
export async function makeCast(world: World): Promise<Cast> {
  const people = await makePeople(world);
  const { digest } = await pushImage(world, REPOSITORIES.public, 'v1');
  await pushImage(world, REPOSITORIES.private, 'v1');
  await patch(world, `/repositories/${REPOSITORIES.public}`, { visibility: 'public' });
  for (const [name, statements] of [
    [REPOSITORIES.private, []],
    [REPOSITORIES.public, [{ actions: ['pull'], principals: ['*'] }]],
  ] as const) {
    const admin = { actions: 'all actions', principals: [people.admin.subject] };
    await put(world, `/repositories/${name}/-/policy`, { statements: [...statements, admin] });
  }
  const issuer = await newIssuer();
  vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
  const statements = [{ actions: 'push and pull', repositories: ['acme/*'] }];
  await put(world, '/organizations/acme/trust-rules/deploy', { issuer: issuer.url, claims: { project: '42' }, statements });
  await put(world, '/trust-rules/deploy', { issuer: issuer.url, claims: { project: 'another' }, statements });
  const now = Math.floor(Date.now() / 1000);
  const token = await issuer.sign({ sub: 'job', project: '42', iat: now, nbf: now, exp: now + 600 });
  return {
    digest,
    issuer,
    spareKey: idIn(await key(world, people.pusher, {})),
    basic: {
      anonymous: null,
      outsider: people.outsider.basic,
      puller: people.puller.basic,
      pusher: people.pusher.basic,
      'repository admin': people.admin.basic,
      'organization owner': people.owner.basic,
      administrator: people.administrator.basic,
      robot: (await makeRobot(world, 'acme', 'deployer', statements)).basic,
      'narrowed key': await key(world, people.pusher, { statements: [{ actions: ['pull'], repositories: ['*'] }] }),
      'CI token': `Basic ${btoa(`ci:${token}`)}`,
      'expired key': await ended(world, people.pusher, 'expires_at = unixepoch() - 1'),
      'revoked key': await ended(world, people.pusher, 'revoked_at = unixepoch()'),
    },
  };
}

async function makePeople(world: World) {
  const [outsider, puller, pusher, admin, owner, administrator] = await Promise.all([
    inviteUser(world, 'olga'),
    inviteUser(world, 'paul'),
    inviteUser(world, 'petra'),
    inviteUser(world, 'anton'),
    inviteUser(world, 'oskar'),
    inviteUser(world, 'adele', { administrator: true }),
  ]);
  await makeOrganization(world, 'acme', { owners: [owner], members: [puller, pusher] });
  await makeTeam(world, 'acme', 'users', [puller], [{ actions: 'pull only', repositories: ['acme/*'] }]);
  await makeTeam(world, 'acme', 'builders', [pusher], [{ actions: 'push and pull', repositories: ['acme/*'] }]);
  return { outsider, puller, pusher, admin, owner, administrator };
}

interface Made {
  key: { id: string };
  secret: string;
}

async function key(world: World, owner: Person, body: object): Promise<string> {
  const made = await api<Made>(world, 'POST', '/keys', { as: owner.basic, body: { name: 'k', ...body } });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return personOf(owner.name, { id: made.body.key.id, secret: made.body.secret }).basic;
}

/**
 * Returns the Basic credential of a key that has expired or was revoked. Its row is changed in D1, because times are compared
 * with the clock of D1.
 */
async function ended(world: World, owner: Person, change: string): Promise<string> {
  const basic = await key(world, owner, {});
  await world.env.DB.prepare(`UPDATE access_keys SET ${change} WHERE id = ?1`).bind(idIn(basic)).run();
  return basic;
}

function idIn(basic: string): string {
  return /BRTH[A-Z2-7]{16}/.exec(atob(basic.slice('Basic '.length)))?.[0] ?? '';
}

async function put(world: World, path: string, body: object): Promise<void> {
  const answer = await api(world, 'PUT', path, { body });
  expect(answer.status, `${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
}

async function patch(world: World, path: string, body: object): Promise<void> {
  const answer = await api(world, 'PATCH', path, { body });
  expect(answer.status, `${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
}
