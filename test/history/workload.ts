/**
 * The workload of a run. All clients work concurrently on the same few tags of two repositories. Each client sends one request
 * after the other.
 */
import type { Call, Condition } from './calls.ts';
import { Client, type Stage } from './client.ts';
import type { Manifest } from './contents.ts';
import type { Random } from './random.ts';
import type { Tag } from './registers.ts';

export const REPOSITORIES = ['acme/api', 'acme/web'] as const;
const CLIENTS = 8;
const DEEDS = 26;

/** The tags that the repositories' rule for immutable tags excludes. */
export const MUTABLE_TAGS = ['latest', 'edge'];
const IMMUTABLE_TAGS = ['v1', 'v2'];
export const TAGS: Tag[] = REPOSITORIES.flatMap((repository) => [
  ...MUTABLE_TAGS.map((name) => ({ repository, name, immutable: false })),
  ...IMMUTABLE_TAGS.map((name) => ({ repository, name, immutable: true })),
]);

/** The weight of each kind of request. */
const WEIGHTS = {
  push: 22,
  conditionalPush: 16,
  read: 24,
  rollBack: 6,
  deleteTag: 7,
  deleteManifest: 8,
  list: 6,
  referrers: 4,
  pushBlob: 4,
  readBlob: 3,
  deleteBlob: 5,
  mount: 2,
};

/** Runs the workload. Resolves when every client has sent all its requests, and no request is pending. */
export async function runWorkload(stage: Stage, collect: () => Promise<void>): Promise<void> {
  const clients = Array.from({ length: CLIENTS }, (_, n) => new Person(`client ${n + 1}`, stage));
  let working = true;
  const collecting = (async () => {
    while (working) await collect();
  })();
  await Promise.all(clients.map((client) => client.work()));
  working = false;
  await collecting;
}

/** A client that chooses its requests at random, and remembers what it has read last. */
class Person {
  readonly #client: Client;
  readonly #random: Random;
  readonly #manifests: Manifest[];
  readonly #blobs: string[];
  /** The last seen digest of a tag, for compare-and-swap. */
  readonly #seen = new Map<string, string | null>();

  constructor(name: string, stage: Stage) {
    this.#client = new Client(name, stage, true);
    this.#random = stage.random;
    this.#manifests = stage.contents.manifests;
    this.#blobs = stage.contents.blobs.map(({ digest }) => digest);
  }

  async work(): Promise<void> {
    for (let n = 0; n < DEEDS; n++) await this.#deed();
  }

  async #deed(): Promise<void> {
    const random = this.#random;
    const client = this.#client;
    const { repository, name } = random.pick(TAGS);
    const manifest = random.pick(this.#manifests);
    switch (random.weighted(WEIGHTS)) {
      case 'push':
        return this.#push(repository, manifest, random.chance(0.8) ? name : null, null);
      case 'conditionalPush':
        return this.#push(repository, manifest, name, await this.#condition(repository, name));
      case 'read':
        await this.#look(repository, random.chance(0.8) ? name : manifest.digest);
        return;
      case 'rollBack':
        await client.rollBack(repository, name, manifest.digest, await this.#condition(repository, name));
        return;
      case 'deleteTag':
        await client.delete(repository, name);
        return;
      case 'deleteManifest':
        await client.delete(repository, manifest.digest);
        return;
      case 'list':
        await client.list(repository);
        return;
      case 'referrers':
        await client.referrers(repository, (this.#manifests[0] as Manifest).digest);
        return;
      case 'pushBlob':
        await client.pushBlob(repository, random.pick(this.#blobs));
        return;
      case 'readBlob':
        await client.readBlob(repository, random.pick(this.#blobs), random.pick(['GET', 'HEAD']));
        return;
      case 'deleteBlob':
        await client.deleteBlob(repository, random.pick(this.#blobs));
        return;
      case 'mount':
        await client.mount(repository, random.pick(this.#blobs), other(repository));
    }
  }

  async #look(repository: string, reference: string): Promise<Call> {
    const call = await this.#client.read(repository, reference, this.#random.pick(['GET', 'HEAD']));
    if (call.status === 200 || call.status === 404) this.#seen.set(`${repository}:${reference}`, call.told.digest ?? null);
    return call;
  }

  /** A condition with the digest that the client reads now, or has read some time ago. */
  async #condition(repository: string, tag: string): Promise<Condition> {
    if (this.#random.chance(0.6)) await this.#look(repository, tag);
    const seen = this.#seen.get(`${repository}:${tag}`) ?? null;
    return seen === null ? 'absent' : { match: seen };
  }

  /** Pushes a manifest as clients do: it pushes the missing blobs, with a mount if possible, and puts the manifest again. */
  async #push(repository: string, manifest: Manifest, tag: string | null, condition: Condition): Promise<void> {
    for (let tries = 0; tries < 3; tries++) {
      const { told } = await this.#client.put(repository, manifest, tag, condition);
      if (!told.missing?.length) return;
      for (const digest of told.missing) await this.#bring(repository, digest);
    }
  }

  async #bring(repository: string, digest: string): Promise<void> {
    const manifest = this.#manifests.find((one) => one.digest === digest);
    if (manifest) return this.#push(repository, manifest, null, null);
    if (this.#random.chance(0.4) && (await this.#client.mount(repository, digest, other(repository))).status === 201) return;
    await this.#client.pushBlob(repository, digest);
  }
}

function other(repository: string): string {
  return REPOSITORIES.find((one) => one !== repository) ?? repository;
}
