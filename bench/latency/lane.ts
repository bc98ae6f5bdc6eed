/** Sends the requests of a client, and records for each request which other requests it waited for. */
import { BEGINNING, type Step } from './chain.ts';

export interface Sent {
  status: number;
  headers: Headers;
  text: string;
}

export interface Sending {
  headers?: Record<string, string>;
  body?: Buffer | undefined;
  /** True if the body is sent in chunks, without a Content-Length. */
  unsized?: boolean;
}

/** The number of requests that this process has sent. Each request gets the next number. */
let numbers = 0;

/** A sequence of requests, each of which waits for the one before. */
export class Lane {
  last: Step;
  readonly #url: string;
  readonly #name: string;

  /** @param name the name of the pull or push, or the empty string if the requests are not measured */
  constructor(url: string, name = '', last: Step = BEGINNING) {
    this.#url = url;
    this.#name = name;
    this.last = last;
  }

  /** @throws Error if the status is not one of `expected` */
  async send(
    expected: number[],
    method: string,
    path: string,
    { headers = {}, body, unsized = false }: Sending = {},
  ): Promise<Sent> {
    const number = numbers++;
    const content = body && (unsized ? { body: streamOf(body), duplex: 'half' as const } : { body: new Uint8Array(body) });
    const response = await fetch(new URL(path, this.#url), {
      method,
      headers: { 'x-latency-number': String(number), 'x-latency-name': this.#name, ...headers },
      ...content,
    });
    const text = await response.text();
    this.last = { number, after: [this.last], needs: [this.last] };
    if (expected.includes(response.status)) return { status: response.status, headers: response.headers, text };
    throw new Error(`${method} ${path} answered ${response.status}, not ${expected}: ${text.slice(0, 500)}`);
  }

  /** Makes the next request also wait for another step. */
  waitFor(step: Step): void {
    this.last = { number: null, after: [this.last, step], needs: [this.last, step] };
  }

  fork(): Lane {
    return new Lane(this.#url, this.#name, this.last);
  }

  join(lanes: Lane[]): void {
    const last = lanes.map((lane) => lane.last);
    this.last = { number: null, after: last, needs: last };
  }

  /** Runs `work` for all items, for at most `width` items at the same time. The lane continues when all are done. */
  async each<T>(width: number, items: T[], work: (item: T, lane: Lane) => Promise<void>): Promise<void> {
    const left = [...items];
    const begin = this.last;
    const done: Lane[] = [];
    const place = async () => {
      let previous: Step = begin;
      for (let item = left.shift(); item !== undefined; item = left.shift()) {
        const lane = new Lane(this.#url, this.#name, { number: null, after: [previous], needs: [begin] });
        await work(item, lane);
        previous = lane.last;
        done.push(lane);
      }
    };
    await Promise.all(Array.from({ length: Math.min(width, items.length) }, place));
    if (done.length > 0) this.join(done);
  }
}

function streamOf(bytes: Buffer): ReadableStream {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(bytes));
      controller.close();
    },
  });
}
