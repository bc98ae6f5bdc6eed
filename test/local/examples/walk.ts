/** Sends the example of every operation, in an order in which all of them succeed on a new registry. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  SAMPLE_DELIVERY,
  SAMPLE_DIGEST,
  SAMPLE_HOOK,
  SAMPLE_KEY,
  SAMPLE_TIME,
  SAMPLE_TOKEN,
  SAMPLE_WEBHOOK,
} from '../../../src/http/api/samples.ts';
import type { Recorder } from './recorder.ts';

const ORGANIZATION = '/organizations/{organization}';
const REPOSITORY = '/repositories/{name}';

interface Created {
  key: { id: string };
}

/** @param hook the URL of the endpoint of the webhooks */
export async function walk(recorder: Recorder, hook: string): Promise<void> {
  recorder.call(SAMPLE_HOOK, hook);
  recorder.call(SAMPLE_TIME, `${new Date().toISOString().slice(0, 10)}T00:00:00Z`);
  const alice = await people(recorder);
  const bob = await organizations(recorder, alice);
  await keys(recorder, alice);
  await robots(recorder, alice);
  await policies(recorder, alice);
  await contents(recorder, alice);
  await upkeep(recorder);
  await trash(recorder, alice);
  await webhooks(recorder, alice);
  await ends(recorder, alice, bob);
}

/** @returns user name and password of Alice */
async function people(recorder: Recorder): Promise<string> {
  const { invitation } = await recorder.send<{ invitation: { token: string } }>('PUT', '/users/{user}');
  recorder.call(SAMPLE_TOKEN, invitation.token);
  const { key } = await recorder.send<{ key: { id: string; secret: string } }>('POST', '/invitations/accept');
  recorder.call('BRTHEXAMPLEFIRSTKEY2', key.id);
  await recorder.send('GET', '/users');
  await recorder.send('GET', '/users/{user}');
  await recorder.send('PATCH', '/users/{user}');
  const again = await recorder.send<{ invitation: { token: string } }>('POST', '/users/{user}/invitation');
  recorder.call(SAMPLE_TOKEN, again.invitation.token);
  await recorder.request('PATCH', '/api/v1/users/alice', { body: { administrator: false } });
  return `alice:${key.secret}`;
}

async function join(recorder: Recorder, name: string): Promise<string> {
  const [, { invitation }] = await recorder.request<{ invitation: { token: string } }>('PUT', `/api/v1/users/${name}`, {
    body: {},
  });
  const token = { token: invitation.token };
  const [, { key }] = await recorder.request<Created & { key: { secret: string } }>('POST', '/api/v1/invitations/accept', {
    body: token,
  });
  return `${name}:${key.secret}`;
}

/** @returns user name and password of Bob */
async function organizations(recorder: Recorder, alice: string): Promise<string> {
  const bob = await join(recorder, 'bob');
  await recorder.send('PUT', ORGANIZATION);
  await recorder.request('PUT', '/api/v1/organizations/acme/members/alice', { body: { role: 'owner' } });
  await recorder.send('GET', ORGANIZATION, alice);
  await recorder.send('GET', '/organizations', alice);
  await recorder.send('PATCH', ORGANIZATION, alice);
  await recorder.send('PUT', `${ORGANIZATION}/members/{user}`, alice);
  await recorder.send('GET', `${ORGANIZATION}/invitations`, alice);
  await recorder.send('DELETE', `${ORGANIZATION}/invitations/{user}`, alice);
  await recorder.request('PUT', '/api/v1/organizations/acme/members/bob', { body: { role: 'member' }, as: alice });
  await recorder.send('GET', '/me/invitations', bob);
  await recorder.send('DELETE', '/me/invitations/{organization}', bob);
  await recorder.request('PUT', '/api/v1/organizations/acme/members/bob', { body: { role: 'member' }, as: alice });
  await recorder.send('POST', '/me/invitations/{organization}/accept', bob);
  await recorder.send('GET', `${ORGANIZATION}/members`, alice);
  await recorder.send('PUT', `${ORGANIZATION}/teams/{team}`, alice);
  await recorder.send('GET', `${ORGANIZATION}/teams/{team}`, alice);
  await recorder.send('GET', `${ORGANIZATION}/teams`, alice);
  await recorder.send('PUT', `${ORGANIZATION}/teams/{team}/members/{user}`, alice);
  await recorder.send('GET', `${ORGANIZATION}/teams/{team}/members`, alice);
  return bob;
}

