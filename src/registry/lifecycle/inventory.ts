/**
 * What a repository holds, as rules look at it, and what holds what there: an index its manifests, a subject its referrers.
 * Pure; times are seconds since the epoch.
 */
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RuleName } from './reasons.ts';

export interface StoredTag {
  tag: Tag;
  digest: Digest;
  /** When it was last pushed, be it that it named the same before. */
  updatedAt: number;
}

export interface StoredManifest {
  digest: Digest;
  subject: Digest | null;
  /** Bytes. */
  size: number;
  pushedAt: number;
  /** Until then somebody relies on it, who was told that it is here (invariant 8). */
  leasedUntil: number;
  /** The day of its own last pull, in days since the epoch; `null`: never. */
  pulledOn: number | null;
  /** The day on which a client last asked for it without getting it (HEAD). */
  checkedOn?: number | null;
}

/** A manifest that a run let be, as it was leased, when all that held it had gone: it goes with the first run after that. */
export interface Leftover {
  digest: Digest;
  /** As it was then: where it is another by now, somebody came back for it. */
  leasedUntil: number;
  rule: RuleName;
}

export interface Inventory {
  tags: StoredTag[];
  manifests: StoredManifest[];
  /** Which manifests are listed by which. */
  references: { parent: Digest; child: Digest }[];
  left: Leftover[];
}

export interface Holding {
  holders: Map<Digest, Digest[]>;
  held: Map<Digest, Digest[]>;
}

/** @param attached manifests that belong to another one by a tag: it holds them as it holds its referrers */
export function holdingOf({ manifests, references }: Inventory, attached: { digest: Digest; subject: Digest }[]): Holding {
  const there = new Set(manifests.map(({ digest }) => digest));
  const holding: Holding = { holders: new Map(), held: new Map() };
  const hold = (holder: Digest, held: Digest) => {
    if (!there.has(holder) || !there.has(held)) return;
    append(holding.held, holder, held);
    append(holding.holders, held, holder);
  };
  for (const { parent, child } of references) hold(parent, child);
  for (const { digest, subject } of manifests) if (subject !== null) hold(subject, digest);
  for (const { digest, subject } of attached) hold(subject, digest);
  return holding;
}

export function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known) known.push(value);
  else map.set(key, [value]);
}

/**
 * The manifests that go, in levels: each goes after all that hold it. Asked about each once, when nothing holds it any more;
 * where it stays, so does what it holds. Takes time in proportion to what there is, whatever its shape: an index may list a
 * manifest on many ways, and referrers may refer to each other in a long chain.
 * @param last the last of those that held it; `null`: nothing did
 */
export function peel(
  manifests: readonly StoredManifest[],
  { holders, held }: Holding,
  goes: (manifest: StoredManifest, last: Digest | null) => boolean,
): Digest[][] {
  const known = new Map(manifests.map((manifest) => [manifest.digest, manifest]));
  const open = new Map([...holders].map(([digest, all]) => [digest, all.length]));
  const levels: Digest[][] = [];
  let level = manifests.filter(({ digest }) => !open.has(digest)).filter((manifest) => goes(manifest, null));
  while (level.length > 0) {
    levels.push(level.map(({ digest }) => digest));
    const next: StoredManifest[] = [];
    for (const { digest } of level) {
      for (const child of held.get(digest) ?? []) {
        const left = (open.get(child) ?? 0) - 1;
        open.set(child, left);
        const manifest = known.get(child);
        if (left === 0 && manifest && goes(manifest, digest)) next.push(manifest);
      }
    }
    level = next;
  }
  return levels;
}
