/** Repositories: read, create, change and delete them. */

import {
  getPolicy,
  isPublic,
  trashPolicy,
  visibilityChange,
  writeFirstPolicy,
  writeVisibility,
} from '../auth/rights/policies.ts';
import { repositoryChange } from '../contract/repositories.ts';
import { valid } from '../contract/valid.ts';
import { newBatch, withRetries } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import type { RepositoryName } from '../oci/name.ts';
import {
  createRepository as addRepository,
  changeRepository as changeDescription,
  describeRepository,
  type RepositorySummary,
} from '../registry/repositories/descriptions.ts';
import { deleteRepository as moveToTrash } from '../registry/trash/repositories.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import { endSubscriptions } from '../webhooks/subscriptions.ts';
import { may, requireRight } from './access.ts';
import type { Call } from './call.ts';

type Visibility = 'private' | 'public';

export interface ListedRepository extends RepositorySummary {
  visibility: Visibility;
}

export interface Repository extends ListedRepository {
  /** Markdown. */
  overview: string;
  version: number;
}

/** Fields to set. A field that is left out stays as it is; a new repository is private and has no texts. */
interface RepositoryChange {
  visibility?: Visibility | undefined;
  description?: string | undefined;
  /** Markdown. */
  overview?: string | undefined;
}

export async function getRepository(call: Call, repository: RepositoryName): Promise<Repository> {
  requireRight(call, 'pull', repository);
  return readRepository(call, repository);
}

async function readRepository(call: Call, repository: RepositoryName): Promise<Repository> {
  const [found, { statements }] = await Promise.all([
    describeRepository(call.env, repository),
    getPolicy(call.env, subjectOf(repository)),
  ]);
  if (!found) throw new Refusal('repository-unknown');
  return { ...found, visibility: isPublic(statements) ? 'public' : 'private' };
}

/**
 * Creates a repository, or changes the one of this name.
 * @param ifVersion the version that the repository is expected to have; 0: it is expected to be absent; `null`: any
 * @throws name-taken to who may create here but not see the repository; forbidden, version-mismatch
 */
export async function putRepository(
  call: Call,
  repository: RepositoryName,
  change: RepositoryChange,
  ifVersion: number | null,
): Promise<{ isNew: boolean; repository: Repository }> {
  const by = requireRight(call, 'create', repository);
  const wanted = valid(repositoryChange, change);
  if (ifVersion === null || ifVersion === 0) {
    if (await create(call, repository, wanted, by)) return { isNew: true, repository: await readRepository(call, repository) };
    if (ifVersion === 0)
      throw new Refusal('version-mismatch', { message: 'the repository exists already: nothing was changed' });
  }
  if (!may(call.authority, 'pull', repository)) throw new Refusal('name-taken');
  requireRight(call, 'admin', repository);
  // RFC 9110, 13.1.1: an absent repository has no version.
  if (ifVersion !== null && !(await describeRepository(call.env, repository))) throw new Refusal('version-mismatch');
  return { isNew: false, repository: await save(call, repository, wanted, { ifVersion, by }) };
}

/** @returns `false` if there is one of this name */
async function create(call: Call, repository: RepositoryName, wanted: RepositoryChange, by: Actor): Promise<boolean> {
  const creator = { by, mayAdminister: may(call.authority, 'admin', repository) };
  // A creator without the right to admin is told that the name is taken, not that a field is not allowed.
  if (!creator.mayAdminister && (await describeRepository(call.env, repository))) return false;
  const batch = newBatch(call.env);
  addRepository(batch, repository, wanted, creator);
  writeFirstPolicy(batch, subjectOf(repository), wanted.visibility ?? 'private', creator);
  try {
    await batch.commit();
    return true;
  } catch (error) {
    if (isRefusal(error, 'name-taken')) return false;
    throw error;
  }
}

/** @param ifVersion the version that the repository is expected to have; `null`: any */
export async function changeRepository(
  call: Call,
  repository: RepositoryName,
  change: RepositoryChange,
  ifVersion: number | null,
): Promise<Repository> {
  const by = requireRight(call, 'admin', repository);
  return save(call, repository, valid(repositoryChange, change), { ifVersion, by });
}

async function save(
  call: Call,
  repository: RepositoryName,
  { visibility, ...texts }: RepositoryChange,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<Repository> {
  // The policy is read first; if another request saves it meanwhile, the batch is refused.
  await withRetries(async () => {
    const policy = visibility ? await visibilityChange(call.env, subjectOf(repository), visibility) : null;
    const batch = newBatch(call.env);
    changeDescription(batch, repository, texts, { ifVersion, by, visibility: policy && visibility ? visibility : null });
    if (policy) writeVisibility(batch, subjectOf(repository), policy, by);
    await batch.commit();
  });
  return readRepository(call, repository);
}

/**
 * Moves a repository into the trash with all it has. Its policy is kept there; its webhooks end.
 * @throws not-empty without `force`; conflict for immutable tags; version-mismatch
 */
export async function deleteRepository(
  call: Call,
  repository: RepositoryName,
  { force, ifVersion }: { force: boolean; ifVersion: number | null },
): Promise<void> {
  const by = requireRight(call, 'admin', repository);
  await moveToTrash(call.env, repository, {
    evenIfNotEmpty: force,
    ifVersion,
    by,
    also: (batch, id) => {
      trashPolicy(batch, subjectOf(repository), id);
      endSubscriptions(batch, subjectOf(repository));
    },
  });
}

function subjectOf(repository: RepositoryName): string {
  return `repository:${repository}`;
}
