/** Slack messages: a sentence for each type, in which names cannot be interpreted as markup. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EventType } from '../../../src/vocabulary/event-types.ts';
import { slack } from '../../../src/webhooks/formats/slack.ts';
import { example } from './examples.ts';

interface Text {
  type: string;
  text: string;
  verbatim: boolean;
}
interface Message {
  text: string;
  blocks: [{ type: string; text: Text }, { type: string; elements: Text[] }];
}

function rendered(...from: Parameters<typeof example>): Message {
  return JSON.parse(slack.render(example(...from))) as Message;
}

/** The fields of targets that sentences use. */
const FIELDS = ['tag', 'digest', 'previous', 'from', 'subject', 'user', 'role', 'id', 'owner'];

const SENTENCES: Record<EventType, string> = {
  'manifest.pushed': '`alice` pushed `sha256:0123456789ab` to `acme/api`, without a tag.',
  'manifest.deleted': '`alice` deleted `sha256:0123456789ab` from `acme/api`.',
  'manifest.restored': '`alice` restored `sha256:0123456789ab` in `acme/api`.',
  'tag.created': '`alice` pushed `acme/api:v1`, a new tag, as `sha256:0123456789ab`.',
  'tag.moved': '`alice` moved `acme/api:v1` from `sha256:fedcba987654` to `sha256:0123456789ab`.',
  'tag.pushed': '`alice` pushed `acme/api:v1` again, and it still names `sha256:0123456789ab`.',
  'tag.restored': '`alice` restored `acme/api:v1`, which names `sha256:0123456789ab` again.',
  'tag.deleted': '`alice` deleted the tag `acme/api:v1`, which named `sha256:0123456789ab`.',
  'blob.mounted': '`alice` mounted the blob `sha256:0123456789ab` from `acme/base` into `acme/api`.',
  'blob.deleted': '`alice` deleted the blob `sha256:0123456789ab` from `acme/api`.',
  'repository.created': '`alice` created the repository `acme/api`.',
  'repository.changed': '`alice` changed the description of the repository `acme/api`.',
  'repository.deleted': '`alice` deleted the repository `acme/api`.',
  'blob.missing': 'The blob `sha256:0123456789ab` is `damaged` in storage. The next push of it repairs it.',
  'repository.restored': '`alice` restored the repository `acme/api`.',
  'comment.created': '`alice` commented on `acme/api`.',
  'comment.changed': '`alice` changed the comment `7` on `acme/api`.',
  'comment.deleted': '`alice` deleted the comment `7` on `acme/api`.',
  'tag-mutability.saved': '`alice` made the tags of `acme/api` `IMMUTABLE_WITH_EXCLUSION`.',
  'lifecycle.saved': '`alice` changed the lifecycle rules of `acme/api`.',
  'lifecycle.deleted': '`alice` deleted the lifecycle rules of `acme/api`.',
  'lifecycle.ran': 'The lifecycle rules of `acme/api` deleted `3` tags and `2` images.',
  'trash.purged': '`alice` purged `v1` of `acme/api` from the trash.',
  'gc.collected': 'The garbage collector deleted `7` unneeded blobs, `4096` bytes.',
  'quota.saved': '`alice` changed the quota of `acme`.',
  'quota.warned': '`acme` stores `801` bytes of its quota of `1000` bytes.',
  'user.invited': '`alice` invited the user `bob`.',
  'user.joined': 'The user `bob` joined.',
  'user.changed': '`alice` changed the user `bob`.',
  'login.succeeded': '`alice` logged in.',
  'login.failed': 'Somebody failed to log in, `10` times within the hour so far.',
  'login.issued': '`alice` issued a login password that is valid until `2023-11-14T23:13:20.000Z`.',
  'login.ended': '`alice` ended every login of `user:bob`.',
  'identity.linked': '`alice` linked an identity at `https://login.example` to `user:alice`.',
  'identity.unlinked': '`alice` removed an identity at `https://login.example` from `user:alice`.',
  'organization.created': '`alice` created the organization `acme`.',
  'organization.changed': '`alice` changed the organization `acme`.',
  'organization.deleted': '`alice` deleted the organization `acme`.',
  'member.invited': '`alice` invited `bob` to the organization `acme`.',
  'member.uninvited': '`alice` ended the invitation of `bob` to the organization `acme`.',
  'member.changed': '`alice` made `bob` `owner` of the organization `acme`.',
  'member.removed': '`alice` removed `bob` from the organization `acme`.',
  'team.created': '`alice` created the team `acme/dev`.',
  'team.changed': '`alice` changed the team `acme/dev`.',
  'team.deleted': '`alice` deleted the team `acme/dev`.',
  'team-member.added': '`alice` added `bob` to the team `acme/dev`.',
  'team-member.removed': '`alice` removed `bob` from the team `acme/dev`.',
  'robot.created': '`alice` created the robot `acme/ci`.',
  'robot.changed': '`alice` changed the robot `acme/ci`.',
  'robot.deleted': '`alice` deleted the robot `acme/ci`.',
  'key.created': '`alice` created the access key `BK1234` of `robot:acme/ci`.',
  'key.changed': '`alice` changed the access key `BK1234` of `robot:acme/ci`.',
  'key.revoked': '`alice` revoked the access key `BK1234` of `user:bob`.',
  'policy.saved': '`alice` changed the policy of `repository:acme/api`.',
  'trust-rule.saved': '`alice` saved the trust rule `acme/deploy`.',
  'trust-rule.deleted': '`alice` deleted the trust rule `acme/deploy`.',
  'webhook.created': '`alice` created the webhook `wh1`.',
  'webhook.changed': '`alice` changed the webhook `wh1`.',
  'webhook.rotated': '`alice` gave the webhook `wh1` a new secret.',
  'webhook.disabled': '`alice` disabled the webhook `wh1`.',
  'webhook.throttled':
    'The webhooks of `acme` have made `2000` deliveries today, which is the limit, and make no more before midnight UTC.',
  'webhook.deleted': '`alice` deleted the webhook `wh1`.',
  'webhook.test': 'A test of this webhook, sent by `alice`.',
};

