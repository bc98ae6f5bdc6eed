import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { refusalOfAddress } from '../../src/outbound/address.ts';

const OWN = ['registry.acme.com', 'berth.acme.workers.dev'];
const OWN_AND_LOCAL = [...OWN, 'localhost:8787'];

function refusal(text: string, ownHosts = OWN): string | null {
  return refusalOfAddress(text, { ownHosts, insecure: false });
}

function refusalInsecurely(text: string, ownHosts = OWN_AND_LOCAL): string | null {
  return refusalOfAddress(text, { ownHosts, insecure: true });
}

describe('a webhook may be sent to', () => {
  test.each([
    'https://hooks.example.com',
    'https://hooks.example.com/',
    'https://hooks.example.com/services/T0/B0?token=a%2Fb&c=@d',
    'https://hooks.example.com?x=1',
    'HTTPS://Hooks.Example.COM/In',
    'https://hooks.example.com:443/in',
    'https://hooks.example.com:2053/in',
    'https://hooks.example.com:2083/in',
    'https://hooks.example.com:2087/in',
    'https://hooks.example.com:2096/in',
    'https://hooks.example.com:8443/in',
    'https://10.example.com/',
    'https://127-0-0-1.example.com/',
    'https://münchen.example.com/grüße',
    'https://xn--mnchen-3ya.example.com/',
    'https://a_b.example.com/',
    'https://local.example.com/',
    'https://localhost.example.com/',
    'https://internal.dev/',
    'https://mylocal.host/',
    'https://unip.io/',
    'https://example.xn--p1ai/',
    `https://${'a'.repeat(63)}.example.com/`,
  ])('%s', (text) => {
    expect(refusal(text)).toBeNull();
    expect(refusalInsecurely(text)).toBeNull();
  });

  test('an address of 2048 characters', () => {
    expect(refusal(`https://hooks.example.com/${'a'.repeat(2048 - 26)}`)).toBeNull();
  });
});

describe('a webhook URL is refused if it', () => {
  test.each([
    ['is empty', '', /begins with https/],
    ['is no URL', 'hooks.example.com', /begins with https/],
    ['has no host', 'https://', /begins with https/],
    ['has a host only by its slashes', 'https:///hooks.example.com/', /begins with https/],
    ['lacks a slash', 'https:/hooks.example.com/', /begins with https/],
    ['lacks both', 'https:hooks.example.com/', /begins with https/],
    ['has a scheme of neither', 'ftp://hooks.example.com/', /begins with https/],
    ['is a script', 'javascript:alert(1)', /begins with https/],
    ['is data', 'data:text/plain,hooks.example.com', /begins with https/],
    ['has a file', 'file:///etc/passwd', /begins with https/],
    ['is a URL in a URL', 'blob:https://hooks.example.com/', /begins with https/],
    ['has a socket', 'unix:/run/docker.sock', /begins with https/],
    ['has a user', 'https://user@hooks.example.com/', /no user/],
    ['has a user and a password', 'https://user:password@hooks.example.com/', /no user/],
    ['has an empty user', 'https://@hooks.example.com/', /no user/],
    ['has an empty user and password', 'https://:@hooks.example.com/', /no user/],
    ['has a user that looks like a host', 'https://hooks.example.com:443@evil.com/', /no user/],
    ['has a fragment', 'https://hooks.example.com/#a', /no fragment/],
    ['has an empty fragment', 'https://hooks.example.com/#', /no fragment/],
    ['has a fragment that looks like a host', 'https://hooks.example.com#@evil.com/', /no fragment/],
    ['has a space', 'https://hooks.example.com/a b', /no space/],
    ['has a space before it', ' https://hooks.example.com/', /no space/],
    ['has a tab in its host', 'https://local\thost/', /no space/],
    ['has a line break in its scheme', 'ht\ntps://hooks.example.com/', /no space/],
    ['has a carriage return in its path', 'https://hooks.example.com/\rx', /no space/],
    ['ends with a line break', 'https://hooks.example.com/\n', /no space/],
    ['has a NUL', 'https://hooks.example.com/\0', /no space/],
    ['has a control character of Latin 1', 'https://hooks.example.com/\u0085', /no space/],
    ['has a wide space', 'https://hooks.example.com/\u3000', /no space/],
    ['has a soft hyphen', 'https://local\u00adhost/', /no space/],
    ['has a zero-width space', 'https://local\u200bhost/', /no space/],
    ['has a right-to-left override', 'https://hooks.example.com/\u202e', /no space/],
    ['has half a surrogate pair', 'https://hooks.example.com/\ud800', /no space/],
    ['has a backslash', 'https://hooks.example.com\\@evil.com/', /backslash/],
    ['has backslashes for slashes', 'https:\\\\hooks.example.com', /backslash/],
    ['is longer than 2048', `https://hooks.example.com/${'a'.repeat(2048 - 25)}`, /2048/],
    ['is longer than 2048 once it is encoded', `https://hooks.example.com/${'ü'.repeat(400)}`, /2048/],
    ['has a port beyond the last', 'https://hooks.example.com:65536/', /not a URL/],
    ['has a port that is none', 'https://hooks.example.com:https/', /not a URL/],
    ['has a broken IPv6 address', 'https://[::1/', /not a URL/],
    ['has the zone of an IPv6 address', 'https://[fe80::1%25eth0]/', /not a URL/],
    ['has an IPv4 address beyond the last', 'https://256.256.256.256/', /not a URL/],
    ['has a slash in its host', 'https://hooks%2Fexample.com/', /not a URL/],
    ['has an at sign in its host', 'https://user%40hooks.example.com/', /not a URL/],
    ['has a NUL in its host', 'https://hooks.example.com%00.evil.com/', /not a URL/],
    ['has half a letter in its host', 'https://%ff.example.com/', /not a URL/],
  ])('%s', (_, text, message) => {
    expect(refusal(text)).toMatch(message);
    expect(refusalInsecurely(text)).toMatch(new RegExp(message.source.replace('begins with https', 'begins with http')));
  });

  test('uses plain http', () => {
    expect(refusal('http://hooks.example.com/')).toBe('an address begins with https://');
    expect(refusal('http://hooks.example.com:443/')).toBe('an address begins with https://');
  });

  test.each(['0', '1', '22', '25', '80', '444', '2375', '6443', '8080', '9200', '65535'])('has port %s', (port) => {
    expect(refusal(`https://hooks.example.com:${port}/`)).toBe(`port ${port} is none of 443, 2053, 2083, 2087, 2096, 8443`);
  });
});

