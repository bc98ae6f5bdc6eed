/** Limits that requests are checked against, and that the functions which write check again. */

/** UTF-8 bytes of all statements of a policy or access key together, as JSON. */
export const POLICY_MAX_BYTES = 16 * 1024;
export const STATEMENTS_MAX = 50;
/** Entries in each list of one statement: repositories, tags, principals. */
export const PATTERNS_MAX = 50;

/** Seconds that a login by a trust rule lasts. */
export const RULE_LIFETIME_DEFAULT = 60 * 60;
export const RULE_LIFETIME_MIN = 60;
export const RULE_LIFETIME_MAX = 12 * 60 * 60;

/** Seconds. The same as ECR's authorization token. */
export const LOGIN_PASSWORD_MAX_LIFETIME = 12 * 60 * 60;
