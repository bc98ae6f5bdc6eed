/**
 * The content of a repository in the form in which lifecycle rules evaluate it. It contains the graph of manifests that hold
 * each other (an index holds the manifests that it lists, a subject holds its referrers), the tags that are attached to a
 * manifest by their name, and the last use of each image. This module does no I/O. Times are in seconds since the epoch.
 */

import { attachedTo, beginningOf } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RuleName } from './reasons.ts';

export interface StoredTag {
  tag: Tag;
  digest: Digest;
  /** The time of the last push of the tag, even if that push changed nothing. */
  updatedAt: number;
}

export interface StoredManifest {
  digest: Digest;
  subject: Digest | null;
  /** The size of the manifest in bytes. */
  size: number;
  pushedAt: number;
  /** The time when the lease of the manifest ends. Until then a client may rely on the manifest (invariant 8). */
  leasedUntil: number;
  /** The day of the last pull, in days since the epoch, or `null` if there was none. */
  pulledOn: number | null;
  /** The day of the last HEAD request, in days since the epoch. */
  checkedOn?: number | null;
}

/**
 * A manifest that nothing held any more, but that a run could not delete because a lease protected it. The next run deletes it.
 */
export interface Deferred {
  digest: Digest;
  /**
   * The end of the lease at the time of that run. If the end is different now, a client needs the manifest again, so it is
   * kept.
   */
  leasedUntil: number;
  rule: RuleName;
}

export interface Inventory {
  tags: StoredTag[];
  manifests: StoredManifest[];
  /** The references from indexes to the manifests that they list. Both are in the repository. */
  references: { parent: Digest; child: Digest }[];
  /** The manifests that the last run deferred. Stored reports use the field name `left`. */
  left: Deferred[];
}

export interface ReferenceGraph {
  holders: Map<Digest, Digest[]>;
  held: Map<Digest, Digest[]>;
}

/**
 * Returns the graph of the manifests that hold each other.
 * @param attached manifests that belong to a subject by the name of a tag. The subject holds them like referrers
 */
export function referenceGraphOf(
  { manifests, references }: Inventory,
  attached: { digest: Digest; subject: Digest }[],
): ReferenceGraph {
  const there = new Set(manifests.map(({ digest }) => digest));
  const graph: ReferenceGraph = { holders: new Map(), held: new Map() };
  const hold = (holder: Digest, held: Digest) => {
    if (!there.has(holder) || !there.has(held)) return;
    appendTo(graph.held, holder, held);
    appendTo(graph.holders, held, holder);
  };
  for (const { parent, child } of references) hold(parent, child);
  for (const { digest, subject } of manifests) if (subject !== null) hold(subject, digest);
  for (const { digest, subject } of attached) hold(subject, digest);
  return graph;
}

export function appendTo<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known) known.push(value);
  else map.set(key, [value]);
}

/**
 * Returns the manifests to delete in topological levels: each manifest after all manifests that hold it. If a manifest is kept,
 * everything that it holds is kept, too. Takes linear time for every graph, because an index may reach a manifest on many
 * paths, and referrers may form a long chain.
 * @param expires decides about one manifest after all its holders were selected for deletion. `last` is the last of these
 * holders, or `null` if the manifest has no holder
 */
export function topologicalLevels(
  manifests: readonly StoredManifest[],
  { holders, held }: ReferenceGraph,
  expires: (manifest: StoredManifest, last: Digest | null) => boolean,
): Digest[][] {
  const known = new Map(manifests.map((manifest) => [manifest.digest, manifest]));
  const open = new Map([...holders].map(([digest, all]) => [digest, all.length]));
  const levels: Digest[][] = [];
  let level = manifests.filter(({ digest }) => !open.has(digest)).filter((manifest) => expires(manifest, null));
  while (level.length > 0) {
    levels.push(level.map(({ digest }) => digest));
    const next: StoredManifest[] = [];
    for (const { digest } of level) {
      for (const child of held.get(digest) ?? []) {
        const left = (open.get(child) ?? 0) - 1;
        open.set(child, left);
        const manifest = known.get(child);
        if (left === 0 && manifest && expires(manifest, digest)) next.push(manifest);
      }
    }
    level = next;
  }
  return levels;
}

export interface Attached {
  tag: Tag;
  /** The digest of the manifest that the tag names. */
  digest: Digest;
  subject: Digest;
}

/**
 * Finds the attached tags. A tag is not attached if its subject is not in the repository, if it names the subject itself, or if
 * attaching it would close a cycle of manifests. Manifests in a cycle hold each other and could never be deleted.
 */
