/** Pulls images: every byte is hashed, and missing content must have a known reason. */
import { type Contents, digestOf, type Manifest } from './contents.ts';
import type { Repository } from './expectations.ts';
import type { Connection, Log } from './log.ts';

export class Puller {
  readonly #connection: Connection;
  readonly #log: Log;
  /** The known manifests by digest. */
  readonly #known: Map<string, Manifest>;

  constructor(connection: Connection, log: Log, known: Map<string, Manifest>) {
    this.#connection = connection;
    this.#log = log;
    this.#known = known;
  }

  async pullTag(repository: Repository, tag: string): Promise<void> {
    const read = repository.tag(tag).beginRead();
    const path = `/v2/${repository.name}/manifests/${tag}`;
    const { status, bytes } = await this.#connection.send('GET tag', [200, 404], 'GET', path);
    if (status !== 200 && status !== 404) return;
    const digest = status === 200 ? digestOf(bytes) : null;
    const expected = read(digest);
    if (expected !== undefined) this.#log.lose(`tag ${repository.name}:${tag} names ${digest}, and should name ${expected}`);
    if (digest !== null && !this.#known.has(digest)) this.#log.lose(`tag ${repository.name}:${tag} has other bytes: ${digest}`);
  }

  /** Pulls a manifest and all content that it needs. */
  async pull(repository: Repository, manifest: Manifest): Promise<void> {
    const began = performance.now();
    const path = `/v2/${repository.name}/manifests/${manifest.digest}`;
    const { status, bytes } = await this.#connection.send('GET manifest', [200, 404], 'GET', path);
    const isExpected = () => repository.had(manifest.digest, began);
    if (status === 404 && isExpected()) this.#log.lose(`manifest ${manifest.digest} of ${repository.name} is gone`);
    if (status !== 200) return;
    if (digestOf(bytes) !== manifest.digest)
      this.#log.lose(`manifest ${manifest.digest} of ${repository.name} has other bytes`);
    for (const child of manifest.children) await this.#pullPart(repository, `manifests/${child.digest}`, isExpected);
    for (const { digest } of manifest.blobs) await this.#pullPart(repository, `blobs/${digest}`, isExpected);
  }

  async #pullPart(repository: Repository, part: string, isExpected: () => boolean): Promise<void> {
    const path = `/v2/${repository.name}/${part}`;
    const { status, bytes } = await this.#connection.send('GET part', [200, 404], 'GET', path);
    if (status === 404 && isExpected()) this.#log.lose(`${part} of ${repository.name} is gone, and a manifest needs it`);
    if (status === 200 && digestOf(bytes) !== part.split('/')[1])
      this.#log.lose(`${part} of ${repository.name} has other bytes`);
  }

  /** Pulls all content that must exist at the end. */
  async pullAll(repositories: Repository[], { images }: Contents): Promise<number> {
    let pulled = 0;
    for (const repository of repositories) {
      for (const manifest of new Set([...images, ...this.#known.values()])) {
        if (!repository.had(manifest.digest, performance.now())) continue;
        await this.pull(repository, manifest);
        pulled++;
      }
    }
    return pulled;
  }
}
