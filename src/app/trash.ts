/** The trash: deleted tags, manifests and repositories, listed, restored, or purged before their time is up. */
import type { Authority } from '../auth/authority.ts';
import { restorePolicy } from '../auth/rights/policies.ts';
import { common, judgeOf, reachOf, repositoryPatterns } from '../auth/visibility.ts';
import { newBatch } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import type { Tag } from '../oci/reference.ts';
import { purgeEntry } from '../registry/gc/purge.ts';
import { requireDeletion } from '../registry/manifests/deletion.ts';
import {
  type DeletedRepository,
  findEntry,
  listTrash as listEntries,
  listDeletedRepositories as listRepositories,
  type TrashEntry,
} from '../registry/trash/listing.ts';
import {
  findTrashedRepository,
  restoreRepository as restoreRow,
  type TrashedRepository,
} from '../registry/trash/repositories.ts';
import {
  notInTrash,
  type Restored,
  restoreManifest as restoreManifestRow,
  restoreTag as restoreTagRow,
} from '../registry/trash/restore.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { may, requireLogin, requireRight } from './access.ts';
import { type Call, finishing } from './call.ts';
import { openCursor, sealCursor } from './sealed-cursor.ts';

export type { DeletedRepository, Restored, TrashEntry };

/** The deleted tags and manifests of a repository: manifests by digest, then tags by name. */
export async function listTrash(call: Call, repository: RepositoryName, page: PageQuery): Promise<Page<TrashEntry>> {
  requireRight(call, 'delete', repository);
  const [kind = '', ...name] = page.after.split(' ');
  return listEntries(call.env, repository, { after: { kind, name: name.join(' ') }, limit: page.limit });
}

/** The cursor behind an entry of `listTrash`. */
export function trashCursor({ kind, name }: Pick<TrashEntry, 'kind' | 'name'>): string {
  return `${kind} ${name}`;
}

/** Restores a tag, and the manifest that it named if that was deleted, too. @throws manifest-unknown, conflict, content-gone */
export async function restoreTag(call: Call, repository: RepositoryName, tag: Tag): Promise<Restored> {
  const by = requireRight(call, 'delete', repository, tag);
  return finishing(call, restoreTagRow(call.env, repository, tag, by));
}

/**
 * Restores a manifest with its tags that are still free, what it lists, and its referrers.
 * @throws manifest-unknown, content-gone
 */
export async function restoreManifest(call: Call, repository: RepositoryName, digest: Digest): Promise<Restored> {
  const by = requireRight(call, 'delete', repository);
  return finishing(call, restoreManifestRow(call.env, repository, digest, by));
}

/** Purges a tag: it cannot be restored any more. @throws manifest-unknown, deletion-disabled */
export async function purgeTag(call: Call, repository: RepositoryName, tag: Tag): Promise<void> {
  const by = requireRight(call, 'admin', repository, tag);
  await purge(call, await findEntry(call.env, repository, 'tag', tag), by);
}

/** Purges a manifest: it cannot be restored any more. @throws manifest-unknown, deletion-disabled */
export async function purgeManifest(call: Call, repository: RepositoryName, digest: Digest): Promise<void> {
  const by = requireRight(call, 'admin', repository);
  await purge(call, await findEntry(call.env, repository, 'manifest', digest), by);
}

async function purge(call: Call, entry: Parameters<typeof purgeEntry>[1] | null, by: Actor): Promise<void> {
  requireDeletion(call.env);
  if (!entry || !(await finishing(call, purgeEntry(call.env, entry, by)))) throw notInTrash();
}

/** Cursors are encrypted for this list. */
const DELETED_REPOSITORIES = 'deleted-repositories';

/** Deleted repositories whose names the caller may administer, by name. A page may be short before the end. */
export async function listDeletedRepositories(
  call: Call,
  { after, limit }: PageQuery,
): Promise<{ items: DeletedRepository[]; next: string | null }> {
  requireLogin(call);
  const { env, authority } = call;
  const place = placeOf(await openCursor(env, DELETED_REPOSITORIES, after));
  const judge = judgeOf(authority, 'admin');
  const page = await listRepositories(env, { after: place, limit }, reachToAdmin(authority), (name) => judge(name));
  const last = page.items.at(-1);
  const rest = page.more && last ? deletedRepositoryCursor(last) : null;
  const next = page.stoppedAt ? await sealCursor(env, DELETED_REPOSITORIES, deletedRepositoryCursor(page.stoppedAt)) : rest;
  return { items: page.items, next };
}

/** The cursor behind an item of `listDeletedRepositories`. */
export function deletedRepositoryCursor({ name, entry }: { name: string; entry: number }): string {
  return `${name} ${entry}`;
}

/** @throws request-invalid */
function placeOf(cursor: string | null): { name: string; entry: number } {
  if (cursor === null) {
    throw new Refusal('request-invalid', { message: '`last` is not a valid cursor; start from the first page' });
  }
  const [name = '', entry = ''] = cursor.split(' ');
  return { name, entry: isEntry(entry) ? Number(entry) : 0 };
}

/** The prefixes and names that include every repository the caller may administer, and maybe more. An index can search them. */
function reachToAdmin({ statements, bounds }: Authority) {
  const reach = (of: Authority['statements']) => reachOf(repositoryPatterns({ statements: of }, 'admin'));
  return bounds.map(reach).reduce(common, reach(statements));
}

/**
 * Restores a repository with all it had: images, tags, settings and policy. Its webhooks have ended.
 * @param entry identifies it in the trash
 * @throws not-found, conflict if the name is taken or the content is being deleted
 */
export async function restoreRepository(call: Call, entry: string): Promise<{ name: RepositoryName }> {
  const { trashed, by } = await requireTrashed(call, entry);
  const batch = newBatch(call.env);
  restoreRow(batch, call.env, trashed, by);
  restorePolicy(batch, `repository:${trashed.name}`, trashed.entry);
  await finishing(call, batch.commit());
  return { name: trashed.name };
}

/** Purges a deleted repository. A repeated request does no harm. @throws not-found, deletion-disabled */
export async function purgeRepository(call: Call, entry: string): Promise<{ name: RepositoryName }> {
  const { trashed, by } = await requireTrashed(call, entry);
  if (!trashed.isPurging) await purge(call, { repositoryId: trashed.entry, kind: 'repository', name: '' }, by);
  return { name: trashed.name };
}

/**
 * Finds a deleted repository for a caller who may administer its name. Neither its own policy counts, nor that of a repository
 * which has the name now: for other callers it does not exist.
 */
async function requireTrashed(call: Call, entry: string): Promise<{ trashed: TrashedRepository; by: Actor }> {
  requireLogin(call);
  const trashed = isEntry(entry) ? await findTrashedRepository(call.env, Number(entry)) : null;
  if (!trashed) throw new Refusal('not-found');
  const { authority } = call;
  const statements = authority.statements.filter(({ from }) => from !== `repository:${trashed.name}`);
  const asker = { ...call, authority: { ...authority, statements } };
  if (!may(asker.authority, 'admin', trashed.name)) throw new Refusal('not-found');
  return { trashed, by: requireRight(asker, 'admin', trashed.name) };
}

/** True for the id of a repository. */
function isEntry(text: string): boolean {
  return /^[1-9]\d{0,14}$/.test(text);
}
