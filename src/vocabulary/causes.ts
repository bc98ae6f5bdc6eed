/**
 * Causes of a change of a tag or manifest. Each event about one has a cause, and each point in the history of a tag: a receiver
 * that deploys tells a push from a restore by it, and a reader of the log tells a lifecycle rule from a person.
 */
export const CAUSES = ['push', 'rollback', 'restore', 'deletion', 'lifecycle'] as const;
export type Cause = (typeof CAUSES)[number];
