/** Requests of real clients beyond the strict grammar: accepted if they have one meaning, refused if they have two. */
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { CONFIG_TYPE, pushBlob, pushImage, putManifest, refusal } from '../world/images.ts';
import { api, basicOf } from '../world/people.ts';
import { tokenFor } from '../world/tokens.ts';
import { newWorld, type World } from '../world/world.ts';

const PASSWORD = 'the-password-of-the-tests';
const BASIC = basicOf('admin', PASSWORD).slice('Basic '.length);

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

async function statusOf(path: string, authorization: string): Promise<number> {
  return (await world.fetch('GET', path, { authorization })).status;
}

describe('an Authorization header', () => {
  test.each([' ', '  ', '     ', '\t', ' \t '])('with %j after its scheme is as one with a space', async (space) => {
    const token = await tokenFor(world, 'registry:catalog:*');
    for (const scheme of ['Basic', 'basic', 'BASIC']) {
      for (const path of ['/v2/', '/token', '/api/v1/me']) expect(await statusOf(path, `${scheme}${space}${BASIC}`)).toBe(200);
    }
    for (const scheme of ['Bearer', 'bearer']) {
      expect(await statusOf('/v2/_catalog', `${scheme}${space}${token}`)).toBe(200);
      expect(await statusOf('/api/v1/me', `${scheme}${space}${PASSWORD}`)).toBe(200);
    }
  });

  test('may have base64 without padding, or in the URL alphabet', async () => {
    expect(await statusOf('/token', `Basic ${BASIC.replace(/=+$/, '')}`)).toBe(200);
    const user = await api<{ invitation: { token: string } }>(world, 'PUT', '/users/alice', { body: {} });
    const joined = await api<{ key: { secret: string } }>(world, 'POST', '/invitations/accept', {
      as: null,
      body: { token: user.body.invitation.token },
    });
    const text = btoa(`alice:${joined.body.key.secret}`);
    expect(await statusOf('/token', `Basic ${text.replaceAll('+', '-').replaceAll('/', '_')}`)).toBe(200);
  });

  test.each([
    ['two values', (value: string) => `Basic ${value} ${value}`],
    ['a value in two pieces', (value: string) => `Basic ${value.slice(0, 8)} ${value.slice(8)}`],
    ['two schemes', (value: string) => `Basic ${value}, Bearer x`],
    ['no scheme', (value: string) => value],
    ['no value', () => 'Basic '],
  ])('with %s is a 401', async (_, make) => {
    for (const path of ['/v2/', '/token', '/api/v1/me']) expect(await statusOf(path, make(BASIC))).toBe(401);
  });
});

describe('a scope', () => {
  test('for a plugin means the repository of that name', async () => {
    const token = await tokenFor(world, 'repository(plugin):acme/plugin:pull,push');
    expect(decodeJwt(token).access).toEqual([{ type: 'repository', name: 'acme/plugin', actions: ['pull', 'push'] }]);
  });

  test('may be surrounded by any number of spaces, empty and repeated scopes', async () => {
    const spaces = encodeURIComponent(' '.repeat(500));
    const scope = 'repository:a/b:pull';
    const path = `/token?scope=&scope=${spaces}${scope}${spaces}${scope}&scope=repository:a/b:push`;
    const response = await world.fetch('GET', path);
    expect(response.status).toBe(200);
    const { token } = (await response.json()) as { token: string };
    expect(decodeJwt(token).access).toEqual([{ type: 'repository', name: 'a/b', actions: ['pull', 'push'] }]);
  });

  test('with all actions (`*`) grants the actions that the caller may do', async () => {
    expect(decodeJwt(await tokenFor(world, 'repository:a/b:*')).access).toEqual([
      { type: 'repository', name: 'a/b', actions: ['pull', 'push', 'delete', 'admin'] },
    ]);
  });
});

