/**
 * Access keys: list, read, create, change, revoke and rotate them. Users see their own keys, owners of an organization those of
 * its robots, and administrators all keys. For other callers a key does not exist.
 */
import type { Authority } from '../auth/authority.ts';
import {
  type AccessKey,
  createKey as addKey,
  revokeKey as endKey,
  revokeKeys as endKeys,
  keysMadeWith,
  getKey as readKey,
  listKeys as readKeys,
} from '../auth/people/access-keys.ts';
import { changeKey as changeRow, rotateKey as replaceKey } from '../auth/people/key-changes.ts';
import { getRobot } from '../auth/people/robots.ts';
import { isNarrowed, isUnscopedUser } from '../auth/policy.ts';
import { pushWithoutPull } from '../auth/rights/policy-names.ts';
import {
  type KeyChange,
  type KeyRevocation,
  type KeyRotation,
  keyChange,
  keyRotation,
  type NewKey,
  newKey,
} from '../contract/keys.ts';
import { valid } from '../contract/valid.ts';
import { settings } from '../env.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import { organizationOf } from '../vocabulary/names.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { actorOf, isOwnKey, requireLogin, requireOwner, requireUnscopedUser } from './access.ts';
import type { Call } from './call.ts';
import { storedStatement } from './statements.ts';

export type { AccessKey } from '../auth/people/access-keys.ts';

/** A key whose statements were just saved. */
interface SavedKey {
  key: AccessKey;
  /** Likely mistakes in its statements. */
  warnings: string[];
}

export interface CreatedKey extends SavedKey {
  /** Shown only once. */
  secret: string;
}

/** @param owner a subject; default: the caller. A narrowed credential sees only the key that it is or was made with */
export async function listKeys(call: Call, owner: string | undefined, page: PageQuery): Promise<Page<AccessKey>> {
  requireLogin(call);
  const { authority } = call;
  const asked = (owner ?? authority.subject).toLowerCase();
  if (!isNarrowed(authority)) {
    requireReach(authority, asked);
    return readKeys(call.env, { owner: asked, ...page });
  }
  if (asked !== authority.subject) throw new Refusal('not-found');
  const { key } = authority.credentialOrigin;
  return { items: key === undefined ? [] : [withoutOrigin(await readKey(call.env, key))], more: false };
}

/** @throws not-found for a key that the caller may not see */
export async function getKey(call: Call, id: string): Promise<AccessKey> {
  requireLogin(call);
  const { authority } = call;
  const key = await findKey(call, id);
  if (!isNarrowed(authority)) return key;
  if (key.id !== authority.credentialOrigin.key) throw new Refusal('not-found');
  return withoutOrigin(key);
}

/** A narrowed key is not told which key created it. */
function withoutOrigin(key: AccessKey): AccessKey {
  return { ...key, madeWith: null };
}

/**
 * Creates a key for the caller.
 * @param idempotency the client's idempotency key: a repeated request with it gets the same answer. `null`: none
 */
export async function createKey(call: Call, wanted: NewKey, idempotency: string | null): Promise<CreatedKey> {
  requireUnscopedUser(call);
  return create(call, call.authority.subject, wanted, idempotency);
}

/** @param robot a subject */
export async function listRobotKeys(call: Call, robot: string, page: PageQuery): Promise<Page<AccessKey>> {
  requireOwner(call, organizationOf(robot));
  const { subject } = await getRobot(call.env, robot);
  return readKeys(call.env, { owner: subject, ...page });
}

/** @param robot a subject. @throws disabled, and as `createKey` */
export async function createRobotKey(
  call: Call,
  robot: string,
  wanted: NewKey,
  idempotency: string | null,
): Promise<CreatedKey> {
  requireOwner(call, organizationOf(robot));
  const { subject, disabled } = await getRobot(call.env, robot);
  if (disabled) throw new Refusal('disabled', { message: `${subject} is disabled: enable it first. No key was created` });
  return create(call, subject, wanted, idempotency);
}

async function create(call: Call, owner: string, wanted: NewKey, idempotency: string | null): Promise<CreatedKey> {
  const { name, statements, days } = valid(newKey, wanted);
  const { key, secret } = await addKey(call.env, {
    owner,
    name,
    statements: statements?.map(storedStatement) ?? null,
    days: days ?? settings(call.env).keyDefaultDays,
    idempotency,
    by: actorOf(call),
  });
  return { ...saved(key), secret };
}

