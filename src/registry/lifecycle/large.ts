/**
 * Lifecycle rules of a repository that is too large to be looked at at once: page by page, each within some milliseconds of CPU. What
 * the run has come to is saved with each page, so it is gone on with whatever ends an invocation.
 *
 * Counts are of the repository as it was when the run began, as are the versions that rules keep. What is pushed meanwhile is younger than what they keep, so pushes change
 * nothing for the pages that follow, however many there are. Where somebody deletes something they are found anew. A policy that is
 * changed begins a new run.
 */
import { commit, type Database } from '../../events/batch.ts';
import { type Actor, REGISTRY } from '../../events/event.ts';
import { deletionsSince, NEWEST } from '../../events/outbox.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { HERE } from '../repositories/repositories.ts';
import { type Candidates, refuseTooMany } from './candidates.ts';
import { deleteSlices, finish, leftoverOf, SLICES_PER_RUN, type Stores } from './carry-out.ts';
import { choose, type Plan } from './chooser.ts';
import type { Leftover } from './inventory.ts';
import { beginToKnow, type Known, knowMore } from './known.ts';
import { loadPage, PAGE } from './pages.ts';
import type { LifecyclePolicy } from './policy.ts';
import { LEFT_MAX } from './report.ts';
import type { Deleted } from './run.ts';
import { noPolicy } from './saved.ts';
import { slicesOf } from './slices.ts';
import { findThresholds } from './thresholds.ts';

interface Pass {
  /** Of the policy that it carries out. */
  version: number;
  /** Seconds since the epoch. */
  startedAt: number;
  /** The digest that the page before ended with. */
  after: string;
  /** Manifests of a page: fewer once an invocation was ended over one. */
  size: number;
  known: Known;
  /** The newest event when counts were found. */
  foundAt: number;
  tags: number;
  manifests: number;
  remaining: number;
  left: Leftover[];
}

/** A page of the run that is under way, or the first one of a new run. @throws repository-unknown, not-found, conflict */
export async function runPage(env: Stores, repository: RepositoryName, found: Candidates, by: Actor): Promise<Deleted> {
  if (found.policy === null) throw noPolicy();
  const pass = await passOf(env, repository, found, found.policy);
  if (pass.known.scanned !== null) {
    await save(env, repository, { ...pass, known: await knowMore(env, repository, found.policy, pass.known) });
    return { tags: [], attached: [], manifests: [], remaining: 0, unfinished: true };
  }
  const page = await loadPage(env, repository, pass.after, pass.size);
  // Changed since: the next run begins anew.
  if (page.candidates.version !== pass.version)
    return { tags: [], attached: [], manifests: [], remaining: 0, unfinished: true };
  const plan = choose(found.policy, { ...page.candidates, known: pass.known });
  const slices = slicesOf(plan);
  const work = {
    slices: slices.slice(0, SLICES_PER_RUN),
    attached: plan.attached,
    rule: page.candidates.mutabilityRule,
    by,
    whole: false,
  };
  const { tags, manifests, failure } = await deleteSlices(env, repository, work);
  const deleted = {
    tags: plan.tags.filter(({ tag }) => tags.has(tag)),
    attached: plan.attached.filter(({ tag }) => tags.has(tag)),
    manifests: plan.manifests.filter(({ digest }) => manifests.has(digest)),
  };
  const remaining = plan.tags.length + plan.manifests.length - deleted.tags.length - deleted.manifests.length;
  // What more there is of this page is taken by the next slice, which looks at it again.
  const isDone = slices.length <= SLICES_PER_RUN && !failure;
  const still = isDone ? [] : plan.manifests.filter(({ digest }) => !manifests.has(digest)).map(leftoverOf);
  const come = {
    ...pass,
    tags: pass.tags + deleted.tags.length,
    manifests: pass.manifests + deleted.manifests.length,
    remaining: pass.remaining + (isDone ? remaining : 0),
    left: distinct([...pass.left, ...plan.left, ...still]),
  };
  const ended = isDone && page.next === null;
  if (ended) await end(env, repository, come, by);
  else await save(env, repository, { ...come, after: isDone ? (page.next ?? '') : pass.after });
  if (failure) throw failure;
  return { ...deleted, remaining, unfinished: !ended };
}

