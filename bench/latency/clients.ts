/**
 * Pulls and pushes as container clients do them: the same requests, in the same order, as many at a time. They were read from
 * the source of the clients:
 *
 * - docker 28 with its classic store: moby v28.5.2, `distribution/` (`registry.go`: `GET /v2/` first; `pull_v2.go`: HEAD of the
 *   tag, GET by digest, the config beside the layers; `push_v2.go`: HEAD only of layers that it has pushed or pulled before, one
 *   attempt to mount a small layer; the config after the layers; the manifest is always sent), `daemon/config` (3 downloads and
 *   5 uploads at a time), and `registry/client` of its vendored distribution (POST, PATCH without a length, PUT; HEAD
 *   after each upload and mount; a token for each mount, one after the other).
 * - docker 29 with the containerd store: moby 29 (`daemon/containerd/image_pull.go`, `image_push.go`, with the same limits) and
 *   containerd 2 (`core/remotes/docker`: no `GET /v2/`, the first request is refused and repeated with a token, POST `/token`
 *   with credentials, HEAD and then POST and PUT; `core/unpack`: the layers after the config; `core/remotes/handlers.go`: the
 *   manifest after the blobs, not sent if the tag names it already).
 * - BuildKit: `util/pull`, `util/push` and `util/resolver/limited` (4 requests at a time, one more for JSON), with containerd's
 *   `core/remotes/docker` for the requests.
 */
import { type Blob, type Image, MANIFEST_TYPE } from '../content.ts';
import { BEGINNING, type Step } from './chain.ts';
import type { Lane } from './lane.ts';

export type ClientName = 'docker 28' | 'docker 29' | 'BuildKit';

export const CLIENTS: ClientName[] = ['docker 28', 'docker 29', 'BuildKit'];

/** The URL of the registry, and the credentials of the caller. */
export interface Account {
  url: string;
  /** NAME:PASSWORD, or `null` for an anonymous caller. */
  credentials: string | null;
}

interface Push {
  repository: string;
  tag: string;
  image: Image;
  /** The blobs that the client knows to be in this repository, because it has pushed or pulled them before. */
  known: Set<string>;
  /** A repository, and the blobs that the client knows to be there. */
  elsewhere: { repository: string; digests: Set<string> } | null;
}

interface Limits {
  downloads: number;
  uploads: number;
}

const LIMITS: Record<ClientName, Limits> = {
  'docker 28': { downloads: 3, uploads: 5 },
  'docker 29': { downloads: 3, uploads: 5 },
  BuildKit: { downloads: 4, uploads: 4 },
};

const ACCEPT = { accept: `${MANIFEST_TYPE}, application/vnd.oci.image.index.v1+json, */*` };
const OCTETS = { 'content-type': 'application/octet-stream' };

/**
 * The credentials of a client during one pull or push. The client requests one token for all its requests with the same scopes.
 */
class Session {
  readonly name: ClientName;
  readonly #account: Account;
  readonly #repository: string;
  readonly #actions: string;
  #scheme = '';
  readonly #tokens = new Map<string, Promise<{ value: string; step: Step }>>();
  /** The step of the last token request for a mount. docker 28 requests the tokens for mounts one after the other. */
  #mounting: Promise<Step> = Promise.resolve(BEGINNING);

  constructor(name: ClientName, account: Account, repository: string, actions: string) {
    this.name = name;
    this.#account = account;
    this.#repository = repository;
    this.#actions = actions;
  }

