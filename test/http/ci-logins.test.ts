/**
 * Lifetime of a CI login. The job's own token proves who the job is and expires within minutes. Credentials issued for it
 * last as long as the trust rule says, and end with the rule.
 */
import { decodeJwt } from 'jose';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { runScheduled } from '../../src/cron.ts';
import { counting } from '../world/counting.ts';
import { contentOf, noise, refusal } from '../world/images.ts';
import {
  bearerIn,
  dockerLogin,
  getToken,
  type Jobs,
  jobsOf,
  messageIn,
  PUSH,
  pathOfRule,
  pushAs,
  refresh,
} from '../world/jobs.ts';
import { api, basicOf } from '../world/people.ts';
import { builtOnce, type World, worldOf } from '../world/world.ts';

let world: World;
let jobs: Jobs;

const SCOPE = PUSH('acme/api');
const MINUTE = 60_000;

const build = builtOnce(async (made) => {
  world = made;
  jobs = await jobsOf(world, { alg: 'RS256' });
  for (const organization of ['acme', 'other'])
    expect((await api(world, 'PUT', `/organizations/${organization}`)).status).toBe(201);
  await jobs.trust('acme/deploy');
});

beforeEach(async () => {
  world = await build();
});

afterEach(() => {
  vi.useRealTimers();
});

function later(milliseconds: number): void {
  if (!vi.isFakeTimers()) vi.useFakeTimers({ toFake: ['Date'] });
  vi.advanceTimersByTime(milliseconds);
}

/** A token like GitHub's: valid for five minutes. */
function shortToken(claims: Record<string, unknown> = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return jobs.token({ iat: now, nbf: now, exp: now + 300, ...claims });
}

async function loginPassword(token: string, body: object = {}): Promise<{ password: string; expiresAt: string }> {
  const answer = await api<{ password: string; expiresAt: string }>(world, 'POST', '/login-password', {
    as: basicOf('ci', token),
    body,
  });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body;
}

const lifetimeOf = (token: string) => (decodeJwt(token).exp ?? 0) - Date.now() / 1000;

/** The kinds of clients, each with the credential that it keeps after a login, and the request with which it gets a token. */
const WAYS: [string, () => Promise<(scope: string) => Promise<Response>>][] = [
  [
    'docker, which keeps a refresh token',
    async () => {
      const token = await dockerLogin(world, await shortToken());
      return (scope) => refresh(world, token, scope);
    },
  ],
  [
    'docker with a login password',
    async () => {
      const { password } = await loginPassword(await shortToken());
      return (scope) => getToken(world, password, [scope]);
    },
  ],
  [
    'podman, crane and kaniko, which keep the CI token itself and send it again',
    async () => {
      const token = await shortToken();
      expect((await getToken(world, token)).status).toBe(200);
      return (scope) => getToken(world, token, [scope]);
    },
  ],
  [
    'a script that showed the CI token to /v2 only',
    async () => {
      const token = await shortToken();
      const shown = await world.fetch('GET', '/v2/', { authorization: basicOf('ci', token) });
      expect(shown.status).toBe(200);
      return (scope) => getToken(world, token, [scope]);
    },
  ],
  [
    'a client that posts the CI token again',
    async () => {
      const token = await shortToken();
      const post = (scope: string) => {
        const form = { grant_type: 'password', username: 'ci', password: token, scope };
        const headers = { 'content-type': 'application/x-www-form-urlencoded' };
        return world.fetch('POST', '/token', { authorization: null, headers, body: new URLSearchParams(form).toString() });
      };
      expect((await post(SCOPE)).status).toBe(200);
      return post;
    },
  ],
];

