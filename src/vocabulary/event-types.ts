/** The types of events that the registry records and that webhooks can receive. */
export const EVENT_TYPES = [
  'manifest.pushed',
  'manifest.deleted',
  'manifest.restored',
  'tag.created',
  'tag.moved',
  'tag.pushed',
  'tag.restored',
  'tag.deleted',
  'blob.mounted',
  'blob.deleted',
  'blob.missing',
  'repository.created',
  'repository.changed',
  'repository.deleted',
  'repository.restored',
  'comment.created',
  'comment.changed',
  'comment.deleted',
  'tag-mutability.saved',
  'lifecycle.saved',
  'lifecycle.deleted',
  'lifecycle.ran',
  'trash.purged',
  'gc.collected',
  'quota.saved',
  'quota.warned',
  'user.invited',
  'user.joined',
  'user.changed',
  'login.succeeded',
  'login.failed',
  'login.issued',
  'login.ended',
  'identity.linked',
  'identity.unlinked',
  'organization.created',
  'organization.changed',
  'organization.deleted',
  'member.invited',
  'member.uninvited',
  'member.changed',
  'member.removed',
  'team.created',
  'team.changed',
  'team.deleted',
  'team-member.added',
  'team-member.removed',
  'robot.created',
  'robot.changed',
  'robot.deleted',
  'key.created',
  'key.changed',
  'key.revoked',
  'policy.saved',
  'trust-rule.saved',
  'trust-rule.deleted',
  'webhook.created',
  'webhook.changed',
  'webhook.rotated',
  'webhook.disabled',
  'webhook.throttled',
  'webhook.deleted',
  'webhook.test',
] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/**
 * Returns the `type` attribute of the CloudEvent. Argo CD Image Updater treats each type that contains `image` as an event
 * about an image, so only the types about images contain that word.
 */
export function cloudEventType(type: EventType): string {
  return isAboutImage(type) ? `berth.image.${type}` : `berth.${type}`;
}

/** Returns true if events of this type are about a manifest or a tag. */
export function isAboutImage(type: EventType): boolean {
  return /^(?:tag|manifest)\./.test(type);
}

/**
 * Returns true if events of this type are about a blob in a repository. The type `blob.missing` does not count, because it is
 * about the whole registry.
 */
export function isAboutBlob(type: EventType): boolean {
  return type === 'blob.mounted' || type === 'blob.deleted';
}