async function keys(recorder: Recorder, alice: string): Promise<void> {
  await recorder.send('GET', '/me', alice);
  await recorder.send('POST', '/login-password', alice);
  // The only key so far: ids are random, and so is the order of several keys.
  await recorder.send('GET', '/keys', alice);
  const { key } = await recorder.send<Created>('POST', '/keys', alice);
  recorder.call(SAMPLE_KEY, key.id);
  await recorder.send('GET', '/keys/{key}', alice);
  await recorder.send('PATCH', '/keys/{key}', alice);
  await recorder.send('POST', '/keys/{key}/rotate', alice);
  await recorder.send('DELETE', '/keys/{key}', alice);
}

async function robots(recorder: Recorder, alice: string): Promise<void> {
  const robot = `${ORGANIZATION}/robots/{robot}`;
  await recorder.send('PUT', robot, alice);
  await recorder.send('GET', robot, alice);
  await recorder.send('GET', `${ORGANIZATION}/robots`, alice);
  await recorder.send('POST', `${robot}/keys`, alice);
  await recorder.send('GET', `${robot}/keys`, alice);
  for (const [rule, as] of [
    ['/trust-rules/{rule}', undefined],
    [`${ORGANIZATION}/trust-rules/{rule}`, alice],
  ] as const) {
    await recorder.send('PUT', rule, as);
    await recorder.send('GET', rule, as);
    await recorder.send('GET', rule.replace('/{rule}', ''), as);
  }
}

async function policies(recorder: Recorder, alice: string): Promise<void> {
  await recorder.send('PUT', REPOSITORY, alice);
  for (const [owner, as] of [
    ['/users/{user}', undefined],
    [`${ORGANIZATION}/teams/{team}`, alice],
    [`${ORGANIZATION}/robots/{robot}`, alice],
    [`${REPOSITORY}/-`, alice],
  ] as const) {
    await recorder.send('PUT', `${owner}/policy`, as);
    await recorder.send('GET', `${owner}/policy`, as);
  }
  await recorder.send('GET', '/explain', alice);
}

/** Pushes an image with this content. @returns its digest */
async function push(recorder: Recorder, tag: string, content: string, as: string): Promise<string> {
  const digests = { config: await pushBlob(recorder, '{}', as), layer: await pushBlob(recorder, content, as) };
  const descriptor = (mediaType: string, digest: string, size: number) => ({ mediaType, digest, size });
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor('application/vnd.oci.image.config.v1+json', digests.config, 2),
    layers: [descriptor('application/vnd.oci.image.layer.v1.tar', digests.layer, content.length)],
  };
  await recorder.request('PUT', `/v2/acme/app/manifests/${tag}`, {
    body: new TextEncoder().encode(JSON.stringify(manifest)),
    headers: { 'content-type': manifest.mediaType },
    as,
  });
  return digestOf(JSON.stringify(manifest));
}

async function pushBlob(recorder: Recorder, content: string, as: string): Promise<string> {
  const digest = digestOf(content);
  const body = new TextEncoder().encode(content);
  await recorder.request('POST', `/v2/acme/app/blobs/uploads/?digest=${digest}`, {
    body,
    headers: { 'content-type': 'application/octet-stream' },
    as,
  });
  return digest;
}

