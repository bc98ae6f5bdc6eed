/**
 * The load generator. It sends several requests at the same time over open connections, with bodies as container clients send
 * them.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';

/** The number of concurrent requests, and of connections. */
export const CONCURRENCY = 16;
/** The size in bytes of the buffer into which a pull is read. */
const RECEIVE_BYTES = 1024 * 1024;
/** The size in bytes of a chunk of the transfer encoding. docker sends a layer in chunks of this size. */
const CHUNK_BYTES = 32 * 1024;

export type Headers = Record<string, string>;

export interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  body: Buffer;
}

export interface Body {
  bytes: Buffer;
  /** True if the body is sent with a Content-Length. docker, podman and skopeo send layers without one. */
  sized: boolean;
}

/** The Accept header of clients. CNCF Distribution sends an OCI manifest only to clients that accept its type. */
const ACCEPT = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  '*/*',
].join(', ');

/** A client of one server. It sends `headers` with every request. */
export class Client {
  headers: Headers = {};
  readonly #url: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY });

  constructor(url: string) {
    this.#url = new URL(url);
  }

  /** Sends a request and reads the whole answer. @throws Error if the status is not `expected` */
  async send(expected: number, method: string, path: string, headers: Headers = {}, body?: Body): Promise<Answer> {
    const response = await this.#open(method, path, headers, body);
    const pieces: Buffer[] = [];
    response.on('data', (piece: Buffer) => pieces.push(piece));
    await once(response, 'end');
    const answer = { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces) };
    if (answer.status === expected) return answer;
    throw new Error(`${method} ${path} answered ${answer.status}, not ${expected}: ${answer.body.toString().slice(0, 500)}`);
  }

  /**
   * Sends a GET, and counts the bytes of the answer without keeping them. The bytes are read from the socket into one buffer,
   * because node:http would take more CPU time for a pull than the Worker does.
   * @returns the number of bytes of the body
   */
  receive(path: string): Promise<number> {
    const { hostname, port } = this.#url;
    const headers = { host: this.#url.host, connection: 'close', ...this.headers };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    return new Promise((resolve, reject) => {
      const counter = new Counter();
      const callback = (length: number, buffer: Uint8Array) => {
        if (!counter.add(buffer.subarray(0, length))) return true;
        socket.destroy();
        resolve(counter.received);
        return false;
      };
      const onread = { buffer: Buffer.alloc(RECEIVE_BYTES), callback };
      const socket = connect({ host: hostname, port: Number(port), onread });
      socket.once('error', reject);
      socket.once('close', () => reject(new Error(`GET ${path} answered ${counter.head} and ${counter.received} bytes`)));
      socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
    });
  }

  /** Sends a GET request and returns the digest of the answer's body. */
  async digest(path: string): Promise<string> {
    const { body } = await this.send(200, 'GET', path);
    return `sha256:${createHash('sha256').update(body).digest('hex')}`;
  }

  async #open(method: string, path: string, headers: Headers, body?: Body): Promise<IncomingMessage> {
    const length: Headers = body?.sized ? { 'content-length': String(body.bytes.length) } : {};
    const sending = request({
      host: this.#url.hostname,
      port: this.#url.port,
      agent: this.#agent,
      method,
      path,
      headers: { accept: ACCEPT, ...this.headers, ...length, ...headers },
    });
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      sending.once('response', resolve);
      sending.once('error', reject);
    });
    if (body && !body.sized) await writeChunks(sending, body.bytes);
    sending.end(body?.sized ? body.bytes : undefined);
    return response;
  }
}

/** Counts the bytes of an answer's body. Of the headers it reads only Content-Length, to find the end. */
class Counter {
  head = '';
  received = 0;
  #expected = Number.POSITIVE_INFINITY;

  /** Adds received bytes. @returns true if the answer is complete */
  add(bytes: Uint8Array): boolean {
    this.received += bytes.length;
    if (this.#expected === Number.POSITIVE_INFINITY) this.#readHead(bytes);
    return this.received >= this.#expected;
  }

  #readHead(bytes: Uint8Array): void {
    const text = this.head + Buffer.from(bytes).toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    this.head = end < 0 ? text : text.slice(0, end);
    if (end < 0 || !this.head.startsWith('HTTP/1.1 200 ')) return;
    this.received = text.length - end - 4;
    this.#expected = Number(/^content-length: *(\d+)/im.exec(this.head)?.[1] ?? Number.NaN);
  }
}

async function writeChunks(sending: ClientRequest, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    if (!sending.write(bytes.subarray(at, at + CHUNK_BYTES))) await once(sending, 'drain');
  }
}

/** Returns how many times per second `one` finishes if it runs `CONCURRENCY` times at once, for `milliseconds`. */
export async function rateOf(one: () => Promise<unknown>, milliseconds: number): Promise<number> {
  const start = performance.now();
  let done = 0;
  const lane = async () => {
    while (performance.now() - start < milliseconds) {
      await one();
      done++;
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return done / ((performance.now() - start) / 1000);
}

/**
 * Returns the speed of `work` in MB (million bytes) per second. One run of `work` moves `size` bytes. It is repeated for
 * `milliseconds`, but runs at least once.
 */
export async function speedOf(size: number, work: () => Promise<unknown>, milliseconds = 0): Promise<number> {
  const start = performance.now();
  let moved = 0;
  do {
    await work();
    moved += size;
  } while (performance.now() - start < milliseconds);
  return moved / 1e6 / ((performance.now() - start) / 1000);
}
