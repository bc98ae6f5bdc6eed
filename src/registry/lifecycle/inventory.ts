/**
 * The content of a repository for the rules, and the graph of what holds what: an index holds its manifests, a subject its referrers.
 * Pure. Times are seconds since the epoch.
 */
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RuleName } from './reasons.ts';

export interface StoredTag {
  tag: Tag;
  digest: Digest;
  /** The time of the last push, even if that changed nothing. */
  updatedAt: number;
}

export interface StoredManifest {
  digest: Digest;
  subject: Digest | null;
  /** Bytes. */
  size: number;
  pushedAt: number;
  /** The end of its lease: a client was told that it exists and may rely on it (invariant 8). */
  leasedUntil: number;
  /** The day of its last pull, in days since the epoch; `null`: never. */
  pulledOn: number | null;
  /** The day of the last HEAD request. */
  checkedOn?: number | null;
}

/** A manifest that a run did not delete because it was leased, although nothing held it any more. The next run deletes it. */
export interface Deferred {
  digest: Digest;
  /** The lease at that time. If it changed since, a client needs the manifest again, and it stays. */
  leasedUntil: number;
  rule: RuleName;
}

export interface Inventory {
  tags: StoredTag[];
  manifests: StoredManifest[];
  /** The manifests that indexes list. */
  references: { parent: Digest; child: Digest }[];
  /** Deferred by the last run. The name is the one in stored reports. */
  left: Deferred[];
}

export interface ReferenceGraph {
  holders: Map<Digest, Digest[]>;
  held: Map<Digest, Digest[]>;
}

/** @param attached manifests that belong to a subject by a tag: the subject holds them like its referrers */
export function referenceGraphOf(
  { manifests, references }: Inventory,
  attached: { digest: Digest; subject: Digest }[],
): ReferenceGraph {
  const there = new Set(manifests.map(({ digest }) => digest));
  const graph: ReferenceGraph = { holders: new Map(), held: new Map() };
  const hold = (holder: Digest, held: Digest) => {
    if (!there.has(holder) || !there.has(held)) return;
    append(graph.held, holder, held);
    append(graph.holders, held, holder);
  };
  for (const { parent, child } of references) hold(parent, child);
  for (const { digest, subject } of manifests) if (subject !== null) hold(subject, digest);
  for (const { digest, subject } of attached) hold(subject, digest);
  return graph;
}

export function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known) known.push(value);
  else map.set(key, [value]);
}

/**
 * The expired manifests in topological levels: each after all that hold it. `expires` is called once for each manifest that nothing holds
 * any more. If a manifest stays, everything that it holds stays too. Linear time for every shape of graph: an index may reach a manifest
 * on many paths, and referrers may form a long chain.
 * @param expires `last` is the last manifest that held it; `null`: nothing did
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
