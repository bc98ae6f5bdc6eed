/** One of the clients. It pushes, moves, deletes and pulls, and sometimes finishes a push only later. */
import type { Random } from '../history/random.ts';
import { type Blob, type Contents, indexOf, type Manifest, TAGS } from './contents.ts';
import type { Repository, Thing } from './expectations.ts';
import type { Connection, Log } from './log.ts';
import { Pusher, type Terms } from './pushing.ts';
import { Puller } from './reading.ts';

export interface Soak {
  random: Random;
  log: Log;
  terms: Terms;
  contents: Contents;
  repositories: Repository[];
  /** All manifests that any client may have pushed. */
  known: Map<string, Manifest>;
}

const WEIGHTS = { push: 30, index: 4, pull: 16, pullTag: 12, deleteTag: 5, deleteManifest: 22, deleteBlob: 4, abandon: 2 };
/** The share of pushes whose manifest follows later, when half of the lease of the blobs is over. */
const LATER = 0.3;
const LATER_MAX = 12;
/** The share of these pushes whose manifest never follows. */
const FORSAKEN = 0.15;
/** The share of operations that delete a repository. */
const REPOSITORY_DELETIONS = 0.004;
const TRIES = 3;

export class Person {
  readonly #soak: Soak;
  readonly #connection: Connection;
  readonly #pusher: Pusher;
  readonly #puller: Puller;
  #later: { at: number; work: () => Promise<void> }[] = [];

  constructor(soak: Soak, connection: Connection) {
    const { random, log, terms, known } = soak;
    this.#soak = soak;
    this.#connection = connection;
    this.#pusher = new Pusher(connection, random, log, terms);
    this.#puller = new Puller(connection, log, known);
  }

  async deed(): Promise<void> {
    const due = this.#later.findIndex(({ at }) => at <= performance.now());
    if (due >= 0) return this.#later.splice(due, 1)[0]?.work();
    const { random, repositories, contents } = this.#soak;
    const repository = random.pick(repositories);
    const image = random.pick(contents.images);
    if (random.chance(REPOSITORY_DELETIONS)) return this.#deleteRepository(repository);
    switch (random.weighted(WEIGHTS)) {
      case 'push':
        return this.#push(repository, image);
      case 'index':
        return this.#pushIndex(repository);
      case 'pull':
        return this.#puller.pull(repository, this.#likely(repository, image));
      case 'pullTag':
        return this.#puller.pullTag(repository, random.pick(TAGS));
      case 'deleteTag':
        return this.#deleteTag(repository, random.pick(TAGS));
      case 'deleteManifest':
        return this.#deleteManifest(repository, this.#likely(repository, image));
      case 'deleteBlob':
        return this.#deleteBlob(repository, random.pick(contents.blobs));
      default:
        return this.#pusher.abandon(repository, random.pick(contents.blobs));
    }
  }

  /** Finishes all pushes that were left for later, without regard to their planned time. */
  async finish(): Promise<void> {
    for (const { work } of this.#later.splice(0)) await work();
  }

  /** A manifest that probably exists in the repository. `fallback` if none is found quickly. */
  #likely(repository: Repository, fallback: Manifest): Manifest {
    const { random, known } = this.#soak;
    const there = [...known.values()].filter(({ digest }) => repository.had(digest, performance.now()));
    return there.length > 0 && random.chance(0.9) ? random.pick(there) : fallback;
  }

  async #push(repository: Repository, image: Manifest): Promise<void> {
    const { random, repositories, terms } = this.#soak;
    const others = repositories.filter((other) => other !== repository);
    for (const blob of image.blobs) await this.#pusher.bringBlob(repository, blob, others);
    if (random.chance(FORSAKEN)) return;
    const tag = random.chance(0.6) ? random.pick(TAGS) : null;
    const put = () => this.#put(repository, image, tag);
    if (this.#later.length >= LATER_MAX || !random.chance(LATER)) return put();
    this.#later.push({ at: performance.now() + random.next() * terms.lease, work: put });
  }

  /** Puts a manifest. Pushes content that is missing (deleted, or without a lease), and puts the manifest again. */
  async #put(repository: Repository, manifest: Manifest, tag: string | null): Promise<void> {
    this.#soak.known.set(manifest.digest, manifest);
    for (let tries = 0; tries < TRIES; tries++) {
      const missing = await this.#pusher.putManifest(repository, manifest, tag);
      if (missing.length === 0) return;
      for (const blob of manifest.blobs.filter(({ digest }) => missing.includes(digest))) {
        await this.#pusher.upload(repository, blob);
      }
    }
  }

  async #pushIndex(repository: Repository): Promise<void> {
    const { random, known } = this.#soak;
    const there = [...known.values()].filter(
      ({ digest, children }) => children.length === 0 && repository.had(digest, performance.now()),
    );
    if (there.length < 2) return;
    const children = [...new Set([random.pick(there), random.pick(there)])];
    return this.#put(repository, indexOf(children), random.chance(0.5) ? random.pick(TAGS) : null);
  }

  async #deleteTag(repository: Repository, tag: string): Promise<void> {
    const written = repository.tag(tag).beginWrite();
    const path = `/v2/${repository.name}/manifests/${tag}`;
    const { status } = await this.#connection.send('DELETE tag', [202, 404], 'DELETE', path);
    written(status === 202 || status === 404 ? null : undefined);
  }

  async #deleteManifest(repository: Repository, { digest }: Manifest): Promise<void> {
    const certain = repository.beginDoubt();
    await this.#delete('manifest', repository.thing(digest), `/v2/${repository.name}/manifests/${digest}`, [202, 404, 405]);
    certain();
  }

  async #deleteBlob(repository: Repository, { digest }: Blob): Promise<void> {
    await this.#delete('blob', repository.thing(digest), `/v2/${repository.name}/blobs/${digest}`, [202, 404, 405]);
  }

  async #deleteRepository(repository: Repository): Promise<void> {
    const certain = repository.beginDoubt();
    await this.#delete('repository', repository.itself, `/api/v1/repositories/${repository.name}?force=true`, [200, 404]);
    certain();
  }

  async #delete(what: string, thing: Thing, path: string, expected: number[]): Promise<void> {
    const ended = thing.beginDeletion();
    const { status } = await this.#connection.send(`DELETE ${what}`, expected, 'DELETE', path);
    ended(status >= 500 ? null : status < 300);
  }
}
