/** Where a request comes from: what floods are counted by. Never a name, and nothing that the client may choose. */
import type { RequestContext } from './context.ts';

/**
 * The network of the client, as text. On Cloudflare it is in a header that Cloudflare itself writes. Under `npm start` the
 * runtime tells the socket's address; a header is never read there, as the client could have written it.
 */
export function networkOf(c: RequestContext): string {
  if (c.env.ADDRESS_FROM !== 'socket') return networkIn(c.req.header('cf-connecting-ip') ?? '');
  const { clientIp } = (c.req.raw.cf ?? {}) as { clientIp?: unknown };
  return networkIn(typeof clientIp === 'string' ? withoutPort(clientIp) : '');
}

/** `192.0.2.1:5000` and `[2001:db8::1]:5000`, as the runtime writes them. */
function withoutPort(text: string): string {
  return text.replace(/^\[(.*)\](?::\d+)?$/, '$1').replace(/^([^:]*):\d+$/, '$1');
}

const GROUPS = 8;

/**
 * An IPv4 address as it is, also where it is written as an IPv6 one. Of an IPv6 address its first 64 bits: each customer has at
 * least that many addresses. Text that is no address is one network.
 */
export function networkIn(address: string): string {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(address)) return address;
  // URL writes every form of an IPv6 address in one way. A zone (`%eth0`) is the server's own name for a link.
  const host = URL.parse(`http://[${address.replace(/%.*$/, '')}]`)?.hostname.slice(1, -1);
  if (host === undefined) return 'unknown';
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
