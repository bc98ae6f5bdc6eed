/** Several organizations trust the same jobs. Rules of one do not change the identity or rights of the jobs in another. */
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { counting } from '../world/counting.ts';
import { pushImage, refusal } from '../world/images.ts';
import {
  bearerIn,
  dockerLogin,
  getToken,
  type Jobs,
  jobsOf,
  lastActor,
  PUSH,
  pathOfRule,
  pushAs,
  refresh,
} from '../world/jobs.ts';
import { api, basicOf } from '../world/people.ts';
import { builtOnce, type World, worldOf } from '../world/world.ts';

let world: World;
let jobs: Jobs;

const ORGANIZATIONS = ['acme', 'aaa', 'zzz'];

const build = builtOnce(async (made) => {
  world = made;
  jobs = await jobsOf(world);
  for (const organization of ORGANIZATIONS)
    expect((await api(world, 'PUT', `/organizations/${organization}`)).status).toBe(201);
});

beforeEach(async () => {
  world = await build();
});

const everything = (namespace: string) => [{ actions: 'all actions', repositories: [`${namespace}/*`] }];

describe('rules of other organizations for the same job', () => {
  test.each(['aaa', 'zzz'])('of %s do not take over its name, by any way in', async (other) => {
    await jobs.trust('acme/deploy');
    await jobs.trust(`${other}/mine`, { statements: everything(other) });
    const token = await jobs.token();
    const ways = [
      await bearerIn(await getToken(world, token, [PUSH('acme/api')])),
      await bearerIn(await refresh(world, await dockerLogin(world, token), PUSH('acme/api'))),
      basicOf('ci', token),
    ];
    for (const [n, authorization] of ways.entries()) {
      expect(await pushAs(world, authorization, 'acme/api', `v${n}`)).toBe('201');
      expect(await lastActor(world)).toBe('ci:acme/deploy');
    }
    const last = await bearerIn(await getToken(world, token, [PUSH(`${other}/web`)]));
    expect(await pushAs(world, last, `${other}/web`, 'v1')).toBe('201');
    expect(await lastActor(world)).toBe(`ci:${other}/mine`);
  });

  test('do not rename a running push or break its upload', async () => {
    await jobs.trust('acme/deploy');
    const token = await jobs.token();
    const first = await bearerIn(await getToken(world, token, [PUSH('acme/api')]));
    const begun = await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization: first });
    expect(begun.status).toBe(202);
    await jobs.trust('aaa/mine', { statements: everything('aaa') });
    await jobs.trust('deploy', { statements: [{ actions: ['pull'], repositories: ['*'] }] });
    const second = await bearerIn(await getToken(world, token, [PUSH('acme/api')]));
    const location = begun.headers.get('location') ?? '';
    expect((await world.fetch('PATCH', location, { authorization: second, body: new Uint8Array([1]) })).status).toBe(202);
    expect(await pushAs(world, second, 'acme/api', 'v1')).toBe('201');
    expect(await lastActor(world)).toBe('ci:acme/deploy');
  });

  test('do not displace the matching rule, however many there are', { tags: 'slow' }, async () => {
    await jobs.trust('acme/zzz');
    for (let n = 0; n < 30; n++) {
      await jobs.trust(`aaa/rule${n}`, { statements: everything('aaa') });
      await jobs.trust(`rule${n}`, {
        claims: { project: ['41', '42'] },
        statements: [{ actions: ['pull'], repositories: ['base'] }],
      });
    }
    const token = await jobs.token();
    for (const authorization of [
      await bearerIn(await getToken(world, token, [PUSH('acme/api')])),
      await bearerIn(await refresh(world, await dockerLogin(world, token), PUSH('acme/api'))),
    ]) {
      expect(await pushAs(world, authorization, 'acme/api', 'v1')).toBe('201');
    }
    expect(
      (await api<{ items: unknown[] }>(world, 'GET', '/repositories', { as: basicOf('ci', token) })).body.items,
    ).toHaveLength(1);
  });

  test('deny nothing outside their organization', async () => {
    await jobs.trust('acme/deploy');
    const deny = { effect: 'deny', actions: 'all actions', repositories: ['aaa/*'] };
    await jobs.trust('aaa/mine', { statements: [deny] });
    expect(await pushAs(world, basicOf('ci', await jobs.token()), 'acme/api', 'v1')).toBe('201');
  });

  test('let the job pull public repositories of that organization, and no others', async () => {
    await pushImage(world, 'zzz/public', 'v1');
    await pushImage(world, 'zzz/private', 'v1');
    await api(world, 'PATCH', '/repositories/zzz/public', { body: { visibility: 'public' } });
    await jobs.trust('acme/deploy');
    const scopes = ['repository:zzz/public:pull,push', 'repository:zzz/private:pull', PUSH('acme/api')];
    const response = await getToken(world, await jobs.token(), scopes);
    const { access } = decodeJwt<{ access: { name: string; actions: string[] }[] }>(
      (await bearerIn(response)).slice('Bearer '.length),
    );
    expect(access).toEqual([
      { type: 'repository', name: 'zzz/public', actions: ['pull'] },
      { type: 'repository', name: 'acme/api', actions: ['pull', 'push', 'delete'] },
    ]);
    const alone = await getToken(world, await jobs.token(), ['repository:zzz/public:pull']);
    const authorization = await bearerIn(alone);
    expect((await world.fetch('GET', '/v2/zzz/public/manifests/v1', { authorization })).status).toBe(200);
  });

  test('give a token with a scope in each organization the rights of its own rules', async () => {
    await jobs.trust('acme/deploy', { statements: [{ actions: ['pull'], repositories: ['acme/*'] }] });
    await jobs.trust('aaa/mine', { statements: [{ actions: ['pull', 'push', 'create'], repositories: ['aaa/*'] }] });
    const token = await jobs.token();
    const authorization = await bearerIn(await getToken(world, token, [PUSH('acme/api'), PUSH('aaa/web')]));
    expect(await pushAs(world, authorization, 'aaa/web', 'v1')).toBe('201');
    expect(await lastActor(world)).toBe('ci:aaa/mine');
    expect(await pushAs(world, authorization, 'acme/api', 'v1')).toMatch(/^401|^403/);
  });
});