/** @param ifVersion the version that the key is expected to have; `null`: any */
export async function changeKey(call: Call, id: string, wanted: KeyChange, ifVersion: number | null): Promise<SavedKey> {
  requireUnscopedUser(call);
  const key = await findKey(call, id);
  const { name, statements, days } = valid(keyChange, wanted);
  const change = {
    ...(name === undefined ? {} : { name }),
    ...(statements === undefined ? {} : { statements: statements?.map(storedStatement) ?? null }),
    ...(days === undefined ? {} : { days }),
  };
  return saved(await changeRow(call.env, key, change, { ifVersion, by: actorOf(call) }));
}

/**
 * Revokes a key and its successors. Any key may revoke itself; everything else needs a credential that is not narrowed.
 * @throws not-found, forbidden
 */
export async function revokeKey(call: Call, id: string, { successors, made }: KeyRevocation): Promise<void> {
  requireLogin(call);
  const key = await findKey(call, id);
  const keepSuccessors = successors === 'keep';
  const byItself = isOwnKey(call.authority, key.id);
  if (keepSuccessors || !byItself || made) requireUnscopedUser(call);
  if (keepSuccessors && byItself) throw denied('a key that revokes itself revokes its successors too. Nothing was revoked');
  await endKey(call.env, key, keepSuccessors, actorOf(call));
  if (made) await revokeCreatedWith(call, key.id);
}

/** Rounds of the search: somebody who has a key that was created with a revoked one may create another key meanwhile. */
const ROUNDS = 5;

/** Revokes the keys that were created with a key, as far as the caller may see them. */
async function revokeCreatedWith(call: Call, id: string): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const made = (await keysMadeWith(call.env, id)).filter(({ owner }) => reaches(call.authority, owner));
    if (made.length === 0) return;
    for (const [owner, keys] of Map.groupBy(made, (key) => key.owner)) {
      await endKeys(
        call.env,
        owner,
        keys.map((key) => key.id),
        actorOf(call),
      );
    }
  }
}

/**
 * Replaces a key by a new one with the same rights. The answer contains a secret, so not even an administrator gets one for a
 * key of another user.
 * @throws not-found, forbidden, conflict
 */
export async function rotateKey(call: Call, id: string, wanted: KeyRotation, idempotency: string | null): Promise<CreatedKey> {
  requireLogin(call);
  const { authority } = call;
  const old = await findKey(call, id);
  const isOwner = isUnscopedUser(authority) && (old.owner === authority.subject || ownsRobot(authority, old.owner));
  if (!isOwnKey(authority, old.id) && !isOwner) {
    throw denied('only the key itself, or its owner with a key that is not narrowed, can rotate a key. Nothing was changed');
  }
  const { overlap, days } = valid(keyRotation, wanted);
  const rotation = { overlap, days: days ?? null, idempotency, by: actorOf(call) };
  const { key, secret } = await replaceKey(call.env, old, rotation);
  return { ...saved(key), secret };
}

function saved(key: AccessKey): SavedKey {
  return { key, warnings: key.statements ? pushWithoutPull(key.statements, 'key') : [] };
}

/** @throws not-found for a key that does not exist or that the caller may not see */
async function findKey({ env, authority }: Call, id: string): Promise<AccessKey> {
  const key = await readKey(env, id);
  requireReach(authority, key.owner);
  return key;
}

function requireReach(authority: Authority, owner: string): void {
  if (!reaches(authority, owner)) throw new Refusal('not-found');
}

/** True if the caller may see the keys of `owner`. */
function reaches(authority: Authority, owner: string): boolean {
  if (owner === authority.subject) return true;
  return isUnscopedUser(authority) && (authority.administrator || ownsRobot(authority, owner));
}

/** An administrator counts as an owner of every organization. */
function ownsRobot({ administrator, owns }: Authority, subject: string): boolean {
  return subject.startsWith('robot:') && (administrator || owns.includes(organizationOf(subject)));
}

function denied(message: string): Refusal {
  return new Refusal('forbidden', { message });
}
