/** Names that webhooks use: payload formats, and the filter that matches every type of event. */

export const FORMAT_NAMES = ['native', 'docker-hub', 'distribution', 'harbor', 'eventbridge', 'slack'] as const;
export type FormatName = (typeof FORMAT_NAMES)[number];

/** In a webhook's list of types: every type that its format can express. */
export const EVERY_TYPE = '*';
