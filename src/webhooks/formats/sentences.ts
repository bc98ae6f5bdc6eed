/**
 * Writes one plain sentence for each event. Used for messages to Slack, and for the activity log of the web console. Names in
 * the sentence are marked, so that each user of the sentence can format them.
 */
import type { RecordedEvent } from '../../events/event.ts';
import type { Cause } from '../../vocabulary/causes.ts';
import type { EventType } from '../../vocabulary/event-types.ts';
import { numberOf, operatorOf, textField } from './format.ts';

/**
 * The maximum number of characters of a name. It is greater than the length of any `repository:tag`. A sentence has up to four
 * names, and a text object of Slack may have 3000 characters.
 */
const NAME_MAX_LENGTH = 400;
const SHORT_DIGEST = 12;
/** The character before and after each name. No name contains it, because control characters in names are replaced. */
const MARK = '\u0001';

/** Returns the sentence in parts: a text, a name, a text, a name, and so on. It begins and ends with a text. */
export function sentenceOf(event: RecordedEvent): string[] {
  return SENTENCES[event.type](whoOf(event), event).split(MARK);
}

/** Marks a name. Replaces line breaks and invisible characters. */
function code(name: string): string {
  return `${MARK}${name.slice(0, NAME_MAX_LENGTH).replaceAll(/[\p{C}\p{Z}]/gu, ' ')}${MARK}`;
}

function whoOf(event: RecordedEvent): string {
  return event.by.subject === '' ? 'Somebody' : code(operatorOf(event));
}

/** Returns a field of the target that contains a subject, without its kind: `alice` for `user:alice`. */
function the(event: RecordedEvent, field: string): string {
  return code((textField(event, field) ?? 'unknown').replace(/^(?:user|organization|team|robot|ci):/, ''));
}

/** Returns a field of the target that contains a subject, with its kind. */
function whose(event: RecordedEvent, field: string): string {
  return code(textField(event, field) ?? 'unknown');
}

const repository = (event: RecordedEvent) => code(event.about);
const tag = (event: RecordedEvent) => code(`${event.about}:${textField(event, 'tag') ?? 'unknown'}`);

/** Returns a field of the target that contains a digest, shortened to the form `sha256:0123456789ab`. */
function digest(event: RecordedEvent, field = 'digest'): string {
  const [algorithm = '', hex = ''] = (textField(event, field) ?? 'unknown').split(':', 2);
  return code(hex === '' ? algorithm : `${algorithm}:${hex.slice(0, SHORT_DIGEST)}`);
}

/** Returns the source of a mount as a part of the sentence, or the empty string if the client did not name the source. */
function source(event: RecordedEvent): string {
  return textField(event, 'from') === undefined ? '' : ` from ${the(event, 'from')}`;
}

const count = (event: RecordedEvent, field: string) => code(String(numberOf(event, field) ?? 'unknown'));

/** Returns the name of a purged trash entry: a tag, a shortened digest, or `all` for a whole repository. */
function thing(event: RecordedEvent): string {
  const name = textField(event, 'name') ?? '';
  return name.includes(':') ? code(name.slice(0, 'sha256:'.length + SHORT_DIGEST)) : name === '' ? 'all' : code(name);
}

/** The words for the parts of a repository, by the names of the changed fields. */
const PARTS = new Map([
  ['visibility', 'visibility'],
  ['labels', 'labels'],
  ['scanOnPush', 'scan setting'],
]);

/** Returns the changed part of a repository in words. Several changed fields are summarized as `description`. */
function changedPart({ target }: RecordedEvent): string {
  const [field = '', ...more] = Object.keys((target.changes as object | undefined) ?? {});
  return (more.length === 0 && PARTS.get(field)) || 'description';
}

const hasCause = (event: RecordedEvent, cause: Cause) => textField(event, 'cause') === cause;

