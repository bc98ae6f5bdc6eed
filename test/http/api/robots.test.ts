import { beforeEach, describe, expect, test } from 'vitest';
import { pushImage } from '../../world/images.ts';
import { eventsDuring, everyItem, makeOrganization, makeRobot, tally } from '../../world/organizations.ts';
import { type ApiRequest, api as anyApi, basicOf, inviteUser, type Person, refused } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

interface Body {
  name: string;
  login: string;
  description: string;
  disabled: boolean;
  createdAt: string;
  items: { name: string; id: string; state: string }[];
  next: string | null;
  key: { id: string; owner: string; createdBy: string };
  secret: string;
  password: string;
  errors: { code: string; message: string }[];
}

const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);
const ROBOTS = '/organizations/acme/robots';
const CI = `${ROBOTS}/ci`;
const PULL = [{ actions: ['pull'], repositories: ['acme/*'] }];

let world: World;
let alice: Person;
let bob: Person;

/** Creates `acme` with the owner alice, the member bob, and an image. */
const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  bob = await inviteUser(world, 'bob');
  await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
  await pushImage(world, 'acme/api', 'v1');
});

beforeEach(async () => {
  world = await build();
});

const pullStatus = async (authorization: string) =>
  (await world.fetch('GET', '/v2/acme/api/manifests/v1', { authorization })).status;

