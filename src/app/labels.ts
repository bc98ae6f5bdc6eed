/** Labels of repositories, and the settings that the ECR API shows. */
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

/** Returns those of the repositories that exist and that the caller may pull. The policies of all must have been loaded. */
export async function findRepositories(call: Call, names: readonly RepositoryName[]): Promise<SettledRepository[]> {
  const visible = names.filter((name) => may(call.authority, 'pull', name));
  return visible.length === 0 ? [] : settled(call, visible);
}

/** Returns the settings of repositories that `listRepositories` has returned, so that the caller may see them. */
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
 * Changes labels. A label with the value `null` is removed, and labels that are not named stay.
 * @throws repository-unknown, request-invalid; limit-reached beyond 50 labels
 */
export async function changeLabels(
  call: Call,
  repository: RepositoryName,
  change: Record<string, string | null>,
): Promise<void> {
  const by = requireRight(call, 'admin', repository);
  await changeStored(call.env, repository, valid(labelChange, change), by);
}

/** Saves whether pushed images are to be scanned. This registry does not scan. @throws repository-unknown */
export async function setScanOnPush(call: Call, repository: RepositoryName, scanOnPush: boolean): Promise<void> {
  const by = requireRight(call, 'admin', repository);
  await saveScanOnPush(call.env, repository, scanOnPush, by);
}
