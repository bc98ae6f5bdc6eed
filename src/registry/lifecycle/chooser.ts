/**
 * What a policy lets go of what a repository holds, and why: the one place that decides it, for the preview and for the run.
 * What is decided about is a tag or an untagged manifest, not an image: a tag that is kept keeps only itself. Pure.
 */
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { Mutability } from '../../vocabulary/mutability.ts';
import { isImmutable } from '../tags/mutability.ts';
import { type Attached, attachedIn } from './attached.ts';
import { append, type Holding, holdingOf, type Inventory, type Leftover, peel, type StoredManifest } from './inventory.ts';
import { type Known, wholeFor } from './known.ts';
import type { LifecyclePolicy, Rule } from './policy.ts';
import { losesHolder, losesTags, nameOf, type Verdict, WAS_LEFT } from './reasons.ts';
import { keptBy, overCount, selected, type Unit, type Whole } from './selecting.ts';
import { usesOf } from './uses.ts';
import { versionOf } from './versions.ts';

export interface DoomedTag extends Verdict {
  tag: Tag;
  digest: Digest;
  /** It is immutable, and the rule takes it all the same. */
  immutable: boolean;
}

/** One that goes with the manifest that it belongs to, whatever rules say of its name. */
export interface DoomedAttached extends Verdict, Attached {}

export interface DoomedManifest extends Verdict {
  digest: Digest;
  size: number;
  leasedUntil: number;
}

export interface Plan {
  tags: DoomedTag[];
  attached: DoomedAttached[];
  /** Each after all that hold it. */
  manifests: DoomedManifest[];
  /** Their digests: holders before what they hold. */
  levels: Digest[][];
  holding: Holding;
  /** Nothing holds these any more, but they are leased: they stay for now. */
  left: Leftover[];
  /** What the rules would take and a lease keeps for now: those of `left`, and what a rule took by itself. */
  waiting: { digest: Digest; leasedUntil: number }[];
}

export interface Circumstances {
  inventory: Inventory;
  mutability: Mutability;
  /** Seconds since the epoch. */
  now: number;
  /** What counts come to in the whole repository, where the inventory is a part of it. */
  known?: Known;
}

export function choose(policy: LifecyclePolicy, { inventory, mutability, now, known }: Circumstances): Plan {
  const attached = attachedIn(inventory);
  const holding = holdingOf(inventory, attached);
  const versioned = policy.rules.some(({ selection }) => selection.tagSemverRange !== undefined);
  const units = unitsOf(inventory, { holding, attached, versioned });
  const whole = (rule: Rule) => (known ? wholeFor(known, rule) : null);
  const kept = new Set(
    rulesOf(policy, 'keep').flatMap((rule) => keptBy(rule.selection, selected(rule.selection, units), now, whole(rule))),
  );
  const fixed = new Set(units.filter(({ tag }) => tag !== null && isImmutable(mutability, tag)));
  const taken = takenBy(
    policy,
    units.filter(({ held }) => !held),
    { kept, fixed, now, whole },
  );
  const doomed = doomedManifests({ inventory, holding, attached, units, kept, taken, now });
  return {
    tags: [...taken].flatMap(([{ tag, digest }, verdict]) =>
      tag === null ? [] : [{ tag, digest, immutable: isImmutable(mutability, tag), ...verdict }],
    ),
    attached: attachedTo(doomed.manifests, attached),
    ...doomed,
    holding,
  };
}

function rulesOf({ rules }: LifecyclePolicy, type: 'expire' | 'keep') {
  return rules.filter(({ action }) => action.type === type).sort((a, b) => a.rulePriority - b.rulePriority);
}

function attachedTo(manifests: DoomedManifest[], attached: Attached[]): DoomedAttached[] {
  const rules = new Map(manifests.map(({ digest, rule }) => [digest, rule]));
  return attached.flatMap((one) => {
    const rule = rules.get(one.subject);
    return rule ? [{ ...one, rule, reason: losesHolder(one.subject, true) }] : [];
  });
}

interface Considered {
  holding: Holding;
  attached: Attached[];
  /** Whether a rule asks what versions the tags are. */
  versioned: boolean;
}

/** What belongs to a subject by a tag's name or by its own word is no image, and decided with the subject. */
function unitsOf(inventory: Inventory, { holding: { holders }, attached, versioned }: Considered): Unit[] {
  const { manifests } = inventory;
  const attachedTags = new Set(attached.map(({ tag }) => tag));
  const tags = inventory.tags.filter(({ tag }) => !attachedTags.has(tag));
  const attachedDigests = new Set(attached.map(({ digest }) => digest));
  const there = new Set(manifests.map(({ digest }) => digest));
  const uses = usesOf(inventory, attached);
  const useOf = (digest: Digest) => uses.get(digest) ?? { pulledOn: null, checkedOn: null };
  const tagged = new Set(tags.map(({ digest }) => digest));
  return [
    ...tags.map(({ tag, digest, updatedAt }) => {
      const version = versioned ? versionOf(tag) : null;
      return { tag, version, digest, time: updatedAt, ...useOf(digest), held: false };
    }),
    ...manifests
      .filter(({ digest }) => !tagged.has(digest) && !attachedDigests.has(digest))
      .filter(({ subject }) => subject === null || !there.has(subject))
      .map(({ digest, pushedAt }) => {
        return { tag: null, version: null, digest, time: pushedAt, ...useOf(digest), held: holders.has(digest) };
      }),
  ];
}