/** Pulls an image three times, and waits for the counts: they are written after the answers. */
async function pull(recorder: Recorder, as: string): Promise<void> {
  const accept = { accept: 'application/vnd.oci.image.manifest.v1+json' };
  for (let times = 0; times < 3; times++) await recorder.request('GET', '/v2/acme/app/manifests/v1', { as, headers: accept });
  await until('three pulls are counted', async () => {
    const [, { total }] = await recorder.request<{ total: number }>('GET', '/api/v1/repositories/acme/app/-/pulls', { as });
    return total === 3;
  });
}

/** Waits for what happens after an answer. @throws Error after ten seconds */
async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (await isSo()) return;
    await sleep(100);
  }
  throw new Error(`not within ten seconds: ${what}`);
}

function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

async function contents(recorder: Recorder, alice: string): Promise<void> {
  recorder.call(SAMPLE_DIGEST, await push(recorder, 'v1', 'the first release', alice));
  await push(recorder, 'v1', 'the second release', alice);
  await push(recorder, 'pr-1', 'another preview', alice);
  await push(recorder, 'pr-2', 'a preview', alice);
  await recorder.send('PATCH', REPOSITORY, alice);
  await recorder.send('GET', REPOSITORY, alice);
  await recorder.send('GET', '/repositories', alice);
  await recorder.send('POST', `${REPOSITORY}/-/tags/{tag}/rollback`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/tags/{tag}/history`, alice);
  await pull(recorder, alice);
  await recorder.send('GET', `${REPOSITORY}/-/pulls`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/tags`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/images`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/images/{digest}`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/file-changes`, alice);
  await recorder.send('PUT', `${REPOSITORY}/-/star`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/star`, alice);
  await recorder.send('DELETE', `${REPOSITORY}/-/star`, alice);
  await recorder.send('POST', `${REPOSITORY}/-/comments`, alice);
  await recorder.send('PATCH', `${REPOSITORY}/-/comments/{comment}`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/comments`, alice);
  await recorder.send('DELETE', `${REPOSITORY}/-/comments/{comment}`, alice);
  await recorder.send('PUT', `${REPOSITORY}/-/tag-mutability`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/tag-mutability`, alice);
  await recorder.request('PUT', '/api/v1/repositories/acme/app/-/tag-mutability', {
    body: { imageTagMutability: 'MUTABLE' },
    as: alice,
  });
  await recorder.send('PUT', `${REPOSITORY}/-/lifecycle`, alice);
  await recorder.send('POST', `${REPOSITORY}/-/lifecycle/preview`, alice);
  await recorder.send('POST', `${REPOSITORY}/-/lifecycle/run`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/lifecycle`, alice);
  await recorder.send('DELETE', `${REPOSITORY}/-/lifecycle`, alice);
}

async function trash(recorder: Recorder, alice: string): Promise<void> {
  const remove = (reference: string) => recorder.request('DELETE', `/v2/acme/app/manifests/${reference}`, { as: alice });
  const digest = recorder.realOf(SAMPLE_DIGEST);
  await recorder.send('DELETE', `${REPOSITORY}/-/tags/{tag}`, alice);
  await recorder.send('GET', `${REPOSITORY}/-/trash`, alice);
  await recorder.send('POST', `${REPOSITORY}/-/trash/tags/{tag}/restore`, alice);
  await remove('v1');
  await recorder.send('DELETE', `${REPOSITORY}/-/trash/tags/{tag}`, alice);
  await recorder.send('DELETE', `${REPOSITORY}/-/images/{digest}`, alice);
  await recorder.send('POST', `${REPOSITORY}/-/trash/manifests/{digest}/restore`, alice);
  await remove(digest);
  await recorder.send('DELETE', `${REPOSITORY}/-/trash/manifests/{digest}`, alice);
  await recorder.send('POST', `${REPOSITORY}/-/deletion/preview`, alice);
  await recorder.send('POST', `${REPOSITORY}/-/deletion`, alice);
  for (const method of ['POST', 'DELETE']) {
    await recorder.send('DELETE', REPOSITORY, alice);
    const { items } = await recorder.send<{ items: { entry: string }[] }>('GET', '/trash', alice);
    recorder.call('7', items[0]?.entry ?? '');
    await recorder.send(method, method === 'POST' ? '/trash/{entry}/restore' : '/trash/{entry}', alice);
  }
}

async function upkeep(recorder: Recorder): Promise<void> {
  await recorder.send('POST', '/gc');
  for (let pass = ''; pass !== 'finished'; ) [, { pass }] = await recorder.request<{ pass: string }>('POST', '/api/v1/gc');
  for (const path of ['/usage', `${ORGANIZATION}/usage`, '/users/{user}/usage']) await recorder.send('GET', path);
  for (const path of [`${ORGANIZATION}/quota`, '/users/{user}/quota']) await recorder.send('PUT', path);
  await recorder.send('POST', '/scrub');
  for (const path of ['/gc', '/budget', '/fsck']) await recorder.send('GET', path);
}

async function webhooks(recorder: Recorder, alice: string): Promise<void> {
  await recorder.request('PUT', '/api/v1/repositories/acme/app', { body: {}, as: alice });
  const scopes = [
    ['', undefined],
    [ORGANIZATION, alice],
    [`${REPOSITORY}/-`, alice],
  ] as const;
  for (const [scope, as] of scopes) {
    const { webhook } = await recorder.send<{ webhook: { id: string } }>('POST', `${scope}/webhooks`, as);
    recorder.call(SAMPLE_WEBHOOK, webhook.id);
    await recorder.send('GET', `${scope}/webhooks`, as);
  }
  await push(recorder, 'v1', 'the third release', alice);
  await delivered(recorder, alice);
  await recorder.send('GET', '/webhooks/{webhook}/deliveries', alice);
  await recorder.send('GET', '/webhooks/{webhook}/deliveries/{delivery}', alice);
  await recorder.send('POST', '/webhooks/{webhook}/deliveries/{delivery}/replay', alice);
  await recorder.send('POST', '/webhooks/{webhook}/replay', alice);
  await recorder.send('GET', '/webhooks/{webhook}', alice);
  await recorder.send('PATCH', '/webhooks/{webhook}', alice);
  await recorder.send('POST', '/webhooks/{webhook}/test', alice);
  await recorder.send('POST', '/webhooks/{webhook}/rotate', alice);
  await recorder.send('DELETE', '/webhooks/{webhook}', alice);
}

/** Waits until the queues have delivered an event. */
async function delivered(recorder: Recorder, alice: string): Promise<void> {
  const path = `/api/v1/webhooks/${recorder.realOf(SAMPLE_WEBHOOK)}/deliveries?state=delivered`;
  await until('an event is delivered', async () => {
    const [, { items }] = await recorder.request<{ items: { id: string }[] }>('GET', path, { as: alice });
    if (items[0]) recorder.call(SAMPLE_DELIVERY, items[0].id);
    return items.length > 0;
  });
}

async function ends(recorder: Recorder, alice: string, bob: string): Promise<void> {
  await recorder.send('GET', '/events', alice);
  await recorder.send('DELETE', `${ORGANIZATION}/teams/{team}/members/{user}`, alice);
  await recorder.send('DELETE', `${ORGANIZATION}/members/{user}`, alice);
  await recorder.send('DELETE', `${ORGANIZATION}/teams/{team}`, alice);
  await recorder.send('DELETE', `${ORGANIZATION}/robots/{robot}`, alice);
  await recorder.send('DELETE', `${ORGANIZATION}/trust-rules/{rule}`, alice);
  await recorder.send('DELETE', '/trust-rules/{rule}');
  await recorder.send('DELETE', '/me/logins', bob);
  await recorder.send('DELETE', '/users/{user}/logins');
  await recorder.request('DELETE', '/api/v1/repositories/acme/app?force=true', {});
  await recorder.send('DELETE', ORGANIZATION);
}
