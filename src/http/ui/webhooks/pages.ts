/** The pages of webhooks. */
import { deliveryPages } from './delivery.tsx';
import { webhookListPages } from './list.tsx';
import { webhookPages } from './webhook.tsx';

export const webhookConsolePages = [webhookListPages, deliveryPages, webhookPages];
