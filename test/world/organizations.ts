/** Creates organizations with users, teams and robots through the management API, and reads lists and events. */
import { expect } from 'vitest';
import { type ApiRequest, api, basicOf, inviteUser, type Person } from './people.ts';
import type { World } from './world.ts';

interface People {
  owners?: Person[];
  members?: Person[];
}

/** Sends a request, as the administrator unless `request` names another caller. Expects that it succeeds. */
async function done(world: World, method: string, path: string, request: ApiRequest = {}) {
  const answer = await api(world, method, path, request);
  expect(answer.status, `${method} ${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
  return answer;
}

export async function makeOrganization(world: World, name: string, { owners = [], members = [] }: People = {}): Promise<void> {
  await done(world, 'PUT', `/organizations/${name}`);
  const roles = [
    ...owners.map((person) => ({ person, role: 'owner' })),
    ...members.map((person) => ({ person, role: 'member' })),
  ];
  for (const { person, role } of roles) {
    await done(world, 'PUT', `/organizations/${name}/members/${person.name}`, { body: { role } });
  }
}

/** Creates a team with a policy. @param people the members of the team, who must be members of the organization */
export async function makeTeam(
  world: World,
  organization: string,
  team: string,
  people: Person[] = [],
  statements: object[] = [],
): Promise<void> {
  const path = `/organizations/${organization}/teams/${team}`;
  await done(world, 'PUT', path);
  for (const { name } of people) await done(world, 'PUT', `${path}/members/${name}`);
  if (statements.length > 0) await done(world, 'PUT', `${path}/policy`, { body: { statements } });
}

/** Creates a robot with a policy and a key. */
export async function makeRobot(world: World, organization: string, robot: string, statements: object[] = []): Promise<Person> {
  const path = `/organizations/${organization}/robots/${robot}`;
  await done(world, 'PUT', path);
  if (statements.length > 0) await done(world, 'PUT', `${path}/policy`, { body: { statements } });
  const { body } = await done(world, 'POST', `${path}/keys`, { body: { name: 'test' } });
  const { key, secret } = body as { key: { id: string }; secret: string };
  const name = `${organization}+${robot}`;
  return {
    name,
    subject: `robot:${organization}/${robot}`,
    secret,
    keyId: key.id,
    basic: basicOf(name, secret),
    bearer: `Bearer ${secret}`,
  };
}

/** Returns the items of all pages of a list, read with pages of `n` items. `meanwhile` is called between two pages. */
export async function everyItem<T>(
  world: World,
  path: string,
  { n = 2, as, meanwhile = async () => {} }: { n?: number; as?: string; meanwhile?: (page: number) => Promise<void> } = {},
): Promise<T[]> {
  const items: T[] = [];
  for (let page = 1, last: string | null = ''; last !== null; page++) {
    const query: string = last === '' ? `n=${n}` : `n=${n}&last=${encodeURIComponent(last)}`;
    const answer = await api<{ items: T[]; next: string | null }>(world, 'GET', `${path}?${query}`, as ? { as } : {});
    expect(answer.status).toBe(200);
    expect(answer.body.items.length).toBeLessThanOrEqual(n);
    expect(answer.body.next, 'a page leads to itself').not.toBe(last);
    items.push(...answer.body.items);
    last = answer.body.next;
    if (last !== null) await meanwhile(page);
  }
  return items;
}

export interface Happened {
  type: string;
  target: Record<string, unknown>;
  actor: string;
}

/** Returns the events that are recorded during `work`, in order. */
export async function eventsDuring(world: World, work: () => Promise<unknown>): Promise<Happened[]> {
  const before = await world.env.DB.prepare('SELECT coalesce(max(id), 0) AS id FROM events').first<number>('id');
  await work();
  const { results } = await world.env.DB.prepare('SELECT type, target, actor FROM events WHERE id > ? ORDER BY id')
    .bind(before)
    .all<{ type: string; target: string; actor: string }>();
  return results.map(({ type, target, actor }) => ({ type, target: JSON.parse(target) as Happened['target'], actor }));
}

/** Returns how often each value occurs. */
export function tally(values: (string | number)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

/** Creates the organization `acme` with an owner and a member, and a user who does not belong to it. */
export async function makeAcme(world: World): Promise<{ owner: Person; member: Person; outsider: Person }> {
  const owner = await inviteUser(world, 'owner1');
  const member = await inviteUser(world, 'member1');
  const outsider = await inviteUser(world, 'outsider1');
  await makeOrganization(world, 'acme', { owners: [owner], members: [member] });
  return { owner, member, outsider };
}
