/**
 * Sends the examples of the OpenAPI document to a registry, and records the answers. In a recorded answer, the ids, secrets and
 * times of this run are replaced by those of the examples.
 */
import { SAMPLE_ORIGIN, SAMPLE_TOKEN, SAMPLE_WEBHOOK } from '../../../src/http/api/samples.ts';
import type { Registry } from '../../world/registry.ts';

export interface Described {
  operationId: string;
  parameters?: { name: string; in: string; example?: string }[];
  requestBody?: { content: Record<string, { example?: unknown; schema: object }> };
  responses: Record<string, { content?: Record<string, { example?: unknown; schema: object }> }>;
}

export interface Document {
  paths: Record<string, Record<string, Described>>;
  components: object;
}

/** The status and the body of an answer. Without a body, only the status. */
export type Answer = [status: number, body?: unknown];

const API = '/api/v1';
/** The time of the examples. */
const NOON = Date.UTC(2026, 4, 4, 12);
const HOUR = 60 * 60 * 1000;

export class Recorder {
  /** The recorded answers by method and path, for example `PUT /api/v1/users/{user}`. */
  readonly answers: Record<string, Answer> = {};
  /** The value in this run for each value in the examples. */
  private readonly real = new Map<string, string>();
  private readonly start = Date.now();
  private readonly registry: Registry;
  private readonly document: Document;

  constructor(registry: Registry, document: Document) {
    this.registry = registry;
    this.document = document;
  }

  /** From then on, requests contain `real` in place of `example`, and recorded answers contain `example` in place of `real`. */
  call(example: string, real: string): void {
    this.real.set(example, real);
  }

  realOf(example: string): string {
    return this.real.get(example) ?? '';
  }

  /** Sends the example of an operation and keeps its answer. @param as user name and password. @returns the real answer */
  async send<T>(method: string, path: string, as?: string): Promise<T> {
    const { parameters = [], requestBody } = this.described(method, path);
    const example = (name: string) => parameters.find((one) => one.name === name)?.example ?? '';
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, name) => encodeURI(this.toReal(example(name))));
    const query = new URLSearchParams(
      parameters.flatMap(({ name, in: place, example: value }) =>
        place === 'query' && value ? [[name, this.toReal(value)] as [string, string]] : [],
      ),
    );
    const body = requestBody?.content['application/json']?.example;
    const sent = body === undefined ? undefined : JSON.parse(this.toReal(JSON.stringify(body)));
    const answer = await this.request<T>(method, `${API}${filled}${query.size > 0 ? `?${query}` : ''}`, { body: sent, as });
    this.answers[`${method} ${path}`] = this.shown(answer);
    return answer[1] as T;
  }

  /** Sends a request that prepares content for the examples. @throws Error if it is refused */
  async request<T>(
    method: string,
    path: string,
    { body, as, headers = {} }: { body?: unknown; as?: string | undefined; headers?: Record<string, string> } = {},
  ): Promise<[status: number, body: T]> {
    const { url, username, password } = this.registry;
    const isBytes = body instanceof Uint8Array;
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        authorization: `Basic ${btoa(as ?? `${username}:${password}`)}`,
        ...(body === undefined || isBytes ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isBytes ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} answers ${response.status}: ${text}`);
    return [response.status, (text === '' ? undefined : JSON.parse(text)) as T];
  }

  private described(method: string, path: string): Described {
    const found = this.document.paths[`${API}${path}`]?.[method.toLowerCase()];
    if (!found) throw new Error(`the document has no ${method} ${path}`);
    return found;
  }

  private toReal(text: string): string {
    if (this.real.has(text)) return this.realOf(text);
    return this.names().reduce((sent, [example, real]) => sent.replaceAll(example, real), text);
  }

  /** Values that cannot be a part of something else, the longest first: ids contain other ids. */
  private names(): [example: string, real: string][] {
    const long = [...this.real].filter(([example, real]) => Math.min(example.length, real.length) > 8);
    return long.sort(([, one], [, other]) => other.length - one.length);
  }

  private shown([status, body]: [number, unknown]): Answer {
    if (body === undefined) return [status];
    const { host, url } = this.registry;
    const text = this.names()
      .reduce((known, [example, real]) => known.replaceAll(real, example), JSON.stringify(body))
      .replaceAll(url, SAMPLE_ORIGIN)
      .replaceAll(host, new URL(SAMPLE_ORIGIN).host)
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, (time) => this.timeOf(time))
      .replaceAll(/"(\d{4}-\d\d-\d\d)"/g, `"${new Date(NOON).toISOString().slice(0, 10)}"`);
    const plain = PLAIN.reduce((shown, [random, example]) => shown.replaceAll(random, example), text);
    return [status, withPlainNumbers(JSON.parse(plain))];
  }

  /** The time in the examples: its distance from noon is that of `time` from the start of this run, in whole hours. */
  private timeOf(time: string): string {
    return new Date(NOON + Math.round((Date.parse(time) - this.start) / HOUR) * HOUR).toISOString();
  }
}

/** Expressions for texts that differ in each run, each with the text in the examples. */
const PLAIN: [random: RegExp, example: string][] = [
  [/BRTH(?!EXAMPLE)[A-Z2-7]{16}/g, 'BRTHEXAMPLE2Q4M2LD5R'],
  [/berth_(BRTH\w{16})_[a-z2-7]+/g, 'berth_$1_secretofthiskey'],
  [/whsec_[\w+/=]+/g, 'whsec_c2VjcmV0IG9mIHRoaXMgd2ViaG9vaw=='],
  [/wh_(?!example)[a-z2-7]{20}/g, SAMPLE_WEBHOOK],
  [/"password":"[^"]+"/g, '"password":"eyJhbGciOiJIUzI1NiJ9.login"'],
  [/eyJ[\w-]{20,}\.[\w-]+\.[\w-]+/g, SAMPLE_TOKEN],
  [/"resetsAt":"[^"]+"/g, '"resetsAt":"2026-05-05T00:00:00.000Z"'],
  [/"next":"\d+"/g, '"next":"1042"'],
];

/** Numbers that differ in each run, or with every other change of the registry. */
const NUMBERS: Record<string, number> = { id: 1042, sequence: 17, latencyMs: 85, rowsRead: 1200, rowsWritten: 90 };

function withPlainNumbers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withPlainNumbers);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).map(([name, one]) => [
    name,
    typeof one === 'number' ? (NUMBERS[name] ?? one) : withPlainNumbers(one),
  ]);
  return Object.fromEntries(entries);
}
