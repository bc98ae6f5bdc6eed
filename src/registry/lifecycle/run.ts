/** Carrying lifecycle policies out: what is deleted is what the preview lists, as both ask the same chooser. */
import { type Env, settings, type Vars } from '../../env.ts';
import { commit, type Database } from '../../events/batch.ts';
import { type Actor, REGISTRY } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import { digestOf } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { deleteDoomed, requireDeletion } from '../manifests/deletion.ts';
import { HERE } from '../repositories/repositories.ts';
import { type Candidates, loadCandidates } from './candidates.ts';
import { choose, type DoomedAttached, type DoomedManifest, type DoomedTag, type Plan, textOf } from './chooser.ts';
import type { Leftover } from './inventory.ts';
import type { LifecyclePolicy } from './policy.ts';
import { LEFT_MAX, type Report } from './report.ts';
import { noPolicy } from './saved.ts';
import { type Slice, slicesOf } from './slices.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** Each is two calls to the database: so many keep a run well within an invocation's. */
const SLICES_PER_RUN = 10;

/** Seconds between two runs of a repository. */
const PERIOD = 24 * 60 * 60;

export interface Planned {
  plan: Plan;
  /** The same for the same list. */
  etag: string;
  candidates: Candidates;
}

/** @param tried a policy that is not saved @throws NAME_UNKNOWN, NOT_FOUND, CONFLICT */
export async function planLifecycle(env: Database, repository: RepositoryName, tried?: LifecyclePolicy): Promise<Planned> {
  const candidates = await loadCandidates(env, repository);
  const policy = tried ?? candidates.policy;
  if (policy === null) throw noPolicy();
  const plan = choose(policy, candidates);
  return { plan, etag: `"${await digestOf('sha256', new TextEncoder().encode(textOf(plan)))}"`, candidates };
}

export interface Deleted {
  tags: DoomedTag[];
  attached: DoomedAttached[];
  manifests: DoomedManifest[];
  /** Tags and manifests of the plan that are there still. */
  remaining: number;
}

/**
 * What has changed since it was looked at stays.
 * @param options.ifPlan the plan it has to be, as the preview named it, and to stay until it is carried out; `null`: any. Of one
 * that takes several slices, each is carried out as it was planned or ends the run.
 * @throws NAME_UNKNOWN, NOT_FOUND, CONFLICT, PRECONDITION_FAILED, UNSUPPORTED
 */
export async function runLifecycle(
  env: Stores,
  repository: RepositoryName,
  { by, ifPlan }: { by: Actor; ifPlan: ((etag: string) => boolean) | null },
): Promise<Deleted> {
  requireDeletion(env);
  const { plan, etag, candidates } = await planLifecycle(env, repository);
  if (ifPlan && !ifPlan(etag)) {
    throw new RegistryError('PRECONDITION_FAILED', {
      message: 'the rules would take something else by now: preview them again',
    });
  }
  const slices = slicesOf(plan);
  const work = {
    slices: slices.slice(0, SLICES_PER_RUN),
    attached: plan.attached,
    rule: candidates.mutabilityRule,
    by,
    whole: ifPlan !== null,
  };
  const { tags, manifests, failure } = await deleteSlices(env, repository, work);
  // It is as if nobody had asked: the day of the schedule's next run stays.
  if (failure instanceof ChangedMeanwhile && tags.size + manifests.size === 0) throw failure;
  const deleted = {
    tags: plan.tags.filter(({ tag }) => tags.has(tag)),
    attached: plan.attached.filter(({ tag }) => tags.has(tag)),
    manifests: plan.manifests.filter(({ digest }) => manifests.has(digest)),
  };
  const remaining = plan.tags.length + plan.manifests.length - deleted.tags.length - deleted.manifests.length;
  const unfinished = slices.length > SLICES_PER_RUN;
  const still = unfinished || failure ? plan.manifests.filter(({ digest }) => !manifests.has(digest)) : [];
  const report = {
    at: candidates.now,
    by: by.subject,
    tags: deleted.tags.length,
    manifests: deleted.manifests.length,
    remaining,
    failed: failure && wordsOf(failure),
    left: [...plan.left, ...still.map(leftoverOf)].slice(0, LEFT_MAX),
  };
  await finish(env, repository, { by, report, dueAgain: unfinished });
  if (failure) throw failure;
  return { ...deleted, remaining };
}

