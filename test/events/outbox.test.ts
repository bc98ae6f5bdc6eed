/** The event log: numbers, actors, and the announcement in the queue. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { Env } from '../../src/env.ts';
import { TARGET_MAX_BYTES } from '../../src/events/outbox.ts';
import { FAULTS, faulty } from '../world/faults.ts';
import {
  type Content,
  IMAGE_TYPE,
  imageIn,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  refusal,
  textOf,
} from '../world/images.ts';
import { makeOrganization, makeRobot, makeTeam } from '../world/organizations.ts';
import { api, basicOf, inviteUser, type Person } from '../world/people.ts';
import { TestQueue } from '../world/queues.ts';
import { announcedTo, digestAt, newestOf, recordAfter } from '../world/reading.ts';
import { recordAll } from '../world/record.ts';
import { newIssuer } from '../world/token-issuer.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const WRITERS = 16;
const NO_DIGEST = `sha256:${'0'.repeat(64)}`;
let world: World;

beforeEach(async () => {
  world = await newWorld();
});

/** Number and type of each event about a subject, with its tag if there is one. */
async function numbered(about: string): Promise<string[]> {
  const events = (await recordAfter(world, 0)).filter((event) => event.about === about);
  return events.map(({ sequence, type, target }) => `${sequence} ${type} ${target.tag ?? ''}`.trim());
}

describe('the events about one subject', () => {
  test('are numbered 1, 2, 3 and so on, also if one request records several', async () => {
    const image = await imageIn(world, 'acme/api');
    expect((await putManifest(world, 'acme/api', `${image.digest}?tag=a&tag=b&tag=c`, textOf(image))).status).toBe(201);
    expect((await putManifest(world, 'acme/api', 'd', textOf(image))).status).toBe(201);
    expect((await world.fetch('DELETE', '/v2/acme/api/manifests/b')).status).toBe(202);
    expect((await world.fetch('DELETE', `/v2/acme/api/manifests/${image.digest}`)).status).toBe(202);
    expect(await numbered('acme/api')).toEqual([
      '1 repository.created',
      '2 tag.created a',
      '3 tag.created b',
      '4 tag.created c',
      '5 tag.created d',
      '6 tag.deleted b',
      '7 tag.deleted a',
      '8 tag.deleted c',
      '9 tag.deleted d',
      '10 manifest.deleted',
    ]);
  });

  test('are not numbered by events of others, even with similar names', { tags: 'slow' }, async () => {
    const names = ['acme/api', 'acme/api2', 'acme', 'acme/api/v2'];
    for (const tag of ['a', 'b']) for (const name of names) await pushImage(world, name, tag);
    await makeOrganization(world, 'acme');
    for (const name of names) {
      expect(await numbered(name)).toEqual(['1 repository.created', '2 tag.created a', '3 tag.created b']);
    }
    expect(await numbered('organization:acme')).toEqual(['1 organization.created']);
  });

  test('are numbered separately for each organization, and for the registry', async () => {
    const alice = await inviteUser(world, 'alice');
    for (const name of ['acme', 'bravo']) {
      await makeOrganization(world, name, { owners: [alice] });
      await makeTeam(world, name, 'dev', [alice]);
    }
    await api(world, 'DELETE', '/organizations/acme/members/alice', { as: alice.basic });
    await api(world, 'PUT', '/organizations/acme/members/alice', { body: { role: 'owner' } });
    expect((await api(world, 'DELETE', '/organizations/acme/members/alice')).status).toBe(409);
    const made = ['1 organization.created', '2 member.changed', '3 team.created', '4 team-member.added'];
    expect(await numbered('organization:acme')).toEqual(made);
    expect(await numbered('organization:bravo')).toEqual(made);
    expect(await numbered('')).toEqual(['1 user.invited', '2 user.joined', '3 key.created']);
  });

  test('continue their numbers if a repository is deleted and recreated', async () => {
    await pushImage(world, 'acme/api', 'v1');
    expect((await api(world, 'DELETE', '/repositories/acme/api?force=true')).status).toBe(200);
    await pushImage(world, 'acme/api', 'v1');
    expect(await numbered('acme/api')).toEqual([
      '1 repository.created',
      '2 tag.created v1',
      '3 repository.deleted',
      '4 repository.created',
      '5 tag.created v1',
    ]);
  });

  test('have no gap and no duplicate with 16 concurrent writers, and numbers grow with ids', async () => {
    const repositories = ['acme/one', 'acme/two'];
    const images: Record<string, Content> = {};
    for (const repository of repositories) images[repository] = await imageIn(world, repository);
    const pushes = repositories.flatMap((repository) =>
      Array.from({ length: WRITERS }, (_, n) => {
        const { digest, bytes } = images[repository] as Content;
        return putManifest(world, repository, `${digest}?tag=a${n}&tag=b${n}`, textOf({ digest, bytes }));
      }),
    );
    expect((await Promise.all(pushes)).map(({ status }) => status)).toEqual(Array(2 * WRITERS).fill(201));
    for (const repository of repositories) {
      const events = (await recordAfter(world, 0)).filter(({ about }) => about === repository);
      expect(events.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 1 + 2 * WRITERS }, (_, n) => n + 1));
      expect(new Set(events.map(({ target }) => target.tag)).size).toBe(1 + 2 * WRITERS);
    }
  });

  test('use no number for a refused request; a push that changes nothing is an event', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    expect((await world.fetch('DELETE', '/v2/acme/api/manifests/v9')).status).toBe(404);
    expect((await putManifest(world, 'acme/api', 'v1', textOf(image))).status).toBe(201);
    expect((await putManifest(world, 'acme/api', 'v2', textOf(image))).status).toBe(201);
    expect(await numbered('acme/api')).toEqual([
      '1 repository.created',
      '2 tag.created v1',
      '3 tag.pushed v1',
      '4 tag.created v2',
    ]);
  });
});

