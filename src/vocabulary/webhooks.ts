/** Constants of webhooks: the payload formats, the filter for all types of events, and the header of deliveries. */

export const FORMAT_NAMES = ['native', 'docker-hub', 'distribution', 'harbor', 'eventbridge', 'slack'] as const;
export type FormatName = (typeof FORMAT_NAMES)[number];

/** An entry in a webhook's list of event types that matches every type that the webhook's format supports. */
export const EVERY_TYPE = '*';

/**
 * The request header of every delivery. The registry refuses requests that have it, so a webhook that points to a registry
 * cannot cause an endless loop of events.
 */
export const LOOP_HEADER = 'berth-webhook';
