/**
 * Access keys: list, read, create, change, revoke and rotate them. Users see their own keys, owners of an organization see the
 * keys of its robots, and administrators see all keys. For other callers the refusal is the same as for a key that does not
 * exist.
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
import { pushWithoutPull } from '../auth/rights/mistakes.ts';
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
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import { actorOf, isOwnKey, requireLogin, requireNoSession, requireOwner, requireUnscopedUser } from './access.ts';
import { bareNames } from './bare-names.ts';
import type { Call } from './call.ts';
import { requireProviderConfirmation } from './provider-sign-in.ts';
import { storedStatement } from './statements.ts';

export type { AccessKey } from '../auth/people/access-keys.ts';

/** A key after a change, with warnings. */
interface SavedKey {
  key: AccessKey;
  /** Likely mistakes in the statements of the key, as text for users. */
  warnings: string[];
}

export interface CreatedKey extends SavedKey {
  /** The secret of the key. Only this response contains it. */
  secret: string;
}

/**
 * Lists the keys of an owner. With a narrowed credential, the list contains only the key of the credential itself, or the key
 * with which the credential was made.
 * @param owner a subject; `undefined` means the caller
 * @throws unauthenticated; not-found if the caller may not see the keys of this owner
 */
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

/** @throws unauthenticated; not-found if the key does not exist or the caller may not see it */
export async function getKey(call: Call, id: string): Promise<AccessKey> {
  requireLogin(call);
  const { authority } = call;
  const key = await findKey(call, id);
  if (!isNarrowed(authority)) return key;
  if (key.id !== authority.credentialOrigin.key) throw new Refusal('not-found');
  return withoutOrigin(key);
}

/** Removes the id of the key that created this key, because a caller with a narrowed credential may not see it. */
function withoutOrigin(key: AccessKey): AccessKey {
  return { ...key, madeWith: null };
}

/**
 * Creates a key for the caller.
 * @param idempotency the Idempotency-Key of the request, or `null`. A repeated request with the same Idempotency-Key gets the
 * same response
 */
export async function createKey(call: Call, wanted: NewKey, idempotency: string | null): Promise<CreatedKey> {
  requireUnscopedUser(call);
  return create(call, call.authority.subject, wanted, idempotency);
}

/**
 * Creates a key for a caller with a session who has just signed in at the provider again. One such sign-in makes one key.
 * @param confirmation the token of `confirmByProvider`
 * @throws unauthenticated, forbidden; conflict if the confirmation has made another key already
 */
export async function createConfirmedKey(call: Call, wanted: NewKey, confirmation: string): Promise<CreatedKey> {
  const idempotency = await requireProviderConfirmation(call, confirmation);
  try {
    return await make(call, call.authority.subject, wanted, idempotency);
  } catch (error) {
    if (!isRefusal(error, 'conflict')) throw error;
    throw new Refusal('conflict', {
      message: 'this sign-in at the provider has made a key already: sign in there again. No key was made',
    });
  }
}

/** @param robot the subject of the robot */
export async function listRobotKeys(call: Call, robot: string, page: PageQuery): Promise<Page<AccessKey>> {
  requireOwner(call, organizationOf(robot));
  const { subject } = await getRobot(call.env, robot);
  return readKeys(call.env, { owner: subject, ...page });
}

/**
 * @param robot the subject of the robot
 * @throws disabled if the robot is disabled; otherwise for the same reasons as `createKey`
 */
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
  requireNoSession(call);
  return make(call, owner, wanted, idempotency);
}

async function make(call: Call, owner: string, wanted: NewKey, idempotency: string | null): Promise<CreatedKey> {
  const { name, statements, days } = valid(newKey, wanted);
  const { key, secret } = await addKey(call.env, {
    owner,
    name,
    statements: statements?.map(storedStatement) ?? null,
    days: days ?? settings(call.env).keyDefaultDays,
    idempotency,
    by: actorOf(call),
  });
  return { ...(await saved(call, key)), secret };
}

/** @param ifVersion the version that the key must have, or `null` for any version */
export async function changeKey(call: Call, id: string, wanted: KeyChange, ifVersion: number | null): Promise<SavedKey> {
  requireUnscopedUser(call);
  const key = await findKey(call, id);
  const { name, statements, days } = valid(keyChange, wanted);
  const change = {
    ...(name === undefined ? {} : { name }),
    ...(statements === undefined ? {} : { statements: statements?.map(storedStatement) ?? null }),
    ...(days === undefined ? {} : { days }),
  };
  return saved(call, await changeRow(call.env, key, change, { ifVersion, by: actorOf(call) }));
}

/**
 * Revokes a key and, by default, its successors: the keys that replaced it by rotation. Any key may revoke itself together with
 * its successors. Everything else needs a user's key that is not narrowed.
 * @param revocation.successors `keep` to keep the successors
 * @param revocation.made true to revoke also the keys that were created with this key
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

/**
 * The maximum number of rounds of the search for keys to revoke. Between two rounds, somebody can create another key with a key
 * that is not revoked yet.
 */
const ROUNDS = 5;

/** Revokes the keys that were created with the given key, as far as the caller may see them. */
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
 * Replaces a key by a new one with the same rights. The response contains the secret of the new key, so not even an
 * administrator may rotate a key of another user.
 * @throws not-found, forbidden; conflict if the key has expired, was revoked or was rotated already
 */
export async function rotateKey(call: Call, id: string, wanted: KeyRotation, idempotency: string | null): Promise<CreatedKey> {
  requireLogin(call);
  requireNoSession(call);
  const { authority } = call;
  const old = await findKey(call, id);
  const isOwner = isUnscopedUser(authority) && (old.owner === authority.subject || ownsRobot(authority, old.owner));
  if (!isOwnKey(authority, old.id) && !isOwner) {
    throw denied('only the key itself, or its owner with a key that is not narrowed, can rotate a key. Nothing was changed');
  }
  const { overlap, days } = valid(keyRotation, wanted);
  const rotation = { overlap, days: days ?? null, idempotency, by: actorOf(call) };
  const { key, secret } = await replaceKey(call.env, old, rotation);
  return { ...(await saved(call, key)), secret };
}

async function saved(call: Call, key: AccessKey): Promise<SavedKey> {
  if (!key.statements) return { key, warnings: [] };
  return { key, warnings: [...pushWithoutPull(key.statements, 'key'), ...(await bareNames(call, key.statements))] };
}

/** @throws not-found if the key does not exist, or if the caller may not see it */
async function findKey({ env, authority }: Call, id: string): Promise<AccessKey> {
  const key = await readKey(env, id);
  requireReach(authority, key.owner);
  return key;
}

function requireReach(authority: Authority, owner: string): void {
  if (!reaches(authority, owner)) throw new Refusal('not-found');
}

/** Returns true if the caller may see the keys of `owner`. */
function reaches(authority: Authority, owner: string): boolean {
  if (owner === authority.subject) return true;
  return isUnscopedUser(authority) && (authority.administrator || ownsRobot(authority, owner));
}

/**
 * Returns true if the subject is a robot of an organization that the caller owns. An administrator counts as an owner of every
 * organization.
 */
function ownsRobot({ administrator, owns }: Authority, subject: string): boolean {
  return subject.startsWith('robot:') && (administrator || owns.includes(organizationOf(subject)));
}

function denied(message: string): Refusal {
  return new Refusal('forbidden', { message });
}
