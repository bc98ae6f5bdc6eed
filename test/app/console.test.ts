/** Operations that only the console calls check rights by themselves. */
import { beforeEach, expect, test } from 'vitest';
import { readBlobText } from '../../src/app/attachments.ts';
import type { Call } from '../../src/app/call.ts';
import { listGrantsElsewhere } from '../../src/app/grants.ts';
import { getAttention } from '../../src/app/home.ts';
import { readManifest } from '../../src/app/images.ts';
import { createConfirmedKey } from '../../src/app/keys.ts';
import { listLayerFiles } from '../../src/app/layer-files.ts';
import { getPayload, samplePayload } from '../../src/app/payloads.ts';
import { previewVisibility } from '../../src/app/policies.ts';
import {
  beginConfirmation,
  beginLinking,
  canConfirmByProvider,
  confirmByProvider,
  linkOwnIdentity,
  listOwnIdentities,
  offeredIdentity,
  offerIdentity,
  unlinkOwnIdentity,
} from '../../src/app/provider-sign-in.ts';
import { getOverview, previewOverview } from '../../src/app/repositories.ts';
import { signOut } from '../../src/app/sessions.ts';
import { createWebhook } from '../../src/app/subscriptions.ts';
import { getDeletedRepository } from '../../src/app/trash.ts';
import { listLargest, listLargestOfUser } from '../../src/app/usage.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { pushImage } from '../world/images.ts';
import { makeOrganization, makeRobot } from '../world/organizations.ts';
import { api, inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

let world: World;
let owner: Person;
let stranger: Person;

const build = builtOnce(async (made) => {
  owner = await inviteUser(made, 'owning');
  stranger = await inviteUser(made, 'someone');
  await makeOrganization(made, 'acme', { owners: [owner] });
  await pushImage(made, 'acme/api', 'v1');
});

beforeEach(async () => {
  world = await build();
});

test('the largest repositories of an organization are for its owners, and those of the registry for administrators', async () => {
  expect(await listLargest(await callAs(world, owner), 'acme', 10)).toMatchObject([{ name: 'acme/api', tags: 1 }]);
  const other = await callAs(world, stranger);
  expect(await reasonOf(world, () => listLargest(other, 'acme', 10))).toBe('not-found');
  expect(await reasonOf(world, async () => listLargest(await callAs(world, owner), null, 10))).toBe('forbidden');
  expect(await reasonOf(world, () => listLargestOfUser(other, 'owner', 10))).toBe('not-found');
});

test('a deleted repository is named only to those who may restore it', async () => {
  const { body } = await api<{ entry: string }>(world, 'DELETE', '/repositories/acme/api?force=true');
  expect(await getDeletedRepository(await callAs(world, owner), body.entry)).toEqual({ name: 'acme/api' });
  for (const entry of [body.entry, '999', 'x']) {
    expect(await reasonOf(world, async () => getDeletedRepository(await callAs(world, stranger), entry))).toBe('not-found');
  }
});

test('what needs attention is about webhooks of the caller only', async () => {
  const call = await callAs(world, owner);
  const wanted = { url: 'https://hooks.example.com/x', format: 'native' as const };
  const { webhook } = await createWebhook(call, 'organization:acme', wanted, { requestOrigin: call.origin, idempotency: null });
  await world.env.DB.prepare('UPDATE subscriptions SET open_until = unixepoch() + 600').run();
  expect((await getAttention(call)).webhooks).toMatchObject([{ id: webhook.id, disabled: null }]);
  expect((await getAttention(await callAs(world, stranger))).webhooks).toEqual([]);
  expect(await reasonOf(world, async () => getPayload(await callAs(world, stranger), webhook, `${webhook.id}_1`))).toBe(
    'not-found',
  );
  expect(JSON.parse(samplePayload(call, 'slack', 'acme/api').body)).toHaveProperty('text');
});

const REPOSITORY = parseRepositoryName('acme/api');
const DIGEST = parseDigest(`sha256:${'a'.repeat(64)}`);

test.each<[string, 'pull' | 'admin', (call: Call) => unknown]>([
  ['the text of a blob', 'pull', (call) => readBlobText(call, REPOSITORY, DIGEST)],
  ['the document of a manifest', 'pull', (call) => readManifest(call, REPOSITORY, { digest: DIGEST })],
  ['the files of a layer', 'pull', (call) => listLayerFiles(call, REPOSITORY, DIGEST)],
  ['the overview', 'pull', (call) => getOverview(call, REPOSITORY)],
  ['rights from elsewhere', 'admin', (call) => listGrantsElsewhere(call, REPOSITORY)],
  ['a preview of another visibility', 'admin', (call) => previewVisibility(call, REPOSITORY, 'public')],
  ['a preview of an overview', 'admin', (call) => previewOverview(call, REPOSITORY, 'text')],
])('%s is for callers who may %s', async (_, right, read) => {
  const reason = async (who: Person | null) => reasonOf(world, async () => read(await callAs(world, who, [REPOSITORY])));
  expect([await reason(null), await reason(stranger)]).toEqual(['unauthenticated', 'not-found']);
  if (right === 'pull') return;
  const robot = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
  expect(await reason(robot)).toBe('forbidden');
});

const IDENTITY = { issuer: 'https://login.example', subject: 'x' };

test.each<[string, (call: Call) => unknown]>([
  ['offered', (call) => offerIdentity(call, IDENTITY, call.authority.subject)],
  ['linked', (call) => linkOwnIdentity(call, 'a token')],
  ['removed', (call) => unlinkOwnIdentity(call, IDENTITY)],
  ['listed', (call) => listOwnIdentities(call)],
  ['read', (call) => offeredIdentity(call, 'a token')],
  ['asked about', (call) => canConfirmByProvider(call)],
  ['asked for', (call) => beginLinking(call, call as never, '/')],
  ['asked for again', (call) => beginConfirmation(call, call as never, '/')],
  ['taken as a confirmation', (call) => confirmByProvider(call, IDENTITY, { purpose: 'key', notBefore: 0 } as never)],
  ['taken for a new key', (call) => createConfirmedKey(call, { name: 'x' }, 'a token')],
])('an identity at a provider is %s by a person with a credential that is not narrowed', async (_, change) => {
  const robot = await makeRobot(world, 'acme', 'ci', []);
  const reason = async (who: Person | null) => reasonOf(world, async () => change(await callAs(world, who)));
  expect([await reason(null), await reason(robot)]).toEqual(['unauthenticated', 'forbidden']);
});

test('only somebody who is signed in can sign out, and a key is not affected', async () => {
  expect(await reasonOf(world, async () => signOut(await callAs(world, null)))).toBe('unauthenticated');
  await signOut(await callAs(world, owner));
  expect((await callAs(world, owner)).authority.subject).toBe(owner.subject);
});
