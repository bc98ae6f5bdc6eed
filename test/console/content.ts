/** Content for the pages: repositories with every kind of image, people with every role, and texts that attack a page. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { apiOf } from '../clients/people/api.ts';
import { tarOf } from '../world/tar.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const CONFIG = 'application/vnd.oci.image.config.v1+json';

/** Text that would be harmful if a page obeyed it: markup, a script, controls, and characters that turn the direction of text. */
export const HOSTILE = `"><script>window.attacked=1</script><img src=x onerror="window.attacked=1">\u202Egnp.\u0007\u001B[31m'${'{{7*7}}'}`;

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string; variant?: string };
  annotations?: Record<string, string>;
}

interface Pushed {
  descriptor: Descriptor;
}

/** Pushes content by the distribution protocol, as the administrator. */
export class Pusher {
  readonly #origin: string;
  readonly #authorization: string;

  constructor(origin: string, name: string, password: string) {
    this.#origin = origin;
    this.#authorization = `Basic ${btoa(`${name}:${password}`)}`;
  }

  async blob(repository: string, content: string | Buffer, mediaType: string): Promise<Descriptor> {
    const bytes = Buffer.from(content);
    const digest = digestOf(bytes);
    await this.#send('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, bytes, 'application/octet-stream');
    return { mediaType, digest, size: bytes.byteLength };
  }

  async manifest(repository: string, reference: string | null, document: object, mediaType: string): Promise<Pushed> {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...document }));
    const digest = digestOf(bytes);
    await this.#send('PUT', `/v2/${repository}/manifests/${reference ?? digest}`, bytes, mediaType);
    return { descriptor: { mediaType, digest, size: bytes.byteLength } };
  }

  /** An image. @param options.history `undefined`: one entry for each layer */
  async image(
    repository: string,
    reference: string | null,
    { layers = 3, config = {}, history, annotations, seed = repository, subject }: ImageOptions = {},
  ): Promise<Pushed> {
    const pushed: Descriptor[] = [];
    for (let n = 0; n < layers; n++) {
      const files = [
        { path: `app/${seed}-${n}.txt`, content: `${seed} layer ${n} `.repeat(200 * ((n % 7) + 1)) },
        { path: `etc/.wh.${n}` },
        { path: `usr/share/${HOSTILE.slice(0, 40)}` },
      ];
      pushed.push(await this.blob(repository, gzipSync(tarOf(files)), LAYER));
    }
    const steps =
      history ?? pushed.map((_, n) => ({ created_by: `RUN step ${n} # buildkit`, created: '2026-11-21T10:00:00Z' }));
    const document = {
      ...{ os: 'linux', architecture: 'amd64', created: '2026-11-21T10:00:00Z' },
      ...config,
      rootfs: { type: 'layers', diff_ids: pushed.map(({ digest }) => digest) },
      history: steps,
    };
    const configured = await this.blob(repository, JSON.stringify(document), CONFIG);
    return this.manifest(
      repository,
      reference,
      { config: configured, layers: pushed, ...(annotations ? { annotations } : {}), ...(subject ? { subject } : {}) },
      MANIFEST,
    );
  }

  /** An image of several platforms, with an attestation for the first one. */
  async index(repository: string, tag: string, seed: string): Promise<Pushed> {
    const platforms = [
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm64', variant: 'v8' },
    ];
    const manifests: Descriptor[] = [];
    for (const platform of platforms) {
      const { descriptor } = await this.image(repository, null, { seed: `${seed} ${platform.architecture}`, config: platform });
      manifests.push({ ...descriptor, platform });
    }
    const about = manifests[0] as Descriptor;
    const statement = await this.blob(
      repository,
      JSON.stringify({ predicateType: 'https://slsa.dev/provenance/v1', seed }),
      'application/vnd.in-toto+json',
    );
    const attestation = await this.manifest(
      repository,
      null,
      { config: await this.blob(repository, '{}', CONFIG), layers: [statement] },
      MANIFEST,
    );
    manifests.push({
      ...attestation.descriptor,
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': about.digest },
    });
    return this.manifest(repository, tag, { manifests }, INDEX);
  }

  async artifact(
    repository: string,
    tag: string | null,
    artifactType: string,
    content: string,
    subject?: Descriptor,
  ): Promise<Pushed> {
    const empty = await this.blob(repository, '{}', 'application/vnd.oci.empty.v1+json');
    const layer = await this.blob(repository, content, artifactType);
    return this.manifest(
      repository,
      tag,
      { artifactType, config: empty, layers: [layer], ...(subject ? { subject } : {}) },
      MANIFEST,
    );
  }

  async #send(method: string, path: string, body: Buffer, type: string): Promise<void> {
    const headers = { authorization: this.#authorization, 'content-type': type };
    const response = await fetch(`${this.#origin}${path}`, { method, headers, body: new Uint8Array(body) });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  }
}

