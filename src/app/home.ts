/** Returns what the home page of the web console shows: what needs the caller's attention, and the latest events. */
import type { AccessKey } from '../auth/people/access-keys.ts';
import { isNarrowed } from '../auth/policy.ts';
import { administers } from '../auth/rights/lookup.ts';
import { aboutOf } from '../events/event.ts';
import { nameOf } from '../vocabulary/names.ts';
import { type TroubledWebhook, troubledWebhooks } from '../webhooks/troubled.ts';
import { requireLogin } from './access.ts';
import type { Call } from './call.ts';
import { listKeys } from './keys.ts';

export type { TroubledWebhook };

/** The number of seconds before its expiry when a key needs attention. */
const KEY_ENDS_WITHIN = 7 * 24 * 60 * 60;
const KEYS_MAX = 100;
const WEBHOOKS_MAX = 10;

export interface Attention {
  /** Webhooks that the caller may administer and that do not work. */
  webhooks: TroubledWebhook[];
  /** Keys of the caller that expire within seven days. */
  keys: AccessKey[];
}

/**
 * Returns the webhooks and keys that need the caller's attention. Webhooks of repositories outside the caller's namespace and
 * organizations are left out unless the caller is an administrator.
 * @throws unauthenticated
 */
export async function getAttention(call: Call): Promise<Attention> {
  requireLogin(call);
  const { env, authority, now } = call;
  const namespaces = [nameOf(authority.subject), ...authority.owns];
  const isAll = authority.administrator && !isNarrowed(authority);
  const [webhooks, keys] = await Promise.all([
    troubledWebhooks(env, isAll ? null : namespaces, WEBHOOKS_MAX),
    listKeys(call, undefined, { after: '', limit: KEYS_MAX }),
  ]);
  const seconds = now / 1000;
  return {
    webhooks: webhooks.filter(({ scope }) => administers(authority, aboutOf(scope))),
    keys: keys.items.filter(({ state, expiresAt }) => state === 'active' && expiresAt - seconds < KEY_ENDS_WITHIN),
  };
}
