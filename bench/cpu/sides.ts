/** Starts the programs to compare and makes the requests of each: Berth, the bare Worker and another registry. */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { startRegistry } from '../../test/world/registry.ts';
import { Bare } from '../bare.ts';
import { blobOf, type Image, imageOf, newConfig, newLayer } from '../content.ts';
import { launch, startBare } from '../hosts.ts';
import { peerEntry } from '../latency/peer.ts';
import { memberOfManyTeams } from '../people.ts';
import { Registry, TAG } from '../registry.ts';

export const MEASURES = [
  'manifest GET, tag',
  'manifest GET, digest',
  'blob GET, 4 KiB',
  'blob HEAD, may push',
  'token',
  'token, 20 teams',
  'manifest PUT, tag moves',
  'push, all there',
] as const;

type Work = Partial<Record<(typeof MEASURES)[number], () => Promise<unknown>>>;

export interface Side {
  name: 'berth' | 'bare' | 'peer';
  /** The process group of the program. */
  group: number;
  /** Logs in where a login expires, and sends what a client sends before the requests of a measure. */
  prepare(): Promise<void>;
  work: Work;
  stop(): Promise<void>;
}

/** Two small images of ten layers, one of which has 4 KiB. A push of one moves the tag that the other had. */
const layers = [blobOf(randomBytes(4096)), ...Array.from({ length: 9 }, newLayer)];
const IMAGES: [Image, Image] = [imageOf(layers, newConfig()), imageOf(layers, newConfig())];
const [IMAGE] = IMAGES;
const { digest: DIGEST } = IMAGE.manifest;
const [LAYER] = layers;

/** The next image to push, so that each push moves the tag. */
function alternately(push: (image: Image) => Promise<void>): () => Promise<void> {
  let pushed = 0;
  return () => push(IMAGES[pushed++ % 2] as Image);
}

export async function startBerth(): Promise<Side> {
  const host = await startRegistry();
  process.once('exit', () => rmSync(host.dataDir, { recursive: true, force: true }));
  const administrator = `${host.username}:${host.password}`;
  const member = new Registry(host.url, await memberOfManyTeams(host.url, administrator));
  const key = await keyOf(host.url, administrator);
  const [pusher, puller] = [new Registry(host.url, key), new Registry(host.url, key, 'pull')];
  await pusher.login();
  for (const image of IMAGES.toReversed()) await pusher.pushImage(image);
  return {
    name: 'berth',
    group: host.process.pid ?? 0,
    prepare: async () => {
      await pusher.login();
      await puller.login();
      // A client asks for the tag by HEAD, and pulls the manifest by its digest before its layers.
      const { headers } = await puller.client.send(200, 'HEAD', puller.manifestPath(TAG));
      await puller.client.send(200, 'GET', puller.manifestPath(String(headers['docker-content-digest'])));
    },
    work: {
      ...contentWork(pusher, puller),
      token: () => pusher.token(),
      'token, 20 teams': () => member.token(),
    },
    stop: () => host.stop(),
  };
}

export async function startBareWorker(): Promise<Side> {
  const host = await startBare();
  const bare = new Bare(host.url);
  for (const image of IMAGES) await bare.pushImage(image);
  if (LAYER) await bare.pushDirect(LAYER);
  // Clients send a token with every request, and the runtime reads it.
  bare.client.headers = { authorization: `Bearer ${randomBytes(450).toString('base64url')}` };
  const get = (path: string) => () => bare.client.send(200, 'GET', path);
  return {
    name: 'bare',
    group: host.group,
    prepare: async () => {},
    work: {
      'manifest GET, tag': get(bare.manifestPath(DIGEST)),
      'manifest GET, digest': get(bare.manifestPath(DIGEST)),
      'blob GET, 4 KiB': get(LAYER ? bare.blobPath(LAYER) : ''),
      'blob HEAD, may push': () => bare.client.send(200, 'HEAD', `/blob/${LAYER?.digest}`),
      token: get('/token'),
      'token, 20 teams': get('/token'),
      'manifest PUT, tag moves': alternately(({ manifest }) => bare.putManifest(manifest)),
      'push, all there': () => bare.pushKnown(IMAGE),
    },
    stop: host.stop,
  };
}

/** @returns `null` if the source of the peer cannot be fetched */
export async function startPeer(source: string | undefined): Promise<Side | null> {
  const entry = await peerEntry(source, 'plain');
  if (entry === null) return null;
  const folder = await mkdtemp(join(tmpdir(), 'cpu-peer-'));
  const password = randomBytes(18).toString('base64url');
  const { child, stop } = launch(process.execPath, [HOST, 'peer', entry, folder], folder, {
    VARIABLES: JSON.stringify({ USERNAME: 'admin', PASSWORD: password, ENVIRONMENT: 'bench' }),
  });
  for await (const url of createInterface({ input: child.stdout })) {
    const peer = new Registry(url, null);
    peer.client.headers = { authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}` };
    for (const image of IMAGES) await peer.pushImage(image);
    return { name: 'peer', group: child.pid ?? 0, prepare: async () => {}, work: contentWork(peer, peer), stop };
  }
  await stop();
  throw new Error('the peer did not start');
}

const HOST = fileURLToPath(new URL('../latency/host.ts', import.meta.url));

/** The requests of clients to a registry. @param puller the caller of the pulls, who only pulls */
function contentWork(pusher: Registry, puller: Registry): Work {
  const get = (path: string) => () => puller.client.send(200, 'GET', path);
  const layer = LAYER ? pusher.blobPath(LAYER) : '';
  return {
    'manifest GET, tag': get(puller.manifestPath(TAG)),
    'manifest GET, digest': get(puller.manifestPath(DIGEST)),
    'blob GET, 4 KiB': get(layer),
    'blob HEAD, may push': () => pusher.client.send(200, 'HEAD', layer),
    'manifest PUT, tag moves': alternately(({ manifest }) => pusher.putManifest(manifest)),
    'push, all there': () => pusher.pushKnown(IMAGE),
  };
}

/** Makes an access key of the administrator, because people and machines log in with keys. @returns NAME:KEY */
async function keyOf(url: string, administrator: string): Promise<string> {
  const response = await fetch(`${url}/api/v1/keys`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(administrator).toString('base64')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ name: 'bench' }),
  });
  if (!response.ok) throw new Error(`POST /keys: ${response.status} ${await response.text()}`);
  return `${administrator.split(':', 1)[0]}:${((await response.json()) as { secret: string }).secret}`;
}
