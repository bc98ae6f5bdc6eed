/** The payload formats, by the names under which webhooks ask for them. */
import { distribution } from './distribution.ts';
import { dockerHub } from './docker-hub.ts';
import { eventbridge } from './eventbridge.ts';
import type { Format } from './format.ts';
import { harbor } from './harbor.ts';
import { native } from './native.ts';
import { slack } from './slack.ts';

export const FORMATS = { native, 'docker-hub': dockerHub, distribution, harbor, eventbridge, slack } as const satisfies Record<
  string,
  Format
>;

export type FormatName = keyof typeof FORMATS;

export const FORMAT_NAMES = Object.keys(FORMATS) as [FormatName, ...FormatName[]];
