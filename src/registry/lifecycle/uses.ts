/**
 * The last use of each image. A client that pulls a multi-platform image may ask only for one of the manifests that its index lists, so a
 * use of a listed manifest counts for the index, at any depth. A use of an image counts for its referrers too. Pure; days since the epoch.
 */
import type { Digest } from '../../oci/digest.ts';
import type { Attached } from './attached.ts';
import { append, type Inventory } from './inventory.ts';

export interface Use {
  /** The day of the last pull; `null`: never. */
  pulledOn: number | null;
  /** The day of the last HEAD request; `null`: never. */
  checkedOn: number | null;
}

/** The use of each manifest, with all uses that count for it. Linear time. */
export function usesOf({ manifests, references }: Inventory, attached: readonly Attached[]): Map<Digest, Use> {
  const uses = new Map(manifests.map(({ digest, pulledOn, checkedOn = null }) => [digest, { pulledOn, checkedOn }]));
  passToParents(uses, references);
  const subjects = [...attached, ...manifests].map(({ digest, subject }): [Digest, Digest | null] => [digest, subject]);
  passToReferrers(uses, subjects);
  return uses;
}

/** Visits each manifest after all that it lists. */
function passToParents(uses: Map<Digest, Use>, references: Inventory['references']): void {
  const parents = new Map<Digest, Digest[]>();
  const open = new Map<Digest, number>();
  for (const { parent, child } of references) {
    if (!uses.has(parent) || !uses.has(child)) continue;
    append(parents, child, parent);
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

/** Visits each referrer after its subject. Chains may be long, and with forged digests they may be cycles. */
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
