/** The address that the audit log keeps with a change: the client's network, a hash of it, or none. */
import { type Env, settings } from '../env.ts';
import { signingKey } from '../secrets.ts';

const HASH_BYTES = 10;

/**
 * @param network the client's IPv4 address or IPv6 network; `null`: not known
 * @returns `null` if none is known, or none is to be kept
 */
export async function auditAddress(env: Env, network: string | null): Promise<string | null> {
  const { auditAddresses } = settings(env);
  if (auditAddresses === 'off' || network === null) return null;
  if (auditAddresses === 'plain') return network;
  // Keyed, because there are so few addresses that a plain hash can be reversed. The same address has the same hash.
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', await signingKey(env, 'audit-address'), algorithm, false, ['sign']);
  const hash = new Uint8Array(await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(network)));
  return `hash:${Array.from(hash.slice(0, HASH_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
