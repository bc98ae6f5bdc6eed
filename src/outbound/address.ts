/**
 * Checks a URL to which the Worker will send requests. The host must be a name on the public internet, and not the registry
 * itself. The URL is checked when it is stored, and again before each request. A public name can still resolve to a private IP
 * address. This does no harm: a Worker on Cloudflare cannot reach private addresses, and with `npm start` requests go through a
 * network service that allows only public addresses (`src/local/emulator.ts`). This module does no I/O.
 */
import { INTERNAL_NAME, NAME_OF_ADDRESS, NOT_PUBLIC_IPV4, NOT_PUBLIC_IPV6, type Range } from './addresses.ts';

interface AddressRules {
  /** The hosts under which clients reach the registry, each with its port if that is not the default port. */
  ownHosts: readonly string[];
  /** True to allow http, every port and every host. Only for development. */
  insecure: boolean;
  /** True to allow ports that Cloudflare does not proxy. */
  anyPort?: boolean;
  /** True to allow the domains in `NOBODY`. No public host has a name there, so a request fails without doing harm. */
  anyDomain?: boolean;
}

const MAX_LENGTH = 2048;
/** The ports on which Cloudflare proxies https ("Network ports"). A request to a proxied host on any other port fails. */
const PORTS = ['443', '2053', '2083', '2087', '2096', '8443'];

/**
 * Returns a message that says why an address is not allowed, or `null` if it is allowed. The message does not repeat the path
 * and query of the address, because they may be secret.
 */
export function refusalOfAddress(text: string, rules: AddressRules): string | null {
  const schemes = rules.insecure ? 'http:// or https://' : 'https://';
  if (text.length > MAX_LENGTH) return `an address has up to ${MAX_LENGTH} characters`;
  // URL parsers treat these characters differently: the standard parser drops some of them and reads others as slashes (WHATWG
  // URL, 4.4).
  if (/[\s\p{C}\\]/u.test(text)) return 'an address has no space, control character or backslash';
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1];
  if (authority === undefined) return `an address begins with ${schemes} and a host`;
  if (authority.includes('@')) return 'an address has no user and no password: what a receiver asks for goes into a header';
  if (text.includes('#')) return 'an address has no fragment, which would not be sent';
  // The parser normalizes the host: IP addresses in decimal, octal or hexadecimal notation, full-width characters and
  // percent-encoded characters.
  const url = URL.parse(text);
  if (!url) return 'this is not a URL';
  if (url.href.length > MAX_LENGTH) return `an address has up to ${MAX_LENGTH} characters, after its encoding`;
  if (isOwn(url, rules)) return 'this is the registry itself';
  if (rules.insecure) return null;
  if (url.protocol !== 'https:') return `an address begins with ${schemes}`;
  if (!rules.anyPort && !PORTS.includes(portOf(url))) return `port ${url.port} is none of ${PORTS.join(', ')}`;
  return refusalOfHost(url.hostname, rules);
}

/**
 * Returns true if the host is one of the registry's own hosts. Another Worker under the account's workers.dev name is allowed.
 * With the flag `global_fetch_strictly_public` (wrangler.toml), a request to a host of the account's own zone arrives there
 * like a request from the internet.
 */
function isOwn(url: URL, { ownHosts, insecure }: AddressRules): boolean {
  return ownHosts.some((host) => {
    const own = URL.parse(`https://${host}`);
    if (!own || identityOf(own.hostname) !== identityOf(url.hostname)) return false;
    // Every port of a public name leads to the registry. On a development machine, other ports lead to other programs.
    return !insecure || (own.port === '' ? ['80', '443'] : [own.port]).includes(portOf(url));
  });
}

/** Returns the same text for every spelling of a host, and `localhost` for all names and addresses of the local machine. */
function identityOf(hostname: string): string {
  const name = withoutDots(hostname);
  const here = /(?:^|\.)localhost$/.test(name) || /(?:loopback|unspecified)$/.test(kindOf(name) ?? '');
  return here ? 'localhost' : name;
}