describe('an event names its actor and the access key', () => {
  let alice: Person;
  let image: Content;

  beforeEach(async () => {
    alice = await inviteUser(world, 'alice');
    await makeOrganization(world, 'acme', { owners: [alice] });
    image = await imageIn(world, 'acme/api');
  });

  /** The actor of the newest event, after a tag was pushed with these credentials. */
  async function pushedAs(authorization: string): Promise<string> {
    const headers = { 'content-type': IMAGE_TYPE };
    const path = '/v2/acme/api/manifests/v1';
    expect((await world.fetch('PUT', path, { headers, body: textOf(image), authorization })).status).toBe(201);
    return newestBy();
  }

  async function newestBy(): Promise<string> {
    const event = (await recordAfter(world, 0)).at(-1);
    return `${event?.type} ${event?.actor} ${event?.key}`;
  }

  async function tokenOf(authorization: string): Promise<string> {
    const response = await world.fetch('GET', '/token?scope=repository:acme/api:pull,push', { authorization });
    return `Bearer ${((await response.json()) as { token: string }).token}`;
  }

  async function loginOf(authorization: string): Promise<string> {
    const made = await api<{ password: string }>(world, 'POST', '/login-password', { as: authorization, body: {} });
    return basicOf('AWS', made.body.password);
  }

  test('if the key is the password', async () => {
    expect(await pushedAs(alice.basic)).toBe(`tag.created user:alice ${alice.keyId}`);
  });

  test('if the key was exchanged for a token, as docker does', async () => {
    expect(await pushedAs(await tokenOf(alice.basic))).toBe(`tag.created user:alice ${alice.keyId}`);
  });

  test('if the key was exchanged for a login password, and that for a token', async () => {
    const login = await loginOf(alice.basic);
    expect(await pushedAs(login)).toBe(`tag.created user:alice ${alice.keyId}`);
    await world.fetch('DELETE', '/v2/acme/api/manifests/v1');
    expect(await pushedAs(await tokenOf(login))).toBe(`tag.created user:alice ${alice.keyId}`);
  });

  test('if the key was exchanged for a refresh token, and that for a token', async () => {
    const query = 'offline_token=true&service=registry.test&scope=repository:acme/api:pull,push';
    const login = await world.fetch('GET', `/token?${query}`, { authorization: alice.basic });
    const { refresh_token } = (await login.json()) as { refresh_token: string };
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token,
      service: 'registry.test',
      client_id: 'test',
      scope: 'repository:acme/api:pull,push',
    });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const next = await world.fetch('POST', '/token', { authorization: null, headers, body: form.toString() });
    const { access_token } = (await next.json()) as { access_token: string };
    expect(await pushedAs(`Bearer ${access_token}`)).toBe(`tag.created user:alice ${alice.keyId}`);
  });

  test('also with several keys of one user, and with a narrowed one', async () => {
    const statements = [{ actions: ['pull', 'push'], repositories: ['acme/api'] }];
    const made = await api<{ key: { id: string }; secret: string }>(world, 'POST', '/keys', {
      as: alice.basic,
      body: { name: 'narrow', statements },
    });
    expect(await newestBy()).toBe(`key.created user:alice ${alice.keyId}`);
    expect(made.body.key.id).not.toBe(alice.keyId);
    expect(await pushedAs(basicOf('alice', made.body.secret))).toBe(`tag.created user:alice ${made.body.key.id}`);
  });

  test("if it is a robot's", async () => {
    const statements = [{ actions: 'push and pull', repositories: ['acme/*'] }];
    const robot = await makeRobot(world, 'acme', 'ci', statements);
    expect(await pushedAs(await tokenOf(robot.basic))).toBe(`tag.created robot:acme/ci ${robot.keyId}`);
  });

  test('in the management API too', async () => {
    expect((await api(world, 'PUT', '/organizations/acme/teams/dev', { as: alice.bearer })).status).toBe(201);
    expect(await newestBy()).toBe(`team.created user:alice ${alice.keyId}`);
  });

  test('and no key for the administrator, who has a password, or for a job, which has a token', async () => {
    expect((await putManifest(world, 'acme/api', 'v1', textOf(image))).status).toBe(201);
    expect(await newestBy()).toBe('tag.created user:admin null');
    const issuer = await newIssuer();
    const outside = vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
    const statements = [{ actions: 'push and pull', repositories: ['acme/*'] }];
    const rule = { issuer: issuer.url, claims: { project: '42' }, statements };
    expect((await api(world, 'PUT', '/organizations/acme/trust-rules/deploy', { body: rule })).status).toBe(201);
    const now = Math.floor(Date.now() / 1000);
    const token = await issuer.sign({ sub: 'job', project: '42', iat: now, nbf: now, exp: now + 600 });
    await world.fetch('DELETE', '/v2/acme/api/manifests/v1');
    expect(await pushedAs(basicOf('ci', token))).toBe('tag.created ci:acme/deploy null');
    outside.mockRestore();
  });
});

