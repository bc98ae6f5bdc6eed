/** Moves whole repositories to the trash and restores them. */

import type { Vars } from '../../env.ts';
import { type Batch, type Database, type Handle, newBatch, type Results } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import { forgetBlobs } from '../known-blobs.ts';
import { requireDeletion } from '../manifests/deletion.ts';
import { type RepositorySums, requireRepositoryVersion, SUMS, SUMS_OF } from '../repositories/descriptions.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { howToChangeRule, type Judgement, MUTABILITY_RULE, withMutabilityRule } from '../tags/mutability.ts';
import { restorableUntil } from './listing.ts';

export interface TrashedRepository {
  /** The id of the repository. Its trash entry has the same id. The trash may contain several repositories of the same name. */
  entry: number;
  name: RepositoryName;
  isPurging: boolean;
}

/** Returns a deleted repository, or `null` if the trash has no such entry. */
export async function findTrashedRepository(env: Database, entry: number): Promise<TrashedRepository | null> {
  const row = await prepare(env, `SELECT repository, purging ${ENTRY}`, { entry }).first<{
    repository: RepositoryName;
    purging: number;
  }>();
  return row && { entry, name: row.repository, isPurging: row.purging === 1 };
}

const ENTRY = `FROM trash WHERE repository_id = :entry AND kind = 'repository' AND name = ''`;

/**
 * Adds statements to the batch that restore a repository. The repository gets its old id, so everything that is stored under
 * that id belongs to it again. The batch fails with `not-found` if there is no such entry, and with `conflict` if the
 * repository is being purged or its name is taken.
 */
export function restoreRepository(
  batch: Batch,
  env: Database,
  { entry, name }: TrashedRepository,
  by: Actor,
): Handle<RepositorySums> {
  batch.require('not-found', `EXISTS (SELECT 1 ${ENTRY} AND repository = :name)`, { entry, name });
  batch.require('conflict', `EXISTS (SELECT 1 ${ENTRY} AND NOT purging)`, { entry }, async () => {
    const isPurging = (await findTrashedRepository(env, entry))?.isPurging;
    return {
      message: isPurging
        ? 'this repository is being purged: it cannot be restored any more'
        : 'another repository has this name: nothing was restored, delete that one first',
    };
  });
  batch.require('conflict', 'NOT EXISTS (SELECT 1 FROM repositories WHERE name = :name)', { name });
  batch.run(
    `INSERT INTO repositories (id, name, created_at)
     SELECT repository_id, repository, coalesce(created_at, unixepoch()) ${ENTRY}`,
    { entry },
  );
  recordEvent(batch, { about: name, by, select: `SELECT 'repository.restored' AS type, '{}' AS target` });
  batch.run(`DELETE ${ENTRY}`, { entry });
  return batch.query<RepositorySums>(`SELECT ${SUMS} FROM repositories r ${SUMS_OF} WHERE r.id = :entry`, { entry });
}

interface Removal<T> {
  /** True if the repository is deleted even if it has manifests. */
  evenIfNotEmpty: boolean;
  ifVersion: number | null;
  by: Actor;
  /**
   * Adds statements of other modules to the batch, and returns a function that reads their results. `id` is the id of the
   * repository's trash entry.
   */
  also: (batch: Batch, id: number) => (results: Results) => T;
}

/** A repository that was moved to the trash, and the size of its content. */
export interface RemovedRepository extends RepositorySums {
  /** The id of its entry in the trash. */
  entry: number;
  /** In seconds since the epoch. */
  restorableUntil: number;
}

/**
 * Moves a repository to the trash. Only its row is deleted. Its content stays stored under its id, which no other repository
 * gets. So nobody can access the content until the repository is restored or purged.
 * @throws repository-unknown, version-mismatch; conflict if the repository has immutable tags; not-empty, deletion-disabled
 */
export async function deleteRepository<T>(
  env: Database & Vars,
  repository: RepositoryName,
  removal: Removal<T>,
): Promise<RemovedRepository & { also: T }> {
  requireDeletion(env);
  return withMutabilityRule(env, repository, (judgement) => deleteOnce(env, repository, { ...removal, judgement }));
}