describe.each(WAYS)('a login of %s', (_, login) => {
  test('works for an hour after the CI token has expired, and no longer', async () => {
    const tokenFor = await login();
    for (const minutes of [0, 6, 40, 13]) {
      later(minutes * MINUTE);
      expect(await pushAs(world, await bearerIn(await tokenFor(SCOPE)), 'acme/api', `v${minutes}`)).toBe('201');
    }
    later(2 * MINUTE);
    expect(await refusal(await tokenFor(SCOPE))).toBe('401 UNAUTHORIZED');
  });

  test('can finish an upload that was started with the CI token', async () => {
    const tokenFor = await login();
    const content = await contentOf(noise(100, 5));
    const begun = await world.fetch('POST', '/v2/acme/api/blobs/uploads/', {
      authorization: await bearerIn(await tokenFor(SCOPE)),
    });
    const first = await world.fetch('PATCH', begun.headers.get('location') ?? '', {
      authorization: await bearerIn(await tokenFor(SCOPE)),
      body: content.bytes.slice(0, 60),
    });
    expect(first.status).toBe(202);
    later(20 * MINUTE);
    const put = await world.fetch('PUT', `${first.headers.get('location')}?digest=${content.digest}`, {
      authorization: await bearerIn(await tokenFor(SCOPE)),
      body: content.bytes.slice(60),
    });
    expect(put.status).toBe(201);
  });

  test.each<[string, () => Promise<unknown>]>([
    ['is deleted', () => jobs.forget('acme/deploy')],
    ['is disabled', () => jobs.trust('acme/deploy', { disabled: true })],
    ['is changed', () => jobs.trust('acme/deploy', { description: 'the same, written anew' })],
    ['is for another project', () => jobs.trust('acme/deploy', { claims: { project: '43' } })],
    [
      'was deleted and made again',
      async () => {
        await jobs.forget('acme/deploy');
        await jobs.trust('acme/deploy');
      },
    ],
    [
      'goes with its organization',
      async () => {
        expect((await api(world, 'DELETE', '/organizations/acme')).status).toBe(204);
      },
    ],
  ])('ends at once when its rule %s', async (_how, end) => {
    const tokenFor = await login();
    expect((await tokenFor('')).status).toBe(200);
    later(6 * MINUTE);
    await end();
    expect(await refusal(await tokenFor(SCOPE))).toBe('401 UNAUTHORIZED');
    expect(await refusal(await tokenFor(''))).toBe('401 UNAUTHORIZED');
  });

  test('keeps working if the same rule is saved again', async () => {
    const tokenFor = await login();
    await jobs.trust('acme/deploy');
    expect(await pushAs(world, await bearerIn(await tokenFor(SCOPE)), 'acme/api', 'v1')).toBe('201');
  });

  test("is not prolonged by another organization's rule", async () => {
    await jobs.trust('acme/deploy', { lifetime: 600 });
    await jobs.trust('other/long', { lifetime: 43_200 });
    const tokenFor = await login();
    later(9 * MINUTE);
    expect(await pushAs(world, await bearerIn(await tokenFor(SCOPE)), 'acme/api', 'v1')).toBe('201');
    later(2 * MINUTE);
    const access = decodeJwt<{ access: unknown[] }>((await bearerIn(await tokenFor(SCOPE))).slice(7));
    expect(access.access).toEqual([]);
    expect(await pushAs(world, await bearerIn(await tokenFor(PUSH('other/web'))), 'other/web', 'v1')).toBe('201');
  });
});

describe('the lifetime of a rule', () => {
  test('defaults to an hour and is at most twelve', async () => {
    const save = async (rule: object) => {
      const body = {
        issuer: jobs.issuer.url,
        claims: { project: '42' },
        statements: [{ actions: ['pull'], repositories: ['acme/*'] }],
        ...rule,
      };
      const answer = await api<{ lifetime: number; disabled: boolean }>(world, 'PUT', pathOfRule('acme/deploy'), { body });
      return answer.status === 200 ? [answer.body.lifetime, answer.body.disabled] : answer.status;
    };
    expect(await save({})).toEqual([3600, false]);
    expect(await save({ lifetime: 43_200, disabled: true })).toEqual([43_200, true]);
    for (const lifetime of [43_201, 0, 59, 1.5, '3600', null]) expect(await save({ lifetime })).toBe(400);
  });

  test('limits refresh tokens, also after rotation, and login passwords, also when one is made from the other', async () => {
    await jobs.trust('acme/deploy', { lifetime: 1800 });
    const token = await shortToken();
    const first = await dockerLogin(world, token);
    expect(lifetimeOf(first)).toBeGreaterThan(1700);
    expect(lifetimeOf(first)).toBeLessThanOrEqual(1800);
    later(10 * MINUTE);
    const rotated = ((await (await refresh(world, first, SCOPE, true)).json()) as { refresh_token: string }).refresh_token;
    expect(lifetimeOf(rotated)).toBeLessThanOrEqual(1200);
    const { password, expiresAt } = await loginPassword(await shortToken());
    expect((Date.parse(expiresAt) - Date.now()) / 1000).toBeLessThanOrEqual(1800);
    later(20 * MINUTE);
    const next = await loginPassword(password);
    expect((Date.parse(next.expiresAt) - Date.now()) / 1000).toBeLessThanOrEqual(600);
    const of = await dockerLogin(world, password);
    expect(lifetimeOf(of)).toBeLessThanOrEqual(600);
    const again = ((await (await refresh(world, of, SCOPE, true)).json()) as { refresh_token: string }).refresh_token;
    expect(lifetimeOf(again)).toBeLessThanOrEqual(600);
  });

  test('a login password with a shorter lifetime limits everything made from it', async () => {
    const { password } = await loginPassword(await shortToken(), { lifetime: 900 });
    const token = await dockerLogin(world, password);
    expect(lifetimeOf(token)).toBeLessThanOrEqual(900);
    const rotated = ((await (await refresh(world, token, SCOPE, true)).json()) as { refresh_token: string }).refresh_token;
    expect(lifetimeOf(rotated)).toBeLessThanOrEqual(900);
  });
});

