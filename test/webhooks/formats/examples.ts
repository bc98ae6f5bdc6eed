/** An event of each type, with the target that is recorded for it. */
import type { RecordedEvent } from '../../../src/events/event.ts';
import type { EventType } from '../../../src/vocabulary/event-types.ts';
import type { Occurrence, RepositoryFacts } from '../../../src/webhooks/formats/format.ts';

export const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
export const PREVIOUS = `sha256:${'fedcba9876543210'.repeat(4)}`;
export const NO_DIGEST = `sha256:${'0'.repeat(64)}`;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const STATEMENTS = [{ effect: 'allow', actions: ['pull'], repositories: ['acme/*'] }];

/** The subject and the target of an event of each type. */
const TARGETS: Record<EventType, [about: string, target: Record<string, unknown>]> = {
  'manifest.pushed': ['acme/api', { digest: DIGEST, mediaType: INDEX, size: 1234 }],
  'manifest.deleted': ['acme/api', { digest: DIGEST, mediaType: INDEX }],
  'manifest.restored': ['acme/api', { digest: DIGEST, mediaType: INDEX, size: 1234 }],
  'tag.created': ['acme/api', { tag: 'v1', digest: DIGEST, mediaType: INDEX, size: 1234 }],
  'tag.moved': ['acme/api', { tag: 'v1', digest: DIGEST, mediaType: INDEX, size: 1234, previous: PREVIOUS }],
  'tag.pushed': ['acme/api', { tag: 'v1', digest: DIGEST, mediaType: INDEX, size: 1234, changed: false }],
  'tag.restored': ['acme/api', { tag: 'v1', digest: DIGEST, mediaType: INDEX, size: 1234, cause: 'restore' }],
  'tag.deleted': ['acme/api', { tag: 'v1', digest: DIGEST }],
  'blob.mounted': ['acme/api', { digest: DIGEST, from: 'acme/base' }],
  'blob.deleted': ['acme/api', { digest: DIGEST }],
  'repository.created': ['acme/api', {}],
  'repository.changed': ['acme/api', {}],
  'repository.deleted': ['acme/api', { tags: ['v1', 'v2'] }],
  'blob.missing': ['', { digest: DIGEST, reason: 'damaged' }],
  'repository.restored': ['acme/api', {}],
  'comment.created': ['acme/api', { comment: 7, author: 'user:alice' }],
  'comment.changed': ['acme/api', { comment: 7, author: 'user:alice' }],
  'comment.deleted': ['acme/api', { comment: 7, author: 'user:bob' }],
  'tag-mutability.saved': ['acme/api', { imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION', exclusions: ['dev-*'] }],
  'lifecycle.saved': ['acme/api', { rules: 2 }],
  'lifecycle.deleted': ['acme/api', {}],
  'lifecycle.ran': ['acme/api', { tags: 3, manifests: 2 }],
  'trash.purged': ['acme/api', { kind: 'tag', name: 'v1' }],
  'gc.collected': ['', { blobs: 7, bytes: 4096 }],
  'quota.saved': ['organization:acme', { maxBytes: 1000, warnPercent: 80 }],
  'quota.warned': ['organization:acme', { bytes: 801, maxBytes: 1000 }],
  'user.invited': ['', { subject: 'user:bob', administrator: false }],
  'user.joined': ['', { subject: 'user:bob' }],
  'user.changed': ['', { subject: 'user:bob', administrator: true, disabled: false, description: 'Bob & co' }],
  'login.succeeded': ['logins:', { credential: 'key' }],
  'login.failed': ['logins:', { attempts: 10 }],
  'identity.linked': ['', { subject: 'user:alice', issuer: 'https://login.example' }],
  'identity.unlinked': ['', { subject: 'user:alice', issuer: 'https://login.example' }],
  'login.issued': ['logins:', { until: '2023-11-14T23:13:20.000Z' }],
  'login.ended': ['', { subject: 'user:bob' }],
  'organization.created': ['organization:acme', { subject: 'organization:acme', description: '' }],
  'organization.changed': ['organization:acme', { subject: 'organization:acme', description: 'Makers' }],
  'organization.deleted': ['organization:acme', { subject: 'organization:acme' }],
  'member.invited': ['organization:acme', { subject: 'organization:acme', user: 'user:bob', role: 'member', previous: null }],
  'member.uninvited': ['organization:acme', { subject: 'organization:acme', user: 'user:bob' }],
  'member.changed': [
    'organization:acme',
    { subject: 'organization:acme', user: 'user:bob', role: 'owner', previous: 'member' },
  ],
  'member.removed': ['organization:acme', { subject: 'organization:acme', user: 'user:bob', role: 'owner' }],
  'team.created': ['organization:acme', { subject: 'team:acme/dev', description: '' }],
  'team.changed': ['organization:acme', { subject: 'team:acme/dev', description: 'Developers' }],
  'team.deleted': ['organization:acme', { subject: 'team:acme/dev' }],
  'team-member.added': ['organization:acme', { subject: 'team:acme/dev', user: 'user:bob' }],
  'team-member.removed': ['organization:acme', { subject: 'team:acme/dev', user: 'user:bob' }],
  'robot.created': ['organization:acme', { subject: 'robot:acme/ci', description: '', disabled: false }],
  'robot.changed': ['organization:acme', { subject: 'robot:acme/ci', description: '', disabled: true }],
  'robot.deleted': ['organization:acme', { subject: 'robot:acme/ci' }],
  'key.created': ['organization:acme', { id: 'BK1234', owner: 'robot:acme/ci', name: 'deploy', statements: STATEMENTS }],
  'key.changed': ['organization:acme', { id: 'BK1234', owner: 'robot:acme/ci', name: 'deploy', statements: null }],
  'key.revoked': ['', { id: 'BK1234', owner: 'user:bob', name: 'laptop' }],
  'policy.saved': ['acme/api', { subject: 'repository:acme/api', statements: STATEMENTS }],
  'trust-rule.saved': [
    'organization:acme',
    {
      subject: 'ci:acme/deploy',
      issuer: 'https://token.actions.githubusercontent.com',
      audience: 'registry.example.com',
      claims: { repository: 'acme/api' },
      statements: STATEMENTS,
      version: 2,
    },
  ],
  'trust-rule.deleted': [
    'organization:acme',
    { subject: 'ci:acme/deploy', issuer: 'https://token.actions.githubusercontent.com', version: 2 },
  ],
  'webhook.created': ['organization:acme', { id: 'wh1', scope: 'organization:acme', format: 'slack' }],
  'webhook.changed': ['organization:acme', { id: 'wh1', scope: 'organization:acme', enabled: true }],
  'webhook.rotated': ['organization:acme', { id: 'wh1', scope: 'organization:acme' }],
  'webhook.disabled': ['organization:acme', { id: 'wh1', scope: 'organization:acme' }],
  'webhook.throttled': ['acme/api', { id: 'wh_aaaaaaaaaaaaaaaaaaaa', owner: 'acme', maxDeliveries: 2000 }],
  'webhook.deleted': ['organization:acme', { id: 'wh1', scope: 'organization:acme' }],
  'webhook.test': ['acme/api', { id: 'wh1', scope: 'repository:acme/api' }],
};

export const FACTS: RepositoryFacts = { description: 'The API & its "docs"', createdAt: 1_690_000_000, isPublic: true };

/** The time of the events: 2023-11-14T22:13:20Z. */
const AT = 1_700_000_000;

export function example(type: EventType, further: Partial<RecordedEvent> = {}): Occurrence {
  const [about, target] = TARGETS[type];
  const by = { subject: 'user:alice', key: 'BK0001' };
  const event: RecordedEvent = { id: 4711, at: AT, type, about, sequence: 42, target, by, ...further };
  return { event, facts: FACTS, origin: 'https://registry.example.com' };
}
