/** Limits on the content of requests. Schemas check them at the door, and the functions that write check them again. */

/** The maximum number of UTF-8 bytes of all statements of a policy or an access key, as JSON. */
export const POLICY_MAX_BYTES = 16 * 1024;
export const STATEMENTS_MAX = 50;
/** The maximum number of entries in each list of a statement: repositories, tags and principals. */
export const PATTERNS_MAX = 50;

/** The default, minimum and maximum lifetime, in seconds, of a CI job's login under a trust rule. */
export const RULE_LIFETIME_DEFAULT = 60 * 60;
export const RULE_LIFETIME_MIN = 60;
export const RULE_LIFETIME_MAX = 12 * 60 * 60;

/** The maximum lifetime of a login password, in seconds. ECR's authorization tokens have the same lifetime. */
export const LOGIN_PASSWORD_MAX_LIFETIME = 12 * 60 * 60;
