/**
 * Carries out the plan of a lifecycle policy in slices and stores the report of the run. Each slice is one batch. Connected
 * content is in the same slice: a tag, its manifest, and content that only this manifest references. So a crash never leaves
 * half of an image.
 */
import type { Env, Vars } from '../../env.ts';
import { type Database, newBatch } from '../../events/batch.ts';
import { type Actor, REGISTRY } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { SLICE_MANIFESTS_MAX, SLICE_TAGS_MAX } from '../../vocabulary/lifecycle.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { deleteExpired } from '../manifests/deletion.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import type { ExpiredAttachedTag, ExpiredManifest, ExpiredTag, ExpiryPlan } from './chooser.ts';
import { appendTo, type Deferred } from './inventory.ts';
import { ofRules, type RuleName } from './reasons.ts';
import type { Report } from './saved.ts';

export type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** The content that a run deleted. */
export interface Deleted {
  tags: ExpiredTag[];
  attached: ExpiredAttachedTag[];
  manifests: ExpiredManifest[];
  /** The number of tags and manifests of the plan that the run did not delete. */
  remaining: number;
  /** True if the repository is so large that it is processed page by page, and further pages follow. */
  unfinished: boolean;
}

/** The maximum number of slices in one run. Each slice takes two D1 calls. */
export const SLICES_PER_RUN = 10;

/** The minimum number of seconds between two scheduled runs of one repository. */
export const PERIOD = 24 * 60 * 60;

/**
 * Returns the note about a manifest for the next run. The run may have deleted the content that referenced the manifest, but
 * not the manifest itself.
 */
export function deferredOf({ digest, leasedUntil, rule }: ExpiredManifest): Deferred {
  return { digest, leasedUntil, rule };
}

interface Deletions {
  slices: PlanSlice[];
  attached: ExpiredAttachedTag[];
  rule: string;
  by: Actor;
  whole: boolean;
}

/**
 * Deletes the slices in order and stops at the first failure. Each slice is one batch, so the slices before the failure are
 * complete.
 */
