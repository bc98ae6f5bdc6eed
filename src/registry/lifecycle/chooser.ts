/**
 * Computes which tags and manifests a lifecycle policy selects for deletion, and by which rule. The preview and the run use the
 * same functions, which do no I/O. A decision is made for each tag and each untagged manifest, not for images: a rule that
 * keeps one tag of an image does not keep the other tags.
 */
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { Mutability } from '../../vocabulary/mutability.ts';
import { isImmutable } from '../tags/mutability.ts';
import {
  type Attached,
  appendTo,
  attachedIn,
  type Deferred,
  type Inventory,
  type ReferenceGraph,
  referenceGraphOf,
  type StoredManifest,
  topologicalLevels,
  usesOf,
} from './inventory.ts';
import { type LifecyclePolicy, type Rule, versionOf } from './policy.ts';
import { losesHolder, losesTags, ruleNameOf, type Verdict, WAS_DEFERRED } from './reasons.ts';
import { type Candidate, type CountBounds, keptBy, overCount, selected } from './selecting.ts';
import { boundsFor, type Survey } from './survey.ts';

export interface ExpiredTag extends Verdict {
  tag: Tag;
  digest: Digest;
  /** True if the tag is immutable. Then the rule explicitly includes immutable tags. */
  immutable: boolean;
}

/** An attached tag (for example of a signature) to delete together with its subject. Rules do not select such tags by name. */
export interface ExpiredAttachedTag extends Verdict, Attached {}

export interface ExpiredManifest extends Verdict {
  digest: Digest;
  size: number;
  leasedUntil: number;
}

export interface ExpiryPlan {
  tags: ExpiredTag[];
  attached: ExpiredAttachedTag[];
  /** The manifests to delete. A manifest comes after all manifests that reference it. */
  manifests: ExpiredManifest[];
  /** The digests of `manifests` in topological levels: manifests come before the manifests that they reference. */
  levels: Digest[][];
  graph: ReferenceGraph;
  /** Manifests that nothing references any more but that a lease protects. A later run deletes them. */
  left: Deferred[];
  /**
   * Manifests that are not deleted now only because a lease protects them: those in `left`, and those that a rule selected
   * directly.
   */
  waiting: { digest: Digest; leasedUntil: number }[];
}

interface Circumstances {
  inventory: Inventory;
  mutability: Mutability;
  /** The present time, in seconds since the epoch. */
  now: number;
  /** The counts of the whole repository. Set if `inventory` contains only one page of the tags and images. */
  known?: Survey;
}

export function choose(policy: LifecyclePolicy, { inventory, mutability, now, known }: Circumstances): ExpiryPlan {
  const attached = attachedIn(inventory);
  const graph = referenceGraphOf(inventory, attached);
  const versioned = policy.rules.some(({ selection }) => selection.tagSemverRange !== undefined);
  const candidates = candidatesIn(inventory, { graph, attached, versioned });
  const whole = (rule: Rule) => (known ? boundsFor(known, rule) : null);
  const kept = new Set(
    rulesOf(policy, 'keep').flatMap((rule) => keptBy(rule.selection, selected(rule.selection, candidates), now, whole(rule))),
  );
  const fixed = new Set(candidates.filter(({ tag }) => tag !== null && isImmutable(mutability, tag)));
  const taken = takenBy(
    policy,
    candidates.filter(({ held }) => !held),
    { kept, fixed, now, whole },
  );
  const expired = expiredManifests({ inventory, graph, attached, candidates, kept, taken, now });
  return {
    tags: [...taken].flatMap(([{ tag, digest }, verdict]) =>
      tag === null ? [] : [{ tag, digest, immutable: isImmutable(mutability, tag), ...verdict }],
    ),
    attached: attachedTo(expired.manifests, attached),
    ...expired,
    graph,
  };
}

function rulesOf({ rules }: LifecyclePolicy, type: 'expire' | 'keep') {
  return rules.filter(({ action }) => action.type === type).sort((a, b) => a.rulePriority - b.rulePriority);
}

function attachedTo(manifests: ExpiredManifest[], attached: Attached[]): ExpiredAttachedTag[] {
  const rules = new Map(manifests.map(({ digest, rule }) => [digest, rule]));
  return attached.flatMap((one) => {
    const rule = rules.get(one.subject);
    return rule ? [{ ...one, rule, reason: losesHolder(one.subject, true) }] : [];
  });
}

interface Considered {
  graph: ReferenceGraph;
  attached: Attached[];
  /** True if a rule compares the versions of tags. */
  versioned: boolean;
}

/**
 * Returns the tags and untagged manifests to which rules apply. Attached tags and referrers are not among them, because they
 * are deleted or kept together with their subject.
 */
