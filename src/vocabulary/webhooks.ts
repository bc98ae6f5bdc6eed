/** Constants of webhooks: the payload formats, the filter for all types of events, and the header of deliveries. */

export const FORMAT_NAMES = ['native', 'docker-hub', 'distribution', 'harbor', 'eventbridge', 'slack'] as const;
export type FormatName = (typeof FORMAT_NAMES)[number];

/** The entry in a webhook's list of types that matches every type that its format can express. */
export const EVERY_TYPE = '*';

/**
 * The header of every delivery. The registry refuses requests that have it, so a delivery to a registry
 * cannot cause another event.
 */
export const LOOP_HEADER = 'berth-webhook';