export async function deleteSlices(
  env: Stores,
  repository: RepositoryName,
  { slices, attached, rule, by, whole }: Deletions,
): Promise<{ tags: Set<Tag>; manifests: Set<Digest>; failure: Error | null }> {
  const gone = { tags: new Set<Tag>(), manifests: new Set<Digest>(), failure: null };
  for (const { tags, levels, reason } of slices) {
    try {
      const subjects = new Set(levels.flat());
      const own = attached.filter(({ subject }) => subjects.has(subject)).map(attachedTag);
      const expired = { rule, tags: tags.map(deletedTag), levels, attached: own };
      const deleted = await deleteExpired(env, repository, expired, { by, reason, whole });
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

/** The refusal of a run that was asked to delete exactly what a preview showed, but found other content. */
export class ChangedMeanwhile extends Refusal {
  constructor({ tags, manifests }: { tags: Set<Tag>; manifests: Set<Digest> }) {
    const done =
      tags.size + manifests.size === 0
        ? 'nothing was deleted'
        : `${tags.size} of its tags and ${manifests.size} of its manifests were deleted before that`;
    super('version-mismatch', { message: `the content changed since the preview, and ${done}: preview the rules again` });
  }
}

function deletedTag({ tag, digest, immutable }: PlanSlice['tags'][number]) {
  return { tag, digest, reserved: immutable };
}

function attachedTag({ tag, digest, subject }: ExpiredAttachedTag) {
  return { tag, digest, subject };
}

/** Returns the text of a failure for the report. Only a refusal has a text for users; other errors are only in the log. */
export function messageFor(error: Error): string {
  return error instanceof Refusal ? error.message : 'the run was interrupted; the next run continues it';
}

/**
 * Stores the report of a run.
 * @param dueAgain true if the run left work that should continue as soon as the other due policies have run
 */
export async function finishRun(
  env: Database,
  repository: RepositoryName,
  { by, report, dueAgain }: { by: Actor; report: Report; dueAgain: boolean },
): Promise<void> {
  const { tags, manifests } = report;
  const batch = newBatch(env);
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'lifecycle.ran' AS type, json_object('tags', :tags, 'manifests', :manifests) AS target
      WHERE :tags + :manifests > 0`,
    parameters: { tags, manifests },
  });
  batch.run(
    `UPDATE lifecycle_policies SET report = :report, ran_at = unixepoch() - iif(:dueAgain, ${PERIOD}, 0),
       pass = NULL, tried_at = 0, attempts = 0
     WHERE repository_id = ${REPOSITORY_ID}`,
    { repository, report: JSON.stringify(report), dueAgain },
  );
  await batch.commit();
}

/** Stores in the report why the policy was not carried out. The next try is at the regular time. */
export async function noteRefusal(env: Database, repository: RepositoryName, message: string): Promise<void> {
  const nothing = { at: 0, by: REGISTRY.subject, tags: 0, manifests: 0, remaining: 0, left: [] };
  await prepare(
    env,
    `UPDATE lifecycle_policies SET report = json_set(coalesce(report, :nothing), '$.failed', :message, '$.at', unixepoch()),
       ran_at = unixepoch(), pass = NULL, tried_at = 0, attempts = 0 WHERE repository_id = ${REPOSITORY_ID}`,
    { repository, nothing: JSON.stringify(nothing), message },
  ).run();
}

interface PlanSlice {
  tags: ExpiredTag[];
  levels: Digest[][];
  /** The lifecycle rules that selected the content, as text for the event of the deletion. */
  reason: string;
}

/**
 * The maximum number of levels of manifests in one batch. Manifests of one level do not reference each other. Each level takes
 * several statements.
 */
export const LEVELS_MAX = 10;

/**
 * Splits a plan into slices. Connected content stays in one slice unless it is too large. In that case tags are deleted before
 * their manifests, and manifests before the content that they reference.
 */
export function slicesOf(plan: ExpiryPlan): PlanSlice[] {
  const open = new Map<string, PlanSlice>();
  const slices: PlanSlice[] = [];
  for (const bundle of bundlesOf(plan)) {
    const [slice, ...others] = cut(bundle);
    const current = open.get(slice.reason);
    if (others.length > 0) slices.push(slice, ...others);
    else if (current && fits(current, slice)) add(current, slice);
    else open.set(slice.reason, opened(slices, slice));
  }
  return slices;
}

/** Returns the connected parts of the plan, in the order of the plan. */
function bundlesOf(plan: ExpiryPlan): PlanSlice[] {
  const bundleOf = bundleNumbers(plan);
  const tags = new Map<number | string, ExpiredTag[]>();
  for (const tag of plan.tags) appendTo(tags, bundleOf.get(tag.digest) ?? tag.tag, tag);
  const levels = new Map<number, Map<number, Digest[]>>();
  plan.levels.forEach((level, n) => {
    for (const digest of level) {
      const bundle = bundleOf.get(digest) as number;
      const own = levels.get(bundle) ?? new Map<number, Digest[]>();
      appendTo(own, n, digest);
      levels.set(bundle, own);
    }
  });
  const rules = new Map(plan.manifests.map(({ digest, rule }) => [digest, rule]));
  const keys = new Set<number | string>([...tags.keys(), ...levels.keys()]);
  return [...keys].map((key) => {
    const own = { tags: tags.get(key) ?? [], levels: [...((typeof key === 'number' && levels.get(key)?.values()) || [])] };
    const taking = [...own.tags.map(({ rule }) => rule), ...own.levels.flat().flatMap((digest) => rules.get(digest) ?? [])];
    return { ...own, reason: ofRules(distinct(taking)) };
  });
}

function bundleNumbers({ levels, graph }: ExpiryPlan): Map<Digest, number> {
  const expired = new Set(levels.flat());
  const numbers = new Map<Digest, number>();
  let bundle = 0;
  for (const start of expired) {
    if (numbers.has(start)) continue;
    const pending = [start];
    numbers.set(start, ++bundle);
    for (let digest = pending.pop(); digest !== undefined; digest = pending.pop()) {
      for (const other of [...(graph.held.get(digest) ?? []), ...(graph.holders.get(digest) ?? [])]) {
        if (!expired.has(other) || numbers.has(other)) continue;
        numbers.set(other, bundle);
        pending.push(other);
      }
    }
  }
  return numbers;
}

function distinct(rules: RuleName[]): RuleName[] {
  const byPriority = new Map(rules.map((rule) => [rule.priority, rule]));
  return [...byPriority.values()].sort((a, b) => a.priority - b.priority);
}

function cut({ tags, levels, reason }: PlanSlice): [PlanSlice, ...PlanSlice[]] {
  const [piece = [], ...others] = cutLevels(levels);
  const rest: [PlanSlice, ...PlanSlice[]] = [
    { tags: tags.slice(0, SLICE_TAGS_MAX), levels: piece, reason },
    ...others.map((part) => ({ tags: [], levels: part, reason })),
  ];
  for (let from = SLICE_TAGS_MAX; from < tags.length; from += SLICE_TAGS_MAX) {
    rest.unshift({ tags: tags.slice(from, from + SLICE_TAGS_MAX), levels: [], reason });
  }
  return rest;
}

function cutLevels(levels: Digest[][]): Digest[][][] {
  const pieces: Digest[][][] = [[]];
  let size = 0;
  for (const level of levels) {
    for (let from = 0; from < level.length; ) {
      const piece = pieces.at(-1) as Digest[][];
      const part = level.slice(from, from + SLICE_MANIFESTS_MAX - size);
      if (part.length === 0 || piece.length === LEVELS_MAX) {
        pieces.push([]);
        size = 0;
        continue;
      }
      piece.push(part);
      size += part.length;
      from += part.length;
    }
  }
  return pieces;
}

function opened(slices: PlanSlice[], slice: PlanSlice): PlanSlice {
  slices.push(slice);
  return slice;
}

function fits({ tags, levels }: PlanSlice, more: PlanSlice): boolean {
  return tags.length + more.tags.length <= SLICE_TAGS_MAX && countOf(levels) + countOf(more.levels) <= SLICE_MANIFESTS_MAX;
}

function countOf(levels: Digest[][]): number {
  return levels.reduce((sum, level) => sum + level.length, 0);
}

function add(slice: PlanSlice, { tags, levels }: PlanSlice): void {
  slice.tags.push(...tags);
  levels.forEach((level, n) => {
    const known = slice.levels[n];
    if (known) known.push(...level);
    else slice.levels.push([...level]);
  });
}