/** What holds it may be gone already, where a slice could not take all that hangs together. */
function leftoverOf({ digest, leasedUntil, rule }: DoomedManifest): Leftover {
  return { digest, leasedUntil, rule };
}

interface Work {
  slices: Slice[];
  attached: DoomedAttached[];
  rule: string;
  by: Actor;
  whole: boolean;
}

/** Ends with the first that fails: those before it are done, as each is whole. */
async function deleteSlices(
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
      const deleted = await deleteDoomed(env, repository, doomed, { by, reason, whole });
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
class ChangedMeanwhile extends RegistryError {
  constructor({ tags, manifests }: { tags: Set<string>; manifests: Set<string> }) {
    const done =
      tags.size + manifests.size === 0
        ? 'nothing was deleted'
        : `${tags.size} of its tags and ${manifests.size} of its manifests were deleted before that`;
    super('PRECONDITION_FAILED', { message: `what was listed changed meanwhile, and ${done}: preview the rules again` });
  }
}

function doomedTag({ tag, digest, immutable }: Slice['tags'][number]) {
  return { tag, digest, reserved: immutable };
}

function attachedTag({ tag, digest, subject }: DoomedAttached) {
  return { tag, digest, subject };
}

/** Only refusals are for people; what else went wrong is in the log. */
function wordsOf(error: Error): string {
  return error instanceof RegistryError ? error.message : 'the run broke off, and goes on with the next one';
}

/** Of more than a run takes on, the rest is due at once, behind all that is due already. */
async function finish(
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
      `UPDATE lifecycle_policies SET report = ?2, ran_at = unixepoch() - iif(?3, ${PERIOD}, 0) WHERE repository_id = ${HERE}`,
    ).bind(repository, JSON.stringify(report), dueAgain ? 1 : 0),
  ]);
}

/** Those that are due, the longest waiting first. One that fails keeps none of the others from running, and is not tried again before them. */
export async function runDueLifecycles(env: Stores, { limit }: { limit: number }): Promise<void> {
  if (!settings(env).deletion) return;
  const failures: unknown[] = [];
  for (let n = 0; n < limit; n++) {
    const repository = await claimDue(env);
    if (repository === null) break;
    await runLifecycle(env, repository, { by: REGISTRY, ifPlan: null }).catch(async (error: unknown) => {
      failures.push(error);
      if (error instanceof RegistryError) await noteRefusal(env, repository, error.message);
    });
  }
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} lifecycle policies could not be carried out`);
}

/** Of two schedules at once, each claims another one. */
async function claimDue(env: Database): Promise<RepositoryName | null> {
  const row = await env.DB.prepare(
    `UPDATE lifecycle_policies SET ran_at = unixepoch() WHERE repository_id = (
       SELECT p.repository_id FROM lifecycle_policies p CROSS JOIN repositories r ON r.id = p.repository_id
       WHERE p.ran_at <= unixepoch() - ${PERIOD} ORDER BY p.ran_at LIMIT 1)
     RETURNING (SELECT name FROM repositories WHERE id = repository_id) AS name`,
  ).first<{ name: RepositoryName }>();
  return row?.name ?? null;
}

/** For people to see why their rules are not carried out. */
async function noteRefusal(env: Database, repository: RepositoryName, message: string): Promise<void> {
  const nothing = { at: 0, by: REGISTRY.subject, tags: 0, manifests: 0, remaining: 0, left: [] };
  await env.DB.prepare(
    `UPDATE lifecycle_policies SET report = json_set(coalesce(report, ?2), '$.failed', ?3, '$.at', unixepoch())
     WHERE repository_id = ${HERE}`,
  )
    .bind(repository, JSON.stringify(nothing), message)
    .run();
}
