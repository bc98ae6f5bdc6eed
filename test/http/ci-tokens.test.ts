/** CI without a stored secret, end to end: docker logs in with the token of the job, and the audit log records the rule. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { IMAGE_TYPE, imageIn, pushImage, refusal } from '../world/images.ts';
import { api, basicOf, inviteUser } from '../world/people.ts';
import { type Issuer, newIssuer } from '../world/token-issuer.ts';
import { newWorld, type World } from '../world/world.ts';

let world: World;
let issuer: Issuer;

beforeEach(async () => {
  world = await newWorld();
  issuer = await newIssuer();
  vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
  for (const organization of ['acme', 'aaa'])
    expect((await api(world, 'PUT', `/organizations/${organization}`)).status).toBe(201);
});

function job(claims: Record<string, unknown> = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const times = { iat: now, nbf: now, exp: now + 600 };
  return issuer.sign({ sub: 'job', project: '42', ref: 'refs/heads/main', event_name: 'push', ...times, ...claims });
}

const RULE = {
  claims: { project: '42' },
  statements: [
    { actions: ['pull'], repositories: ['acme/*'] },
    { actions: ['push', 'retag'], repositories: ['acme/*'], tags: ['main-*'], when: { ref: 'refs/heads/main' } },
    { actions: ['create'], repositories: ['acme/*'] },
    {
      actions: ['push', 'retag'],
      repositories: ['acme/*'],
      tags: ['pr-{pull_request}-*'],
      when: { event_name: 'pull_request' },
    },
  ],
};

async function saveRule(path: string, rule: object = RULE) {
  const { status, body } = await api(world, 'PUT', path, { body: { issuer: issuer.url, ...rule } });
  expect(status, JSON.stringify(body)).toBeLessThan(300);
}

/** Gets an access token for the repository, as docker does before each request. */
async function bearer(token: string, repository = 'acme/api'): Promise<string> {
  const scope = `repository:${repository}:pull,push,delete`;
  const response = await world.fetch('GET', `/token?scope=${scope}`, { authorization: basicOf('ci', token) });
  expect(response.status).toBe(200);
  return `Bearer ${((await response.json()) as { token: string }).token}`;
}

async function push(authorization: string, tag: string): Promise<string> {
  const image = await imageIn(world, 'acme/api', tag.length);
  const headers = { 'content-type': IMAGE_TYPE };
  const path = `/v2/acme/api/manifests/${tag}`;
  const response = await world.fetch('PUT', path, { authorization, headers, body: image.bytes });
  return response.ok ? String(response.status) : refusal(response);
}

async function lastActor(): Promise<string | null> {
  return world.env.DB.prepare('SELECT actor FROM events ORDER BY id DESC LIMIT 1').first<string>('actor');
}

describe('a job of a trusted project', () => {
  beforeEach(() => saveRule('/organizations/acme/trust-rules/deploy'));

  test('pushes the tags that its branch may push, and no other', async () => {
    const authorization = await bearer(await job());
    expect(await push(authorization, 'main-1')).toBe('201');
    expect(await push(authorization, 'latest')).toBe('403 DENIED');
    expect((await world.fetch('GET', '/v2/acme/api/manifests/main-1', { authorization })).status).toBe(200);
    expect((await world.fetch('DELETE', '/v2/acme/api/manifests/main-1', { authorization })).status).toBe(401);
  });

  test('is recorded with the rule that let it in', async () => {
    expect(await push(await bearer(await job()), 'main-1')).toBe('201');
    expect(await lastActor()).toBe('ci:acme/deploy');
  });

  test('for a pull request has only the rights of the pull-request rule, by its own number', async () => {
    await pushImage(world, 'acme/api', 'main-0');
    for (const claims of [
      { event_name: 'pull_request', ref: 'refs/pull/7/merge' },
      { event_name: 'pull_request_target', ref: 'refs/heads/main' },
    ]) {
      const authorization = await bearer(await job(claims));
      expect((await world.fetch('GET', '/v2/acme/api/manifests/main-0', { authorization })).status).toBe(401);
      expect(await push(authorization, 'main-1')).toMatch(/^40[13]/);
      expect(await push(authorization, 'pr-8-x')).toMatch(/^40[13]/);
      if (claims.event_name === 'pull_request') expect(await push(authorization, 'pr-7-x')).toBe('201');
    }
  });

  test('is refused at once when its rule is narrowed or deleted, even while its token is valid', async () => {
    const authorization = await bearer(await job());
    expect(await push(authorization, 'main-1')).toBe('201');
    await saveRule('/organizations/acme/trust-rules/deploy', { ...RULE, claims: { project: '43' } });
    expect(await push(authorization, 'main-2')).toBe('401 UNAUTHORIZED');
    expect((await api(world, 'DELETE', '/organizations/acme/trust-rules/deploy')).status).toBe(204);
    expect(await push(authorization, 'main-3')).toBe('401 UNAUTHORIZED');
    expect((await world.fetch('GET', '/v2/acme/api/manifests/main-1', { authorization })).status).toBe(200);
  });

  test('manages nothing: no keys, no people, no rules', async () => {
    const as = basicOf('ci', await job());
    expect((await api(world, 'POST', '/keys', { as, body: { name: 'k' } })).status).toBe(403);
    expect((await api(world, 'PUT', '/users/mallory', { as, body: {} })).status).toBe(403);
    expect((await api(world, 'GET', '/organizations/acme/trust-rules', { as })).status).toBe(403);
  });
});

