/**
 * Words and limits of lifecycle policies (Amazon ECR User Guide, "Lifecycle policy properties"), with rules that keep added.
 */

export const TAG_STATUSES = ['tagged', 'untagged', 'any'] as const;
export const COUNT_TYPES = ['imageCountMoreThan', 'sinceImagePushed', 'sinceImagePulled'] as const;
export const ACTION_TYPES = ['expire', 'keep'] as const;

/** ECR's limit. */
export const RULES_MAX = 50;
/** Patterns or prefixes in one rule. */
export const TAG_LIST_MAX = 50;
/** Characters of a pattern or prefix, as many as a tag has. */
export const TAG_TEXT_MAX = 128;
export const RULE_DESCRIPTION_MAX = 256;
/** Characters of a version range, which is compared with every tag. */
export const VERSION_RANGE_MAX = 200;

/**
 * Patterns and prefixes of all rules together. Each is compared with every tag: this many take under a second for thousands of
 * tags.
 */
export const RULE_PATTERNS_MAX = 100;
/** Version ranges of all rules together. */
export const VERSION_RANGES_MAX = 5;

/**
 * Tags, and as many manifests, that are planned at once, which takes five milliseconds of CPU. More are planned page by page.
 */
export const WHOLE_MAX = 1000;
/** Tags and manifests that one batch deletes. Their lists are bound parameters of up to 2 MB; each level is some statements. */
export const SLICE_TAGS_MAX = 1000;
export const SLICE_MANIFESTS_MAX = 200;
/** Versions that a rule counts in a large repository; a rule that keeps more of them keeps its whole range. */
export const VERSIONS_MAX = 1000;
