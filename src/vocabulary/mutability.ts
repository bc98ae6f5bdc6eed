/** The values and limits of tag mutability, as in ECR (API reference, ImageTagMutabilityExclusionFilter). */

export const MUTABILITIES = ['MUTABLE', 'IMMUTABLE', 'IMMUTABLE_WITH_EXCLUSION', 'MUTABLE_WITH_EXCLUSION'] as const;

export interface Mutability {
  value: (typeof MUTABILITIES)[number];
  /**
   * Patterns of tag names with `*`. Matching tags get the opposite of `value`. A value with `_WITH_EXCLUSION` has at least one
   * pattern; the other values have none.
   */
  exclusions: string[];
}

export const EXCLUSIONS_MAX = 5;
/** The grammar of a pattern in `exclusions`. */
export const EXCLUSION = /^[0-9A-Za-z._*-]{1,128}$/;
