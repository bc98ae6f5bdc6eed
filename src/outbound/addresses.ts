/**
 * Tables of addresses and names that are not public. Every check of an address that the registry may connect to uses these
 * tables. Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), RFC 5771 (multicast) and RFC 4291
 * (IPv6). A block of addresses is public only if the IANA registries call the whole block globally reachable. This module does
 * no I/O.
 */

/**
 * A range of addresses, and the kind of addresses in it. If several ranges of a table contain an address, the first one counts.
 */
export type Range = readonly [cidr: string, kind: string];

export const NOT_PUBLIC_IPV4: readonly Range[] = [
  ['0.0.0.0/8', 'unspecified'],
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'carrier-grade NAT'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local (cloud metadata)'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.0/24', 'reserved'],
  ['192.0.2.0/24', 'documentation'],
  ['192.88.99.0/24', 'reserved'],
  ['192.168.0.0/16', 'private'],
  ['198.18.0.0/15', 'benchmarking'],
  ['198.51.100.0/24', 'documentation'],
  ['203.0.113.0/24', 'documentation'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
];

/**
 * IPv6 addresses whose last four bytes are an IPv4 address to which a gateway translates them (RFC 6052). A network without
 * IPv4 uses them to reach IPv4 hosts.
 */
export const NAT64 = '64:ff9b::/96';

/**
 * Ranges of IPv6 addresses that are not public. Ranges whose addresses contain an IPv4 address are included, because a gateway
 * could translate them to a private IPv4 address.
 */
export const NOT_PUBLIC_IPV6: readonly Range[] = [
  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['::ffff:0:0/96', 'IPv4-mapped'],
  ['::/96', 'IPv4-compatible'],
  [NAT64, 'NAT64'],
  ['64:ff9b:1::/48', 'NAT64'],
  ['2001::/32', 'Teredo'],
  ['2001:db8::/32', 'documentation'],
  ['2001::/23', 'reserved'],
  ['2002::/16', '6to4'],
  ['3fff::/20', 'documentation'],
  ['fc00::/7', 'unique local'],
  ['fe80::/10', 'link-local (cloud metadata)'],
  ['fec0::/10', 'site-local'],
  ['ff00::/8', 'multicast'],
  // All public addresses are in 2000::/3 (RFC 4291, section 2.4).
  ['::/3', 'reserved'],
  ['4000::/2', 'reserved'],
  ['8000::/1', 'reserved'],
];

/**
 * Names of the local machine or of a local network, which are never public. Sources: RFC 6761, 6762 and 8375, the names that
 * ICANN does not delegate, and common use.
 */
export const INTERNAL_NAME =
  /(?:^|\.)(localhost|local|localdomain|internal|private|intranet|lan|corp|home|mail|svc|consul|arpa)$/;

/**
 * The best known services that offer a public name for every IP address, including private ones. The list cannot be complete.
 */
export const NAME_OF_ADDRESS = /(?:^|\.)(nip\.io|sslip\.io|xip\.io|localtest\.me|lvh\.me|vcap\.me|traefik\.me)$/;
