/** The content that is pushed and pulled: a layer with different bytes for each push, and a small image of ten layers. */
import { createHash, randomBytes } from 'node:crypto';

export interface Blob {
  bytes: Buffer;
  digest: string;
}

export interface Image {
  /** The config and the layers of the image. */
  blobs: Blob[];
  manifest: Blob;
}

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
const LAYERS = 10;
const SMALL_BYTES = 1000;

/** Replaces the first bytes of the memory by random ones, and returns it as a layer that no registry has. */
export function nextLayer(memory: Buffer): Blob {
  randomBytes(32).copy(memory);
  return blobOf(memory);
}

export function blobOf(bytes: Buffer): Blob {
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}

export function smallImage(): Image {
  return imageOf(Array.from({ length: LAYERS }, newLayer), newConfig());
}

export function newLayer(): Blob {
  return blobOf(randomBytes(SMALL_BYTES));
}

export function newConfig(): Blob {
  return blobOf(Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', nonce: randomBytes(16).toString('hex') })));
}

export function imageOf(layers: Blob[], config: Blob): Image {
  const describe = ({ bytes, digest }: Blob, mediaType: string) => ({ mediaType, digest, size: bytes.length });
  const document = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: describe(config, CONFIG_TYPE),
    layers: layers.map((layer) => describe(layer, LAYER_TYPE)),
  };
  return { blobs: [config, ...layers], manifest: blobOf(Buffer.from(JSON.stringify(document))) };
}