  /** Finds out which credentials the registry wants: from `GET /v2/` (docker 28), or from the refusal of a first request. */
  async begin(lane: Lane, method: string, path: string): Promise<void> {
    const ping = this.name === 'docker 28';
    const answer = ping
      ? await lane.send([200, 401], 'GET', '/v2/')
      : await lane.send([200, 401, 404], method, path, { headers: ACCEPT });
    this.#scheme = (answer.headers.get('www-authenticate') ?? '').split(' ')[0]?.toLowerCase() ?? '';
    if (this.#scheme === 'bearer') await this.headers(lane);
  }

  /** Returns the headers that authorize a request. @param from the repository from which the request mounts */
  async headers(lane: Lane, from: string | null = null): Promise<Record<string, string>> {
    if (this.#scheme === 'basic') return { authorization: `Basic ${base64(this.#account.credentials ?? '')}` };
    if (this.#scheme !== 'bearer') return {};
    const own = `repository:${this.#repository}:${this.#actions}`;
    const scopes = from === null ? [own] : [own, `repository:${from}:pull`];
    if (from !== null && this.name === 'docker 28') return bearer(await this.#tokenOfMount(lane, scopes));
    const key = scopes.join(' ');
    const known = this.#tokens.get(key) ?? this.#token(lane, scopes);
    this.#tokens.set(key, known);
    const { value, step } = await known;
    if (step !== lane.last) lane.waitFor(step);
    return bearer(value);
  }

  async #tokenOfMount(lane: Lane, scopes: string[]): Promise<string> {
    const token = this.#mounting.then((previous) => {
      lane.waitFor(previous);
      return this.#token(lane, scopes);
    });
    this.#mounting = token.then(({ step }) => step);
    return (await token).value;
  }

  async #token(lane: Lane, scopes: string[]): Promise<{ value: string; step: Step }> {
    const { credentials, url } = this.#account;
    const parameters = new URLSearchParams({ service: new URL(url).host });
    for (const scope of scopes) parameters.append('scope', scope);
    const { text } = await (credentials === null || this.name === 'docker 28'
      ? lane.send([200], 'GET', `/token?${parameters}`, {
          headers: credentials === null ? {} : { authorization: `Basic ${base64(credentials)}` },
        })
      : lane.send([200], 'POST', '/token', { headers: FORM, body: formOf(credentials, scopes, url) }));
    const { token, access_token } = JSON.parse(text) as { token?: string; access_token?: string };
    return { value: token ?? access_token ?? '', step: lane.last };
  }
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

function formOf(credentials: string, scopes: string[], url: string): Buffer {
  const [username = '', password = ''] = credentials.split(':');
  const form = { grant_type: 'password', service: new URL(url).host, scope: scopes.join(' '), username, password };
  return Buffer.from(new URLSearchParams({ ...form, client_id: 'containerd-client' }).toString());
}

/** Pulls an image by its tag. */
export async function pull(name: ClientName, account: Account, repository: string, tag: string, lane: Lane): Promise<void> {
  const session = new Session(name, account, repository, 'pull');
  const { downloads } = LIMITS[name];
  const path = `/v2/${repository}`;
  const get = async (one: Lane, what: string) =>
    one.send([200], 'GET', `${path}/${what}`, { headers: { ...ACCEPT, ...(await session.headers(one)) } });
  await session.begin(lane, 'HEAD', `${path}/manifests/${tag}`);
  const head = await lane.send([200], 'HEAD', `${path}/manifests/${tag}`, {
    headers: { ...ACCEPT, ...(await session.headers(lane)) },
  });
  const { text } = await get(lane, `manifests/${head.headers.get('docker-content-digest')}`);
  const { config, layers } = JSON.parse(text) as { config: { digest: string }; layers: { digest: string }[] };
  const pullLayers = (from: Lane) =>
    from.each(downloads, layers, async ({ digest }, one) => void (await get(one, `blobs/${digest}`)));
  if (name !== 'docker 28') {
    await get(lane, `blobs/${config.digest}`);
    return pullLayers(lane);
  }
  const [first, second] = [lane.fork(), lane.fork()];
  await Promise.all([get(first, `blobs/${config.digest}`), pullLayers(second)]);
  lane.join([first, second]);
}

/** Pushes an image. */
export async function push(name: ClientName, account: Account, what: Push, lane: Lane): Promise<void> {
  const session = new Session(name, account, what.repository, name === 'docker 28' ? 'push,pull' : 'pull,push');
  const { uploads } = LIMITS[name];
  const { manifest, blobs } = what.image;
  const [config, ...layers] = blobs as [Blob, ...Blob[]];
  await session.begin(lane, 'HEAD', `/v2/${what.repository}/blobs/${config.digest}`);
  if (name === 'docker 28') {
    await lane.each(uploads, layers, (layer, one) => pushLayerClassic(session, what, layer, one));
    if (!(await exists(session, what.repository, `blobs/${config.digest}`, lane)))
      await upload(session, what.repository, config, lane);
    return putManifest(session, what, manifest, lane);
  }
  const ordered = name === 'BuildKit' ? layers : blobs;
  const [first, second] = [lane.fork(), lane.fork()];
  // BuildKit sends JSON in addition to its four other requests.
  await Promise.all([
    first.each(uploads, ordered, (blob, one) => pushBlob(session, what, blob, one)),
    name === 'BuildKit' ? pushBlob(session, what, config, second) : null,
  ]);
  lane.join([first, second]);
  const head = await check(session, what.repository, `manifests/${what.tag}`, lane);
  if (head.status === 200 && head.headers.get('docker-content-digest') === manifest.digest) return;
  await putManifest(session, what, manifest, lane);
}

async function pushLayerClassic(session: Session, what: Push, layer: Blob, lane: Lane): Promise<void> {
  if (what.known.has(layer.digest) && (await exists(session, what.repository, `blobs/${layer.digest}`, lane))) return;
  if (what.elsewhere?.digests.has(layer.digest)) {
    // docker first checks whether this repository has a layer that it has pushed to another repository.
    if (await exists(session, what.repository, `blobs/${layer.digest}`, lane)) return;
    if (await mounted(session, what.repository, layer, what.elsewhere.repository, lane)) return;
  }
  await upload(session, what.repository, layer, lane);
}

async function pushBlob(session: Session, what: Push, blob: Blob, lane: Lane): Promise<void> {
  if (await exists(session, what.repository, `blobs/${blob.digest}`, lane)) return;
  const { elsewhere } = what;
  if (elsewhere?.digests.has(blob.digest) && (await mounted(session, what.repository, blob, elsewhere.repository, lane)))
    return;
  await upload(session, what.repository, blob, lane);
}

async function check(session: Session, repository: string, what: string, lane: Lane) {
  const headers = { ...ACCEPT, ...(await session.headers(lane)) };
  return lane.send([200, 404], 'HEAD', `/v2/${repository}/${what}`, { headers });
}

async function exists(session: Session, repository: string, what: string, lane: Lane): Promise<boolean> {
  return (await check(session, repository, what, lane)).status === 200;
}

async function mounted(session: Session, repository: string, { digest }: Blob, from: string, lane: Lane): Promise<boolean> {
  const query = new URLSearchParams({ mount: digest, from });
  const headers = await session.headers(lane, from);
  const { status } = await lane.send([201, 202], 'POST', `/v2/${repository}/blobs/uploads/?${query}`, { headers });
  if (status === 201 && session.name === 'docker 28') await check(session, repository, `blobs/${digest}`, lane);
  return status === 201;
}

async function upload(session: Session, repository: string, { bytes, digest }: Blob, lane: Lane): Promise<void> {
  const headers = { ...OCTETS, ...(await session.headers(lane)) };
  const start = await lane.send([202], 'POST', `/v2/${repository}/blobs/uploads/`, { headers });
  const location = start.headers.get('location') ?? '';
  if (session.name !== 'docker 28') {
    await lane.send([201], 'PUT', withDigest(location, digest), { headers, body: bytes });
    return;
  }
  const patch = await lane.send([202], 'PATCH', location, { headers, body: bytes, unsized: true });
  await lane.send([201], 'PUT', withDigest(patch.headers.get('location') ?? '', digest), { headers });
  await check(session, repository, `blobs/${digest}`, lane);
}

async function putManifest(session: Session, { repository, tag }: Push, { bytes }: Blob, lane: Lane): Promise<void> {
  const headers = { 'content-type': MANIFEST_TYPE, ...(await session.headers(lane)) };
  await lane.send([201], 'PUT', `/v2/${repository}/manifests/${tag}`, { headers, body: bytes });
}

function withDigest(location: string, digest: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
}

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
