/** Labels of repositories, and the other settings of repositories in the ECR API. */
import { labelChange } from '../contract/labels.ts';
import { valid } from '../contract/valid.ts';
import type { RepositoryName } from '../oci/name.ts';
import {
  changeLabels as changeStored,
  type Labels,
  readLabels,
  readSettings,
  type StoredSettings,
  saveScanOnPush,
} from '../registry/repositories/labels.ts';
import { mutabilityOf } from '../registry/tags/mutability.ts';
import type { Mutability } from '../vocabulary/mutability.ts';
import { may, requireRight } from './access.ts';
import type { Call } from './call.ts';
import type { ListedRepository } from './repositories.ts';

/** A repository with the settings that the ECR API shows. */
export interface SettledRepository extends Omit<StoredSettings, 'rule'> {
  mutability: Mutability;
}

async function settled({ env }: Call, names: readonly RepositoryName[]): Promise<SettledRepository[]> {
  const stored = await readSettings(env, names);
  return stored.map(({ rule, ...one }) => ({ ...one, mutability: mutabilityOf(rule) }));
}

/**
 * Returns the repositories that exist and from which the caller may pull. The policies of all of them must have been loaded
 * before.
 */
export async function findRepositories(call: Call, names: readonly RepositoryName[]): Promise<SettledRepository[]> {
  const visible = names.filter((name) => may(call.authority, 'pull', name));
  return visible.length === 0 ? [] : settled(call, visible);
}

/** Returns the settings of repositories that `listRepositories` has returned. That function has checked the rights already. */
export function listSettings(call: Call, listed: readonly ListedRepository[]): Promise<SettledRepository[]> {
  return settled(
    call,
    listed.map(({ name }) => name),
  );
}

/** @throws repository-unknown */
export async function getLabels(call: Call, repository: RepositoryName): Promise<Labels> {
  requireRight(call, 'pull', repository);
  return readLabels(call.env, repository);
}

/**
 * Changes labels. A label with the value `null` is removed, and labels that are not named are kept.
 * @throws repository-unknown, request-invalid; limit-reached if there would be more than 50 labels
 */
export async function changeLabels(
  call: Call,
  repository: RepositoryName,
  change: Record<string, string | null>,
): Promise<void> {
  const by = requireRight(call, 'admin', repository);
  await changeStored(call.env, repository, valid(labelChange, change), by);
}

/** Saves whether clients want pushed images to be scanned. This registry does not scan. @throws repository-unknown */
export async function setScanOnPush(call: Call, repository: RepositoryName, scanOnPush: boolean): Promise<void> {
  const by = requireRight(call, 'admin', repository);
  await saveScanOnPush(call.env, repository, scanOnPush, by);
}
