/** What can happen to a registry, as it is recorded and later delivered. Pure: it knows neither tables nor listeners. */

/** Whoever did it, as the record remembers them: a subject such as `user:admin`, and the access key they did it with. */
export interface Actor {
  subject: string;
  key?: string;
}

export type EventType =
  | 'manifest.pushed'
  | 'manifest.deleted'
  | 'tag.created'
  | 'tag.moved'
  | 'tag.deleted'
  | 'blob.mounted'
  | 'blob.deleted'
  | 'repository.created'
  | 'repository.changed'
  | 'repository.deleted'
  | 'user.invited'
  | 'user.joined'
  | 'user.changed'
  | 'login.ended'
  | 'organization.created'
  | 'organization.changed'
  | 'organization.deleted'
  | 'member.changed'
  | 'member.removed'
  | 'team.created'
  | 'team.changed'
  | 'team.deleted'
  | 'team-member.added'
  | 'team-member.removed'
  | 'robot.created'
  | 'robot.changed'
  | 'robot.deleted'
  | 'key.created'
  | 'key.changed'
  | 'key.revoked'
  | 'policy.saved'
  | 'trust-rule.saved'
  | 'trust-rule.deleted';