describe('a digest in a path', () => {
  test.each(['%3A', '%3a'])('may have its colon as %s, by every method', async (colon) => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const blob = await pushBlob(world, 'acme/api', 'bytes');
    const encoded = (digest: string) => digest.replace(':', colon);
    for (const path of [
      `/v2/acme/api/manifests/${encoded(image.digest)}`,
      `/v2/acme/api/blobs/${encoded(blob.digest)}`,
      `/v2/acme/api/referrers/${encoded(image.digest)}`,
    ]) {
      for (const method of ['GET', 'HEAD']) {
        const response = await world.fetch(method, path);
        expect([path, response.status]).toEqual([path, 200]);
        const plain = await world.fetch(method, path.replace(colon, ':'));
        expect(await response.text()).toBe(await plain.text());
        expect([...response.headers]).toEqual([...plain.headers]);
      }
    }
    const put = await world.fetch('PUT', `/v2/acme/api/manifests/${encoded(image.digest)}`, {
      headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
      body: image.bytes,
    });
    expect([put.status, put.headers.get('location')]).toEqual([201, `/v2/acme/api/manifests/${image.digest}`]);
    expect((await world.fetch('DELETE', `/v2/acme/api/manifests/${encoded(image.digest)}`)).status).toBe(202);
    expect((await api(world, 'POST', `/repositories/acme/api/-/trash/manifests/${encoded(image.digest)}/restore`)).status).toBe(
      200,
    );
  });

  test('always refers to the same content, under its canonical name', async () => {
    const { digest } = await pushImage(world, 'acme/secret', 'v1');
    const path = `/v2/acme/secret/manifests/${digest.replace(':', '%3A')}`;
    const stranger = await world.fetch('GET', path, { authorization: null });
    expect(stranger.headers.get('www-authenticate')).toContain('scope="repository:acme/secret:pull"');
  });

  test.each([
    (hex: string) => `/v2/acme/api/manifests/sha256%253A${hex}`,
    (hex: string) => `/v2/acme/api/manifests/sha256%3A${hex.slice(1)}`,
    (hex: string) => `/v2/acme/api/manifests/sha256%3A%3A${hex}`,
    (hex: string) => `/v2/acme/api/manifests/sha%3256%3A${hex}`,
    (hex: string) => `/v2/acme%2Fapi/manifests/sha256%3A${hex}`,
    (hex: string) => `/v2/acme/api/manifests%2Fsha256%3A${hex}`,
    (hex: string) => `/v2/sha256%3A${hex}/manifests/v1`,
  ])('encoded in another way is NAME_INVALID: %#', async (make) => {
    expect(await refusal(await world.fetch('GET', make('a'.repeat(64))))).toBe('400 NAME_INVALID');
  });
});

test('an artifact type with an unencoded plus sign filters like an encoded one', async () => {
  const image = await pushImage(world, 'acme/api', 'v1');
  const config = await pushBlob(world, 'acme/api', '{}');
  const subject = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: image.digest,
    size: image.bytes.byteLength,
  };
  for (const artifactType of ['application/vnd.example+json', 'application/vnd.other']) {
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      artifactType,
      config: { mediaType: CONFIG_TYPE, digest: config.digest, size: config.bytes.byteLength },
      layers: [],
      subject,
    };
    expect((await putManifest(world, 'acme/api', artifactType.replaceAll(/\W/g, '-'), manifest)).status).toBe(201);
  }
  const list = async (query: string) => {
    const response = await world.fetch('GET', `/v2/acme/api/referrers/${image.digest}?artifactType=${query}`);
    const { manifests } = (await response.json()) as { manifests: { artifactType: string }[] };
    return manifests.map(({ artifactType }) => artifactType);
  };
  expect(await list('application/vnd.example+json')).toEqual(['application/vnd.example+json']);
  expect(await list('application%2Fvnd.example%2Bjson')).toEqual(['application/vnd.example+json']);
  expect(await list('application/vnd.none+json')).toEqual([]);
});

describe('grant_type=password', () => {
  const post = (form: Record<string, string>, authorization: string | null) =>
    world.fetch('POST', '/token', {
      authorization,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'password', service: 'registry.test', ...form }).toString(),
    });

  test.each<[string, Record<string, string>]>([
    ['alone', {}],
    ['beside the name', { username: 'admin' }],
    ['beside empty fields', { username: '', password: '' }],
  ])('takes the password of a Basic header %s', async (_, form) => {
    const response = await post({ ...form, scope: 'repository:a/b:pull' }, `Basic ${BASIC}`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ scope: 'repository:a/b:pull' });
  });

  test("uses the form's password if both are present, because the header authenticates the client", async () => {
    const form = { username: 'admin', password: PASSWORD };
    for (const header of [basicOf('docker', ''), basicOf('client', 'secret'), 'Bearer x', `Basic ${BASIC}`]) {
      expect((await post(form, header)).status).toBe(200);
    }
  });

  test("refuses a header for a user other than the form's, and anything that is not a password", async () => {
    expect(await refusal(await post({ username: 'alice' }, `Basic ${BASIC}`))).toBe('400 UNSUPPORTED');
    expect(await refusal(await post({}, basicOf('admin', 'wrong')))).toBe('401 UNAUTHORIZED');
    expect(await refusal(await post({}, 'Basic !!!'))).toBe('401 UNAUTHORIZED');
    expect(await refusal(await post({}, `Bearer ${PASSWORD}`))).toBe('401 UNAUTHORIZED');
    expect(await refusal(await post({}, null))).toBe('401 UNAUTHORIZED');
  });
});
