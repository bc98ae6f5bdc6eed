/** Storage usage and storage limits (quotas) of organizations and users, and the number of pulls of images. */
import { findUser } from '../auth/people/accounts.ts';
import { getOrganization } from '../auth/people/organizations.ts';
import { isUnscopedUser } from '../auth/policy.ts';
import { requireOrganization } from '../auth/within.ts';
import { type Batch, newBatch } from '../events/batch.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Page } from '../oci/page.ts';
import type { Tag } from '../oci/reference.ts';
import { statManifest } from '../registry/manifests/manifests.ts';
import { holdingsOf } from '../registry/usage/holdings.ts';
import { type LargeRepository, largestRepositories } from '../registry/usage/largest.ts';
import { type Pulls, pullsOf } from '../registry/usage/pulls.ts';
import { type Quota, setQuota } from '../registry/usage/quota.ts';
import { listUsage as listRows, type TotalUsage, totalUsage, type Usage } from '../registry/usage/usage.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { actorOf, requireAdministrator, requireLogin, requireNotNarrowed, requireOwner, requireRight } from './access.ts';
import type { Call } from './call.ts';

export type { LargeRepository, Pulls, Quota, TotalUsage, Usage };
export type Holdings = Awaited<ReturnType<typeof holdingsOf>>;

/**
 * Lists the usage of all namespaces, by name. The first page also has the total of all namespaces.
 * @param page.after the cursor, or `null` for the first page
 */
export async function listUsage(
  call: Call,
  page: { after: string | null; limit: number },
): Promise<Page<Usage> & { total: TotalUsage | null }> {
  requireAdministrator(call);
  const [rows, total] = await Promise.all([
    listRows(call.env, page.after, page.limit),
    page.after === null ? totalUsage(call.env) : null,
  ]);
  return { ...rows, total };
}

/**
 * Returns the cursor for the page of `listUsage` after this item. A cursor must not be empty, so the empty namespace, which
 * comes first, has the cursor `-`, which sorts before every other name.
 */
export function usageCursor({ namespace }: Pick<Usage, 'namespace'>): string {
  return namespace || '-';
}

/**
 * Lists the repositories that take the most space. Owners may list those of their organization, administrators those of the
 * whole registry.
 * @param organization `null` for the whole registry
 */
export async function listLargest(call: Call, organization: string | null, limit: number): Promise<LargeRepository[]> {
  if (organization === null) requireAdministrator(call);
  else requireOwner(call, organization);
  return largestRepositories(call.env, organization, limit);
}

/** Returns the usage of an organization. Only its owners may read it. */
export async function getOrganizationUsage(call: Call, organization: string): Promise<Holdings> {
  requireOwner(call, organization);
  await getOrganization(call.env, organization);
  return holdingsOf(call.env, organization);
}

/**
 * Returns the usage of the repositories under a user's own name.
 * @throws unauthenticated; forbidden for a narrowed key, because the totals include repositories to which the key has no right;
 * not-found if the caller is neither this user nor an administrator
 */
export async function getUserUsage(call: Call, user: string): Promise<Holdings> {
  return holdingsOf(call.env, await requireUsageOf(call, user));
}

/** Lists the largest repositories under a user's own name. @throws as `getUserUsage` */
export async function listLargestOfUser(call: Call, user: string, limit: number): Promise<LargeRepository[]> {
  return largestRepositories(call.env, await requireUsageOf(call, user), limit);
}

/** @returns the name of the user */
async function requireUsageOf(call: Call, user: string): Promise<string> {
  requireLogin(call);
  const { authority } = call;
  const { name, subject } = await getUser(call, user);
  const isAdministrator = authority.administrator && isUnscopedUser(authority);
  if (authority.subject !== subject && !isAdministrator) throw new Refusal('not-found');
  requireNotNarrowed(call);
  return name;
}

/** @throws not-found if the user does not exist */
async function getUser({ env }: Call, name: string): Promise<{ name: string; subject: string }> {
  const user = await findUser(env, `user:${name}`);
  if (!user) throw new Refusal('not-found');
  return user;
}

export interface QuotaChange {
  /** The maximum number of bytes, or `null` for no limit. */
  maxBytes: number | null;
  /** The percentage of `maxBytes` at which a warning is recorded. If left out, the percentage is not changed. */
  warnPercent?: number | undefined;
}

/**
 * @param ifVersion the version that the quota must have, or `null` for any version
 * @throws request-invalid, not-found, version-mismatch
 */
export async function putUserQuota(call: Call, user: string, change: QuotaChange, ifVersion: number | null): Promise<Quota> {
  requireAdministrator(call);
  // Rows of users are never deleted, so the batch need not check that the user still exists.
  const { name } = await getUser(call, user);
  return putQuota(call, { namespace: name, kind: 'user' }, change, { ifVersion, guard: () => {} });
}

/**
 * @param ifVersion the version that the quota must have, or `null` for any version
 * @throws request-invalid, not-found, version-mismatch
 */
export async function putOrganizationQuota(
  call: Call,
  organization: string,
  change: QuotaChange,
  ifVersion: number | null,
): Promise<Quota> {
  requireAdministrator(call);
  await getOrganization(call.env, organization);
  const guard = (batch: Batch) => requireOrganization(batch, organization);
  return putQuota(call, { namespace: organization, kind: 'organization' }, change, { ifVersion, guard });
}

async function putQuota(
  call: Call,
  namespace: Parameters<typeof setQuota>[1],
  { maxBytes, warnPercent = null }: { maxBytes: number | null; warnPercent?: number | null | undefined },
  { ifVersion, guard }: { ifVersion: number | null; guard: (batch: Batch) => void },
): Promise<Quota> {
  const batch = newBatch(call.env);
  guard(batch);
  const saved = setQuota(batch, namespace, { maxBytes, warnPercent }, { ifVersion, by: actorOf(call) });
  const results = await batch.commit();
  return results.first(saved) as Quota;
}

/**
 * Returns the pulls of one image or of a whole repository. Counting a whole repository reads many rows, so it needs the right
 * to push.
 * @throws repository-unknown, manifest-unknown
 */
export async function getPulls(
  call: Call,
  repository: RepositoryName,
  { tag, digest }: { tag?: Tag | undefined; digest?: Digest | undefined },
): Promise<Pulls> {
  requireRight(call, 'pull', repository);
  if (tag === undefined && digest === undefined) requireRight(call, 'push', repository);
  const named = tag === undefined ? digest : (await statManifest(call.env, repository, { tag }, call.now)).digest;
  return pullsOf(call.env, repository, named ?? null);
}
