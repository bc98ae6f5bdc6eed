import { describe, expect, test } from 'vitest';
import { networkIn, networkOf } from '../../src/http/address.ts';
import type { RequestContext } from '../../src/http/context.ts';

describe('the network of an address', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:201', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::1', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['', 'unknown'],
    ['none', 'unknown'],
    ['1.2.3.4, 5.6.7.8', 'unknown'],
  ])('%s is %s', (address, network) => expect(networkIn(address)).toBe(network));
});

describe('the client address of a request', () => {
  const of = (env: object, headers: Record<string, string>, clientIp?: string) =>
    networkOf({
      env,
      req: {
        header: (name: string) => headers[name],
        raw: { cf: clientIp === undefined ? undefined : { clientIp } },
      },
    } as unknown as RequestContext);

  test('comes from the header that Cloudflare sets, even if other address headers are present', () => {
    expect(of({}, { 'cf-connecting-ip': '192.0.2.1', 'x-forwarded-for': '192.0.2.9' }, '192.0.2.8:1')).toBe('192.0.2.1');
  });

  test.each([
    ['192.0.2.1:5000', '192.0.2.1'],
    ['[2001:db8:1:2::1]:5000', '2001:db8:1:2::/64'],
    ['[::ffff:192.0.2.1]:5000', '192.0.2.1'],
    ['[::1]:5000', '0:0:0:0::/64'],
    [undefined, 'unknown'],
  ])('the runtime says of a socket: %s', (clientIp, network) => {
    expect(of({ ADDRESS_FROM: 'socket' }, { 'cf-connecting-ip': '192.0.2.9' }, clientIp)).toBe(network);
  });
});