async function deleteOnce<T>(
  env: Database & Vars,
  repository: RepositoryName,
  { ifVersion, evenIfNotEmpty, by, also, judgement }: Removal<T> & { judgement: Judgement },
): Promise<RemovedRepository & { also: T }> {
  const id = await prepare(env, 'SELECT id FROM repositories WHERE name = :repository', { repository }).first<number>('id');
  if (id === null) throw new Refusal('repository-unknown');
  const batch = newBatch(env);
  batch.require('overtaken', 'EXISTS (SELECT 1 FROM repositories WHERE name = :repository AND id = :id)', { repository, id });
  requireRepositoryVersion(batch, repository, ifVersion);
  await requireNoImmutableTags(batch, env, repository, judgement);
  if (!evenIfNotEmpty) {
    const message = 'the repository is not empty: nothing was deleted. With force=true it is deleted with all its images';
    const isEmpty = `NOT EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${REPOSITORY_ID})`;
    batch.require('not-empty', isEmpty, { repository }, { message });
  }
  recordDeletion(batch, repository, by);
  const outcome = also(batch, id);
  batch.run(
    `INSERT INTO trash (repository_id, kind, name, repository, actor, key_id, deleted_at, created_at)
     SELECT id, 'repository', '', name, :actor, :key, unixepoch(), created_at FROM repositories WHERE name = :repository`,
    { repository, actor: by.subject, key: by.key ?? null },
  );
  const removed = batch.query<RepositorySums & { now: number }>(
    `SELECT unixepoch() AS now, ${SUMS} FROM repositories r ${SUMS_OF} WHERE r.name = :repository`,
    { repository },
  );
  batch.run('DELETE FROM repositories WHERE name = :repository', { repository });
  const results = await batch.commit().finally(() => forgetBlobs(env));
  const { now, ...sums } = results.first(removed) as RepositorySums & { now: number };
  return { entry: id, ...sums, restorableUntil: restorableUntil(env, now), also: outcome(results) };
}

/** The maximum number of tags that the event of a deletion contains. */
const NAMED_MAX = 100;

/**
 * Adds a statement to the batch that records the deletion. The event contains tags of the repository, because webhooks may
 * filter by tag.
 */
function recordDeletion(batch: Batch, repository: RepositoryName, by: Actor): void {
  const named = `SELECT name FROM tags WHERE repository_id = ${REPOSITORY_ID} ORDER BY name`;
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'repository.deleted' AS type, json_patch(
        json_object('tags', (SELECT json_group_array(name) FROM (${named} LIMIT ${NAMED_MAX}))),
        iif(EXISTS (${named} LIMIT 1 OFFSET ${NAMED_MAX}), '{"hasMoreTags":true}', '{}')) AS target`,
    parameters: { repository },
  });
}

/** SQL query: the tags of the repository, and the deleted tags whose names are reserved because they were immutable. */
const HELD_TAGS = `SELECT name FROM tags WHERE repository_id = ${REPOSITORY_ID}
  UNION SELECT h.tag FROM tag_history h WHERE h.repository_id = ${REPOSITORY_ID} AND h.reserved AND h.point = (
    SELECT max(point) FROM tag_history l WHERE l.repository_id = h.repository_id AND l.tag = h.tag)`;

/** The maximum number of tag names in one SQL parameter. D1 accepts parameters of up to 2 MB. */
const CHUNK = 10_000;

/**
 * Adds a precondition to the batch: the repository has no immutable tags. Otherwise the batch fails with `conflict`. Without
 * this check, a user could change an immutable tag by deleting the repository and creating it again.
 */
async function requireNoImmutableTags(
  batch: Batch,
  env: Database,
  repository: RepositoryName,
  judgement: Judgement,
): Promise<void> {
  const names = judgement.rule === '' ? [] : await heldTags(env, repository);
  const free = new Set(judgement.free(names));
  let says: Particulars | undefined = {
    message: `the repository has immutable tags. Nothing was deleted: ${howToChangeRule(repository)}`,
  };
  for (let start = 0; start === 0 || start < names.length; start += CHUNK) {
    const chunk = names.slice(start, start + CHUNK);
    const until = start + CHUNK < names.length ? (chunk.at(-1) ?? '') : '\u{10FFFF}';
    const parameters = { repository, after: names[start - 1] ?? '', until };
    const held = `SELECT 1 FROM (${HELD_TAGS}) WHERE name > :after AND name <= :until`;
    const isUndecided = `${MUTABILITY_RULE} <> :rule OR name NOT IN (SELECT value FROM json_each(:names))`;
    batch.require('overtaken', `${MUTABILITY_RULE} = '' OR NOT EXISTS (${held} AND (${isUndecided}))`, {
      ...{ ...parameters, rule: judgement.rule, names: chunk },
    });
    const immutable = chunk.filter((name) => !free.has(name));
    if (immutable.length === 0) continue;
    const isImmutable = 'name IN (SELECT value FROM json_each(:immutable))';
    batch.require('conflict', `NOT EXISTS (${held} AND ${isImmutable})`, { ...parameters, immutable }, says);
    says = undefined;
  }
}

/** Returns the names in `HELD_TAGS`, in bytewise order. */
async function heldTags(env: Database, repository: RepositoryName): Promise<Tag[]> {
  const { results } = await prepare(env, `SELECT name FROM (${HELD_TAGS}) ORDER BY name`, { repository }).all<{ name: Tag }>();
  return results.map(({ name }) => name);
}
