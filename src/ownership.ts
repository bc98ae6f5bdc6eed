/**
 * Checks, once in the life of an isolate, that the database and the bucket belong to this registry, and that the database has
 * the schema of this build.
 *
 * The first deployment that uses a database and a bucket writes its mark to both. A deployment that is bound by mistake to the
 * database or bucket of another registry is refused before it reads or writes anything else. Otherwise the two registries would
 * delete each other's layers and deliver each other's webhooks. The mark is derived from the secret (HKDF), so the secret
 * itself is never stored.
 */
import { type Env, settings } from './env.ts';
import { deriveText, type Secrets, secretsOf } from './secrets.ts';
import { REGISTRY_KEY } from './storage/keys.ts';
import { putText, readText } from './storage/objects.ts';
import { perDatabase } from './telemetry.ts';

type Stores = Pick<Env, 'DB' | 'BLOBS' | 'ADOPT_REGISTRY' | 'ADDRESS_FROM'> & Secrets;

/**
 * The error if the database or bucket belongs to another registry, or if the database lacks migrations. The message says which
 * of these is the case, and what to do. Nothing was changed.
 */
export class UnusableStoreError extends Error {}

/**
 * The number of the newest file in `migrations/`, and a text that only this migration adds to the definition of a table. The
 * check looks for this text. So a database that was created from `schema.sql`, without the table of migrations, also counts as
 * up to date. Each new migration changes these values; a test compares them with the files.
 */
export const SCHEMA = { version: 22, table: 'policies', contains: 'text TEXT' } as const;

interface Owner {
  id: string;
  mark: string;
}

const MARK_LENGTH = 26;

/**
 * The secrets for which the check has succeeded. Only finished checks are shared between requests. If the runtime cancels the
 * request that runs a check, the promise of that check never settles, and every request that waited for it would hang.
 */
const checked = new Set<string>();

/** The environments that passed the check. An isolate has one environment object, so most requests only look it up here. */
const passed = new WeakSet<Stores>();

/**
 * Checks the database and the bucket. Until the first check of an isolate has succeeded, a request makes one D1 call and one R2
 * call for it. Later requests make none.
 * @throws UnusableStoreError
 */
export async function requireOwnStores(env: Stores): Promise<void> {
  if (passed.has(env)) return;
  const secrets = secretsOf(env).join('\0');
  if (!checked.has(secrets)) await check(env);
  checked.add(secrets);
  passed.add(env);
}

async function markOf(secret: string): Promise<string> {
  return (await deriveText(secret, 'registry-mark')).slice(0, MARK_LENGTH);
}

async function check(env: Stores): Promise<void> {
  const [mark = '', ...previous] = await Promise.all(secretsOf(env).map(markOf));
  const [found, inBucket] = await Promise.all([readOwner(env), readText(env, REGISTRY_KEY)]);
  const adopted = settings(env).adoptRegistry;
  if (!found && inBucket !== null && inBucket !== adopted) throw foreign('bucket', inBucket);
  const owner = found ?? (await claimDatabase(env, mark));
  if (owner.mark !== mark) {
    if (!previous.includes(owner.mark) && owner.id !== adopted) throw foreign('database', owner.id);
    await env.DB.prepare('UPDATE registry SET secret_mark = ?1 WHERE secret_mark = ?2').bind(mark, owner.mark).run();
  }
  if (inBucket === owner.id) return;
  if (inBucket !== null && inBucket !== adopted) throw foreign('bucket', inBucket);
  await putText(env, REGISTRY_KEY, owner.id);
}

/**
 * Returns the owner of the database, or `null` if no registry owns it yet.
 * @throws UnusableStoreError if the schema of the database is older than this build
 */
async function readOwner(env: Pick<Env, 'DB' | 'ADDRESS_FROM'>): Promise<Owner | null> {
  const schema = env.DB.prepare('SELECT 1 FROM sqlite_master WHERE name = ?1 AND instr(sql, ?2) > 0');
  const select = env.DB.prepare('SELECT id, secret_mark AS mark FROM registry');
  try {
    const [current, owner] = await env.DB.batch([schema.bind(SCHEMA.table, SCHEMA.contains), select]);
    if (current?.results.length === 0) throw await outdated(env);
    return (owner?.results[0] as Owner | undefined) ?? null;
  } catch (error) {
    throw isMissingTable(error) ? await outdated(env) : error;
  }
}

function isMissingTable(error: unknown): boolean {
  return error instanceof Error && error.message.includes('no such table');
}

async function outdated(env: Pick<Env, 'DB' | 'ADDRESS_FROM'>): Promise<UnusableStoreError> {
  const version = await schemaVersion(env);
  // `npm start` migrates the database while it starts, so waiting is enough.
  const cure = env.ADDRESS_FROM === 'socket' ? 'the registry is starting, try again in a moment' : 'run npm run deploy';
  return new UnusableStoreError(
    `the database's schema is at ${version}, this build needs ${SCHEMA.version}: ${cure}. Nothing was changed`,
  );
}

/**
 * Returns the number of the last migration. For a database without the table of migrations it is 1, or 0 if the database is
 * empty.
 */
async function schemaVersion({ DB }: Pick<Env, 'DB'>): Promise<number> {
  const tables = await DB.prepare(
    "SELECT name FROM sqlite_master WHERE name IN ('d1_migrations', 'accounts') ORDER BY name DESC LIMIT 1",
  ).first<string>('name');
  if (tables !== 'd1_migrations') return tables === null ? 0 : 1;
  return (
    (await DB.prepare('SELECT max(CAST(substr(name, 1, 4) AS INTEGER)) AS newest FROM d1_migrations').first('newest')) ?? 0
  );
}

/**
 * Makes this registry the owner of the database. If several registries try this at once, one of them becomes the owner, and all
 * calls return that one.
 */
async function claimDatabase(env: Pick<Env, 'DB'>, mark: string): Promise<Owner> {
  const insert =
    'INSERT INTO registry (one, id, secret_mark, created_at) VALUES (1, ?1, ?2, unixepoch()) ON CONFLICT DO NOTHING';
  const select = 'SELECT id, secret_mark AS mark FROM registry';
  const [, read] = await env.DB.batch<Owner>([env.DB.prepare(insert).bind(crypto.randomUUID(), mark), env.DB.prepare(select)]);
  return read?.results[0] as Owner;
}

function foreign(store: 'database' | 'bucket', id: string): UnusableStoreError {
  return new UnusableStoreError(
    `the ${store} belongs to another registry (${id}), and nothing in it was touched: ` +
      `give this one a database and a bucket of its own. If it is the same registry with a new REGISTRY_SECRET, set ` +
      `REGISTRY_SECRET_PREVIOUS to the old secret, or, if the old one is to count no more, ADOPT_REGISTRY to ${id}`,
  );
}

const knownId = perDatabase(() => ({ id: null as string | null }));

/** Returns the id of the registry, which the first request to the database created. An isolate reads the id once. */
export async function registryId(env: Pick<Env, 'DB'>): Promise<string> {
  const known = knownId(env);
  known.id ??= await env.DB.prepare('SELECT id FROM registry').first<string>('id');
  if (known.id === null) throw new Error('no registry has claimed this database');
  return known.id;
}
