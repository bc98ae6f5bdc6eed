/** The words for webhooks: their states, events, and payload formats. */
import type { FC } from 'hono/jsx';
import type { Webhook } from '../../../app/subscriptions.ts';
import { EVENT_TYPES } from '../../../vocabulary/event-types.ts';
import { nameOf } from '../../../vocabulary/names.ts';
import { EVERY_TYPE, type FormatName } from '../../../vocabulary/webhooks.ts';
import { Chip, When } from '../parts/text.tsx';

/** The event types that a webhook can select. A test event goes only to the tested webhook. */
export const TYPES = EVENT_TYPES.filter((type) => type !== 'webhook.test');

/** The event types of a webhook with the choice `pushes` in the form: a tag is created, moved, or pushed without a change. */
const PUSHES = ['tag.created', 'tag.moved', 'tag.pushed'];

/** Returns the choice in the form that describes the events of a webhook. */
export function choiceOf({ filter: { types } }: Webhook): 'pushes' | 'all' | 'chosen' {
  if (types === null || types.includes(EVERY_TYPE)) return 'all';
  return types.every((type) => PUSHES.includes(type)) && types.length >= 2 ? 'pushes' : 'chosen';
}

export function eventsText(webhook: Webhook): string {
  const { types, repositories, tags } = webhook.filter;
  const choice = choiceOf(webhook);
  const what = choice === 'pushes' ? 'pushes' : choice === 'all' ? 'everything' : (types ?? []).join(', ');
  const where = repositories === null ? '' : ` in ${repositories.join(', ')}`;
  return `${what}${where}${tags === null ? '' : `, tags ${tags.join(', ')}`}`;
}

/** The name of each payload format, and what it is for. */
export const FORMAT_WORDS: Record<FormatName, readonly [name: string, hint: string]> = {
  native: ['Berth', 'CloudEvents 1.0 with all data of the event. Argo CD Image Updater reads it, too.'],
  'docker-hub': ['Docker Hub', 'As Docker Hub sends it: for Jenkins, Keel, Portainer and others. Pushes only.'],
  distribution: ['Distribution', 'As the registry of the CNCF project Distribution sends it.'],
  harbor: ['Harbor', 'As Harbor sends it.'],
  eventbridge: ['Amazon ECR', 'As Amazon EventBridge sends the events of ECR.'],
  slack: ['Slack', 'A sentence for each event, for incoming webhooks of Slack, Mattermost and Rocket.Chat.'],
};

/** Returns true if the registry sends nothing for now because the endpoint failed too often. */
export function isPaused({ disabled, openUntil }: Webhook): boolean {
  return disabled === null && openUntil * 1000 > Date.now();
}

export const StateChip: FC<{ webhook: Webhook }> = ({ webhook }) => {
  const { disabled, failures } = webhook;
  if (disabled !== null) return <Chip tone="bad">disabled</Chip>;
  if (isPaused(webhook)) return <Chip tone="warn">paused</Chip>;
  return failures === 0 ? <Chip tone="good">enabled</Chip> : <Chip tone="warn">failing</Chip>;
};

const REASONS: Record<string, string> = {
  gone: 'The endpoint answered 410 Gone: it wants no more deliveries.',
  restored: 'It came back from the trash with its repository. Enable it when its receiver is ready.',
  'owner-lost-access': 'The person who is responsible for it may no longer administer this. Enable it to take it over.',
};

/** Says why a webhook sends nothing, or how often it failed. */
export const StateText: FC<{ webhook: Webhook }> = ({ webhook }) => {
  const { disabled, failures, openUntil } = webhook;
  if (disabled !== null) {
    const by = /^by (.*)$/.exec(disabled)?.[1];
    return <p>{by === undefined ? (REASONS[disabled] ?? disabled) : `Disabled by ${nameOf(by)}. Nothing is sent.`}</p>;
  }
  if (isPaused(webhook)) {
    return (
      <p>
        The endpoint failed {failures} times in a row. Nothing is sent until <When at={openUntil} />, then it is tried again.
      </p>
    );
  }
  return failures === 0 ? null : <p>The last {failures === 1 ? 'attempt' : `${failures} attempts`} failed.</p>;
};