describe('a queue', () => {
  const kinds: Record<string, () => Env['EVENTS']> = {
    'that is down': () => Object.assign(new TestQueue('berth-events'), { down: true }) as unknown as Env['EVENTS'],
    'that throws at once': () =>
      ({
        send: () => {
          throw new Error('no queue here');
        },
      }) as unknown as Env['EVENTS'],
    'that is not there': () => undefined as unknown as Env['EVENTS'],
  };

  test.each(Object.entries(kinds))('%s fails no request, and no event is lost', async (_, queue) => {
    const logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const without = worldOf({ ...world.env, EVENTS: queue() });
    const image = await pushImage(without, 'acme/api', 'v1');
    expect((await without.fetch('DELETE', '/v2/acme/api/manifests/v1')).status).toBe(202);
    await makeOrganization(without, 'acme');
    expect(await digestAt(without, 'acme/api', image.digest)).toBe(image.digest);
    expect(await numbered('acme/api')).toEqual(['1 repository.created', '2 tag.created v1', '3 tag.deleted v1']);
    expect(await numbered('organization:acme')).toEqual(['1 organization.created']);
    // One line of log for each pending announcement, without the content of the event.
    await vi.waitFor(() => expect(logged).toHaveBeenCalledTimes(4));
    expect(JSON.stringify(logged.mock.calls)).not.toContain('acme');
    logged.mockRestore();
  });

  test('that does not answer delays no request', async () => {
    const { promise, resolve } = Promise.withResolvers<QueueSendResponse>();
    const slow = worldOf({ ...world.env, EVENTS: { send: () => promise } as unknown as Env['EVENTS'] });
    await pushImage(slow, 'acme/api', 'v1');
    resolve({ metadata: { metrics: { backlogCount: 0, backlogBytes: 0 } } });
    expect(await numbered('acme/api')).toEqual(['1 repository.created', '2 tag.created v1']);
  });
});

