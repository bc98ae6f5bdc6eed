/**
 * An empty world for a test: real D1 with the schema, real R2, and a client that speaks to the Worker through its own
 * `fetch` handler, logged in as the administrator unless told otherwise. Bindings can be wrapped, to count or to fail.
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
  /** Sends a request and waits for what the Worker does after its answer. `path` begins with a slash. */
  fetch(method: string, path: string, init?: Send): Promise<Response>;
}

export interface Send {
  headers?: Record<string, string>;
  body?: BodyInit | null;
  /** `null`: no credentials. */
  authorization?: string | null;
}

/**
 * Creates the schema if it is missing and empties every store. `vars` are settings as in wrangler.toml. Rows and objects are
 * deleted one by one: the test runner's own reset would abort requests that a test has stopped on purpose.
 */
export async function newWorld(vars: Partial<Env> = {}): Promise<World> {
  const bindings = env as unknown as Env & { SCHEMA: string[] };
  const empty = inOneLine(tablesOf(bindings.SCHEMA).map((table) => `DELETE FROM ${table}`));
  // Fails where a table is missing: in the first world of a runtime, and after tests of migrations.
  await bindings.DB.exec(empty).catch(() => bindings.DB.exec(`${inOneLine(bindings.SCHEMA)}; ${empty}`));
  // Checked once in an isolate, so that no test counts its calls.
  await requireOwnStores(bindings);
  await bindings.DB.exec('DELETE FROM registry');
  for (let page = await bindings.BLOBS.list(); page.objects.length > 0; page = await bindings.BLOBS.list()) {
    await bindings.BLOBS.delete(page.objects.map(({ key }) => key));
  }
  return worldOf({ ...withoutLimits(bindings), DB: ownDatabase(bindings.DB), ...testQueues(), ...vars });
}

/**
 * The same database as a separate object. The Worker remembers logins and spending by database binding, and test files share
 * an isolate: a world must not start with what another one left behind.
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

/** Tests send more than any client. Tests of limits pass them as `vars`. */
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

/** By their names in wrangler.toml. */
function testQueues(): Pick<Env, 'EVENTS' | 'DELIVERIES' | 'DEAD_LETTERS'> {
  return {
    EVENTS: new TestQueue('berth-events'),
    DELIVERIES: new TestQueue('berth-deliveries'),
    DEAD_LETTERS: new TestQueue('berth-dead-letters'),
  };
}

/** Removes the owner's mark from the stores, as if no deployment had used them. */
export async function forgetOwner({ env: { DB, BLOBS } }: World): Promise<void> {
  await DB.prepare('DELETE FROM registry').run();
  await BLOBS.delete('registry');
}

/** The same stores seen through other bindings or settings. */
export function worldOf(bindings: Env): World {
  return { env: bindings, fetch: (method, path, init = {}) => send(bindings, method, path, init) };
}

async function send(bindings: Env, method: string, path: string, init: Send): Promise<Response> {
  const headers = new Headers(init.headers);
  const authorization = init.authorization === undefined ? await administrator(bindings) : init.authorization;
  if (authorization !== null) headers.set('authorization', authorization);
  // Answers that must be identical would differ in the random ids of their requests.
  if (!headers.has('cf-ray')) headers.set('cf-ray', '0123456789abcdef-TST');
  const length = lengthOf(init.body);
  if (length !== null && !headers.has('content-length')) headers.set('content-length', String(length));
  const request = new Request(new URL(path, ORIGIN), { method, headers, body: init.body ?? null, redirect: 'manual' });
  const context = createExecutionContext();
  const response = await worker.fetch(request, bindings, context);
  await waitOnExecutionContext(context);
  return response;
}

/** The length that a client would announce. A stream has none and is sent in chunks. */
function lengthOf(body: Send['body']): number | null {
  if (typeof body === 'string') return new TextEncoder().encode(body).byteLength;
  return body instanceof Uint8Array || body instanceof ArrayBuffer ? body.byteLength : null;
}

async function administrator(bindings: Env): Promise<string> {
  return `Basic ${btoa(`admin:${await administratorPassword(bindings)}`)}`;
}
