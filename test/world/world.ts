/**
 * Makes an empty registry for a test, called a world: a real D1 with the schema, a real R2, and a client. The client calls the
 * `fetch` handler of the Worker, as the administrator unless the test sends other credentials. Bindings can be wrapped, to
 * count their calls or to make them fail.
 */
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { administratorPassword } from '../../src/auth/secrets.ts';
import type { Env } from '../../src/env.ts';
import worker from '../../src/index.ts';
import { requireOwnStores } from '../../src/ownership.ts';
import { TestQueue } from './queues.ts';

export const ORIGIN = 'https://registry.test';

export interface World {
  env: Env;
  /** Sends a request, and also waits for the work that the Worker does after its answer. `path` begins with a slash. */
  fetch(method: string, path: string, init?: Send): Promise<Response>;
}

export interface Send {
  headers?: Record<string, string>;
  body?: BodyInit | null;
  /** The Authorization header. `null` for no credentials. By default, the administrator's. */
  authorization?: string | null;
}

/**
 * Creates the schema if it is missing, and empties the database and the bucket. Rows and objects are deleted one by one,
 * because the reset of the test runner would abort requests that a test has stopped on purpose.
 * @param vars settings and bindings that replace the usual ones
 */
export async function newWorld(vars: Partial<Env> = {}): Promise<World> {
  const bindings = env as unknown as Env & { SCHEMA: string[] };
  const empty = inOneLine(tablesOf(bindings.SCHEMA).map((table) => `DELETE FROM ${table}`));
  // The first `exec` fails if a table is missing: in the first world of a runtime, and after tests of migrations.
  await bindings.DB.exec(empty).catch(() => bindings.DB.exec(`${inOneLine(bindings.SCHEMA)}; ${empty}`));
  // An isolate checks the stores once. It does so here, so that no test counts the calls of this check.
  await requireOwnStores(bindings);
  await bindings.DB.exec('DELETE FROM registry');
  for (let page = await bindings.BLOBS.list(); page.objects.length > 0; page = await bindings.BLOBS.list()) {
    await bindings.BLOBS.delete(page.objects.map(({ key }) => key));
  }
  return worldOf({ ...withoutLimits(bindings), DB: ownDatabase(bindings.DB), ...testQueues(), ...vars });
}

/**
 * The same database as a new object. The Worker remembers logins and charged rows by the object of the database binding, and
 * all test files share an isolate. With a new object, no world starts with the memory of another world.
 */
function ownDatabase(database: D1Database): D1Database {
  return {
    prepare: (sql) => database.prepare(sql),
    batch: (statements) => database.batch(statements),
    exec: (sql) => database.exec(sql),
    dump: () => database.dump(),
    withSession: (constraint) => database.withSession(constraint),
  };
}

/** The names of the tables that these statements create. */
export function tablesOf(schema: string[]): string[] {
  return schema.flatMap((statement) => /CREATE TABLE IF NOT EXISTS (\w+)/.exec(statement)?.[1] ?? []);
}

/** `exec` sends each line as one call, and a line may contain many statements. */
function inOneLine(statements: string[]): string {
  return statements.map((statement) => statement.replaceAll(/\s+/g, ' ').trim()).join('; ');
}

/** Removes the rate limits, because tests send more requests than any client. A test of a limit passes it in `vars`. */
function withoutLimits({
  WRONG_PASSWORDS: _,
  TOKEN_REQUESTS: __,
  UPLOAD_STARTS: ___,
  TEST_DELIVERIES: ____,
  WRITES: _____,
  EXPENSIVE_READS: ______,
  LOGINS: _______,
  CALLS: ________,
  ...bindings
}: Env): Env {
  return bindings;
}

/** The queues, with their names in wrangler.toml. */
function testQueues(): Pick<Env, 'EVENTS' | 'DELIVERIES' | 'DEAD_LETTERS'> {
  return {
    EVENTS: new TestQueue('berth-events'),
    DELIVERIES: new TestQueue('berth-deliveries'),
    DEAD_LETTERS: new TestQueue('berth-dead-letters'),
  };
}

/** Removes the mark of the registry from the database and the bucket, as if no deployment had used them. */
export async function forgetOwner({ env: { DB, BLOBS } }: World): Promise<void> {
  await DB.prepare('DELETE FROM registry').run();
  await BLOBS.delete('registry');
}

/** A world with these bindings and settings, for example with wrapped stores of another world. */
export function worldOf(bindings: Env): World {
  return { env: bindings, fetch: (method, path, init = {}) => send(bindings, method, path, init) };
}

async function send(bindings: Env, method: string, path: string, init: Send): Promise<Response> {
  const headers = new Headers(init.headers);
  const authorization = init.authorization === undefined ? await administrator(bindings) : init.authorization;
  if (authorization !== null) headers.set('authorization', authorization);
  // All requests get the same id, because tests compare answers that must be identical.
  if (!headers.has('cf-ray')) headers.set('cf-ray', '0123456789abcdef-TST');
  const length = lengthOf(init.body);
  if (length !== null && !headers.has('content-length')) headers.set('content-length', String(length));
  const request = new Request(new URL(path, ORIGIN), { method, headers, body: init.body ?? null, redirect: 'manual' });
  const context = createExecutionContext();
  const response = await worker.fetch(request, bindings, context);
  await waitOnExecutionContext(context);
  return response;
}

/** The Content-Length that a client would send. `null` for a stream, which is sent in chunks. */
function lengthOf(body: Send['body']): number | null {
  if (typeof body === 'string') return new TextEncoder().encode(body).byteLength;
  return body instanceof Uint8Array || body instanceof ArrayBuffer ? body.byteLength : null;
}

async function administrator(bindings: Env): Promise<string> {
  return `Basic ${btoa(`admin:${await administratorPassword(bindings)}`)}`;
}