describe('the audit log names', () => {
  test('the rule that allowed it, out of several of the organization', async () => {
    const push = (tags: string[]) => [{ actions: ['push', 'retag', 'create', 'delete'], repositories: ['acme/*'], tags }];
    const open = [{ actions: ['pull', 'create'], repositories: ['acme/*'] }];
    await jobs.trust('acme/aaa', { statements: open });
    await jobs.trust('acme/branches', {
      statements: push(['main-*']).map((one) => ({ ...one, actions: ['push', 'retag', 'delete'] })),
    });
    await jobs.trust('acme/releases', {
      statements: push(['v*']).map((one) => ({ ...one, actions: ['push', 'retag', 'delete'] })),
    });
    const authorization = await bearerIn(await getToken(world, await jobs.token(), [PUSH('acme/api')]));
    for (const [tag, rule] of [
      ['v1', 'releases'],
      ['main-1', 'branches'],
      ['v2', 'releases'],
    ]) {
      expect(await pushAs(world, authorization, 'acme/api', tag as string)).toBe('201');
      expect(await lastActor(world)).toBe(`ci:acme/${rule}`);
    }
    expect((await world.fetch('DELETE', '/v2/acme/api/manifests/main-1', { authorization })).status).toBe(202);
    expect(await lastActor(world)).toBe('ci:acme/branches');
  });

  test("the registry's rule if the organization has none, for changes by the API too", async () => {
    await jobs.trust('everywhere', { statements: [{ actions: 'all actions', repositories: ['*'] }] });
    await jobs.trust('aaa/mine', { statements: everything('aaa') });
    const as = basicOf('ci', await jobs.token());
    expect(await pushAs(world, as, 'acme/api', 'v1')).toBe('201');
    expect(await lastActor(world)).toBe('ci:everywhere');
    expect((await api(world, 'PATCH', '/repositories/acme/api', { as, body: { description: 'x' } })).status).toBe(200);
    expect(await lastActor(world)).toBe('ci:everywhere');
    expect((await world.fetch('DELETE', '/v2/acme/api/manifests/v1', { authorization: as })).status).toBe(202);
    expect(await lastActor(world)).toBe('ci:everywhere');
  });

  test('one organization for the job, and none if there are several', async () => {
    const whoIs = async () =>
      (await api<{ subject: string }>(world, 'GET', '/me', { as: basicOf('ci', await jobs.token()) })).body.subject;
    await jobs.trust('acme/deploy');
    expect(await whoIs()).toBe('ci:acme/deploy');
    await jobs.trust('aaa/mine', { statements: everything('aaa') });
    expect(await whoIs()).toBe('ci');
  });
});

