/** Repositories: read, create, change and delete them. */

import { getPolicy, isPublic, visibilityChange, writeFirstPolicy, writeVisibility } from '../auth/rights/policies.ts';
import { trashPolicy } from '../auth/rights/trashed-policies.ts';
import { labelChange } from '../contract/labels.ts';
import { repositoryChange } from '../contract/repositories.ts';
import { valid } from '../contract/valid.ts';
import { type Batch, newBatch, withRetries } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import type { Rendered } from '../markdown.ts';
import type { RepositoryName } from '../oci/name.ts';
import {
  createRepository as addRepository,
  changeRepository as changeDescription,
  describeRepository,
  keepOverviewHtml,
  type RepositorySummary,
  readOverview,
} from '../registry/repositories/descriptions.ts';
import { type Labels, writeLabels, writeScanOnPush } from '../registry/repositories/labels.ts';
import { writeMutability } from '../registry/tags/mutability.ts';
import { deleteRepository as moveToTrash, type RemovedRepository } from '../registry/trash/repositories.ts';
import type { Mutability } from '../vocabulary/mutability.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import { trashSubscriptions } from '../webhooks/trashed.ts';
import { may, requireRight } from './access.ts';
import type { Call } from './call.ts';

type Visibility = 'private' | 'public';

export interface ListedRepository extends RepositorySummary {
  visibility: Visibility;
}

export interface Repository extends ListedRepository {
  /** The overview text, in Markdown. */
  overview: string;
  version: number;
}

/** The fields to set. A field that is left out is not changed. A new repository is private and has no texts by default. */
interface RepositoryChange {
  visibility?: Visibility | undefined;
  description?: string | undefined;
  /** The overview text, in Markdown. */
  overview?: string | undefined;
}

export async function getRepository(call: Call, repository: RepositoryName): Promise<Repository> {
  requireRight(call, 'pull', repository);
  return readRepository(call, repository);
}

/**
 * Returns the overview as HTML that is safe to insert into a page, or the empty string if there is no overview. An overview
 * that an earlier version of the registry saved without HTML is rendered now, and the HTML is stored.
 */
export async function getOverview(call: Call, repository: RepositoryName): Promise<string> {
  requireRight(call, 'pull', repository);
  const { source, html, version } = await readOverview(call.env, repository);
  if (html !== null || source === '') return html ?? '';
  const made = await renderedOrText(source);
  call.work.waitUntil(keepOverviewHtml(call.env, repository, { html: made, version }));
  return made;
}

async function renderedOrText(source: string): Promise<string> {
  const { asText, rendered } = await import('../markdown.ts');
  try {
    return rendered(source, 'overview').html;
  } catch (error) {
    if (isRefusal(error, 'request-invalid')) return asText(source);
    throw error;
  }
}

/** Renders a text as an overview, and saves nothing. @throws request-invalid if the HTML is too long */
export async function previewOverview(call: Call, repository: RepositoryName, source: string): Promise<string> {
  requireRight(call, 'admin', repository);
  return (await withOverview({ overview: source })).overview?.html ?? '';
}

/** The fields of a change. The overview has been rendered to HTML. */
type CheckedChange = Omit<RepositoryChange, 'overview'> & { overview?: Rendered };

