/**
 * Where a webhook may be sent: to names of the public internet, and never to the registry itself. Pure: asked when a webhook is
 * made and again before each try. A name may still resolve to a private address. On Cloudflare there is none to be reached, and
 * a local run asks through a network service that has public addresses only (`src/local/emulator.ts`).
 */
import { INTERNAL_NAME, NAME_OF_ADDRESS, NOT_PUBLIC_IPV4, NOT_PUBLIC_IPV6, type Range } from '../../addresses.ts';

export interface Ground {
  /** Hosts by which the registry is reached, with their ports where these are not the default. */
  ownHosts: string[];
  /** Plain http, every port and every host, for development. */
  insecure: boolean;
}

const MAX_LENGTH = 2048;
/** Those on which Cloudflare proxies https (network ports): a fetch of a proxied host finds nothing at another one. */
const PORTS = ['443', '2053', '2083', '2087', '2096', '8443'];

/** `null` where a webhook may be sent there, or what is wrong with it. That names no path and no query: they may be secret. */
export function refusalOfAddress(text: string, ground: Ground): string | null {
  const schemes = ground.insecure ? 'http:// or https://' : 'https://';
  if (text.length > MAX_LENGTH) return `an address has up to ${MAX_LENGTH} characters`;
  // Parsers differ in what they make of these: the standard drops some, and takes others for slashes (WHATWG URL, 4.4).
  if (/[\s\p{C}\\]/u.test(text)) return 'an address has no space, control character or backslash';
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1];
  if (authority === undefined) return `an address begins with ${schemes} and a host`;
  if (authority.includes('@')) return 'an address has no user and no password: what a receiver asks for goes into a header';
  if (text.includes('#')) return 'an address has no fragment, which would not be sent';
  // Brings every spelling of a host to one: of an IP address in decimal, octal or hex, full-width, percent-encoded.
  const url = URL.parse(text);
  if (!url) return 'this is not a URL';
  if (url.href.length > MAX_LENGTH) return `an address has up to ${MAX_LENGTH} characters, after its encoding`;
  if (isOwn(url, ground)) return 'this is the registry itself';
  if (ground.insecure) return null;
  if (url.protocol !== 'https:') return `an address begins with ${schemes}`;
  if (!PORTS.includes(portOf(url))) return `port ${url.port} is none of ${PORTS.join(', ')}`;
  return refusalOfHost(url.hostname);
}

/**
 * Exactly the own hosts. Another Worker beside it under the account's workers.dev name is as good a receiver as any, and is
 * reached: with the flag `global_fetch_strictly_public` (wrangler.toml) a fetch in one's own zone goes in by the front door.
 */
function isOwn(url: URL, { ownHosts, insecure }: Ground): boolean {
  return ownHosts.some((host) => {
    const own = URL.parse(`https://${host}`);
    if (!own || identityOf(own.hostname) !== identityOf(url.hostname)) return false;
    // A name of the web is the registry's at every port. A development machine has other programs at other ports.
    return !insecure || (own.port === '' ? ['80', '443'] : [own.port]).includes(portOf(url));
  });
}

/** One for each host, however it is written; all ways to say "this machine" are one. */
function identityOf(hostname: string): string {
  const name = withoutDots(hostname);
  const here = /(?:^|\.)localhost$/.test(name) || /(?:loopback|unspecified)$/.test(kindOf(name) ?? '');
  return here ? 'localhost' : name;
}

function portOf({ port, protocol }: URL): string {
  return port || (protocol === 'https:' ? '443' : '80');
}

/** Of absolute names (RFC 1034, section 3.1). */
function withoutDots(hostname: string): string {
  return hostname.replace(/\.+$/, '');
}

/** Names for documentation and tests, and of other networks (RFC 2606, 7686, 9476): nothing is behind them. */
const NOBODY = /(?:^|\.)(test|invalid|example|onion|i2p|alt)$/;

const NAME_MAX_LENGTH = 253;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

function refusalOfHost(hostname: string): string | null {
  const name = withoutDots(hostname);
  const kind = kindOf(name);
  // Cloudflare's fetch answers a public one with error 1003, so nothing is lost.
  if (kind !== null) return `the host is an IP address${kind && ` (${kind})`}: webhooks go to public names`;
  const domain = INTERNAL_NAME.exec(name)?.[1] ?? NOBODY.exec(name)?.[1];
  if (domain) return `the host is not public: the internet has no names under ".${domain}"`;
  const service = NAME_OF_ADDRESS.exec(name)?.[1];
  if (service) return `the host may be private: names under ${service} stand for any address`;
  const labels = name.split('.');
  if (labels.length < 2) return 'the host has no dot: webhooks go to public names';
  const wellFormed = hostname.length <= NAME_MAX_LENGTH && labels.every((label) => LABEL.test(label));
  if (hostname !== name || !wellFormed || !/^[a-z]/.test(labels.at(-1) ?? '')) return 'the host is not the name of a host';
  return null;
}

const IPV4 = ranges(bitsOf4, NOT_PUBLIC_IPV4);
const IPV6 = ranges(bitsOf6, NOT_PUBLIC_IPV6);

/** The ranges with their prefixes in bits. */
function ranges(bitsOf: (address: string) => string, rows: readonly Range[]): Range[] {
  return rows.map(([range, kind]) => {
    const [address = '', length] = range.split('/');
    return [bitsOf(address).slice(0, Number(length)), kind];
  });
}

/** What kind of IP address a host of a URL is; empty for a public one, `null` for a name. */
function kindOf(hostname: string): string | null {
  if (/^[\d.]+$/.test(hostname)) return kindIn(IPV4, bitsOf4(hostname));
  if (!hostname.startsWith('[')) return null;
  const bits = bitsOf6(hostname.slice(1, -1));
  const kind = kindIn(IPV6, bits);
  return kind === 'IPv4-mapped' ? `${kind} ${kindIn(IPV4, bits.slice(96))}`.trim() : kind;
}

function kindIn(table: readonly Range[], bits: string): string {
  return table.find(([prefix]) => bits.startsWith(prefix))?.[1] ?? '';
}

function bitsOf4(address: string): string {
  return address.split('.').map(binary(8)).join('');
}

/** @param address as the URL standard writes it: in hex, its longest run of zeros left out */
function bitsOf6(address: string): string {
  const [before = [], after = []] = address.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const zeros = new Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].map((group) => binary(16)(`0x${group}`)).join('');
}

function binary(width: number): (number: string) => string {
  return (number) => Number(number).toString(2).padStart(width, '0');
}
