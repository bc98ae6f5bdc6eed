/** Helpers that describe a repository as input of the chooser, and compute the repository after a plan was carried out. */
import type { Digest } from '../../../src/oci/digest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import { choose, type ExpiryPlan } from '../../../src/registry/lifecycle/chooser.ts';
import type { Inventory } from '../../../src/registry/lifecycle/inventory.ts';
import type { LifecyclePolicy, Rule } from '../../../src/registry/lifecycle/policy.ts';
import type { Mutability } from '../../../src/vocabulary/mutability.ts';

export const DAY = 24 * 60 * 60;
/** The present in the tests: 2026-10-15T12:00:00Z. */
export const NOW = 1_792_065_600;
export const MUTABLE: Mutability = { value: 'MUTABLE', exclusions: [] };

export interface Image {
  /** The tags, each with the number of days since it was set. In a list, each tag was set when the image was pushed. */
  tags?: Record<string, number> | string[];
  /** The number of days since the push. */
  pushed?: number;
  pulled?: number;
  /** The number of days since a client last checked the image with HEAD. */
  checked?: number;
  children?: string[];
  subject?: string;
  /** The number of days from now until the lease ends. */
  leased?: number;
}

/** A digest with a readable name. The chooser only compares digests. */
export const digestOf = (name: string) => `sha256:${name}` as Digest;
export const ago = (days: number) => NOW - days * DAY;

export function stock(images: Record<string, Image>): Inventory {
  const all = Object.entries(images);
  return {
    tags: all.flatMap(([name, { tags = [], pushed = 0 }]) =>
      (Array.isArray(tags) ? tags.map((tag): [string, number] => [tag, pushed]) : Object.entries(tags)).map(([tag, days]) => {
        return { tag: tag as Tag, digest: digestOf(name), updatedAt: ago(days) };
      }),
    ),
    manifests: all.map(([name, { pushed = 0, pulled, checked, subject, leased }]) => ({
      digest: digestOf(name),
      subject: subject === undefined ? null : digestOf(subject),
      size: 100,
      pushedAt: ago(pushed),
      leasedUntil: leased === undefined ? 0 : ago(-leased),
      pulledOn: pulled === undefined ? null : Math.floor(ago(pulled) / DAY),
      checkedOn: checked === undefined ? null : Math.floor(ago(checked) / DAY),
    })),
    references: all.flatMap(([name, { children = [] }]) =>
      children.map((child) => ({ parent: digestOf(name), child: digestOf(child) })),
    ),
    left: [],
  };
}

export type Brief = Omit<Rule, 'rulePriority' | 'action'> & { rulePriority?: number; action?: Rule['action'] };

/** A policy with these rules in the order of their priority. A rule expires images unless it has another action. */
export function policyOf(...rules: Brief[]): LifecyclePolicy {
  return { rules: rules.map((rule, n) => ({ rulePriority: n + 1, action: { type: 'expire' }, ...rule })) };
}

export const olderThan = (countNumber: number) => ({ countType: 'sinceImagePushed', countUnit: 'days', countNumber }) as const;
export const unpulledFor = (countNumber: number) =>
  ({ countType: 'sinceImagePulled', countUnit: 'days', countNumber }) as const;
export const moreThan = (countNumber: number) => ({ countType: 'imageCountMoreThan', countNumber }) as const;
export const tagged = (...tagPatternList: string[]) => ({ tagStatus: 'tagged', tagPatternList }) as const;
export const KEEP = { type: 'keep' } as const;

export function planFor(inventory: Inventory, policy: LifecyclePolicy, mutability = MUTABLE): ExpiryPlan {
  return choose(policy, { inventory, mutability, now: NOW });
}

/** The items that the plan deletes: tags by their name, manifests as `@name`. */
export function goes(plan: ExpiryPlan): string[] {
  return [...plan.tags.map(({ tag }) => tag), ...plan.manifests.map(({ digest }) => digest.replace('sha256:', '@'))].sort();
}

export function applied({ tags, manifests, references }: Inventory, plan: ExpiryPlan): Inventory {
  const goneTags = new Set<string>([...plan.tags, ...plan.attached].map(({ tag }) => tag));
  const gone = new Set(plan.manifests.map(({ digest }) => digest));
  return {
    tags: tags.filter(({ tag }) => !goneTags.has(tag)),
    manifests: manifests.filter(({ digest }) => !gone.has(digest)),
    references: references.filter(({ parent }) => !gone.has(parent)),
    left: plan.left,
  };
}
