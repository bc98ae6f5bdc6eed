/**
 * The causes of a change of a tag or manifest. Each event about a tag or manifest has a cause, and each row of the tag history.
 * A webhook receiver that deploys can so distinguish a push from a restore, and a reader of the audit log a lifecycle rule from
 * a user.
 */
export const CAUSES = ['push', 'rollback', 'restore', 'deletion', 'lifecycle'] as const;
export type Cause = (typeof CAUSES)[number];
