/**
 * Structured logs, and counters of D1 and R2 operations that are logged. One line is logged for each request, queue batch and
 * schedule. No line contains a credential, a query string or a body.
 */
import { type Env, withBindings } from './env.ts';

/** The events that can be logged, with their levels. An `info` line is written only if the setting `LOG` is `json`. */
const EVENTS = {
  request: 'info',
  'request.failed': 'error',
  'request.work-failed': 'warn',
  'registry.not-set-up': 'error',
  'login.not-recorded': 'warn',
  'issuer.unreachable': 'warn',
  'sign-in.refused': 'warn',
  'webhooks.review-failed': 'warn',
  queue: 'info',
  schedule: 'info',
  'schedule.job': 'info',
  'schedule.job-failed': 'error',
  'schedule.budget-used-up': 'warn',
  'schedule.budget-not-saved': 'warn',
  'spending.not-saved': 'warn',
  'events.not-announced': 'warn',
  'events.not-matched': 'error',
  'deliveries.not-sent': 'warn',
  'deliveries.not-read': 'error',
  'deliveries.not-saved': 'error',
  'deliveries.attempt-failed': 'error',
  'deliveries.not-resumed': 'warn',
  'deliveries.not-dead-lettered': 'warn',
  'deliveries.dead-letter-unknown': 'warn',
  'replica.not-read': 'warn',
  'blob.object-missing': 'error',
  'manifest.object-missing': 'error',
  'maintenance.problem': 'error',
} as const satisfies Record<string, 'info' | 'warn' | 'error'>;

type EventName = keyof typeof EVENTS;

/**
 * The details of a logged event. The message of `error` is logged, and an unexpected error that ended a request is logged with
 * its stack. A value that is `undefined` is left out.
 */
interface Fields {
  [name: string]: unknown;
  message?: string;
  error?: unknown;
}

type Mode = 'json' | 'text' | 'off';

/** The maximum number of characters of an error's text in one line. */
const TEXT_MAX_LENGTH = 4000;

let mode: Mode = 'text';

/** Takes the mode from the setting `LOG`. The mode is a global variable, because an isolate serves one deployment. */
export function configureLog({ LOG }: Pick<Env, 'LOG'>): void {
  mode = LOG === 'text' || LOG === 'off' ? LOG : 'json';
}

/** Returns true if each request and each background run is logged. Only then do their operations have to be counted. */
export function logsEverything(): boolean {
  return mode === 'json';
}

/** Writes one line to the log. */
export function report(event: EventName, { error, ...fields }: Fields = {}): void {
  const level = EVENTS[event];
  if (mode === 'off' || (mode === 'text' && level === 'info')) return;
  const all = { ...fields, ...(error === undefined ? {} : { error: textOf(event, error) }) };
  const line = mode === 'json' ? JSON.stringify({ event, level, ...all }) : plain(event, all);
  if (level === 'info') console.log(line);
  else if (level === 'warn') console.warn(line);
  else console.error(line);
}

/**
 * Returns the text of an error. Only an unexpected error that ended a request is logged with its stack;
 * otherwise the message suffices.
 */
function textOf(event: EventName, error: unknown): string {
  if (!(error instanceof Error)) return String(error).slice(0, TEXT_MAX_LENGTH);
  return ((event === 'request.failed' && error.stack) || error.message).slice(0, TEXT_MAX_LENGTH);
}

/** Formats a line for a terminal, for example `deliveries.not-sent: the queue is away (subscription abc)`. */
function plain(event: EventName, { message, error, ...fields }: Fields): string {
  const said = [message, error].filter((text) => text !== undefined).join(': ');
  const rest = Object.entries(fields).flatMap(([name, value]) => (value == null ? [] : [`${name} ${value}`]));
  return `${event}${said === '' ? '' : `: ${said}`}${rest.length === 0 ? '' : ` (${rest.join(', ')})`}`;
}

/** The number of D1 and R2 operations of a request, queue batch or schedule. */
export interface Counts {
  /** The number of round trips to D1. A batch is one round trip. */
  d1Calls: number;
  rowsRead: number;
  rowsWritten: number;
  /** The number of operations that R2 charges as class A: put, list, and those of a multipart upload. */
  r2ClassA: number;
  /** The number of operations that R2 charges as class B: get and head. R2 does not charge for deletions. */
  r2ClassB: number;
}

export function newCounts(): Counts {
  return { d1Calls: 0, rowsRead: 0, rowsWritten: 0, r2ClassA: 0, r2ClassB: 0 };
}

/** Runs one queue batch or schedule, counts its operations, and logs it. @param now returns the time in milliseconds */
export async function observed(
  env: Env,
  event: 'queue' | 'schedule',
  fields: Fields,
  { now, run }: { now: () => number; run: (env: Env) => Promise<unknown> },
): Promise<void> {
  configureLog(env);
  if (!logsEverything()) {
    await run(env);
    return;
  }
  const counts = newCounts();
  const started = now();
  let outcome = 'failed';
  try {
    await run(withBindings(env, countedStores(env, counts)));
    outcome = 'ok';
  } finally {
    report(event, { ...fields, outcome, ...counts, ms: now() - started });
  }
}

