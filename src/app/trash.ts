/** The trash, which keeps deleted tags, manifests and repositories for a retention time: list, restore and purge them. */
import type { Authority } from '../auth/authority.ts';
import { restorePolicy } from '../auth/rights/trashed-policies.ts';
import { common, judgeOf, reachOf, repositoryPatterns } from '../auth/visibility.ts';
import { newBatch } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import type { Tag } from '../oci/reference.ts';
import { purgeEntry } from '../registry/gc/purge.ts';
import { requireDeletion } from '../registry/manifests/deletion.ts';
import type { RepositorySums } from '../registry/repositories/descriptions.ts';
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
import { type RestoredWebhooks, restoreSubscriptions } from '../webhooks/trashed.ts';
import { may, requireLogin, requireRight } from './access.ts';
import { type Call, finishing } from './call.ts';
import { openCursor, sealCursor } from './sealed-cursor.ts';

export type { DeletedRepository, Restored, TrashEntry };

/** Lists the deleted tags and manifests of a repository: first manifests by digest, then tags by name. */
export async function listTrash(call: Call, repository: RepositoryName, page: PageQuery): Promise<Page<TrashEntry>> {
  requireRight(call, 'delete', repository);
  const [kind = '', ...name] = page.after.split(' ');
  return listEntries(call.env, repository, { after: { kind, name: name.join(' ') }, limit: page.limit });
}

/** Returns the cursor for the page of `listTrash` after this entry. */
export function trashCursor({ kind, name }: Pick<TrashEntry, 'kind' | 'name'>): string {
  return `${kind} ${name}`;
}

/**
 * Restores a tag. Also restores the manifest that it named if that is in the trash.
 * @throws manifest-unknown if the tag is not in the trash; conflict if a tag with this name exists; content-gone, limit-reached
 */
export async function restoreTag(call: Call, repository: RepositoryName, tag: Tag): Promise<Restored> {
  const by = requireRight(call, 'delete', repository, tag);
  return finishing(call, restoreTagRow(call.env, repository, tag, by));
}

/**
 * Restores a manifest, the manifests that it lists, and its referrers. Its tags are restored if their names are free.
 * @throws manifest-unknown if the manifest is not in the trash; content-gone, limit-reached
 */
export async function restoreManifest(call: Call, repository: RepositoryName, digest: Digest): Promise<Restored> {
  const by = requireRight(call, 'delete', repository);
  return finishing(call, restoreManifestRow(call.env, repository, digest, by));
}

/** Deletes a tag in the trash for good. @throws manifest-unknown, deletion-disabled */
export async function purgeTag(call: Call, repository: RepositoryName, tag: Tag): Promise<void> {
  const by = requireRight(call, 'admin', repository, tag);
  await purge(call, await findEntry(call.env, repository, 'tag', tag), by);
}

/** Deletes a manifest in the trash for good. @throws manifest-unknown, deletion-disabled */
export async function purgeManifest(call: Call, repository: RepositoryName, digest: Digest): Promise<void> {
  const by = requireRight(call, 'admin', repository);
  await purge(call, await findEntry(call.env, repository, 'manifest', digest), by);
}

async function purge(call: Call, entry: Parameters<typeof purgeEntry>[1] | null, by: Actor): Promise<void> {
  requireDeletion(call.env);
  if (!entry || !(await finishing(call, purgeEntry(call.env, entry, by)))) throw notInTrash();
}

/** The name of this list in encrypted cursors. */
const DELETED_REPOSITORIES = 'deleted-repositories';

/** Lists, by name, the deleted repositories that the caller may administer. A page can be short although more pages follow. */
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

/** Returns the cursor for the page of `listDeletedRepositories` after this item. */
export function deletedRepositoryCursor({ name, entry }: { name: string; entry: number }): string {
  return `${name} ${entry}`;
}

/** Parses a decrypted cursor. @throws request-invalid if the cursor could not be decrypted (`null`) */
function placeOf(cursor: string | null): { name: string; entry: number } {
  if (cursor === null) {
    throw new Refusal('request-invalid', { message: '`last` is not a valid cursor; start from the first page' });
  }
  const [name = '', entry = ''] = cursor.split(' ');
  return { name, entry: isEntry(entry) ? Number(entry) : 0 };
}

/**
 * Returns prefixes and names for a search in the index. They cover all repositories that the caller may administer, and maybe
 * others.
 */
function reachToAdmin({ statements, bounds }: Authority) {
  const reach = (of: Authority['statements']) => reachOf(repositoryPatterns({ statements: of }, 'admin'));
  return bounds.map(reach).reduce(common, reach(statements));
}

export interface RestoredRepository extends RepositorySums {
  name: RepositoryName;
  webhooks: RestoredWebhooks;
}

/**
 * Restores a repository with its images, tags, settings and policy. Its webhooks are restored, but stay disabled.
 * @param entry the id of the repository in the trash
 * @throws not-found; conflict if the name is taken, or if the content is already being deleted for good
 */
export async function restoreRepository(call: Call, entry: string): Promise<RestoredRepository> {
  const { trashed, by } = await requireTrashed(call, entry);
  const scope = `repository:${trashed.name}`;
  const batch = newBatch(call.env);
  const held = restoreRow(batch, call.env, trashed, by);
  restorePolicy(batch, scope, trashed.entry);
  const webhooks = restoreSubscriptions(batch, scope, trashed.entry, by);
  const results = await finishing(call, batch.commit());
  return { name: trashed.name, ...(results.first(held) as RepositorySums), webhooks: webhooks(results) };
}

/** Returns the name of a deleted repository that the caller may restore. @throws not-found */
export async function getDeletedRepository(call: Call, entry: string): Promise<{ name: RepositoryName }> {
  const { trashed } = await requireTrashed(call, entry);
  return { name: trashed.name };
}

/**
 * Deletes a repository in the trash for good. Does nothing if that is already in progress. @throws not-found, deletion-disabled
 */
export async function purgeRepository(call: Call, entry: string): Promise<{ name: RepositoryName }> {
  const { trashed, by } = await requireTrashed(call, entry);
  if (!trashed.isPurging) await purge(call, { repositoryId: trashed.entry, kind: 'repository', name: '' }, by);
  return { name: trashed.name };
}

/**
 * Finds a deleted repository for a caller who may administer its name. The right must come from the caller's role or own
 * policies. The policy of a new repository with the same name does not count.
 * @throws unauthenticated; not-found if the repository is not in the trash or the caller does not have the right
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

/** Returns true if the text is the id of a repository. */
function isEntry(text: string): boolean {
  return /^[1-9]\d{0,14}$/.test(text);
}
