/** The values and limits of tag mutability, which are ECR's (API reference, ImageTagMutabilityExclusionFilter). */

export const MUTABILITIES = ['MUTABLE', 'IMMUTABLE', 'IMMUTABLE_WITH_EXCLUSION', 'MUTABLE_WITH_EXCLUSION'] as const;

export interface Mutability {
  value: (typeof MUTABILITIES)[number];
  /** Tags for which the opposite holds: patterns with `*`. Only values with exclusions have them, and have at least one. */
  exclusions: string[];
}

export const EXCLUSIONS_MAX = 5;
/** A pattern of tags that is excluded. */
export const EXCLUSION = /^[0-9A-Za-z._*-]{1,128}$/;