/** Hosts in any form that a user may write, and the kind of each address. */
const ADDRESSES: [host: string, kind: string][] = [
  ['127.0.0.1', 'loopback'],
  ['127.255.255.254', 'loopback'],
  ['127.0.0.1.', 'loopback'],
  ['127.0.0.1..', 'loopback'],
  ['2130706433', 'loopback'],
  ['0x7f000001', 'loopback'],
  ['0X7F.1', 'loopback'],
  ['0x7f.0x0.0x0.0x1', 'loopback'],
  ['017700000001', 'loopback'],
  ['0177.0.0.1', 'loopback'],
  ['0000177.0.0.01', 'loopback'],
  ['127.1', 'loopback'],
  ['127.0.1', 'loopback'],
  ['127.0x000001', 'loopback'],
  ['１２７.0.0.1', 'loopback'],
  ['127。0。0。1', 'loopback'],
  ['①②⑦.0.0.1', 'loopback'],
  ['%31%32%37.0.0.1', 'loopback'],
  ['%31%32%37%2e0%2e0%2e1', 'loopback'],
  ['%EF%BC%91２７.0.0.1', 'loopback'],
  ['[::1]', 'loopback'],
  ['[0:0:0:0:0:0:0:1]', 'loopback'],
  ['[0000:0000:0000:0000:0000:0000:0000:0001]', 'loopback'],
  ['[::0.0.0.1]', 'loopback'],
  ['0.0.0.0', 'unspecified'],
  ['0', 'unspecified'],
  ['0x', 'unspecified'],
  ['00.0', 'unspecified'],
  ['0.1.2.3', 'unspecified'],
  ['[::]', 'unspecified'],
  ['[0::0]', 'unspecified'],
  ['10.0.0.0', 'private'],
  ['10.255.255.255', 'private'],
  ['10.1', 'private'],
  ['0xa.0.0.1', 'private'],
  ['172.16.0.1', 'private'],
  ['172.31.255.255', 'private'],
  ['0254.020.0.1', 'private'],
  ['192.168.1.1', 'private'],
  ['192.168.257', 'private'],
  ['3232235777', 'private'],
  ['169.254.169.254', 'link-local (cloud metadata)'],
  ['2852039166', 'link-local (cloud metadata)'],
  ['0xA9FEA9FE', 'link-local (cloud metadata)'],
  ['169.16689662', 'link-local (cloud metadata)'],
  ['⑯⑨。②⑤④。⑯⑨｡②⑤④', 'link-local (cloud metadata)'],
  ['[fe80::1]', 'link-local (cloud metadata)'],
  ['[FEBF:FFFF::]', 'link-local (cloud metadata)'],
  ['100.64.0.0', 'carrier-grade NAT'],
  ['100.127.255.255', 'carrier-grade NAT'],
  ['100.100.100.200', 'carrier-grade NAT'],
  ['198.18.0.0', 'benchmarking'],
  ['198.19.255.255', 'benchmarking'],
  ['224.0.0.1', 'multicast'],
  ['239.255.255.255', 'multicast'],
  ['[ff02::1]', 'multicast'],
  ['[ff00::]', 'multicast'],
  ['240.0.0.1', 'reserved'],
  ['255.255.255.255', 'reserved'],
  ['4294967295', 'reserved'],
  ['192.0.0.1', 'reserved'],
  ['192.88.99.1', 'reserved'],
  ['[100::1]', 'reserved'],
  ['[2001:2::1]', 'reserved'],
  ['[2001:1ff::1]', 'reserved'],
  ['[::ffff:0:7f00:1]', 'reserved'],
  ['[5f00::1]', 'reserved'],
  ['[1fff::1]', 'reserved'],
  ['[4000::1]', 'reserved'],
  ['[9000::1]', 'reserved'],
  ['[fe00::1]', 'reserved'],
  ['192.0.2.1', 'documentation'],
  ['198.51.100.1', 'documentation'],
  ['203.0.113.1', 'documentation'],
  ['[2001:db8::1]', 'documentation'],
  ['[3fff:fff:ffff::1]', 'documentation'],
  ['[fc00::1]', 'unique local'],
  ['[fdff:ffff::1]', 'unique local'],
  ['[fd00:ec2::254]', 'unique local'],
  ['[fec0::1]', 'site-local'],
  ['[feff::1]', 'site-local'],
  ['[::ffff:127.0.0.1]', 'IPv4-mapped loopback'],
  ['[::ffff:7f00:1]', 'IPv4-mapped loopback'],
  ['[::FFFF:7F00:0001]', 'IPv4-mapped loopback'],
  ['[0:0:0:0:0:ffff:127.0.0.1]', 'IPv4-mapped loopback'],
  ['[0:0:0:0:0:FFFF:7f00:1]', 'IPv4-mapped loopback'],
  ['[::ffff:169.254.169.254]', 'IPv4-mapped link-local (cloud metadata)'],
  ['[::ffff:10.0.0.1]', 'IPv4-mapped private'],
  ['[::ffff:8.8.8.8]', 'IPv4-mapped'],
  ['[::127.0.0.1]', 'IPv4-compatible'],
  ['[::7f00:1]', 'IPv4-compatible'],
  ['[::8.8.8.8]', 'IPv4-compatible'],
  ['[::2]', 'IPv4-compatible'],
  ['[64:ff9b::]', 'NAT64'],
  ['[64:ff9b::7f00:1]', 'NAT64'],
  ['[64:ff9b::169.254.169.254]', 'NAT64'],
  ['[0064:FF9B:0:0:0:0:a9fe:a9fe]', 'NAT64'],
  ['[64:ff9b:1::1]', 'NAT64'],
  ['[64:ff9b:1:ffff:ffff:ffff:ffff:ffff]', 'NAT64'],
  ['[2002:a9fe:a9fe::]', '6to4'],
  ['[2002:7f00:1::1]', '6to4'],
  ['[2002:ffff:ffff::]', '6to4'],
  ['[2001::1]', 'Teredo'],
  ['[2001:0:7f00:1::]', 'Teredo'],
];

