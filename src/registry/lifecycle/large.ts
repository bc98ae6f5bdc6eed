/**
 * Runs lifecycle policies in repositories that are too large to load at once. A run goes through the repository page by page,
 * and each page takes some milliseconds of CPU time. The state of the run is saved with each page. If an invocation is killed,
 * the next invocation continues the run.
 *
 * A page begins with some manifests, in the order of their digests. It also contains everything connected to them: indexes that
 * list them, manifests that they list, referrers, subjects, and all tags. So most rules can be applied to a page by itself.
 * Rules that count the images of the whole repository need thresholds, which a survey computes at the start of the run
 * (`survey.ts`).
 *
 * Images that are pushed during the run are newer than the thresholds, so the rules keep them. If a user deletes content during
 * the run, the thresholds are computed again. If the policy is changed, a new run starts.
 */
import type { Database } from '../../events/batch.ts';
import { type Actor, REGISTRY } from '../../events/event.ts';
import { deletionsSince, NEWEST } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { type Deleted, deferredOf, deleteSlices, finishRun, SLICES_PER_RUN, type Stores, slicesOf } from './carry-out.ts';
import { choose, type ExpiryPlan } from './chooser.ts';
import type { Deferred } from './inventory.ts';
import type { LifecyclePolicy } from './policy.ts';
import { LEFT_MAX, noPolicy } from './saved.ts';
import { CANDIDATES_MAX, requireManageable, type Snapshot, snapshotAmong } from './snapshot.ts';
import { beginSurvey, continueSurvey, type Survey } from './survey.ts';
import { findThresholds, IS_SUBJECT, NAMES_SUBJECT } from './thresholds.ts';

interface LargeRun {
  /** The version of the policy at the start of the run. */
  version: number;
  /** The time when the run started, in seconds since the epoch. */
  startedAt: number;
  /** The last digest of the previous page. */
  after: string;
  /** The number of manifests with which a page begins. It is reduced after an invocation was killed. */
  size: number;
  known: Survey;
  /** The id of the newest event at the time when the thresholds were computed. */
  foundAt: number;
  tags: number;
  manifests: number;
  remaining: number;
  left: Deferred[];
}

/**
 * Processes one page of the current run. Starts a new run if there is none.
 * @throws repository-unknown, not-found, limit-reached
 */
