/**
 * Names that webhooks use: payload formats, the filter that matches every type of event, and the header that marks deliveries.
 */

export const FORMAT_NAMES = ['native', 'docker-hub', 'distribution', 'harbor', 'eventbridge', 'slack'] as const;
export type FormatName = (typeof FORMAT_NAMES)[number];

/** In a webhook's list of types: every type that its format can express. */
export const EVERY_TYPE = '*';

/** Marks deliveries. A registry refuses requests that have it, so that no event causes itself. */
export const LOOP_HEADER = 'berth-webhook';
