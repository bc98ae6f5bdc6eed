/** From where a request comes, as the audit log keeps it: the address (of IPv6 the network), a hash of it, or nothing. */
import { createMiddleware } from 'hono/factory';
import { settings } from '../env.ts';
import { signingKey } from '../secrets.ts';
import { networkOf } from './address.ts';
import type { AppEnv, RequestContext } from './context.ts';

const HASH_BYTES = 10;

/** `null` where it is not known, or not to be kept. */
export async function auditAddressOf(c: RequestContext): Promise<string | null> {
  const { auditAddresses } = settings(c.env);
  const address = networkOf(c);
  if (auditAddresses === 'off' || address === 'unknown') return null;
  if (auditAddresses === 'plain') return address;
  // Keyed, as there are few addresses and a plain hash of one is easily found. The same address has the same hash.
  const key = await crypto.subtle.importKey(
    'raw',
    await signingKey(c.env, 'audit-address'),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  const hash = new Uint8Array(await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(address)));
  return `hash:${Array.from(hash.slice(0, HASH_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** For the management API: what is done by it is recorded with the address. */
export const withAuditAddress = createMiddleware<AppEnv>(async function withAuditAddress(c, next) {
  if (c.req.method !== 'GET' && c.req.method !== 'HEAD') c.set('auditAddress', await auditAddressOf(c));
  await next();
});
