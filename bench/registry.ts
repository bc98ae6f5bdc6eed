/** A client of a registry (Berth or CNCF Distribution). It sends the same requests as container clients. */
import { Client, type Headers } from './client.ts';
import { type Blob, type Image, MANIFEST_TYPE } from './content.ts';

const REPOSITORY = 'bench/app';
export const TAG = 'latest';
/** The size of a chunk of `pushChunked`. It is no multiple of the part size, so parts contain bytes of two chunks. */
const CHUNK_BYTES = 20_000_000;

export class Registry {
  readonly client: Client;
  readonly #tokenPath: string;
  readonly #basic: Headers;

  readonly url: string;
  readonly credentials: string | null;

  /**
   * @param credentials NAME:PASSWORD, or `null` if the registry needs no login
   * @param actions the actions of the tokens that the client asks for
   */
  constructor(url: string, credentials: string | null, actions = 'pull,push') {
    this.url = url;
    this.credentials = credentials;
    this.client = new Client(url);
    this.#tokenPath = `/token?service=${new URL(url).host}&scope=${encodeURIComponent(`repository:${REPOSITORY}:${actions}`)}`;
    this.#basic = credentials === null ? {} : { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` };
  }

  /** Requests a token and sends it with all later requests. Must be called again before the token expires. */
  async login(): Promise<void> {
    if (this.#basic.authorization === undefined) return;
    this.client.headers = { authorization: `Bearer ${await this.token()}` };
  }

  async token(): Promise<string> {
    const { body } = await this.client.send(200, 'GET', this.#tokenPath, this.#basic);
    return (JSON.parse(body.toString()) as { token: string }).token;
  }

  /** Pushes a blob as containerd and BuildKit do: in one request with the bytes, their length and their digest. */
  async pushDirect(blob: Blob): Promise<void> {
    const location = await this.#begin();
    await this.client.send(201, 'PUT', withDigest(location, blob), OCTETS, { bytes: blob.bytes, sized: true });
  }

  /** Pushes a blob as docker, podman and skopeo do: all bytes in one request without a length, and the digest afterwards. */
  async pushStreamed(blob: Blob): Promise<void> {
    const answer = await this.client.send(202, 'PATCH', await this.#begin(), OCTETS, { bytes: blob.bytes, sized: false });
    await this.client.send(201, 'PUT', withDigest(answer.headers.location ?? '', blob), { 'content-length': '0' });
  }

  /** Pushes a blob as regctl does behind a proxy that limits the size of a request: in several requests of known length. */
  async pushChunked(blob: Blob): Promise<void> {
    let location = await this.#begin();
    for (let at = 0; at < blob.bytes.length; at += CHUNK_BYTES) {
      const bytes = blob.bytes.subarray(at, at + CHUNK_BYTES);
      const headers = { ...OCTETS, 'content-range': `${at}-${at + bytes.length - 1}` };
      const answer = await this.client.send(202, 'PATCH', location, headers, { bytes, sized: true });
      location = pathOf(answer.headers.location ?? '');
    }
    await this.client.send(201, 'PUT', withDigest(location, blob), { 'content-length': '0' });
  }

  async #begin(): Promise<string> {
    const answer = await this.client.send(202, 'POST', `/v2/${REPOSITORY}/blobs/uploads/`, { 'content-length': '0' });
    return pathOf(answer.headers.location ?? '');
  }

  blobPath({ digest }: Blob): string {
    return `/v2/${REPOSITORY}/blobs/${digest}`;
  }

  manifestPath(reference: string): string {
    return `/v2/${REPOSITORY}/manifests/${reference}`;
  }

  async pushImage({ blobs, manifest }: Image): Promise<void> {
    for (const blob of blobs) await this.pushDirect(blob);
    await this.putManifest(manifest);
  }

  /** Pushes an image whose blobs the registry has already: a HEAD request for each blob, and the manifest. */
  async pushKnown({ blobs, manifest }: Image): Promise<void> {
    for (const blob of blobs) await this.client.send(200, 'HEAD', this.blobPath(blob));
    await this.putManifest(manifest);
  }

  async putManifest(manifest: Blob): Promise<void> {
    const headers = { 'content-type': MANIFEST_TYPE };
    await this.client.send(201, 'PUT', this.manifestPath(TAG), headers, { bytes: manifest.bytes, sized: true });
  }
}

const OCTETS = { 'content-type': 'application/octet-stream' };

function withDigest(location: string, { digest }: Blob): string {
  const path = pathOf(location);
  return `${path}${path.includes('?') ? '&' : '?'}digest=${digest}`;
}

/** Returns the path of a location, which may be a path or a URL. */
function pathOf(location: string): string {
  const { pathname, search } = new URL(location, 'http://registry');
  return pathname + search;
}
