import { describe, expect, test } from 'vitest';
import { applies, conditionError, globMatches } from '../../src/auth/conditions.ts';
import type { Condition } from '../../src/vocabulary/conditions.ts';

const NOW = Date.parse('2030-01-31T12:00:00Z');
const at = (address: string | null) => ({ address: () => address, now: NOW });

function holds(
  operator: string,
  key: string,
  values: string[],
  address: string | null = '203.0.113.7',
  subject = 'user:alice',
) {
  const conditions = [{ operator, key, values } as Condition];
  return applies({ effect: 'allow', conditions }, at(address), subject);
}

describe('aws:SourceIp', () => {
  test.each([
    ['203.0.113.0/24', '203.0.113.7', true],
    ['203.0.113.7', '203.0.113.7', true],
    ['203.0.113.7/32', '203.0.113.8', false],
    ['0.0.0.0/0', '198.51.100.1', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['203.0.113.0/25', '203.0.113.200', false],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['2001:db8::/33', '2001:db8:ffff::1', false],
    ['::/0', '203.0.113.7', false],
    ['203.0.113.0/24', '::ffff:203.0.113.7', true],
    ['2001:DB8:0:0::1', '2001:db8::1', true],
  ])('IpAddress %s and the client %s: %s', (range, address, expected) => {
    expect(holds('IpAddress', 'aws:SourceIp', [range], address)).toBe(expected);
    expect(holds('NotIpAddress', 'aws:SourceIp', [range], address)).toBe(!expected);
  });

  test('an unknown address is in no range', () => {
    expect(holds('IpAddress', 'aws:SourceIp', ['0.0.0.0/0', '::/0'], null)).toBe(false);
    expect(holds('NotIpAddress', 'aws:SourceIp', ['0.0.0.0/0', '::/0'], null)).toBe(true);
  });
});

describe('aws:CurrentTime', () => {
  test.each([
    ['DateLessThan', '2030-01-31T12:00:00Z', false],
    ['DateLessThanEquals', '2030-01-31T12:00:00Z', true],
    ['DateGreaterThan', '2030-01-31T11:59:59Z', true],
    ['DateGreaterThan', '2030-01-31T13:00:00+02:00', true],
    ['DateGreaterThanEquals', String(NOW / 1000), true],
    ['DateEquals', '2030-01-31T12:00:00.000Z', true],
    ['DateNotEquals', '2030-01-31', true],
    ['DateLessThan', '2030-02-01', true],
  ])('%s %s: %s', (operator, value, expected) => {
    expect(holds(operator, 'aws:CurrentTime', [value])).toBe(expected);
  });
});

describe('aws:username', () => {
  test.each([
    ['StringEquals', 'alice', true],
    ['StringEquals', 'Alice', false],
    ['StringEqualsIgnoreCase', 'Alice', true],
    ['StringNotEquals', 'bob', true],
    ['StringLike', 'a?ic*', true],
    ['StringLike', 'b*', false],
    ['StringNotLike', 'a*', false],
  ])('%s %s: %s', (operator, value, expected) => {
    expect(holds(operator, 'aws:username', [value])).toBe(expected);
  });

  test.each(['robot:acme/ci', ''])('"%s" has no user name', (subject) => {
    expect(holds('StringLike', 'aws:username', ['*'], null, subject)).toBe(false);
    expect(holds('StringNotEquals', 'aws:username', ['alice'], null, subject)).toBe(true);
  });
});

test('one of the values is enough, and all conditions must hold', () => {
  expect(holds('StringEquals', 'aws:username', ['bob', 'alice'])).toBe(true);
  const conditions: Condition[] = [
    { operator: 'StringEquals', key: 'aws:username', values: ['alice'] },
    { operator: 'IpAddress', key: 'aws:SourceIp', values: ['198.51.100.0/24'] },
  ];
  expect(applies({ effect: 'allow', conditions }, at('203.0.113.7'), 'user:alice')).toBe(false);
  expect(applies({ effect: 'allow', conditions }, at('198.51.100.7'), 'user:alice')).toBe(true);
});

test('a question without a request counts a conditional denial, and no conditional permission', () => {
  const conditions: Condition[] = [{ operator: 'StringEquals', key: 'aws:username', values: ['alice'] }];
  expect(applies({ effect: 'allow', conditions }, null, 'user:alice')).toBe(false);
  expect(applies({ effect: 'deny', conditions }, null, 'user:alice')).toBe(true);
  expect(applies({ effect: 'allow' }, null, 'user:alice')).toBe(true);
});

test.each([
  ['aws:SourceIp', 'IpAddress', '203.0.113.0/33'],
  ['aws:SourceIp', 'IpAddress', '256.0.0.1'],
  ['aws:SourceIp', 'IpAddress', 'home'],
  ['aws:SourceIp', 'IpAddress', '10.0.0.0/8/8'],
  ['aws:SourceIp', 'StringEquals', '10.0.0.1'],
  ['aws:CurrentTime', 'DateLessThan', 'tomorrow'],
  ['aws:CurrentTime', 'DateLessThan', '2030-13-01T00:00:00Z'],
  ['aws:username', 'IpAddress', 'alice'],
])('%s with %s and %s is not a condition', (key, operator, value) => {
  expect(conditionError({ key, operator, values: [value] } as Condition)).not.toBeNull();
});

test('a pattern with many stars takes no exponential time', () => {
  expect(globMatches('*a'.repeat(60), `${'a'.repeat(59)}b`)).toBe(false);
  expect(globMatches('**?', 'x')).toBe(true);
  expect(globMatches('', '')).toBe(true);
});
