import { expect, test } from 'vitest';
import { takeBase64 } from '../../../src/http/ecr/blob-member.ts';
import { noise } from '../../world/images.ts';

const encode = (text: string) => new TextEncoder().encode(text);
const base64 = (bytes: Uint8Array) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));

function take(text: string) {
  const { rest, bytes } = takeBase64(encode(text), 'blob');
  return [new TextDecoder().decode(rest), new TextDecoder().decode(bytes)];
}

test('the member is taken out wherever it stands, and the rest stays valid JSON', () => {
  expect(take('{"a":"b","blob":"aGk=","c":1}')).toEqual(['{"a":"b","blob":"","c":1}', 'hi']);
  expect(take('{ "blob" : "aGk" }')).toEqual(['{ "blob" : "" }', 'hi']);
  expect(take('{"a":"\\"blob\\":\\"","blob":"aGk="}')).toEqual(['{"a":"\\"blob\\":\\"","blob":""}', 'hi']);
  expect(take('{"é":"€","blob":"aGk=","c":"é"}')).toEqual(['{"é":"€","blob":"","c":"é"}', 'hi']);
  expect(take('{"blob":""}')).toEqual(['{"blob":""}', '']);
});

test('a body without the member stays as it is', () => {
  for (const text of ['', '{}', '{"blob":null}', '{"other":"blob"}', '"', '{"x":"\\']) expect(take(text)).toEqual([text, '']);
});

test('a long member comes out whole, also with escaped characters and with line breaks', () => {
  // Pieces end at 65,536 characters: in base64 of this length, an escape sequence stands across each end.
  const bytes = noise(200_001);
  const plain = base64(bytes);
  const shapes = [
    plain,
    plain.replaceAll('/', '\\/'),
    plain.replaceAll(/[+/=]/g, (one) => `\\u00${one.charCodeAt(0).toString(16)}`),
  ];
  for (const shift of ['', 'x', 'xx', 'xxx', 'xxxx', 'xxxxx']) {
    for (const shape of [...shapes, plain.replaceAll(/.{76}/g, '$&\\r\\n')]) {
      const { rest, bytes: taken } = takeBase64(encode(`{"${shift}":1,"blob":"${shape}"}`), 'blob');
      expect(new TextDecoder().decode(rest)).toBe(`{"${shift}":1,"blob":""}`);
      expect(taken.byteLength).toBe(bytes.byteLength);
      expect(taken.every((byte, at) => byte === bytes[at])).toBe(true);
    }
  }
});

test('what is not base64, has no end, or is too long is refused', () => {
  for (const text of [
    '{"blob":"?"}',
    '{"blob":"aGk=aGk="}',
    '{"blob":"aGk',
    '{"blob":"a\\"b"}',
    '{"blob":"\u00e9"}',
    '{"blob":"a"}',
  ])
    expect(() => take(text), text).toThrow(SyntaxError);
  const long = 'x'.repeat(70_000);
  expect(() => take(`{"a":"${long}"}`)).toThrow(SyntaxError);
  expect(() => take(`{"blob":"aGk=","a":"${long}"}`)).toThrow(SyntaxError);
  expect(() => take(`{"blob":"${'A'.repeat(300_000)}`)).toThrow(SyntaxError);
});

test('a body of quotes and escapes takes no longer than its length', () => {
  const started = performance.now();
  for (const unit of ['\\"', '"', '\\', '" ', '"a":']) takeBase64(encode(`{"${unit.repeat(10_000)}`), 'blob');
  expect(performance.now() - started).toBeLessThan(500);
});
