/** Pushes blobs and manifests in every way of the protocol, and records the content that the client may rely on. */
import type { Random } from '../history/random.ts';
import type { Blob, Manifest } from './contents.ts';
import type { Repository } from './expectations.ts';
import type { Connection, Log } from './log.ts';

export interface Terms {
  /** The milliseconds for which a manifest may use an acknowledged blob: half a lease, because a lease is extended at half. */
  lease: number;
}

const OCTETS = { 'content-type': 'application/octet-stream' };

export class Pusher {
  readonly #connection: Connection;
  readonly #random: Random;
  readonly #log: Log;
  readonly #terms: Terms;

  constructor(connection: Connection, random: Random, log: Log, terms: Terms) {
    this.#connection = connection;
    this.#random = random;
    this.#log = log;
    this.#terms = terms;
  }

  /** Brings a blob into a repository as clients do: it checks if the blob exists, mounts it, or uploads it. */
  async bringBlob(repository: Repository, blob: Blob, others: Repository[]): Promise<void> {
    const way = this.#random.weighted({ ask: 5, mount: 2, upload: 3 });
    if (way === 'ask' && (await this.#ask(repository, blob))) return;
    if (way === 'mount' && (await this.#mount(repository, blob, this.#random.pick(others)))) return;
    await this.upload(repository, blob);
  }

  async #ask(repository: Repository, { digest }: Blob): Promise<boolean> {
    const path = `/v2/${repository.name}/blobs/${digest}`;
    const { status, start } = await this.#connection.send('HEAD blob', [200, 404], 'HEAD', path);
    if (status === 200) repository.thing(digest).acknowledge(start, performance.now());
    else if (status === 404 && repository.had(digest, start, this.#terms.lease)) {
      this.#log.lose(`blob ${digest} of ${repository.name} is gone within its lease (HEAD)`);
    }
    return status === 200;
  }

  async #mount(repository: Repository, { digest }: Blob, from: Repository): Promise<boolean> {
    const path = `/v2/${repository.name}/blobs/uploads/?mount=${digest}&from=${from.name}`;
    const { status, start, headers } = await this.#connection.send('mount', [201, 202], 'POST', path);
    if (status === 201) repository.thing(digest).acknowledge(start, performance.now());
    if (status === 202) await this.#cancel(headers.get('location') ?? '');
    return status === 201;
  }

  async upload(repository: Repository, blob: Blob): Promise<void> {
    const way = this.#random.pick(['single', 'put', 'chunks'] as const);
    const uploads = `/v2/${repository.name}/blobs/uploads/`;
    const body = blob.bytes();
    const done = (status: number, start: number) => {
      if (status === 201) repository.thing(blob.digest).acknowledge(start, performance.now());
    };
    if (way === 'single') {
      const path = `${uploads}?digest=${blob.digest}`;
      const { status, start } = await this.#connection.send('POST blob', [201], 'POST', path, { headers: OCTETS, body });
      return done(status, start);
    }
    let location = await this.#begin(uploads);
    if (location === null) return;
    if (way === 'chunks') location = await this.#chunks(location, body);
    if (location === null) return;
    const path = `${location}?digest=${blob.digest}`;
    const rest = way === 'put' ? { headers: OCTETS, body } : {};
    const { status, start } = await this.#connection.send(`PUT blob (${way})`, [201], 'PUT', path, rest);
    done(status, start);
  }

  async #begin(uploads: string): Promise<string | null> {
    const { status, headers } = await this.#connection.send('POST upload', [202], 'POST', uploads);
    return status === 202 ? headers.get('location') : null;
  }

  async #chunks(location: string, bytes: Uint8Array<ArrayBuffer>): Promise<string | null> {
    const cut = this.#random.chance(0.5) ? bytes.byteLength : this.#random.below(bytes.byteLength);
    let at: string | null = location;
    for (const body of [bytes.slice(0, cut), bytes.slice(cut)]) {
      if (body.byteLength === 0 || at === null) continue;
      const { status, headers } = await this.#connection.send('PATCH', [202], 'PATCH', at, { headers: OCTETS, body });
      at = status === 202 ? headers.get('location') : null;
    }
    return at;
  }

  /** Starts an upload and gives it up: it is cancelled, or left unfinished. */
  async abandon(repository: Repository, blob: Blob): Promise<void> {
    const location = await this.#begin(`/v2/${repository.name}/blobs/uploads/`);
    if (location === null) return;
    const after = await this.#chunks(location, blob.bytes());
    if (after && this.#random.chance(0.5)) await this.#cancel(after);
  }

  async #cancel(location: string): Promise<void> {
    await this.#connection.send('DELETE upload', [204], 'DELETE', location);
  }

  /** Puts a manifest. Missing content that the client may rely on is a loss. @returns the missing digests; `[]` if accepted */
  async putManifest(repository: Repository, manifest: Manifest, tag: string | null): Promise<string[]> {
    const path = `/v2/${repository.name}/manifests/${tag ?? manifest.digest}`;
    const written = tag === null ? null : repository.tag(tag).beginWrite();
    const send = { headers: { 'content-type': manifest.mediaType }, body: manifest.text };
    const { status, start, bytes } = await this.#connection.send('PUT manifest', [201, 400], 'PUT', path, send);
    written?.(status === 201 ? manifest.digest : undefined);
    if (status === 201) repository.thing(manifest.digest).acknowledge(start, performance.now());
    if (status !== 400) return [];
    const { errors } = JSON.parse(new TextDecoder().decode(bytes)) as {
      errors: { code: string; detail?: { digest: string }[] }[];
    };
    const missing = errors.flatMap(({ code, detail }) =>
      code === 'MANIFEST_BLOB_UNKNOWN' ? (detail ?? []).map(({ digest }) => digest) : [],
    );
    if (missing.length === 0) this.#log.complain(`PUT ${path}: ${errors[0]?.code}`);
    for (const digest of missing) {
      const isBlob = manifest.children.length === 0;
      if (repository.had(digest, start, isBlob ? this.#terms.lease : undefined)) {
        this.#log.lose(`${digest} of ${repository.name} was acknowledged, and is missing to manifest ${manifest.digest}`);
      }
    }
    return missing;
  }
}
