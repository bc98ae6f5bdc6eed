/** The deletions that a plan comes to, slice by slice, and how they are written down. */
import type { Env, Vars } from '../../env.ts';
import { commit, type Database } from '../../events/batch.ts';
import { type Actor, REGISTRY } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { deleteExpired } from '../manifests/deletion.ts';
import { HERE } from '../repositories/repositories.ts';
import type { DoomedAttached, DoomedManifest } from './chooser.ts';
import type { Leftover } from './inventory.ts';
import type { Report } from './report.ts';
import type { Slice } from './slices.ts';

export type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** Each is two calls to the database: so many keep a run well within an invocation's. */
export const SLICES_PER_RUN = 10;

/** Seconds between two runs of a repository. */
export const PERIOD = 24 * 60 * 60;

/** What holds it may be gone already, where a slice could not take all that hangs together. */
export function leftoverOf({ digest, leasedUntil, rule }: DoomedManifest): Leftover {
  return { digest, leasedUntil, rule };
}

export interface Work {
  slices: Slice[];
  attached: DoomedAttached[];
  rule: string;
  by: Actor;
  whole: boolean;
}

/** Ends with the first that fails: those before it are done, as each is whole. */
export async function deleteSlices(
  env: Stores,
  repository: RepositoryName,
  { slices, attached, rule, by, whole }: Work,
): Promise<{ tags: Set<string>; manifests: Set<string>; failure: Error | null }> {
  const gone = { tags: new Set<string>(), manifests: new Set<string>(), failure: null };
  for (const { tags, levels, reason } of slices) {
    try {
      const subjects = new Set(levels.flat());
      const own = attached.filter(({ subject }) => subjects.has(subject)).map(attachedTag);
      const doomed = { rule, tags: tags.map(doomedTag), levels, attached: own };
      const deleted = await deleteExpired(env, repository, doomed, { by, reason, whole });
      for (const { tag } of deleted.tags) gone.tags.add(tag);
      for (const digest of deleted.manifests) gone.manifests.add(digest);
      const refused = deleted.tags.length + deleted.manifests.length === 0;
      if (whole && refused) return { ...gone, failure: new ChangedMeanwhile(gone) };
    } catch (error) {
      return { ...gone, failure: error instanceof Error ? error : new Error(String(error)) };
    }
  }
  return gone;
}

/** For whoever meant one list, and no other. */
export class ChangedMeanwhile extends Refusal {
  constructor({ tags, manifests }: { tags: Set<string>; manifests: Set<string> }) {
    const done =
      tags.size + manifests.size === 0
        ? 'nothing was deleted'
        : `${tags.size} of its tags and ${manifests.size} of its manifests were deleted before that`;
    super('version-mismatch', { message: `what was listed changed meanwhile, and ${done}: preview the rules again` });
  }
}

function doomedTag({ tag, digest, immutable }: Slice['tags'][number]) {
  return { tag, digest, reserved: immutable };
}

function attachedTag({ tag, digest, subject }: DoomedAttached) {
  return { tag, digest, subject };
}

/** Only refusals are for people; what else went wrong is in the log. */
export function wordsOf(error: Error): string {
  return error instanceof Refusal ? error.message : 'the run broke off, and goes on with the next one';
}

/** Of more than a run takes on, the rest is due at once, behind all that is due already. */
export async function finish(
  env: Database,
  repository: RepositoryName,
  { by, report, dueAgain }: { by: Actor; report: Report; dueAgain: boolean },
): Promise<void> {
  await commit(env, [
    record(env, {
      about: repository,
      by,
      select: `SELECT 'lifecycle.ran' AS type, json_object('tags', ?3, 'manifests', ?4) AS target WHERE ?3 + ?4 > 0`,
      parameters: [report.tags, report.manifests],
    }),
    env.DB.prepare(
      `UPDATE lifecycle_policies SET report = ?2, ran_at = unixepoch() - iif(?3, ${PERIOD}, 0), pass = NULL, tried_at = 0, attempts = 0
       WHERE repository_id = ${HERE}`,
    ).bind(repository, JSON.stringify(report), dueAgain ? 1 : 0),
  ]);
}

/** For people to see why their rules are not carried out. They are tried again when they are due again. */
export async function noteRefusal(env: Database, repository: RepositoryName, message: string): Promise<void> {
  const nothing = { at: 0, by: REGISTRY.subject, tags: 0, manifests: 0, remaining: 0, left: [] };
  await env.DB.prepare(
    `UPDATE lifecycle_policies SET report = json_set(coalesce(report, ?2), '$.failed', ?3, '$.at', unixepoch()),
       ran_at = unixepoch(), pass = NULL, tried_at = 0, attempts = 0 WHERE repository_id = ${HERE}`,
  )
    .bind(repository, JSON.stringify(nothing), message)
    .run();
}