type Stores = Pick<Env, 'DB' | 'BLOBS'>;

/** Wraps the database and the bucket so that they add their operations to `counts`. */
export function countedStores({ DB, BLOBS }: Stores, counts: Counts): Stores {
  const database = countedDatabase(DB, (results) => {
    counts.d1Calls++;
    for (const { meta } of results) {
      counts.rowsRead += meta.rows_read;
      counts.rowsWritten += meta.rows_written;
    }
  });
  return { DB: database, BLOBS: new CountedBucket(BLOBS, counts) as unknown as R2Bucket };
}

/**
 * A function that receives the results of each D1 round trip before the caller receives them. If it returns a promise, the
 * caller waits for that promise.
 */
type Tell = (results: readonly D1Result<unknown>[]) => void | Promise<void>;

export function countedDatabase(database: D1Database, tell: Tell): D1Database {
  return new CountedDatabase(database, tell) as unknown as D1Database;
}

/**
 * Returns a function that gives each database binding a value of its own, which lives as long as the isolate. A wrapper that
 * counts operations gets the same value as the binding that it wraps, because each request has its own wrapper.
 */
export function perDatabase<T extends object>(make: () => T): (env: { DB: D1Database }) => T {
  const values = new WeakMap<D1Database, T>();
  return ({ DB }) => {
    const database = bindingOf(DB);
    const value = values.get(database) ?? make();
    values.set(database, value);
    return value;
  };
}

function bindingOf(database: D1Database): D1Database {
  return database instanceof CountedDatabase ? bindingOf(database.inner) : database;
}

class CountedDatabase {
  readonly inner: D1Database;
  private readonly tell: Tell;

  constructor(inner: D1Database, tell: Tell) {
    this.inner = inner;
    this.tell = tell;
  }

  withSession(constraint?: string): D1DatabaseSession {
    const session = this.inner.withSession(constraint);
    const counted = new CountedDatabase(session as unknown as D1Database, this.tell);
    return Object.assign(counted, { getBookmark: () => session.getBookmark() }) as unknown as D1DatabaseSession;
  }

  prepare(sql: string): CountedStatement {
    return new CountedStatement(this.inner.prepare(sql), this.tell);
  }

  async batch(statements: (D1PreparedStatement | CountedStatement)[]): Promise<D1Result<unknown>[]> {
    const inner = statements.map((one) => (one instanceof CountedStatement ? one.inner : one));
    const results = await this.inner.batch(inner);
    await this.tell(results);
    return results;
  }
}

class CountedStatement {
  readonly inner: D1PreparedStatement;
  private readonly tell: Tell;

  constructor(inner: D1PreparedStatement, tell: Tell) {
    this.inner = inner;
    this.tell = tell;
  }

  bind(...values: unknown[]): CountedStatement {
    return new CountedStatement(this.inner.bind(...values), this.tell);
  }

  async all(): Promise<D1Result<Record<string, unknown>>> {
    const result = await this.inner.all<Record<string, unknown>>();
    await this.tell([result]);
    return result;
  }

  async run(): Promise<D1Result<unknown>> {
    const result = await this.inner.run();
    await this.tell([result]);
    return result;
  }

  /** Calls `all`, because D1 does not report the cost of `first`. */
  async first(column?: string): Promise<unknown> {
    const [row] = (await this.all()).results;
    if (row === undefined) return null;
    return column === undefined ? row : (row[column] ?? null);
  }
}

class CountedBucket {
  private readonly inner: R2Bucket;
  private readonly counts: Counts;

  constructor(inner: R2Bucket, counts: Counts) {
    this.inner = inner;
    this.counts = counts;
  }

  get(key: string, options: R2GetOptions = {}): Promise<R2Object | null> {
    this.counts.r2ClassB++;
    return this.inner.get(key, options);
  }

  head(key: string): Promise<R2Object | null> {
    this.counts.r2ClassB++;
    return this.inner.head(key);
  }

  put(...parameters: Parameters<R2Bucket['put']>): Promise<R2Object | null> {
    this.counts.r2ClassA++;
    return this.inner.put(...parameters);
  }

  list(options?: R2ListOptions): Promise<R2Objects> {
    this.counts.r2ClassA++;
    return this.inner.list(options);
  }

  delete(keys: string | string[]): Promise<void> {
    return this.inner.delete(keys);
  }

  async createMultipartUpload(key: string, options?: R2MultipartOptions): Promise<R2MultipartUpload> {
    this.counts.r2ClassA++;
    return countedUpload(await this.inner.createMultipartUpload(key, options), this.counts);
  }

  resumeMultipartUpload(key: string, id: string): R2MultipartUpload {
    return countedUpload(this.inner.resumeMultipartUpload(key, id), this.counts);
  }
}

function countedUpload(inner: R2MultipartUpload, counts: Counts): R2MultipartUpload {
  const { key, uploadId } = inner;
  return {
    key,
    uploadId,
    uploadPart: (...parameters) => {
      counts.r2ClassA++;
      return inner.uploadPart(...parameters);
    },
    complete: (parts) => {
      counts.r2ClassA++;
      return inner.complete(parts);
    },
    abort: () => inner.abort(),
  };
}