describe('the announcement', () => {
  test('of a push is one message for its tag, with the newest id and nothing else', async () => {
    await pushBlob(world, 'acme/api', 'the first of the repository');
    expect(announcedTo(world)).toEqual([{ newest: await newestOf(world) }]);
    const image = await imageIn(world, 'acme/api');
    expect(announcedTo(world)).toEqual([]);
    expect((await putManifest(world, 'acme/api', 'v1', textOf(image))).status).toBe(201);
    expect(announcedTo(world)).toEqual([{ newest: await newestOf(world) }]);
  });

  test('is not sent for a push of an existing digest, a pull, or an upload into an existing repository', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    announcedTo(world);
    await pushBlob(world, 'acme/api', noise(5000, 9));
    await putManifest(world, 'acme/api', image.digest, textOf(image));
    await world.fetch('GET', '/v2/acme/api/manifests/v1');
    await world.fetch('GET', '/token?scope=repository:acme/api:pull');
    expect(announcedTo(world)).toEqual([]);
  });

  test('is not sent for a mount alone, whose event is announced with the next one', async () => {
    const blob = await pushBlob(world, 'acme/base', noise(100, 77));
    const image = await imageIn(world, 'acme/api');
    announcedTo(world);
    const mounted = await world.fetch('POST', `/v2/acme/api/blobs/uploads/?mount=${blob.digest}&from=acme/base`);
    expect(mounted.status).toBe(201);
    const quiet = await newestOf(world);
    expect((await recordAfter(world, quiet - 1)).map(({ type }) => type)).toEqual(['blob.mounted']);
    expect(announcedTo(world)).toEqual([]);
    await putManifest(world, 'acme/api', 'v1', textOf(image));
    expect(announcedTo(world)).toEqual([{ newest: quiet + 1 }]);
  });

  test('of a mount that creates its repository is sent for the repository', async () => {
    const blob = await pushBlob(world, 'acme/base', noise(100, 77));
    announcedTo(world);
    await world.fetch('POST', `/v2/acme/new/blobs/uploads/?mount=${blob.digest}&from=acme/base`);
    expect(await numbered('acme/new')).toEqual(['1 repository.created', '2 blob.mounted']);
    expect(announcedTo(world)).toEqual([{ newest: expect.any(Number) }]);
  });

  test('of a request with more than a hundred events is one message, as small as any', async () => {
    const image = await imageIn(world, 'acme/api');
    announcedTo(world);
    const tags = (prefix: string) => Array.from({ length: 100 }, (_, n) => `tag=${prefix}${'x'.repeat(20)}${n}`).join('&');
    for (const prefix of ['a', 'b']) {
      expect((await putManifest(world, 'acme/api', `${image.digest}?${tags(prefix)}`, textOf(image))).status).toBe(201);
      expect(announcedTo(world)).toEqual([{ newest: await newestOf(world) }]);
    }
    const before = await newestOf(world);
    expect((await world.fetch('DELETE', `/v2/acme/api/manifests/${image.digest}`)).status).toBe(202);
    expect(await newestOf(world)).toBe(before + 201);
    const messages = announcedTo(world);
    expect(messages).toEqual([{ newest: before + 201 }]);
    expect(JSON.stringify(messages).length).toBeLessThan(50);
  });

  test('of 16 concurrent writers covers the newest of all their events', async () => {
    const image = await imageIn(world, 'acme/api');
    announcedTo(world);
    await Promise.all(Array.from({ length: WRITERS }, (_, n) => putManifest(world, 'acme/api', `t${n}`, textOf(image))));
    const messages = announcedTo(world) as { newest: number }[];
    expect(messages).toHaveLength(WRITERS);
    expect(Math.max(...messages.map(({ newest }) => newest))).toBe(await newestOf(world));
  });

  test('is not sent for a refused request', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    await makeOrganization(world, 'acme');
    const before = await newestOf(world);
    announcedTo(world);
    const absent = textOf(image).replace(/sha256:[0-9a-f]{64}/, NO_DIGEST);
    expect(await refusal(await putManifest(world, 'acme/api', 'v2', absent))).toBe('400 MANIFEST_BLOB_UNKNOWN');
    expect(await refusal(await putManifest(world, 'acme/new', 'v2', absent))).toBe('400 MANIFEST_BLOB_UNKNOWN');
    expect(await refusal(await putManifest(world, 'acme/api', 'v2', 'garbage'))).toBe('400 MANIFEST_INVALID');
    expect(await refusal(await world.fetch('DELETE', '/v2/acme/api/manifests/v9'))).toBe('404 MANIFEST_UNKNOWN');
    expect((await api(world, 'DELETE', '/organizations/acme')).status).toBe(409);
    expect((await api(world, 'PUT', '/organizations/acme', { headers: { 'if-match': '"99"' } })).status).toBe(412);
    expect((await world.fetch('DELETE', '/v2/acme/api/manifests/v1', { authorization: null })).status).toBe(401);
    expect(announcedTo(world)).toEqual([]);
    expect(await newestOf(world)).toBe(before);
  });

  test.each(FAULTS)('of a push that fails (%s) never covers what was not recorded', async (fault) => {
    for (let at = 0; ; at++) {
      world = await newWorld();
      const image = await imageIn(world, 'acme/api');
      announcedTo(world);
      const before = await newestOf(world);
      const faults = faulty(world.env, fault, at);
      const pushed = putManifest(worldOf(faults.env), 'acme/api', 'v1', textOf(image));
      const status = await Promise.race([pushed.then((response) => response.status), faults.stopped.then(() => 0)]);
      const recorded = (await newestOf(world)) > before;
      const messages = announcedTo(world);
      if (!recorded) expect(messages, `at ${at}`).toEqual([]);
      if (status === 201) expect(recorded, `at ${at}`).toBe(true);
      if (faults.calls.length <= at) {
        expect(messages).toEqual([{ newest: before + 1 }]);
        break;
      }
    }
  });
});

