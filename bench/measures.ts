/** The measures: the requests to each side, the preparation, and the checks before the measurement. */
import type { Bare } from './bare.ts';
import { rateOf, speedOf } from './client.ts';
import { type Blob, type Image, nextLayer, smallImage } from './content.ts';
import { type Registry, TAG } from './registry.ts';
import type { Measure, Sample, Side } from './rounds.ts';

export interface Sides {
  /** Berth with VERIFY=storage. The measures of small requests use it too. */
  storage: Registry;
  /** Berth with VERIFY=stream. */
  stream: Registry;
  /** The same Berth as `storage`, used by a user with 20 teams and 200 statements. */
  member: Registry;
  bare: Bare;
  distribution: Registry | null;
}

export interface Amounts {
  layerBytes: number;
  /** The duration of a sample in milliseconds. A sample of a push is one push instead. */
  milliseconds: number;
}

/** How one side stores layers: how to push a layer, and how to pull it. */
interface Shelf {
  push(layer: Blob): Promise<void>;
  at: { client: Registry['client']; blobPath(layer: Blob): string };
  /** The path of a layer that was pushed, and whose pull returned the same bytes. */
  held?: string;
}

type Shelves = Partial<Record<Side, Shelf>>;

export function layerMeasures(
  { storage, stream, bare, distribution }: Sides,
  { layerBytes, milliseconds }: Amounts,
): Measure[] {
  const memory = Buffer.alloc(layerBytes, 'not zeros, which a file system may leave out');
  const direct: Shelves = {
    berth: { push: (layer) => storage.pushDirect(layer), at: storage },
    bare: { push: (layer) => bare.pushDirect(layer), at: bare },
    ...(distribution && { distribution: { push: (layer: Blob) => distribution.pushDirect(layer), at: distribution } }),
  };
  const streamed = distribution && {
    distribution: { push: (layer: Blob) => distribution.pushStreamed(layer), at: distribution },
  };
  const staged: Shelves = {
    berth: { push: (layer) => storage.pushStreamed(layer), at: storage },
    bare: { push: (layer) => bare.pushStaged(layer), at: bare },
    ...streamed,
  };
  const hashed: Shelves = {
    berth: { push: (layer) => stream.pushStreamed(layer), at: stream },
    bare: { push: (layer) => bare.pushParts(layer), at: bare },
    ...streamed,
  };
  const chunked: Shelves = {
    berth: { push: (layer) => stream.pushChunked(layer), at: stream },
    bare: { push: (layer) => bare.pushParts(layer), at: bare },
    ...(distribution && { distribution: { push: (layer: Blob) => distribution.pushChunked(layer), at: distribution } }),
  };
  return [
    pushMeasure('push, direct', null, direct, memory),
    pushMeasure('push, staged', 0.95, staged, memory),
    pushMeasure('push, hashed', 0.8, hashed, memory),
    pushMeasure('push, chunks', 0.7, chunked, memory),
    pullMeasure('pull, one put', 0.95, direct, memory, milliseconds),
    pullMeasure('pull, multipart', 0.95, hashed, memory, milliseconds),
  ];
}

/** Returns a measure of pushes. The bytes of every push are new to all sides. */
function pushMeasure(name: string, aim: number | null, shelves: Shelves, memory: Buffer): Measure {
  const sample = ({ push }: Shelf): Sample => {
    return () => {
      const layer = nextLayer(memory);
      return speedOf(memory.length, () => push(layer));
    };
  };
  return { name, unit: 'MB/s', aim, prepare: () => fill(shelves, memory), sides: mapSides(shelves, sample) };
}

/** Returns a measure of pulls. During the measurement the bytes are only counted, because their digest was checked before. */
function pullMeasure(name: string, aim: number | null, shelves: Shelves, memory: Buffer, milliseconds: number): Measure {
  const sample = (shelf: Shelf): Sample => {
    const pull = async () => {
      const size = await shelf.at.client.receive(shelf.held ?? '');
      if (size !== memory.length) throw new Error(`${name}: ${size} bytes came`);
    };
    return () => speedOf(memory.length, pull, milliseconds);
  };
  return { name, unit: 'MB/s', aim, prepare: () => fill(shelves, memory), sides: mapSides(shelves, sample) };
}

async function fill(shelves: Shelves, memory: Buffer): Promise<void> {
  for (const shelf of Object.values(shelves)) shelf.held ??= await pushAndCheck(shelf, nextLayer(memory));
}

async function pushAndCheck({ push, at }: Shelf, layer: Blob): Promise<string> {
  const path = at.blobPath(layer);
  await push(layer);
  const digest = await at.client.digest(path);
  if (digest !== layer.digest) throw new Error(`pushed ${layer.digest}, and pulled ${digest}`);
  return path;
}

/** Returns the measures of small requests. The preparation of the first measure pushes the image that all of them use. */
export function requestMeasures({ storage, member, bare, distribution }: Sides, { milliseconds }: Amounts): Measure[] {
  const image = smallImage();
  const { digest } = image.manifest;
  const measure = (name: string, unit: Measure['unit'], aim: number | null, work: Partial<Record<Side, Work>>): Measure => {
    // The push of an image takes a dozen requests. So its sample takes longer, in order to contain several pushes.
    const sample = (one: Work): Sample => {
      return () => rateOf(one, unit === 'img/s' ? 2 * milliseconds : milliseconds);
    };
    const sides = mapSides(work, sample);
    return { name, unit, aim, prepare: () => warmUp(Object.values(sides)), sides };
  };
  const manifests = (method: 'GET' | 'HEAD', reference: string) => ({
    berth: () => storage.client.send(200, method, storage.manifestPath(reference)),
    bare: () => bare.client.send(200, method, bare.manifestPath(digest)),
    ...(distribution && { distribution: () => distribution.client.send(200, method, distribution.manifestPath(reference)) }),
  });
  const first = measure('manifest GET, tag', 'req/s', 0.6, manifests('GET', TAG));
  const prepare = async () => {
    for (const side of [storage, bare, distribution]) if (side) await pushImageAndCheck(side, image);
    await first.prepare();
  };
  return [
    { ...first, prepare },
    measure('manifest GET, digest', 'req/s', 0.6, manifests('GET', digest)),
    measure('manifest HEAD, tag', 'req/s', null, manifests('HEAD', TAG)),
    measure('token', 'req/s', null, { berth: () => storage.token(), bare: () => bare.client.send(200, 'GET', '/token') }),
    measure('token, 20 teams', 'req/s', null, {
      berth: () => member.token(),
      bare: () => bare.client.send(200, 'GET', '/token'),
    }),
    measure('push, all there', 'img/s', 0.8, {
      berth: () => storage.pushKnown(image),
      bare: () => bare.pushKnown(image),
      ...(distribution && { distribution: () => distribution.pushKnown(image) }),
    }),
  ];
}

type Work = () => Promise<unknown>;

async function warmUp(samples: Sample[]): Promise<void> {
  for (const sample of samples) await sample();
}

async function pushImageAndCheck(side: Registry | Bare, image: Image): Promise<void> {
  await side.pushImage(image);
  const { body } = await side.client.send(200, 'GET', side.manifestPath(image.manifest.digest));
  if (!body.equals(image.manifest.bytes)) throw new Error('the manifest that came is not the one that was put');
}

function mapSides<T>(sides: Partial<Record<Side, T>>, sample: (one: T) => Sample): Partial<Record<Side, Sample>> {
  return Object.fromEntries(Object.entries(sides).map(([side, one]) => [side, sample(one as T)]));
}
