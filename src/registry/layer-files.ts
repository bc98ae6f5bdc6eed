/** Lists the files of a layer while its archive is read from R2. The contents of the files are not kept. */
import { type Env, settings, type Vars } from '../env.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { type TarEntry, TarError, TarLister } from '../oci/tar.ts';
import { ZstdError } from '../oci/zstd-frames.ts';
import { unzstd } from '../storage/unzstd.ts';
import { perDatabase } from '../telemetry.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import { openBlob, statBlob } from './blobs.ts';

export type { TarEntry };

export interface LayerFiles {
  entries: TarEntry[];
  /** The number of characters in the paths and link targets of all entries. */
  characters: number;
  /** True if the layer has more entries than the list. */
  truncated: boolean;
}

/** The maximum number of entries in a list. A large base image has some thousand files. */
const ENTRIES_MAX = 20_000;
/** The maximum ratio of unpacked to packed bytes. A layer full of zeros could be unpacked to a thousand times its size. */
const EXPANSION_MAX = 40;

/** The lists that this isolate made last, by digest. A digest always has the same content, so a list cannot become outdated. */
class Lists {
  readonly #lists = new Map<string, LayerFiles>();
  #weight = 0;

  get(digest: string): LayerFiles | undefined {
    return this.#lists.get(digest);
  }

  add(digest: string, files: LayerFiles): void {
    this.#lists.set(digest, files);
    this.#weight += weightOf(files);
    for (const [oldest, dropped] of this.#lists) {
      if (this.#weight <= LISTS_WEIGHT_MAX || oldest === digest) break;
      this.#lists.delete(oldest);
      this.#weight -= weightOf(dropped);
    }
  }
}

/** Some 30 MB. */
const LISTS_WEIGHT_MAX = 150_000;
/** The weight of an entry is 1, and that of this many characters. */
const WEIGHED_CHARACTERS = 60;

function weightOf({ entries, characters }: LayerFiles): number {
  return 1 + entries.length + characters / WEIGHED_CHARACTERS;
}

const listsIn = perDatabase(() => new Lists());

type Reading = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/**
 * Lists the files of a layer of the repository.
 * @throws blob-unknown; too-much-work if the layer is larger than `LAYER_FILES_BYTES`; conflict if the layer is no readable
 * archive
 */
export async function listLayerFiles(
  env: Reading,
  repository: RepositoryName,
  digest: Digest,
  now: number,
): Promise<LayerFiles> {
  const blob = await statBlob(env, repository, digest, now);
  const lists = listsIn(env);
  const known = lists.get(digest);
  if (known) return known;
  const { layerFilesBytes: most } = settings(env);
  if (blob.size > most) throw tooLarge(blob.size, most);
  const stream = await openBlob(env, repository, blob, { range: null, now });
  const files = await filesOf(stream, blob.size * EXPANSION_MAX + 1024 * 1024);
  lists.add(digest, files);
  return files;
}

function tooLarge(size: number, most: number): Refusal {
  return new Refusal('too-much-work', {
    message: `the layer has ${size} bytes: files are listed of layers of up to ${most} bytes (LAYER_FILES_BYTES)`,
  });
}

interface Sized {
  digest: Digest;
  size: number;
}

/** Layers that one request reads. Each takes a call of D1 and one of R2, of which the free plan allows 50 for a request. */
const READS_MAX = 20;

/** `unread`: the list is not there, and was not made. */
export type ListedLayer<L extends Sized> = { layer: L; files: LayerFiles | Refusal | 'unread' };

/**
 * Lists the files of layers of the repository: those that were listed lately, and, if `read` is set, others of up to
 * `LAYER_FILES_BYTES` together, each layer once.
 */
export async function listFilesOfLayers<L extends Sized>(
  env: Reading,
  repository: RepositoryName,
  layers: readonly L[],
  { read, now }: { read: boolean; now: number },
): Promise<Map<string, ListedLayer<L>>> {
  const found = new Map<string, ListedLayer<L>>();
  const { layerFilesBytes: most } = settings(env);
  let left = most;
  let reads = 0;
  for (const layer of layers) {
    if (found.has(layer.digest)) continue;
    let files: ListedLayer<L>['files'] = listsIn(env).get(layer.digest) ?? 'unread';
    if (files === 'unread' && layer.size > most) files = tooLarge(layer.size, most);
    if (files === 'unread' && read && layer.size <= left && reads < READS_MAX) {
      reads++;
      left -= layer.size;
      files = await listLayerFiles(env, repository, layer.digest, now).catch(unlistable);
    }
    found.set(layer.digest, { layer, files });
  }
  return found;
}

/** Layers that cannot be listed: foreign ones, which no registry stores, among them. */
function unlistable(error: unknown): Refusal {
  if (isRefusal(error, 'conflict', 'too-much-work', 'blob-unknown')) return error;
  throw error;
}

async function filesOf(stream: ReadableStream<Uint8Array>, mostBytes: number): Promise<LayerFiles> {
  const lister = new TarLister(ENTRIES_MAX);
  const listed = (truncated: boolean) => ({ entries: lister.entries, characters: lister.characters, truncated });
  let bytes = 0;
  try {
    for await (const chunk of unpacked(stream)) {
      bytes += chunk.byteLength;
      if (bytes > mostBytes) return listed(true);
      lister.push(chunk);
      if (lister.done) break;
    }
    lister.end();
  } catch (cause) {
    if (cause instanceof TarError || cause instanceof ZstdError)
      throw new Refusal('conflict', { message: `${cause.message}: its files cannot be listed`, cause });
    // The runtime reports damaged gzip data as a TypeError.
    if (cause instanceof TypeError)
      throw new Refusal('conflict', { message: 'the layer is no valid gzip: its files cannot be listed', cause });
    throw cause;
  }
  return listed(lister.truncated);
}

/** Yields the unpacked layer. The compression is recognized by the first bytes, because media types are not always right. */
async function* unpacked(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  const { value: first = new Uint8Array() } = await reader.read();
  const whole = new ReadableStream<Uint8Array>({
    start: (controller) => (first.length > 0 ? controller.enqueue(first) : controller.close()),
    async pull(controller) {
      const { value, done } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  if (first[0] === 0x1f && first[1] === 0x8b) yield* whole.pipeThrough<Uint8Array>(new DecompressionStream('gzip') as never);
  else if (isZstd(first)) yield* unzstd(whole);
  else yield* whole;
}

/** True for the beginning of a frame, also of one without content. */
function isZstd([b0 = 0, b1, b2, b3]: Uint8Array): boolean {
  if (b0 === 0x28) return b1 === 0xb5 && b2 === 0x2f && b3 === 0xfd;
  return (b0 & 0xf0) === 0x50 && b1 === 0x2a && b2 === 0x4d && b3 === 0x18;
}
