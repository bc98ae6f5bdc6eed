import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { refusalOfHeaders } from '../../../src/webhooks/rules.ts';

function refusalOf(name: string, value = 'x'): string | null {
  return refusalOfHeaders({ [name]: value });
}

describe('a webhook may have custom headers:', () => {
  test.each([
    ['Authorization', 'Bearer abc.def-ghi'],
    ['authorization', 'Basic dXNlcjpwYXNzd29yZA=='],
    ['X-Gitlab-Token', 'a b\tc'],
    ['X-Api-Key', '~!@#$%^&*()_+{}|:"<>?'],
    ['X-Empty', ''],
    ['X-Webhook-Source', 'registry'],
    ['Accept', 'application/json'],
    ["!#$%&'*+-.^_`|~0aZ", 'x'],
    ['X-Long', 'a'.repeat(2000)],
    ['Tea', 'x'],
    ['Hostname', 'x'],
    ['Dates', 'x'],
    ['Websec-Token', 'x'],
    ['X-Proxy-Token', 'x'],
    ['Signatures', 'x'],
    ['constructor', 'x'],
  ])('%s', (name, value) => {
    expect(refusalOf(name, value)).toBeNull();
  });

  test('none', () => {
    expect(refusalOfHeaders({})).toBeNull();
  });

  test('up to twenty', () => {
    const headers = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`X-Header-${n}`, 'x']));
    expect(refusalOfHeaders(headers(20))).toBeNull();
    expect(refusalOfHeaders(headers(21))).toBe('there may be up to 20 headers');
  });

  test('with names of up to a hundred characters', () => {
    expect(refusalOf('x'.repeat(100))).toBeNull();
    expect(refusalOf('x'.repeat(101))).toBe('the name of a header has up to 100 characters');
  });
});

describe('a header that the owner of a webhook may not set', () => {
  test.each([
    ...['Host', 'Content-Length', 'Content-Type', 'Content-Encoding', 'Content-Range', 'Transfer-Encoding', 'Connection'],
    ...['Keep-Alive', 'TE', 'Trailer', 'Upgrade', 'Expect', 'Proxy-Authorization', 'Proxy-Connection', 'HTTP2-Settings'],
    ...['Sec-Fetch-Site', 'Sec-WebSocket-Key', 'Cookie', 'Cookie2', 'Set-Cookie', 'Origin', 'Referer', 'DNT'],
    ...['CF-Connecting-IP', 'CF-Worker', 'Cf-Access-Jwt-Assertion', 'CDN-Loop', 'Via', 'Forwarded', 'X-Forwarded-For'],
    ...['X-Forwarded-Host', 'X-Real-IP', 'True-Client-IP', 'Date', 'User-Agent', 'Accept-Encoding', 'Range', 'If-None-Match'],
    ...[
      'X-HTTP-Method-Override',
      'X-Original-URL',
      'X-Rewrite-URL',
      'Access-Control-Request-Method',
      'MF-Custom-Fetch-Service',
    ],
    ...['Webhook-Id', 'Webhook-Timestamp', 'Webhook-Signature', 'Berth-Event', 'Ce-Type', 'X-Berth-Event', 'Signature-Input'],
    ...[
      'X-Hub-Signature',
      'X-Hub-Signature-256',
      'X-Signature',
      'X-Signature-256',
      'Signature',
      'X_Forwarded_For',
      'webhook_signature',
    ],
  ])('%s', (name) => {
    for (const spelling of [name, name.toLowerCase(), name.toUpperCase()])
      expect(refusalOf(spelling)).toBe(`the header "${spelling}" is not for a webhook's owner to set`);
  });
});

const BAD_NAME = /^the name of a header has letters, digits/;
const BAD_VALUE = /^the value of "X-A" has characters beyond visible ASCII, or a space at an end$/;

describe('a header that is not valid in HTTP', () => {
  test.each([
    ['empty', ''],
    ['with a space', 'X A'],
    ['with a space at its end', 'X-A '],
    ['with a colon', 'X-A: x'],
    ['with a header of its own', 'X-A\r\nHost'],
    ['with a line break', 'X-A\n'],
    ['with a NUL', 'X-A\0'],
    ['with a slash', 'X/A'],
    ['in quotes', '"X-A"'],
    ['with a letter that is none of ASCII', 'X-Ä'],
    ['with a letter that lower-cases into ASCII', 'X-\u212a'],
  ])('has a name %s', (_, name) => {
    expect(refusalOf(name)).toMatch(BAD_NAME);
  });

  test.each([
    ['another header', 'x\r\nHost: evil.com'],
    ['a line feed', 'x\ny'],
    ['a carriage return', 'x\ry'],
    ['a line break at its end', 'x\n'],
    ['a NUL', 'x\0y'],
    ['an escape', 'x\x1by'],
    ['a DEL', 'x\x7fy'],
    ['a space before it', ' x'],
    ['a space after it', 'x '],
    ['a tab before it', '\tx'],
    ['nothing but a space', ' '],
    ['a letter of Latin 1', 'ä'],
    ['a letter that is cut to a line feed by who keeps its lower byte', 'x\u010ay'],
    ['an emoji', '🚢'],
  ])('has in its value %s', (_, value) => {
    expect(refusalOf('X-A', value)).toMatch(BAD_VALUE);
  });

  test('has a value of 2001 characters', () => {
    expect(refusalOf('X-A', 'a'.repeat(2001))).toBe('the value of "X-A" has more than 2000 characters');
  });

  test('occurs twice, in any case', () => {
    expect(refusalOfHeaders({ 'X-Key': '1', 'x-kEY': '2' })).toBe('the header "x-kEY" is given more than once');
  });

  test('is the last of many', () => {
    expect(refusalOfHeaders({ 'X-A': '1', 'X-B': '2', Host: 'evil.com' })).toMatch(/"Host"/);
  });
});

test('accepted headers pass through fetch unchanged', () => {
  const text = fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'binary', maxLength: 4 }));
  const name = fc.oneof(fc.stringMatching(/^[A-Za-z-]{1,12}$/), text);
  let taken = 0;
  fc.assert(
    fc.property(fc.array(fc.tuple(name, text), { maxLength: 3 }), (entries) => {
      const headers = Object.fromEntries(entries);
      if (refusalOfHeaders(headers) !== null) return;
      taken++;
      const sent = new Request('https://hooks.example.com/', { headers }).headers;
      for (const [key, value] of Object.entries(headers)) expect(sent.get(key)).toBe(value);
      expect([...sent].length).toBe(Object.keys(headers).length);
    }),
    { numRuns: 5000 },
  );
  expect(taken).toBeGreaterThan(500);
});

test('an error repeats no value, which may be a credential', () => {
  const secret = 'secret-token';
  for (const value of [`${secret}\n`, `${secret} `, secret.repeat(200)]) expect(refusalOf('X-A', value)).not.toContain(secret);
  for (const name of ['Host', 'X A', 'x'.repeat(101)]) expect(refusalOf(name, secret)).not.toContain(secret);
  expect(refusalOfHeaders({ 'X-A': secret, 'x-a': secret })).not.toContain(secret);
});