function distinct(left: Leftover[]): Leftover[] {
  return [...new Map(left.map((one) => [one.digest, one])).values()].slice(0, LEFT_MAX);
}

async function passOf(env: Database, repository: RepositoryName, found: Candidates, policy: LifecyclePolicy): Promise<Pass> {
  const saved = found.pass === null ? null : (JSON.parse(found.pass) as Pass);
  if (saved?.version === found.version) {
    const pass = { ...saved, size: sizeAfter(saved.size, found.attempts) };
    const newest = await newestUnlessDeleted(env, repository, pass.foundAt);
    if (newest === null) return pass;
    const thresholds = await findThresholds(env, repository, policy);
    return { ...pass, known: { ...pass.known, thresholds }, foundAt: newest };
  }
  await refuseTooMany(env, repository);
  // Before they are found: what happens meanwhile has them found again.
  const foundAt = (await env.DB.prepare(`SELECT ${NEWEST} AS id`).first<number>('id')) ?? 0;
  const known = await beginToKnow(env, repository, policy);
  const nothing = { after: '', size: sizeAfter(PAGE, found.attempts), tags: 0, manifests: 0, remaining: 0, left: [] };
  return { version: found.version, startedAt: found.now, known, foundAt, ...nothing };
}

/** A quarter for each attempt in vain: the first one is under way. */
function sizeAfter(size: number, attempts: number): number {
  return Math.max(1, Math.floor(size / 4 ** Math.max(0, attempts - 1)));
}

/** The newest event, where somebody has deleted something of the repository since; `null` otherwise. */
async function newestUnlessDeleted(env: Database, repository: RepositoryName, since: number): Promise<number | null> {
  const row = await env.DB.prepare(`SELECT ${NEWEST} AS newest, ${deletionsSince('?1', '?2', '?3')} AS deleted`)
    .bind(repository, since, REGISTRY.subject)
    .first<{ newest: number; deleted: number }>();
  return row?.deleted ? row.newest : null;
}

/** Only while the policy is the one that it carries out. */
async function save(env: Database, repository: RepositoryName, pass: Pass): Promise<void> {
  await commit(env, [
    env.DB.prepare(`UPDATE lifecycle_policies SET pass = ?2, attempts = 0 WHERE repository_id = ${HERE} AND version = ?3`).bind(
      repository,
      JSON.stringify(pass),
      pass.version,
    ),
  ]);
}

async function end(env: Database, repository: RepositoryName, pass: Pass, by: Actor): Promise<void> {
  const { startedAt: at, tags, manifests, remaining, left } = pass;
  await finish(env, repository, {
    by,
    report: { at, by: by.subject, tags, manifests, remaining, failed: null, left },
    dueAgain: false,
  });
}

export interface PlannedPage {
  plan: Pick<Plan, 'tags' | 'attached' | 'manifests' | 'waiting'>;
  /** Where the next page begins, and what is known by then; `null` at the end. */
  next: Place | null;
}

export interface Place {
  after: string;
  known: Known;
}

/**
 * What the rules would take of one page. Pages that only find out what there is as a whole are empty.
 * @param place as the page before answered it; `null` for the first one @throws repository-unknown, not-found, conflict
 */
export async function planPage(
  env: Database,
  repository: RepositoryName,
  policy: LifecyclePolicy,
  place: Place | null,
): Promise<PlannedPage> {
  if (place === null) await refuseTooMany(env, repository);
  const { after, known } = place ?? { after: '', known: await beginToKnow(env, repository, policy) };
  if (known.scanned !== null) {
    const nothing = { tags: [], attached: [], manifests: [], waiting: [] };
    return { plan: nothing, next: { after, known: await knowMore(env, repository, policy, known) } };
  }
  const page = await loadPage(env, repository, after);
  const { tags, attached, manifests, waiting } = choose(policy, { ...page.candidates, known });
  const isOwn = ({ digest }: { digest: Digest }) => page.own.has(digest);
  const plan = {
    tags: tags.filter(isOwn),
    attached: attached.filter(isOwn),
    manifests: manifests.filter(isOwn),
    waiting: waiting.filter(isOwn),
  };
  return { plan, next: page.next === null ? null : { after: page.next, known } };
}
