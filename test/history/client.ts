/** One client: sends a request, waits for its answer, and writes both into the history. Its stores may fail. */
import { digestOf } from '../../src/oci/digest.ts';
import { FAULTS, faulty } from '../world/faults.ts';
import { type Send, type World, worldOf } from '../world/world.ts';
import type { Call, Condition, Deed, Told } from './calls.ts';
import type { Contents, Manifest } from './contents.ts';
import type { Random } from './random.ts';
import type { Turns } from './turns.ts';

export interface Stage {
  /** The stores without faults. */
  world: World;
  turns: Turns;
  random: Random;
  contents: Contents;
  history: Call[];
  /** The common clock, which advances at each start and end of a call. */
  clock: { now: number };
  /** Requests whose clients did not wait for the answer. */
  abandoned: Promise<unknown>[];
}

/** The share of requests in which a call to a store fails, and the maximum number of that call. */
const FAULTY = 0.15;
const FAULTY_CALLS = 8;
/**
 * The share of requests whose client does not wait for the answer, and the maximum number of turns that such a client waits.
 * The request continues without the client.
 */
const IMPATIENT = 0.05;
const PATIENCE = 40;

export class Client {
  readonly #name: string;
  readonly #stage: Stage;
  readonly #faults: boolean;

  /** @param faults true if the stores of this client fail sometimes */
  constructor(name: string, stage: Stage, faults: boolean) {
    this.#name = name;
    this.#stage = stage;
    this.#faults = faults;
  }

  put(repository: string, manifest: Manifest, tag: string | null, condition: Condition = null): Promise<Call> {
    const { digest, parts, mediaType, bytes } = manifest;
    const headers = { 'content-type': mediaType, ...headersOf(condition) };
    const path = `/v2/${repository}/manifests/${tag ?? digest}`;
    return this.#call(repository, { kind: 'put', tag, digest, parts, condition }, ['PUT', path, { headers, body: bytes }]);
  }

  rollBack(repository: string, tag: string, digest: string, condition: Condition): Promise<Call> {
    const path = `/api/v1/repositories/${repository}/-/tags/${tag}/rollback`;
    const headers = { 'content-type': 'application/json', ...headersOf(condition) };
    const body = JSON.stringify({ digest });
    return this.#call(repository, { kind: 'roll-back', tag, digest, condition }, ['POST', path, { headers, body }]);
  }

  /** Reads a manifest by tag or digest. */
  read(repository: string, reference: string, method: 'GET' | 'HEAD' = 'GET'): Promise<Call> {
    const named = reference.includes(':') ? { tag: null, digest: reference } : { tag: reference, digest: null };
    return this.#call(repository, { kind: 'read', ...named }, [method, `/v2/${repository}/manifests/${reference}`]);
  }

  delete(repository: string, reference: string): Promise<Call> {
    const deed: Deed = reference.includes(':')
      ? { kind: 'delete-manifest', digest: reference }
      : { kind: 'delete-tag', tag: reference };
    return this.#call(repository, deed, ['DELETE', `/v2/${repository}/manifests/${reference}`]);
  }

  list(repository: string): Promise<Call> {
    return this.#call(repository, { kind: 'list' }, ['GET', `/v2/${repository}/tags/list`]);
  }

  referrers(repository: string, subject: string): Promise<Call> {
    return this.#call(repository, { kind: 'referrers', subject }, ['GET', `/v2/${repository}/referrers/${subject}`]);
  }

  pushBlob(repository: string, digest: string): Promise<Call> {
    const body = this.#stage.contents.blobs.find((blob) => blob.digest === digest)?.bytes ?? null;
    const path = `/v2/${repository}/blobs/uploads/?digest=${digest}`;
    return this.#call(repository, { kind: 'push-blob', digest }, ['POST', path, { body }]);
  }

  mount(repository: string, digest: string, from: string): Promise<Call> {
    const path = `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${from}`;
    return this.#call(repository, { kind: 'mount', digest, from }, ['POST', path]);
  }

  readBlob(repository: string, digest: string, method: 'GET' | 'HEAD' = 'GET'): Promise<Call> {
    return this.#call(repository, { kind: 'read-blob', digest }, [method, `/v2/${repository}/blobs/${digest}`]);
  }

  deleteBlob(repository: string, digest: string): Promise<Call> {
    return this.#call(repository, { kind: 'delete-blob', digest }, ['DELETE', `/v2/${repository}/blobs/${digest}`]);
  }

  async #call(repository: string, deed: Deed, request: [method: string, path: string, send?: Send]): Promise<Call> {
    const { history, clock } = this.#stage;
    const start = ++clock.now;
    const { faulted, owner, response } = await this.#send(request);
    const status = response?.status ?? 0;
    const told = response ? await toldBy(deed, response) : {};
    this.#stage.turns.end(owner);
    const known = status > 0 && status < 500;
    clock.now++;
    const end = known ? clock.now : Number.POSITIVE_INFINITY;
    const call = { client: this.#name, start, end, faulted, repository, deed, status, told };
    history.push(call);
    return call;
  }

  async #send([method, path, init]: [method: string, path: string, init?: Send]) {
    const { world, turns, random, abandoned } = this.#stage;
    const owner = {};
    const env = turns.through(world.env, owner);
    const fault = this.#faults && random.chance(FAULTY) ? random.pick(FAULTS) : undefined;
    const faults = faulty(env, fault, fault && random.below(FAULTY_CALLS));
    turns.begin(owner);
    const answered = worldOf(faults.env).fetch(method, path, init);
    const giveUp = this.#faults && !fault && random.chance(IMPATIENT) ? [turns.pass(random.below(PATIENCE))] : [];
    const unanswered = [faults.stopped, ...giveUp].map((end) => end.then(() => null));
    const response = await Promise.race([answered, ...unanswered]);
    if (giveUp.length > 0) abandoned.push(answered);
    return { faulted: fault !== undefined, owner, response };
  }
}

function headersOf(condition: Condition): Record<string, string> {
  if (condition === null) return {};
  return condition === 'absent' ? { 'if-none-match': '*' } : { 'if-match': `"${condition.match}"` };
}

async function toldBy(deed: Deed, response: Response): Promise<Told> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  const text = () => new TextDecoder().decode(bytes);
  if (response.status === 400 && deed.kind === 'put') return { missing: missingIn(text()) };
  if (response.status !== 200) return {};
  switch (deed.kind) {
    case 'read':
    case 'read-blob': {
      const digest = bytes.length > 0 ? await digestOf('sha256', bytes) : response.headers.get('docker-content-digest');
      return digest === null ? {} : { digest };
    }
    case 'list':
      return { items: (JSON.parse(text()) as { tags: string[] }).tags };
    case 'referrers':
      return { items: (JSON.parse(text()) as { manifests: { digest: string }[] }).manifests.map(({ digest }) => digest) };
    default:
      return {};
  }
}

function missingIn(text: string): string[] {
  const { errors } = JSON.parse(text) as { errors: { code: string; detail: { digest: string }[] }[] };
  return errors.flatMap(({ code, detail }) => (code === 'MANIFEST_BLOB_UNKNOWN' ? detail.map(({ digest }) => digest) : []));
}
