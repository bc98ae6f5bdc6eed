/**
 * The client of the bare Worker (`workers/bare.ts`). Its requests move the same bytes and rows as the requests to the registry.
 */
import { Client } from './client.ts';
import { type Blob, type Image, MANIFEST_TYPE } from './content.ts';

export class Bare {
  readonly client: Client;

  constructor(url: string) {
    this.client = new Client(url);
  }

  async pushDirect({ bytes, digest }: Blob): Promise<void> {
    await this.client.send(201, 'PUT', `/direct/${hexOf(digest)}`, {}, { bytes, sized: true });
  }

  async pushStaged({ bytes, digest }: Blob): Promise<void> {
    await this.client.send(201, 'PUT', `/staged/${hexOf(digest)}`, {}, { bytes, sized: false });
  }

  async pushParts({ bytes, digest }: Blob): Promise<void> {
    await this.client.send(201, 'PUT', `/parts/${hexOf(digest)}`, {}, { bytes, sized: false });
  }

  blobPath({ digest }: Blob): string {
    return `/object/${hexOf(digest)}`;
  }

  manifestPath(digest: string): string {
    return `/manifest/${digest}`;
  }

  async pushImage({ blobs, manifest }: Image): Promise<void> {
    for (const { bytes, digest } of blobs) await this.client.send(201, 'PUT', `/blob/${digest}`, {}, { bytes, sized: true });
    await this.putManifest(manifest);
  }

  async pushKnown({ blobs, manifest }: Image): Promise<void> {
    for (const { digest } of blobs) await this.client.send(200, 'HEAD', `/blob/${digest}`);
    await this.putManifest(manifest);
  }

  async putManifest({ bytes, digest }: Blob): Promise<void> {
    const headers = { 'content-type': MANIFEST_TYPE };
    await this.client.send(201, 'PUT', `/manifest/latest@${digest}`, headers, { bytes, sized: true });
  }
}

function hexOf(digest: string): string {
  return digest.slice('sha256:'.length);
}