describe('limits of rules are', () => {
  const long = (text: string, count: number) => ({
    claims: { project: '42', ...Object.fromEntries(Array.from({ length: count }, (_, n) => [`c${n}`, Array(18).fill(text)])) },
  });
  const save = async (name: string, rule: object) => {
    const statements = [{ actions: ['pull'], repositories: [name.replace(/\/.*/, '/*')] }];
    const body = { issuer: jobs.issuer.url, claims: { project: '42' }, statements, ...rule };
    const answer = await api<{ errors: { message: string }[] }>(world, 'PUT', pathOfRule(name), { body });
    return `${answer.status} ${answer.body.errors?.[0]?.message ?? ''}`;
  };

  test('measured in bytes, not characters', async () => {
    expect(await save('acme/big', long('e'.repeat(200), 4))).toMatch(/^201/);
    expect(await save('acme/big', long('€'.repeat(200), 1))).toMatch(/^200/);
    expect(await save('acme/big', long('€'.repeat(200), 4))).toMatch(
      /^400 a trust rule has up to 16384 bytes .* this one has \d+/,
    );
    expect(await save('acme/big', long('e'.repeat(200), 8))).toMatch(/^400 a trust rule has up to 16384 bytes/);
  });

  test('shared by all rules of an organization, and not with another organization', async () => {
    for (let n = 0; n < 4; n++) expect(await save(`acme/big${n}`, long('€'.repeat(250), 1))).toMatch(/^201/);
    const outcomes: string[] = [];
    for (let n = 4; n < 12; n++) outcomes.push(await save(`acme/big${n}`, long('€'.repeat(250), 1)));
    expect(outcomes.at(-1)).toMatch(
      /^409 the trust rules of acme have up to 50 rules, and 65536 bytes in all. Nothing was saved: delete or shorten one first$/,
    );
    expect(await save('acme/big0', {})).toMatch(/^200/);
    expect(await save('aaa/big', long('€'.repeat(250), 1))).toMatch(/^201/);
  });

  test('rules that other organizations save for a job add no rows to its requests', { tags: 'slow' }, async () => {
    await jobs.trust('acme/deploy');
    const token = await jobs.token();
    const cost = async () => {
      const { env, counts } = counting(world.env);
      expect((await getToken(worldOf(env), token, [PUSH('acme/api')])).status).toBe(200);
      return counts;
    };
    await cost();
    const before = await cost();
    for (let n = 0; n < 40; n++) {
      await jobs.trust(`aaa/rule${n}`, { statements: everything('aaa') });
      await jobs.trust(`zzz/rule${n}`, { claims: { project: '4*' }, statements: everything('zzz') });
      await jobs.trust(`acme/rule${n}`, { claims: { project: String(100 + n) } });
    }
    const after = await cost();
    // The scan of the index may read one entry more.
    expect(after.rowsRead).toBeLessThanOrEqual(before.rowsRead + 2);
    expect(after.d1).toBeLessThanOrEqual(2);
  });

  test('are a reason for a request that is about no organization not to read every rule', async () => {
    await jobs.trust('acme/deploy');
    const text = 'e'.repeat(250);
    for (const organization of ['aaa', 'zzz', 'b1', 'b2']) {
      await api(world, 'PUT', `/organizations/${organization}`);
      for (let n = 0; n < 4; n++) {
        const texts = Array(18).fill(`${text}${n}`.slice(-250));
        // The rules are indexed by the claim `project`, whose name sorts first. All these rules match this job.
        const claims = { project: '42', text1: texts, text2: texts, text3: texts };
        await jobs.trust(`${organization}/rule${n}`, { claims, statements: everything(organization) });
      }
    }
    const { env, counts } = counting(world.env);
    expect((await getToken(worldOf(env), await jobs.token(), [], true)).status).toBe(200);
    expect(counts.rowsRead).toBeLessThanOrEqual(400);
    const { body } = await api<{ subject: string }>(world, 'GET', '/me', { as: basicOf('ci', await jobs.token()) });
    expect(body.subject).toBe('ci:acme/deploy');
  });
});

test('a rule saved by an older version, without a key, is still found', async () => {
  await jobs.trust('acme/deploy', { claims: { project: '41' } });
  // The row is as an older version wrote it, without keys, revision and organization.
  await world.env.DB.prepare(
    `UPDATE trust_rules SET claims = '{"project":"42"}', version = version + 1, organization = '' WHERE subject = 'ci:acme/deploy'`,
  ).run();
  const token = await jobs.token();
  expect(await pushAs(world, await bearerIn(await getToken(world, token, [PUSH('acme/api')])), 'acme/api', 'v1')).toBe('201');
  expect(await refusal(await getToken(world, await jobs.token({ project: '41' })))).toBe('401 UNAUTHORIZED');
});
