import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseStrictJson } from '../../src/oci/json.ts';
import { LINEAR, slowdown } from '../world/complexity.ts';

const encode = (text: string) => new TextEncoder().encode(text);
const parse = (text: string) => parseStrictJson(encode(text)).value;

describe('strict JSON', () => {
  test('has the same result as JSON.parse, and the text is kept unchanged', { tags: 'slow' }, () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: 'binary' }), fc.constantFrom('', ' ', '\n', '\r\n\t'), (json, space) => {
        const text = `${space}${json}${space}`;
        const result = parseStrictJson(encode(text));
        expect(result.text).toBe(text);
        expect(result.value).toEqual(JSON.parse(text));
      }),
      { numRuns: 2000 },
    );
  });

  test('accepts any keys as data, also those of Object.prototype', () => {
    const text = '{"__proto__":{"x":1},"constructor":2,"toString":3,"":4,"0":5}';
    expect(JSON.stringify(parse(text))).toBe('{"0":5,"__proto__":{"x":1},"constructor":2,"toString":3,"":4}');
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  test.each([
    ['nothing', ''],
    ['white space', ' \n'],
    ['a byte order mark', '\ufeff{}'],
    ['two documents', '{}{}'],
    ['something after the document', '{} x'],
    ['a comment', '{/* */}'],
    ['a comma too many', '{"a":1,}'],
    ['single quotes', "{'a':1}"],
    ['a number JSON does not know', '{"a":NaN}'],
    ['a control character in a string', '{"a":"\u0001"}'],
    ['an unclosed string', '{"a":"'],
    ['an escape at the very end', '"\\'],
    ['brackets that do not match', '[}'],
  ])('is not %s', (_, text) => {
    expect(() => parse(text)).toThrow(SyntaxError);
  });

  test.each([
    ['a byte that never occurs', [0x22, 0xff, 0x22]],
    ['an overlong form', [0x22, 0xc0, 0xaf, 0x22]],
    ['half of a surrogate pair', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a sequence cut short', [0x22, 0xe2, 0x82, 0x22]],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
  ])('has no %s in place of UTF-8', (_, bytes) => {
    expect(() => parseStrictJson(new Uint8Array(bytes))).toThrow(SyntaxError);
  });

  test.each([
    '{"a":1,"a":1}',
    '{"a":1,"b":{"c":1,"c":2}}',
    '[{"a":1},{"a":1,"b":2,"a":3}]',
    '{"a":1,"\\u0061":2}',
    '{"__proto__":1,"__proto__":2}',
    '{"":1,"":2}',
    '{"a":"\\\\","a":":{}"}',
  ])('has no key twice in one object: %s', (text) => {
    expect(() => parse(text)).toThrow('an object repeats a key');
  });

  test.each([
    '{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
    '{"a":"{\\"a\\":1,\\"a\\":2}"}',
    '{"a:":":::","b":"\\\\\\":"}',
    '{"a":1,"A":2,"á":3,"a\u0301":4}',
  ])('may have one key in several objects, and colons in texts: %s', (text) => {
    expect(parse(text)).toEqual(JSON.parse(text));
  });

  test('finds a repeated key anywhere', { tags: 'slow' }, () => {
    const keys = fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(keys, fc.nat(), fc.jsonValue(), (names, which, value) => {
        const member = (name: string) => `${JSON.stringify(name)}:${JSON.stringify(value)}`;
        const once = names.map(member);
        expect(() => parse(`{${once.join()}}`)).not.toThrow();
        expect(() => parse(`[{${[...once, member(names[which % names.length] as string)].join()}}]`)).toThrow('repeats a key');
      }),
      { numRuns: 2000 },
    );
  });

  test('is nested up to 100 levels, and a million levels are refused like 101', () => {
    const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
    expect(() => parse(nested(100))).not.toThrow();
    for (const levels of [101, 10_000, 200_000, 1_000_000]) expect(() => parse(nested(levels))).toThrow('nested deeper');
    expect(() => parse('{"a":'.repeat(200_000))).toThrow('nested deeper');
    expect(parse(`"${'['.repeat(200)}"`)).toBe('['.repeat(200));
  });

  test('has up to 120,000 brackets, colons and commas; those in strings do not count', () => {
    const list = (commas: number) => `[${'1,'.repeat(commas)}1]`;
    expect(() => parse(list(119_999))).not.toThrow();
    expect(() => parse(list(120_000))).toThrow('more than 120000 brackets');
    expect(() => parse(`[${'{},'.repeat(60_000)}1]`)).toThrow('more than 120000 brackets');
    expect(() => parse(`{${Array.from({ length: 60_001 }, (_, n) => `"${n}":1`).join()}}`)).toThrow(
      'more than 120000 brackets',
    );
    expect(() => parse(`"${':,{['.repeat(100_000)}"`)).not.toThrow();
  });

  test.each<[string, (size: number) => string]>([
    ['quotes that are escaped', (size) => `"${'\\"'.repeat(size / 2)}"`],
    ['backslashes', (size) => `"${'\\\\'.repeat(size / 2)}"`],
    ['backslashes before a quote, again and again', (size) => `[${`"${'\\\\'.repeat(50)}\\"",`.repeat(size / 105)}1]`],
    ['short strings', (size) => `[${'"",'.repeat(size / 3)}1]`],
    ['objects', (size) => `[${'{"a":1},'.repeat(size / 8)}1]`],
    ['many keys', (size) => `[${`{${Array.from({ length: 100 }, (_, n) => `"key${n}":1`).join()}},`.repeat(size / 1000)}1]`],
    ['a string that never ends', (size) => `"${'\\"'.repeat(size / 2)}`],
  ])('is read in linear time: %s', { tags: 'slow' }, (_, make) => {
    const work = (size: number) => {
      const bytes = encode(make(size));
      return () => {
        try {
          parseStrictJson(bytes);
        } catch {}
      };
    };
    expect(slowdown(work, 4_000, 4_096_000)).toBeLessThan(LINEAR);
  });
});