function candidatesIn(inventory: Inventory, { graph: { holders }, attached, versioned }: Considered): Candidate[] {
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
 * Applies the rules that delete, as AWS ECR does ("Lifecycle policy evaluation rules"). Every rule is evaluated on all
 * candidates. The first rule whose tag condition a candidate meets decides about the candidate. If that rule keeps the
 * candidate, later rules cannot delete it.
 */
function takenBy(
  policy: LifecyclePolicy,
  candidates: Candidate[],
  {
    kept,
    fixed,
    now,
    whole,
  }: { kept: Set<Candidate>; fixed: Set<Candidate>; now: number; whole: (rule: Rule) => CountBounds | null },
): Map<Candidate, Verdict> {
  const decided = new Set<Candidate>();
  const taken = new Map<Candidate, Verdict>();
  for (const rule of rulesOf(policy, 'expire')) {
    const seen = selected(rule.selection, candidates);
    const over = overCount(rule.selection, seen, now, whole(rule));
    for (const candidate of seen) {
      if (decided.has(candidate)) continue;
      decided.add(candidate);
      const reason = over.get(candidate);
      const mayTake = !kept.has(candidate) && (!fixed.has(candidate) || rule.action.includeImmutable === true);
      if (reason !== undefined && mayTake) taken.set(candidate, { rule: ruleNameOf(rule), reason: reason() });
    }
  }
  return taken;
}

interface Decided {
  inventory: Inventory;
  graph: ReferenceGraph;
  attached: Attached[];
  candidates: Candidate[];
  kept: Set<Candidate>;
  taken: Map<Candidate, Verdict>;
  now: number;
}

/** The data for the decision about a manifest. */
interface Consulted {
  kept: Set<Candidate>;
  taken: Map<Candidate, Verdict>;
  candidates: Map<Digest, Candidate[]>;
  deferredBefore: Map<Digest, Deferred>;
  /** One string `digest subject` for each attached tag. */
  belongs: Set<string>;
  expired: Map<Digest, ExpiredManifest>;
}

/**
 * Decides about a manifest that no remaining manifest references. The manifest is deleted if a rule selected the manifest
 * itself, all its tags, or the last manifest that referenced it.
 * @param last the last manifest that referenced this one, or `null` if no manifest did
 */
function verdictOn(
  { digest, subject, leasedUntil }: StoredManifest,
  last: Digest | null,
  { kept, taken, candidates, deferredBefore, belongs, expired }: Consulted,
): (Verdict & { own: boolean }) | null {
  const own = candidates.get(digest) ?? [];
  if (own.some((candidate) => kept.has(candidate))) return null;
  const verdicts = own.flatMap((candidate) => taken.get(candidate) ?? []);
  const [first] = verdicts;
  const [candidate] = own;
  if (candidate?.tag) {
    if (!first || verdicts.length < own.length) return null;
    return { rule: first.rule, reason: losesTags(own.map(({ tag }) => tag ?? '')), own: false };
  }
  const holder = last === null ? undefined : expired.get(last);
  if (holder) {
    const isSubject = holder.digest === subject || belongs.has(`${digest} ${holder.digest}`);
    return { rule: holder.rule, reason: losesHolder(holder.digest, isSubject), own: false };
  }
  if (first) return { ...first, own: true };
  const deferredOne = deferredBefore.get(digest);
  return deferredOne?.leasedUntil === leasedUntil ? { rule: deferredOne.rule, reason: WAS_DEFERRED, own: false } : null;
}

function expiredManifests(decided: Decided): Pick<ExpiryPlan, 'manifests' | 'levels' | 'left' | 'waiting'> {
  const { inventory, graph, attached, kept, taken, now } = decided;
  const candidates = new Map<Digest, Candidate[]>();
  for (const candidate of decided.candidates) appendTo(candidates, candidate.digest, candidate);
  const deferredBefore = new Map(inventory.left.map((deferredOne) => [deferredOne.digest, deferredOne]));
  const belongs = new Set(attached.map(({ digest, subject }) => `${digest} ${subject}`));
  const expired = new Map<Digest, ExpiredManifest>();
  const left: Deferred[] = [];
  const waiting: ExpiryPlan['waiting'] = [];
  const levels = topologicalLevels(inventory.manifests, graph, (manifest, last) => {
    const verdict = verdictOn(manifest, last, { kept, taken, candidates, deferredBefore, belongs, expired });
    if (verdict === null) return false;
    const { digest, size, leasedUntil } = manifest;
    const { own, rule, reason } = verdict;
    const goes = leasedUntil <= now;
    if (goes) expired.set(digest, { digest, size, leasedUntil, rule, reason });
    else waiting.push({ digest, leasedUntil });
    // If a rule selected the manifest directly, the next run selects it again. Only other manifests must be noted in `left`.
    if (!goes && !own) left.push({ digest, leasedUntil, rule });
    return goes;
  });
  return { manifests: [...expired.values()], levels, left, waiting };
}

/** Returns a text that is the same for equal plans, whatever the order of the inventory. */
export function planText({ tags, attached, manifests }: ExpiryPlan): string {
  const tagLines = [...tags, ...attached].map(({ tag, digest, rule }) => `${rule.priority} ${tag} ${digest}`);
  const manifestLines = manifests.map(({ digest, rule }) => `${rule.priority} ${digest}`);
  return [...tagLines, ...manifestLines].sort().join('\n');
}