interface ImageOptions {
  layers?: number;
  config?: object;
  history?: object[];
  annotations?: Record<string, string>;
  seed?: string;
  subject?: Descriptor;
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Pushes every kind of content into `acme/api` and `acme/hostile`, and makes people, teams, webhooks and rules. */
export async function makeContent(origin: string, password: string): Promise<void> {
  const api = apiOf(origin, password);
  const push = new Pusher(origin, 'admin', password);
  await api.call('PUT', '/organizations/acme', { description: 'The shop' });
  await api.call('PUT', '/users/alice', {});
  await api.call('PUT', '/organizations/acme/teams/deploy', { description: HOSTILE.slice(0, 60) });
  await api.call('PUT', '/organizations/acme/robots/ci', {});
  await api.call('PUT', '/repositories/acme/api', {
    description: 'The public API of the shop',
    overview: '# The API\n\nUse **it**.',
  });
  await api.call('PUT', '/repositories/acme/empty', { visibility: 'public' });
  await api.call('PUT', '/repositories/acme/hostile', {
    description: HOSTILE.slice(0, 90),
    overview: `${HOSTILE}\n\n[x](javascript:alert(1))`,
  });
  await api.call('POST', '/repositories/acme/hostile/-/comments', { text: `${HOSTILE}\n\n![x](javascript:alert(1))` });
  await api.call('POST', '/repositories/acme/api/-/comments', { text: 'Works on **arm64**.\n\n```sh\ndocker pull x\n```' });
  await api.call('PUT', '/repositories/acme/api/-/star', {});
  const first = await push.index('acme/api', 'v1.4.1', 'one');
  await push.index('acme/api', 'v1.4.2', 'two');
  await push.index('acme/api', 'latest', 'two');
  await push.image('acme/api', 'plain', {
    config: { config: { Env: ['PATH=/bin'], Cmd: ['/app'], ExposedPorts: { '8080/tcp': {} } } },
  });
  await push.image('acme/api', 'deep', { layers: 120 });
  await push.image('acme/api', 'mismatched', { history: [{ created_by: 'only one' }] });
  await push.image('acme/api', 'no-platform', { config: { os: undefined, architecture: undefined } });
  await push.artifact('acme/api', 'chart', 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', 'a chart');
  await push.artifact('acme/api', 'module', 'application/wasm', 'a module');
  await push.artifact(
    'acme/api',
    null,
    'application/spdx+json',
    JSON.stringify({ spdxVersion: 'SPDX-2.3', packages: [{ name: HOSTILE }] }),
    first.descriptor,
  );
  await push.manifest('acme/api', 'nested', { manifests: [first.descriptor] }, INDEX);
  const labels = { [HOSTILE.slice(0, 40)]: HOSTILE };
  await push.image('acme/hostile', 'v1', {
    annotations: { 'org.opencontainers.image.source': 'javascript:alert(1)', ...labels },
    config: { config: { Labels: labels, Env: [`X=${HOSTILE}`], Cmd: [HOSTILE] }, author: HOSTILE },
    history: [{ created_by: HOSTILE }, { created_by: HOSTILE }, { created_by: HOSTILE }],
  });
  await api.call('POST', '/repositories/acme/api/-/webhooks', {
    url: 'https://deploy.example.com/hook',
    types: ['tag.moved'],
  });
}
