/** Keys that were created with a key. A thief of a key can create more, so the owner sees them and can revoke them with it. */
import { beforeEach, describe, expect, test } from 'vitest';
import { makeOrganization } from '../../world/organizations.ts';
import { api as anyApi, inviteUser, type Person, refused } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

interface Body {
  key: { id: string; madeWith: string | null };
  secret: string;
  items: { id: string; madeWith: string | null; state: string }[];
  madeWith: string | null;
}

interface Made {
  id: string;
  as: string;
}

const NARROW = [{ effect: 'allow', actions: ['pull'], repositories: ['alice/*'] }];
const ROBOT_KEYS = '/organizations/acme/robots/ci/keys';

let world: World;
let alice: Person;
let stolen: Made;

const api = (method: string, path: string, as: string, body?: object) =>
  anyApi<Body>(world, method, path, body ? { as, body } : { as });
const works = async ({ as }: Made) => (await api('GET', '/me', as)).status === 200;

async function make(as: string, { path = '/keys', more = {} }: { path?: string; more?: object } = {}): Promise<Made> {
  const { status, body } = await api('POST', path, as, { name: 'made', ...more });
  expect(status, JSON.stringify(body)).toBe(201);
  return { id: body.key.id, as: `Bearer ${body.secret}` };
}

const rotate = (key: Made, as = key.as) => make(as, { path: `/keys/${key.id}/rotate`, more: { name: undefined } });
const madeWith = async (path: string, as = alice.bearer) => {
  const { body } = await api('GET', path, as);
  return Object.fromEntries(body.items.map((key) => [key.id, key.madeWith]));
};

const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  await makeOrganization(world, 'acme', { owners: [alice] });
  expect((await api('PUT', '/organizations/acme/robots/ci', alice.bearer, {})).status).toBe(201);
  stolen = await make(alice.bearer);
});

beforeEach(async () => {
  world = await build();
});

describe('a list of keys', () => {
  test('shows with which key each was made, also for robots and for rotated keys', async () => {
    const other = await make(stolen.as);
    const robot = await make(stolen.as, { path: ROBOT_KEYS });
    const [bySelf, byThief] = [await rotate(other), await rotate(await make(alice.bearer), stolen.as)];
    expect(await madeWith('/keys')).toMatchObject({
      [alice.keyId]: null,
      [stolen.id]: alice.keyId,
      [other.id]: stolen.id,
      [bySelf.id]: null,
      [byThief.id]: stolen.id,
    });
    expect(await madeWith(ROBOT_KEYS)).toEqual({ [robot.id]: stolen.id });
  });

  test('does not show it to a narrowed key, which sees itself only', async () => {
    const narrow = await make(alice.bearer, { more: { statements: NARROW } });
    expect(await madeWith('/keys', narrow.as)).toEqual({ [narrow.id]: null });
    expect((await api('GET', `/keys/${narrow.id}`, narrow.as)).body.madeWith).toBeNull();
    expect((await api('GET', `/keys/${narrow.id}`, alice.bearer)).body.madeWith).toBe(alice.keyId);
  });
});

describe('revoking a key', () => {
  test('keeps the keys made with it unless asked otherwise', async () => {
    const other = await make(stolen.as);
    expect((await api('DELETE', `/keys/${stolen.id}`, alice.bearer)).status).toBe(204);
    expect([await works(stolen), await works(other)]).toEqual([false, true]);
    expect((await api('DELETE', `/keys/${stolen.id}?made=revoke`, alice.bearer)).status).toBe(204);
    expect(await works(other)).toBe(false);
    expect(await works({ id: alice.keyId, as: alice.bearer })).toBe(true);
  });

  test('with the keys made with it revokes all generations, of robots too, with an event for each', async () => {
    const child = await make(stolen.as);
    const grandchild = await make(child.as);
    const [robot, replaced] = [await make(grandchild.as, { path: ROBOT_KEYS }), await rotate(grandchild)];
    const [byRobot, ofReplaced] = [await rotate(robot), await make(replaced.as)];
    const apart = await make(alice.bearer);
    expect((await api('DELETE', `/keys/${stolen.id}?made=revoke`, alice.bearer)).status).toBe(204);
    const all = [stolen, child, grandchild, robot, replaced, byRobot, ofReplaced];
    expect(await Promise.all(all.map(works))).toEqual(all.map(() => false));
    expect(await works(apart)).toBe(true);
    const { results } = await world.env.DB.prepare(
      `SELECT about, target ->> 'id' AS id FROM events WHERE type = 'key.revoked' ORDER BY id`,
    ).all<{ about: string; id: string }>();
    expect(results.map(({ id }) => id).sort()).toEqual(all.map(({ id }) => id).sort());
    const ofAcme = results.filter(({ about }) => about === 'organization:acme').map(({ id }) => id);
    expect(ofAcme.sort()).toEqual([robot.id, byRobot.id].sort());
  });

  test('with the keys made with it spares robots of organizations that the caller does not own any more', async () => {
    const robot = await make(stolen.as, { path: ROBOT_KEYS });
    const bob = await inviteUser(world, 'bob');
    const members = '/organizations/acme/members';
    expect((await anyApi(world, 'PUT', `${members}/bob`, { body: { role: 'owner' } })).status).toBeLessThan(300);
    expect((await anyApi(world, 'DELETE', `${members}/alice`, { as: bob.bearer })).status).toBeLessThan(300);
    expect((await api('DELETE', `/keys/${stolen.id}?made=revoke`, alice.bearer)).status).toBe(204);
    expect(await works(robot)).toBe(true);
  });

  test('with the keys made with it requires an unrestricted key', async () => {
    const narrow = await make(alice.bearer, { more: { statements: NARROW } });
    expect(refused(await api('DELETE', `/keys/${narrow.id}?made=revoke`, narrow.as))).toBe('403 DENIED');
    expect(await works(narrow)).toBe(true);
  });
});
