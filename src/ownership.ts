/**
 * A database and a bucket belong to one registry. The first deployment that uses them leaves its mark in both; another one that is
 * bound to them by mistake is refused before it reads or writes anything else. Two deployments that share them would delete each
 * other's layers and deliver each other's webhooks.
 *
 * A registry is known by its secret, of which the database holds a derived mark (HKDF), never the secret itself.
 */
import { type Env, settings } from './env.ts';
import { deriveText, type Secrets, secretsOf } from './secrets.ts';
import { REGISTRY_KEY } from './storage/keys.ts';
import { putText, readText } from './storage/objects.ts';

type Stores = Pick<Env, 'DB' | 'BLOBS' | 'ADOPT_REGISTRY'> & Secrets;

/** The database or the bucket is another registry's. The message says which, and what to do. Nothing was changed. */
export class ForeignStoreError extends Error {}

interface Owner {
  id: string;
  mark: string;
}

const MARK_LENGTH = 26;

/** Checks that succeeded, by the secrets: one in the life of an isolate. Every request looks here, so nothing is derived before. */
const checked = new Map<string, Promise<void>>();

/** Bindings are one object for the life of an isolate: most requests find theirs here. */
const passed = new WeakSet<Stores>();

/** True if `requireOwnStores` succeeded with these bindings. */
export function isChecked(env: Stores): boolean {
  return passed.has(env);
}

/**
 * One call to D1 and one to R2, in the first request of an isolate.
 * @throws ForeignStoreError
 */
export async function requireOwnStores(env: Stores): Promise<void> {
  const secrets = secretsOf(env).join('\0');
  const known = checked.get(secrets) ?? check(env);
  checked.set(secrets, known);
  // A check that failed is made again by the next request.
  await known.catch((error: unknown) => {
    checked.delete(secrets);
    throw error;
  });
  passed.add(env);
}

async function markOf(secret: string): Promise<string> {
  return (await deriveText(secret, 'registry-mark')).slice(0, MARK_LENGTH);
}

async function check(env: Stores): Promise<void> {
  const [mark = '', ...previous] = await Promise.all(secretsOf(env).map(markOf));
  const [found, inBucket] = await Promise.all([readOwner(env), readText(env, REGISTRY_KEY)]);
  const adopted = settings(env).adoptRegistry;
  if (!found && inBucket !== null && inBucket !== adopted) throw new ForeignStoreError(foreign('bucket', inBucket));
  const owner = found ?? (await claimDatabase(env, mark));
  if (owner.mark !== mark) {
    if (!previous.includes(owner.mark) && owner.id !== adopted) throw new ForeignStoreError(foreign('database', owner.id));
    await env.DB.prepare('UPDATE registry SET secret_mark = ?1 WHERE secret_mark = ?2').bind(mark, owner.mark).run();
  }
  if (inBucket === owner.id) return;
  if (inBucket !== null && inBucket !== adopted) throw new ForeignStoreError(foreign('bucket', inBucket));
  await putText(env, REGISTRY_KEY, owner.id);
}

async function readOwner(env: Pick<Env, 'DB'>): Promise<Owner | null> {
  return env.DB.prepare('SELECT id, secret_mark AS mark FROM registry').first<Owner>();
}

/** Of several deployments that claim it at once, one is the owner. */
async function claimDatabase(env: Pick<Env, 'DB'>, mark: string): Promise<Owner> {
  const insert =
    'INSERT INTO registry (one, id, secret_mark, created_at) VALUES (1, ?1, ?2, unixepoch()) ON CONFLICT DO NOTHING';
  const select = 'SELECT id, secret_mark AS mark FROM registry';
  const [, read] = await env.DB.batch<Owner>([env.DB.prepare(insert).bind(crypto.randomUUID(), mark), env.DB.prepare(select)]);
  return read?.results[0] as Owner;
}

function foreign(store: 'database' | 'bucket', id: string): string {
  return (
    `the ${store} belongs to another registry (${id}), and nothing in it was touched: ` +
    `give this one a database and a bucket of its own. If it is the same registry with a new REGISTRY_SECRET, set ` +
    `REGISTRY_SECRET_PREVIOUS to the old secret, or, if the old one is to count no more, ADOPT_REGISTRY to ${id}`
  );
}
