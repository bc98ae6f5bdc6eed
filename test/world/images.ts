/** Creates blobs and manifests and pushes them, for tests that need an image but are about something else. */

import { expect } from 'vitest';
import { type Digest, digestOf } from '../../src/oci/digest.ts';
import type { World } from './world.ts';

export const IMAGE_TYPE = 'application/vnd.oci.image.manifest.v1+json';
export const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';
export const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
export const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';

export interface Content {
  bytes: Uint8Array<ArrayBuffer>;
  digest: Digest;
}

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  [field: string]: unknown;
}

export async function contentOf(
  bytes: Uint8Array<ArrayBuffer> | string,
  algorithm: 'sha256' | 'sha512' = 'sha256',
): Promise<Content> {
  const data = typeof bytes === 'string' ? new Uint8Array(new TextEncoder().encode(bytes)) : bytes;
  return { bytes: data, digest: await digestOf(algorithm, data) };
}

/** Returns pseudo-random bytes, which are the same for the same seed. */
export function noise(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let state = seed * 2654435761 + 1;
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

export function descriptorOf(content: Content, mediaType: string, more: Record<string, unknown> = {}): Descriptor {
  return { mediaType, digest: content.digest, size: content.bytes.byteLength, ...more };
}

/** Pushes a blob in one request (end-4b). */
export async function pushBlob(world: World, repository: string, bytes: Uint8Array<ArrayBuffer> | string): Promise<Content> {
  const content = await contentOf(bytes);
  const response = await world.fetch('POST', `/v2/${repository}/blobs/uploads/?digest=${content.digest}`, {
    body: content.bytes,
  });
  expect(response.status).toBe(201);
  return content;
}

export async function putManifest(
  world: World,
  repository: string,
  reference: string,
  document: unknown,
  mediaType = IMAGE_TYPE,
): Promise<Response> {
  const body = typeof document === 'string' ? document : JSON.stringify(document);
  return world.fetch('PUT', `/v2/${repository}/manifests/${reference}`, { headers: { 'content-type': mediaType }, body });
}

/** Pushes a config and a layer, and returns a manifest that references them. Each `seed` results in a different manifest. */
export async function imageIn(
  world: World,
  repository: string,
  seed = 1,
  more: Record<string, unknown> = {},
): Promise<Content> {
  const config = await pushBlob(world, repository, `{"seed":${seed}}`);
  const layer = await pushBlob(world, repository, noise(100, seed));
  return contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_TYPE,
      config: descriptorOf(config, CONFIG_TYPE),
      layers: [descriptorOf(layer, LAYER_TYPE)],
      ...more,
    }),
  );
}

export async function pushImage(
  world: World,
  repository: string,
  reference: string | null,
  seed = 1,
  more: Record<string, unknown> = {},
): Promise<Content> {
  const image = await imageIn(world, repository, seed, more);
  const response = await putManifest(world, repository, reference ?? image.digest, new TextDecoder().decode(image.bytes));
  expect(response.status).toBe(201);
  return image;
}

export function textOf({ bytes }: Content): string {
  return new TextDecoder().decode(bytes);
}

/** Returns an index of manifests of the same type. */
export async function indexOf(
  children: Content[],
  more: Record<string, unknown> = {},
  childType = IMAGE_TYPE,
): Promise<Content> {
  const manifests = children.map((child) => descriptorOf(child, childType));
  return contentOf(JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests, ...more }));
}

/** Returns the status and the first error code of a refusal. Expects that the body has the form of an error. */
export async function refusal(response: Response): Promise<string> {
  const text = await response.text();
  const { errors } = JSON.parse(text) as { errors: { code: string; message: string }[] };
  expect(response.headers.get('content-type')).toContain('application/json');
  return `${response.status} ${errors[0]?.code}`;
}
