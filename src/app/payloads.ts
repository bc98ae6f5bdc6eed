/** What webhooks send: the body of a delivery, and a sample for each format. */
import type { RecordedEvent } from '../events/event.ts';
import { eventsById } from '../events/history.ts';
import type { FormatName } from '../vocabulary/webhooks.ts';
import { getDelivery } from '../webhooks/delivery/history.ts';
import { FORMATS } from '../webhooks/formats/all.ts';
import type { Occurrence } from '../webhooks/formats/format.ts';
import type { Call } from './call.ts';
import { deliveryKeyIn, requireWebhook, type Subscription } from './subscriptions.ts';

export interface Payload {
  contentType: string;
  body: string;
}

/**
 * Returns the body that a delivery has in the present format of its webhook, or `null` if its event is no longer stored.
 * @throws not-found
 */
export async function getPayload(call: Call, webhook: Subscription, id: string): Promise<Payload | null> {
  requireWebhook(call, webhook);
  const { data, key } = await getDelivery(call.env, deliveryKeyIn(webhook, id));
  const event = data.reference ? (await eventsById(call.env, [key.event])).get(key.event) : data.event;
  return event ? rendered(webhook.format, { event, facts: data.facts, origin: webhook.origin }) : null;
}

function rendered(format: FormatName, occurrence: Occurrence): Payload {
  const { contentType, render } = FORMATS[format];
  return { contentType, body: render(occurrence) };
}

const SAMPLE_SIZE = 1234;

/**
 * Returns a sample of what a webhook of this format sends when a tag is pushed. @param repository the repository in the sample
 */
export function samplePayload({ origin, now, authority }: Call, format: FormatName, repository: string): Payload {
  const at = Math.floor(now / 1000);
  const event: RecordedEvent = {
    ...{ id: 4711, at, type: 'tag.created', about: repository, sequence: 42, by: { subject: authority.subject } },
    target: {
      tag: 'v1.4.2',
      digest: `sha256:${'0123456789abcdef'.repeat(4)}`,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      size: SAMPLE_SIZE,
      cause: 'push',
    },
  };
  const facts = { description: '', createdAt: at, isPublic: false };
  return rendered(format, { event, facts, origin });
}
