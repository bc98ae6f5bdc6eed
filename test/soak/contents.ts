/** The content that the clients push: few blobs, and many images that share them. */
import { createHash } from 'node:crypto';
import { Random } from '../history/random.ts';

export const IMAGE_TYPE = 'application/vnd.oci.image.manifest.v1+json';
export const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';

export const TAGS = ['latest', 'v1', 'v2', 'edge', 'stable'];

export interface Blob {
  digest: string;
  size: number;
  /** The bytes, generated at each call, so that they do not take memory. */
  bytes(): Uint8Array<ArrayBuffer>;
}

export interface Manifest {
  digest: string;
  mediaType: string;
  text: string;
  blobs: Blob[];
  /** The children of an index. */
  children: Manifest[];
}

const MAX_LAYERS = 4;
/** The number of bytes of a layer. Most layers are small, so that there are many. */
const SMALL = 2000;
const LARGE = 400_000;
const LARGE_BLOBS = 0.04;
/** The share of manifests that are too large for a row of the database, and the number of bytes added to them. */
const LARGE_MANIFESTS = 0.06;
const PADDING = 140_000;

export class Contents {
  readonly blobs: Blob[];
  readonly images: Manifest[];

  constructor(seed: number, blobs: number, images: number) {
    const random = new Random(seed);
    this.blobs = Array.from({ length: blobs }, (_, n) => {
      const size = 1 + random.below(random.chance(LARGE_BLOBS) ? LARGE : SMALL);
      return blobOf(`${seed} ${n}`, size);
    });
    this.images = [];
    for (let n = 0; n < images; n++) this.images.push(this.#image(random, n));
  }

  #image(random: Random, n: number): Manifest {
    const blobs = [...new Set(Array.from({ length: 2 + random.below(MAX_LAYERS) }, () => random.pick(this.blobs)))];
    const [config, ...layers] = blobs.map(({ digest, size }, at) => ({
      mediaType: at ? LAYER_TYPE : CONFIG_TYPE,
      digest,
      size,
    }));
    const padding = random.chance(LARGE_MANIFESTS) ? { padding: 'x'.repeat(PADDING) } : {};
    const annotations = { n: String(n), ...padding };
    const text = JSON.stringify({ schemaVersion: 2, mediaType: IMAGE_TYPE, config, layers, annotations });
    return { digest: digestOf(text), mediaType: IMAGE_TYPE, text, blobs, children: [] };
  }
}

export function indexOf(children: Manifest[]): Manifest {
  const manifests = children.map(({ digest, text, mediaType }) => ({ mediaType, digest, size: Buffer.byteLength(text) }));
  const text = JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests });
  return { digest: digestOf(text), mediaType: INDEX_TYPE, text, blobs: [], children };
}

export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function blobOf(seed: string, size: number): Blob {
  const bytes = () => {
    const block = createHash('sha512').update(seed).digest();
    return new Uint8Array(Buffer.alloc(size, block));
  };
  return { digest: digestOf(bytes()), size, bytes };
}
