/** The network that a request comes from, by which limits count. It is nothing that the client can choose. */
import { createMiddleware } from 'hono/factory';
import { auditAddress } from '../app/audit-address.ts';
import type { AppEnv, RequestContext } from './context.ts';

const UNKNOWN = 'unknown';

/**
 * The network of the client. On Cloudflare it is in a header that Cloudflare itself writes. Under `npm start` it is the address
 * of the socket; the header is not read there, because the client could have written it.
 */
export function networkOf(c: RequestContext): string {
  if (c.env.ADDRESS_FROM !== 'socket') return networkIn(c.req.header('cf-connecting-ip') ?? '');
  const { clientIp } = (c.req.raw.cf ?? {}) as { clientIp?: unknown };
  return networkIn(typeof clientIp === 'string' ? withoutPort(clientIp) : '');
}

/** Removes the port from `192.0.2.1:5000` or `[2001:db8::1]:5000`. */
function withoutPort(text: string): string {
  return text.replace(/^\[(.*)\](?::\d+)?$/, '$1').replace(/^([^:]*):\d+$/, '$1');
}

/** The network to record; `null`: not known. */
export function recordedNetworkOf(c: RequestContext): string | null {
  const network = networkOf(c);
  return network === UNKNOWN ? null : network;
}

/** For the management API: changes are recorded with the client's address. */
export const withAuditAddress = createMiddleware<AppEnv>(async function withAuditAddress(c, next) {
  const isChange = c.req.method !== 'GET' && c.req.method !== 'HEAD';
  if (isChange) c.set('auditAddress', await auditAddress(c.env, recordedNetworkOf(c)));
  await next();
});

const GROUPS = 8;

/**
 * The network of an address: an IPv4 address itself, also if it is mapped into IPv6; for IPv6 the first 64 bits, because each
 * customer has at least that many addresses. All text that is no address is one network.
 */
export function networkIn(address: string): string {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(address)) return address;
  // URL normalizes IPv6 addresses. A zone (`%eth0`) is the server's own name for a link.
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
