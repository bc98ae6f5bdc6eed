/** The payload formats, by name. */
import type { FormatName } from '../../vocabulary/webhooks.ts';
import { distribution } from './distribution.ts';
import { dockerHub } from './docker-hub.ts';
import { eventbridge } from './eventbridge.ts';
import type { Format } from './format.ts';
import { harbor } from './harbor.ts';
import { native } from './native.ts';
import { slack } from './slack.ts';

export const FORMATS = { native, 'docker-hub': dockerHub, distribution, harbor, eventbridge, slack } as const satisfies Record<
  FormatName,
  Format
>;