/** Validates a change and renders its overview. @throws request-invalid */
async function withOverview(change: RepositoryChange): Promise<CheckedChange> {
  const { overview, ...others } = valid(repositoryChange, change);
  if (overview === undefined) return others;
  const { rendered } = await import('../markdown.ts');
  return { ...others, overview: rendered(overview, 'overview') };
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
 * Creates a repository, or changes the existing one.
 * @param ifVersion the version that the repository must have. 0 means that it must not exist; `null` means any version
 * @throws name-taken if the repository exists and the caller may create repositories here but not pull this one; forbidden,
 * version-mismatch
 */
export async function putRepository(
  call: Call,
  repository: RepositoryName,
  change: RepositoryChange,
  ifVersion: number | null,
): Promise<{ isNew: boolean; repository: Repository }> {
  const by = requireRight(call, 'create', repository);
  const wanted = await withOverview(change);
  if (ifVersion === null || ifVersion === 0) {
    if (await create(call, repository, wanted, by)) return { isNew: true, repository: await readRepository(call, repository) };
    if (ifVersion === 0)
      throw new Refusal('version-mismatch', { message: 'the repository exists already: nothing was changed' });
  }
  if (!may(call.authority, 'pull', repository)) throw new Refusal('name-taken');
  requireRight(call, 'admin', repository);
  // A repository that does not exist has no version, so no `If-Match` can match (RFC 9110, section 13.1.1).
  if (ifVersion !== null && !(await describeRepository(call.env, repository))) throw new Refusal('version-mismatch');
  return { isNew: false, repository: await save(call, repository, wanted, { ifVersion, by }) };
}

/** The settings that a new repository may get in addition to its texts. */
export interface NewSettings {
  labels?: Labels;
  scanOnPush?: boolean;
  mutability?: Mutability;
}

/**
 * Creates a repository that must not exist yet. @throws name-taken; forbidden if the caller sets something but may not
 * administer the repository
 */
export async function createRepository(call: Call, repository: RepositoryName, settings: NewSettings): Promise<void> {
  const by = requireRight(call, 'create', repository);
  if (Object.keys(settings).length > 0) requireRight(call, 'admin', repository);
  const { labels, scanOnPush, mutability } = settings;
  const created = await create(call, repository, {}, by, (batch) => {
    if (labels) writeLabels(batch, repository, valid(labelChange, labels));
    if (scanOnPush) writeScanOnPush(batch, repository, scanOnPush);
    if (mutability) writeMutability(batch, repository, mutability, by);
  });
  if (!created) throw new Refusal('name-taken');
}

/**
 * Creates a repository. @param also adds further statements to the batch @returns false if a repository with this name exists
 */
async function create(
  call: Call,
  repository: RepositoryName,
  wanted: CheckedChange,
  by: Actor,
  also: (batch: Batch) => void = () => {},
): Promise<boolean> {
  const creator = { by, mayAdminister: may(call.authority, 'admin', repository) };
  // A creator who may not administer the repository must not set some fields; the batch would fail with `forbidden`. If the
  // name is taken, that is the more useful reason, so it is checked first.
  if (!creator.mayAdminister && (await describeRepository(call.env, repository))) return false;
  const batch = newBatch(call.env);
  addRepository(batch, repository, wanted, creator);
  writeFirstPolicy(batch, subjectOf(repository), wanted.visibility ?? 'private', creator);
  also(batch);
  try {
    await batch.commit();
    return true;
  } catch (error) {
    if (isRefusal(error, 'name-taken')) return false;
    throw error;
  }
}

/** @param ifVersion the version that the repository must have, or `null` for any version */
export async function changeRepository(
  call: Call,
  repository: RepositoryName,
  change: RepositoryChange,
  ifVersion: number | null,
): Promise<Repository> {
  const by = requireRight(call, 'admin', repository);
  return save(call, repository, await withOverview(change), { ifVersion, by });
}

async function save(
  call: Call,
  repository: RepositoryName,
  { visibility, ...texts }: CheckedChange,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<Repository> {
  // The policy is read before the batch is made. If another request changes the policy in between, the batch fails and
  // everything is repeated.
  await withRetries(async () => {
    const policy = visibility ? await visibilityChange(call.env, subjectOf(repository), visibility) : null;
    const batch = newBatch(call.env);
    changeDescription(batch, repository, texts, { ifVersion, by, visibility: policy && visibility ? visibility : null });
    if (policy) writeVisibility(batch, subjectOf(repository), policy, by);
    await batch.commit();
  });
  return readRepository(call, repository);
}

export interface DeletedRepository extends RemovedRepository {
  name: RepositoryName;
  /** The number of webhooks that were moved to the trash together with the repository. */
  webhooks: number;
}

/**
 * Moves a repository to the trash, with its content, its policy and its webhooks.
 * @throws not-empty if it has content and `force` is false; conflict if it has immutable tags; version-mismatch
 */
export async function deleteRepository(
  call: Call,
  repository: RepositoryName,
  { force, ifVersion }: { force: boolean; ifVersion: number | null },
): Promise<DeletedRepository> {
  const by = requireRight(call, 'admin', repository);
  const { also: webhooks, ...removed } = await moveToTrash(call.env, repository, {
    evenIfNotEmpty: force,
    ifVersion,
    by,
    also: (batch, id) => {
      trashPolicy(batch, subjectOf(repository), id);
      const kept = trashSubscriptions(batch, subjectOf(repository), id);
      return (results) => results.of(kept).length;
    },
  });
  return { name: repository, ...removed, webhooks };
}

function subjectOf(repository: RepositoryName): string {
  return `repository:${repository}`;
}
