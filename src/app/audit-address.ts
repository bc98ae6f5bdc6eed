/**
 * Decides which address the audit log stores with a change. The setting `AUDIT_ADDRESSES` selects the client's network, a hash
 * of it, or nothing.
 */
import { type Env, settings } from '../env.ts';
import { signingKey } from '../secrets.ts';

const HASH_BYTES = 10;

/**
 * @param network the client's IPv4 address or IPv6 network, or `null` if unknown
 * @returns the address to store, or `null` if it is unknown or must not be stored
 */
export async function auditAddress(env: Env, network: string | null): Promise<string | null> {
  const { auditAddresses } = settings(env);
  if (auditAddresses === 'off' || network === null) return null;
  if (auditAddresses === 'plain') return network;
  // The hash has a secret key. A hash without a key could be reversed by hashing all addresses. Equal addresses have equal
  // hashes.
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', await signingKey(env, 'audit-address'), algorithm, false, ['sign']);
  const hash = new Uint8Array(await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(network)));
  return `hash:${Array.from(hash.slice(0, HASH_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