/**
 * ECR, "Lifecycle policy evaluation rules": all rules look at all there is; the first whose requirement on tags is met decides,
 * and what it lets stay is safe from those after it.
 */
function takenBy(
  policy: LifecyclePolicy,
  units: Unit[],
  { kept, fixed, now, whole }: { kept: Set<Unit>; fixed: Set<Unit>; now: number; whole: (rule: Rule) => Whole | null },
): Map<Unit, Verdict> {
  const decided = new Set<Unit>();
  const taken = new Map<Unit, Verdict>();
  for (const rule of rulesOf(policy, 'expire')) {
    const seen = selected(rule.selection, units);
    const over = overCount(rule.selection, seen, now, whole(rule));
    for (const unit of seen) {
      if (decided.has(unit)) continue;
      decided.add(unit);
      const reason = over.get(unit);
      const mayTake = !kept.has(unit) && (!fixed.has(unit) || rule.action.includeImmutable === true);
      if (reason !== undefined && mayTake) taken.set(unit, { rule: nameOf(rule), reason: reason() });
    }
  }
  return taken;
}

interface Decided {
  inventory: Inventory;
  holding: Holding;
  attached: Attached[];
  units: Unit[];
  kept: Set<Unit>;
  taken: Map<Unit, Verdict>;
  now: number;
}

/** What a verdict on a manifest is made of, beside the manifest: looked up for each. */
interface Consulted {
  kept: Set<Unit>;
  taken: Map<Unit, Verdict>;
  units: Map<Digest, Unit[]>;
  leftovers: Map<Digest, Leftover>;
  /** `digest subject` of what belongs to a subject by a tag. */
  belongs: Set<string>;
  doomed: Map<Digest, DoomedManifest>;
}

/**
 * A manifest goes when nothing names or holds it any more, be it that a rule took it or that what held it has gone.
 * @param last of those that held it; `null`: nothing did
 */
function verdictOn(
  { digest, subject, leasedUntil }: StoredManifest,
  last: Digest | null,
  { kept, taken, units, leftovers, belongs, doomed }: Consulted,
): (Verdict & { own: boolean }) | null {
  const own = units.get(digest) ?? [];
  if (own.some((unit) => kept.has(unit))) return null;
  const verdicts = own.flatMap((unit) => taken.get(unit) ?? []);
  const [first] = verdicts;
  const [unit] = own;
  if (unit?.tag) {
    if (!first || verdicts.length < own.length) return null;
    return { rule: first.rule, reason: losesTags(own.map(({ tag }) => tag ?? '')), own: false };
  }
  const holder = last === null ? undefined : doomed.get(last);
  if (holder) {
    const isSubject = holder.digest === subject || belongs.has(`${digest} ${holder.digest}`);
    return { rule: holder.rule, reason: losesHolder(holder.digest, isSubject), own: false };
  }
  if (first) return { ...first, own: true };
  const leftover = leftovers.get(digest);
  return leftover?.leasedUntil === leasedUntil ? { rule: leftover.rule, reason: WAS_LEFT, own: false } : null;
}

function doomedManifests(decided: Decided): Pick<Plan, 'manifests' | 'levels' | 'left' | 'waiting'> {
  const { inventory, holding, attached, kept, taken, now } = decided;
  const units = new Map<Digest, Unit[]>();
  for (const unit of decided.units) append(units, unit.digest, unit);
  const leftovers = new Map(inventory.left.map((leftover) => [leftover.digest, leftover]));
  const belongs = new Set(attached.map(({ digest, subject }) => `${digest} ${subject}`));
  const doomed = new Map<Digest, DoomedManifest>();
  const left: Leftover[] = [];
  const waiting: Plan['waiting'] = [];
  const levels = peel(inventory.manifests, holding, (manifest, last) => {
    const verdict = verdictOn(manifest, last, { kept, taken, units, leftovers, belongs, doomed });
    if (verdict === null) return false;
    const { digest, size, leasedUntil } = manifest;
    const { own, rule, reason } = verdict;
    const goes = leasedUntil <= now;
    if (goes) doomed.set(digest, { digest, size, leasedUntil, rule, reason });
    else waiting.push({ digest, leasedUntil });
    // What a rule took by itself, it will take again.
    if (!goes && !own) left.push({ digest, leasedUntil, rule });
    return goes;
  });
  return { manifests: [...doomed.values()], levels, left, waiting };
}

/** The same list has the same text, whatever order it was found in. */
export function textOf({ tags, attached, manifests }: Plan): string {
  const tagLines = [...tags, ...attached].map(({ tag, digest, rule }) => `${rule.priority} ${tag} ${digest}`);
  const manifestLines = manifests.map(({ digest, rule }) => `${rule.priority} ${digest}`);
  return [...tagLines, ...manifestLines].sort().join('\n');
}