describe('a robot', () => {
  test('is created, described and read by an owner', async () => {
    const made = await api('PUT', `${ROBOTS}/CI`, { as: alice.basic, body: { description: 'Builds' } });
    const body = { name: 'ci', login: 'acme+ci', description: 'Builds', disabled: false };
    expect(made).toMatchObject({ status: 201, body });
    expect(Math.abs(Date.parse(made.body.createdAt) - Date.now())).toBeLessThan(60_000);
    expect(await api('PUT', CI, { as: alice.basic, body: { disabled: true } })).toMatchObject({
      status: 200,
      body: { ...body, disabled: true },
    });
    const changed = await api('PUT', CI, { as: alice.basic, body: { description: 'Deploys' } });
    expect(changed.body).toEqual({ ...made.body, description: 'Deploys', disabled: true });
    const read = await api('GET', CI, { as: alice.basic });
    expect(read).toMatchObject({ status: 200, body: changed.body });
    expect(read.headers.get('etag')).toBe('"3"');
    for (const method of ['GET', 'PUT', 'DELETE']) expect(refused(await api(method, CI, { as: bob.basic }))).toBe('403 DENIED');
    expect(refused(await api('GET', `${ROBOTS}/cd`, { as: alice.basic }))).toBe('404 NOT_FOUND');
  });

  test('may be disabled from the beginning', async () => {
    expect((await api('PUT', CI, { body: { disabled: true } })).body.disabled).toBe(true);
  });

  test("may have the name of another organization's robot or of a user", async () => {
    await makeOrganization(world, 'bolt', { owners: [bob] });
    for (const path of [CI, '/organizations/bolt/robots/ci', `${ROBOTS}/c1`, `${ROBOTS}/alice`]) {
      expect((await api('PUT', path)).status).toBe(201);
    }
  });

  test('is recorded when created, changed and deleted, once each, and not if nothing changes', async () => {
    const work = async () => {
      const bodies = [
        { description: 'one' },
        { description: 'one' },
        { disabled: false },
        {},
        { disabled: true },
        { disabled: true },
      ];
      const versions = [];
      for (const body of bodies) versions.push((await api('PUT', CI, { as: alice.basic, body })).headers.get('etag'));
      expect(versions).toEqual(['"1"', '"1"', '"1"', '"1"', '"2"', '"2"']);
      await api('PUT', CI, { as: alice.basic, body: { description: 'two' } });
      for (const status of [204, 404]) expect((await api('DELETE', CI, { as: alice.basic })).status).toBe(status);
    };
    const subject = 'robot:acme/ci';
    const actor = 'user:alice';
    expect(await eventsDuring(world, work)).toEqual([
      { type: 'robot.created', target: { subject, description: 'one', disabled: false }, actor },
      { type: 'robot.changed', target: { subject, description: 'one', disabled: true }, actor },
      { type: 'robot.changed', target: { subject, description: 'two', disabled: true }, actor },
      { type: 'robot.deleted', target: { subject }, actor },
    ]);
  });

  test('is not changed by a request with an old version', async () => {
    const put = (description: string, headers: Record<string, string>) => api('PUT', CI, { body: { description }, headers });
    const work = async () => {
      expect(refused(await put('one', { 'if-match': '"1"' }))).toBe('412 PRECONDITION_FAILED');
      expect((await put('one', { 'if-none-match': '*' })).status).toBe(201);
      expect(refused(await put('two', { 'if-none-match': '*' }))).toBe('412 PRECONDITION_FAILED');
      expect((await put('two', { 'if-match': '"1"' })).status).toBe(200);
      expect(refused(await put('three', { 'if-match': '"1"' }))).toBe('412 PRECONDITION_FAILED');
      expect(refused(await api('DELETE', CI, { headers: { 'if-match': '"1"' } }))).toBe('412 PRECONDITION_FAILED');
      expect((await api('GET', CI)).body.description).toBe('two');
    };
    const types = (await eventsDuring(world, work)).map(({ type }) => type);
    expect(types).toEqual(['robot.created', 'robot.changed']);
  });

  test('accepts one of sixteen concurrent changes to the same version', async () => {
    await api('PUT', CI);
    let answers: { status: number }[] = [];
    const events = await eventsDuring(world, async () => {
      const headers = { 'if-match': '"1"' };
      const change = (n: number) => api('PUT', CI, { headers, body: { description: `change ${n}` } });
      answers = await Promise.all(Array.from({ length: 16 }, (_, n) => change(n)));
    });
    expect(tally(answers.map(({ status }) => status))).toEqual({ 200: 1, 412: 15 });
    expect(events).toHaveLength(1);
  });

  test('refuses fields that a request may not set', async () => {
    const refusals = async () => {
      const fields = ['administrator', 'subject', 'name', 'likeness', 'version', 'epoch', 'organization', 'login', '__proto__'];
      for (const field of fields) {
        const answer = await api('PUT', CI, { as: alice.basic, body: `{"description":"x","${field}":1}` });
        expect(`${field} ${refused(answer)}`).toBe(`${field} 400 INVALID`);
      }
      for (const disabled of [2, 1, 'true', null]) {
        expect(refused(await api('PUT', CI, { as: alice.basic, body: { disabled } }))).toBe('400 INVALID');
      }
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
    expect((await api('GET', ROBOTS)).body.items).toEqual([]);
  });

  test("is in its own organization's list, which is complete whatever is deleted meanwhile", async () => {
    await makeOrganization(world, 'acme0');
    await makeRobot(world, 'acme0', 'x');
    for (const name of ['a1', 'a2', 'b1', 'b2', 'c1', 'c2']) await api('PUT', `${ROBOTS}/${name}`);
    const items = await everyItem<Body>(world, ROBOTS, {
      as: alice.basic,
      meanwhile: async (page) => {
        if (page === 1) for (const name of ['a2', 'b2']) await api('DELETE', `${ROBOTS}/${name}`);
      },
    });
    expect(items.map(({ name }) => name)).toEqual(['a1', 'a2', 'b1', 'c1', 'c2']);
  });

  test("has the rights of its policy, and none of its organization's", async () => {
    const robot = await makeRobot(world, 'acme', 'ci');
    expect(await pullStatus(robot.basic)).toBe(403);
    await api('PUT', `${CI}/policy`, { as: alice.basic, body: { statements: PULL } });
    expect(await pullStatus(robot.basic)).toBe(200);
    expect(await pullStatus(basicOf('acme+cd', robot.secret))).toBe(401);
    expect(refused(await api('GET', '/organizations/acme', { as: robot.basic }))).toBe('404 NOT_FOUND');
    expect(refused(await api('PUT', `${ROBOTS}/cd`, { as: robot.basic }))).toBe('403 DENIED');
    expect(refused(await api('POST', '/keys', { as: robot.basic, body: { name: 'another' } }))).toBe('403 DENIED');
  });
});

describe('a disabled robot', () => {
  test('has no rights; after it is enabled again, its keys work and its logins are over', async () => {
    const robot = await makeRobot(world, 'acme', 'ci', PULL);
    const { password } = (await api('POST', '/login-password', { as: robot.basic })).body;
    const login = basicOf('AWS', password);
    expect([await pullStatus(robot.basic), await pullStatus(login)]).toEqual([200, 200]);
    await api('PUT', CI, { as: alice.basic, body: { disabled: true } });
    expect([await pullStatus(robot.basic), await pullStatus(login)]).toEqual([401, 401]);
    await api('PUT', CI, { as: alice.basic, body: { disabled: false } });
    expect([await pullStatus(robot.basic), await pullStatus(login)]).toEqual([200, 401]);
  });

  test('gets no key', async () => {
    await makeRobot(world, 'acme', 'ci');
    await api('PUT', CI, { body: { disabled: true } });
    const events = await eventsDuring(world, async () => {
      expect(refused(await api('POST', `${CI}/keys`, { as: alice.basic, body: { name: 'x' } }))).toBe('409 CONFLICT');
    });
    expect(events).toEqual([]);
  });
});

describe('a deleted robot', () => {
  test('loses its keys and its policy, and another robot keeps its own', async () => {
    const robot = await makeRobot(world, 'acme', 'ci', PULL);
    const other = await makeRobot(world, 'acme', 'ci-2', PULL);
    const second = (await api('POST', `${CI}/keys`, { body: { name: 'second' } })).body;
    await api('DELETE', `/keys/${second.key.id}`);
    await world.env.DB.prepare(
      `INSERT INTO access_keys (id, owner, name, created_at, created_by, expires_at) VALUES ('OVER', 'robot:acme/ci', 'over', 0, 'user:admin', 1)`,
    ).run();
    const events = await eventsDuring(world, () => api('DELETE', CI, { as: alice.basic }));
    expect(events).toEqual([
      { type: 'key.revoked', target: { id: robot.keyId, owner: 'robot:acme/ci', name: 'test' }, actor: 'user:alice' },
      { type: 'robot.deleted', target: { subject: 'robot:acme/ci' }, actor: 'user:alice' },
    ]);
    expect([await pullStatus(robot.basic), await pullStatus(other.basic)]).toEqual([401, 200]);
    const left = await world.env.DB.prepare(
      `SELECT (SELECT count(*) FROM policies WHERE subject = 'robot:acme/ci') AS policies,
        (SELECT count(*) FROM access_keys WHERE owner = 'robot:acme/ci' AND revoked_at IS NULL AND id <> 'OVER') AS keys`,
    ).first();
    expect(left).toEqual({ policies: 0, keys: 0 });
  });

  test('does not exist any more, and its name cannot be taken', async () => {
    await makeRobot(world, 'acme', 'ci');
    await api('DELETE', CI);
    const refusals = async () => {
      for (const [method, path] of [
        ['GET', CI],
        ['DELETE', CI],
        ['GET', `${CI}/keys`],
      ] as const) {
        expect(refused(await api(method, path, { as: alice.basic }))).toBe('404 NOT_FOUND');
      }
      expect(refused(await api('POST', `${CI}/keys`, { as: alice.basic, body: { name: 'x' } }))).toBe('404 NOT_FOUND');
      for (const body of [{}, { disabled: false }]) {
        expect(refused(await api('PUT', CI, { as: alice.basic, body }))).toBe('409 CONFLICT');
      }
      expect(refused(await api('PUT', CI, { headers: { 'if-none-match': '*' } }))).toBe('409 CONFLICT');
    };
    expect(await eventsDuring(world, refusals)).toEqual([]);
    expect((await api('GET', ROBOTS)).body.items).toEqual([]);
  });

  test('is deleted once by sixteen concurrent requests', async () => {
    await makeRobot(world, 'acme', 'ci');
    let answers: { status: number }[] = [];
    const events = await eventsDuring(world, async () => {
      answers = await Promise.all(Array.from({ length: 16 }, () => api('DELETE', CI, { as: alice.basic })));
    });
    expect(tally(answers.map(({ status }) => status))).toEqual({ 204: 1, 404: 15 });
    expect(events.map(({ type }) => type)).toEqual(['key.revoked', 'robot.deleted']);
  });
});

describe("a robot's keys", () => {
  test('are created and listed by an owner', async () => {
    await api('PUT', CI);
    const make = (body: object, headers = {}) => api('POST', `${CI}/keys`, { as: alice.basic, body, headers });
    const one = await make({ name: 'one', statements: PULL, days: 7 });
    expect(one).toMatchObject({ status: 201, body: { key: { owner: 'robot:acme/ci', createdBy: 'user:alice', name: 'one' } } });
    const again = { 'idempotency-key': '"42"' };
    const [two, same] = [await make({ name: 'two' }, again), await make({ name: 'two' }, again)];
    expect(same.body.secret).toBe(two.body.secret);
    expect(refused(await make({ name: 'three', owner: 'user:alice' }))).toBe('400 INVALID');
    expect(refused(await make({ name: 'three', days: 100_000 }))).toBe('400 INVALID');
    const items = await everyItem<{ id: string }>(world, `${CI}/keys`, { as: alice.basic, n: 1 });
    expect(items.map(({ id }) => id)).toEqual([one.body.key.id, two.body.key.id].sort());
    expect(JSON.stringify(items)).not.toContain(one.body.secret);
  });

  test('cannot be created or seen by others', async () => {
    await api('PUT', CI);
    for (const method of ['GET', 'POST']) {
      expect(refused(await api(method, `${CI}/keys`, { as: bob.basic }))).toBe('403 DENIED');
      expect(
        refused(
          await api(method, `${ROBOTS}/cd/keys`, { as: alice.basic, ...(method === 'POST' ? { body: { name: 'x' } } : {}) }),
        ),
      ).toBe('404 NOT_FOUND');
    }
  });
});