/** Addresses outside of the internal ranges. They are refused because they are IP addresses. */
const PUBLIC_ADDRESSES = [
  ...['1.0.0.0', '8.8.8.8', '134744072', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255'],
  ...['128.0.0.0', '169.253.255.255', '169.255.0.0', '172.15.255.255', '172.32.0.0', '192.0.1.0', '192.0.3.0', '192.88.98.255'],
  ...['192.88.100.0', '192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0', '198.51.99.255', '198.51.101.0'],
  ...['203.0.112.255', '203.0.114.0', '223.255.255.255'],
  ...['[2606:4700::1111]', '[2000::]', '[2001:200::]', '[2001:db7::1]', '[2001:db9::1]', '[2001:4860:4860::8888]', '[2003::1]'],
  ...['[3ffe::1]', '[3fff:1000::]'],
];

describe('an IP address is not accepted as a host', () => {
  test.each(ADDRESSES)('%s is refused as %s', (host, kind) => {
    const expected = `the host is an IP address (${kind}): only public names are allowed`;
    expect(refusal(`https://${host}/`)).toBe(expected);
    expect(refusal(`https://${host}:8443/path?query`)).toBe(expected);
  });

  test.each(PUBLIC_ADDRESSES)('%s is refused too', (host) => {
    expect(refusal(`https://${host}/`)).toBe('the host is an IP address: only public names are allowed');
  });

  /** The first and the last address of each internal range. */
  const INSIDE_4: [first: number, last: number, kind: string][] = [
    [0x0a000000, 0x0affffff, 'private'],
    [0x64400000, 0x647fffff, 'carrier-grade NAT'],
    [0x7f000000, 0x7fffffff, 'loopback'],
    [0xa9fe0000, 0xa9feffff, 'link-local (cloud metadata)'],
    [0xac100000, 0xac1fffff, 'private'],
    [0xc0a80000, 0xc0a8ffff, 'private'],
    [0xc6120000, 0xc613ffff, 'benchmarking'],
    [0xe0000000, 0xefffffff, 'multicast'],
    [0xf0000000, 0xffffffff, 'reserved'],
  ];
  const inside4 = fc
    .constantFrom(...INSIDE_4)
    .chain(([first, last, kind]) => fc.integer({ min: first, max: last }).map((address) => ({ address, kind })));

  test('every IPv4 address that is not public, in any spelling', () => {
    fc.assert(
      fc.property(
        inside4,
        fc.integer({ min: 1, max: 4 }),
        fc.infiniteStream(fc.nat(5)),
        fc.infiniteStream(fc.nat(9)),
        ({ address, kind }, parts, radixes, disguises) => {
          const host = spell4(address, parts, radixes);
          const disguised = Array.from(host, (character) => disguise(character, disguises.next().value)).join('');
          expect(refusal(`https://${disguised}/`)).toContain(`(${kind})`);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('every IPv6 address that is not public, or embeds such an IPv4 address, in any spelling', () => {
    const group = fc.nat(0xffff);
    const rest = fc.array(group, { minLength: 6, maxLength: 6 });
    const unique = fc.tuple(fc.integer({ min: 0xfc00, max: 0xfdff }), group, rest).map(([a, b, c]) => [a, b, ...c]);
    const linkLocal = fc.tuple(fc.integer({ min: 0xfe80, max: 0xfebf }), group, rest).map(([a, b, c]) => [a, b, ...c]);
    const carrying = fc
      .tuple(
        fc.constantFrom([0, 0, 0, 0, 0, 0xffff], [0x64, 0xff9b, 0, 0, 0, 0], [0x64, 0xff9b, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]),
        inside4,
      )
      .map(([head, { address }]) => [...head, address >>> 16, address & 0xffff]);
    const sixToFour = fc.tuple(inside4, rest).map(([{ address }, more]) => [0x2002, address >>> 16, address & 0xffff, ...more]);
    const any = fc.oneof(unique, linkLocal, carrying, sixToFour).map((groups) => groups.slice(0, 8));
    fc.assert(
      fc.property(any, fc.boolean(), fc.boolean(), fc.infiniteStream(fc.nat(3)), (groups, shortened, dotted, paddings) => {
        const host = spell6(groups, { shortened, dotted, paddings });
        expect(refusal(`https://[${host}]/`)).toMatch(/\((?:unique local|link-local|IPv4-mapped|IPv4-compatible|NAT64|6to4)/);
      }),
      { numRuns: 2000 },
    );
  });
});

/**
 * A spelling of an IPv4 address (WHATWG URL, 3.5). It has one to four parts, and the last part contains all remaining bytes.
 * Each part is decimal, octal or hexadecimal.
 */
function spell4(address: number, parts: number, radixes: fc.Stream<number>): string {
  const bytes = [address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255];
  const tail = bytes.slice(parts - 1).reduce((sum, byte) => sum * 256 + byte, 0);
  return [...bytes.slice(0, parts - 1), tail].map((part) => spellPart(part, radixes.next().value)).join('.');
}

function spellPart(part: number, radix: number): string {
  if (radix === 0) return `0${part.toString(8)}`;
  if (radix === 1) return `0000${part.toString(8)}`;
  if (radix === 2) return `0x${part.toString(16)}`;
  if (radix === 3) return `0X00${part.toString(16).toUpperCase()}`;
  return String(part);
}

/** Another form of a character that URL parsers read as the same: percent-encoded, full-width, or another full stop. */
function disguise(character: string, chance: number): string {
  if (chance === 0) return `%${character.charCodeAt(0).toString(16)}`;
  if (chance === 1) return String.fromCharCode(character.charCodeAt(0) + 0xfee0);
  if (chance === 2 && character === '.') return '。';
  return character;
}

interface Spelling6 {
  /** True if a run of zeros is written as `::`. */
  shortened: boolean;
  /** True if the last four bytes are written as in IPv4. */
  dotted: boolean;
  paddings: fc.Stream<number>;
}

function spell6(groups: number[], { shortened, dotted, paddings }: Spelling6): string {
  const written = groups.map((group) => {
    const hex = group.toString(16);
    const padding = paddings.next().value;
    return padding === 0 ? hex.padStart(4, '0') : padding === 1 ? hex.toUpperCase() : hex;
  });
  const [high = 0, low = 0] = groups.slice(6);
  if (dotted) written.splice(6, 2, [high >>> 8, high & 255, low >>> 8, low & 255].join('.'));
  const text = written.join(':');
  return shortened ? text.replace(/(?:^|:)0{1,4}(?::0{1,4})*(?::|$)/, '::') : text;
}

describe('a name that is not on the public internet is not accepted as a host', () => {
  test.each([
    ['localhost', 'localhost'],
    ['LOCALHOST', 'localhost'],
    ['localhost.', 'localhost'],
    ['localhost..', 'localhost'],
    ['api.localhost', 'localhost'],
    ['ⓛocalhost', 'localhost'],
    ['ｌｏｃａｌｈｏｓｔ', 'localhost'],
    ['local%68ost', 'localhost'],
    ['%6c%6F%63%61%6c%68%6f%73%74', 'localhost'],
    ['localhost.localdomain', 'localdomain'],
    ['printer.local', 'local'],
    ['printer.local.', 'local'],
    ['PRINTER.LoCaL', 'local'],
    ['registry.default.svc.cluster.local', 'local'],
    ['kubernetes.default.svc', 'svc'],
    ['kubernetes.default.svc.', 'svc'],
    ['metadata.google.internal', 'internal'],
    ['METADATA.google.internal.', 'internal'],
    ['metadata。google。internal', 'internal'],
    ['host.docker.internal', 'internal'],
    ['router.home.arpa', 'arpa'],
    ['1.0.0.127.in-addr.arpa', 'arpa'],
    ['nas.lan', 'lan'],
    ['wiki.intranet', 'intranet'],
    ['wiki.corp', 'corp'],
    ['nas.home', 'home'],
    ['smtp.mail', 'mail'],
    ['db.private', 'private'],
    ['vault.service.consul', 'consul'],
    ['a.test', 'test'],
    ['a.invalid', 'invalid'],
    ['a.example', 'example'],
    ['a.onion', 'onion'],
    ['a.alt', 'alt'],
  ])('%s', (host, domain) => {
    expect(refusal(`https://${host}/`)).toBe(`the host is not public: the internet has no names under ".${domain}"`);
  });

  test.each(['registry', 'metadata', 'com', 'com.', 'xn--p1ai'])('%s, without a dot', (host) => {
    expect(refusal(`https://${host}/`)).toBe('the host has no dot: only public names are allowed');
  });

  test.each([
    ['127.0.0.1.nip.io', 'nip.io'],
    ['10-0-0-1.SSLIP.io', 'sslip.io'],
    ['app.localtest.me.', 'localtest.me'],
    ['lvh.me', 'lvh.me'],
  ])('%s, which stands for an address', (host, service) => {
    expect(refusal(`https://${host}/`)).toBe(`the host may be private: names under ${service} stand for any address`);
  });

  test.each([
    ['ending with a dot', 'hooks.example.com.'],
    ['ending with two', 'hooks.example.com..'],
    ['with an empty label', 'hooks..example.com'],
    ['beginning with a dot', '.example.com'],
    ['with a wildcard', '*.example.com'],
    ['with signs that URLs allow and names do not', "a!$&'()+,;=~.example.com"],
    ['with a label that begins with a hyphen', '-a.example.com'],
    ['with a label that ends with a hyphen', 'a-.example.com'],
    ['with a label of 64 characters', `${'a'.repeat(64)}.example.com`],
    ['of 254 characters', `${'a.'.repeat(125)}comm`],
  ])('one %s', (_, host) => {
    expect(refusal(`https://${host}/`)).toBe('the host is not the name of a host');
  });
});

describe('the registry does not accept itself as a receiver', () => {
  test.each([
    'https://registry.acme.com/',
    'https://registry.acme.com/v2/?a=b',
    'https://REGISTRY.acme.com',
    'https://registry.acme.com:443/',
    'https://registry.acme.com:8443/',
    'https://registry.acme.com:9999/',
    'https://registry.acme.com./',
    'https://registry.acme.com../',
    'https://ｒegistry。acme.com/',
    'https://%72egistry.acme.com/',
    'https://berth.acme.workers.dev/',
    'https://localhost/',
    'https://localhost:8787/',
    'https://127.0.0.1:8787/',
  ])('%s is the registry itself', (text) => {
    expect(refusal(text, OWN_AND_LOCAL)).toBe('this is the registry itself');
  });

  test.each(['Registry.ACME.com', 'registry.acme.com.', 'registry.acme.com:443', 'registry.acme.com:8787'])(
    'under its own name %s',
    (host) => {
      expect(refusal('https://registry.acme.com/', [host])).toBe('this is the registry itself');
    },
  );

  test.each([
    'https://acme.com/',
    'https://hooks.acme.com/',
    'https://my-registry.acme.com/',
    'https://registry.acme.com.evil.com/',
    'https://a.registry.acme.com/',
    'https://hooks.acme.workers.dev/',
  ])('%s is another', (text) => {
    expect(refusal(text)).toBeNull();
  });

  test.each([
    'http://localhost:8787/v2/',
    'https://localhost:8787/',
    'http://LOCALHOST.:8787/',
    'http://a.localhost:8787/',
    'http://127.0.0.1:8787/',
    'http://127.9.9.9:8787/',
    'http://2130706433:8787/',
    'http://0.0.0.0:8787/',
    'http://[::1]:8787/',
    'http://[::]:8787/',
    'http://[::ffff:127.0.0.1]:8787/',
    'http://registry.acme.com/',
    'https://registry.acme.com/',
    'http://registry.acme.com:443/',
    'https://registry.acme.com:80/',
    'http://registry.acme.com./',
  ])('%s is the registry itself, in development too', (text) => {
    expect(refusalInsecurely(text)).toBe('this is the registry itself');
  });
});

describe('for development, a webhook may be sent to', () => {
  test.each([
    'http://hooks.example.com/',
    'http://localhost/',
    'http://localhost:9000/in',
    'http://127.0.0.1:9000/in',
    'http://[::1]:9000/in',
    'http://10.0.0.1/',
    'http://receiver:3000/',
    'http://host.docker.internal:3000/',
    'http://a.test:25/',
    'https://registry.acme.com:9000/',
  ])('%s', (text) => {
    expect(refusalInsecurely(text)).toBeNull();
  });
});

describe('an allowed address', () => {
  const rules = { ownHosts: OWN, insecure: false };

  test('may have any port', () => {
    expect(refusalOfAddress('https://gitlab.example.com:9999/', { ...rules, anyPort: true })).toBeNull();
    expect(refusalOfAddress('https://10.0.0.1:9999/', { ...rules, anyPort: true })).toMatch(/IP address/);
  });

  test('may be a domain that no public host has, but not one of this machine or network', () => {
    expect(refusalOfAddress('https://gitlab.example/', { ...rules, anyDomain: true })).toBeNull();
    expect(refusalOfAddress('https://gitlab.internal/', { ...rules, anyDomain: true })).toMatch(/not public/);
    expect(refusalOfAddress('https://localhost/', { ...rules, anyDomain: true })).not.toBeNull();
  });
});

test('a refusal repeats no path or query, which may be secret', () => {
  const secret = '/secret-path?token=secret-token';
  for (const head of [
    'http://a.com',
    'https://a.com:25',
    'https://u@a.com',
    'https://10.0.0.1',
    'https://a.local',
    'https://nip.io',
  ])
    expect(refusal(head + secret)).not.toMatch(/secret/);
  for (const text of [
    `https://a.com${secret}#x`,
    `https://a.com${secret} `,
    `https:/${secret}`,
    `https://a.com${secret.repeat(99)}`,
  ])
    expect(refusal(text)).not.toMatch(/secret/);
});
