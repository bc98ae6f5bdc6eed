/**
 * The vocabulary and the limits of lifecycle policies. Both follow ECR (Amazon ECR User Guide, "Lifecycle policy properties"),
 * with additional rules of type `keep`.
 */

export const TAG_STATUSES = ['tagged', 'untagged', 'any'] as const;
export const COUNT_TYPES = ['imageCountMoreThan', 'sinceImagePushed', 'sinceImagePulled'] as const;
export const ACTION_TYPES = ['expire', 'keep'] as const;

/** The maximum number of rules in one policy, as in ECR. */
export const RULES_MAX = 50;
/** The maximum number of patterns or prefixes in one rule. */
export const TAG_LIST_MAX = 50;
/** The maximum number of characters of a pattern or prefix. A tag has the same limit. */
export const TAG_TEXT_MAX = 128;
export const RULE_DESCRIPTION_MAX = 256;
/** The maximum number of characters of a version range. Each range is compared with every tag. */
export const VERSION_RANGE_MAX = 200;

/**
 * The maximum number of patterns and prefixes in all rules together. Each of them is compared with every tag. The comparison of
 * 100 patterns with thousands of tags takes less than a second.
 */
export const RULE_PATTERNS_MAX = 100;
/** The maximum number of version ranges in all rules together. */
export const VERSION_RANGES_MAX = 5;

/**
 * The maximum number of tags, and of manifests, in a repository whose lifecycle policy is planned at once, which takes 5 ms of
 * CPU time. A larger repository is planned page by page.
 */
export const WHOLE_MAX = 1000;
/**
 * The maximum number of tags, and of manifests, that one batch deletes. Their lists are SQL parameters, which D1 limits to 2
 * MB. Each level of nested indexes takes several statements.
 */
export const SLICE_TAGS_MAX = 1000;
export const SLICE_MANIFESTS_MAX = 200;
/**
 * The maximum number of versions that a rule can count in a large repository. A rule that keeps more versions than that keeps
 * all versions in its range.
 */
export const VERSIONS_MAX = 1000;
