/** The calls of the routes of pushes and pulls, and of the routes that change the content of a repository. */
import { newLayer } from '../content.ts';
import { manifestPut, withDigest } from './caller.ts';
import { API, type Case, call } from './calls.ts';
import { BIG_REPOSITORY } from './shape.ts';

const UPLOADS = '/v2/:name{.+}/blobs/uploads';
const MANIFEST = '/v2/:name{.+}/manifests/:reference';
const BLOB = '/v2/:name{.+}/blobs/:digest';
const OF_TAGS = `${API}/repositories/${BIG_REPOSITORY}/-`;
const REPOSITORY = `${API}/repositories/:name{.+}`;
const V2 = `/v2/${BIG_REPOSITORY}`;

const UPLOAD_CALLS: Case[] = [
  call(`POST ${UPLOADS}`, `${V2}/blobs/uploads/`, { as: 'token' }),
  {
    route: `POST ${UPLOADS}`,
    note: 'mount',
    async send(caller) {
      const { layers } = JSON.parse((await caller.send('GET', { path: '/v2/big/app-00001/manifests/latest' })).text);
      return { path: `${V2}/blobs/uploads/?mount=${layers[0].digest}&from=big/app-00001`, as: 'token' };
    },
  },
  {
    route: `PUT ${UPLOADS}/:upload`,
    async send(caller) {
      const { bytes, digest } = newLayer();
      return { path: withDigest(await caller.location(), digest), body: bytes, as: 'token' };
    },
  },
  {
    route: `PATCH ${UPLOADS}/:upload`,
    send: async (caller) => ({ path: await caller.location(), body: newLayer().bytes, as: 'token' }),
  },
  ...(['GET', 'DELETE'] as const).map(
    (method): Case => ({
      route: `${method} ${UPLOADS}/:upload`,
      async send(caller) {
        const sent = { path: await caller.location(), body: newLayer().bytes, as: 'token' as const };
        const { headers } = await caller.send('PATCH', sent);
        return { path: headers.get('location') ?? '', as: 'token' };
      },
    }),
  ),
  {
    route: `PUT ${MANIFEST}`,
    note: 'new tag, new image',
    send: async (caller, n) => manifestPut(`pushed-${n}`, await caller.manifest()),
  },
  { route: `PUT ${MANIFEST}`, note: 'tag moves', send: async (caller) => manifestPut('moving', await caller.manifest()) },
];

const PULL_CALLS: Case[] = [
  call(`HEAD ${MANIFEST}`, `${V2}/manifests/v000007`, { as: 'token', note: 'by tag' }),
  call(`GET ${MANIFEST}`, `${V2}/manifests/v000007`, { as: 'token', note: 'by tag' }),
  {
    route: `GET ${MANIFEST}`,
    note: 'by digest',
    async send(caller) {
      const { headers } = await caller.send('HEAD', { path: `${V2}/manifests/v000008` });
      return { path: `${V2}/manifests/${headers.get('docker-content-digest')}`, as: 'token' };
    },
  },
  {
    route: `GET /v2/:name{.+}/referrers/:digest`,
    async send(caller) {
      const { headers } = await caller.send('HEAD', { path: `${V2}/manifests/v000008` });
      return { path: `${V2}/referrers/${headers.get('docker-content-digest')}`, as: 'token' };
    },
  },
  ...(['HEAD', 'GET', 'DELETE'] as const).map(
    (method): Case => ({
      route: `${method} ${BLOB}`,
      send: async (caller) => ({ path: `${V2}/blobs/${(await caller.pushBlob()).digest}`, as: 'token' }),
    }),
  ),
];

/** Returns a case that pushes an image with the tag and then calls the path that `pathOf` builds from its digest. */
function ofImage(route: string, tag: string, pathOf: (tag: string, digest: string) => string, note?: string): Case {
  return {
    route,
    ...(note === undefined ? {} : { note }),
    async send(caller, n) {
      const { digest } = await caller.pushImage(`${tag}-${n}`);
      return { path: pathOf(`${tag}-${n}`, digest) };
    },
  };
}

