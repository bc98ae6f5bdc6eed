/** The reason why a CI token is refused. Only a token with a valid signature gets an answer with the reason. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { refusal } from '../world/images.ts';
import { getToken, type Jobs, jobsOf, messageIn, PUSH } from '../world/jobs.ts';
import { api, basicOf } from '../world/people.ts';
import { newKey } from '../world/token-issuer.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

let world: World;
let jobs: Jobs;
const guesses = vi.fn(async () => ({ success: true }));

beforeEach(async () => {
  const made = await newWorld();
  guesses.mockClear();
  world = worldOf({ ...made.env, WRONG_PASSWORDS: { limit: guesses } });
  jobs = await jobsOf(world);
  for (const organization of ['acme', 'other'])
    expect((await api(world, 'PUT', `/organizations/${organization}`)).status).toBe(201);
});

const SECRET = 'refs/heads/the-secret-branch';
const GENUINE = 'the signature of this CI token is right, but';

async function why(claims: Record<string, unknown>, scopes: string[] = []): Promise<string> {
  const response = await getToken(world, await jobs.token(claims), scopes);
  expect(await refusal(response.clone())).toBe('401 UNAUTHORIZED');
  expect(response.headers.get('www-authenticate')).toBeTruthy();
  return messageIn(response);
}

describe('a genuine token is refused with', () => {
  beforeEach(() => jobs.trust('acme/deploy', { claims: { project: '42', ref: SECRET, environment: ['prod', 'stage'] } }));

  test.each([[[] as string[]], [[PUSH('acme/api')]], [[PUSH('other/api')]]])(
    'the claims that do not match (scopes %j)',
    async (scopes) => {
      const message = await why({ ref: 'refs/heads/main' }, scopes);
      expect(message).toBe(
        `${GENUINE} no trust rule admits it: its claim "ref" is "refs/heads/main", which the rule does not accept; its claim "environment" is absent, which the rule does not accept`,
      );
      expect(message).not.toContain('secret');
      expect(message).not.toContain('deploy');
    },
  );

  test('the audience it is for, if that is another one', async () => {
    const message = await why({ ref: SECRET, environment: 'prod', aud: 'https://github.com/acme' });
    expect(message).toMatch(
      /its audience \("aud"\) is "https:\/\/github.com\/acme", and the rule requires another one: .* the host of this registry$/,
    );
    expect(await why({ ref: SECRET, environment: 'prod', aud: ['a', 'b'] })).toContain('("aud") is "a, b"');
  });

  test('the fact that no rule matches', async () => {
    expect(await why({ project: '43' })).toBe(`${GENUINE} no trust rule applies to it (iss "${jobs.issuer.url}", sub "job")`);
  });

  test('the reason if it is expired, not valid yet or valid for too long', async () => {
    const now = Math.floor(Date.now() / 1000);
    expect(await why({ exp: now - 1 })).toMatch(/it has expired at 20\d\d-.*: get another one from your CI/);
    expect(await why({ exp: now - 100_000, iat: now - 100_600, nbf: now - 100_600 })).toMatch(/it has expired at 20\d\d-/);
    expect(await why({ nbf: now + 500 })).toMatch(/its claim "nbf" does not count yet/);
    expect(await why({ iat: now + 500, exp: now + 600, nbf: now })).toMatch(/made in the future \("iat"\)/);
    expect(await why({ exp: now + 100_000 })).toMatch(/it lives for more than a day/);
    expect(await why({ sub: '' })).toMatch(/its claim "sub"/);
  });

  test('long and unusual values on one line that fits in a header', async () => {
    const response = await getToken(world, await jobs.token({ ref: `é"\\\r\n${'x'.repeat(900)}` }));
    expect(response.status).toBe(401);
    expect((await messageIn(response)).length).toBeLessThan(600);
    const direct = await world.fetch('GET', '/v2/acme/api/tags/list', {
      authorization: basicOf('ci', await jobs.token({ ref: 'é"\\' })),
    });
    expect(direct.headers.get('www-authenticate')).toMatch(/^Bearer realm=.*error="invalid_token",error_description="[ -~]*"$/);
  });

  test('the same reason in the API and in /v2', async () => {
    const authorization = basicOf('ci', await jobs.token({ ref: 'refs/heads/main' }));
    for (const path of ['/api/v1/me', '/v2/', '/v2/acme/api/tags/list', '/api/v1/repositories']) {
      const response = await world.fetch('GET', path, { authorization });
      expect(`${path} ${response.status}`).toBe(`${path} 401`);
      expect(await messageIn(response)).toContain('its claim "ref" is "refs/heads/main"');
    }
  });

  test('no effect on the limit of wrong passwords', async () => {
    const now = Math.floor(Date.now() / 1000);
    for (const claims of [{}, { project: '43' }, { aud: 'a' }, { exp: now - 1 }, { nbf: now + 500 }]) await why(claims);
    expect(guesses).not.toHaveBeenCalled();
  });
});

describe('no reason is given', () => {
  const WRONG =
    'wrong user name or password, or the access key or token has expired or was revoked: ' +
    'log in again with docker login registry.test';

  beforeEach(() => jobs.trust('acme/deploy', { claims: { project: '42', ref: SECRET } }));

  test('to a token that somebody else signed, whatever else is wrong with it', async () => {
    const now = Math.floor(Date.now() / 1000);
    const times = { iat: now, nbf: now, exp: now + 600 };
    const key = await newKey();
    for (const claims of [
      {},
      { project: '42', ref: SECRET },
      { project: '42' },
      { aud: 'elsewhere' },
      { exp: now - 9 },
      { sub: '' },
    ]) {
      for (const kid of [key.kid, jobs.issuer.key.kid]) {
        const token = await jobs.issuer.sign({ ...times, ...claims }, { kid }, key);
        const response = await getToken(world, token, [PUSH('acme/api')]);
        expect(response.status).toBe(401);
        expect(await messageIn(response)).toBe(WRONG);
      }
    }
  });

  test('from rules that do not identify the job by an id, because anybody at that issuer could ask', async () => {
    await jobs.forget('acme/deploy');
    await jobs.trust('acme/wide', { claims: { project: '4*', ref: SECRET, environment: 'x' } });
    await jobs.trust('acme/narrow', { claims: { project: '41', ref: SECRET } });
    await jobs.trust('acme/issuer', {
      claims: { iss: jobs.issuer.url, jti: 'one', aud: 'registry.test', project: '4*', ref: SECRET },
    });
    const message = await why({ ref: 'refs/heads/main' }, [PUSH('acme/api')]);
    expect(message).toContain('no trust rule applies to it');
  });

  test('to the token of an untrusted issuer, and that issuer is not contacted', async () => {
    await jobs.forget('acme/deploy');
    const response = await getToken(world, await jobs.token());
    expect(await messageIn(response)).toBe(WRONG);
    expect(jobs.issuer.requests).toEqual([]);
  });
});