test.each(Object.entries(SENTENCES) as [EventType, string][])('%s', (type, sentence) => {
  expect(rendered(type)).toEqual({
    text: sentence,
    blocks: [
      { type: 'section', text: { type: 'mrkdwn', text: sentence, verbatim: true } },
      {
        type: 'context',
        elements: [
          {
            type: 'mrkdwn',
            text: '`registry.example.com`, <!date^1700000000^{date_short_pretty} {time}|2023-11-14T22:13:20.000Z>',
            verbatim: true,
          },
        ],
      },
    ],
  });
});

test.each([
  ['labels', '`alice` changed the labels of the repository `acme/api`.'],
  ['scanOnPush', '`alice` changed the scan setting of the repository `acme/api`.'],
  ['visibility', '`alice` changed the visibility of the repository `acme/api`.'],
  ['constructor', '`alice` changed the description of the repository `acme/api`.'],
])('a change of %s is named', (field, sentence) => {
  expect(rendered('repository.changed', { target: { changes: { [field]: { to: 1 } } } }).text).toBe(sentence);
});

test.each([
  ['robot:acme/ci', '`robot:acme/ci` created the repository `acme/api`.'],
  ['', 'Somebody created the repository `acme/api`.'],
])('what "%s" did says who that is', (subject, sentence) => {
  expect(rendered('repository.created', { by: { subject } }).text).toBe(sentence);
});

describe('a name cannot become markup', () => {
  const names = [
    '<!channel>',
    '<@U012AB3CD>',
    '<https://evil.example|click>',
    'evil.example/x',
    '@here',
    ':boom:',
    '*_~x~_*',
    '&lt;',
  ];

  /** The text outside of code, which is all that Slack interprets. */
  const outside = (text: string) => text.replaceAll(/`[^`\n]+`/g, '');

  test.each(names)('%s', (name) => {
    const target = { tag: name, digest: name, previous: name };
    const { text } = rendered('tag.moved', { about: name, target, by: { subject: `user:${name}` } });
    expect(outside(text)).toBe(' moved  from  to .');
    expect(text).not.toMatch(/[<>]|&(?!(?:amp|lt|gt);)/);
  });

  test('whatever it is, and in any position', () => {
    const anything = fc.string({ unit: 'binary', minLength: 1, maxLength: 60 });
    const broken = fc.constantFrom('`<!here>`', '```\n<!here>', 'a\n@here', '\u2028`', '\u202e', '\ud800');
    fc.assert(
      fc.property(fc.constantFrom(...(Object.keys(SENTENCES) as EventType[])), fc.oneof(anything, broken), (type, name) => {
        const target = Object.fromEntries(FIELDS.map((field) => [field, name]));
        const { text, blocks } = rendered(type, { about: name, target, by: { subject: name } });
        expect(outside(text)).toMatch(/^[A-Za-z ,.]*$/);
        expect(text).not.toMatch(/[<>\n\r]/);
        expect(blocks[0].text.text).toBe(text);
      }),
    );
  });

  test.each(Object.keys(SENTENCES) as EventType[])(
    'in %s, however long: a text object of Slack has 3000 characters',
    (type) => {
      const name = 'a'.repeat(100_000);
      const target = Object.fromEntries(FIELDS.map((field) => [field, name]));
      expect(rendered(type, { about: name, target, by: { subject: name } }).text.length).toBeLessThan(3000);
    },
  );
});
