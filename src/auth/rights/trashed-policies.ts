/** The policies of repositories in the trash. */
import type { Batch } from '../../events/batch.ts';
import { nameOf } from '../../vocabulary/names.ts';
import { indexNames } from './policy-names.ts';

/**
 * Returns the subject under which the policy of a repository in the trash is stored. No request reads
 * that policy for a decision.
 */
function trashed(entry: number): string {
  return `trash:${entry}`;
}

/**
 * Moves the policy of a repository to the trash, where it has another subject.
 * @param entry the id of the entry in the trash
 */
export function trashPolicy(batch: Batch, subject: string, entry: number): void {
  batch.run('UPDATE policies SET subject = :trashed, repository = :repository WHERE subject = :subject', {
    ...{ subject, trashed: trashed(entry), repository: nameOf(subject) },
  });
  batch.run('DELETE FROM policy_principals WHERE repository = :repository', { repository: nameOf(subject) });
}

/**
 * SQL: the policy of a repository in the trash names this principal. Until that policy is deleted,
 * nobody else may take the name.
 */
export function namedInTrash(principal: string): string {
  return `EXISTS (SELECT 1 FROM policies p, json_each(p.statements) s, json_each(s.value, '$.principals') n
    WHERE p.subject >= 'trash:' AND p.subject < 'trash;' AND n.value = ${principal})`;
}

/** Restores the policy of a repository from the trash. The repository must have no other policy. */
export function restorePolicy(batch: Batch, subject: string, entry: number): void {
  batch.run('UPDATE policies SET subject = :subject, repository = NULL WHERE subject = :trashed', {
    subject,
    trashed: trashed(entry),
  });
  indexNames(batch, nameOf(subject));
}

/** Deletes the policies of repositories that are purged from the trash. */
export function deleteTrashedPolicies(batch: Batch, entries: readonly number[]): void {
  batch.run('DELETE FROM policies WHERE subject IN (SELECT value FROM json_each(:subjects))', {
    subjects: entries.map(trashed),
  });
}
