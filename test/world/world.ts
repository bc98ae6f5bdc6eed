/**
 * Creates an empty registry for a test, called a world: a real D1 with the schema, a real R2, and a client. The client calls
 * the `fetch` handler of the Worker, as the administrator unless the test sends other credentials. Bindings can be wrapped, to
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
  /** Sends a request, and also waits for the work that the Worker does after the answer. `path` begins with a slash. */
  fetch(method: string, path: string, init?: Send): Promise<Response>;
}

export interface Send {
  headers?: Record<string, string>;
  body?: BodyInit | null;
  /** The Authorization header, or `null` for no credentials. If absent, the administrator's. */
  authorization?: string | null;
}

/**
 * Creates the schema if it is missing, and empties the database and the bucket. Rows and objects are deleted one by one,
 * because the test runner's own reset would abort requests that a test has stopped on purpose.
 * @param vars settings and bindings that replace the usual ones
 */
export async function newWorld(vars: Partial<Env> = {}): Promise<World> {
  const bindings = env as unknown as Env;
  await emptyDatabase(bindings.DB);
  // An isolate checks once that D1 and R2 belong to the registry. This is done here, so that no test counts the calls of this
  // check.
  await requireOwnStores(bindings);
  await bindings.DB.exec('DELETE FROM registry');
  for (let page = await bindings.BLOBS.list(); page.objects.length > 0; page = await bindings.BLOBS.list()) {
    await bindings.BLOBS.delete(page.objects.map(({ key }) => key));
  }
  return worldOf({ ...withoutLimits(bindings), DB: ownDatabase(bindings.DB), ...testQueues(), ...vars });
}

async function emptyDatabase(database: D1Database): Promise<void> {
  const { SCHEMA } = env as unknown as { SCHEMA: string[] };
  const empty = inOneLine(tablesOf(SCHEMA).map((table) => `DELETE FROM ${table}`));
  // The first `exec` fails if a table is missing: in the first world of a runtime, and after tests of migrations.
  await database.exec(empty).catch(() => database.exec(`${inOneLine(SCHEMA)}; ${empty}`));
}

/**
 * Returns a function that creates a world for a test, in which `build` has added what the tests of a file need. `build` is
 * called only once. Later, only the rows, objects and messages are restored, which is many times as fast. `build` must not set
 * clocks or spies, because these end with a test.
 */
export function builtOnce(build: (world: World) => Promise<unknown>, vars: Partial<Env> = {}): () => Promise<World> {
  let saved: { world: World; restore: () => Promise<void> } | null = null;
  return async () => {
    if (saved) {
      await saved.restore();
      return saved.world;
    }
    const world = await newWorld(vars);
    await build(world);
    saved = { world, restore: await save(world) };
    return world;
  };
}

/** Saves the state of a world. Returns a function that restores it. */
async function save({ env: bindings }: World): Promise<() => Promise<void>> {
  const { DB, BLOBS } = env as unknown as Env;
  const kept = { ...bindings };
  const queues = Object.entries(testQueues()).map(([name]) => name as 'EVENTS' | 'DELIVERIES' | 'DEAD_LETTERS');
  const held = queues.map((name) => [...(bindings[name] as TestQueue).held]);
  const rows = await rowsIn(DB);
  const objects = await Promise.all((await listAll(BLOBS)).map(async ({ key }) => (await BLOBS.get(key)) as R2ObjectBody));
  const bytes = await Promise.all(objects.map((object) => object.arrayBuffer()));
  return async () => {
    await fillDatabase(DB, rows);
    const present = new Map((await listAll(BLOBS)).map(({ key, etag }) => [key, etag]));
    const extra = [...present.keys()].filter((key) => !objects.some((object) => object.key === key));
    if (extra.length > 0) await BLOBS.delete(extra);
    for (const [n, { key, etag, httpMetadata = {}, customMetadata = {}, checksums }] of objects.entries()) {
      const { sha256 } = checksums;
      const options = { httpMetadata, customMetadata, ...(sha256 ? { sha256 } : {}) };
      if (present.get(key) !== etag) await BLOBS.put(key, bytes[n] as ArrayBuffer, options);
    }
    // The Worker keeps its memory by database binding, so a new binding is made: a test must not start with what the test
    // before left in memory.
    Object.assign(bindings, kept, { DB: ownDatabase(DB) }, testQueues());
    for (const [n, name] of queues.entries()) (bindings[name] as TestQueue).held.push(...(held[n] ?? []));
  };
}

interface Rows {
  insert: string;
  values: string;
}

/** Replaces everything in the database by these rows. */
async function fillDatabase(database: D1Database, rows: Rows[]): Promise<void> {
  await emptyDatabase(database);
  if (rows.length > 0) await database.batch(rows.map(({ insert, values }) => database.prepare(insert).bind(values)));
}

/** Replaces everything in the database `to` by the rows of `from`. */
export async function copyDatabase(from: D1Database, to: D1Database): Promise<void> {
  await fillDatabase(to, await rowsIn(from));
}

/** Returns the rows of all tables, as statements that insert them. */
async function rowsIn(database: D1Database): Promise<Rows[]> {
  const tables = tablesOf((env as unknown as { SCHEMA: string[] }).SCHEMA);
  const results = await database.batch<Record<string, unknown>>(
    tables.map((table) => database.prepare(`SELECT * FROM ${table}`)),
  );
  return tables.flatMap((table, n) => {
    const found = results[n]?.results ?? [];
    const columns = Object.keys(found[0] ?? {});
    const values = columns.map((_, at) => `value ->> ${at}`);
    const insert = `INSERT INTO ${table} (${columns.join()}) SELECT ${values.join()} FROM json_each(?1)`;
    return found.length === 0 ? [] : [{ insert, values: JSON.stringify(found.map((row) => Object.values(row))) }];
  });
}

async function listAll(bucket: R2Bucket): Promise<R2Object[]> {
  const { objects, truncated } = await bucket.list();
  if (truncated) throw new Error('too many objects to put back');
  return objects;
}

/**
 * Returns the same database as a new object. The Worker keeps its memory of logins and charged rows by the object of the
 * database binding, and all test files share an isolate. With a new object, no world starts with the memory of another world.
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

/** Returns the names of the tables that these statements create. */
export function tablesOf(schema: string[]): string[] {
  return schema.flatMap((statement) => /CREATE TABLE IF NOT EXISTS (\w+)/.exec(statement)?.[1] ?? []);
}

/** Joins the statements in one line, because `exec` sends each line as one call, and a line may contain many statements. */
function inOneLine(statements: string[]): string {
  return statements.map((statement) => statement.replaceAll(/\s+/g, ' ').trim()).join('; ');
}

/**
 * Removes the rate limits, because tests send more requests than real clients. A test of a limit passes that limit in `vars`.
 */
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

/** Returns the queues, with their names in wrangler.toml. */
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

/** Returns a world with these bindings and settings, for example with wrapped bindings of another world. */
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

/** Returns the Content-Length that a client would send, or `null` for a stream, which is sent in chunks. */
function lengthOf(body: Send['body']): number | null {
  if (typeof body === 'string') return new TextEncoder().encode(body).byteLength;
  return body instanceof Uint8Array || body instanceof ArrayBuffer ? body.byteLength : null;
}

async function administrator(bindings: Env): Promise<string> {
  return `Basic ${btoa(`admin:${await administratorPassword(bindings)}`)}`;
}