describe('two organizations that trust the same jobs', () => {
  test('each grant their own rights, and the audit log names the rule of the organization it was in', async () => {
    // The name of this organization sorts first. Its owners can save the rule without the consent of acme.
    await saveRule('/organizations/aaa/trust-rules/eavesdrop', {
      claims: { project: '42' },
      statements: [
        { effect: 'deny', actions: 'all actions', repositories: ['aaa/*'] },
        { actions: 'all actions', repositories: ['aaa/*'] },
      ],
    });
    await saveRule('/organizations/acme/trust-rules/deploy');
    expect(await push(await bearer(await job()), 'main-1')).toBe('201');
    expect(await lastActor()).toBe('ci:acme/deploy');
  });
});

describe('a token', () => {
  test('from an untrusted issuer causes no outgoing request', async () => {
    expect((await world.fetch('GET', '/token', { authorization: basicOf('ci', await job()) })).status).toBe(401);
    expect(issuer.requests).toEqual([]);
  });

  test('whose issuer is unreachable is answered 503, not as a wrong password', async () => {
    await saveRule('/organizations/acme/trust-rules/deploy');
    issuer.answers[issuer.configuration] = () => new Response(null, { status: 500 });
    const response = await world.fetch('GET', '/token', { authorization: basicOf('ci', await job()) });
    expect(await refusal(response)).toBe('503 UNAVAILABLE');
  });
});

describe('a rule', () => {
  test('can be read, changed under its ETag, and listed by name', async () => {
    await saveRule('/organizations/acme/trust-rules/deploy');
    const read = await api(world, 'GET', '/organizations/acme/trust-rules/deploy');
    expect(read.body).toMatchObject({
      name: 'deploy',
      principal: 'ci:acme/deploy',
      audience: 'registry.test',
      claims: RULE.claims,
    });
    const etag = read.headers.get('etag') ?? '';
    const body = { issuer: issuer.url, ...RULE, description: 'new' };
    const first = await api(world, 'PUT', '/organizations/acme/trust-rules/deploy', { body, headers: { 'if-match': etag } });
    expect(first.status).toBe(200);
    const second = await api(world, 'PUT', '/organizations/acme/trust-rules/deploy', { body, headers: { 'if-match': etag } });
    expect(second.status).toBe(412);
    await saveRule('/trust-rules/everywhere');
    const names = async (path: string) =>
      (await api<{ items: { name: string }[] }>(world, 'GET', path)).body.items.map(({ name }) => name);
    expect(await names('/organizations/acme/trust-rules')).toEqual(['deploy']);
    expect(await names('/trust-rules')).toEqual(['everywhere']);
  });

  test.each(['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty'])(
    'keeps a condition on a claim called %s',
    async (name) => {
      const conditions = JSON.parse(`{"project":"42","${name}":"a"}`);
      const statements = [{ actions: ['pull'], repositories: ['acme/*'], when: JSON.parse(`{"${name}":["a","b*"]}`) }];
      await saveRule('/organizations/acme/trust-rules/deploy', { claims: conditions, statements });
      const read = await world.fetch('GET', '/api/v1/organizations/acme/trust-rules/deploy');
      const saved = JSON.stringify(await read.json());
      expect(saved).toContain(`"${name}":"a"`);
      expect(saved).toContain(`"${name}":["a","b*"]`);
      const granted = async (claims: string) => {
        const authorization = basicOf('ci', await job(JSON.parse(claims)));
        return (await world.fetch('GET', '/token?scope=repository:acme/api:pull', { authorization })).status;
      };
      expect(await granted('{}')).toBe(401);
      expect(await granted(`{"${name}":"b"}`)).toBe(401);
      expect(await granted(`{"${name}":"a"}`)).toBe(200);
      const claims = encodeURIComponent(`{"project":"42","${name}":"a"}`);
      const asked = `/explain?principal=ci:acme/deploy&action=pull&repository=acme/api&claims=${claims}`;
      expect((await api(world, 'GET', asked)).body).toMatchObject({ allowed: true });
    },
  );

  test.each<[string, object]>([
    ['without a narrowing condition', { claims: {} }],
    ['that trusts everybody of an issuer', { claims: { sub: '*' } }],
    ['for repositories elsewhere', { statements: [{ actions: ['pull'], repositories: ['other/*'] }] }],
    ['with a field that is none', { claims: { project: '1' }, administrator: true }],
    ['of a plain http issuer', { issuer: 'http://issuer.test' }],
    ['of an issuer on this machine', { issuer: 'https://localhost' }],
  ])('%s is not saved', async (_, change) => {
    const owner = await inviteUser(world, 'olivia');
    await api(world, 'PUT', '/organizations/acme/members/olivia', { body: { role: 'owner' } });
    const body = { issuer: issuer.url, ...RULE, ...change };
    const { status } = await api(world, 'PUT', '/organizations/acme/trust-rules/deploy', { as: owner.basic, body });
    expect(status).toBe(400);
    expect((await api(world, 'GET', '/organizations/acme/trust-rules/deploy')).status).toBe(404);
  });
});