export function attachedIn({ tags, manifests, references }: Omit<Inventory, 'left'>): Attached[] {
  const named = tags.flatMap(({ tag, digest }) => {
    const beginning = attachedTo(tag);
    return beginning === null ? [] : [{ tag, digest, beginning }];
  });
  if (named.length === 0) return [];
  const subjects = new Map(manifests.map(({ digest }) => [beginningOf(digest), digest]));
  const attached = named.flatMap(({ tag, digest, beginning }) => {
    const subject = subjects.get(beginning);
    return subject === undefined || subject === digest ? [] : [{ tag, digest, subject }];
  });
  const cyclic = inCycles([
    ...references.map(({ parent, child }) => ({ from: parent, to: child })),
    ...manifests.flatMap(({ digest, subject }) => (subject === null ? [] : [{ from: subject, to: digest }])),
    ...attached.map(({ subject, digest }) => ({ from: subject, to: digest })),
  ]);
  return attached.filter(({ subject, digest }) => !cyclic.has(subject) || !cyclic.has(digest));
}

interface Edge {
  from: Digest;
  to: Digest;
}

/** Returns the manifests that are in a cycle, or on a path from one cycle to another. */
function inCycles(edges: Edge[]): Set<Digest> {
  const behind = remaining(edges);
  const inner = edges.filter(({ from, to }) => behind.has(from) && behind.has(to));
  return remaining(inner.map(({ from, to }) => ({ from: to, to: from })));
}

/** Returns the nodes that are left after repeatedly removing every node without an incoming edge. */
function remaining(edges: Edge[]): Set<Digest> {
  const targets = new Map<Digest, Digest[]>();
  const open = new Map<Digest, number>();
  for (const { from, to } of edges) {
    appendTo(targets, from, to);
    open.set(to, (open.get(to) ?? 0) + 1);
  }
  const ready = [...targets.keys()].filter((digest) => !open.has(digest));
  for (let from = ready.pop(); from !== undefined; from = ready.pop()) {
    for (const to of targets.get(from) ?? []) {
      const left = (open.get(to) ?? 0) - 1;
      open.set(to, left);
      if (left === 0) ready.push(to);
    }
  }
  return new Set([...open].filter(([, left]) => left > 0).map(([digest]) => digest));
}

export interface Use {
  /** The day of the last pull, in days since the epoch, or `null` if there was none. */
  pulledOn: number | null;
  /** The day of the last HEAD request, in days since the epoch, or `null` if there was none. */
  checkedOn: number | null;
}

/**
 * Returns the last use of each manifest. The use of a listed manifest also counts for its index, and the use of a subject also
 * counts for its referrers. Takes linear time.
 */
export function usesOf({ manifests, references }: Inventory, attached: readonly Attached[]): Map<Digest, Use> {
  const uses = new Map(manifests.map(({ digest, pulledOn, checkedOn = null }) => [digest, { pulledOn, checkedOn }]));
  passToParents(uses, references);
  const subjects = [...attached, ...manifests].map(({ digest, subject }): [Digest, Digest | null] => [digest, subject]);
  passToReferrers(uses, subjects);
  return uses;
}

/**
 * Adds the uses of listed manifests to the uses of their indexes. Each manifest is visited after all manifests that it lists.
 */
function passToParents(uses: Map<Digest, Use>, references: Inventory['references']): void {
  const parents = new Map<Digest, Digest[]>();
  const open = new Map<Digest, number>();
  for (const { parent, child } of references) {
    if (!uses.has(parent) || !uses.has(child)) continue;
    appendTo(parents, child, parent);
    open.set(parent, (open.get(parent) ?? 0) + 1);
  }
  const ready = [...parents.keys()].filter((digest) => !open.has(digest));
  for (let child = ready.pop(); child !== undefined; child = ready.pop()) {
    for (const parent of parents.get(child) ?? []) {
      pass(uses, child, parent);
      const left = (open.get(parent) ?? 0) - 1;
      open.set(parent, left);
      if (left === 0) ready.push(parent);
    }
  }
}

/**
 * Adds the uses of subjects to the uses of their referrers. Each referrer is visited after its subject. Chains of referrers may
 * be long, and attached tags may form cycles.
 */
function passToReferrers(uses: Map<Digest, Use>, pairs: [digest: Digest, subject: Digest | null][]): void {
  const subjects = new Map(pairs.flatMap(([digest, subject]) => (subject === null ? [] : [[digest, subject]])));
  const done = new Set<Digest>();
  for (const start of subjects.keys()) {
    const chain: Digest[] = [];
    for (let digest: Digest | undefined = start; digest && !done.has(digest); digest = subjects.get(digest)) {
      done.add(digest);
      chain.push(digest);
    }
    for (const digest of chain.reverse()) {
      const subject = subjects.get(digest);
      if (subject && uses.has(subject)) pass(uses, subject, digest);
    }
  }
}

function pass(uses: Map<Digest, Use>, from: Digest, to: Digest): void {
  const [used, use] = [uses.get(from), uses.get(to)];
  if (!used || !use) return;
  use.pulledOn = later(use.pulledOn, used.pulledOn);
  use.checkedOn = later(use.checkedOn, used.checkedOn);
}

function later(one: number | null, other: number | null): number | null {
  return one === null || (other !== null && other > one) ? other : one;
}
