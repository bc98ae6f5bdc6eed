/**
 * Sends HTTP/1.1 byte by byte, for requests that no client library would send. An exchange is one connection, with the bytes
 * that the test writes and the answers that it reads, until the server or the test closes the connection.
 */
import { connect, type Socket } from 'node:net';
import type { Target } from '../world/registry.ts';

export interface Answer {
  status: number;
  headers: Map<string, string>;
  body: Buffer;
}

export interface Connection {
  write(data: string | Uint8Array): void;
  /** Writes bytes, and waits until all of them were accepted or the connection has ended. */
  sent(data: Uint8Array): Promise<void>;
  /** Reads the next answer. `null` if the connection ends without one. */
  answer(options?: { to?: string }): Promise<Answer | null>;
  /** Ends the sending side. Answers can still be read. */
  end(): void;
  /** Closes the connection at once, like a client that is killed. */
  hangUp(): void;
}

export function connection(target: Target): Promise<Connection> {
  const [host, port] = target.host.split(':');
  const socket = connect({ host, port: Number(port), allowHalfOpen: true });
  const input = new Input(socket);
  const opened: Connection = {
    write: (data) => void socket.write(data),
    sent: (data) => new Promise((resolve) => void socket.write(data, () => resolve())),
    answer: ({ to = 'GET' } = {}) => readAnswer(input, to),
    end: () => void socket.end(),
    hangUp: () => socket.resetAndDestroy(),
  };
  return new Promise((resolve, reject) => {
    socket.once('connect', () => resolve(opened));
    socket.once('error', reject);
  });
}

/** Sends one request on a new connection. @param lines the headers besides Host and Authorization */
export async function exchange(
  target: Target,
  request: string,
  lines: string[] = [],
  body: string | Uint8Array = '',
): Promise<Answer | null> {
  const open = await connection(target);
  open.write(head(target, request, lines));
  open.write(body);
  const answer = await open.answer({ to: request.split(' ', 1)[0] ?? '' });
  open.hangUp();
  return answer;
}

/** The request line and the headers of a request by the administrator. */
export function head({ host, username, password }: Target, request: string, lines: string[] = []): string {
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  return `${[`${request} HTTP/1.1`, `Host: ${host}`, `Authorization: ${authorization}`, ...lines].join('\r\n')}\r\n\r\n`;
}

/** A body in the chunked encoding, without the last chunk. */
export function chunked(bytes: Uint8Array, size = 64 * 1024): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.byteLength; at += size) {
    const piece = bytes.subarray(at, at + size);
    pieces.push(Buffer.from(`${piece.byteLength.toString(16)}\r\n`), Buffer.from(piece), Buffer.from('\r\n'));
  }
  return Buffer.concat(pieces);
}

export const LAST_CHUNK = '0\r\n\r\n';

async function readAnswer(input: Input, method: string): Promise<Answer | null> {
  const text = await input.through('\r\n\r\n');
  if (text === null) return null;
  const [line = '', ...lines] = text.trimEnd().split('\r\n');
  const headers = new Map(
    lines.map((one) => [one.slice(0, one.indexOf(':')).toLowerCase(), one.slice(one.indexOf(':') + 1).trim()]),
  );
  const status = Number(line.split(' ')[1]);
  if (status === 100) return readAnswer(input, method);
  return { status, headers, body: await readBody(input, method, status, headers) };
}

async function readBody(input: Input, method: string, status: number, headers: Map<string, string>): Promise<Buffer> {
  if (method === 'HEAD' || status === 204 || status === 304) return Buffer.alloc(0);
  if (headers.get('transfer-encoding') !== 'chunked') {
    const length = headers.get('content-length');
    return length === undefined ? input.rest() : input.exactly(Number(length));
  }
  const pieces: Buffer[] = [];
  for (;;) {
    const size = Number.parseInt((await input.through('\r\n')) ?? '0', 16);
    pieces.push((await input.exactly(size + 2)).subarray(0, size));
    if (size === 0) return Buffer.concat(pieces);
  }
}

/** The bytes that have arrived and were not read yet. */
class Input {
  private held: Buffer[] = [];
  private size = 0;
  private ended = false;
  private wake: () => void = () => {};

  constructor(socket: Socket) {
    socket.on('data', (data: Buffer) => {
      this.held.push(data);
      this.size += data.byteLength;
      this.wake();
    });
    for (const event of ['end', 'close', 'error']) {
      socket.on(event, () => {
        this.ended = true;
        this.wake();
      });
    }
  }

  /** Reads up to the end of `mark`. `null` if the connection ends before that. */
  async through(mark: string): Promise<string | null> {
    for (;;) {
      const at = this.joined().indexOf(mark);
      if (at >= 0) return (await this.exactly(at + mark.length)).toString('latin1');
      if (this.ended) return null;
      await this.more();
    }
  }

  /** Reads this many bytes, or fewer if the connection ends before that. */
  async exactly(length: number): Promise<Buffer> {
    while (this.size < length && !this.ended) await this.more();
    const all = this.joined();
    const taken = all.subarray(0, length);
    this.held = [all.subarray(length)];
    this.size = all.byteLength - taken.byteLength;
    return taken;
  }

  async rest(): Promise<Buffer> {
    while (!this.ended) await this.more();
    return this.exactly(this.size);
  }

  private joined(): Buffer {
    const all = Buffer.concat(this.held);
    this.held = [all];
    return all;
  }

  private more(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }
}
