/** The counts and complaints of a run, and the client that sends its requests. Each request is one operation. */

export class Log {
  operations = 0;
  /** The number of answers, by request and status. */
  readonly answers = new Map<string, number>();
  /** Complaints about acknowledged content that is missing or has other bytes. */
  readonly lost: string[] = [];
  /** Complaints about other wrong answers. */
  readonly wrong: string[] = [];

  lose(what: string): void {
    this.lost.push(`operation ${this.operations}: ${what}`);
  }

  complain(what: string): void {
    this.wrong.push(`operation ${this.operations}: ${what}`);
  }

  count(what: string): void {
    this.answers.set(what, (this.answers.get(what) ?? 0) + 1);
  }
}

export interface Answer {
  status: number;
  headers: Headers;
  bytes: Uint8Array;
  /** The time of the request, in milliseconds. */
  start: number;
}

export interface Send {
  headers?: Record<string, string>;
  body?: Uint8Array<ArrayBuffer> | string;
}

/** Sends requests to the running registry. Each request of a client is an operation. */
export class Connection {
  readonly #log: Log;
  readonly #authorization: string;
  readonly #url: string;

  constructor(log: Log, url: string, password: string) {
    this.#log = log;
    this.#url = url;
    this.#authorization = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`;
  }

  /** Sends a request. @param expected the statuses that are not a complaint. A 503 is none either: it means "try again" */
  async send(
    what: string,
    expected: number[],
    method: string,
    path: string,
    { headers = {}, body }: Send = {},
  ): Promise<Answer> {
    if (what !== 'POST gc') this.#log.operations++;
    const start = performance.now();
    const response = await fetch(new URL(path, this.#url), {
      method,
      headers: { authorization: this.#authorization, ...headers },
      ...(body === undefined ? {} : { body }),
      redirect: 'manual',
    });
    const { status } = response;
    const bytes = new Uint8Array(await response.arrayBuffer());
    this.#log.count(`${what} ${status}`);
    if (!expected.includes(status) && status !== 503) {
      this.#log.complain(`${method} ${path} was answered ${status}: ${new TextDecoder().decode(bytes).slice(0, 300)}`);
    }
    return { status, headers: response.headers, bytes, start };
  }
}