export async function runPage(env: Stores, repository: RepositoryName, found: Snapshot, by: Actor): Promise<Deleted> {
  if (found.policy === null) throw noPolicy();
  const pass = await passOf(env, repository, found, found.policy);
  if (pass.known.scanned !== null) {
    await save(env, repository, { ...pass, known: await continueSurvey(env, repository, found.policy, pass.known) });
    return { tags: [], attached: [], manifests: [], remaining: 0, unfinished: true };
  }
  const page = await loadPage(env, repository, pass.after, pass.size);
  // The policy was changed since the run started, so the next call starts a new run.
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
  // If the page has more slices than one call may delete, the next call processes the same page again.
  const isDone = slices.length <= SLICES_PER_RUN && !failure;
  const still = isDone ? [] : plan.manifests.filter(({ digest }) => !manifests.has(digest)).map(deferredOf);
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

function distinct(left: Deferred[]): Deferred[] {
  return [...new Map(left.map((one) => [one.digest, one])).values()].slice(0, LEFT_MAX);
}

async function passOf(env: Database, repository: RepositoryName, found: Snapshot, policy: LifecyclePolicy): Promise<LargeRun> {
  const saved = found.pass === null ? null : (JSON.parse(found.pass) as LargeRun);
  if (saved?.version === found.version) {
    const pass = { ...saved, size: sizeAfter(saved.size, found.attempts) };
    const newest = await newestUnlessDeleted(env, repository, pass.foundAt);
    if (newest === null) return pass;
    const thresholds = await findThresholds(env, repository, policy);
    return { ...pass, known: { ...pass.known, thresholds }, foundAt: newest };
  }
  await requireManageable(env, repository);
  // The event id is read before the survey starts. If content is deleted in between, the thresholds are computed again.
  const foundAt = (await prepare(env, `SELECT ${NEWEST} AS id`).first<number>('id')) ?? 0;
  const known = await beginSurvey(env, repository, policy);
  const nothing = { after: '', size: sizeAfter(PAGE, found.attempts), tags: 0, manifests: 0, remaining: 0, left: [] };
  return { version: found.version, startedAt: found.now, known, foundAt, ...nothing };
}

/** Returns the page size, divided by four for each failed attempt. `attempts` includes the present attempt. */
function sizeAfter(size: number, attempts: number): number {
  return Math.max(1, Math.floor(size / 4 ** Math.max(0, attempts - 1)));
}

/**
 * Returns the id of the newest event if a user has deleted content of the repository since event `since`. Otherwise returns
 * `null`.
 */
async function newestUnlessDeleted(env: Database, repository: RepositoryName, since: number): Promise<number | null> {
  const row = await prepare(
    env,
    `SELECT ${NEWEST} AS newest, ${deletionsSince(':repository', ':since', ':registry')} AS deleted`,
    { repository, since, registry: REGISTRY.subject },
  ).first<{ newest: number; deleted: number }>();
  return row?.deleted ? row.newest : null;
}

/** Saves the state of the run, unless the policy was changed since the run started. */
async function save(env: Database, repository: RepositoryName, pass: LargeRun): Promise<void> {
  await prepare(
    env,
    `UPDATE lifecycle_policies SET pass = :pass, attempts = 0 WHERE repository_id = ${REPOSITORY_ID} AND version = :version`,
    { repository, pass: JSON.stringify(pass), version: pass.version },
  ).run();
}

async function end(env: Database, repository: RepositoryName, pass: LargeRun, by: Actor): Promise<void> {
  const { startedAt: at, tags, manifests, remaining, left } = pass;
  await finishRun(env, repository, {
    by,
    report: { at, by: by.subject, tags, manifests, remaining, failed: null, left },
    dueAgain: false,
  });
}

interface PlannedPage {
  plan: Pick<ExpiryPlan, 'tags' | 'attached' | 'manifests' | 'waiting'>;
  /** The cursor of the next page, or `null` if this is the last page. */
  next: PreviewCursor | null;
}

export interface PreviewCursor {
  after: string;
  known: Survey;
}

/**
 * Plans one page of a preview. The first pages may be empty, because they are spent on the survey.
 * @param cursor the `next` of the previous page, or `null` for the first page
 * @throws repository-unknown, not-found, limit-reached
 */
export async function planPage(
  env: Database,
  repository: RepositoryName,
  policy: LifecyclePolicy,
  cursor: PreviewCursor | null,
): Promise<PlannedPage> {
  if (cursor === null) await requireManageable(env, repository);
  const { after, known } = cursor ?? { after: '', known: await beginSurvey(env, repository, policy) };
  if (known.scanned !== null) {
    const nothing = { tags: [], attached: [], manifests: [], waiting: [] };
    return { plan: nothing, next: { after, known: await continueSurvey(env, repository, policy, known) } };
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

/**
 * The number of manifests with which a page begins. Applying the rules to them takes some of the 10 ms of CPU time of an
 * invocation.
 */
const PAGE = 200;
/**
 * The maximum number of manifests of a page, including everything connected to its first manifests. If there are more, the page
 * begins with fewer manifests.
 */
const CLOSED_MAX = 500;

interface ManifestPage {
  candidates: Snapshot;
  /**
   * The digests of the manifests that belong to this page. The page also contains connected manifests, which other pages may
   * contain too.
   */
  own: Set<Digest>;
  /** The digest after which the next page begins, or `null` if this is the last page. */
  next: Digest | null;
}

/**
 * Reads one page of manifests.
 * @param after the last digest of the previous page, or the empty string for the first page
 * @param most the number of manifests with which the page begins. It is halved until the page is small enough
 */
async function loadPage(env: Database, repository: RepositoryName, after: string, most = PAGE): Promise<ManifestPage> {
  for (let size = most; ; size = Math.max(1, Math.floor(size / 2))) {
    const limit = size === 1 ? CANDIDATES_MAX : CLOSED_MAX;
    const parameters = { repository, after, size, rows: limit + 1 };
    const { results } = await prepare(env, CONNECTED, parameters).all<{ digest: Digest; own: number }>();
    if (results.length > limit && size > 1) continue;
    const own = results.filter((row) => row.own === 1).map(({ digest }) => digest);
    const candidates = await snapshotAmong(
      env,
      repository,
      results.map(({ digest }) => digest),
    );
    return { candidates, own: new Set(own), next: own.length === size ? (own.at(-1) ?? null) : null };
  }
}

/** Returns an SQL expression: the prefix of the names of all tags that are attached to the manifest `digest`. */
const prefixOfTags = (digest: string) => `substr(replace(${digest}, ':', '-'), 1, 71)`;

/** SQL query: the manifests that are directly connected to the manifest `c.digest`, in either direction. */
const NEIGHBOURS = `SELECT * FROM (
    SELECT x.parent AS digest FROM manifest_references x WHERE x.repository_id = ${REPOSITORY_ID} AND x.child = c.digest
    UNION ALL SELECT s.digest FROM manifests s WHERE s.repository_id = ${REPOSITORY_ID} AND s.subject = c.digest
    UNION ALL SELECT m.subject FROM manifests m WHERE m.repository_id = ${REPOSITORY_ID} AND m.digest = c.digest
      AND m.subject IS NOT NULL
    UNION ALL SELECT j.value ->> 'digest' FROM manifests m CROSS JOIN json_each(m.content, '$.manifests') j
      WHERE m.repository_id = ${REPOSITORY_ID} AND m.digest = c.digest AND m.content IS NOT NULL)
  UNION ALL SELECT * FROM (
    SELECT x.child FROM manifests m CROSS JOIN manifest_references x ON x.repository_id = m.repository_id
      AND x.parent = m.digest
      WHERE m.repository_id = ${REPOSITORY_ID} AND m.digest = c.digest AND m.content IS NULL
    UNION ALL SELECT t.digest FROM tags t WHERE t.repository_id = ${REPOSITORY_ID}
      AND t.name >= ${prefixOfTags('c.digest')} AND t.name < ${prefixOfTags('c.digest')} || '/'
    UNION ALL SELECT s.digest FROM tags t INDEXED BY tags_by_digest CROSS JOIN manifests s ON ${IS_SUBJECT}
      WHERE t.repository_id = ${REPOSITORY_ID} AND t.digest = c.digest AND ${NAMES_SUBJECT})`;

/** SQL query: the first manifests of a page and all manifests connected to them. */
const CONNECTED = `WITH RECURSIVE own (digest) AS MATERIALIZED (
    SELECT digest FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest > :after ORDER BY digest LIMIT :size),
  closed (digest) AS (
    SELECT digest FROM own
    UNION SELECT e.value FROM closed c CROSS JOIN json_each((SELECT json_group_array(digest) FROM (${NEIGHBOURS}))) e
    LIMIT :rows)
  SELECT c.digest, c.digest IN (SELECT digest FROM own) AS own
  FROM closed c CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = c.digest ORDER BY c.digest`;
