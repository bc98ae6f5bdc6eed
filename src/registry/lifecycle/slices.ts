/**
 * Cuts a plan into slices, each of which is one batch. Connected content (a tag, its manifest, and what only that held) is in one slice, so
 * that a crash leaves no half of it. Pure.
 */
import type { Digest } from '../../oci/digest.ts';
import { SLICE_MANIFESTS_MAX, SLICE_TAGS_MAX } from '../../vocabulary/lifecycle.ts';
import type { ExpiredTag, ExpiryPlan } from './chooser.ts';
import { append } from './inventory.ts';
import { ofRules, type RuleName } from './reasons.ts';

export interface PlanSlice {
  tags: ExpiredTag[];
  levels: Digest[][];
  /** The rules that expired its content, for the record. */
  reason: string;
}

/** Levels of manifests in one batch: each takes some statements. */
export const LEVELS_MAX = 10;

/** Only a bundle that is larger than a slice is cut. Then tags are deleted before their manifests, and holders before what they hold. */
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

/** The connected parts of the plan, in its order. */
function bundlesOf(plan: ExpiryPlan): PlanSlice[] {
  const bundleOf = bundleNumbers(plan);
  const tags = new Map<number | string, ExpiredTag[]>();
  for (const tag of plan.tags) append(tags, bundleOf.get(tag.digest) ?? tag.tag, tag);
  const levels = new Map<number, Map<number, Digest[]>>();
  plan.levels.forEach((level, n) => {
    for (const digest of level) {
      const bundle = bundleOf.get(digest) as number;
      const own = levels.get(bundle) ?? new Map<number, Digest[]>();
      append(own, n, digest);
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