function portOf({ port, protocol }: URL): string {
  return port || (protocol === 'https:' ? '443' : '80');
}

/** Removes the final dot of absolute names (RFC 1034, section 3.1). */
function withoutDots(hostname: string): string {
  return hostname.replace(/\.+$/, '');
}

/** Top-level domains for documentation, tests and other networks (RFC 2606, 7686, 9476). No public host has a name there. */
const NOBODY = /(?:^|\.)(test|invalid|example|onion|i2p|alt)$/;

const NAME_MAX_LENGTH = 253;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

function refusalOfHost(hostname: string, { anyDomain }: AddressRules): string | null {
  const name = withoutDots(hostname);
  const kind = kindOf(name);
  // Public IP addresses are refused, too: Cloudflare's fetch fails for them anyway, with error 1003.
  if (kind !== null) return `the host is an IP address${kind && ` (${kind})`}: only public names are allowed`;
  const domain = INTERNAL_NAME.exec(name)?.[1] ?? (anyDomain ? null : NOBODY.exec(name)?.[1]);
  if (domain) return `the host is not public: the internet has no names under ".${domain}"`;
  const service = NAME_OF_ADDRESS.exec(name)?.[1];
  if (service) return `the host may be private: names under ${service} stand for any address`;
  const labels = name.split('.');
  if (labels.length < 2) return 'the host has no dot: only public names are allowed';
  const wellFormed = hostname.length <= NAME_MAX_LENGTH && labels.every((label) => LABEL.test(label));
  if (hostname !== name || !wellFormed || !/^[a-z]/.test(labels.at(-1) ?? '')) return 'the host is not the name of a host';
  return null;
}

const IPV4 = ranges(bitsOf4, NOT_PUBLIC_IPV4);
const IPV6 = ranges(bitsOf6, NOT_PUBLIC_IPV6);

/** Converts the network prefixes of the ranges to strings of bits. */
function ranges(bitsOf: (address: string) => string, rows: readonly Range[]): Range[] {
  return rows.map(([range, kind]) => {
    const [address = '', length] = range.split('/');
    return [bitsOf(address).slice(0, Number(length)), kind];
  });
}

/** Returns the kind of an IP address: the empty string for a public address, `null` if the host is a name. */
function kindOf(hostname: string): string | null {
  if (/^[\d.]+$/.test(hostname)) return kindIn(IPV4, bitsOf4(hostname));
  if (!hostname.startsWith('[')) return null;
  const bits = bitsOf6(hostname.slice(1, -1));
  const kind = kindIn(IPV6, bits);
  return kind === 'IPv4-mapped' ? `${kind} ${kindIn(IPV4, bits.slice(96))}`.trim() : kind;
}

/**
 * Returns an IP address as a string of 32 or 128 bits; `null` if the text is none. An IPv4 address that is mapped into IPv6 has
 * the 32 bits of the IPv4 address.
 */
export function addressBits(text: string): string | null {
  if (/^\d{1,3}(?:\.\d{1,3}){3}$/.test(text))
    return text.split('.').every((part) => Number(part) <= 255) ? bitsOf4(text) : null;
  const host = URL.parse(`http://[${text.replace(/%.*$/, '')}]`)?.hostname.slice(1, -1);
  if (host === undefined) return null;
  const bits = bitsOf6(host);
  return kindIn(IPV6, bits) === 'IPv4-mapped' ? bits.slice(96) : bits;
}

function kindIn(table: readonly Range[], bits: string): string {
  return table.find(([prefix]) => bits.startsWith(prefix))?.[1] ?? '';
}

function bitsOf4(address: string): string {
  return address.split('.').map(binary(8)).join('');
}

/** @param address in the form that the URL standard writes: hexadecimal, with `::` for the longest run of zeros */
function bitsOf6(address: string): string {
  const [before = [], after = []] = address.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const zeros = new Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].map((group) => binary(16)(`0x${group}`)).join('');
}

function binary(width: number): (number: string) => string {
  return (number) => Number(number).toString(2).padStart(width, '0');
}
