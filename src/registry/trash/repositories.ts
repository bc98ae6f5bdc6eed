/** Repositories into the trash and back: deleted with all they have, found by their entry, and restored. */
import type { Vars } from '../../env.ts';
import { type Database, persistently, refuseUnless, tryBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { requireDeletion } from '../manifests/deletion.ts';
import { refusalOf, refuseVersion } from '../repositories/descriptions.ts';
import { HERE } from '../repositories/repositories.ts';
import { underRule } from '../tags/mutability.ts';
import { guardFixedTags, hasFixedTags } from './fixed-tags.ts';

export interface TrashedRepository {
  /** Its id: of one name there may have been several. */
  entry: number;
  name: RepositoryName;
  isPurging: boolean;
}

/** `null` where there is none. */
export async function findTrashedRepository(env: Database, entry: number): Promise<TrashedRepository | null> {
  const row = await env.DB.prepare(
    `SELECT repository, purging FROM trash WHERE repository_id = ?1 AND kind = 'repository' AND name = ''`,
  )
    .bind(entry)
    .first<{ repository: RepositoryName; purging: number }>();
  return row && { entry, name: row.repository, isPurging: row.purging === 1 };
}

/**
 * Under its own id, so that all that was left under it is its own again.
 * @param also what belongs to other rooms, for the same batch
 * @throws conflict where its name is taken or its content is being taken away
 */
export async function restoreRepository(
  env: Database,
  { entry, name }: TrashedRepository,
  { by, also }: { by: Actor; also: D1PreparedStatement[] },
): Promise<void> {
  const here = `FROM trash WHERE repository_id = ?1 AND kind = 'repository' AND name = ''`;
  const restored = await tryBatch(env, [
    refuseUnless(env, `EXISTS (SELECT 1 ${here} AND repository = ?2 AND NOT purging)`, entry, name),
    refuseUnless(env, 'NOT EXISTS (SELECT 1 FROM repositories WHERE name = ?1)', name),
    env.DB.prepare(
      `INSERT INTO repositories (id, name, created_at) SELECT repository_id, repository, coalesce(created_at, unixepoch()) ${here}`,
    ).bind(entry),
    record(env, { about: name, by, select: `SELECT 'repository.restored' AS type, '{}' AS target`, parameters: [] }),
    ...also,
    env.DB.prepare(`DELETE ${here}`).bind(entry),
  ]);
  if (restored) return;
  const there = await findTrashedRepository(env, entry);
  if (!there) throw new Refusal('not-found');
  throw new Refusal('conflict', {
    message: there.isPurging
      ? 'its content is being taken away already'
      : 'there is a repository of this name: it would have to go first',
  });
}

/** Tags that the event of a repository's deletion names. */
const NAMED_MAX = 100;

/** While its row is there: names the tags that go with it, as webhooks may ask for some of them only. */
function recordDeletion(env: Database, repository: RepositoryName, by: Actor): D1PreparedStatement {
  const named = `SELECT name FROM tags WHERE repository_id = ${HERE} ORDER BY name`;
  return record(env, {
    about: repository,
    by,
    select: `SELECT 'repository.deleted' AS type, json_patch(
        json_object('tags', (SELECT json_group_array(name) FROM (${named} LIMIT ${NAMED_MAX}))),
        iif(EXISTS (${named} LIMIT 1 OFFSET ${NAMED_MAX}), '{"hasMoreTags":true}', '{}')) AS target`,
    parameters: [],
  });
}

interface Removal {
  /** Whether manifests may go with it. */
  evenIfNotEmpty: boolean;
  ifVersion: number | null;
  by: Actor;
  /** What belongs to other rooms, for the same batch; `id` is the repository's entry in the trash. */
  also: (id: number) => D1PreparedStatement[];
}

/**
 * Into the trash: only its row goes. What it held is named by its id, which no other repository is given: from here on nobody can
 * reach it, until it is restored or purged.
 * @throws repository-unknown, version-mismatch, conflict where it is not empty or has immutable tags, parameter-invalid
 */
export async function deleteRepository(env: Database & Vars, repository: RepositoryName, removal: Removal): Promise<void> {
  requireDeletion(env);
  await persistently(
    () => deleteOnce(env, repository, removal),
    () => deletionRefusal(env, repository, removal),
  );
}

/** `null`: refused. @throws repository-unknown */
async function deleteOnce(env: Database, repository: RepositoryName, removal: Removal): Promise<D1Result[] | null> {
  const { ifVersion, evenIfNotEmpty, by, also } = removal;
  const id = await env.DB.prepare('SELECT id FROM repositories WHERE name = ?1').bind(repository).first<number>('id');
  if (id === null) throw new Refusal('repository-unknown');
  return underRule(env, repository, async (judgement) =>
    tryBatch(env, [
      refuseUnless(env, 'EXISTS (SELECT 1 FROM repositories WHERE name = ?1 AND id = ?2)', repository, id),
      refuseVersion(env, repository, ifVersion),
      ...(evenIfNotEmpty ? [] : [refuseUnless(env, EMPTY, repository)]),
      ...(await guardFixedTags(env, repository, judgement)),
      recordDeletion(env, repository, by),
      ...also(id),
      env.DB.prepare(
        `INSERT INTO trash (repository_id, kind, name, repository, actor, key_id, deleted_at, created_at)
         SELECT id, 'repository', '', name, ?2, ?3, unixepoch(), created_at FROM repositories WHERE name = ?1`,
      ).bind(repository, by.subject, by.key ?? null),
      env.DB.prepare('DELETE FROM repositories WHERE name = ?1').bind(repository),
    ]),
  );
}

const EMPTY = `NOT EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${HERE})`;

async function deletionRefusal(env: Database, repository: RepositoryName, { ifVersion, evenIfNotEmpty }: Removal) {
  const refusal = await refusalOf(env, repository, ifVersion);
  if (refusal) return refusal;
  if (await hasFixedTags(env, repository)) {
    return new Refusal('conflict', { message: 'some of its tags are immutable: change that first' });
  }
  const isEmpty = await env.DB.prepare(`SELECT ${EMPTY} AS empty`).bind(repository).first<number>('empty');
  if (evenIfNotEmpty || isEmpty === 1) return null;
  return new Refusal('not-empty', {
    message: 'it is not empty: delete it with force=true, and all its images go with it',
  });
}
