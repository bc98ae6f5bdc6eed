/**
 * Determines the network from which a request comes. Rate limits count requests by network. A client cannot choose its network.
 */
import type { Context } from 'hono';
import { auditAddress } from '../app/audit-address.ts';
import type { AppEnv, RequestContext } from './context.ts';

const UNKNOWN = 'unknown';

/**
 * Returns the address of the client; `null` if it is not known. On Cloudflare, it comes from a header that Cloudflare itself
 * writes. Under `npm start`, it comes from the socket and not from that header, because the client could have written it.
 */
export function addressOf(c: RequestContext): string | null {
  if (c.env.ADDRESS_FROM !== 'socket') return c.req.header('cf-connecting-ip') || null;
  const { clientIp } = (c.req.raw.cf ?? {}) as { clientIp?: unknown };
  return typeof clientIp === 'string' ? withoutPort(clientIp) || null : null;
}

/** The network of the client. */
export function networkOf(c: RequestContext): string {
  return networkIn(addressOf(c) ?? '');
}

/** Removes the port from `192.0.2.1:5000` or `[2001:db8::1]:5000`. */
function withoutPort(text: string): string {
  return text.replace(/^\[(.*)\](?::\d+)?$/, '$1').replace(/^([^:]*):\d+$/, '$1');
}

/** Returns the network to record with an event, or `null` if it is unknown. */
export function recordedNetworkOf(c: RequestContext): string | null {
  const network = networkOf(c);
  return network === UNKNOWN ? null : network;
}

/** Sets `auditAddress` for every change through the management API, so that events record the client's address. */
export async function withAuditAddress(c: Context<AppEnv>): Promise<void> {
  const isChange = c.req.method !== 'GET' && c.req.method !== 'HEAD';
  if (isChange) c.set('auditAddress', await auditAddress(c.env, recordedNetworkOf(c)));
}

const GROUPS = 8;

/**
 * Returns the network of an address. An IPv4 address is its own network, also if it is mapped into IPv6. The network of an IPv6
 * address is its first 64 bits, because a provider gives each customer at least one such block. Any other text belongs to the
 * network `unknown`.
 */
export function networkIn(address: string): string {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(address)) return address;
  // `URL` normalizes IPv6 addresses. The zone (`%eth0`) is removed, because it names a network interface of the server and is
  // no part of the address.
  const host = URL.parse(`http://[${address.replace(/%.*$/, '')}]`)?.hostname.slice(1, -1);
  if (host === undefined) return UNKNOWN;
  const [before = [], after = []] = host.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const groups = [...before, ...Array<string>(GROUPS - before.length - after.length).fill('0'), ...after];
  const numbers = groups.map((group) => Number.parseInt(group, 16));
  const isMapped = numbers.slice(0, 5).every((number) => number === 0) && numbers[5] === 0xffff;
  if (isMapped)
    return numbers
      .slice(6)
      .flatMap((number) => [number >> 8, number & 0xff])
      .join('.');
  return `${groups.slice(0, 4).join(':')}::/64`;
}