describe('a CI token that has expired', () => {
  test('is refused, with the reason, if it was never shown in time', async () => {
    const token = await shortToken();
    later(6 * MINUTE);
    const response = await getToken(world, token, [SCOPE]);
    expect(response.status).toBe(401);
    expect(await messageIn(response)).toMatch(
      /the signature of this CI token is right, but it has expired at 20.*get another one/,
    );
  });

  test('is accepted only if every byte of it was seen before', async () => {
    const token = await shortToken();
    expect((await getToken(world, token)).status).toBe(200);
    later(6 * MINUTE);
    const [header, payload, signature = ''] = token.split('.');
    const claims = { ...decodeJwt(token), project: '42', sub: 'another' };
    const forged = `${header}.${btoa(JSON.stringify(claims)).replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_')}.${signature}`;
    for (const other of [
      forged,
      `${header}.${payload}.${signature.slice(0, -1)}${signature.endsWith('A') ? 'Q' : 'A'}`,
      await shortToken({ exp: 5, iat: 1, nbf: 1 }),
    ]) {
      expect((await getToken(world, other, [SCOPE])).status).toBe(401);
    }
    expect((await getToken(world, token, [SCOPE])).status).toBe(200);
  });

  test('still works for its login if its issuer has rotated its keys or does not answer', async () => {
    const token = await shortToken();
    expect((await getToken(world, token)).status).toBe(200);
    later(15 * MINUTE);
    jobs.issuer.answers[jobs.issuer.configuration] = () => new Response(null, { status: 500 });
    expect((await getToken(world, token, [SCOPE])).status).toBe(200);
  });

  test('is stored as one row without its content, which is deleted after its time', async () => {
    const token = await shortToken();
    for (let n = 0; n < 3; n++) expect((await getToken(world, token, [SCOPE])).status).toBe(200);
    const rows = async () => (await world.env.DB.prepare('SELECT * FROM outside_logins').all()).results;
    expect(await rows()).toEqual([
      {
        id: expect.stringMatching(/^[0-9a-f]{64}$/),
        began_at: expect.any(Number),
        since: expect.any(Number),
        expires_at: expect.any(Number),
      },
    ]);
    await world.env.DB.prepare('UPDATE outside_logins SET expires_at = unixepoch() - 1').run();
    for (let hour = 0; hour < 24; hour++) {
      for (let minute = 0; minute < 60; minute += 10) await runScheduled(world.env, Date.UTC(2026, 10, 30, hour, minute));
      if ((await rows()).length === 0) break;
    }
    expect(await rows()).toEqual([]);
  });

  test('costs one written row at first use, and none for a docker login or later uses', async () => {
    const cost = async (work: (at: World) => Promise<Response>) => {
      const { env, counts } = counting(world.env);
      expect((await work(worldOf(env))).status).toBe(200);
      return counts;
    };
    const token = await shortToken();
    expect((await cost((at) => getToken(at, token, [SCOPE]))).rowsWritten).toBeLessThanOrEqual(2);
    const second = await cost((at) => getToken(at, token, [SCOPE]));
    expect(second).toMatchObject({ d1: 2, rowsWritten: 0 });
    expect(second.rowsRead).toBeLessThanOrEqual(40);
    const other = await shortToken();
    await cost((at) => getToken(at, other, [], true));
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM outside_logins').first('n')).toBe(1);
  });
});