/** Returns a case like `ofImage` that deletes the tag or the manifest before the measured call. */
function ofDeleted(route: string, tag: string, kind: 'tags' | 'manifests', end: string): Case {
  return {
    route,
    async send(caller, n) {
      const { digest } = await caller.pushImage(`${tag}-${n}`);
      const name = kind === 'tags' ? `${tag}-${n}` : digest;
      await caller.send('DELETE', { path: `${V2}/manifests/${name}`, as: 'token' });
      return { path: `${OF_TAGS}/trash/${kind}/${name}${end}` };
    },
  };
}

const SELECTION = { tagStatus: 'tagged', tagPatternList: ['v09*'], countType: 'imageCountMoreThan', countNumber: 1_000_000 };
const LIFECYCLE = { rules: [{ rulePriority: 1, selection: SELECTION, action: { type: 'expire' } }] };

const CONTENT_CALLS: Case[] = [
  ofImage(`GET ${REPOSITORY}/-/images/:digest`, 'shown', (_, digest) => `${OF_TAGS}/images/${digest}`),
  ofImage(`GET ${REPOSITORY}/-/file-changes`, 'compared', (_, digest) => `${OF_TAGS}/file-changes?from=${digest}&to=${digest}`),
  ofImage(`DELETE ${REPOSITORY}/-/images/:digest`, 'image', (_, digest) => `${OF_TAGS}/images/${digest}`),
  ofImage(`DELETE ${MANIFEST}`, 'untagged', (tag) => `${V2}/manifests/${tag}`, 'tag'),
  ofImage(`DELETE ${MANIFEST}`, 'deleted', (_, digest) => `${V2}/manifests/${digest}`, 'image'),
  ofImage(`DELETE ${REPOSITORY}/-/tags/:tag`, 'dropped', (tag) => `${OF_TAGS}/tags/${tag}`),
  call(`POST ${REPOSITORY}/-/deletion/preview`, `${OF_TAGS}/deletion/preview`, { body: { tags: ['v000001', 'v000002'] } }),
  call(`POST ${REPOSITORY}/-/deletion`, `${OF_TAGS}/deletion`, { body: (n) => ({ tags: [`pushed-${n}`] }) }),
  {
    route: `POST ${REPOSITORY}/-/tags/:tag/rollback`,
    send: async (_, n) => ({ path: `${OF_TAGS}/tags/moving/rollback`, body: { point: 1 + (n % 2) } }),
  },
  call(`PUT ${REPOSITORY}/-/tag-mutability`, `${OF_TAGS}/tag-mutability`, { body: { imageTagMutability: 'MUTABLE' } }),
  call(`PUT ${REPOSITORY}/-/policy`, `${OF_TAGS}/policy`, { body: { statements: [] } }),
  ofDeleted(`POST ${REPOSITORY}/-/trash/tags/:tag/restore`, 'back', 'tags', '/restore'),
  ofDeleted(`DELETE ${REPOSITORY}/-/trash/tags/:tag`, 'gone', 'tags', ''),
  ofDeleted(`POST ${REPOSITORY}/-/trash/manifests/:digest/restore`, 'again', 'manifests', '/restore'),
  ofDeleted(`DELETE ${REPOSITORY}/-/trash/manifests/:digest`, 'never', 'manifests', ''),
  call(`PUT ${REPOSITORY}/-/lifecycle`, `${OF_TAGS}/lifecycle`, { body: LIFECYCLE }),
  call(`GET ${REPOSITORY}/-/lifecycle`, `${OF_TAGS}/lifecycle`),
  call(`POST ${REPOSITORY}/-/lifecycle/preview`, `${OF_TAGS}/lifecycle/preview`, { body: { policy: LIFECYCLE }, calls: 5 }),
  call(`POST ${REPOSITORY}/-/lifecycle/run`, `${OF_TAGS}/lifecycle/run`, { calls: 5 }),
  call(`DELETE ${REPOSITORY}/-/lifecycle`, `${OF_TAGS}/lifecycle`, { calls: 1 }),
];

export const CONTENT: Case[] = [...UPLOAD_CALLS, ...PULL_CALLS, ...CONTENT_CALLS];
