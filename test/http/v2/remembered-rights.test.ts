/**
 * Pushes with rights that the isolate remembers. They take one call to the database, and are answered as any others. That no
 * revoked right is used, `test/http/revocation.test.ts` shows.
 */
import { beforeEach, expect, test } from 'vitest';
import { contentOf, IMAGE_TYPE, imageIn, noise, pushImage, refusal, textOf } from '../../world/images.ts';
import { api, inviteUser } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

const POLICY = '/users/tina/policy';
const UPLOADS = '/v2/acme/api/blobs/uploads/';

let world: World;
let basic: string;
let authorization: string;

const build = builtOnce(async (made) => {
  world = made;
  await pushImage(world, 'acme/api', 'v1');
  basic = (await inviteUser(world, 'tina')).basic;
  await allow('push and pull');
});

beforeEach(async () => {
  world = await build();
  authorization = await tokenOf('acme/api');
});

async function allow(actions: string | string[]): Promise<void> {
  const saved = await api(world, 'PUT', POLICY, { body: { statements: [{ actions, repositories: ['acme/*'] }] } });
  expect(saved.status, JSON.stringify(saved.body)).toBe(200);
}

/** A token of this isolate. The first request of a key on a day is recorded, so the rights are remembered from the second on. */
async function tokenOf(repository: string): Promise<string> {
  const ask = () => world.fetch('GET', `/token?scope=repository:${repository}:pull,push`, { authorization: basic });
  await ask();
  return `Bearer ${((await (await ask()).json()) as { token: string }).token}`;
}

async function begin(): Promise<string> {
  return (await world.fetch('POST', UPLOADS, { authorization })).headers.get('location') as string;
}

async function objects(): Promise<string[]> {
  return (await world.env.BLOBS.list()).objects.map(({ key }) => key);
}

test('the last chunk of an upload continues it, although it is sent to the location of its beginning', async () => {
  const { bytes, digest } = await contentOf(noise(300, 5));
  const location = await begin();
  expect((await world.fetch('PATCH', location, { authorization, body: bytes.slice(0, 200) })).status).toBe(202);
  const last = await world.fetch('PUT', `${location}?digest=${digest}`, { authorization, body: bytes.slice(200) });
  expect(last.status).toBe(201);
  const pulled = await world.fetch('GET', `/v2/acme/api/blobs/${digest}`, { authorization });
  expect(new Uint8Array(await pulled.arrayBuffer())).toEqual(bytes);
});

test('a blob for an upload that was cancelled is refused, and nothing of it stays', async () => {
  const { bytes, digest } = await contentOf(noise(300, 6));
  const location = await begin();
  expect((await world.fetch('DELETE', location, { authorization })).status).toBe(204);
  const before = await objects();
  const put = await world.fetch('PUT', `${location}?digest=${digest}`, { authorization, body: bytes });
  expect(await refusal(put)).toBe('404 BLOB_UPLOAD_UNKNOWN');
  expect(await objects()).toEqual(before);
});

test('a blob with another digest is refused, and closes its upload', async () => {
  const { bytes, digest } = await contentOf(noise(300, 7));
  const location = await begin();
  const wrong = await world.fetch('PUT', `${location}?digest=${digest}`, { authorization, body: bytes.slice(1) });
  expect(await refusal(wrong)).toBe('400 DIGEST_INVALID');
  const again = await world.fetch('PUT', `${location}?digest=${digest}`, { authorization, body: bytes });
  expect(await refusal(again)).toBe('404 BLOB_UPLOAD_UNKNOWN');
});

test('a blob for a repository that the caller may not create is refused', async () => {
  const { bytes, digest } = await contentOf(noise(300, 8));
  const absent = await tokenOf('acme/absent');
  const path = `/v2/acme/absent/blobs/uploads/?digest=${digest}`;
  expect(await refusal(await world.fetch('POST', path, { authorization: absent, body: bytes }))).toBe('404 NAME_UNKNOWN');
});

test('rights that became less decide on what they still allow', async () => {
  const document = textOf(await imageIn(world, 'acme/api', 9));
  const put = (tag: string) =>
    world.fetch('PUT', `/v2/acme/api/manifests/${tag}`, {
      authorization,
      headers: { 'content-type': IMAGE_TYPE },
      body: document,
    });
  await allow(['pull', 'push']);
  expect(await refusal(await put('v1'))).toBe('403 DENIED');
  await allow('push and pull');
  expect((await put('v1')).status).toBe(201);
  await allow(['pull', 'push']);
  expect((await put('new')).status).toBe(201);
});