describe('the target of an event', () => {
  const recorded = async (target: object) => {
    const select = `SELECT 'user.changed' AS type, :target AS target`;
    const parameters = { target: JSON.stringify(target) };
    await recordAll(world.env, [{ about: '', by: { subject: 'user:admin' }, select, parameters }]);
    return world.env.DB.prepare(
      'SELECT target, length(CAST(target AS BLOB)) AS bytes FROM events ORDER BY id DESC LIMIT 1',
    ).first<{ target: string; bytes: number }>() as Promise<{ target: string; bytes: number }>;
  };

  test('is stored unchanged up to 16 KiB', async () => {
    const target = { name: '€'.repeat(5000), on: true, off: false, none: null, list: [1, { a: 'b' }] };
    expect(JSON.parse((await recorded(target)).target)).toEqual(target);
  });

  test.each([
    ['a text of ASCII', { subject: 'user:a', text: 'x'.repeat(17_000) }, ['text']],
    ['a text of three bytes a character, short in characters', { subject: 'user:a', text: '€'.repeat(6000) }, ['text']],
    ['a text of four bytes a character', { subject: 'user:a', text: '😀'.repeat(5000) }, ['text']],
    ['a list', { subject: 'user:a', list: Array(5000).fill('long') }, ['list']],
    ['an object', { subject: 'user:a', nested: { deep: 'x'.repeat(20_000) } }, ['nested']],
    ['a field whose name is a path', { subject: 'user:a', 'a.b"c[0]': 'y'.repeat(20_000) }, ['a.b"c[0]']],
    ['several', { subject: 'user:a', one: 'x'.repeat(9000), two: ['y'.repeat(9000)] }, ['one', 'two']],
  ])('beyond that is shortened and says so: %s', async (_, target, truncated) => {
    const { target: text, bytes } = await recorded({ ...target, on: true, count: 7, small: [1, 2] });
    expect(bytes).toBeLessThanOrEqual(TARGET_MAX_BYTES);
    expect(JSON.parse(text)).toMatchObject({ subject: 'user:a', on: true, count: 7, small: [1, 2], truncated });
  });

  test('is at most 16 KiB, however many fields there are', async () => {
    const many = Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`field${n}`, '€'.repeat(150)]));
    expect((await recorded(many)).bytes).toBeLessThanOrEqual(TARGET_MAX_BYTES);
  });

  test('of a policy has what changed, and not the whole policy', async () => {
    await api(world, 'PUT', '/repositories/acme/api');
    const statement = (n: number) => ({ actions: ['push'], principals: ['user:admin'], tags: [`v${n}-${'x'.repeat(80)}`] });
    const save = async (statements: object[]) => {
      const { status } = await api(world, 'PUT', '/repositories/acme/api/-/policy', { body: { statements } });
      expect(status).toBe(200);
      const { results } = await world.env.DB.prepare('SELECT target FROM events ORDER BY id DESC LIMIT 1').all<{
        target: string;
      }>();
      return results[0]?.target ?? '';
    };
    const forty = Array.from({ length: 40 }, (_, n) => statement(n));
    const first = await save(forty);
    expect(first.length).toBeLessThan(10_000);
    expect(JSON.parse(first)).toMatchObject({ subject: 'repository:acme/api', removed: [], count: { from: 0, to: 40 } });
    expect(JSON.parse(first).omitted).toBe(40 - JSON.parse(first).statements.length);
    const second = JSON.parse(await save([...forty.slice(1), statement(100)]));
    expect(second).toMatchObject({ count: { from: 40, to: 40 }, omitted: 0 });
    expect([second.statements.length, second.removed.length]).toEqual([1, 1]);
    expect(JSON.stringify(second.statements)).toContain('v100-');
    expect(JSON.stringify(second.removed)).toContain('v0-');
  });
});
