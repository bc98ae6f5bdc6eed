/** Percent-encoding in API paths, as generated clients send it: a path is decoded exactly once. */
import { beforeEach, describe, expect, test } from 'vitest';
import { pushImage } from '../../world/images.ts';
import { type ApiAnswer, api, inviteUser } from '../../world/people.ts';
import { newWorld, type World } from '../../world/world.ts';

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const messageOf = ({ body }: ApiAnswer) => (body as { errors: [{ message: string }] }).errors[0].message;

describe('a name outside the grammar', () => {
  test.each([
    '/users/alice%40example.com',
    '/users/al%20ice',
    '/users/%C3%A9milie',
    '/users/alice%3Bx',
    '/users/alice%3Fx',
    '/users/a%2Bb',
    '/organizations/acme%40example.com',
    '/organizations/acme/teams/dev%40x',
    '/organizations/acme/robots/ci%40x',
    '/organizations/acme/trust-rules/main%40x',
    '/trust-rules/main%40x',
    '/organizations/acme/members/bob%40x',
    '/organizations/acme/teams/dev/members/bob%40x',
  ])('is a 400 that says what a name is: PUT %s', async (path) => {
    await api(world, 'PUT', '/organizations/acme');
    await api(world, 'PUT', '/organizations/acme/teams/dev');
    const rule = {
      issuer: 'https://token.actions.githubusercontent.com',
      claims: { repository_id: '1' },
      statements: [{ actions: ['pull'], repositories: ['acme/*'] }],
    };
    const bodies = path.includes('trust-rules')
      ? rule
      : path.includes('teams')
        ? {}
        : path.includes('members')
          ? { role: 'member' }
          : {};
    const answer = await api(world, 'PUT', path, { body: bodies });
    expect(answer.status).toBe(400);
    expect(messageOf(answer)).toContain('letters and digits');
  });

  test('of a repository gets a 400 that states the grammar', async () => {
    for (const name of ['acme%40x', 'acme/a%20b', 'acme%2Fa%40b', 'acme/%C3%A9']) {
      const answer = await api(world, 'PUT', `/repositories/${name}`, { body: {} });
      expect([name, answer.status]).toEqual([name, 400]);
    }
  });
});

describe('unnecessary encoding', () => {
  test('addresses the same resource', async () => {
    const alice = await inviteUser(world, 'alice');
    await pushImage(world, 'acme/api', 'v1.0');
    const image = await pushImage(world, 'acme/api', 'v2');
    for (const path of [
      '/users/al%69ce',
      '/%75sers/alice',
      '/repositories/acme%2Fapi/%2D/tags/v1%2E0/history',
      `/keys/${alice.keyId.replace(/^./, (first) => `%${first.charCodeAt(0).toString(16)}`)}`,
    ]) {
      expect([path, (await world.fetch('GET', `/api/v1${path}`)).status]).toEqual([path, 200]);
    }
    expect((await world.fetch('DELETE', `/v2/acme/api/manifests/${image.digest}`)).status).toBe(202);
    const entry = image.digest.replace(':', '%3A');
    expect((await api(world, 'POST', `/repositories/acme/api/-/trash/manifests/${entry}/restore`)).status).toBe(200);
  });

  test('reaches nothing that the plain path would not', async () => {
    const bob = await inviteUser(world, 'bob');
    const routes = [
      '/%75sers/bob/policy',
      '/users%2Fbob%2Fpolicy',
      '/organizations/..%2Fusers/bob',
      '/users/bob%2F..%2F..%2Fme',
    ];
    for (const path of routes) {
      expect([path, (await api(world, 'GET', path, { as: bob.basic })).status]).toSatisfy(
        ([, status]) => status === 403 || status === 404,
      );
    }
  });
});

test.each(['/users/%', '/users/%zz', '/users/%ff', '/users/al%2540ice', '/users/alice%00', '/users/alice%0A', '/users/%E2%82'])(
  '%s is a 400: it cannot be decoded, or would be decoded twice',
  async (path) => {
    for (const method of ['GET', 'PUT', 'PATCH']) {
      const answer = await api(world, method, path, method === 'GET' ? {} : { body: {} });
      expect([method, answer.status]).toEqual([method, 400]);
      expect(messageOf(answer)).toContain('percent-encoding');
    }
  },
);