/** A deleted tag can be created again with another digest than before. */
function createdBy(event: RecordedEvent): string {
  if (hasCause(event, 'restore')) return `restored ${tag(event)}`;
  return hasCause(event, 'rollback') ? `rolled back ${tag(event)}, which was deleted,` : `pushed ${tag(event)}, a new tag,`;
}

const SENTENCES: Record<EventType, (who: string, event: RecordedEvent) => string> = {
  'manifest.pushed': (who, e) => `${who} pushed ${digest(e)} to ${repository(e)}, without a tag.`,
  'manifest.deleted': (who, e) => `${who} deleted ${digest(e)} from ${repository(e)}.`,
  'manifest.restored': (who, e) => `${who} restored ${digest(e)} in ${repository(e)}.`,
  'tag.created': (who, e) => `${who} ${createdBy(e)} as ${digest(e)}.`,
  'tag.moved': (who, e) =>
    `${who} ${hasCause(e, 'rollback') ? 'rolled back' : 'moved'} ${tag(e)} from ${digest(e, 'previous')} to ${digest(e)}.`,
  'tag.pushed': (who, e) => `${who} pushed ${tag(e)} again, and it still names ${digest(e)}.`,
  'tag.restored': (who, e) => `${who} restored ${tag(e)}, which names ${digest(e)} again.`,
  'tag.deleted': (who, e) => `${who} deleted the tag ${tag(e)}, which named ${digest(e)}.`,
  'blob.mounted': (who, e) => `${who} mounted the blob ${digest(e)}${source(e)} into ${repository(e)}.`,
  'blob.deleted': (who, e) => `${who} deleted the blob ${digest(e)} from ${repository(e)}.`,
  'repository.created': (who, e) => `${who} created the repository ${repository(e)}.`,
  'repository.changed': (who, e) => `${who} changed the ${changedPart(e)} of the repository ${repository(e)}.`,
  'repository.deleted': (who, e) => `${who} deleted the repository ${repository(e)}.`,
  'blob.missing': (_, e) => `The blob ${digest(e)} is ${the(e, 'reason')} in storage. The next push of it repairs it.`,
  'repository.restored': (who, e) => `${who} restored the repository ${repository(e)}.`,
  'comment.created': (who, e) => `${who} commented on ${repository(e)}.`,
  'comment.changed': (who, e) => `${who} changed the comment ${count(e, 'comment')} on ${repository(e)}.`,
  'comment.deleted': (who, e) => `${who} deleted the comment ${count(e, 'comment')} on ${repository(e)}.`,
  'tag-mutability.saved': (who, e) => `${who} made the tags of ${repository(e)} ${the(e, 'imageTagMutability')}.`,
  'lifecycle.saved': (who, e) => `${who} changed the lifecycle rules of ${repository(e)}.`,
  'lifecycle.deleted': (who, e) => `${who} deleted the lifecycle rules of ${repository(e)}.`,
  'lifecycle.ran': (_, e) =>
    `The lifecycle rules of ${repository(e)} deleted ${count(e, 'tags')} tags and ${count(e, 'manifests')} images.`,
  'trash.purged': (who, e) => `${who} purged ${thing(e)} of ${repository(e)} from the trash.`,
  'gc.collected': (_, e) => `The garbage collector deleted ${count(e, 'blobs')} unneeded blobs, ${count(e, 'bytes')} bytes.`,
  'quota.saved': (who, e) => `${who} changed the quota of ${code(e.about.slice(e.about.indexOf(':') + 1))}.`,
  'quota.warned': (_, e) =>
    `${code(e.about.slice(e.about.indexOf(':') + 1))} stores ${count(e, 'bytes')} bytes of its quota of ` +
    `${count(e, 'maxBytes')} bytes.`,
  'user.invited': (who, e) => `${who} invited the user ${the(e, 'subject')}.`,
  'user.joined': (_, e) => `The user ${the(e, 'subject')} joined.`,
  'user.changed': (who, e) => `${who} changed the user ${the(e, 'subject')}.`,
  'login.succeeded': (who) => `${who} logged in.`,
  'login.failed': (_, e) => `Somebody failed to log in, ${count(e, 'attempts')} times within the hour so far.`,
  'login.issued': (who, e) => `${who} issued a login password that is valid until ${the(e, 'until')}.`,
  'login.ended': (who, e) => `${who} ended every login of ${whose(e, 'subject')}.`,
  'identity.linked': (who, e) => `${who} linked an identity at ${the(e, 'issuer')} to ${whose(e, 'subject')}.`,
  'identity.unlinked': (who, e) => `${who} removed an identity at ${the(e, 'issuer')} from ${whose(e, 'subject')}.`,
  'organization.created': (who, e) => `${who} created the organization ${the(e, 'subject')}.`,
  'organization.changed': (who, e) => `${who} changed the organization ${the(e, 'subject')}.`,
  'organization.deleted': (who, e) => `${who} deleted the organization ${the(e, 'subject')}.`,
  'member.invited': (who, e) => `${who} invited ${the(e, 'user')} to the organization ${the(e, 'subject')}.`,
  'member.uninvited': (who, e) => `${who} ended the invitation of ${the(e, 'user')} to the organization ${the(e, 'subject')}.`,
  'member.changed': (who, e) => `${who} made ${the(e, 'user')} ${the(e, 'role')} of the organization ${the(e, 'subject')}.`,
  'member.removed': (who, e) => `${who} removed ${the(e, 'user')} from the organization ${the(e, 'subject')}.`,
  'team.created': (who, e) => `${who} created the team ${the(e, 'subject')}.`,
  'team.changed': (who, e) => `${who} changed the team ${the(e, 'subject')}.`,
  'team.deleted': (who, e) => `${who} deleted the team ${the(e, 'subject')}.`,
  'team-member.added': (who, e) => `${who} added ${the(e, 'user')} to the team ${the(e, 'subject')}.`,
  'team-member.removed': (who, e) => `${who} removed ${the(e, 'user')} from the team ${the(e, 'subject')}.`,
  'robot.created': (who, e) => `${who} created the robot ${the(e, 'subject')}.`,
  'robot.changed': (who, e) => `${who} changed the robot ${the(e, 'subject')}.`,
  'robot.deleted': (who, e) => `${who} deleted the robot ${the(e, 'subject')}.`,
  'key.created': (who, e) => `${who} created the access key ${the(e, 'id')} of ${whose(e, 'owner')}.`,
  'key.changed': (who, e) => `${who} changed the access key ${the(e, 'id')} of ${whose(e, 'owner')}.`,
  'key.revoked': (who, e) => `${who} revoked the access key ${the(e, 'id')} of ${whose(e, 'owner')}.`,
  'policy.saved': (who, e) => `${who} changed the policy of ${whose(e, 'subject')}.`,
  'trust-rule.saved': (who, e) => `${who} saved the trust rule ${the(e, 'subject')}.`,
  'trust-rule.deleted': (who, e) => `${who} deleted the trust rule ${the(e, 'subject')}.`,
  'webhook.created': (who, e) => `${who} created the webhook ${the(e, 'id')}.`,
  'webhook.changed': (who, e) => `${who} changed the webhook ${the(e, 'id')}.`,
  'webhook.rotated': (who, e) => `${who} gave the webhook ${the(e, 'id')} a new secret.`,
  'webhook.disabled': (who, e) => `${who} disabled the webhook ${the(e, 'id')}.`,
  'webhook.throttled': (_, e) =>
    `The webhooks of ${the(e, 'owner')} have made ${count(e, 'maxDeliveries')} deliveries today, which is the limit, ` +
    `and make no more before midnight UTC.`,
  'webhook.deleted': (who, e) => `${who} deleted the webhook ${the(e, 'id')}.`,
  'webhook.test': (who) => `A test of this webhook, sent by ${who}.`,
};
